"""Other ways to bring a month of trips or documents into Postgres, each as its own documentation tells.

They run in processes of their own (`benchmarks/worker.py`). What is not in uv.lock runs in an environment of its own
below the state folder, made when it is first wanted: `installed` says which.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.worker import WayError

DLT = ("dlt[postgres]==1.31.0", "pyarrow==26.0.1", "adbc-driver-postgresql==1.13.0")
"""https://dlthub.com/docs/dlt-ecosystem/destinations/postgres: Parquet goes in by ADBC where that is installed"""
IMPORTS = {
    "adbc": ("adbc_driver_postgresql.dbapi", "pyarrow.parquet"),
    "psycopg_csv": ("psycopg", "pyarrow.parquet", "pyarrow.csv"),
    "pandas_to_sql": ("pandas", "sqlalchemy", "psycopg2", "pyarrow.parquet"),
    "dlt_arrow": ("dlt", "dlt.destinations", "pyarrow.parquet", "adbc_driver_postgresql.dbapi"),
    "dlt_rows": ("dlt", "dlt.destinations", "pyarrow.parquet", "psycopg2"),
    "dlt_documents": ("dlt", "dlt.destinations", "psycopg2"),
}
"""what each imports before it is timed"""
_PAGE_ROWS = 65_536


@cache
def installed(state: Path, *requirements: str) -> Path:
    """The interpreter of an environment with these packages, made by uv if it is not there.

    Raises:
        WayError: There is no uv, or it failed.
    """
    name = requirements[0].partition("[")[0].partition("=")[0]
    folder, stamp = state / name, state / name / "stamp"
    python = folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == "\n".join(requirements):
        return python
    own = state.parent / "uv" / "bin" / "uv"  # the launcher's
    uv = shutil.which("uv") or (str(own) if own.exists() else None)
    if uv is None:
        raise WayError("not installed: there is no uv on PATH or in the state folder")
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", str(python), *requirements],
    ):
        done = subprocess.run(
            command, env=os.environ | {"UV_PYTHON_DOWNLOADS": "never"}, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise WayError(f"not installed: uv: {' '.join(done.stderr.split())[:160]}")
    stamp.write_text("\n".join(requirements))
    return python


def adbc(url: str, dsn: str, table: str) -> Callable[[], object]:
    """Arrow's driver alone, fed from the file's record batches."""
    dbapi: Any = importlib.import_module("adbc_driver_postgresql.dbapi")
    pq: Any = importlib.import_module("pyarrow.parquet")
    pa: Any = importlib.import_module("pyarrow")

    def work() -> None:
        with _downloaded(url) as path, dbapi.connect(dsn) as connection, connection.cursor() as cursor:
            parquet = pq.ParquetFile(path, pre_buffer=False)
            reader = pa.RecordBatchReader.from_batches(parquet.schema_arrow, parquet.iter_batches(_PAGE_ROWS))
            cursor.adbc_ingest(table, reader, mode="replace")
            connection.commit()

    return work


def psycopg_csv(url: str, dsn: str, table: str) -> Callable[[], object]:
    """Psycopg's COPY, fed with CSV that Arrow writes."""
    psycopg: Any = importlib.import_module("psycopg")
    pq: Any = importlib.import_module("pyarrow.parquet")
    pa: Any = importlib.import_module("pyarrow")
    csv: Any = importlib.import_module("pyarrow.csv")

    def work() -> None:
        with _downloaded(url) as path, psycopg.connect(dsn) as connection:
            parquet = pq.ParquetFile(path, pre_buffer=False)
            kinds = {"int": "bigint", "double": "double precision", "timestamp": "timestamp"}
            columns = ", ".join(
                f'"{field.name}" {next((k for n, k in kinds.items() if str(field.type).startswith(n)), "text")}'
                for field in parquet.schema_arrow
            )
            connection.execute(f"drop table if exists {table}")
            connection.execute(f"create table {table} ({columns})")
            with connection.cursor().copy(f"copy {table} from stdin (format csv)") as copy:
                for batch in parquet.iter_batches(_PAGE_ROWS):
                    written = pa.BufferOutputStream()
                    csv.write_csv(batch, written, csv.WriteOptions(include_header=False))
                    copy.write(memoryview(written.getvalue()))

    return work


def pandas_to_sql(url: str, dsn: str, table: str) -> Callable[[], object]:
    """What most tutorials show: pandas reads the file, and writes it with its defaults, by SQLAlchemy."""
    pandas: Any = importlib.import_module("pandas")
    sqlalchemy: Any = importlib.import_module("sqlalchemy")

    def work() -> None:
        engine = sqlalchemy.create_engine(dsn.replace("postgresql://", "postgresql+psycopg2://"))
        with _downloaded(url) as path:
            pandas.read_parquet(path).to_sql(table, engine, if_exists="replace", index=False)
        engine.dispose()

    return work


def dlt_arrow(url: str, dsn: str, table: str) -> Callable[[], object]:
    """Dlt at its best: Arrow batches in, Parquet files, loaded by ADBC."""
    pq: Any = importlib.import_module("pyarrow.parquet")

    def batches(path: str) -> Iterator[Any]:
        yield from pq.ParquetFile(path, pre_buffer=False).iter_batches(_PAGE_ROWS)

    return _dlt(url, dsn, table, batches, loader_file_format="parquet")


def dlt_rows(url: str, dsn: str, table: str) -> Callable[[], object]:
    """Dlt as it is by default: rows in, INSERT statements out."""
    pq: Any = importlib.import_module("pyarrow.parquet")

    def rows(path: str) -> Iterator[Any]:
        for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(10_000):
            yield batch.to_pylist()

    return _dlt(url, dsn, table, rows)


def dlt_documents(path: str, dsn: str, table: str) -> Callable[[], object]:
    """Dlt by default with JSON documents, a line each: it makes typed tables of them, and of lists in them."""

    def documents(lines: str) -> Iterator[Any]:
        json: Any = importlib.import_module("json")
        with Path(lines).open("rb") as file:
            while page := [json.loads(line) for line, _ in zip(file, range(1_000), strict=False)]:
                yield page

    return _dlt(f"file://{path}", dsn, table, documents)


def _dlt(
    url: str,
    dsn: str,
    table: str,
    read: Callable[[str], Iterator[Any]],
    **how: str,
) -> Callable[[], object]:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    dlt: Any = importlib.import_module("dlt")
    scratch = tempfile.mkdtemp(prefix="sluice-dlt-")
    pipeline = dlt.pipeline(
        table,
        pipelines_dir=scratch,
        destination=dlt.destinations.postgres(dsn),
        dataset_name=f"dlt_{table}",
    )

    def work() -> None:
        with _downloaded(url) as path:
            done = pipeline.run(read(path), table_name=table, write_disposition="replace", **how)
        done.raise_on_failed_jobs()
        shutil.rmtree(scratch, ignore_errors=True)

    return work


class _downloaded:  # noqa: N801 - reads as what it gives
    """The object at a presigned URL as a file, for as long as the context lasts."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> str:
        if self._url.startswith("file://"):
            return self._url.removeprefix("file://")
        descriptor, self._path = tempfile.mkstemp(suffix=".parquet")
        os.close(descriptor)
        urllib.request.urlretrieve(self._url, self._path)  # noqa: S310 - ours, presigned
        return self._path

    def __exit__(self, *_: object) -> None:
        if not self._url.startswith("file://"):
            Path(self._path).unlink()
