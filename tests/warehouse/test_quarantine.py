"""What becomes of rows that are kept out: moved whole, counted, held once, and forgotten when they are decided anew."""

import itertools
import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import psycopg2
import pyarrow as pa
import pytest

from include.warehouse.bootstrap import ROLES, bootstrap
from include.warehouse.load import LoadError, RawTable, create_table, load_batches, load_documents
from include.warehouse.quarantine import Held, clear, divert, held, hold, purge, reasons_held
from include.warehouse.session import Session, arrow_session, psycopg_session
from tests.conftest import Warehouse
from tests.warehouse.test_load import rows_of

Book = Callable[..., int]
_numbers = itertools.count(1)

NEGATIVE = {"layer": "raw", "rule": "expect_column_values_to_be_between", "column": "fare", "message": "negative"}
UNKNOWN = {"layer": "staging", "rule": "expect_column_values_to_not_be_null", "column": "vendor", "message": "null"}
BROKEN = {"layer": "load", "rule": "parser", "column": None, "message": "line 3 has 4 fields, not 3"}


@pytest.fixture
def dsn(warehouse: Warehouse) -> str:
    return warehouse.dsn("sluice_loader")


def made(dsn: str, mode: Any, columns: dict[str, str] | None, **more: Any) -> RawTable:  # noqa: ANN401
    table = RawTable(f"shop__q{next(_numbers)}", mode, columns, **more)
    create_table(dsn, table)
    return table


def fares(landing_id: int, *amounts: float) -> pa.RecordBatchReader:
    return pa.table(
        {
            "vendor": pa.array([f"v{n}" for n in range(len(amounts))]),
            "fare": pa.array(amounts, pa.float64()),
            "_landing_id": pa.array([landing_id] * len(amounts), pa.int64()),
            "_row": pa.array(range(len(amounts)), pa.int64()),
        }
    ).to_reader(max_chunksize=2)


def loaded_rows(warehouse: Warehouse, landing_id: int) -> int:
    return int(rows_of(warehouse, f"select loaded_rows from ops.landing where landing_id = {landing_id}")[0][0])


def kept(warehouse: Warehouse, table: RawTable) -> list[tuple[Any, ...]]:
    return rows_of(
        warehouse,
        f"select _landing_id, _row, payload, record, _request, reasons from quarantine.{table.name} order by 1, 2",
    )


@pytest.mark.parametrize("mode", ["append", "replace", "upsert"])
def test_a_row_of_columns_is_moved_whole_and_counted_where_it_went(
    warehouse: Warehouse, dsn: str, book: Book, mode: str
) -> None:
    table = made(dsn, mode, {"vendor": "text", "fare": "double"}, keys=("vendor",) if mode == "upsert" else ())
    landing = book(partition=f"columns-{mode}")
    load_batches(dsn, table, landing, fares(landing, 1.0, -2.5, 3.0))
    assert divert(dsn, table.name, {(landing, 1): [NEGATIVE]}, dag_run_id="run 1") == 1
    assert kept(warehouse, table) == [(landing, 1, {"vendor": "v1", "fare": -2.5}, None, None, [NEGATIVE])]
    assert rows_of(warehouse, f"select _row from raw.{table.name} order by 1") == [(0,), (2,)]
    assert loaded_rows(warehouse, landing) == 2


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_record_is_moved_as_it_came_with_what_was_asked_for(
    warehouse: Warehouse, dsn: str, book: Book, mode: str
) -> None:
    table = made(dsn, mode, None, keys=("id",) if mode == "upsert" else (), has_request=True)
    landing = book(partition=f"records-{mode}")
    record = b'{"id": 7, "fare": -12345678901234567890.50, "_row": "its own"}'
    load_documents(dsn, table, landing, [(b'{"id": 1}', b'{"city": "Rome"}'), (record, b'{"city": "Oslo"}')])
    assert divert(dsn, table.name, {(landing, 1): [NEGATIVE]}, dag_run_id="run 1") == 1
    assert kept(warehouse, table)[0][4] == {"city": "Oslo"}
    text = rows_of(warehouse, f"select payload::text from quarantine.{table.name}")[0][0]
    assert text == '{"id": 7, "_row": "its own", "fare": -12345678901234567890.50}'
    assert loaded_rows(warehouse, landing) == 1


