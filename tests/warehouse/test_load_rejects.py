"""Rows that raw cannot take: held with their reasons, counted, decided anew by each load; and what a load books."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from include.landing import LandingError
from include.landing.tables import Unreadable
from include.warehouse import account as accounts
from include.warehouse import landings
from include.warehouse.account import Account
from include.warehouse.fence import Fence, Superseded
from include.warehouse.jsonb import fault_of, storable
from include.warehouse.load import LoadError, RawTable, Record, create_table, load_batches, load_documents
from include.warehouse.session import psycopg_session
from tests.conftest import Warehouse
from tests.waiting import wait_until
from tests.warehouse.test_load import rows_of

Book = Callable[..., int]
_numbers = itertools.count(1)


@pytest.fixture
def dsn(warehouse: Warehouse) -> str:
    return warehouse.dsn("sluice_loader")


def made(dsn: str, mode: Any, columns: dict[str, str] | None = None, **more: Any) -> RawTable:  # noqa: ANN401
    keys = ("id",) if mode == "upsert" else ()
    table = RawTable(f"shop__r{next(_numbers)}", mode, columns, keys=keys, **more)
    create_table(dsn, table)
    return table


def account_of(table: RawTable, landing_id: int, at_most: float = 0.5) -> Account:
    return Account(table.name, landing_id, at_most=at_most, dag_run_id="run 7")


def load(
    dsn: str,
    table: RawTable,
    landing_id: int,
    *texts: bytes | Unreadable,
    at_most: float = 0.5,
    fence: Fence | None = None,
) -> int:
    records: list[Record] = [(text, b'{"town": "Oslo"}') for text in texts]
    account = account_of(table, landing_id, at_most)
    account.begin_part("part-00001.ndjson.zst", "s3://b/part-00001.ndjson.zst")
    return load_documents(dsn, table, landing_id, records, account=account, fence=fence)


def held(
    warehouse: Warehouse, table: RawTable, columns: str = "_row, payload, record, reasons"
) -> list[tuple[Any, ...]]:
    there = rows_of(warehouse, f"select to_regclass('quarantine.{table.name}') is not null")
    if there == [(False,)]:
        return []
    return rows_of(warehouse, f"select {columns} from quarantine.{table.name} order by _landing_id, _row")


def booked(warehouse: Warehouse, landing_id: int, column: str = "loaded_rows") -> Any:  # noqa: ANN401
    return rows_of(warehouse, f"select {column} from ops.landing where landing_id = {landing_id}")[0][0]


@pytest.mark.parametrize("mode", ["append", "replace", "upsert"])
def test_records_that_jsonb_does_not_take_are_held_and_the_others_keep_their_places(
    warehouse: Warehouse, dsn: str, book: Book, mode: str
) -> None:
    table, landing = made(dsn, mode, has_request=True), book(partition=f"mixed {mode}")
    given: list[bytes | Unreadable] = [
        b'{"id": 1}',
        b'{"id": 2, "n": NaN}',
        Unreadable("is no JSON object", "[1, 2]\0"),
        b'{"id": 4, "n": 1e999999, "text": "\\u0000"}',
        b'{"id": 5, "text": "NaN and -Infinity, 1e999999"}',
        b'{"id": 6, "n": ' + b"[" * 1001 + b"]" * 1001 + b"}",
        b'{"id": 7}',
    ]
    assert load(dsn, table, landing, *given, at_most=0.6) == 3
    assert rows_of(warehouse, f"select _row, payload ->> 'id' from raw.{table.name} order by 1") == [
        (0, "1"),
        (4, "5"),
        (6, "7"),
    ]
    found = held(warehouse, table)
    assert [(row, payload) for row, payload, _, _ in found] == [(row, None) for row in (1, 2, 3, 5)]
    assert [record for _, _, record, _ in found][:3] == [given[1].decode(), "[1, 2]\ufffd", given[3].decode()]  # type: ignore[union-attr]
    assert [reasons for *_, reasons in found] == [
        [{"layer": "load", "rule": "parser", "column": None, "message": message}]
        for message in (
            "holds NaN, which is no JSON number",
            "is no JSON object",
            "holds a number that is out of the range of Postgres' numeric",
            "is nested more than 1000 deep",
        )
    ]
    assert held(warehouse, table, "_landing_id, _request, dag_run_id") == [(landing, {"town": "Oslo"}, "run 7")] * 4
    assert booked(warehouse, landing) == 3
    parts = f"select part, uri, first_row, row_count from ops.landing_part where landing_id = {landing}"
    for role in ("operator", "sluice_reporter"):
        assert rows_of(warehouse, parts, role) == [("part-00001.ndjson.zst", "s3://b/part-00001.ndjson.zst", 0, 7)]


@pytest.mark.parametrize("columns", [None, {"id": "bigint", "note": "text"}])
def test_rows_without_a_key_are_held_with_what_they_are(
    warehouse: Warehouse, dsn: str, book: Book, columns: dict[str, str] | None
) -> None:
    table, landing = made(dsn, "upsert", columns), book(partition=f"keyless {columns}")
    account = account_of(table, landing)
    if columns is None:
        load_documents(dsn, table, landing, [(b'{"id": 1}', None), (b'{"note": "x"}', None)], account=account)
    else:
        load_batches(dsn, table, landing, batches(landing, [(0, 1, "a"), (1, None, "x")]), account=account)
    expected: dict[str, object] = {"note": "x"} if columns is None else {"id": None, "note": "x"}
    ((row, payload, record, reasons),) = held(warehouse, table)
    assert (row, payload, record) == (1, expected, None)
    assert reasons[0]["message"] == "lacks a value for the key (id); mend load.keys in source.yml"
    assert booked(warehouse, landing) == 1


def batches(landing_id: int, rows: list[tuple[int, int | None, str]]) -> pa.RecordBatchReader:
    places, ids, notes = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "note": pa.array(notes, pa.string()),
            "_landing_id": pa.array([landing_id] * len(rows), pa.int64()),
            "_row": pa.array(places, pa.int64()),
        }
    ).to_reader(max_chunksize=2)


def test_over_the_share_the_load_fails_with_the_count_and_the_first_fault_and_leaves_nothing(
    warehouse: Warehouse, dsn: str, book: Book
) -> None:
    for mode in ("replace", "upsert"):
        table, landing = made(dsn, mode), book(partition=f"share {mode}")
        texts = [b'{"id": %d}' % n for n in range(200)]
        texts[7] = texts[9] = b'{"id": NaN}'
        assert load(dsn, table, landing, *texts, at_most=0.01) == 198
        before = held(warehouse, table)
        texts[3] = b'{"id": NaN}'
        with pytest.raises(LoadError) as error:
            load(dsn, table, landing, *texts, at_most=0.01)
        assert str(error.value) == (
            f"raw.{table.name}: landing {landing} was not loaded: 3 of its 200 rows cannot be read, and "
            "quarantine_at_most in source.yml lets 0.01 of them go to quarantine; the first, row 3 (from 0): "
            "holds NaN, which is no JSON number"
        )
        assert held(warehouse, table) == before
        assert booked(warehouse, landing) == 198


def test_with_a_share_of_nothing_the_first_fails_the_load(warehouse: Warehouse, dsn: str, book: Book) -> None:
    table, landing = made(dsn, "append"), book(partition="none")
    with pytest.raises(LoadError, match=r"its record 1 \(from 0\) holds Infinity, which is no JSON number"):
        load(dsn, table, landing, b"{}", b'{"a": Infinity}', *[b"{}"] * 500, at_most=0)
    assert booked(warehouse, landing, "loaded_at") is None


def test_no_more_are_collected_than_memory_is_meant_for(dsn: str, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    table = made(dsn, "append")
    monkeypatch.setattr(accounts, "MOST", 3)
    pulled = []

    def endless() -> Iterator[Record]:
        for number in itertools.count():
            pulled.append(number)
            yield b'{"a": NaN}', None

    landing = book(partition="many")
    with pytest.raises(
        LoadError, match=r"more than 3 of its rows cannot be read; the first, row 0 \(from 0\): holds NaN"
    ):
        load_documents(dsn, table, landing, endless(), account=account_of(table, landing, 1.0))
    assert len(pulled) == 4


def test_a_load_decides_anew_about_what_was_held(warehouse: Warehouse, dsn: str, book: Book) -> None:
    table, landing = made(dsn, "append"), book(partition="anew")
    load(dsn, table, landing, b"{}", b'{"a": NaN}')
    for _ in range(2):  # the source is mended, and the landing loaded again
        load(dsn, table, landing, b"{}", b'{"a": 1}')
        assert held(warehouse, table) == []
        assert booked(warehouse, landing) == 2
        assert rows_of(warehouse, f"select _row from raw.{table.name} order by 1") == [(0,), (1,)]


def test_what_was_held_of_a_landing_goes_with_it_when_it_is_superseded(
    warehouse: Warehouse, dsn: str, book: Book
) -> None:
    table = made(dsn, "replace")
    old, other, new = book("gone", partition="1"), book("gone", partition="2"), book("gone", partition="1")
    for landing in (old, other):
        load(dsn, table, landing, b"{}", b'{"a": NaN}')
    load(dsn, table, new, b"{}", b"{}", b'{"b": NaN}')
    assert held(warehouse, table, "_landing_id, _row") == [(other, 1), (new, 2)]


def test_who_is_held_is_not_taken_for_gone(warehouse: Warehouse, dsn: str, book: Book) -> None:
    for absent in ("mark", "delete"):
        table = made(dsn, "upsert", absent=absent)
        load(dsn, table, book(f"short {absent}", partition="1"), b'{"id": 1}', b'{"id": 2}')
        load(dsn, table, book(f"short {absent}", partition="2"), b'{"id": 1}', b'{"id": 2, "n": NaN}')
        rows = rows_of(warehouse, f"select _key from raw.{table.name} where _row >= 0 order by 1")
        assert rows == [("1",), ("2",)]


def test_why_rows_end_is_said_in_the_words_of_who_read_them(dsn: str, book: Book) -> None:
    table, landing = made(dsn, "append", {"id": "bigint", "note": "text"}), book(partition="words")

    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches(landing, [(0, 1, "a")])
        raise LandingError("part-00002.csv: it was changed after landing")

    reader = pa.RecordBatchReader.from_batches(batches(landing, []).schema, broken())
    with pytest.raises(LandingError, match=r"^part-00002\.csv: it was changed after landing$"):
        load_batches(dsn, table, landing, reader)


def test_parts_are_booked_with_the_rows_and_anew_with_each_load(warehouse: Warehouse, dsn: str, book: Book) -> None:
    table, landing = made(dsn, "append", {"id": "bigint", "note": "text"}), book(partition="parts")
    query = f"select part, first_row, row_count from ops.landing_part where landing_id = {landing} order by 1"
    for second in (2, 1):
        account = account_of(table, landing)
        account.part("part-00001.csv", "s3://b/1", 0, 3)
        account.hold(1, [("id", "is bad")], payload="{}")
        account.part("part-00002.csv", "s3://b/2", 3, second)
        load_batches(dsn, table, landing, batches(landing, [(0, 1, "a"), (2, 2, "b")]), account=account)
        assert rows_of(warehouse, query) == [("part-00001.csv", 0, 3), ("part-00002.csv", 3, second)]
    account.hold(4, [("id", "is bad")], payload="{}")
    account.hold(5, [("id", "is bad")], payload="{}")
    with pytest.raises(LoadError, match="3 of its 4 rows"):
        load_batches(dsn, table, landing, batches(landing, []), account=account)
    assert len(rows_of(warehouse, query)) == 2


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_landing_loaded_anew_is_unpublished_until_it_is_published_anew(
    warehouse: Warehouse, dsn: str, book: Book, mode: str
) -> None:
    table, entity = made(dsn, mode), f"reloaded_{mode}"
    landing = book(entity)

    def state() -> tuple[bool, list[int]]:
        latest = landings.latest(dsn, source="shop", entity=entity, partition="2024-01")
        waiting = landings.pending(dsn, source="shop", entity=entity)
        assert latest is not None
        return latest.is_published, [one.landing_id for one in waiting]

    load(dsn, table, landing, b'{"id": 1}')
    assert state() == (False, [landing])
    with psycopg_session(warehouse.dsn("sluice_publisher")) as session:
        session.execute("update ops.landing set published_at = now() where landing_id = %s", (landing,))
    assert state() == (True, [])
    load(dsn, table, landing, b'{"id": 1}')
    assert state() == (False, [landing])  # so the next run takes it along, should this one not publish it


@pytest.mark.parametrize("kind", ["documents", "rows"])
def test_a_try_that_hangs_in_its_copy_holds_up_no_later_one_and_commits_nothing(
    warehouse: Warehouse, dsn: str, book: Book, kind: str
) -> None:
    columns = {"id": "bigint", "note": "text"} if kind == "rows" else None
    table, landing, task = made(dsn, "replace", columns), book(partition=f"tries {kind}"), f"shop/run/load {kind}"
    stalled, goes_on, raised = threading.Event(), threading.Event(), []

    def a_try(number: int, rows: int, hangs: bool) -> int:
        fence = Fence(task, number)

        def stalling() -> Iterator[int]:
            for row in range(rows):
                if hangs and row == rows // 2:
                    stalled.set()
                    assert goes_on.wait(60)
                yield row

        if columns is None:
            records = ((b'{"id": %d, "long": "%s"}' % (row, b"x" * 10_000), None) for row in stalling())
            return load_documents(dsn, table, landing, records, fence=fence)
        chunks = (
            one
            for row in stalling()
            for one in batches(landing, [(n, n, "x" * 1000) for n in range(row * 9, row * 9 + 9)])
        )
        return load_batches(
            dsn, table, landing, pa.RecordBatchReader.from_batches(batches(landing, []).schema, chunks), fence=fence
        )

    def older() -> None:
        try:
            a_try(1, 200, hangs=True)
        except Exception as fault:
            raised.append(fault)

    Fence(task, 1).enter(dsn)
    zombie = threading.Thread(target=older)
    zombie.start()
    assert stalled.wait(60)
    Fence(task, 2).enter(dsn)
    count = a_try(2, 3, hangs=False)
    done = rows_of(warehouse, f"select count(*), min(_loaded_at) from raw.{table.name}")
    goes_on.set()
    zombie.join(60)
    assert [type(one) for one in raised] == [Superseded]
    assert "a later try has taken over" in str(raised[0])
    assert rows_of(warehouse, f"select count(*), min(_loaded_at) from raw.{table.name}") == done
    assert done[0][0] == count == booked(warehouse, landing)


@pytest.mark.parametrize("kind", ["documents", "rows"])
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_try_that_wakes_up_when_all_is_done_commits_nothing(
    warehouse: Warehouse, dsn: str, book: Book, kind: str, mode: str
) -> None:
    """It has lost no connection: only the fence, last in its transaction, keeps it out."""
    columns = {"id": "bigint", "note": "text"} if kind == "rows" else None
    table, task = made(dsn, mode, columns), f"shop/run/late {kind} {mode}"
    landing = book(partition=f"late {kind} {mode}")
    fence = Fence(task, 1)

    def overtaken(record: Any) -> Iterator[Any]:  # noqa: ANN401 - a document, or a batch of rows
        yield record
        thread = threading.Thread(target=Fence(task, 2).enter, args=(dsn,))
        thread.start()
        thread.join()

    def load_it() -> int:
        if columns is None:
            return load_documents(dsn, table, landing, overtaken((b'{"id": 1}', None)), fence=fence)
        (batch,) = batches(landing, [(0, 1, "late")])
        reader = pa.RecordBatchReader.from_batches(batch.schema, overtaken(batch))
        return load_batches(dsn, table, landing, reader, fence=fence)

    fence.enter(dsn)
    with pytest.raises(Superseded):
        load_it()
    assert rows_of(warehouse, f"select _row from raw.{table.name}") == []
    assert booked(warehouse, landing, "loaded_at") is None


def test_another_task_waits_for_its_turn_and_is_not_ended(warehouse: Warehouse, dsn: str, book: Book) -> None:
    table, first, second = made(dsn, "append"), book(partition="two"), book(partition="two")
    waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    raised: list[Exception] = []

    def other() -> None:
        try:
            load(dsn, table, second, b'{"by": 2}', fence=Fence("shop/other/load", 9))
        except Exception as fault:
            raised.append(fault)

    def waited_for() -> Iterator[Record]:
        yield b'{"by": 1}', None
        thread.start()
        wait_until(lambda: rows_of(warehouse, waits) != [(0,)], "the other load waits")

    thread = threading.Thread(target=other)
    Fence("shop/this/load", 1).enter(dsn)
    Fence("shop/other/load", 9).enter(dsn)
    load_documents(dsn, table, first, waited_for(), fence=Fence("shop/this/load", 1))
    thread.join(60)
    assert raised == []
    assert rows_of(warehouse, f"select payload ->> 'by' from raw.{table.name} order by 1") == [("1",), ("2",)]


_DIGITS = st.one_of(
    st.integers(0, 10**20).map(str),
    st.sampled_from([1, 14_999, 15_000, 131_072, 131_073]).map(lambda digits: "9" * digits),
)
_DECIMALS = st.one_of(
    st.just(""),
    st.from_regex(r"\A\.[0-9]{1,9}\Z"),
    st.tuples(st.sampled_from("05"), st.sampled_from([4, 15_000, 16_383, 16_384])).map(
        lambda two: "." + two[0] * two[1]
    ),
)
_EXPONENTS = st.one_of(
    st.just(""),
    st.tuples(
        st.sampled_from("eE"),
        st.sampled_from(["", "+", "-"]),
        st.sampled_from([0, 999, 1000, 1383, 16_382, 16_383, 16_384, 131_067, 131_071, 131_072, 131_076]).map(str)
        | st.sampled_from(["00001", "999999", "999999999", "1073741823", "99999999999"]),
    ).map("".join),
)
_NUMBERS = st.tuples(st.sampled_from(["", "-"]), _DIGITS, _DECIMALS, _EXPONENTS).map("".join)
_SCALARS = st.one_of(
    _NUMBERS,
    st.sampled_from(
        ["null", "true", "NaN", "Infinity", "-Infinity", r'"\u0000 NaN \\"', r'"\ud800, 1e99999"', '"[[["']
    ),
    st.text().map(json.dumps),
    st.text().map(lambda text: json.dumps(text, ensure_ascii=False).encode(errors="replace").decode()),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: "[" + ", ".join(parts) + "]"),
        st.lists(st.tuples(st.text(max_size=4).map(json.dumps), inner), max_size=4).map(
            lambda members: "{" + ", ".join(f"{name}: {value}" for name, value in members) + "}"
        ),
        st.tuples(st.sampled_from([10, 999, 1000, 1001, 3000]), inner).map(
            lambda two: "[" * two[0] + two[1] + "]" * two[0]
        ),
    ),
    max_leaves=6,
)


# without shrinking, which takes minutes for numbers of a hundred thousand digits
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(value=_VALUES)
def test_postgres_takes_what_passes_and_of_numbers_nothing_else(dsn: str, value: str) -> None:
    document = ('{"it": ' + value + "}").encode()
    fault = fault_of(document)
    try:
        with psycopg_session(dsn) as session:
            session.execute("select %s::jsonb is null", (storable(document).decode(),))
    except psycopg2.Error:
        assert fault is not None, document[:200]
    else:
        assert fault is None or "deep" in fault or "e99999" in value or "e107" in value, (fault, document[:200])
