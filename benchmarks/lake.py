"""A mart into the lake, of more and more rows: time against a bare `COPY … TO STDOUT`, and the memory it takes.

PostgreSQL and S3 of its own, taxi trips in one slice, the export as the task does it (no Glue: the catalogue is a
stand-in that takes everything). Each size is exported by a process of its own, whose memory at the end of the export is
compared with that before it. Prints Markdown. Exit 1 if the memory of the largest is more than 1.5 times that of the
smallest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from benchmarks.table import count, megabytes, ratio, seconds, table
from include.lake import LakeTable, export
from include.parquet import Bucket
from include.warehouse import exports
from include.warehouse.bootstrap import ROLES, bootstrap
from include.warehouse.marts import Mart, SliceBy
from local import postgres as postgresql
from local import s3 as seaweed
from local import stack

SIZES = (100_000, 1_000_000, 3_000_000)
MOST_GROWTH = 1.5
_MART = Mart("trip", ("trip_key",), slice_by=(SliceBy("source_month"),))
_MAKE = """
create table analytics.trip as
select n as trip_key, date '2024-01-01' as source_month, (n %% 265)::int as zone_key,
    timestamp '2024-01-01' + n * interval '1 second' as pickup_at,
    timestamp '2024-01-01' + n * interval '2 seconds' as dropoff_at, (n %% 9)::bigint as passenger_count,
    (n %% 5000 / 100.0)::numeric(12, 2) as trip_distance_miles, (n %% 9973 / 100.0)::numeric(12, 2) as fare_amount_usd,
    (n %% 997 / 100.0)::numeric(12, 2) as tip_amount_usd, (n %% 9973 / 90.0)::numeric(12, 2) as total_amount_usd,
    n %% 7 = 0 as is_reversal, md5(n::text) as request_source, 1700000000000000 as _landing_id, n as _row,
    timestamptz '2024-03-01Z' as _loaded_at
from generate_series(1, %s) as n;
grant select on analytics.trip to analyst;
"""


class _Catalogue:
    """Takes all, and holds nothing."""

    database = "none"

    def table(self, _name: str) -> None:
        return None

    def put(self, _table: object) -> None: ...

    def partitions(self, _name: str) -> dict[tuple[str, ...], str]:
        return {}

    def put_partitions(self, *_: object) -> None: ...

    def drop_partitions(self, *_: object) -> None: ...


def main() -> int:
    """Measure every size, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=SIZES)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        sys.stdout.write(json.dumps(_export(json.loads(given.one))))
        return 0
    directory = Path(tempfile.mkdtemp(prefix="sluice-lake-"))
    directory.chmod(0o711)
    rows, peaks = [], []
    try:
        with stack.postgres(directory) as server, stack.s3(directory) as store:
            postgresql.create_database(server, "warehouse", owner="owner", password="owner")  # noqa: S106 - of a minute
            with closing(server.connect("warehouse")) as connection:
                bootstrap(connection, dict.fromkeys(ROLES, "role"))
            dsn = server.dsn("warehouse", "sluice_reporter", "role")
            for size in given.rows:
                with closing(server.connect("warehouse")) as connection, connection, connection.cursor() as cursor:
                    cursor.execute("drop table if exists analytics.trip")
                    cursor.execute(_MAKE, (size,))
                copied = min(_copy(dsn) for _ in range(2))
                asked = {"dsn": dsn, "url": store.endpoint_url, "key": store.access_key, "secret": store.secret_key}
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.lake", "--one", json.dumps({**asked, "bucket": store.bucket})],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                found = json.loads(done.stdout)
                peaks.append(found["rss"])
                rows.append(
                    [
                        count(size),
                        seconds(found["seconds"]),
                        count(size / found["seconds"]),
                        ratio(found["seconds"], copied),
                        count(found["files"]),
                        megabytes(found["bytes"]),
                        megabytes(found["before"]),
                        megabytes(found["rss"]),
                    ]
                )
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    header = ["rows", "s", "rows/s", "x bare COPY", "files", "MB", "RSS before, MB", "RSS at most, MB"]
    sys.stdout.write(table(header, rows) + "\n")
    return 1 if max(peaks) > MOST_GROWTH * min(peaks) else 0


def _copy(dsn: str) -> float:
    """Seconds that the server takes to give all rows as binary, to nobody."""
    with (
        closing(psycopg2.connect(dsn)) as connection,
        connection.cursor() as cursor,
        Path(os.devnull).open("wb") as out,
    ):
        start = time.perf_counter()
        cursor.copy_expert("copy (select * from analytics.trip) to stdout (format binary)", out)
        return time.perf_counter() - start


def _export(given: dict[str, str]) -> dict[str, Any]:
    """Export the mart once, in this process."""
    own = psutil.Process()
    bucket = Bucket(seaweed.client(given["url"], given["key"], given["secret"]), given["bucket"])
    most, ended = 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not ended.wait(0.02):
            most = max(most, own.memory_info().rss)

    with exports.reading(given["dsn"], _MART) as reading:
        before = own.memory_info().rss
        watching = threading.Thread(target=look)
        watching.start()
        start = time.perf_counter()
        mart = LakeTable("trip", "", reading.schema, [("source_month", "source_month")])
        done = export(
            bucket,
            _Catalogue(),  # type: ignore[arg-type]  # what export asks of one
            mart,
            None,
            all_slices=reading.slices,
            read=reading.batches,
        )
        took = time.perf_counter() - start
        ended.set()
        watching.join()
    return {"seconds": took, "rss": most, "before": before, "files": done.files, "bytes": done.bytes}


if __name__ == "__main__":
    sys.exit(main())
