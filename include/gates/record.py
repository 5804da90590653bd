"""A verdict -> rows of ops.gate_result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psycopg2.extras import execute_values

from include.gates.rules import LayerName
from include.gates.verdict import Verdict

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_COLUMNS = (
    "source, layer, dag_run_id, landing_ids, table_name, expectation, column_name, arguments, on_failure, success, "
    "rows_checked, rows_unexpected, observed, message"
)


def record(
    connection: Connection,
    verdict: Verdict,
    *,
    source: str,
    layer: LayerName,
    dag_run_id: str,
    landing_ids: Sequence[int],
) -> None:
    """Book a verdict in ops.gate_result, in one transaction. All its rows have the same `checked_at`.

    Args:
        connection: to the warehouse, as `sluice_gate`; in no transaction.
        verdict: failed or passed: both are booked, and before `raise_if_failed`.
        source: name of the source.
        layer: the layer that was judged.
        dag_run_id: the run.
        landing_ids: the run's landings.

    Raises:
        ValueError: the verdict has no result.
    """
    refuse_empty(verdict, source, layer)
    rows = values_of(verdict, source=source, layer=layer, dag_run_id=dag_run_id, landing_ids=landing_ids)
    with connection, connection.cursor() as cursor:
        execute_values(cursor, f"insert into ops.gate_result ({_COLUMNS}) values %s", rows, page_size=len(rows))  # noqa: S608


def refuse_empty(verdict: Verdict, source: str, layer: LayerName) -> None:
    """Raise ValueError if a verdict has no result."""
    if not verdict.results:
        raise ValueError(f"{source}: the verdict on {layer} has no result; a gate that judged nothing has not passed")


def values_of(
    verdict: Verdict, *, source: str, layer: LayerName, dag_run_id: str, landing_ids: Sequence[int]
) -> list[tuple[Any, ...]]:
    """A verdict's results as rows of ops.gate_result, without the time."""
    return [
        (
            source,
            layer,
            dag_run_id,
            list(landing_ids),
            result.table,
            result.expectation,
            result.column,
            json.dumps(result.arguments, default=str),
            result.on_failure.value,
            result.success,
            result.rows_checked,
            result.rows_unexpected,
            result.observed,
            result.message,
        )
        for result in verdict.results
    ]
