"""Loads into raw: whole or not at all, once and no more, whatever is repeated or broken."""

import itertools
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import Any

import psycopg2
import pyarrow as pa
import pytest

from include.warehouse import landings
from include.warehouse.load import CursorMark, LoadError, RawTable, create_table, load_batches, load_documents
from tests.conftest import Warehouse

Book = Callable[..., int]
_numbers = itertools.count(1)


def rows_of(warehouse: Warehouse, query: str, role: str = "sluice_loader") -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(warehouse.dsn(role))
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    finally:
        connection.close()


@pytest.fixture
def trips(warehouse: Warehouse) -> RawTable:
    table = RawTable(f"shop__trips_{next(_numbers)}", "replace", {"vendor": "bigint", "fare": "double", "note": "text"})
    create_table(warehouse.dsn("sluice_loader"), table)
    return table


@pytest.fixture
def users(warehouse: Warehouse) -> RawTable:
    table = RawTable(f"shop__users_{next(_numbers)}", "upsert", keys=("id", "at.dt"))
    create_table(warehouse.dsn("sluice_loader"), table)
    return table


def batches(landing_id: int, vendors: Sequence[int | None], **more: pa.Array) -> pa.RecordBatchReader:
    count = len(vendors)
    table = pa.table(
        {
            "vendor": pa.array(vendors, pa.int64()),
            "fare": pa.array([1.5] * count),
            "note": pa.array(['a "quoted", ünï\n line'] * count),
            **more,
            "_landing_id": pa.array([landing_id] * count, pa.int64()),
            "_row": pa.array(range(count), pa.int64()),
        }
    )
    return table.to_reader(max_chunksize=2)


def test_a_landing_arrives_with_its_values_and_its_lineage(warehouse: Warehouse, trips: RawTable, book: Book) -> None:
    landing = book()
    assert load_batches(warehouse.dsn("sluice_loader"), trips, landing, batches(landing, [7, None, 9])) == 3
    rows = rows_of(warehouse, f"select vendor, fare, note, _landing_id, _row from raw.{trips.name} order by _row")
    assert rows == [(vendor, 1.5, 'a "quoted", ünï\n line', landing, row) for row, vendor in enumerate([7, None, 9])]
    booked = rows_of(
        warehouse, f"select loaded_rows, loaded_at is not null from ops.landing where landing_id = {landing}"
    )
    assert booked == [(3, True)]


def test_loading_the_same_landing_again_changes_nothing(warehouse: Warehouse, trips: RawTable, book: Book) -> None:
    landing = book()
    for _ in range(2):
        load_batches(warehouse.dsn("sluice_loader"), trips, landing, batches(landing, [1, 2]))
    assert rows_of(warehouse, f"select vendor from raw.{trips.name} order by 1") == [(1,), (2,)]


def test_a_later_landing_replaces_its_partition_and_no_other(warehouse: Warehouse, trips: RawTable, book: Book) -> None:
    dsn = warehouse.dsn("sluice_loader")
    january, february, january_again = book(), book(partition="2024-02"), book()
    load_batches(dsn, trips, january, batches(january, [1]))
    load_batches(dsn, trips, february, batches(february, [2]))
    load_batches(dsn, trips, january_again, batches(january_again, [3, 4]))
    assert rows_of(warehouse, f"select vendor from raw.{trips.name} order by 1") == [(2,), (3,), (4,)]
    superseded = rows_of(warehouse, f"select superseded_by from ops.landing where landing_id = {january}")
    assert superseded == [(january_again,)]


def test_an_older_landing_does_not_undo_a_newer_one(warehouse: Warehouse, trips: RawTable, book: Book) -> None:
    dsn = warehouse.dsn("sluice_loader")
    older, newer = book(partition="2024-03"), book(partition="2024-03")
    load_batches(dsn, trips, newer, batches(newer, [2]))
    with pytest.raises(LoadError, match=f"landing {older} was superseded by {newer}"):
        load_batches(dsn, trips, older, batches(older, [1]))
    assert rows_of(warehouse, f"select vendor from raw.{trips.name}") == [(2,)]


