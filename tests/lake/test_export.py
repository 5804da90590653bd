"""Marts in the lake, row for row what an analyst reads: after corrections, deletions, changes of shape, failures."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from include.lake import LakeError
from include.pipeline.lake import export_marts, sweep_marts
from include.warehouse.exports import ExportError
from include.warehouse.marts import Mart, SliceBy
from tests.conftest import Warehouse
from tests.lake.conftest import DATABASE, Readable
from tests.landings import book
from tests.warehouse.shop import ask, forget, move

TRIP = Mart(
    "trip",
    ("trip_id",),
    replace_by=("service", "month"),
    slice_by=(SliceBy("service"), SliceBy("month")),
    description="One row per trip. It's here.",
    columns={"usd": "What it cost."},
)
VISIT = Mart("visit", ("visit_id",), slice_by=(SliceBy("seen_at", "month"),))
PERSON = Mart("person", ("person_id",), personal={"email": "email", "born_on": "birth_date"})
MARTS = [TRIP, VISIT, PERSON]


@pytest.fixture(autouse=True)
def built(warehouse: Warehouse) -> None:
    """Marts of every type that there is, with nothing in them."""
    forget(warehouse, "trip", "visit", "person")
    ask(warehouse, "truncate ops.export_mark, ops.publication", warehouse.server.superuser)
    ask(
        warehouse,
        """
        create table marts.trip (trip_id bigint primary key, service text, month date, usd numeric(12, 2),
            is_paid boolean, _landing_id bigint);
        create table marts.visit (visit_id integer primary key, seen_at timestamptz, seen_local_at timestamp,
            small smallint, share double precision, rough real, total numeric(38, 10), place jsonb, mark uuid,
            raw bytea, _landing_id bigint);
        create table marts.person (person_id bigint primary key, email text, born_on date, city text,
            _landing_id bigint);
        """,
    )


@pytest.fixture
def run(warehouse: Warehouse, readable: Readable) -> Callable[..., dict[str, Any]]:
    """Build rows of marts (mart -> SQL values without the landing), publish them, export; what was written."""

    def run(**rows: list[str]) -> dict[str, Any]:
        landing_id = book(warehouse.dsn("sluice_loader"))
        for name, values in rows.items():
            listed = ", ".join(f"({one}, {landing_id})" for one in values)
            (key,) = next(mart.key for mart in MARTS if mart.name == name)
            if values:
                ask(warehouse, f"delete from marts.{name} where {key} in (select k from (values {listed}) as v(k))")
                ask(warehouse, f"insert into marts.{name} values {listed}")
        move(warehouse, MARTS, landing_id)
        return export_marts(readable.lake, MARTS)

    return run


def expect_equal(warehouse: Warehouse, readable: Readable) -> None:
    """Each mart: the lake holds what an analyst sees, row by row, column by column."""
    for mart in MARTS:
        columns, rows = readable.rows(mart.name)
        own = [column for column in columns if not column.endswith("_month")]
        of_lake = [dict(zip(columns, row, strict=True)) for row in rows]
        listed = ", ".join(_as_in_the_lake(column) for column in own)
        seen = ask(warehouse, f"select {listed} from analytics.{mart.name}", "analyst")
        found = sorted(repr([row[name] for name in own]) for row in of_lake)
        assert found == sorted(repr(_plain(row)) for row in seen), mart.name  # as text, for NaN is not NaN


def _as_in_the_lake(column: str) -> str:
    if column == "seen_at":
        return "seen_at at time zone 'UTC'"
    return f"{column}::text" if column in ("place", "mark") else column


def _plain(row: tuple[Any, ...]) -> list[Any]:
    return [bytes(value) if isinstance(value, memoryview) else value for value in row]


VISITS = [
    "1, '2024-01-31 23:59:59.999999Z', '2024-01-31 23:59:59', 1, 0.1, 0.5, 1234567890123456789012345678.0123456789, "
    """'{"a": [1, null]}', '00000000-0000-0000-0000-000000000001', '\\x00ff'""",
    "2, '2024-02-01 00:30+01', null, null, 'NaN', null, null, null, null, null",
    "3, null, null, -32768, '-Infinity', -1, -0.0000000001, '\"x\"', null, ''",
]
TRIPS = ["1, 'green', date '2024-01-01', 10.50, true", "2, 'green', date '2024-01-01', null, null",
         "3, 'yellow', date '2024-01-01', -1, false", "4, null, date '2024-02-01', 0, false"]  # fmt: skip
PERSONS = ["1, 'ada.lovelace@example.org', date '1815-12-10', 'London'", "2, null, null, null"]


def test_the_lake_holds_what_an_analyst_sees(
    warehouse: Warehouse, readable: Readable, run: Callable[..., dict[str, Any]]
) -> None:
    """Values, nulls and types, in the catalogue and in the objects; of masked columns the mask."""
    done = run(trip=TRIPS, visit=VISITS, person=PERSONS)
    assert {name: (one.slices, one.rows) for name, one in done.items()} == {
        "trip": (3, 4),
        "visit": (2, 3),
        "person": (1, 2),
    }
    expect_equal(warehouse, readable)
    _, persons = readable.rows("person")
    assert {row[1] for row in persons} == {"ada.l*****", "*****"}
    assert {row[2] for row in persons} == {None}
    assert set(readable.locations("trip")) == {
        ("green", "2024-01-01"), ("yellow", "2024-01-01"), ("__HIVE_DEFAULT_PARTITION__", "2024-02-01"),
    }  # fmt: skip
    held = readable.glue.get_table(DatabaseName=DATABASE, Name="visit")["Table"]
    assert {one["Name"]: one["Type"] for one in held["StorageDescriptor"]["Columns"]} == {
        "visit_id": "int", "seen_at": "timestamp", "seen_local_at": "timestamp", "small": "smallint", "share": "double",
        "rough": "float", "total": "decimal(38,10)", "place": "string", "mark": "string", "raw": "binary",
        "_landing_id": "bigint",
    }  # fmt: skip
    assert [(one["Name"], one["Type"]) for one in held["PartitionKeys"]] == [("seen_at_month", "string")]
    trip = readable.glue.get_table(DatabaseName=DATABASE, Name="trip")["Table"]
    assert trip["Description"] == "One row per trip. It's here."
    assert [one["Comment"] for one in trip["StorageDescriptor"]["Columns"] if one["Name"] == "usd"] == ["What it cost."]


def test_what_a_run_has_not_changed_is_not_written_again(
    warehouse: Warehouse, readable: Readable, run: Callable[..., dict[str, Any]]
) -> None:
    """A correction of one slice, a row that moves to another slice, and a run that changes nothing."""
    run(trip=TRIPS, visit=VISITS, person=PERSONS)
    before, objects = readable.locations("trip"), readable.objects()
    done = run(trip=["1, 'green', date '2024-01-01', 11, true"], visit=["1, '2024-03-01Z'" + ", null" * 8])
    # what the mart has of the slice now is the run's row alone: the other has gone
    assert {name: (one.slices, one.rows) for name, one in done.items()} == {
        "trip": (1, 1), "visit": (2, 2), "person": (0, 0),
    }  # fmt: skip
    expect_equal(warehouse, readable)
    after = readable.locations("trip")
    assert {values for values in after if after[values] != before[values]} == {("green", "2024-01-01")}
    new = set(readable.objects()) - set(objects)
    assert all("/service=green/" in key or "/seen_at_month=" in key for key in new)
    held = readable.objects()
    run()
    assert export_marts(readable.lake, MARTS) == {}
    assert readable.objects() == held


def test_a_slice_that_has_lost_its_last_row_goes(
    warehouse: Warehouse, readable: Readable, run: Callable[..., dict[str, Any]]
) -> None:
    run(trip=TRIPS, visit=VISITS, person=PERSONS)
    run(visit=["3, '2024-01-01Z'" + ", null" * 8])
    assert set(readable.locations("visit")) == {("2024-01",)}
    expect_equal(warehouse, readable)


def test_a_change_of_shape_or_masks_reaches_every_object(
    warehouse: Warehouse, readable: Readable, run: Callable[..., dict[str, Any]]
) -> None:
    run(trip=TRIPS, visit=VISITS, person=PERSONS)
    ask(warehouse, "alter table marts.trip add column tip_usd numeric(6, 2), drop column is_paid")
    done = run()
    assert (done["trip"].slices, done["trip"].is_all) == (3, True)
    expect_equal(warehouse, readable)
    moved = [Mart("person", ("person_id",), personal={"email": "email", "born_on": "birth_date", "city": "address"})]
    move(warehouse, moved)
    export_marts(readable.lake, moved)
    _, persons = readable.rows("person")
    assert {row[3] for row in persons} == {"*****"}


def test_a_mart_that_is_parted_otherwise_is_made_anew(
    warehouse: Warehouse, readable: Readable, run: Callable[..., dict[str, Any]]
) -> None:
    run(trip=TRIPS, visit=VISITS, person=PERSONS)
    by_service = Mart("trip", ("trip_id",), replace_by=("service", "month"), slice_by=(SliceBy("service"),))
    move(warehouse, [by_service])
    assert export_marts(readable.lake, [by_service])["trip"].is_all
    assert {len(values) for values in readable.locations("trip")} == {1}
    expect_equal(warehouse, readable)


def test_a_table_that_was_dropped_from_the_catalogue_comes_back(
    warehouse: Warehouse, readable: Readable, run: Callable[..., dict[str, Any]]
) -> None:
    run(trip=TRIPS, visit=VISITS, person=PERSONS)
    readable.glue.delete_table(DatabaseName=DATABASE, Name="trip")
    assert export_marts(readable.lake, MARTS)["trip"].is_all
    expect_equal(warehouse, readable)


def test_a_failed_export_changes_nothing_that_is_read_and_the_next_makes_up_for_it(
    warehouse: Warehouse, readable: Readable, run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 fails in the second slice; two runs are missed; the third brings all of theirs."""
    run(trip=TRIPS, visit=VISITS, person=PERSONS)
    before = repr([(readable.locations(mart.name), readable.rows(mart.name)) for mart in MARTS])
    puts = 0
    client = readable.lake.bucket.client
    put = client.put_object

    def fails(**given: Any) -> Any:  # noqa: ANN401 - boto3's
        nonlocal puts
        puts += 1
        if puts % 2 == 0:
            raise ConnectionError("S3 is gone")
        return put(**given)

    monkeypatch.setattr(client, "put_object", fails)
    with pytest.raises(ConnectionError):
        run(trip=["3, 'yellow', date '2024-01-01', 7, true", "5, 'green', date '2024-03-01', 8, true"])
    with pytest.raises(ConnectionError):
        run(trip=["6, 'red', date '2024-02-01', 9, true"])
    assert repr([(readable.locations(mart.name), readable.rows(mart.name)) for mart in MARTS]) == before
    monkeypatch.undo()
    done = run(visit=["2, '2024-02-02Z'" + ", null" * 8])
    assert done["trip"].slices == 3
    assert done["visit"].slices == 2
    expect_equal(warehouse, readable)


