"""`./sluice quarantine list | show | redrive`: the rows that are held, why, and their way back."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg2
from psycopg2 import sql

from include.pipeline.model import Source, load_source
from include.warehouse import quarantine
from local import commands, report, runs
from local.data import warehouse_dsn
from local.home import Home, LocalError

MASK = "***"
_ROWS = """
select
    held._landing_id as landing_id, held._row as "row", held.payload, held.record, held._request as request,
    held.reasons, held.dag_run_id, held.quarantined_at, landing.uri
from {} as held
inner join ops.landing as landing on landing.landing_id = held._landing_id
where landing.source = %s
order by held._landing_id desc, held._row
limit %s
"""


def listed(home: Home, source: str | None) -> int:
    """Print what is held of a source, or of all: a line a landing.

    Raises:
        LocalError: there is no such source, or PostgreSQL does not run.
    """
    dsn = warehouse_dsn(home, "operator")
    names = [_known(source)] if source else runs.sources()
    held = [(name, one) for name in names for one in quarantine.held(dsn, name)]
    if not held:
        print(f"nothing is in quarantine{f' of {source}' if source else ''}")
        return 0
    lines = [
        (
            name,
            f"quarantine.{one.table}",
            str(one.landing_id),
            one.partition,
            one.rows,
            one.oldest.strftime("%Y-%m-%d %H:%M"),
            "; ".join(f"{reason} ({count:,})" for reason, count in one.reasons.items()),
        )
        for name, one in held
    ]
    print(report.table(("source", "table", "landing", "partition", "rows", "since (UTC)", "held for"), lines))
    return 0


def show(home: Home, source: str, entity: str | None, *, limit: int, clear: bool) -> int:
    """Print held rows, the newest landings' first: where each came from, why it is held, and what it says.

    Args:
        home: The stack.
        source: Whose rows.
        entity: Of this entity alone.
        limit: So many of each table at most.
        clear: Show personal values too.

    Raises:
        LocalError: there is no such source or entity, or PostgreSQL does not run.
    """
    dsn, of = warehouse_dsn(home, "operator"), load_source(_known(source))
    if entity not in (None, *of.entities):
        raise LocalError(f"{source} has no entity {entity!r}: it has {', '.join(of.entities)}")
    tables = {one.table: one.entity for one in quarantine.held(dsn, source, entity)}
    if not tables:
        print(f"nothing is in quarantine of {'.'.join(filter(None, (source, entity)))}")
        return 0
    for table, name in tables.items():
        for row in _rows(dsn, table, source, limit):
            print("\n".join(_told(of, name, table, row, clear=clear)))
    return 0


def redrive(home: Home, source: str, entity: str | None) -> int:
    """Have the source load again what has rows in quarantine, and wait for it.

    Returns:
        0 when the run succeeded, or nothing is held.

    Raises:
        LocalError: there is no such source or entity, or the stack does not run.
    """
    entities = load_source(_known(source)).entities
    if entity not in (None, *entities):
        raise LocalError(f"{source} has no entity {entity!r}: it has {', '.join(entities)}")
    dsn = warehouse_dsn(home, "operator")
    before = sum(one.rows for one in quarantine.held(dsn, source, entity))
    if not before:
        print(f"nothing is in quarantine of {'.'.join(filter(None, (source, entity)))}; nothing to redrive")
        return 0
    ended = commands.run(home, source, {"redrive": True, "redrive_entity": entity})
    after = sum(one.rows for one in quarantine.held(dsn, source, entity))
    print(f"{source}: {before:,} row{'s' * (before != 1)} in quarantine before, {after:,} after")
    return ended


def _told(source: Source, entity: str, table: str, row: Mapping[str, Any], *, clear: bool) -> Sequence[str]:
    """What is printed of a held row."""
    personal = {name.lower() for name in source.entities[entity].pii} if not clear else set()
    told = [
        f"quarantine.{table}  _landing_id {row['landing_id']}  _row {row['row']}",
        f"  object   {row['uri']}  record {row['row']} (from 0)",
        f"  held     {row['quarantined_at']:%Y-%m-%d %H:%M:%S} UTC by the run {row['dag_run_id']}",
    ]
    told += [f"  because  {reason['layer']}: {reason['message']}" for reason in row["reasons"]]
    if row["request"]:
        told.append(f"  asked    {_json(row['request'])}")
    if row["payload"] is not None:
        told.append(f"  payload  {_json(_masked(row['payload'], personal))}")
    if row["record"] is not None:
        hidden = f"{MASK} ({len(row['record']):,} characters; the entity has personal columns, --clear shows it)"
        told.append(f"  record   {hidden if personal else json.dumps(row['record'], ensure_ascii=False)}")
    return [*told, ""]


def _masked(payload: object, personal: set[str]) -> object:
    """A payload with the values of personal members replaced, wherever in it they stand."""
    if isinstance(payload, dict):
        return {
            name: MASK if name.lower() in personal and value is not None else _masked(value, personal)
            for name, value in payload.items()
        }
    if isinstance(payload, list):
        return [_masked(value, personal) for value in payload]
    return payload


def _rows(dsn: str, table: str, source: str, limit: int) -> list[dict[str, Any]]:
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("set time zone 'UTC'")
        cursor.execute(sql.SQL(_ROWS).format(sql.Identifier("quarantine", table)), (source, limit))
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _known(source: str) -> str:
    if source not in runs.sources():
        raise LocalError(f"there is no source {source!r}: include/sources has {', '.join(runs.sources())}")
    return source


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
