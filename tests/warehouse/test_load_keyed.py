"""Keyed tables: what a later row does to an earlier one, and what becomes of rows that are there no more."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from include.warehouse.load import LoadError, RawTable, create_table, load_batches, load_documents
from tests.conftest import Warehouse
from tests.warehouse.test_load import rows_of

Book = Callable[..., int]
_numbers = itertools.count(1)


@pytest.fixture
def fares(warehouse: Warehouse) -> RawTable:
    columns = {"vendor": "bigint", "note": "text", "fare": "double"}
    table = RawTable(f"shop__fares_{next(_numbers)}", "upsert", columns, keys=("vendor", "note"))
    create_table(warehouse.dsn("sluice_loader"), table)
    return table


def fare_rows(landing_id: int, rows: Sequence[tuple[int | None, str, float]], **more: pa.Array) -> pa.RecordBatchReader:
    vendors, notes, fares = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {
        "vendor": pa.array(vendors, pa.int64()),
        "note": pa.array(notes, pa.string()),
        "fare": pa.array(fares, pa.float64()),
        **more,
        "_landing_id": pa.array([landing_id] * len(rows), pa.int64()),
        "_row": pa.array(range(len(rows)), pa.int64()),
    }
    return pa.table(columns).to_reader(max_chunksize=2)


def test_rows_of_a_key_take_the_place_of_older_ones_and_a_replay_undoes_nothing(
    warehouse: Warehouse, fares: RawTable, book: Book
) -> None:
    dsn, first, second = warehouse.dsn("sluice_loader"), book(partition="F1"), book(partition="F2")
    old: list[tuple[int | None, str, float]] = [(1, "a", 1.0), (1, "b", 2.0), (2, "a", 3.0)]
    new: list[tuple[int | None, str, float]] = [(1, "b", 7.0), (3, "a", 8.0), (3, "a", 9.0)]
    assert load_batches(dsn, fares, first, fare_rows(first, old)) == 3
    assert load_batches(dsn, fares, second, fare_rows(second, new)) == 2
    assert load_batches(dsn, fares, first, fare_rows(first, old)) == 2  # the third row is the later landing's
    rows = rows_of(warehouse, f"select vendor, note, fare, _landing_id, _row from raw.{fares.name} order by 1, 2")
    assert rows == [
        (1, "a", 1.0, first, 0),
        (1, "b", 7.0, second, 0),
        (2, "a", 3.0, first, 2),
        (3, "a", 9.0, second, 2),
    ]
    booked = rows_of(warehouse, f"select loaded_rows from ops.landing where landing_id in ({first}, {second})")
    assert sorted(booked) == [(2,), (2,)]  # what raw holds of each


def test_a_row_without_its_key_is_named_and_nothing_of_its_landing_is_loaded(
    warehouse: Warehouse, fares: RawTable, book: Book
) -> None:
    landing = book(partition="F3")
    rows = fare_rows(landing, [(1, "a", 1.0), (2, "a", 2.0), (None, "a", 3.0), (None, "b", 4.0)])
    with pytest.raises(LoadError, match=r"its record 2 \(from 0\) lacks a value for the key \(vendor, note\)"):
        load_batches(warehouse.dsn("sluice_loader"), fares, landing, rows)
    assert rows_of(warehouse, f"select * from raw.{fares.name}") == []
    assert rows_of(warehouse, f"select loaded_at from ops.landing where landing_id = {landing}") == [(None,)]


def test_a_later_row_without_a_column_that_an_earlier_one_brought_has_none(
    warehouse: Warehouse, fares: RawTable, book: Book
) -> None:
    dsn, first, second = warehouse.dsn("sluice_loader"), book(partition="F4"), book(partition="F5")
    load_batches(dsn, fares, first, fare_rows(first, [(1, "a", 1.0), (2, "a", 1.0)], tip=pa.array([0.5, 0.25])))
    load_batches(dsn, fares, second, fare_rows(second, [(1, "a", 2.0)]))
    rows = rows_of(warehouse, f"select vendor, fare, tip from raw.{fares.name} order by 1")
    assert rows == [(1, 2.0, None), (2, 1.0, 0.25)]


def land_keys(warehouse: Warehouse, table: RawTable, landing: int, keys: Sequence[int]) -> int:
    """The same rows as documents or as columns, whichever the table is of."""
    dsn = warehouse.dsn("sluice_loader")
    if table.columns is None:
        return load_documents(dsn, table, landing, [(b'{"vendor": %d, "note": "a"}' % key, None) for key in keys])
    return load_batches(dsn, table, landing, fare_rows(landing, [(key, "a", float(key)) for key in keys]))


@pytest.fixture(params=["rows", "documents"])
def absentees(warehouse: Warehouse, request: pytest.FixtureRequest) -> Callable[[str], RawTable]:
    columns = {"vendor": "bigint", "note": "text", "fare": "double"} if request.param == "rows" else None

    def make(absent: Any) -> RawTable:  # noqa: ANN401 - one of three literals
        name = f"shop__absentees_{next(_numbers)}"
        table = RawTable(name, "upsert", columns, keys=("vendor", "note"), absent=absent)
        create_table(warehouse.dsn("sluice_loader"), table)
        return table

    return make


def vendors_of(warehouse: Warehouse, table: RawTable, more: str = "") -> list[tuple[Any, ...]]:
    vendor = "vendor" if table.columns else "(payload ->> 'vendor')::int"
    return rows_of(warehouse, f"select {vendor} {more} from raw.{table.name} order by 1")


def test_rows_that_a_landing_lacks_are_kept_unless_the_source_says_otherwise(
    warehouse: Warehouse, absentees: Callable[[str], RawTable], book: Book
) -> None:
    table, first, second = absentees("keep"), book(entity="kept"), book(entity="kept")
    land_keys(warehouse, table, first, [1, 2])
    land_keys(warehouse, table, second, [2, 3])
    assert vendors_of(warehouse, table, ", _landing_id") == [(1, first), (2, second), (3, second)]


def test_rows_that_a_complete_landing_lacks_are_marked_with_it_once_and_until_they_are_back(
    warehouse: Warehouse, absentees: Callable[[str], RawTable], book: Book
) -> None:
    table = absentees("mark")
    first, second, third, fourth = (book(entity=f"marked_{table.name}", partition=f"{n}") for n in range(4))
    land_keys(warehouse, table, first, [1, 2, 3, 4])
    for _ in range(2):
        land_keys(warehouse, table, second, [2])
        assert vendors_of(warehouse, table, ", _landing_id, _row, _absent_since is not null") == [
            (1, second, -1, True),
            (2, second, 0, False),
            (3, second, -2, True),
            (4, second, -3, True),
        ]
    fetched = rows_of(warehouse, f"select fetched_at from ops.landing where landing_id = {second}")
    assert rows_of(warehouse, f"select distinct _absent_since from raw.{table.name} where _row < 0") == fetched
    land_keys(warehouse, table, third, [2, 3])
    seen = [(1, second, True), (2, third, False), (3, third, False), (4, second, True)]
    assert vendors_of(warehouse, table, ", _landing_id, _absent_since is not null") == seen
    land_keys(warehouse, table, second, [2])  # replayed
    assert vendors_of(warehouse, table, ", _landing_id, _absent_since is not null") == seen
    land_keys(warehouse, table, fourth, [])
    assert vendors_of(warehouse, table, ", _absent_since is not null") == [(n, True) for n in (1, 2, 3, 4)]


def test_rows_that_a_complete_landing_lacks_are_deleted_and_no_replay_brings_them_back(
    warehouse: Warehouse, absentees: Callable[[str], RawTable], book: Book
) -> None:
    table = absentees("delete")
    first, second = (book(entity=f"deleted_{table.name}", partition=f"{n}") for n in range(2))
    for landing, keys, rows in ((first, [1, 2], 2), (second, [2, 3], 2), (second, [2, 3], 2), (first, [1, 2], 0)):
        assert land_keys(warehouse, table, landing, keys) == rows
    assert vendors_of(warehouse, table, ", _landing_id") == [(2, second), (3, second)]