def test_a_catalogue_that_refuses_leaves_the_mark_where_it_was(
    warehouse: Warehouse, readable: Readable, run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Glue's batches raise nothing: they answer with what has failed."""
    run(trip=TRIPS, visit=VISITS, person=PERSONS)
    refusal = {"Errors": [{"PartitionValueList": ["x"], "ErrorDetail": {"ErrorCode": "Busy", "ErrorMessage": "wait"}}]}
    monkeypatch.setattr(readable.glue, "batch_update_partition", lambda **_: refusal)
    with pytest.raises(LakeError, match=r"sluice\.trip: Glue did not take the partition \['x'\]: Busy: wait; run the"):
        run(trip=["3, 'yellow', date '2024-01-01', 7, true"])
    monkeypatch.undo()
    assert export_marts(readable.lake, MARTS)["trip"].slices == 1
    expect_equal(warehouse, readable)


def test_what_is_superseded_goes_after_its_grace_and_no_sooner(
    warehouse: Warehouse, readable: Readable, run: Callable[..., dict[str, Any]]
) -> None:
    run(trip=TRIPS, visit=VISITS, person=PERSONS)
    first = set(readable.objects())
    run(trip=["1, 'green', date '2024-01-01', 11, true"], visit=["3, '2024-01-01Z'" + ", null" * 8])
    assert sweep_marts(readable.lake, timedelta(hours=1)) == 0
    assert first < set(readable.objects())
    assert sweep_marts(readable.lake, timedelta(0)) > 0
    current = {uri for mart in MARTS for uri in readable.locations(mart.name).values()}
    assert {f"s3://{readable.s3.bucket}/{key.rpartition('/')[0]}/" for key in readable.objects()} == current
    expect_equal(warehouse, readable)


def test_a_type_that_athena_has_not_is_refused_by_name(warehouse: Warehouse, readable: Readable) -> None:
    ask(warehouse, "alter table marts.trip add column took interval")
    move(warehouse, [TRIP])
    with pytest.raises(ExportError, match=r"analytics\.trip\.took: the type interval has no counterpart .* cast it in"):
        export_marts(readable.lake, [TRIP])
    assert readable.objects() == {}
    ask(warehouse, "alter table marts.trip alter column took type numeric using 1")
    move(warehouse, [TRIP])
    with pytest.raises(ExportError, match=r"analytics\.trip\.took: the type numeric has no"):
        export_marts(readable.lake, [TRIP])
