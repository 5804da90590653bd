"""The Airflow connection of dbt's role as dbt's profile."""

from __future__ import annotations

from typing import ClassVar

from cosmos.profiles import PostgresUserPasswordProfileMapping


class WarehouseProfile(PostgresUserPasswordProfileMapping):  # type: ignore[misc] # Cosmos has no types
    """Cosmos' own mapping knows `sslmode` alone; without the rest, verify-full has no certificate to verify by.

    https://docs.getdbt.com/docs/local/connect-data-platform/postgres-setup
    """

    airflow_param_mapping: ClassVar[dict[str, str]] = {
        **PostgresUserPasswordProfileMapping.airflow_param_mapping,
        **{name: f"extra.{name}" for name in ("sslrootcert", "sslcert", "sslkey", "connect_timeout")},
    }
