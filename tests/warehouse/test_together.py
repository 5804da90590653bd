"""Two runs of one partition at once, each a process of its own: one load waits for the other, and they never mix."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from include.warehouse.load import RawTable, create_table
from tests.conftest import Warehouse
from tests.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]
ROWS = 2_000
LOAD = """
import sys
from include.warehouse.load import LoadError, RawTable, load_documents

dsn, mode, landing, rows, tag = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]

def records():
    for number in range(rows):
        if number == rows // 2:
            print("in the middle", flush=True)
            sys.stdin.readline()
        yield b'{"id": %d, "of": "%s"}' % (number, tag.encode()), None

try:
    load_documents(dsn, RawTable("shop__both", mode, keys=("id",) if mode == "upsert" else ()), landing, records())
    print("loaded", flush=True)
except LoadError as fault:
    print(f"refused: {fault}", flush=True)
"""


@contextmanager
def loading(dsn: str, mode: str, landing: int, tag: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that loads the landing and stops in the middle of its COPY until it is sent a line."""
    command = [sys.executable, "-c", LOAD, dsn, mode, str(landing), str(ROWS), tag]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def ask(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(warehouse.dsn(warehouse.server.superuser))) as connection, connection.cursor() as one:
        one.execute(query)
        return one.fetchall()


def waits(warehouse: Warehouse) -> bool:
    return bool(
        ask(
            warehouse,
            "select 1 from pg_stat_activity where wait_event = 'advisory' and datname = current_database()",
        )
    )


@pytest.mark.parametrize("mode", ["append", "replace", "upsert"])
@pytest.mark.parametrize("first_is_older", [True, False], ids=["older first", "newer first"])
def test_two_loads_of_a_partition_go_one_after_the_other(
    warehouse: Warehouse, book: Callable[..., int], mode: str, first_is_older: bool
) -> None:
    dsn = warehouse.dsn("sluice_loader")
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("drop table if exists raw.shop__both")
    create_table(dsn, RawTable("shop__both", mode, keys=("id",) if mode == "upsert" else ()))  # type: ignore[arg-type]
    partition = f"{mode}-{first_is_older}"
    older, newer = book("both", partition), book("both", partition)
    one, other = (older, newer) if first_is_older else (newer, older)

    with loading(dsn, mode, one, "one") as first:
        assert says(first) == "in the middle"
        with loading(dsn, mode, other, "other") as second:
            wait_until(lambda: waits(warehouse), "the second load waits for the first", seconds=120)
            assert ask(warehouse, "select count(*) from raw.shop__both") == [(0,)]
            go_on(first)
            assert says(first) == "loaded"
            if mode == "replace" and not first_is_older:
                assert "was superseded by" in says(second)
            else:
                assert says(second) == "in the middle"
                go_on(second)
                assert says(second) == "loaded"

    found = ask(
        warehouse,
        "select _landing_id, payload ->> 'of', count(*), count(distinct payload ->> 'id') from raw.shop__both "
        "group by 1, 2 order by 1",
    )
    tags = {one: "one", other: "other"}
    kept = [older, newer] if mode == "append" else [newer]
    assert found == [(landing, tags[landing], ROWS, ROWS) for landing in kept]
