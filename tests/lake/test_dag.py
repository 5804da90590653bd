"""The tasks behind publish, run by Airflow: what a source has published is in the lake and in Redshift."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.stack import Store
from tests import airflow_home
from tests.conftest import S3, Warehouse
from tests.frame.conftest import PROJECT
from tests.lake import reader
from tests.lake.conftest import DATABASE
from tests.local.sandbox.conftest import NOW, running
from tests.redshift.conftest import ADMIN, PASSWORD, ROLE, Redshift, redshift, redshift_front
from tests.warehouse.shop import ask

__all__ = ["redshift", "redshift_front"]  # fixtures

FACT = "fact_weather_observation"


@pytest.fixture
def ran(
    amazon_url: str,
    glue: Any,  # noqa: ANN401 - boto3's client
    s3: S3,
    s3_server: Store,
    warehouse: Warehouse,
    redshift: Redshift,
    tmp_path: Path,
) -> Iterator[str]:
    """What was logged by a run of `openweather`, whose folder asks for the mirror, with a lake."""
    copy = tmp_path / "project"
    shutil.copytree(PROJECT / "include", copy / "include")
    shutil.copytree(PROJECT / "dags", copy / "dags")
    file = copy / "include" / "sources" / "openweather" / "source.yml"
    file.write_text(file.read_text() + "mirror: redshift\n")
    with running("--cache-dir", str(tmp_path / "cache"), SANDBOX_NOW=NOW, SANDBOX_OPENWEATHER_KEY="0" * 32) as sandbox:
        found = airflow_home.connections(warehouse, s3_server) | {
            "openweather": airflow_home.api(sandbox.url, "0" * 32),
            "sluice_redshift": {
                "conn_type": "redshift",
                "host": redshift.host,
                "port": redshift.port,
                "login": ADMIN,
                "password": PASSWORD,
                "schema": redshift.dbname,
                "extra": {"iam_role": ROLE, "ssl": False},
            },
        }
        found["sluice_s3"]["extra"]["service_config"] = {"glue": {"endpoint_url": amazon_url}}
        manifest = airflow_home.dbt_manifest(tmp_path / "dbt")
        env = airflow_home.variables(found, bucket=s3.bucket, manifest=manifest, docs=tmp_path / "docs") | {
            "PYTHONPATH": str(copy),
            "SLUICE_LAKE_DATABASE": DATABASE,
        }
        home = airflow_home.make(tmp_path / "airflow")
        yield home.test_dags(copy / "dags" / "sources.py", ["openweather"], env, conf='{"cities": ["Oslo", "Lima"]}')


def test_a_run_of_a_source_ends_in_the_lake_and_in_redshift(
    ran: str,
    warehouse: Warehouse,
    redshift: Redshift,
    glue: Any,  # noqa: ANN401 - boto3's client
    s3: S3,
    tmp_path: Path,
) -> None:
    assert "openweather ended: success" in ran, ran[-5000:]
    seen = ask(warehouse, f"select city_id, temperature_celsius from analytics.{FACT} order by 1", "analyst")
    assert len(seen) == 2
    columns, rows = reader.read(glue, s3, DATABASE, FACT, tmp_path)
    city, temperature = columns.index("city_id"), columns.index("temperature_celsius")
    assert sorted((row[city], row[temperature]) for row in rows) == seen
    assert redshift.run(f"select city_id, temperature_celsius from analytics.{FACT} order by 1") == seen
    for password in (warehouse.password("sluice_reporter"), PASSWORD):
        assert password not in ran
