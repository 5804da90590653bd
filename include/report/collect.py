"""The warehouse -> the facts of a report. Reads `ops` and `analytics` in one snapshot, as the role `sluice_reporter`.

Everything is counted and summed by the database: what comes back is a few rows, however long the history.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2.extras import RealDictCursor

from include.report.expect import Expected
from include.report.facts import Chart, Facts, Figure, Point, SourceFacts, State, SubjectFacts
from include.report.subjects import DAYS, SUBJECTS, Measure, Subject

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

log = logging.getLogger(__name__)

_MOST_FINDINGS = 5
_SETTINGS = "-c statement_timeout=120s -c timezone=UTC"

_OF_SOURCES = """
with landed as (
    select
        source, dag_run_id, landing_id, bytes, coalesce(records, loaded_rows, 0) as records,
        case when loaded_at < %(until)s then coalesce(loaded_rows, 0) else 0 end as loaded
    from ops.landing where fetched_at >= %(since)s and fetched_at < %(until)s
),
judged as (
    select
        *, rank() over (partition by source, layer, dag_run_id, table_name order by checked_at desc) as attempt
    from ops.gate_result where checked_at >= %(since)s and checked_at < %(until)s
),
published as (
    select source, dag_run_id, rows_inserted, published_at
    from ops.publication where published_at >= %(since)s and published_at < %(until)s
),
-- a run begins with its first landing and ends with its last verdict or publication
moments as (
    select source, dag_run_id, to_timestamp(landing_id / 1e6) as moment from landed
    union all select source, dag_run_id, checked_at from judged
    union all select source, dag_run_id, published_at from published
),
runs as (
    select source, dag_run_id, extract(epoch from max(moment) - min(moment)) as seconds
    from moments group by source, dag_run_id
)
select
    source,
    (select count(*) from runs where runs.source = s.source) as runs,
    (select coalesce(sum(seconds), 0) from runs where runs.source = s.source) as seconds,
    (select count(*) from landed where landed.source = s.source) as landings,
    (select coalesce(sum(records), 0) from landed where landed.source = s.source) as landed,
    (select coalesce(sum(loaded), 0) from landed where landed.source = s.source) as loaded,
    (select coalesce(sum(bytes), 0) from landed where landed.source = s.source) as bytes,
    (select coalesce(sum(rows_inserted), 0) from published where published.source = s.source) as published,
    (select count(*) from published where published.source = s.source) > 0 as has_published,
    (select count(*) from judged where judged.source = s.source and attempt = 1 and success) as gates_passed,
    (
        select count(*) from judged
        where judged.source = s.source and attempt = 1 and not success and on_failure <> 'fail'
    ) as gates_warned,
    (
        select count(*) from judged
        where judged.source = s.source and attempt = 1 and not success and on_failure = 'fail'
    ) as gates_failed,
    (
        select coalesce(array_agg(message), '{}') from (
            select message from judged
            where judged.source = s.source and attempt = 1 and not success
            group by message, on_failure order by on_failure, max(checked_at) desc limit %(findings)s
        ) as messages
    ) as findings,
    (
        select max(fetched_at) from ops.landing as l
        where l.source = s.source and published_at is not null and fetched_at < %(until)s
    ) as fetched_at,
    (
        select coalesce(sum(quarantined_rows), 0)
        from ops.quarantined((select array_agg(landing_id) from landed where landed.source = s.source))
    ) as quarantined
from unnest(%(sources)s) as s (source)
"""

_ABSENT = """
select table_name from unnest(%(tables)s) as t (table_name) where to_regclass('analytics.' || table_name) is null
"""


def collect(dsn: str, *, day: date, sources: Sequence[Expected], now: datetime | None = None) -> Facts:
    """Ask the warehouse for a day's facts.

    Args:
        dsn: postgresql:// URI of the role `sluice_reporter` (or one that may read as much).
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
        "findings": _MOST_FINDINGS,
        "sources": [source.name for source in sources],
    }
    with closing(psycopg2.connect(dsn, options=_SETTINGS)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        found = {row["source"]: row for row in _rows(connection, _OF_SOURCES, values)}
        return Facts(
            day=day,
            until=until,
            made_at=made_at,
            sources=[_source(source, found[source.name], until) for source in sources],
            subjects=[_subject(connection, subject, values) for subject in SUBJECTS],
        )


def end_of(day: date, now: datetime) -> datetime:
    """When the 24 hours of a day's report end: now, or with the day where that is over."""
    return min(now, datetime.combine(day + timedelta(days=1), time(tzinfo=UTC)))


def _source(source: Expected, row: dict[str, Any], until: datetime) -> SourceFacts:
    age = (until - row["fetched_at"]).total_seconds() / 3600 if row["fetched_at"] else None
    return SourceFacts(
        name=source.name,
        title=source.title,
        state=_state(source, row, age),
        is_due=source.is_due,
        age_hours=age,
        stale_after_hours=source.warn_after_hours or source.error_after_hours,
        **{name: value for name, value in row.items() if name != "source"},
    )


def _state(source: Expected, row: dict[str, Any], age_hours: float | None) -> State:
    too_old = age_hours is not None and source.error_after_hours is not None and age_hours > source.error_after_hours
    stale = age_hours is not None and source.warn_after_hours is not None and age_hours > source.warn_after_hours
    for state, holds in (
        ("fail", row["gates_failed"] or too_old),
        ("missing", source.is_due and not row["has_published"]),
        ("warn", row["gates_warned"] or row["quarantined"] or stale),
        ("idle", not row["runs"]),
    ):
        if holds:
            return state  # type: ignore[return-value]
    return "pass"


def _subject(connection: Connection, subject: Subject, values: dict[str, Any]) -> SubjectFacts:
    facts = SubjectFacts(name=subject.name, title=subject.title, source=subject.source)
    if absent := _rows(connection, _ABSENT, {"tables": list(subject.tables)}):
        names = ", ".join(row["table_name"] for row in absent)
        facts.missing = f"{subject.source} has not been published yet (analytics has no {names})."
        return facts
    try:
        days = _rows(connection, subject.days, values) if subject.days else []
        groups = _rows(connection, subject.groups.sql, values) if subject.groups else []
        others = _rows(connection, subject.figures, values) if subject.figures else []
    except psycopg2.Error as fault:
        connection.rollback()
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


def _rows(connection: Connection, query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(query, values)
        return [dict(row) for row in cursor]
