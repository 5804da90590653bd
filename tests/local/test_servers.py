"""The embedded PostgreSQL and S3 servers."""

import http.client
import subprocess
import urllib.error
import urllib.request
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import boto3
import psutil
import psycopg2
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from local import postgres as postgresql
from local import s3 as seaweed
from local import stack
from tests.conftest import S3, Warehouse


def test_each_role_logs_in_with_its_own_password_only(warehouse: Warehouse) -> None:
    with closing(psycopg2.connect(warehouse.dsn("analyst"))) as connection, connection.cursor() as cursor:
        cursor.execute("select current_user, current_database()")
        assert cursor.fetchone() == ("analyst", warehouse.dbname)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(warehouse.server.dsn(warehouse.dbname, "analyst", "wrong"))


def test_a_database_is_closed_to_the_owner_of_another(postgres: postgresql.Server) -> None:
    for name in ("mine", "yours"):
        postgresql.create_database(postgres, name, owner=f"{name}_owner", password=name)
    with closing(psycopg2.connect(postgres.dsn("mine", "mine_owner", "mine"))) as connection:
        assert connection.info.dbname == "mine"
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        psycopg2.connect(postgres.dsn("mine", "yours_owner", "yours"))


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


def test_no_port_of_the_s3_server_gives_an_object_without_a_signature(s3: S3, stack_directory: Path) -> None:
    s3.client.put_object(Bucket=s3.bucket, Key="secret.txt", Body=b"secret")
    (server,) = [one for one in psutil.process_iter() if f"-dir={stack_directory / 's3'}" in _cmdline(one)]
    listening = {one.laddr.port for one in server.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
    assert len(listening) > 4
    for port in listening:
        for path in (f"/buckets/{s3.bucket}/secret.txt", f"/{s3.bucket}/secret.txt"):
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                try:
                    connection.request("GET", path)
                    answer = connection.getresponse()
                    assert (port, answer.status, answer.read()) != (port, 200, b"secret")
                except (http.client.HTTPException, OSError):
                    continue  # gRPC, or closed to HTTP


def test_a_server_without_credentials_is_not_even_started() -> None:
    with pytest.raises(ValueError, match="open to everybody"):
        seaweed.env("", "", "bucket")


def test_two_homes_run_side_by_side_and_their_data_survives_a_kill(stack_directory: Path) -> None:
    first, second = (stack_directory / name for name in ("first home", "second home"))
    settings = {"shared_buffers": "32MB"}
    with ExitStack() as running:
        servers = [
            running.enter_context(stack.postgres(path, password="p", settings=settings)) for path in (first, second)
        ]
        stores = [running.enter_context(stack.s3(path, access_key="k", secret_key="s")) for path in (first, second)]
        for name, server, store in zip(("first", "second"), servers, stores, strict=True):
            with closing(server.connect()) as connection, connection, connection.cursor() as cursor:
                cursor.execute(f"create table mine as select '{name}' as home")
            client = seaweed.client(store.endpoint_url, "k", "s")
            client.put_object(Bucket=store.bucket, Key="mine", Body=name.encode())
        # leaving the context kills all four where they stand
    with (
        stack.postgres(first, password="p", settings=settings) as server,
        stack.s3(first, access_key="k", secret_key="s") as store,
    ):
        with closing(server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("select home from mine")
            assert cursor.fetchall() == [("first",)]
        client = seaweed.client(store.endpoint_url, "k", "s")
        assert client.get_object(Bucket=store.bucket, Key="mine")["Body"].read() == b"first"


def test_a_lock_of_a_killed_server_whose_pid_somebody_else_has_does_not_keep_it_from_starting(
    stack_directory: Path,
) -> None:
    home = stack_directory / "home"
    settings = {"shared_buffers": "32MB"}
    with stack.postgres(home, password="p", settings=settings):
        pass
    data = postgresql.data_directory(home / "postgres")
    lock = data / "postmaster.pid"
    # a pid of the server's own user: the only kind that PostgreSQL minds
    user = postgresql.install(home / "postgres", password="p").user
    stranger = subprocess.Popen(["sleep", "600"], user=user, cwd="/")
    try:
        lock.write_text(f"{stranger.pid}\n{data}\n1\n5432\n\n127.0.0.1\n1 1\nready\n")
        with stack.postgres(home, password="p", settings=settings) as server:
            assert server.is_ready()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def _cmdline(one: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return one.cmdline()
    return []
