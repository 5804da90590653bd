"""DAGs for the tests of the notices: tasks that work, fail once, fail for good in two ways, and never run."""

from datetime import timedelta
from typing import Any

import psycopg2
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException

from include.gates import GateFailed
from include.notify import callbacks


@task
def fetch_rides() -> None:
    """Works."""


@task
def load_rides(ti: object = None) -> None:
    """Fails at its first try alone."""
    if getattr(ti, "try_number", 0) == 1:
        raise ConnectionError("the line was cut")


@task
def gate_staging() -> None:
    """A gate that fails, as the factory makes it fail."""
    failure = GateFailed(
        "rides: the gate of staging has failed, 2 of 5 expectations are not met, nothing further down runs:\n"
        "  - stg_rides.fare_usd: 7 of 40 rows are below <0>\n"
        "  - stg_rides: 3 rows, expected at least 10\n"
        "What to do: docs/runbooks/failed-gate.md"
    )
    raise AirflowFailException(str(failure))


@task
def publish() -> None:
    """Never runs."""


@task
def count_riders() -> None:
    """Fails twice, with values of rows and a secret in the message."""
    from airflow.sdk.log import mask_secret

    mask_secret("hunter2-hunter2")
    raise psycopg2.errors.UniqueViolation(
        'duplicate key value violates unique constraint "rider_email", key hunter2-hunter2, '
        "IBAN RO49AAAA1B31007593840000 of ada@example.org\nDETAIL:  Key (email)=(ada lovelace) already exists."
    )


NOTIFY: dict[str, dict[str, Any]] = {
    "rides": {"failure": ["night@example.com", "day@example.com"], "retry": None, "success": []},
    "rides_retries_told": {"failure": ["night@example.com"], "retry": ["curious@example.com"]},
    "rides_nobody_named": {},
}
for name, notify in NOTIFY.items():
    told = callbacks(notify, source=name)
    arguments = {"retries": 1, "retry_delay": timedelta(0), **told.of_tasks}
    with DAG(name, schedule=None, default_args=arguments, **told.of_dag) as dag:
        fetch_rides() >> load_rides() >> gate_staging() >> publish()
        count_riders()
    globals()[name] = dag
