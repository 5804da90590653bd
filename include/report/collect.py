"""The warehouse -> the facts of a report. Reads `ops` and `analytics` in one snapshot, as the role `sluice_reporter`.

Everything is counted and summed by the database: what comes back is a few rows, however long the history. The queries
are for both engines, Postgres and Redshift.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import psycopg2

from include.report.expect import Expected
from include.report.facts import Chart, Facts, Figure, Point, SourceFacts, State, SubjectFacts
from include.report.subjects import DAYS, SUBJECTS, Measure, Subject
from include.warehouse.redshift.sql import quoted
from include.warehouse.session import Engine, engine_of, redshift_connection

log = logging.getLogger(__name__)

_MOST_FINDINGS = 5
_LONGEST_SECONDS = 120
_SETTINGS = f"-c statement_timeout={_LONGEST_SECONDS}s -c timezone=UTC"

_JUDGED = """
with judged as (
    select
        *, rank() over (partition by source, layer, dag_run_id, table_name order by checked_at desc) as attempt
    from ops.gate_result where checked_at >= %(since)s and checked_at < %(until)s
)
"""
_OF_SOURCES = (
    """
    select
        source, count(*) as landings, sum(bytes) as bytes, sum(coalesce(records, loaded_rows, 0)) as landed,
        sum(case when loaded_at < %(until)s then coalesce(loaded_rows, 0) else 0 end) as loaded
    from ops.landing where fetched_at >= %(since)s and fetched_at < %(until)s
    group by source
    """,
    """
    select source, sum(rows_inserted) as published, count(*) > 0 as has_published
    from ops.publication where published_at >= %(since)s and published_at < %(until)s
    group by source
    """,
    f"""
    {_JUDGED}
    select
        source, sum(case when success then 1 else 0 end) as gates_passed,
        sum(case when not success and on_failure <> 'fail' then 1 else 0 end) as gates_warned,
        sum(case when not success and on_failure = 'fail' then 1 else 0 end) as gates_failed
    from judged where attempt = 1
    group by source
    """,  # noqa: S608 - a query of our own within it
    # a run begins with its first landing and ends with its last verdict or publication
    """
    with moments as (
        select source, dag_run_id, fetched_at as moment from ops.landing
        where fetched_at >= %(since)s and fetched_at < %(until)s
        union all
        select source, dag_run_id, checked_at as moment from ops.gate_result
        where checked_at >= %(since)s and checked_at < %(until)s
        union all
        select source, dag_run_id, published_at as moment from ops.publication
        where published_at >= %(since)s and published_at < %(until)s
    ),
    runs as (
        select source, extract(epoch from max(moment)) - extract(epoch from min(moment)) as seconds
        from moments group by source, dag_run_id
    )
    select source, count(*) as runs, sum(seconds) as seconds from runs group by source
    """,
    """
    select source, max(fetched_at) as fetched_at from ops.landing
    where published_at is not null and fetched_at < %(until)s
    group by source
    """,
)
"""Each gives a row for a source that it has anything of, with some of its facts"""

_FINDINGS = f"""
{_JUDGED},
found as (
    select
        source, message, row_number() over (partition by source order by on_failure, max(checked_at) desc) as place
    from judged where attempt = 1 and not success group by source, message, on_failure
)
select source, message from found where place <= %(findings)s order by source, place
"""  # noqa: S608 - a query of our own within it

_QUARANTINED = """
select landing.source, sum(held.quarantined_rows) as quarantined
from
    ops.quarantined(
        (select array_agg(landing_id) from ops.landing where fetched_at >= %(since)s and fetched_at < %(until)s)
    ) as held
