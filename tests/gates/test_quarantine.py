"""Which rows a gate holds back: those that Great Expectations found, all of them, and no more than the share."""

from collections.abc import Callable, Sequence
from contextlib import closing

import psycopg2
import pytest

from include.gates import OnFailure, Verdict, check_tables
from tests.conftest import Warehouse
from tests.gates.conftest import GatesFile, entry

ROWS = 1000
NOT_NULL, BETWEEN, QUERY = (
    "expect_column_values_to_not_be_null",
    "expect_column_values_to_be_between",
    "unexpected_rows_expectation",
)


@pytest.fixture(scope="module")
def trips(warehouse: Warehouse) -> Warehouse:
    """raw.tlc__trips: landing 1 with 1,000 trips, some of them faulty, landing 2 with one that is; raw.tlc__places."""
    with (
        closing(psycopg2.connect(warehouse.dsn("sluice_loader"))) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "create table raw.tlc__trips (number bigint, rider text, fare double precision, tip double precision, "
            "_landing_id bigint, _row bigint)"
        )
        cursor.execute(
            "insert into raw.tlc__trips select case i when 7 then 8 else i end, "
            "case when i % 100 <> 0 then 'Ada Lovelace' end, case i when 5 then -1 else i + 10 end, i, 1, i "
            f"from generate_series(0, {ROWS - 1}) as i"
        )
        cursor.execute("insert into raw.tlc__trips values (0, null, -1, 5, 2, 0)")
        cursor.execute("create table raw.tlc__places (fare double precision, _landing_id bigint)")
        cursor.execute("insert into raw.tlc__places values (null, 1)")
    return warehouse


@pytest.fixture
def book(trips: Warehouse) -> Callable[..., int]:
    """Book a loaded landing and return its id."""

    def one(source: str, entity: str, loaded_rows: int) -> int:
        landing_id = 4711
        with closing(psycopg2.connect(trips.dsn("sluice_loader"))) as connection, connection, connection.cursor() as c:
            c.execute(
                'insert into ops.landing (landing_id, source, entity, "partition", uri, sha256, bytes, request, '
                "fetched_at, dag_run_id, loaded_at, loaded_rows) "
                "values (%s, %s, %s, 'all', 's3://x', '0', 1, '{}', now(), 'test', now(), %s)",
                (landing_id, source, entity, loaded_rows),
            )
        return landing_id

    return one


def check(warehouse: Warehouse, gates_of: GatesFile, *entries: str, held: int = 0, landing_id: int = 1) -> Verdict:
    return check_tables(
        gates_of("raw", "tlc__trips", *entries).layer("raw"),
        url=warehouse.dsn("sluice_gate"),
        schema="raw",
        landing_ids=[landing_id],
        entities=["trips"],
        held=lambda table, _reason: held if table == "tlc__trips" else 0,
    )


def quarantine(expectation: str, at_most: float | None = None, /, **arguments: object) -> str:
    share = "" if at_most is None else f', "at_most": {at_most}'
    return entry(expectation, "quarantine", **arguments)[:-1] + share + "}"


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        (quarantine(NOT_NULL, column="rider"), range(0, ROWS, 100)),
        (quarantine(BETWEEN, column="fare", min_value=0), [5]),
        (quarantine("expect_column_values_to_be_unique", column="number"), [7, 8]),
        (quarantine("expect_column_values_to_be_in_set", column="rider", value_set=["Ada Lovelace"]), []),
        (
            quarantine("expect_column_values_to_match_regex", 1, column="rider", regex="^B"),
            [row for row in range(ROWS) if row % 100],
        ),
        (quarantine("expect_column_pair_values_a_to_be_greater_than_b", column_A="fare", column_B="tip"), [5]),
        (
            quarantine(
                BETWEEN,
                column="fare",
                min_value=10.5,
                row_condition='col("tip") < 3',
                condition_parser="great_expectations",
            ),
            [0],
        ),
        (
            quarantine(QUERY, 0.9, unexpected_rows_query="select _landing_id, _row from {batch} where fare > 160"),
            range(151, ROWS),
        ),
        (
            quarantine(
                QUERY,
                unexpected_rows_query="with bad as (select * from {batch} where fare < 0) "
                "select _landing_id, _row, rider from bad;",
            ),
            [5],
        ),
    ],
)
def test_all_offending_rows_are_named_and_none_of_another_landing(
    trips: Warehouse, gates_of: GatesFile, asked: str, rows: Sequence[int]
) -> None:
    verdict = check(trips, gates_of, asked)
    assert sorted(verdict.offending.get("tlc__trips", {})) == [(1, row) for row in rows], verdict.table()
    assert verdict.passed is not bool(rows)  # not before they are held


