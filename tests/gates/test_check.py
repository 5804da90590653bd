"""The gate of a layer, judged by Great Expectations inside a real Postgres."""

import re
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine

from include.gates import Gates, OnFailure, Result, Verdict, check_frame, check_tables
from tests.conftest import Warehouse
from tests.gates.conftest import GatesFile, entry

GOOD, BAD = 1, 2


def check(warehouse: Warehouse, gates: Gates, *landing_ids: int, entities: list[str] | None = None) -> Verdict:
    return check_tables(
        gates.layer("raw"),
        url=warehouse.dsn("sluice_gate"),
        schema="raw",
        landing_ids=landing_ids,
        entities=entities,
    )


def only(verdict: Verdict, expectation: str) -> Result:
    (result,) = (result for result in verdict.results if result.expectation == expectation)
    return result


def not_null(column: str, on_failure: str = "fail", mostly: float = 1) -> str:
    return entry("expect_column_values_to_not_be_null", on_failure, column=column, mostly=mostly)


def test_rows_as_expected_pass_and_are_counted(rides: Warehouse, gates_of: GatesFile) -> None:
    verdict = check(rides, gates_of("raw", "tlc__rides", not_null("rider")), GOOD)
    result = only(verdict, "expect_column_values_to_not_be_null")
    assert verdict.passed
    assert result.success
    assert (result.rows_checked, result.rows_unexpected) == (10, 0)
    assert result.message == "tlc__rides.rider: 0 of 10 rows are null; expected none"


def test_a_failed_fail_expectation_fails_the_gate(rides: Warehouse, gates_of: GatesFile) -> None:
    verdict = check(rides, gates_of("raw", "tlc__rides", not_null("rider"), not_null("fare")), BAD)
    assert not verdict.passed
    (failure,) = verdict.failures
    assert (failure.column, failure.on_failure, failure.rows_checked, failure.rows_unexpected) == (
        "rider",
        OnFailure.FAIL,
        4,
        1,
    )
    assert failure.message == (
        "tlc__rides.rider: 1 of 4 rows is null; expected none; rows (_landing_id, _row) such as (2, 1)"
    )


def test_a_failed_warn_expectation_does_not_fail_the_gate(rides: Warehouse, gates_of: GatesFile) -> None:
    verdict = check(rides, gates_of("raw", "tlc__rides", not_null("rider", on_failure="warn")), BAD)
    assert verdict.passed
    assert [warning.column for warning in verdict.warnings] == ["rider"]


def test_only_the_rows_of_the_run_are_judged(rides: Warehouse, gates_of: GatesFile) -> None:
    gates = gates_of("raw", "tlc__rides", not_null("rider"))
    assert check(rides, gates, GOOD).passed
    assert not check(rides, gates, BAD).passed
    assert only(check(rides, gates, GOOD, BAD), "expect_column_values_to_not_be_null").rows_checked == 14


def test_mostly_allows_a_share_and_the_sentence_says_it(rides: Warehouse, gates_of: GatesFile) -> None:
    allowed = check(rides, gates_of("raw", "tlc__rides", not_null("rider", mostly=0.75)), BAD)
    assert allowed.passed
    message = only(allowed, "expect_column_values_to_not_be_null").message
    assert message == "tlc__rides.rider: 1 of 4 rows is null (25 %); expected at most 25 %"
    assert not check(rides, gates_of("raw", "tlc__rides", not_null("rider", mostly=0.76)), BAD).passed


def test_a_table_without_landing_ids_is_judged_as_a_whole(rides: Warehouse, gates_of: GatesFile) -> None:
    verdict = check(rides, gates_of("raw", "tlc__codes", not_null("code")), 999)
    assert only(verdict, "expect_column_values_to_not_be_null").rows_checked == 2


def test_no_rows_are_a_failure_though_every_expectation_holds_of_them(rides: Warehouse, gates_of: GatesFile) -> None:
    verdict = check(rides, gates_of("raw", "tlc__rides", not_null("rider")), 999)
    assert [failure.message for failure in verdict.failures] == ["tlc__rides: row count is 0; expected at least 1"]
    assert only(verdict, "expect_column_values_to_not_be_null").rows_checked == 0


def test_a_gate_may_say_that_no_rows_are_in_order(rides: Warehouse, gates_of: GatesFile) -> None:
    may_be_empty = entry("expect_table_row_count_to_be_between", min_value=0)
    assert check(rides, gates_of("raw", "tlc__rides", may_be_empty, not_null("rider")), 999).passed


def test_a_table_of_an_entity_that_the_run_did_not_land_is_left_out(rides: Warehouse, gates_of: GatesFile) -> None:
    gates = gates_of(
        "raw", "tlc__nothing", not_null("rider") + f"\n  tlc__rides:\n    expect:\n      - {not_null('rider')}"
    )
    verdict = check(rides, gates, GOOD, entities=["rides"])
    assert verdict.passed
    assert verdict.left_out == ("tlc__nothing",)
    assert {result.table for result in verdict.results} == {"tlc__rides"}