inner join ops.landing as landing on held.landing_id = landing.landing_id
group by landing.source
"""
# the reporter may read `_landing_id` of these tables, and no other column; Redshift has no function that could for it
_HELD_ON_REDSHIFT = """
select landing.source, count(*) as quarantined
from quarantine.{table} as held inner join ops.landing as landing on held._landing_id = landing.landing_id
where landing.fetched_at >= %(since)s and landing.fetched_at < %(until)s
group by landing.source
"""

_TABLES = {
    "postgres": "select table_name from information_schema.tables where table_schema = %(schema)s",
    "redshift": "select table_name from svv_tables where table_schema = %(schema)s",
}


def collect(dsn: str, *, day: date, sources: Sequence[Expected], now: datetime | None = None) -> Facts:
    """Ask the warehouse for a day's facts.

    Args:
        dsn: postgresql:// or redshift:// URI of the role `sluice_reporter` (or one that may read as much).
        day: the report's day: its 24 hours end now, or with the day where that is over.
        sources: what is expected of each source, in the order in which they are to stand.
        now: the time; by default the clock's.

    Returns:
        Facts, in which a subject whose tables are not there yet is said to be missing.
    """
    made_at = now or datetime.now(UTC)
    until = end_of(day, made_at)
    values = {
        "since": until - timedelta(days=1),
        "until": until,
        "today": (until - timedelta(microseconds=1)).date(),
        "whole_days_before": datetime.combine(until.date(), time(tzinfo=UTC)),
        "landed_since": int((until - timedelta(days=DAYS + 1)).timestamp() * 1_000_000),
        "days": DAYS,
        "three_times_the_days": 3 * DAYS,
        "findings": _MOST_FINDINGS,
    }
    with _snapshot(dsn) as warehouse:
        published = _tables(warehouse, "analytics")
        found = _of_sources(warehouse, values)
        return Facts(
            day=day,
            until=until,
            made_at=made_at,
            sources=[_source(source, found.get(source.name, {}), until) for source in sources],
            subjects=[_subject(warehouse, subject, published, values) for subject in SUBJECTS],
        )


def end_of(day: date, now: datetime) -> datetime:
    """When the 24 hours of a day's report end: now, or with the day where that is over."""
    return min(now, datetime.combine(day + timedelta(days=1), time(tzinfo=UTC)))


