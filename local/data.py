"""Where the local stack keeps its data, for the commands that go to it themselves: the warehouse and the landings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local import airflow, ports, s3
from local.home import Home, LocalError

if TYPE_CHECKING:
    from include.landing import LandingStore


def warehouse_dsn(home: Home, role: str) -> str:
    """The postgresql:// URI of a role of the warehouse, its password included: never log it.

    Raises:
        LocalError: PostgreSQL does not run.
    """
    if "postgres" not in home.ports or not airflow.server(home).is_ready():
        raise LocalError("PostgreSQL does not run: start the stack with ./sluice up --no-run")
    return airflow.server(home).dsn("warehouse", role, home.secrets[f"postgres_{role}"])


def landing_store(home: Home) -> LandingStore:
    """The landings.

    Raises:
        LocalError: S3 does not run.
    """
    from include.landing import LandingStore  # it takes Arrow along, which most commands do without

    if "s3" not in home.ports or not s3.is_healthy(home.ports["s3"]):
        raise LocalError("S3 does not run: start the stack with ./sluice up --no-run")
    url = f"http://{ports.HOST}:{home.ports['s3']}"
    return LandingStore(s3.client(url, home.secrets["s3_access_key"], home.secrets["s3_secret_key"]), airflow.BUCKET)
