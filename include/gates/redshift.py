"""What the gates write and read of `ops.gate_result` on Redshift, which has neither arrays nor lateral joins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from include.gates.data_docs import RESULTS_A_SOURCE, write_pages
from include.gates.record import refuse_empty, values_of
from include.gates.rules import LayerName
from include.gates.verdict import Verdict

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LONGEST = 65_000
"""bytes of a text that Redshift takes as a parameter, with room to spare"""

_RUNS = f"""
select source, layer, dag_run_id, cast(extract(epoch from max(checked_at)) * 1000 as bigint), max(checked_at), count(*),
    sum(case when not success and on_failure = 'fail' then 1 else 0 end),
    sum(case when not success and on_failure = 'warn' then 1 else 0 end),
    sum(case when not success and on_failure = 'quarantine' then 1 else 0 end),
    coalesce(sum(case when not success and on_failure = 'quarantine' then rows_unexpected else 0 end), 0)
from (
    select *, rank() over (partition by source, layer, dag_run_id, table_name order by checked_at desc) as attempt
    from (
        select *, row_number() over (partition by source order by checked_at desc) as place from ops.gate_result
    ) as placed
    where place <= {RESULTS_A_SOURCE}
) as newest
where attempt = 1
group by source, layer, dag_run_id
order by source, max(checked_at) desc, layer
"""  # noqa: S608 - a number
_RESULTS = """
select table_name, column_name, expectation, json_serialize(arguments), on_failure, success, rows_checked,
    rows_unexpected, observed, message, json_serialize(landing_ids)
from (
    select *, rank() over (partition by table_name order by checked_at desc) as attempt
    from ops.gate_result where source = %s and layer = %s and dag_run_id = %s
) as results
where attempt = 1
order by table_name, gate_result_id
"""
_NAMES = (
    "table_name", "column_name", "expectation", "arguments", "on_failure", "success", "rows_checked",
    "rows_unexpected", "observed", "message", "landing_ids",
)  # fmt: skip
_OF_JSON = ("arguments", "landing_ids")


class Session(Protocol):
    """A transaction on Redshift."""

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement (placeholders `%s`)."""
        ...


def record(
    session: Session,
    verdict: Verdict,
    *,
    source: str,
    layer: LayerName,
    dag_run_id: str,
    landing_ids: Sequence[int],
) -> None:
    """Book a verdict in ops.gate_result: see `include.gates.record`."""
    refuse_empty(verdict, source, layer)
    checked_at = datetime.now(UTC).isoformat()
    values: list[Any] = []
    for row in values_of(verdict, source=source, layer=layer, dag_run_id=dag_run_id, landing_ids=landing_ids):
        *_, observed, message = row
        short = [None if one is None else _cut(str(one)) for one in (observed, message)]
        values += [*row[:3], json.dumps(row[3]), *row[4:-2], *short, checked_at]
    one = "(%s, %s, %s, json_parse(%s), %s, %s, %s, json_parse(%s), %s, %s, %s, %s, %s, %s, %s)"
    statement = (
        "insert into ops.gate_result (source, layer, dag_run_id, landing_ids, table_name, expectation, column_name, "
        "arguments, on_failure, success, rows_checked, rows_unexpected, observed, message, checked_at) values "
    )
    session.execute(statement + ", ".join([one] * len(verdict.results)), values)


def write_data_docs(session: Session, docs_uri: str, *, s3: S3Client | None = None, runs: int = 30) -> str:
    """Write the pages of the last runs: see `include.gates.data_docs`.

    Two gates at once do not take turns, for a lock would want a right to write: each page is replaced as a whole, and
    an index that has fallen behind is caught up by the next gate.
    """

    def results(source: str, layer: str, dag_run_id: str) -> list[dict[str, Any]]:
        found = []
        for row in session.execute(_RESULTS, (source, layer, dag_run_id)):
            named = dict(zip(_NAMES, row, strict=True))
            found.append(named | {name: json.loads(named[name]) for name in _OF_JSON})
        return found

    return write_pages(session.execute(_RUNS), results, docs_uri, s3=s3, runs=runs)


def _cut(text: str) -> str:
    return text.encode()[:_LONGEST].decode(errors="ignore")