def test_a_row_that_fails_two_rules_has_two_reasons_without_its_values(trips: Warehouse, gates_of: GatesFile) -> None:
    entries = [
        quarantine(NOT_NULL, 1, column="rider"),
        quarantine(BETWEEN, 1, column="fare", min_value=0),
        quarantine("expect_column_values_to_match_regex", 1, column="rider", regex="^B"),
    ]
    verdict = check(trips, gates_of, *entries, landing_id=2)
    assert verdict.offending == {
        "tlc__trips": {
            (2, 0): [
                {"layer": "raw", "rule": NOT_NULL, "column": "rider", "message": "tlc__trips.rider is null: a reason"},
                {
                    "layer": "raw",
                    "rule": BETWEEN,
                    "column": "fare",
                    "message": "tlc__trips.fare is not at least 0: a reason",
                },
            ]
        }
    }
    assert "Lovelace" not in repr(check(trips, gates_of, *entries))


@pytest.mark.parametrize(
    ("at_most", "held", "is_over"), [(0.01, 0, False), (0.01, 1, True), (0.009, 0, True), (0.011, 1, False)]
)
def test_over_its_share_a_rule_fails_and_names_no_more_than_a_few_rows(
    trips: Warehouse, gates_of: GatesFile, at_most: float, held: int, *, is_over: bool
) -> None:
    verdict = check(trips, gates_of, quarantine(NOT_NULL, at_most, column="rider"), held=held)
    (failure,) = verdict.failures
    assert verdict.is_over_share is is_over
    assert bool(verdict.offending) is not is_over
    assert failure.on_failure is (OnFailure.FAIL if is_over else OnFailure.QUARANTINE)
    assert failure.rows_unexpected == 10
    said = "tlc__trips.rider: 10 of 1,000 rows are null; expected none"
    if is_over:
        said += f", and at most {100 * at_most:g} % of the rows may be quarantined"
    assert failure.message.startswith(f"{said}; rows (_landing_id, _row) such as (1, ")
    assert failure.message.count("(1, ") == 3


def test_the_final_verdict_counts_what_is_held(trips: Warehouse, gates_of: GatesFile) -> None:
    asked = quarantine("expect_column_values_to_be_in_set", column="rider", value_set=["Ada Lovelace"])
    verdict = check(trips, gates_of, asked).with_quarantined(lambda table, _: 10 if table == "tlc__trips" else 0)
    (result,) = verdict.quarantined
    assert verdict.passed
    assert (result.success, result.on_failure, result.rows_checked, result.rows_unexpected) == (
        False,
        OnFailure.QUARANTINE,
        1000,
        10,
    )
    assert result.message == (
        "10 of 1,000 rows are in quarantine: tlc__trips.rider is not one of Ada Lovelace: a reason"
    )
    assert f"QUARANTINE: {result.message}" in verdict.table()
    assert check(trips, gates_of, asked).with_quarantined(lambda *_: 0).quarantined == ()


def test_what_cannot_be_judged_or_has_no_keys_fails(trips: Warehouse, gates_of: GatesFile) -> None:
    verdict = check(trips, gates_of, quarantine(NOT_NULL, column="ridr"))
    assert verdict.failures[0].on_failure is OnFailure.FAIL
    assert "could not be judged" in verdict.failures[0].message
    places = check_tables(
        gates_of("raw", "tlc__places", quarantine(NOT_NULL, 1, column="fare")).layer("raw"),
        url=trips.dsn("sluice_gate"),
        schema="raw",
        landing_ids=[1],
    )
    assert places.offending == {}
    assert "the table has no _landing_id and _row, by which rows are quarantined" in places.failures[0].message


def test_rows_that_are_lost_are_told_by_one_word(
    trips: Warehouse, gates_of: GatesFile, book: Callable[..., int]
) -> None:
    asked = entry(QUERY, unexpected_rows_query="{lost_rows}")
    landing = book(source="tlc", entity="trips", loaded_rows=2)
    with closing(psycopg2.connect(trips.dsn("sluice_loader"))) as connection, connection, connection.cursor() as cursor:
        # a marked row, below 0, is none of the landing's
        cursor.execute(
            f"insert into raw.tlc__trips select 0, null, 1, 1, {landing}, i from generate_series(-1, 1) as i"
        )
    assert check(trips, gates_of, asked, landing_id=landing).passed
    with closing(psycopg2.connect(trips.dsn("sluice_loader"))) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"delete from raw.tlc__trips where _landing_id = {landing} and _row = 1")
    assert "1 row found by its query" in check(trips, gates_of, asked, landing_id=landing).failures[0].message