def test_a_load_that_breaks_off_leaves_the_rows_before_it(warehouse: Warehouse, trips: RawTable, book: Book) -> None:
    dsn = warehouse.dsn("sluice_loader")
    good, bad = book(partition="2024-04"), book(partition="2024-04")
    load_batches(dsn, trips, good, batches(good, [1]))

    def breaking() -> Iterator[pa.RecordBatch]:
        yield next(iter(batches(bad, [2, 3])))
        raise pa.ArrowInvalid("the stream broke")

    with pytest.raises(LoadError, match=r"not loaded: .*the stream broke"):
        load_batches(dsn, trips, bad, pa.RecordBatchReader.from_batches(batches(bad, [1]).schema, breaking()))
    assert rows_of(warehouse, f"select vendor from raw.{trips.name}") == [(1,)]
    assert rows_of(warehouse, f"select loaded_at from ops.landing where landing_id = {bad}") == [(None,)]
    left = rows_of(warehouse, f"select relname from pg_class where relname like '%{bad}'")
    assert left == []


def test_a_landing_that_is_not_booked_is_refused(warehouse: Warehouse, trips: RawTable) -> None:
    with pytest.raises(LoadError, match=r"landing 42 is not in ops\.landing"):
        load_batches(warehouse.dsn("sluice_loader"), trips, 42, batches(42, [1]))


def test_a_new_column_of_the_file_becomes_a_column_of_the_table(
    warehouse: Warehouse, trips: RawTable, book: Book
) -> None:
    dsn = warehouse.dsn("sluice_loader")
    before, after = book(partition="2024-05"), book(partition="2024-06")
    load_batches(dsn, trips, before, batches(before, [1]))
    load_batches(dsn, trips, after, batches(after, [2], surcharge=pa.array([0.75])))
    assert rows_of(warehouse, f"select vendor, surcharge from raw.{trips.name} order by 1") == [(1, None), (2, 0.75)]


@pytest.mark.parametrize("mode", ["replace", "upsert"])
@pytest.mark.parametrize("name", ["tip %", "%s", 'a "b"', "Größe"])
def test_a_new_column_may_have_any_name(warehouse: Warehouse, book: Book, name: str, mode: Any) -> None:  # noqa: ANN401
    dsn, landing_id = warehouse.dsn("sluice_loader"), book(partition=f"{mode} {name}")
    columns = {"vendor": "bigint", "fare": "double", "note": "text"}
    table = RawTable(f"shop__trips_{next(_numbers)}", mode, columns, keys=("vendor",) if mode == "upsert" else ())
    create_table(dsn, table)
    for _ in range(2):
        load_batches(dsn, table, landing_id, batches(landing_id, [1], **{name: pa.array(["x"])}))
    assert rows_of(warehouse, f"select to_jsonb(held) from raw.{table.name} as held")[0][0][name] == "x"


def test_a_column_that_comes_as_another_type_is_never_misread(
    warehouse: Warehouse, trips: RawTable, book: Book
) -> None:
    """In the binary format eight bytes are eight bytes: nothing but us would notice."""
    dsn = warehouse.dsn("sluice_loader")
    whole, broken, text = (book(partition=f"2024-0{month}") for month in (7, 8, 9))
    load_batches(dsn, trips, whole, batches(whole, [1], code=pa.array([7])))
    load_batches(dsn, trips, broken, batches(broken, [2], code=pa.array([8.0])))
    assert rows_of(warehouse, f"select vendor, code from raw.{trips.name} order by 1") == [(1, 7), (2, 8)]
    with pytest.raises(LoadError, match="column 'code' is a bigint there, and comes as double with values") as caught:
        load_batches(dsn, trips, broken, batches(broken, [3], code=pa.array([8.5])))
    assert "fields of source.yml" in str(caught.value)
    with pytest.raises(LoadError, match="column 'code' is a bigint there"):
        load_batches(dsn, trips, text, batches(text, [4], code=pa.array(["n/a"])))
    assert rows_of(warehouse, f"select vendor, code from raw.{trips.name} order by 1") == [(1, 7), (2, 8)]