def _of_sources(warehouse: _Warehouse, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name of a source -> what there is of its facts."""
    found: dict[str, dict[str, Any]] = {}
    for query in _OF_SOURCES:
        for row in warehouse.rows(query, values):
            found.setdefault(row.pop("source"), {}).update(row)
    for row in warehouse.rows(_FINDINGS, values):
        found[row["source"]].setdefault("findings", []).append(row["message"])
    queries = (
        [_HELD_ON_REDSHIFT.format(table=quoted(table)) for table in _tables(warehouse, "quarantine")]
        if warehouse.engine == "redshift"
        else [_QUARANTINED]
    )
    for query in queries:
        for row in warehouse.rows(query, values):
            of_source = found[row["source"]]
            of_source["quarantined"] = of_source.get("quarantined", 0) + row["quarantined"]
    return found


def _tables(warehouse: _Warehouse, schema: str) -> set[str]:
    return {row["table_name"] for row in warehouse.rows(_TABLES[warehouse.engine], {"schema": schema})}


def _source(source: Expected, found: dict[str, Any], until: datetime) -> SourceFacts:
    fetched_at = found.get("fetched_at")
    facts = SourceFacts(
        name=source.name,
        title=source.title,
        state="idle",
        is_due=source.is_due,
        age_hours=(until - fetched_at).total_seconds() / 3600 if fetched_at else None,
        stale_after_hours=source.warn_after_hours or source.error_after_hours,
        **found,
    )
    return facts.model_copy(update={"state": _state(source, facts)})


def _state(source: Expected, facts: SourceFacts) -> State:
    age = facts.age_hours
    too_old = age is not None and source.error_after_hours is not None and age > source.error_after_hours
    stale = age is not None and source.warn_after_hours is not None and age > source.warn_after_hours
    for state, holds in (
        ("fail", facts.gates_failed or too_old),
        ("missing", source.is_due and not facts.has_published),
        ("warn", facts.gates_warned or facts.quarantined or stale),
        ("idle", not facts.runs),
    ):
        if holds:
            return state  # type: ignore[return-value]
    return "pass"


def _subject(
    warehouse: _Warehouse, subject: Subject, published: Collection[str], values: dict[str, Any]
) -> SubjectFacts:
    facts = SubjectFacts(name=subject.name, title=subject.title, source=subject.source)
    if absent := [table for table in subject.tables if table not in published]:
        facts.missing = f"{subject.source} has not been published yet (analytics has no {', '.join(absent)})."
        return facts
    try:
        days = warehouse.rows(subject.days, values) if subject.days else []
        groups = warehouse.rows(subject.groups.sql, values) if subject.groups else []
        others = warehouse.rows(subject.figures, values) if subject.figures else []
    except warehouse.fault as fault:
        warehouse.rollback()
        log.exception("subject %s cannot be read", subject.name)
        facts.missing = f"It could not be read ({type(fault).__name__}); the report's log in Airflow says why."
        return facts
    if not days and not groups:
        facts.missing = f"Nothing of the last {DAYS} days is there."
        return facts
    facts.figures = [_newest(measure, days) for measure in subject.measures if days]
    facts.figures += [Figure(**row) for row in others]
    facts.charts = [
        Chart(
            name=f"{subject.name}-{measure.column}",
            title=measure.chart,
            unit=measure.unit,
            kind="columns",
            points=[
                Point(label=row["day"].isoformat(), value=row[measure.column])
                for row in days
                if row[measure.column] is not None
            ],
        )
        for measure in subject.measures
        if measure.chart and any(row[measure.column] is not None for row in days)
    ]
    if subject.groups and groups:
        facts.charts.append(
            Chart(
                name=f"{subject.name}-groups",
                title=subject.groups.title,
                unit=subject.groups.unit,
                kind=subject.groups.kind,
                points=[Point(**row) for row in groups],
            )
        )
    return facts


def _newest(measure: Measure, days: Sequence[dict[str, Any]]) -> Figure:
    """The newest day's value, compared with the same weekday before it, or else the day before."""
    by_day = {row["day"]: row[measure.column] for row in days}
    newest = max(by_day)
    value, change, than = by_day[newest], None, ""
    for back, name in ((7, "a week"), (1, "a day")):
        before = by_day.get(newest - timedelta(days=back))
        if before and value is not None:
            change, than = float(value) / float(before) - 1, name
            break
    return Figure(label=measure.label, value=value, unit=measure.unit, note=f"{newest}", change=change, than=than)


class _Warehouse:
    """A connection of either driver, asked by named parameters."""

    def __init__(self, connection: Any, engine: Engine, fault: type[Exception]) -> None:  # noqa: ANN401 - of two drivers
        self._connection = connection
        self.engine = engine
        self.fault = fault
        """what the driver raises"""

    def rows(self, query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query, by the names of its columns."""
        with closing(self._connection.cursor()) as cursor:
            if self.engine == "redshift":
                cursor.paramstyle = "pyformat"  # psycopg2 knows no other
            cursor.execute(query, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def rollback(self) -> None:
        """Go on after a fault."""
        self._connection.rollback()


@contextmanager
def _snapshot(dsn: str) -> Iterator[_Warehouse]:
    """The warehouse as it is at one moment: a transaction that only reads."""
    if engine_of(dsn) == "redshift":
        from redshift_connector.error import Error

        with closing(redshift_connection(dsn)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(f"set statement_timeout to {_LONGEST_SECONDS * 1000}")
                cursor.execute("set timezone to 'UTC'")
            yield _Warehouse(connection, "redshift", Error)
        return
    with closing(psycopg2.connect(dsn, options=_SETTINGS)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        yield _Warehouse(connection, "postgres", psycopg2.Error)
