"""The smoke test of a real account is tried itself, on what stands for AWS here: SeaweedFS, moto, Redshift's front."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping

import boto3

from tests import amazon
from tests.conftest import S3
from tests.frame.conftest import PROJECT
from tests.redshift.conftest import ROLE
from tests.redshift.warehouse.conftest import Warehouse


def smoke(*arguments: str, env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """What `./sluice test` becomes, with nothing of AWS or Airflow around."""
    foreign = ("AWS", "AIRFLOW", "SLUICE", "PYTEST")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=PROJECT, env={**own, **env}, capture_output=True, text=True, timeout=300, check=False
    )


def test_it_passes_where_everything_answers(s3: S3, warehouse: Warehouse) -> None:
    with amazon.endpoint() as url:
        access = {
            "aws_access_key_id": s3.access_key,
            "aws_secret_access_key": s3.secret_key,
            "region_name": "us-east-1",
        }
        sqs, glue = (boto3.client(name, endpoint_url=url, **access) for name in ("sqs", "glue"))  # type: ignore[call-overload]
        queue = sqs.create_queue(QueueName="drop")["QueueUrl"]
        glue.create_database(DatabaseInput={"Name": "lake"})
        services = {"s3": {"endpoint_url": s3.endpoint_url}}
        extra = {"endpoint_url": url, "region_name": "us-east-1", "service_config": services}
        loader = {
            "conn_type": "redshift",
            "host": warehouse.redshift.host,
            "port": warehouse.redshift.port,
            "login": "sluice_loader",
            "password": warehouse.password("sluice_loader"),
            "schema": warehouse.redshift.dbname,
            "extra": {"iam_role": ROLE, "sslmode": "disable"},
        }
        s3_login = {"conn_type": "aws", "login": s3.access_key, "password": s3.secret_key, "extra": extra}
        done = smoke(
            "--aws",
            env={
                "SLUICE_WAREHOUSE": "redshift",
                "SLUICE_BUCKET": s3.bucket,
                "SLUICE_DROP_QUEUE": queue,
                "SLUICE_LAKE_DATABASE": "lake",
                "AIRFLOW_CONN_SLUICE_S3": json.dumps(s3_login),
                "AIRFLOW_CONN_SLUICE_LOADER": json.dumps(loader),
            },
        )
        assert re.search(r"= 5 passed in ", done.stdout), done.stdout + done.stderr
        assert glue.get_tables(DatabaseName="lake")["TableList"] == []
    assert s3.client.list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 0
    assert warehouse.ask("select table_name from svv_tables where table_schema = 'raw'") == []


def test_it_is_no_part_of_the_other_tests_nor_they_of_it() -> None:
    assert "no tests collected" in smoke("--collect-only", "-q", "tests/aws", env={}).stdout
    alone = smoke("--collect-only", "-q", "--aws", env={}).stdout
    named = [line for line in alone.splitlines() if "::" in line]
    assert len(named) == 5, alone
    assert all(line.startswith("tests/aws/test_smoke.py::") for line in named)
