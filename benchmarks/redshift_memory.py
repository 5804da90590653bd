"""What a load into Redshift costs the worker: its memory, from ten thousand rows to three million.

    .venv/bin/python -m benchmarks.redshift_memory [--rows 10000 100000 1000000 3000000] [--ways parquet csv]

Redshift is the front of the tests (tests/redshift/front) before an embedded PostgreSQL, so seconds mean nothing and are
not shown. The worker is a process of its own for each load, which imports what a task imports, loads a handful of rows
first, and then the landing: what its memory grows by is the load's.

Two ways: `parquet`, the landing's own files, which Redshift fetches; `csv`, a file that is converted on its way.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.table import count, megabytes, ratio, table
from include.landing import LandingStore
from include.pipeline import steps
from include.pipeline.model import Source
from include.warehouse.redshift.bootstrap import USERS, bootstrap
from local import postgres as postgresql
from local import s3, stack
from tests.redshift.front import front, prepare

ROWS = (10_000, 100_000, 1_000_000, 3_000_000)
_ADMIN, _PASSWORD = "awsadmin", "Admin-password-1"
_BUCKET = "benchmark"
_A_TIME = 100_000
_FIELDS = {"id": "bigint", "at": "timestamp", "distance": "double", "fare": "double", "note": "text"}


def main() -> int:
    """Print the table; exit 1 if the worker's memory grows by more than half from the least rows to the most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--ways", nargs="+", choices=("parquet", "csv"), default=["parquet", "csv"])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(_work(json.loads(given.worker))))
        return 0
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # the front's, which says of LOCK that it only passes it on
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        folder.chmod(0o711)  # root's PostgreSQL runs as another user
        server = running.enter_context(stack.postgres(folder))
        store = running.enter_context(stack.s3(folder))
        client = s3.client(store.endpoint_url, store.access_key, store.secret_key)
        client.create_bucket(Bucket=_BUCKET)
        postgresql.create_database(server, "redshift", owner=_ADMIN, password=_PASSWORD)
        with closing(server.connect("redshift")) as connection, connection.cursor() as cursor:
            cursor.execute(f"alter role {_ADMIN} superuser")
            cursor.execute('grant connect, temporary on database "redshift" to public')
            connection.commit()
        prepare(server, "redshift")
        listening = running.enter_context(front(server, client))
        place = f"{listening.host}:{listening.port}/redshift?sslmode=disable&iam_role="
        role = quote("arn:aws:iam::123456789012:role/copy")
        bootstrap(f"redshift://{_ADMIN}:{_PASSWORD}@{place}{role}", {user: f"{user}-Password-1" for user in USERS})
        dsn = f"redshift://sluice_loader:sluice_loader-Password-1@{place}{role}"
        landings = LandingStore(client, _BUCKET)
        rows = []
        for way in given.ways:
            base = None
            for number in given.rows:
                few, landed = (_land(landings, dsn, way, size, folder) for size in (10, number))
                found = _loaded(dsn, store, way, few, landed)
                grown = found["peak"] - found["before"]
                base = base or found["peak"]
                rows.append(
                    [
                        way,
                        count(found["rows"]),
                        megabytes(landed["bytes"]),
                        megabytes(found["before"]),
                        megabytes(found["peak"]),
                        megabytes(grown),
                        ratio(found["peak"], base),
                    ]
                )
                print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {sys.version.split()[0]}; load {load}.")
    print("Memory of the worker in MB (10^6 bytes): before the load, at its peak, and how much it grew by.\n")
    print(table(["landing", "rows", "MB landed", "before", "peak", "grown", "peak/first"], rows))
    return 1 if any(float(row[-1]) > 1.5 for row in rows) else 0


def _source(way: str) -> Source:
    """A source of one entity of files."""
    fields = {name: {"type": kind, "description": name} for name, kind in _FIELDS.items()}
    things = {
        "description": "Made up.",
        "files": f"things/*.{way}",
        "format": way,
        "load": {"mode": "append"},
        "fields": fields,
        "quarantine_at_most": 0.01,
    }
    return Source.model_validate(
        {
            "name": f"bench_{way}",
            "description": "Made up.",
            "owner": "nobody",
            "connection": "bench",
            "schedule": None,
            "partition": {"grain": "day"},
            "entities": {"things": things},
        }
    )


def _land(store: LandingStore, dsn: str, way: str, rows: int, folder: Path) -> dict[str, Any]:
    """A landing of one file of so many rows, made a piece at a time."""
    file = folder / f"{way}-{rows}"
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("at", pa.timestamp("us")),
            ("distance", pa.float64()),
            ("fare", pa.float64()),
            ("note", pa.string()),
        ]
    )
    numbers = np.random.default_rng(rows)
    writer: Any = pq.ParquetWriter(file, schema) if way == "parquet" else pyarrow.csv.CSVWriter(file, schema)
    with writer:
        for first in range(0, rows, _A_TIME):
            size = min(_A_TIME, rows - first)
            writer.write_table(
                pa.table(
                    [
                        pa.array(np.arange(first, first + size)),
                        pa.array(np.arange(first, first + size) * 1_000_000).cast(pa.timestamp("us")),
                        pa.array(numbers.random(size).round(2)),
                        pa.array(numbers.random(size).round(2)),
                        pa.array([f"note {one % 97}" for one in range(size)]),
                    ],
                    schema=schema,
                )
            )
    source = _source(way)
    with store.begin(
        source=source.name,
        entity="things",
        partition="2026-11-27",
        run_id=f"rows-{rows}",
        format=source.entities["things"].format,
    ) as landing:
        landing.add_file(_pieces(file), way)
        landing.seal()
        manifest = landing.commit({})
    size = file.stat().st_size
    file.unlink()
    steps.book(dsn, manifest)
    landed = steps.Landing(
        landing_id=manifest.landing_id, entity="things", partition=manifest.partition, uri=manifest.uri
    )
    return {"landing": landed, "bytes": size}


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(1 << 20):
            yield piece


def _loaded(dsn: str, store: stack.Store, way: str, few: dict[str, Any], landed: dict[str, Any]) -> dict[str, int]:
    """Load a landing in a process of its own; rows, and its memory in bytes."""
    task = {
        "dsn": dsn,
        "way": way,
        "s3": [store.endpoint_url, store.access_key, store.secret_key],
        "landings": [few["landing"], landed["landing"]],
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.redshift_memory", "--worker", json.dumps(task)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def _work(task: dict[str, Any]) -> dict[str, int]:
    """What the worker does: the load, and a look at its own memory (VmHWM is the peak, proc(5))."""
    store = LandingStore(s3.client(*task["s3"]), _BUCKET)
    few, landed = task["landings"]
    source = _source(task["way"])
    steps.load(source, "things", [few], store=store, dsn=task["dsn"])
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # from here on the peak counts
    rows = steps.load(source, "things", [landed], store=store, dsn=task["dsn"])
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"rows": rows, "before": before, "peak": int(status["VmHWM"].split()[0]) * 1024}


if __name__ == "__main__":
    raise SystemExit(main())
