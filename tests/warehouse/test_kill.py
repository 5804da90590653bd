"""A load that is killed in the middle of its COPY: nothing of it is seen, and the same load afterwards arrives once."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg2

from include.warehouse.load import RawTable, create_table
from tests.conftest import Warehouse

PROJECT = Path(__file__).resolve().parents[2]
LOAD = """
import signal, sys
import pyarrow as pa
from include.warehouse.load import RawTable, load_batches

dsn, landing, stops = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "stops"
schema = pa.schema([("a", pa.int64()), ("_landing_id", pa.int64()), ("_row", pa.int64())])

def batches():
    for first in range(0, 200_000, 50_000):
        rows = range(first, first + 50_000)
        yield pa.record_batch([list(rows), [landing] * 50_000, list(rows)], schema)
        if stops and first == 100_000:
            print("in the middle", flush=True)
            signal.pause()

reader = pa.RecordBatchReader.from_batches(schema, batches())
load_batches(dsn, RawTable("shop__killed", "replace", {"a": "bigint"}), landing, reader)
"""


def test_a_load_killed_in_its_middle_leaves_nothing_and_the_next_one_all_of_it_once(
    warehouse: Warehouse, book: Callable[..., int]
) -> None:
    dsn, landing = warehouse.dsn("sluice_loader"), book(partition="2024-12")
    create_table(dsn, RawTable("shop__killed", "replace", {"a": "bigint"}))
    command = [sys.executable, "-c", LOAD, dsn, str(landing)]
    with subprocess.Popen([*command, "stops"], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "in the middle\n"
        victim.kill()
    assert victim.returncode == -signal.SIGKILL
    assert held(dsn, landing) == (0, 0, 0, None)
    assert subprocess.run([*command, "on"], cwd=PROJECT, check=False).returncode == 0
    assert held(dsn, landing) == (200_000, 200_000, sum(range(200_000)), 200_000)


def held(dsn: str, landing: int) -> tuple[int, int, int, int | None]:
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "select count(*), count(distinct _row), coalesce(sum(a), 0)::bigint, "
            "(select loaded_rows::int from ops.landing where landing_id = %s) from raw.shop__killed",
            (landing,),
        )
        found = cursor.fetchone()
    connection.close()
    assert found is not None
    return found
