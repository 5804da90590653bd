"""A verdict stops the run or not, and is booked in ops.gate_result."""

from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from include.gates import GateFailed, OnFailure, Result, Verdict, merged, record
from tests.conftest import Warehouse


def result(*, success: bool, on_failure: OnFailure = OnFailure.FAIL, table: str = "fact_taxi_trip") -> Result:
    return Result(
        table=table,
        expectation="expect_column_values_to_not_be_null",
        column="trip_key",
        arguments={"column": "trip_key"},
        on_failure=on_failure,
        success=success,
        rows_checked=56_551,
        rows_unexpected=0 if success else 3,
        observed="0 %",
        message=f"{table}.trip_key: {0 if success else 3} of 56,551 rows are null; expected none",
    )


def test_a_failed_gate_says_source_layer_what_failed_and_what_to_read() -> None:
    verdict = Verdict((result(success=False), result(success=True, table="taxi_daily")))
    with pytest.raises(GateFailed) as error:
        verdict.raise_if_failed("tlc", "marts")
    for said in (
        "tlc",
        "gate of marts",
        "fact_taxi_trip.trip_key: 3 of 56,551 rows are null",
        "docs/runbooks/failed-gate.md",
    ):
        assert said in str(error.value)
    assert "taxi_daily" not in str(error.value)


def test_a_gate_with_warnings_alone_lets_the_run_go_on() -> None:
    verdict = Verdict((result(success=False, on_failure=OnFailure.WARN), result(success=True)))
    verdict.raise_if_failed("tlc", "marts")
    assert verdict.passed


def test_verdicts_are_merged_in_order_and_one_failure_fails_all() -> None:
    both = merged([Verdict((result(success=True),)), Verdict((result(success=False, table="zones"),), left_out=("x",))])
    assert [r.table for r in both.results] == ["fact_taxi_trip", "zones"]
    assert both.left_out == ("x",)
    assert not both.passed


def test_the_log_table_has_a_line_an_expectation_and_ends_with_the_verdict() -> None:
    text = Verdict((result(success=True), result(success=False)), left_out=("dim_zone",)).table()
    lines = text.splitlines()
    assert lines[2].startswith("pass")
    assert lines[3].startswith("fail")
    assert "56,551" in lines[3]
    assert "FAIL: fact_taxi_trip.trip_key: 3 of 56,551 rows are null; expected none" in lines
    assert "not judged, the run put nothing into it: dim_zone" in lines
    assert lines[-1] == "FAILED: 1 of 2 expectations met"


def test_a_verdict_is_booked_with_all_that_it_says(gate_connection: Connection) -> None:
    verdict = Verdict((result(success=True), result(success=False, on_failure=OnFailure.WARN)))
    record(gate_connection, verdict, source="tlc", layer="marts", dag_run_id="manual__1", landing_ids=[12, 34])
    with gate_connection.cursor() as cursor:
        cursor.execute(
            "select source, layer, dag_run_id, landing_ids, table_name, expectation, column_name, arguments,"
            " on_failure, success, rows_checked, rows_unexpected, observed, message"
            " from ops.gate_result order by gate_result_id"
        )
        rows = cursor.fetchall()
        cursor.execute("select count(distinct checked_at) from ops.gate_result")
        assert cursor.fetchone() == (1,)
    assert rows[1] == (
        "tlc", "marts", "manual__1", [12, 34], "fact_taxi_trip", "expect_column_values_to_not_be_null", "trip_key",
        {"column": "trip_key"}, "warn", False, 56_551, 3, "0 %",
        "fact_taxi_trip.trip_key: 3 of 56,551 rows are null; expected none",
    )  # fmt: skip
    assert len(rows) == 2


def test_a_verdict_is_booked_as_a_whole_or_not_at_all(gate_connection: Connection) -> None:
    unbookable = Verdict((result(success=True), result(success=True, table="nul\0")))
    with pytest.raises(ValueError, match="NUL"):
        record(gate_connection, unbookable, source="tlc", layer="marts", dag_run_id="manual__1", landing_ids=[1])
    with pytest.raises(psycopg2.errors.CheckViolation):
        record(
            gate_connection,
            Verdict((result(success=True),)),
            source="tlc",
            layer="nolayer",  # type: ignore[arg-type]
            dag_run_id="r",
            landing_ids=[1],
        )
    with gate_connection, gate_connection.cursor() as cursor:
        cursor.execute("select count(*) from ops.gate_result")
        assert cursor.fetchone() == (0,)


def test_a_verdict_without_results_is_not_booked(gate_connection: Connection) -> None:
    with pytest.raises(ValueError, match="judged nothing"):
        record(gate_connection, Verdict(()), source="tlc", layer="marts", dag_run_id="r", landing_ids=[1])


def test_the_gates_role_cannot_change_what_was_booked(warehouse: Warehouse, gate_connection: Connection) -> None:
    record(
        gate_connection, Verdict((result(success=False),)), source="tlc", layer="raw", dag_run_id="r", landing_ids=[1]
    )
    for statement in ("update ops.gate_result set success = true", "delete from ops.gate_result"):
        with (
            closing(psycopg2.connect(warehouse.dsn("sluice_gate"))) as connection,
            connection.cursor() as cursor,
            pytest.raises(psycopg2.errors.InsufficientPrivilege),
        ):
            cursor.execute(statement)
