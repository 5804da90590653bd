"""Connections from AWS Secrets Manager, by configuration alone: nothing in the environment or Airflow's database."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests import airflow_home, amazon
from tests.conftest import S3, Warehouse
from tests.frame.conftest import PROJECT

BACKEND = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
PREFIX = "sluice/connections"
KEY = "0123456789abcdef0123456789abcdef"
ASK = """
import json
import psycopg2
from include.pipeline import connections
from include.pipeline.model import load_source

dsn = connections.warehouse_dsn(connections.LOADER)
with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
    cursor.execute("select current_user")
    (user,) = cursor.fetchone()
api = connections.api_of(load_source("openweather"))
buckets = [one["Name"] for one in connections.s3_client().list_buckets()["Buckets"]]
found = {"user": user, "buckets": buckets, "api": api.base_url, "key": api.key, "limit": api.calls_per_minute}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def secrets_manager() -> Iterator[str]:
    """The endpoint of a Secrets Manager."""
    with amazon.endpoint() as url:
        yield url


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> airflow_home.AirflowHome:
    return airflow_home.make(tmp_path_factory.mktemp("airflow") / "home")


@pytest.fixture
def env(secrets_manager: str, home: airflow_home.AirflowHome) -> dict[str, str]:
    """Airflow's environment: where its secrets are, and none of them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "AWS_"))}
    backend = {
        "connections_prefix": PREFIX,
        "variables_prefix": None,
        "config_prefix": None,
        "region_name": "eu-west-1",
        "endpoint_url": secrets_manager,
    }
    return {
        **kept,
        **home.env,
        # who Airflow is to AWS: on AWS an instance's or task's role says so, without a variable
        "AWS_ACCESS_KEY_ID": "airflow",
        "AWS_SECRET_ACCESS_KEY": "airflow",
        "AIRFLOW__SECRETS__BACKEND": BACKEND,
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(backend),
    }


def store(endpoint: str, name: str, secret: dict[str, Any]) -> None:
    client = boto3.client(
        "secretsmanager",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="operator",
        aws_secret_access_key="operator",
    )
    client.create_secret(Name=f"{PREFIX}/{name}", SecretString=json.dumps(secret))


def ask(env: dict[str, str], code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=PROJECT, capture_output=True, text=True, check=False
    )


def test_every_connection_comes_from_the_secrets_manager(
    env: dict[str, str], secrets_manager: str, warehouse: Warehouse, s3: S3
) -> None:
    store(
        secrets_manager,
        "sluice_loader",
        {
            "conn_type": "postgres",
            "host": warehouse.host,
            "port": warehouse.port,
            "login": "sluice_loader",
            "password": warehouse.password("sluice_loader"),
            "schema": warehouse.dbname,
            "extra": {"connect_timeout": 10},
        },
    )
    store(
        secrets_manager,
        "sluice_s3",
        {
            "conn_type": "aws",
            "login": s3.access_key,
            "password": s3.secret_key,
            "extra": {"endpoint_url": s3.endpoint_url, "region_name": "us-east-1"},
        },
    )
    store(
        secrets_manager,
        "openweather",
        {
            "conn_type": "http",
            "schema": "https",
            "host": "api.openweathermap.org",
            "password": KEY,
            "extra": {"calls_per_minute": 600},
        },
    )
    assert not [name for name in env if name.startswith("AIRFLOW_CONN_")]
    done = ask(env, ASK)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("buckets").count(s3.bucket) == 1
    assert found == {"user": "sluice_loader", "api": "https://api.openweathermap.org", "key": KEY, "limit": 600}


def test_a_missing_secret_is_said_once_and_clearly(env: dict[str, str]) -> None:
    done = ask(
        env,
        "from include.pipeline import connections\n"
        "try:\n"
        "    connections.warehouse_dsn(connections.PUBLISHER)\n"
        "except Exception as fault:\n"
        "    print(type(fault).__name__, fault, fault.__cause__)\n",
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[-1].startswith("AirflowException connection 'sluice_publisher' is not defined; add it"), done.stdout
    assert "in a secrets backend" in said[-1]
    assert said[-1].endswith("None")
    assert done.stdout.count("sluice_publisher") + done.stderr.count("sluice_publisher") <= 2
