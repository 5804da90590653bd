"""Marts that passed their gate into the schema `analytics`: one transaction for all models of a run.

Until it commits, readers see the last good state; its cost follows the run's rows, not the history. What moves is said
by each model's own yml (`meta.publish` and the primary key constraint), read from dbt's manifest:

- `replace_by: [service, source_month]`: the slices that the run's landings touch are deleted and inserted anew
- `mode: upsert`: the rows of the run's landings take the place of those with the same primary key
- `mode: whole`: a small table without landings is made equal to the mart

A column with `meta.pii` holds personal data: the role `pii_reader` alone may read it, `analyst` and `operator` read the
others. A new table is nobody's until then.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from include.warehouse.session import PsycopgSession, psycopg_session

log = logging.getLogger(__name__)


class PublishError(Exception):
    """Nothing was published; the message names the model and the fault."""


@dataclass(frozen=True)
class Mart:
    """A dbt model that is published."""

    name: str
    key: tuple[str, ...]
    replace_by: tuple[str, ...] = ()
    whole: bool = False
    personal: frozenset[str] = frozenset()
    """columns of personal data"""


@dataclass(frozen=True)
class Published:
    """What one model's share of a publish was."""

    model: str
    rows_deleted: int
    rows_inserted: int


def marts(manifest: Path, tag: str) -> list[Mart]:
    """The published models that carry a dbt tag, sorted by name.

    Args:
        manifest: dbt's manifest.json (https://docs.getdbt.com/reference/artifacts/manifest-json).
        tag: the source's name.

    Raises:
        PublishError: a model with `meta.publish` has no primary key constraint, or the meta cannot be read.
    """
    nodes = json.loads(manifest.read_bytes())["nodes"].values()
    found = [
        _mart(node)
        for node in nodes
        if node["resource_type"] == "model" and tag in node["tags"] and "publish" in node["config"]["meta"]
    ]
    return sorted(found, key=lambda mart: mart.name)


def publish(
    dsn: str, models: Sequence[Mart], *, source: str, dag_run_id: str, landing_ids: Sequence[int]
) -> list[Published]:
    """Move a run's changes of all its models to `analytics` in one transaction, and book it.

    Args:
        dsn: postgresql:// URI of the role that owns `analytics`.
        models: what `marts` found.
        source: for the bookkeeping.
        dag_run_id: for the bookkeeping.
        landing_ids: the run's slice: rows of these landings move.

    Raises:
        PublishError: nothing was published.
    """
    ids = list(landing_ids)
    try:
        with psycopg_session(dsn) as session:
            # one publish at a time: tables shared by sources are never moved by two at once
            session.execute("select pg_advisory_xact_lock(hashtextextended('sluice publish', 0))")
            done = [_publish_one(session, mart, ids) for mart in models]
            for one in done:
                session.cursor.execute(
                    "insert into ops.publication (source, dag_run_id, model, landing_ids, rows_deleted, rows_inserted) "
                    "values (%s, %s, %s, %s, %s, %s)",
                    (source, dag_run_id, one.model, ids, one.rows_deleted, one.rows_inserted),
                )
            session.cursor.execute("update ops.landing set published_at = now() where landing_id = any(%s)", (ids,))
    except psycopg2.Error as fault:
        raise PublishError(f"{source}: nothing was published: {' '.join(str(fault).split())}") from fault
    for one in done:
        log.info("published model=%s deleted=%d inserted=%d", one.model, one.rows_deleted, one.rows_inserted)
    return done


def _mart(node: dict[str, Any]) -> Mart:
    name, how = node["name"], node["config"]["meta"]["publish"]
    keys = [tuple(one["columns"]) for one in node["constraints"] if one["type"] == "primary_key"]
    keys += [
        (column["name"],)
        for column in node["columns"].values()
        for one in column.get("constraints", [])
        if one["type"] == "primary_key"
    ]
    if len(keys) != 1:
        raise PublishError(
            f"{node['original_file_path']}: give the model one primary_key constraint; publish needs its key"
        )
    personal = frozenset(column["name"] for column in node["columns"].values() if column.get("meta", {}).get("pii"))
    match how:
        case {"replace_by": [*columns]} if columns:
            return Mart(name, keys[0], replace_by=tuple(columns), personal=personal)
        case {"mode": "upsert"}:
            return Mart(name, keys[0], personal=personal)
        case {"mode": "whole"}:
            return Mart(name, keys[0], whole=True, personal=personal)
    raise PublishError(
        f"{node['original_file_path']}: meta.publish {how!r} is not one of "
        "replace_by: [columns], mode: upsert, mode: whole"
    )


