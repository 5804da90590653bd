"""A small raw table in a real warehouse, and gates written in a test."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from include.gates import Gates, load_gates
from tests.conftest import Warehouse

LAYERS = ("landing", "raw", "staging", "marts")
GatesFile = Callable[..., Gates]


def entry(expectation: str, on_failure: str = "fail", **arguments: object) -> str:
    """An entry of gates.yml (JSON is YAML)."""
    return json.dumps({expectation: arguments, "on_failure": on_failure, "why": "a reason"})


@pytest.fixture
def gates_of(tmp_path: Path) -> GatesFile:
    """Gates of one table: `gates_of("raw", "tlc__rides", "{expect_…: {…}, on_failure: fail, why: …}", …)`."""

    def write(layer: str, table: str, *entries: str, head: str = "") -> Gates:
        path = tmp_path / "gates.yml"
        lines = []
        for name in LAYERS:
            own = name == layer
            lines += [f"{name}:", f"  {table if own else 'tlc__rides'}:", *([f"    {head}"] if own and head else [])]
            lines += [
                "    expect:",
                *(
                    f"      - {entry}"
                    for entry in (
                        entries if own else (entry("expect_table_row_count_to_be_between", "warn", min_value=0),)
                    )
                ),
            ]
        path.write_text("\n".join(lines), encoding="utf-8")
        return load_gates(path)

    return write


@pytest.fixture(scope="module")
def rides(warehouse: Warehouse) -> Warehouse:
    """raw.tlc__rides: landing 1 with 10 good rides, landing 2 with 4 of which two are bad, and raw.codes of 2 rows."""
    with (
        closing(psycopg2.connect(warehouse.dsn("sluice_loader"))) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "create table raw.tlc__rides (rider text, fare double precision, _landing_id bigint, _row bigint)"
        )
        cursor.execute("create table raw.tlc__codes (code bigint, label text)")
        cursor.execute("insert into raw.tlc__rides select 'rider ' || i, i, 1, i from generate_series(0, 9) as i")
        cursor.execute(
            "insert into raw.tlc__rides values ('Ada Lovelace', 5, 2, 0), (null, 6, 2, 1), ('Grace Hopper', -70, 2, 2),"
            " ('Ada Lovelace', 8, 2, 3)"
        )
        cursor.execute("insert into raw.tlc__codes values (1, 'one'), (2, 'two')")
    return warehouse


@pytest.fixture
def gate_connection(warehouse: Warehouse) -> Iterator[Connection]:
    """A connection as sluice_gate, and an empty ops.gate_result."""
    with closing(psycopg2.connect(warehouse.dsn(warehouse.server.superuser))) as owner, owner, owner.cursor() as cursor:
        cursor.execute("truncate ops.gate_result")
    with closing(psycopg2.connect(warehouse.dsn("sluice_gate"))) as connection:
        yield connection
