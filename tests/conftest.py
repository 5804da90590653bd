"""What tests share: a real PostgreSQL and a real S3 server, one of each per session (per worker of pytest-xdist)."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from include.warehouse.bootstrap import ROLES, bootstrap
from local import postgres as postgresql
from local import s3 as seaweed
from local import stack

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_OWNER = "sluice_owner"
_numbers = itertools.count(1)


_AWS = Path(__file__).parent / "aws"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--aws`, by which an account is tried that costs money."""
    parser.addoption("--aws", action="store_true", help="the smoke test of a real AWS account, and no other test")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The smoke test with `--aws`, and all others without."""
    is_smoke = collection_path.is_relative_to(_AWS)
    if not config.getoption("--aws"):
        return True if is_smoke else None
    return None if is_smoke or _AWS.is_relative_to(collection_path) else True


class _AtOnce:
    """Tells of a failure when it happens: a run that takes long may be cut before its end, which lists them."""

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """What pytest has seen of a test."""
        terminal = self._plugins.get_plugin("terminalreporter")
        if report.failed and terminal:
            end = "\n".join(report.longreprtext.splitlines()[-40:])
            terminal.write_line(f"\n{report.nodeid}: {report.when} failed after {report.duration:.0f} s\n{end}\n")


def pytest_configure(config: pytest.Config) -> None:
    """Failures are told at once, by the process that has the terminal."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_AtOnce(config))


class _ByFile(LoadScopeScheduling):  # type: ignore[misc] # which pytest-xdist has no types for
    """A file's tests stay on one worker, with their fixtures, and so do all that share the stack."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        # those of faults have a stack of their own
        shared = next(
            (room for room in ("tests/e2e/", "tests/arrivals/", "tests/faults/") if file.startswith(room)), None
        )
        return shared or file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """How tests are dealt out to the workers of pytest-xdist."""
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A room that takes minutes begins early: last, it kept one worker busy and the other one waiting."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/workers/"))


@dataclass(frozen=True)
class Warehouse:
    """An empty, bootstrapped warehouse database of its own."""

    server: postgresql.Server
    dbname: str

    @property
    def host(self) -> str:
        """Where the server listens."""
        return self.server.host

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.server.port

    def password(self, role: str) -> str:
        """The fixed password of a role."""
        return f"{role}-Password-1"  # which Redshift takes too

    def dsn(self, role: str = _OWNER) -> str:
        """A postgresql:// URI of a role of the warehouse (or of the server's superuser, by its name)."""
        if role == self.server.superuser:
            return self.server.dsn(self.dbname)
        return self.server.dsn(self.dbname, role, self.password(role))


class S3(NamedTuple):
    """A bucket of its own on the S3 server, and what it takes to reach it."""

    client: "S3Client"
    bucket: str
    endpoint_url: str
    access_key: str
    secret_key: str


@pytest.fixture(scope="session")
def stack_directory() -> Iterator[Path]:
    """Where the session's servers keep their data; others may pass, for root's PostgreSQL runs as another user."""
    directory = Path(tempfile.mkdtemp(prefix="sluice-test-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(stack_directory: Path) -> Iterator[postgresql.Server]:
    """A PostgreSQL server: .host .port .superuser .password .dsn(dbname, user=None, password=None)."""
    with stack.postgres(stack_directory) as server:
        yield server


@pytest.fixture(scope="module")
def warehouse(postgres: postgresql.Server) -> Iterator[Warehouse]:
    """A fresh warehouse database a module, bootstrapped; .dsn(role) for each role and the owner."""
    made = Warehouse(postgres, "warehouse")  # one name for all: what dbt has parsed for one fits the next
    postgresql.create_database(postgres, made.dbname, owner=_OWNER, password=made.password(_OWNER))
    with closing(postgres.connect(made.dbname)) as connection:
        bootstrap(connection, {role: made.password(role) for role in ROLES})
    yield made
    with closing(postgres.connect()) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'drop database "{made.dbname}" with (force)')


@pytest.fixture(scope="session")
def s3_server(stack_directory: Path) -> Iterator[stack.Store]:
    """The S3 server itself."""
    with stack.s3(stack_directory) as store:
        yield store


@pytest.fixture
def s3(s3_server: stack.Store) -> Iterator[S3]:
    """A fresh bucket a test: (client, bucket, endpoint_url, access_key, secret_key); it is gone after the test."""
    client = seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    bucket = f"test-{next(_numbers)}"
    client.create_bucket(Bucket=bucket)
    yield S3(client, bucket, s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    with suppress(client.exceptions.NoSuchBucket):  # a test may have taken it away itself
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                client.delete_object(Bucket=bucket, Key=entry["Key"])
        client.delete_bucket(Bucket=bucket)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real payloads, which is not part of the repository; without it the test is skipped."""
    folder = Path(os.environ.get("SLUICE_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real payloads at {folder}: set SLUICE_TEST_DATA to the folder that holds them")
    return folder