def _publish_one(session: PsycopgSession, mart: Mart, landing_ids: list[int]) -> Published:
    table = f'"{mart.name}"'
    columns = _align(session, mart)
    _grant(session, mart, columns)
    listed = ", ".join(f'"{column}"' for column in columns)
    key = ", ".join(f'"{column}"' for column in mart.key)
    others = [column for column in columns if column not in mart.key]
    update = ", ".join(f'"{column}" = excluded."{column}"' for column in others)
    on_conflict = f"do update set {update}" if others else "do nothing"
    cursor, deleted = session.cursor, 0
    if mart.whole:
        cursor.execute(f"delete from analytics.{table} where ({key}) not in (select {key} from marts.{table})")
        deleted = cursor.rowcount
        changed = " or ".join(f'held."{column}" is distinct from excluded."{column}"' for column in others)
        cursor.execute(
            f"insert into analytics.{table} as held ({listed}) select {listed} from marts.{table} "
            f"on conflict ({key}) {on_conflict}" + (f" where {changed}" if others else "")
        )
        return Published(mart.name, deleted, cursor.rowcount)
    if mart.replace_by:
        names = [f'"{column}"' for column in mart.replace_by]
        cursor.execute(
            f"select distinct {', '.join(names)} from marts.{table} where _landing_id = any(%s)", (landing_ids,)
        )
        # each slice by its values, which the planner finds in an index; a join with them it may do by reading it all
        for values in cursor.fetchall():
            cursor.execute(
                f"delete from analytics.{table} where {' and '.join(f'{name} = %s' for name in names)}", values
            )
            deleted += cursor.rowcount
    cursor.execute(
        f"insert into analytics.{table} ({listed}) select {listed} from marts.{table} where _landing_id = any(%s) "
        f"on conflict ({key}) {on_conflict}",
        (landing_ids,),
    )
    return Published(mart.name, deleted, cursor.rowcount)


def _align(session: PsycopgSession, mart: Mart) -> list[str]:
    """Make the table in `analytics` if need be, add columns that the mart has gained; return the mart's columns."""
    wanted, held = _columns(session, "marts", mart.name), _columns(session, "analytics", mart.name)
    if not wanted:
        raise PublishError(
            f"marts.{mart.name} does not exist; nothing was published. Build it with dbt, or untag the model"
        )
    if not held:
        session.execute(f'create table analytics."{mart.name}" (like marts."{mart.name}" including all)')
        return list(wanted)
    for column, kind in wanted.items():
        if column not in held:
            session.execute(f'alter table analytics."{mart.name}" add column "{column}" {kind}')
        elif held[column] != kind:
            raise PublishError(
                f"analytics.{mart.name}.{column} is {held[column]}, the mart's is {kind}; nothing was published. Drop "
                f"analytics.{mart.name} and publish a full refresh, or take the change of type back"
            )
    return list(wanted)


def _grant(session: PsycopgSession, mart: Mart, columns: Sequence[str]) -> None:
    """Let each reader role read the columns that are for it, if it does not."""
    table = f'analytics."{mart.name}"'
    open_to_all = [column for column in columns if column not in mart.personal]
    for role, readable in (("analyst", open_to_all), ("operator", open_to_all), ("pii_reader", list(columns))):
        held = session.execute(
            "select attname::text from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 "
            "and not attisdropped and has_column_privilege(%s, attrelid, attnum, 'select')",
            (table, role),
        )
        if {name for (name,) in held} != set(readable):
            session.execute(f"revoke select on {table} from {role}")
            listed = ", ".join(f'"{column}"' for column in readable)
            session.execute(
                f"grant select{'' if len(readable) == len(columns) else f' ({listed})'} on {table} to {role}"
            )


def _columns(session: PsycopgSession, schema: str, table: str) -> dict[str, str]:
    rows = session.execute(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute "
        "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        (f'{schema}."{table}"',),
    )
    return dict(rows)
