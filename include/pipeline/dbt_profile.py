"""The Airflow connection of dbt's role as dbt's profile, on either engine."""

from __future__ import annotations

from typing import ClassVar

from cosmos import ProfileConfig
from cosmos.profiles import PostgresUserPasswordProfileMapping, RedshiftUserPasswordProfileMapping

from include.pipeline.connections import TRANSFORMER, engine


class WarehouseProfile(PostgresUserPasswordProfileMapping):  # type: ignore[misc] # Cosmos has no types
    """Cosmos' own mapping knows `sslmode` alone; without the rest, verify-full has no certificate to verify by.

    https://docs.getdbt.com/docs/local/connect-data-platform/postgres-setup
    """

    airflow_param_mapping: ClassVar[dict[str, str]] = {
        **PostgresUserPasswordProfileMapping.airflow_param_mapping,
        **{name: f"extra.{name}" for name in ("sslrootcert", "sslcert", "sslkey", "connect_timeout")},
    }


def profile_config() -> ProfileConfig:
    """The profile of the engine that `SLUICE_WAREHOUSE` names, for a user with a password."""
    name = engine()
    mapping = RedshiftUserPasswordProfileMapping if name == "redshift" else WarehouseProfile
    return ProfileConfig(
        profile_name="sluice",
        target_name=name,
        profile_mapping=mapping(conn_id=TRANSFORMER, profile_args={"schema": "marts", "threads": 1}),
    )