def test_diverting_again_moves_nothing_and_only_adds_what_is_new(warehouse: Warehouse, dsn: str, book: Book) -> None:
    table = made(dsn, "append", {"vendor": "text", "fare": "double"})
    landing = book(partition="again")
    load_batches(dsn, table, landing, fares(landing, 1.0, -2.5))
    assert [
        divert(dsn, table.name, {(landing, 1): reasons}, dag_run_id="run 1")
        for reasons in ([NEGATIVE], [NEGATIVE], [NEGATIVE, UNKNOWN], [UNKNOWN])
    ] == [1, 0, 0, 0]
    assert kept(warehouse, table)[0][5] == [NEGATIVE, UNKNOWN]
    assert loaded_rows(warehouse, landing) == 1
    assert reasons_held(dsn, table.name, [landing], UNKNOWN) == 1
    assert reasons_held(dsn, table.name, [landing], {**UNKNOWN, "layer": "raw"}) == 0
    assert reasons_held(dsn, table.name, [landing + 1], UNKNOWN) == 0


def test_many_rows_of_several_landings_go_together(warehouse: Warehouse, dsn: str, book: Book) -> None:
    table = made(dsn, "append", {"vendor": "text", "fare": "double"})
    first, second = book(partition="many-2"), book(partition="many-1")
    for landing in (first, second):
        load_batches(dsn, table, landing, fares(landing, *range(1500)))
    offending = {(landing, row): [NEGATIVE] for landing in (first, second) for row in range(0, 1500, 2)}
    assert divert(dsn, table.name, offending, dag_run_id="run 1") == 1500
    assert (loaded_rows(warehouse, first), loaded_rows(warehouse, second)) == (750, 750)
    assert rows_of(warehouse, f"select count(*), min(_row) from raw.{table.name}") == [(1500, 1)]


def test_what_a_later_landing_took_over_stays_and_a_marked_row_lowers_no_count(
    warehouse: Warehouse, dsn: str, book: Book
) -> None:
    table = made(dsn, "upsert", None, keys=("id",), absent="mark")
    first, second = book(partition="mark-1"), book(partition="mark-2")
    load_documents(dsn, table, first, [(b'{"id": 1}', None), (b'{"id": 2}', None)])
    load_documents(dsn, table, second, [(b'{"id": 1, "more": true}', None)])
    assert divert(dsn, table.name, {(first, 0): [NEGATIVE]}, dag_run_id="run 1") == 0  # id 1 is the second's now
    assert divert(dsn, table.name, {(second, -1): [NEGATIVE]}, dag_run_id="run 1") == 1  # id 2, marked by the second
    assert loaded_rows(warehouse, second) == 1
    assert rows_of(warehouse, f"select payload from raw.{table.name}") == [({"id": 1, "more": True},)]


def test_a_landing_that_is_not_booked_is_refused_and_nothing_moves(warehouse: Warehouse, dsn: str, book: Book) -> None:
    table = made(dsn, "append", {"vendor": "text", "fare": "double"})
    landing = book(partition="booked")
    load_batches(dsn, table, landing, fares(landing, -1.0))
    with pytest.raises(LoadError, match="not in ops"):
        divert(dsn, table.name, {(landing, 0): [NEGATIVE], (1, 0): [NEGATIVE]}, dag_run_id="run 1")
    assert loaded_rows(warehouse, landing) == 1
    assert rows_of(warehouse, f"select to_regclass('quarantine.{table.name}')") == [(None,)]


def test_a_fence_that_falls_last_leaves_raw_and_quarantine_as_they_were(
    warehouse: Warehouse, dsn: str, book: Book
) -> None:
    class Fallen:
        def check(self, _session: object) -> None:
            raise RuntimeError("a later try has taken over")

    table = made(dsn, "append", {"vendor": "text", "fare": "double"})
    landing = book(partition="fence")
    load_batches(dsn, table, landing, fares(landing, -1.0))
    with pytest.raises(RuntimeError, match="taken over"):
        divert(dsn, table.name, {(landing, 0): [NEGATIVE]}, dag_run_id="run 1", fence=Fallen())  # type: ignore[arg-type]
    assert loaded_rows(warehouse, landing) == 1
    assert rows_of(warehouse, f"select to_regclass('quarantine.{table.name}')") == [(None,)]


def test_a_load_of_the_partition_goes_before_or_after_never_between(warehouse: Warehouse, dsn: str, book: Book) -> None:
    table = made(dsn, "append", {"vendor": "text", "fare": "double"})
    landing = book(partition="lock")
    load_batches(dsn, table, landing, fares(landing, -1.0, 2.0))
    moved: list[int] = []
    with closing(psycopg2.connect(dsn)) as loading, loading, loading.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"raw.{table.name}|lock",))
        diverting = threading.Thread(
            target=lambda: moved.append(divert(dsn, table.name, {(landing, 0): [NEGATIVE]}, dag_run_id="run 1"))
        )
        diverting.start()
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        while rows_of(warehouse, waiting) == [(0,)]:
            assert diverting.is_alive(), "it did not wait for the load"
        assert moved == []
    diverting.join()
    assert moved == [1]


