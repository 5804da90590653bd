"""What benchmarks have in common: servers of their own, data to work on, and how their results are told."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow.parquet as pq

from benchmarks.measure import Clock
from benchmarks.ours import chunks, store
from benchmarks.stack import machine as stack_machine
from benchmarks.table import table
from include.landing import LandingStore, Manifest
from include.pipeline import steps
from include.warehouse.bootstrap import ROLES, bootstrap
from local import postgres as postgresql
from local import stack
from local.sandbox import trips

OWNER = "sluice_owner"
PASSWORD = "benchmark"  # noqa: S105 - of servers that live as long as the benchmark, on loopback


@dataclass(frozen=True)
class Goal:
    """What was wanted and what was measured, for the last lines of a result."""

    text: str
    value: float | None
    at_most: float | None = None
    at_least: float | None = None

    def __str__(self) -> str:
        """`met: text: 1.02, at most 1.15`."""
        wanted = f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"
        if self.value is None:
            return f"not measured: {self.text}, {wanted}"
        is_met = self.value <= self.at_most if self.at_most is not None else self.value >= (self.at_least or 0)
        return f"{'met' if is_met else 'MISSED'}: {self.text}: {self.value:.2f}, {wanted}"


@dataclass(frozen=True)
class Result:
    """What a benchmark found: a table, how it came about, and the goals."""

    what: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()

    def text(self) -> str:
        """As Markdown, the machine and the date first."""
        lines = [f"{self.what} {machine()}", "", table(self.header, self.rows), ""]
        return "\n".join([*lines, *(f"- {line}" for line in (*self.goals, *self.notes))])


@dataclass(frozen=True)
class Servers:
    """A PostgreSQL with the settings of `./sluice up`, and an S3 server."""

    postgres: postgresql.Server
    s3: stack.Store
    folder: Path
    clock: Clock = field(default_factory=Clock)

    def warehouse(self, name: str = "warehouse") -> str:
        """Make an empty warehouse, and return its name."""
        postgresql.create_database(self.postgres, name, owner=OWNER, password=PASSWORD)
        with closing(self.postgres.connect(name)) as connection:
            bootstrap(connection, dict.fromkeys(ROLES, PASSWORD))
        return name

    def dsn(self, role: str | None = None, database: str = "warehouse") -> str:
        """A postgresql:// URI, without a role the superuser's."""
        return self.postgres.dsn(database, role, PASSWORD) if role else self.postgres.dsn(database)

    def ask(self, *statements: str, database: str = "warehouse") -> list[tuple[Any, ...]]:
        """Run statements as the superuser in one transaction; the rows of the last."""
        with (
            closing(psycopg2.connect(self.dsn(database=database))) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def vacuum(self, table: str, database: str = "warehouse") -> None:
        """Clean a table up, as autovacuum would some time."""
        with closing(psycopg2.connect(self.dsn(database=database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"vacuum (analyze) {table}")

    @property
    def store(self) -> LandingStore:
        """The landings."""
        return store(**self.s3.__dict__)

    @property
    def server_files(self) -> Path:
        """Where the server may write files that it is told to write."""
        return postgresql.data_directory(self.folder / "postgres")


@contextmanager
def servers() -> Iterator[Servers]:
    """Start both in a temporary folder; both and all their data are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    folder.chmod(0o711)  # root's PostgreSQL runs as another user, who must pass
    try:
        with stack.postgres(folder, settings={}) as postgres, stack.s3(folder) as s3:
            started = Servers(postgres, s3, folder)
            try:
                yield started
            finally:
                started.clock.close()
    finally:
        shutil.rmtree(postgresql.data_directory(folder / "postgres"), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def state_folder() -> Path:
    """Where what is made once is kept: months of trips, the environments of peers."""
    home = Path(os.environ.get("SLUICE_HOME") or Path(__file__).resolve().parents[1] / ".sluice")
    folder = home.resolve() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def month_file(rows: int) -> Path:
    """A synthetic yellow month of so many rows, as the TLC publishes it."""
    path = state_folder() / f"yellow-2024-01-{rows}.parquet"
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        trips.write_month("yellow", "2024-01", rows, fresh)
        fresh.replace(path)
    return path


def repeated(path: Path, times: int) -> Path:
    """A file's rows several times over, in a file of its own."""
    made = path.with_name(f"{path.stem}-x{times}.parquet")
    if not made.exists():
        source, fresh = pq.ParquetFile(path), made.with_name(f"{made.name}.{os.getpid()}")
        with pq.ParquetWriter(fresh, source.schema_arrow) as writer:
            for _ in range(times):
                for group in range(source.num_row_groups):
                    writer.write_table(source.read_row_group(group))
        fresh.replace(made)
    return made


def land(servers: Servers, path: Path, partition: str, *, run_id: str, database: str = "warehouse") -> Manifest:
    """Land a file of yellow trips and book it."""
    with servers.store.begin(
        source="tlc", entity="yellow_trips", partition=partition, run_id=run_id, format="parquet"
    ) as writer:
        writer.add_file(chunks(path), "parquet")
        manifest = writer.commit({})
    steps.book(servers.dsn("sluice_loader", database), manifest)
    return manifest


def machine() -> str:
    """Date, machine and load, for the head of a result."""
    return f"{datetime.now(UTC):%Y-%m-%d}, {stack_machine()}; load {os.getloadavg()[0]:.1f}."