def test_a_gate_that_would_judge_nothing_is_an_error(rides: Warehouse, gates_of: GatesFile) -> None:
    gates = gates_of("raw", "tlc__rides", not_null("rider"))
    with pytest.raises(ValueError, match="none of its tables comes from zones"):
        check(rides, gates, GOOD, entities=["zones"])
    with pytest.raises(ValueError, match="none of its tables comes from"):
        check(rides, gates, GOOD, entities=[])
    with pytest.raises(ValueError, match="no landing ids"):
        check(rides, gates)


def test_a_column_that_is_not_there_fails_and_the_others_are_still_judged(
    rides: Warehouse, gates_of: GatesFile
) -> None:
    verdict = check(rides, gates_of("raw", "tlc__rides", not_null("ridr"), not_null("fare")), GOOD)
    assert [(r.column, r.success) for r in verdict.results[1:]] == [("ridr", False), ("fare", True)]
    assert "could not be judged: there is no column ridr; near are rider" in verdict.failures[0].message


def test_a_table_that_is_not_there_fails(rides: Warehouse, gates_of: GatesFile) -> None:
    verdict = check(rides, gates_of("raw", "tlc__gone", not_null("rider"), not_null("fare")), GOOD)
    assert len(verdict.failures) == 2
    assert "there is no raw.tlc__gone, or sluice_gate may not read it" in verdict.failures[0].message


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (entry("expect_column_values_to_be_between", column="rider", max_value=5), "TEXT"),
        (
            entry("unexpected_rows_expectation", unexpected_rows_query="select nosuch from {batch}"),
            "nosuch",
        ),
        (
            entry(
                "unexpected_rows_expectation",
                unexpected_rows_query="select 1 from {batch} where cast(rider as bigint) > 0",
            ),
            "the database answered InvalidTextRepresentation",
        ),
        (
            entry("expect_column_values_to_match_regex", column="rider", regex="("),
            "the database",
        ),
    ],
)
def test_an_expectation_that_cannot_be_evaluated_fails_without_quoting_a_row(
    rides: Warehouse, gates_of: GatesFile, asked: str, reason: str
) -> None:
    verdict = check(rides, gates_of("raw", "tlc__rides", asked), BAD)
    (failure,) = verdict.failures
    assert "could not be judged" in failure.message
    assert reason in failure.message
    assert "Lovelace" not in verdict.table()


def test_no_value_of_a_row_gets_into_a_verdict(rides: Warehouse, gates_of: GatesFile) -> None:
    verdict = check(
        rides,
        gates_of(
            "raw",
            "tlc__rides",
            entry("expect_column_values_to_be_in_set", column="rider", value_set=["nobody"]),
            entry("expect_column_values_to_be_unique", column="rider"),
            entry("expect_column_distinct_values_to_be_in_set", column="rider", value_set=["nobody"]),
            entry("expect_column_most_common_value_to_be_in_set", column="rider", value_set=["nobody"]),
            entry("expect_column_values_to_match_regex", column="rider", regex="^x"),
            entry("unexpected_rows_expectation", unexpected_rows_query="select rider from {batch}"),
        ),
        BAD,
    )
    assert len(verdict.failures) == 6
    assert "Lovelace" not in repr(verdict)


def test_numbers_and_counts_are_shown(rides: Warehouse, gates_of: GatesFile) -> None:
    verdict = check(
        rides,
        gates_of(
            "raw",
            "tlc__rides",
            entry("expect_column_min_to_be_between", column="fare", min_value=0),
            entry("expect_column_values_to_be_unique", column="rider"),
            entry("expect_column_values_to_be_between", column="fare", min_value=0, max_value=1000),
            entry("expect_column_values_to_be_in_set", column="fare", value_set=[5, 6]),
            entry("expect_table_columns_to_match_set", column_set=["rider", "tip"], exact_match=False),
        ),
        BAD,
    )
    assert [failure.message for failure in verdict.failures][:4] == [
        "tlc__rides.fare: minimum is -70; expected at least 0",
        "tlc__rides.rider: 2 of 3 rows are repeated; expected none; rows (_landing_id, _row) such as (2, 0), (2, 3)",
        "tlc__rides.fare: 1 of 4 rows is not between 0 and 1,000; expected none; "
        "rows (_landing_id, _row) such as (2, 2)",
        "tlc__rides.fare: 2 of 4 rows are not one of 5, 6; expected none; "
        "rows (_landing_id, _row) such as (2, 2), (2, 3)",
    ]
    assert "missing: tip" in verdict.failures[4].message


def test_a_query_may_name_the_runs_rows_landings_and_entities(rides: Warehouse, gates_of: GatesFile) -> None:
    query = (
        "select 1 from (select count(*) as n from {batch}) as held"
        " where n <> (select count(*) from raw.tlc__rides where _landing_id in ({landing_ids}))"
        " or 'rides' not in ({entities})"
    )
    asked = entry("unexpected_rows_expectation", unexpected_rows_query=query)
    verdict = check(rides, gates_of("raw", "tlc__rides", asked), GOOD, BAD, entities=["rides"])
    assert verdict.passed, verdict.table()
    assert only(verdict, "unexpected_rows_expectation").message == (
        "tlc__rides: 0 rows found by its query; expected none, for a reason"
    )


