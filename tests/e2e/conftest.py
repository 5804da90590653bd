"""One stack for all end-to-end tests: a copy of the project, run by its launcher as a user would."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pytest

PROJECT = Path(__file__).resolve().parents[2]
REAL_DATA = Path(os.environ.get("SLUICE_TEST_DATA", PROJECT.parent / "shared" / "data"))
CONNECTIONS_FROM_FILE = """\
[secrets]
backend = airflow.secrets.local_filesystem.LocalFilesystemBackend
backend_kwargs = {{"connections_file_path": "{file}"}}

[workers]
secrets_backend = airflow.secrets.local_filesystem.LocalFilesystemBackend
secrets_backend_kwargs = {{"connections_file_path": "{file}"}}
"""
"""Airflow's configuration by which a test leads a stack's connections elsewhere: they stand in a file of JSON"""


@dataclass(frozen=True)
class Stack:
    """A running stack, and the copy of the project whose launcher drives it."""

    project: Path
    home: Path

    def sluice(self, *arguments: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """Run the launcher on this stack's home and return what it printed and how it ended."""
        return subprocess.run(
            [str(self.project / "sluice"), *arguments],
            env=os.environ | {"SLUICE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def secret(self, name: str) -> str:
        """A generated password."""
        return str(json.loads((self.home / "secrets.json").read_text())[name])

    def port(self, service: str) -> int:
        """Where a service listens."""
        return int(json.loads((self.home / "state.json").read_text())["ports"][service])

    def rows(self, query: str, role: str = "superuser", *, database: str = "warehouse") -> list[tuple[Any, ...]]:
        """What the warehouse answers, or Airflow's database."""
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port("postgres"),
            dbname=database,
            user="postgres" if role == "superuser" else role,
            password=self.secret(f"postgres_{role}"),
        )
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def airflow(self, path: str) -> Any:  # noqa: ANN401 - whatever JSON the API gives
        """What Airflow's REST API answers to a GET."""
        root = f"http://127.0.0.1:{self.port('airflow')}"
        login = json.dumps({"username": "admin", "password": self.secret("airflow_admin")}).encode()
        token = _ask(f"{root}/auth/token", "POST", login)["access_token"]
        return _ask(f"{root}/api/v2/{path}", "GET", None, Authorization=f"Bearer {token}")

    def break_api(self, **fault: object) -> None:
        """Have the sandbox misbehave, until `mend_api`."""
        self._control("PUT", json.dumps([fault]).encode())

    def mend_api(self) -> None:
        """Have it behave again."""
        self._control("DELETE", None)

    def drop(self, key: str, content: bytes) -> None:
        """Put a file into the drop zone."""
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port('s3')}",
            aws_access_key_id=self.secret("s3_access_key"),
            aws_secret_access_key=self.secret("s3_secret_key"),
            region_name="us-east-1",
        )
        client.put_object(Bucket="sluice-lake", Key=f"drop/{key}", Body=content)

    def mails(self) -> list[EmailMessage]:
        """What lies in the mail sink, oldest first."""
        parser = BytesParser(policy=policy.default)
        return [parser.parsebytes(path.read_bytes()) for path in sorted((self.home / "mail").glob("*.eml"))]

    def _control(self, method: str, body: bytes | None) -> None:
        _ask(f"http://127.0.0.1:{self.port('sandbox')}/_sandbox/faults", method, body)


def _ask(url: str, method: str, body: bytes | None, **headers: str) -> Any:  # noqa: ANN401
    request = urllib.request.Request(  # noqa: S310 - our own services
        url, data=body, method=method, headers={"Content-Type": "application/json", **headers}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        text = answer.read()
    return json.loads(text) if text else None


def analytics(stack: Stack, but: str = "") -> dict[str, str]:
    """A hash over all rows of each table that readers see, what is behind masks too: equal content, equal hash.

    Args:
        stack: whose warehouse.
        but: a column to leave out.
    """
    there = "relnamespace = 'analytics'::regnamespace and relkind in ('r', 'v')"
    tables = stack.rows(f"select relname::text from pg_class where {there} order by 1")
    content = f"count(*) || ' ' || coalesce(sum(hashtextextended((to_jsonb(t) - '{but}')::text, 0)), 0)"
    return {table: stack.rows(f"select {content} from analytics.{table} as t")[0][0] for (table,) in tables}


@pytest.fixture(scope="session")
def real_data() -> Path | None:
    """Real payloads, laid out as `--data` wants them; None where the folder is not there."""
    month = REAL_DATA / "taxi" / "parquet" / "green_tripdata_2024-01.parquet"
    if not month.is_file():
        return None
    folder = Path(tempfile.mkdtemp(prefix="sluice-data-"))
    for name, path in {
        "tlc/green_tripdata_2024-01.parquet": month,
        "tlc/taxi_zone_lookup.csv": REAL_DATA / "zones" / "taxi_zone_lookup.attommm.csv",
        "openweather/cities.json": REAL_DATA / "weather" / "owm_current_186_cities.json",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(path)
    return folder


@pytest.fixture(scope="package")
def stack(real_data: Path | None) -> Iterator[Stack]:
    """The whole product, started by `./sluice up --no-run`."""
    folder = Path(tempfile.mkdtemp(prefix="sluice e2e "))  # a path with spaces, on purpose
    folder.chmod(0o755)
    left_behind = shutil.ignore_patterns(
        ".git", ".venv", ".sluice", ".*_cache", "__pycache__", "*.egg-info", ".hypothesis"
    )
    shutil.copytree(PROJECT, folder / "project", ignore=left_behind)
    (folder / "project" / ".venv").symlink_to(Path(sys.prefix))
    made = Stack(folder / "project", folder / "home")
    data = ("--data", str(real_data)) if real_data else ()
    try:
        started = made.sluice("up", "--no-run", *data)
        assert started.returncode == 0, started.stdout + started.stderr
        yield made
    finally:
        made.sluice("down", "--purge")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package")
def first_up(stack: Stack, real_data: Path | None) -> subprocess.CompletedProcess[str]:
    """What `./sluice up` printed when it ran every source for the first time."""
    up = stack.sluice("up", *(("--data", str(real_data)) if real_data else ()), seconds=1800)
    assert up.returncode == 0, up.stdout + up.stderr
    return up
