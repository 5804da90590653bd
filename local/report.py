"""What the warehouse's bookkeeping says, as tables for people and as JSON for programs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extras import RealDictCursor

from local import airflow
from local.home import Home

SCHEMAS = ("raw", "staging", "marts", "analytics")

# A run that loads again what another landed is about landings that are not its own: its gates say which.
_ABOUT = """
select landing_id from ops.landing where source = %(source)s and dag_run_id = %(run)s
union
select unnest(landing_ids) from ops.gate_result where source = %(source)s and dag_run_id = %(run)s
"""

_OF_RUN = """
select
    (
        -- a file is landed unopened: what it holds is known when it is loaded
        select coalesce(sum(coalesce(records, loaded_rows)), 0) from ops.landing
        where source = %(source)s and dag_run_id = %(run)s
    ) as landed,
    (
        select coalesce(sum(loaded_rows), 0) from ops.landing where landing_id = any(%(landing_ids)s)
    ) as loaded,
    (
        select count(*) filter (where success) || ' ok'
            || case when count(*) filter (where not success and on_failure <> 'fail') > 0
                then ', ' || count(*) filter (where not success and on_failure <> 'fail') || ' warned' else '' end
            || case when count(*) filter (where not success and on_failure = 'fail') > 0
                then ', ' || count(*) filter (where not success and on_failure = 'fail') || ' failed' else '' end
        from ops.gate_result where source = %(source)s and dag_run_id = %(run)s
    ) as gates,
    (
        select coalesce(sum(rows_inserted), 0) from ops.publication
        where source = %(source)s and dag_run_id = %(run)s
    ) as published
"""

_SOURCES = """
select
    source,
    max(fetched_at) as landed_at,
    max(loaded_at) as loaded_at,
    max(published_at) as published_at,
    count(*) as landings,
    count(*) filter (where published_at is null and superseded_by is null) as unpublished
from ops.landing group by source order by source
"""


@contextmanager
def warehouse(home: Home) -> Iterator[Any]:
    """A cursor on the local warehouse that gives rows as dicts; it only reads."""
    server = airflow.server(home)
    with closing(psycopg2.connect(server.dsn("warehouse"), connect_timeout=5)) as connection:
        connection.set_session(readonly=True, autocommit=True)
        with connection.cursor(cursor_factory=RealDictCursor) as cursor:
            yield cursor


def of_run(home: Home, source: str, run_id: str) -> dict[str, Any]:
    """landed, loaded, quarantined, gates and published of one run."""
    with warehouse(home) as cursor:
        cursor.execute(_ABOUT, {"source": source, "run": run_id})
        landing_ids = [row["landing_id"] for row in cursor.fetchall()]
        cursor.execute(_OF_RUN, {"source": source, "run": run_id, "landing_ids": landing_ids})
        found = dict(cursor.fetchone())
        found["quarantined"] = sum(_quarantined(cursor, landing_ids).values())
    return found


def of_sources(home: Home) -> list[dict[str, Any]]:
    """For each source when it was last landed, loaded and published, and how many landings wait to be."""
    with warehouse(home) as cursor:
        cursor.execute(_SOURCES)
        return [dict(row) for row in cursor.fetchall()]


def rows(home: Home) -> dict[str, dict[str, int]]:
    """Rows of each table by layer: {"raw": {"tlc__green_trips": 5000}}."""
    with warehouse(home) as cursor:
        return {schema: _counts(cursor, schema) for schema in SCHEMAS}


def quarantine(home: Home) -> dict[str, int]:
    """Rows of each quarantine table."""
    with warehouse(home) as cursor:
        return _counts(cursor, "quarantine")


def table(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Columns under their headings, numbers to the right."""
    cells = [[_cell(value) for value in line] for line in lines]
    widths = [max(len(row[index]) for row in [list(header), *cells]) for index in range(len(header))]
    right = [
        bool(lines) and all(isinstance(line[index], int | float) for line in lines) for index in range(len(header))
    ]

    def line(row: Sequence[str]) -> str:
        parts = [
            value.rjust(width) if to_right else value.ljust(width)
            for value, width, to_right in zip(row, widths, right, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *(line(row) for row in cells)])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _tables(cursor: Any, schema: str) -> list[str]:  # noqa: ANN401 - psycopg2's
    # partitions are counted with the table they belong to
    cursor.execute(
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = %s and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition order by 1",
        (schema,),
    )
    return [row["relname"] for row in cursor.fetchall()]


def _counts(cursor: Any, schema: str) -> dict[str, int]:  # noqa: ANN401 - psycopg2's
    found = {}
    for name in _tables(cursor, schema):
        cursor.execute(sql.SQL("select count(*) as rows from {}").format(sql.Identifier(schema, name)))
        found[name] = int(cursor.fetchone()["rows"])
    return found


def _quarantined(cursor: Any, landing_ids: Sequence[int]) -> Mapping[str, int]:  # noqa: ANN401 - psycopg2's
    found = {}
    for name in _tables(cursor, "quarantine") if landing_ids else []:
        query = sql.SQL("select count(*) as rows from {} where _landing_id = any(%s)")
        cursor.execute(query.format(sql.Identifier("quarantine", name)), (list(landing_ids),))
        found[name] = int(cursor.fetchone()["rows"])
    return found
