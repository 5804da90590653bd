"""Which engine a connection leads to, and what is refused where it is Redshift."""

import json
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowException

from include.landing import LandingStore
from include.pipeline import connections
from include.pipeline.trace import trace
from include.warehouse import peace
from include.warehouse.session import NotOnRedshift, engine_of, psycopg_session, redshift_options
from tests.conftest import S3

DSN = "redshift://user:secret@cluster.example:5439/warehouse"
GIVEN = {
    "conn_type": "redshift",
    "host": "cluster.example",
    "login": "sluice_loader",
    "password": "a/b@c",
    "schema": "warehouse",
    "extra": {"iam_role": "arn:aws:iam::123456789012:role/copy"},
}


def test_connection_of_redshift_is_a_uri_with_the_role_of_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_WAREHOUSE", "redshift")
    monkeypatch.setenv("AIRFLOW_CONN_SLUICE_LOADER", json.dumps(GIVEN))
    dsn = connections.warehouse_dsn(connections.LOADER)
    assert engine_of(dsn) == "redshift"
    assert redshift_options(dsn) == GIVEN["extra"]
    assert connections.warehouse_address(connections.LOADER) == "redshift://cluster.example:5439/warehouse"


@pytest.mark.parametrize(
    ("engine", "change", "message"),
    [
        ("redshift", {"conn_type": "postgres"}, "is of the type postgres, and SLUICE_WAREHOUSE is redshift"),
        ("", {}, "is of the type redshift, and SLUICE_WAREHOUSE is postgres"),
        ("redshift", {"extra": {"iam": True}}, "its extra has 'iam', which is not one of iam_role, region, sslmode"),
        ("snowflake", {}, "SLUICE_WAREHOUSE is 'snowflake', which is not one of postgres, redshift"),
    ],
)
def test_connection_that_does_not_fit_is_named(
    monkeypatch: pytest.MonkeyPatch, engine: str, change: dict[str, object], message: str
) -> None:
    monkeypatch.setenv("SLUICE_WAREHOUSE", engine)
    monkeypatch.setenv("AIRFLOW_CONN_SLUICE_LOADER", json.dumps(GIVEN | change))
    with pytest.raises(AirflowException, match=message):
        connections.warehouse_dsn(connections.LOADER)


def test_what_redshift_has_not_is_refused_by_name(s3: S3) -> None:
    store = LandingStore(s3.client, s3.bucket)
    with pytest.raises(NotOnRedshift, match="Tracing a row works on a Postgres warehouse alone"):
        trace(DSN, store, Path("manifest.json"), "fact_taxi_trip", "1")
    with (
        pytest.raises(NotOnRedshift, match="Erasing a person works on a Postgres warehouse alone"),
        peace.alone(DSN, "driven", waiting=lambda: None),
    ):
        pass
    with pytest.raises(NotOnRedshift, match="This step works on"), psycopg_session(DSN):
        pass


def test_tasks_of_persons_go_on_without_the_lock_that_keeps_erasures_out() -> None:
    with peace.at_work(DSN, "driven"):
        pass
