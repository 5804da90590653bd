"""The embedded PostgreSQL and S3 servers."""

import urllib.error
import urllib.request
from contextlib import closing

import boto3
import psycopg2
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from local import postgres as postgresql
from local import s3 as seaweed
from tests.conftest import S3, Warehouse


def test_each_role_logs_in_with_its_own_password_only(warehouse: Warehouse) -> None:
    with closing(psycopg2.connect(warehouse.dsn("analyst"))) as connection, connection.cursor() as cursor:
        cursor.execute("select current_user, current_database()")
        assert cursor.fetchone() == ("analyst", warehouse.dbname)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(warehouse.server.dsn(warehouse.dbname, "analyst", "wrong"))


def test_the_warehouse_belongs_to_its_owner_and_is_closed_to_other_roles(
    postgres: postgresql.Server, warehouse: Warehouse
) -> None:
    postgresql.create_database(postgres, "elsewhere", owner="stranger", password="p")  # noqa: S106 - a test's
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        psycopg2.connect(postgres.dsn(warehouse.dbname, "stranger", "p"))


def test_an_object_comes_back_as_it_was_put(s3: S3) -> None:
    s3.client.put_object(Bucket=s3.bucket, Key="a/b c.txt", Body=b"\x00\xff")
    assert s3.client.get_object(Bucket=s3.bucket, Key="a/b c.txt")["Body"].read() == b"\x00\xff"


def test_s3_refuses_a_wrong_secret_and_no_credentials_at_all(s3: S3) -> None:
    s3.client.put_object(Bucket=s3.bucket, Key="secret.txt", Body=b"x")
    wrong = seaweed.client(s3.endpoint_url, s3.access_key, "wrong")
    with pytest.raises(ClientError) as refusal:
        wrong.get_object(Bucket=s3.bucket, Key="secret.txt")
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    nobody = boto3.client("s3", endpoint_url=s3.endpoint_url, config=Config(signature_version=UNSIGNED))
    with pytest.raises(ClientError) as refusal:
        nobody.put_object(Bucket=s3.bucket, Key="mine.txt", Body=b"x")
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{s3.endpoint_url}/{s3.bucket}/secret.txt")  # noqa: S310 - loopback


def test_a_server_without_credentials_is_not_even_started() -> None:
    with pytest.raises(ValueError, match="open to everybody"):
        seaweed.env("", "", "bucket")