def test_two_loads_of_a_partition_at_once_leave_one_landing(warehouse: Warehouse, trips: RawTable, book: Book) -> None:
    dsn, refused = warehouse.dsn("sluice_loader"), []
    ids = [book(partition="2024-07") for _ in range(6)]

    def one(landing: int) -> None:
        try:
            load_batches(dsn, trips, landing, batches(landing, [landing % 1000]))
        except LoadError as fault:
            refused.append(str(fault))

    threads = [threading.Thread(target=one, args=(landing,)) for landing in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows_of(warehouse, f"select _landing_id from raw.{trips.name}") == [(ids[-1],)]
    assert all("superseded" in message for message in refused)


def alone(texts: Iterable[bytes]) -> list[tuple[bytes, None]]:
    """Records without a word on what was asked for."""
    return [(text, None) for text in texts]


def test_documents_arrive_as_they_came(warehouse: Warehouse, users: RawTable, book: Book) -> None:
    landing = book()
    document = {"id": 1, "at": {"dt": 5}, "big": 2**80, "text": 'a\n"\\ \u0001 \u0002 ü 🚕 \\n,', "none": None}
    texts = [json.dumps(document).encode(), json.dumps({**document, "id": 2}, ensure_ascii=False).encode()]
    assert load_documents(warehouse.dsn("sluice_loader"), users, landing, alone(texts)) == 2
    rows = rows_of(warehouse, f"select payload, _key, _landing_id, _row from raw.{users.name} order by _key")
    assert rows == [(document, "1|5", landing, 0), ({**document, "id": 2}, "2|5", landing, 1)]


def test_an_upsert_takes_the_place_of_what_has_its_key(warehouse: Warehouse, users: RawTable, book: Book) -> None:
    dsn, first, second = warehouse.dsn("sluice_loader"), book(partition="T01"), book(partition="T02")

    def say(value: str, *ids: int) -> list[bytes]:
        return [json.dumps({"id": one, "at": {"dt": 5}, "says": value}).encode() for one in ids]

    load_documents(dsn, users, first, alone(say("old", 1, 2)))
    load_documents(dsn, users, second, alone(say("new", 2, 3)))
    load_documents(dsn, users, first, alone(say("old", 1, 2)))  # replayed: the newer landing's row stays
    rows = rows_of(
        warehouse, f"select payload ->> 'id', payload ->> 'says', _landing_id from raw.{users.name} order by 1"
    )
    assert rows == [("1", "old", first), ("2", "new", second), ("3", "new", second)]


def test_of_two_documents_with_one_key_the_later_holds(warehouse: Warehouse, users: RawTable, book: Book) -> None:
    texts = [b'{"id": 1, "at": {"dt": 5}, "n": %d}' % number for number in (1, 2)]
    assert load_documents(warehouse.dsn("sluice_loader"), users, book(), alone(texts)) == 1
    assert rows_of(warehouse, f"select payload ->> 'n', _row from raw.{users.name}") == [("2", 1)]


def test_a_document_without_its_key_is_named(warehouse: Warehouse, users: RawTable, book: Book) -> None:
    texts = [b'{"id": 1, "at": {"dt": 5}}', b'{"id": 1}']
    with pytest.raises(LoadError, match=r"record 1 \(from 0\) lacks a value for the key \(id, at\.dt\)"):
        load_documents(warehouse.dsn("sluice_loader"), users, book(), alone(texts))
    assert rows_of(warehouse, f"select * from raw.{users.name}") == []


def test_documents_of_the_mode_append_stay_beside_each_other(warehouse: Warehouse, book: Book) -> None:
    dsn, table = warehouse.dsn("sluice_loader"), RawTable("shop__events", "append")
    create_table(dsn, table)
    for landing in (book(partition="2024-01-01"), book(partition="2024-01-01")):
        for _ in range(2):
            load_documents(dsn, table, landing, alone([b'{"a": 1}']))
    assert rows_of(warehouse, "select count(*), count(distinct _landing_id) from raw.shop__events") == [(2, 2)]


def test_a_table_gains_the_columns_declared_since(warehouse: Warehouse, trips: RawTable) -> None:
    wider = RawTable(trips.name, "replace", {**(trips.columns or {}), "airport_fee": "double"})
    for _ in range(2):
        create_table(warehouse.dsn("sluice_loader"), wider)
    assert rows_of(warehouse, f"select airport_fee from raw.{trips.name}") == []


def test_the_latest_landing_of_a_partition_is_told(warehouse: Warehouse, book: Book) -> None:
    dsn = warehouse.dsn("sluice_loader")
    book(entity="latest", sha256="a")
    newest = book(entity="latest", sha256="b")
    found = landings.latest(dsn, source="shop", entity="latest", partition="2024-01")
    assert found is not None
    assert (found.landing_id, found.sha256, found.is_published) == (newest, "b", False)
    assert landings.latest(dsn, source="shop", entity="latest", partition="2024-02") is None


def test_records_stand_beside_what_was_asked_for(warehouse: Warehouse, book: Book) -> None:
    dsn, table = warehouse.dsn("sluice_loader"), RawTable("shop__asked", "append", has_request=True)
    create_table(dsn, table)
    load_documents(dsn, table, book(partition="1"), [(b'{"a": 1}', b'{"town": "Oslo"}'), (b'{"a": 2}', None)])
    rows = rows_of(warehouse, f"select payload, _request from raw.{table.name} order by _row")
    assert rows == [({"a": 1}, {"town": "Oslo"}), ({"a": 2}, {})]


def test_a_table_from_before_gets_its_column_for_what_was_asked(warehouse: Warehouse, book: Book) -> None:
    dsn = warehouse.dsn("sluice_loader")
    create_table(dsn, RawTable("shop__older", "append"))
    load_documents(dsn, RawTable("shop__older", "append"), book(partition="1"), alone([b"{}"]))
    create_table(dsn, RawTable("shop__older", "append", has_request=True))
    assert rows_of(warehouse, "select _request from raw.shop__older") == [({},)]


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_the_cursor_moves_with_the_rows_and_never_back(warehouse: Warehouse, book: Book, mode: str) -> None:
    dsn = warehouse.dsn("sluice_loader")
    table = RawTable(
        f"shop__posts_{mode}",
        "upsert" if mode == "upsert" else "append",
        keys=("id",) if mode == "upsert" else (),
        has_request=True,
        cursor=CursorMark("id", "number", by="at"),
    )
    create_table(dsn, table)

    def cursor(town: str, before: date | None = None) -> str | None:
        return landings.cursor(dsn, "shop", mode, {"town": town}, kind="number", before=before)

    def load(*posts: tuple[int, str, str]) -> None:
        landing = book(entity=mode, partition="all")
        records = [
            (json.dumps({"id": str(number), "at": at}).encode(), json.dumps({"town": town}).encode())
            for number, at, town in posts
        ]
        load_documents(dsn, table, landing, records)

    assert cursor("Oslo") is None
    load((9, "2026-11-20T23:00:00-02:00", "Oslo"), (100, "2026-11-20T12:00:00Z", "Oslo"), (7, "2026-11-19", "Lima"))
    assert (cursor("Oslo"), cursor("Lima")) == ("100", "7")  # as numbers: 9 is no greater than 100
    assert cursor("Oslo", date(2026, 11, 21)) == "100"
    assert cursor("Oslo", date(2026, 11, 20)) is None
    load((50, "2026-11-20T01:00:00Z", "Oslo"), (8, "2026-11-20", "Lima"))  # late ones
    assert (cursor("Oslo"), cursor("Lima"), cursor("Lima", date(2026, 11, 20))) == ("100", "8", "7")


def test_a_load_that_fails_leaves_the_cursor_where_it_was(warehouse: Warehouse, book: Book) -> None:
    dsn = warehouse.dsn("sluice_loader")
    table = RawTable("shop__broken", "append", cursor=CursorMark("id", "number"))
    create_table(dsn, table)
    load_documents(dsn, table, book(entity="broken", partition="1"), alone([b'{"id": 1}']))
    with pytest.raises(LoadError):
        load_documents(dsn, table, book(entity="broken", partition="2"), alone([b'{"id": 2}', b'{"id": }']))
    with pytest.raises(LoadError, match="invalid input syntax for type numeric"):
        load_documents(dsn, table, book(entity="broken", partition="3"), alone([b'{"id": "x"}']))
    assert landings.cursor(dsn, "shop", "broken", {}, kind="number", before=None) == "1"
    assert rows_of(warehouse, f"select payload from raw.{table.name}") == [({"id": 1},)]