@pytest.mark.parametrize("session", [psycopg_session, arrow_session])
def test_what_could_not_be_read_is_held_by_either_driver_and_cleared_by_the_next_load(
    warehouse: Warehouse, dsn: str, book: Book, session: Callable[[str], AbstractContextManager[Session]]
) -> None:
    table = made(dsn, "append", None)
    landing, other = book(partition="hold"), book(partition="hold")
    rows = [
        Held(0, r'{"text": "a\u0000b \ud800", "n": 1.50}', None, '{"city": "Oslo"}', [BROKEN]),
        Held(2, None, "1,2\x00,\udce9, % %s 'x'\n", None, [BROKEN, NEGATIVE]),
    ]
    with session(dsn) as transaction:
        clear(transaction, table.name, landing)  # there is no table yet
        assert hold(transaction, table.name, landing, iter(rows), dag_run_id="run 1") == 2
        assert (
            hold(
                transaction,
                table.name,
                other,
                (Held(n, "{}", None, None, [BROKEN]) for n in range(1001)),
                dag_run_id="r",
            )
            == 1001
        )
    assert kept(warehouse, table)[:2] == [
        (landing, 0, {"text": "a\ufffdb \ufffd", "n": 1.5}, None, {"city": "Oslo"}, [BROKEN]),
        (landing, 2, None, "1,2\ufffd,\ufffd, % %s 'x'\n", None, [BROKEN, NEGATIVE]),
    ]
    with session(dsn) as transaction:
        clear(transaction, table.name, landing)
    assert {row[0] for row in kept(warehouse, table)} == {other}
    assert len(kept(warehouse, table)) == 1001


def test_a_warehouse_of_an_earlier_version_takes_the_new_verdict(warehouse: Warehouse) -> None:
    with closing(psycopg2.connect(warehouse.dsn(warehouse.server.superuser))) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "alter table ops.gate_result drop constraint gate_result_on_failure_check; "
                "alter table ops.gate_result add constraint gate_result_on_failure_check "
                "check (on_failure in ('fail', 'warn'))"
            )
        bootstrap(connection, {role: warehouse.password(role) for role in ROLES})
        for on_failure in ("quarantine", "fail", "warn", "other"):
            with (
                pytest.raises(psycopg2.errors.CheckViolation) if on_failure == "other" else nullcontext(),
                connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(
                    "insert into ops.gate_result (source, layer, dag_run_id, landing_ids, table_name, expectation, "
                    "arguments, on_failure, success, message) "
                    "values ('s', 'raw', 'r', '{}', 't', 'e', '{}', %s, true, 'm')",
                    (on_failure,),
                )


def test_what_is_held_is_listed_by_landing_and_deleted_when_it_is_too_old(
    warehouse: Warehouse, dsn: str, book: Book
) -> None:
    owner = warehouse.dsn(warehouse.server.superuser)
    with closing(psycopg2.connect(owner)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "do $$ declare one text; begin for one in select tablename from pg_tables where schemaname = 'quarantine' "
            "loop execute format('drop table quarantine.%I', one); end loop; end $$"
        )
    table = made(dsn, "append", {"vendor": "text", "fare": "double"})
    old, new = book("fares", partition="old"), book("fares", partition="new")
    for landing in (old, new):
        load_batches(dsn, table, landing, fares(landing, -1.0, 2.0, -3.0))
        divert(dsn, table.name, {(landing, 0): [NEGATIVE], (landing, 2): [NEGATIVE, UNKNOWN]}, dag_run_id="run 1")
    found = held(dsn, "shop")
    assert [(one.entity, one.table, one.landing_id, one.partition, one.rows) for one in found] == [
        ("fares", table.name, old, "old", 2),
        ("fares", table.name, new, "new", 2),
    ]
    assert json.dumps(found[0].reasons) == json.dumps(
        {"expect_column_values_to_be_between fare": 2, "expect_column_values_to_not_be_null vendor": 1}
    )
    assert found[0].uri.endswith(f"dt=old/run={old}/")
    assert held(warehouse.dsn("operator"), "shop", "others") == []
    assert held(dsn, "sho") == []
    rows_before = rows_of(warehouse, "select count(*) from ops.landing")
    with psycopg_session(dsn) as session:
        session.execute(
            f"update quarantine.{table.name} set quarantined_at = now() - interval '8 days' where _landing_id = {old}"
        )
    assert [purge(dsn, "sho", 7), purge(dsn, "shop", 9), purge(dsn, "shop", 7), purge(dsn, "shop", 7)] == [0, 0, 2, 0]
    assert [one.landing_id for one in held(dsn, "shop")] == [new]
    assert rows_of(warehouse, "select count(*) from ops.landing") == rows_before