def test_twelve_expectations_take_few_queries_and_no_query_fetches_rows(rides: Warehouse, gates_of: GatesFile) -> None:
    entries = [not_null(column) for column in ("rider", "fare", "_landing_id", "_row")]
    entries += [
        entry("expect_column_values_to_be_between", "warn", column="fare", min_value=low, max_value=99)
        for low in range(8)
    ]
    fetched: list[int] = []

    def count(_connection: object, cursor: sa.engine.interfaces.DBAPICursor, statement: str, *_: object) -> None:
        if "tlc__rides" in statement and "pg_catalog" not in statement and "information_schema" not in statement:
            fetched.append(cursor.rowcount)

    event.listen(Engine, "after_cursor_execute", count)
    try:
        verdict = check(rides, gates_of("raw", "tlc__rides", *entries), GOOD)
    finally:
        event.remove(Engine, "after_cursor_execute", count)
    assert len(verdict.results) == 13
    assert max(fetched) <= 1
    # is it there; how many rows; all the counts in one; and for each expectation a look at none of its rows (limit 0)
    assert sum(rows > 0 for rows in fetched) <= 3


def test_the_profile_of_a_landing_is_judged_and_its_fault_is_quoted(gates_of: GatesFile) -> None:
    gates = gates_of(
        "landing",
        "rides",
        entry("expect_column_values_to_be_null", column="fault"),
        entry("expect_column_max_to_be_between", "warn", column="refused_share", max_value=0.2),
        entry("expect_column_min_to_be_between", column="records", min_value=1),
    )
    frame = pd.DataFrame(
        {
            "part": ["part-00001.parquet", "part-00002.parquet"],
            "records": pd.array([None, 3], dtype="Int64"),
            "fault": ["truncated Parquet file", None],
            "refused_share": [0.5, 0.5],
        }
    )
    verdict = check_frame(gates.layer("landing"), frame, name="rides")
    assert [failure.message for failure in verdict.failures] == [
        "rides.fault: 1 of 2 parts is not null (truncated Parquet file); expected none"
    ]
    assert [warning.message for warning in verdict.warnings] == [
        "rides.refused_share: maximum is 0.5; expected at most 0.2"
    ]
    good = frame.iloc[1:].assign(refused_share=0.0)
    assert check_frame(gates.layer("landing"), good, name="rides").passed


def test_a_landing_without_parts_or_without_a_gate_does_not_pass(gates_of: GatesFile) -> None:
    gates = gates_of("landing", "rides", entry("expect_column_values_to_be_null", column="fault"))
    assert not check_frame(gates.layer("landing"), pd.DataFrame({"fault": []}), name="rides").passed
    with pytest.raises(ValueError, match=r"gates\.yml has none for zones; it has rides"):
        check_frame(gates.layer("landing"), pd.DataFrame({"fault": [None]}), name="zones")


def test_a_password_with_special_characters_reaches_the_database(rides: Warehouse, gates_of: GatesFile) -> None:
    with sa.create_engine(
        rides.dsn(rides.server.superuser).replace("postgresql:", "postgresql+psycopg2:")
    ).begin() as connection:
        connection.execute(sa.text("create role odd login password 'p$HOME@%/:' in role sluice_gate"))
    url = sa.make_url(rides.dsn("sluice_gate")).set(username="odd", password="p$HOME@%/:")
    verdict = check_tables(
        gates_of("raw", "tlc__rides", not_null("rider")).layer("raw"),
        url=url.render_as_string(hide_password=False),
        schema="raw",
        landing_ids=[GOOD],
    )
    assert verdict.passed


def test_a_whole_bound_is_compared_as_an_integer_and_no_other(rides: Warehouse, gates_of: GatesFile) -> None:
    """With 9.0, which Great Expectations makes of 9, Postgres would compare each bigint as a numeric."""
    bounds: list[object] = []

    def note(_connection: object, cursor: Any, *_: object) -> None:  # noqa: ANN401 - psycopg2's
        bounds.extend(re.findall(r'"?_row"? [<>]= ([-\d.e+]+)', cursor.query.decode()))

    event.listen(Engine, "after_cursor_execute", note)
    try:
        whole = entry("expect_column_values_to_be_between", column="_row", min_value=0, max_value=8)
        part = entry("expect_column_values_to_be_between", column="_row", min_value=0.5, max_value=1e300)
        verdict = check(rides, gates_of("raw", "tlc__rides", whole, part), GOOD)
    finally:
        event.remove(Engine, "after_cursor_execute", note)
    assert [result.rows_unexpected for result in verdict.results if result.column == "_row"] == [1, 1]
    assert {"0", "8", "0.5", str(int(1e300))} <= set(bounds), bounds
    assert not {"0.0", "8.0"} & set(bounds)
