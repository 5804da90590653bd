"""Marts on to their readers on Redshift: one transaction for all models of a run, with their shape and their masks.

A mart without personal columns is a table in `analytics`; one with some is a table in `personal`, which no reader may
use, behind a view of its name in `analytics`. The table is made `like` the mart, so that the distribution and sort keys
of the model are the published table's. Redshift changes no type, and no `not null`, within a transaction: a table whose
shape has changed is made anew beside the old one, filled from it and put in its place, all before the transaction's
end. New columns alone are added to it.

Readers go on with the last good state until the commit; a change of shape waits for those who read the table just then.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redshift_connector.error import Error

from include.warehouse.marts import Mart, PublishError
from include.warehouse.masks import masked
from include.warehouse.redshift.sql import LONGEST_TEXT, listed, numbers, quoted, said, same, text
from include.warehouse.session import RedshiftSession, Session, redshift_session

if TYPE_CHECKING:
    from include.warehouse.fence import Fence
    from include.warehouse.publish import Published

log = logging.getLogger(__name__)

OPEN, CLOSED = "analytics", "personal"
READERS = ("analyst", "operator")
CLEAR_FOR = "ops.pii_reader"
"""the table of the users who see clear values"""

_CLEAR = f"(select count(*) from {CLEAR_FOR} where user_name = cast(current_user as varchar(128))) > 0"
_DATA_ERRORS = ("22", "23")
"""SQLSTATE classes of errors that quote a value"""


@dataclass(frozen=True)
class _Column:
    type: str
    is_needed: bool

    @property
    def is_text(self) -> bool:
        return self.type.startswith("character")


@dataclass
class _Placed:
    """A published mart that is ready for its rows."""

    table: str
    columns: tuple[str, ...]
    changes: list[str] = field(default_factory=list)
    rows_dropped: int = 0


def publish(
    dsn: str,
    models: Sequence[Mart],
    *,
    source: str,
    dag_run_id: str,
    landing_ids: Sequence[int],
    turn: Callable[[Session], object] | None = None,
    fence: Fence | None = None,
) -> list[Published]:
    """Move a run's changes of all its models to the readers in one transaction, and book it: see that of Postgres.

    Args:
        dsn: redshift:// URI of the user that owns `analytics` and `personal`.
        models: what `marts` found.
        source: for the bookkeeping.
        dag_run_id: for the bookkeeping.
        landing_ids: the run's slice: rows of these landings move.
        turn: raises if another run builds the source's models by now; asked before anything is read.
        fence: raises if a later try of the task has taken over; asked last.

    Raises:
        PublishError: nothing was published.
        Superseded: by the fence; nothing was published.
    """
    ids = numbers(landing_ids)
    try:
        with redshift_session(dsn, writes=True) as session:
            if turn:
                turn(session)
            done = [_publish_one(session, mart, ids) for mart in models]
            for one in done:
                session.execute(
                    "insert into ops.publication "
                    "(source, dag_run_id, model, landing_ids, rows_deleted, rows_inserted, changes, published_at) "
                    "select cast(%s as varchar(128)), cast(%s as varchar(512)), cast(%s as varchar(256)), "
                    "json_parse(%s), cast(%s as bigint), cast(%s as bigint), json_parse(%s), getdate()",
                    (
                        source,
                        dag_run_id,
                        one.model,
                        json.dumps(list(landing_ids)),
                        one.rows_deleted,
                        one.rows_inserted,
                        json.dumps(one.changes),
                    ),
                )
            session.execute(f"update ops.landing set published_at = getdate() where landing_id in ({ids})")
            if fence:
                fence.check(session)
    except Error as fault:
        raise PublishError(f"{source}: nothing was published: {_said(fault)}") from None
    return done


def _publish_one(session: RedshiftSession, mart: Mart, ids: str) -> Published:
    from include.warehouse.publish import Published

    placed = _place(session, mart, ids)
    brought = quoted(f"brought_{mart.name}")
    source, table, columns = f"marts.{quoted(mart.name)}", placed.table, listed(placed.columns)
    own, deleted = quoted(mart.name), placed.rows_dropped
    if mart.whole:
        session.execute(
            f"create temporary table {brought} as select {columns} from {source} except select {columns} from {table}"
        )
        session.execute(
            f"delete from {table} "
            f"where not exists (select 1 from {source} as built where {same(mart.key, 'built', own)})"
        )
        deleted += session.rowcount
    else:
        session.execute(
            f"create temporary table {brought} as select {columns} from {source} where _landing_id in ({ids})"
        )
    _refuse_twice(session, mart, brought)
    if mart.replace_by:
        slices = quoted(f"slices_{mart.name}")
        session.execute(f"create temporary table {slices} as select distinct {listed(mart.replace_by)} from {brought}")
        session.execute(f"delete from {table} using {slices} where {same(mart.replace_by, slices, own)}")
        deleted += session.rowcount
        session.execute(f"drop table {slices}")
    if mart.also:
        other, column, named = mart.also
        session.execute(
            f"delete from {table} where {quoted(named)} in ("
            f"select {quoted(column)} from marts.{quoted(other)} where _landing_id in ({ids})) "
            f"and not exists (select 1 from {source} as built where {same(mart.key, 'built', own)})"
        )
        deleted += session.rowcount
    # what has the key already makes room: Redshift would take both
    session.execute(f"delete from {table} using {brought} where {same(mart.key, brought, own)}")
    session.execute(f"insert into {table} ({columns}) select {columns} from {brought}")
    inserted = session.rowcount
    session.execute(f"drop table {brought}")
    return Published(mart.name, deleted, inserted, tuple(placed.changes))


def _refuse_twice(session: RedshiftSession, mart: Mart, brought: str) -> None:
    """Redshift holds nobody to a key: what is brought twice must not get to the readers."""
    ((twice,),) = session.execute(
        "select count(*) from ("
        f"select 1 as one from {brought} group by {listed(mart.key)} having count(*) > 1) as twice"
    )
    if twice:
        raise PublishError(
            f"marts.{mart.name}: {twice} keys ({', '.join(mart.key)}) are there more than once; nothing was published. "
            "Run the mart's tests"
        )


def _place(session: RedshiftSession, mart: Mart, ids: str) -> _Placed:
    """Give a published mart its place, shape, masks and readers; nothing happens where it has them."""
    wanted = _columns(session, "marts", mart.name)
    if not wanted:
        raise PublishError(
            f"marts.{mart.name} does not exist; nothing was published. Build it with dbt, or untag the model"
        )
    personal = {column: kind for column, kind in mart.personal.items() if column in wanted}
    home = CLOSED if personal else OPEN
    placed = _Placed(f"{home}.{quoted(mart.name)}", tuple(wanted))
    held = _held(session, mart.name)
    if held is None:
        _create(session, mart, home, mart.name)
    elif held != home:
        placed.changes.append(f"moved from {held} to {home}")
        _make_anew(session, mart, placed, held, home, wanted, ids)
    else:
        _reshape(session, mart, placed, home, wanted, ids)
    _expose(session, mart, placed, wanted, personal)
    return placed


def _held(session: RedshiftSession, name: str) -> str | None:
    """The schema in which the rows of a published mart lie."""
    kinds = {
        str(schema): str(kind)
        for schema, kind in session.execute(
            "select table_schema, table_type from svv_tables "
            f"where table_schema in ('{OPEN}', '{CLOSED}') and table_name = %s",
            (name,),
        )
    }
    return next((schema for schema in (CLOSED, OPEN) if kinds.get(schema, "VIEW") != "VIEW"), None)


def _create(session: RedshiftSession, mart: Mart, schema: str, name: str) -> None:
    session.execute(f"create table {schema}.{quoted(name)} (like marts.{quoted(mart.name)})")
    # said of the table, for no key is held to: what another one of the mart is known by
    session.execute(f"comment on table {schema}.{quoted(name)} is {text(_key_of(mart))}")


def _key_of(mart: Mart) -> str:
    return f"Published by its key ({', '.join(sorted(mart.key))})."


def _reshape(
    session: RedshiftSession, mart: Mart, placed: _Placed, home: str, wanted: Mapping[str, _Column], ids: str
) -> None:
    held = _columns(session, home, mart.name)
    new = [column for column in wanted if column not in held]
    if (
        all(column in wanted and wanted[column] == about for column, about in held.items())
        and not any(wanted[column].is_needed for column in new)
        and _comment(session, home, mart.name) == _key_of(mart)
    ):
        for column in new:
            session.execute(f"alter table {placed.table} add column {quoted(column)} {wanted[column].type}")
            placed.changes.append(f"new column {column}")
        return
    placed.changes += [f"new column {column}" for column in new]
    placed.changes += [f"column {column} dropped" for column in held if column not in wanted]
    placed.changes += [
        f"{column}: {held[column].type} to {about.type}"
        for column, about in wanted.items()
        if column in held and held[column].type != about.type
    ]
    if _comment(session, home, mart.name) != _key_of(mart):
        placed.changes.append(f"key ({', '.join(mart.key)})")
    _make_anew(session, mart, placed, home, home, wanted, ids)


def _make_anew(
    session: RedshiftSession,
    mart: Mart,
    placed: _Placed,
    former: str,
    home: str,
    wanted: Mapping[str, _Column],
    ids: str,
) -> None:
    """A table of the mart's shape in the place of the published one, with its rows where all of their values survive.

    Where one would not, the run has to bring all rows: those of other landings have passed no gate in their new shape.
    """
    name, old = mart.name, f"{former}.{quoted(mart.name)}"
    held = _columns(session, former, name)
    misfit = _misfit(session, mart, old, held, wanted)
    if misfit:
        others = 0
        if not mart.whole:
            conditions = ["1 = 1"]
            if "_landing_id" in held:
                conditions.append(f"(_landing_id is null or _landing_id not in ({ids}))")
            if set(mart.key) <= set(held):
                cast = " and ".join(
                    f"cast(run.{quoted(key)} as varchar({LONGEST_TEXT})) "
                    f"= cast({quoted(name)}.{quoted(key)} as varchar({LONGEST_TEXT}))"
                    for key in mart.key
                )
                conditions.append(
                    f"not exists (select 1 from marts.{quoted(name)} as run "
                    f"where run._landing_id in ({ids}) and {cast})"
                )
            ((others,),) = session.execute(f"select count(*) from {old} where {' and '.join(conditions)}")
        if others:
            raise PublishError(
                f"analytics.{name}: {misfit}, and {others} rows are not of this run's landings; nothing "
                "was published. Run the DAG with from_landing and all_landings, so that all rows pass their gates in "
                "the new shape, or take the change back"
            )
    fresh = f"{name}__anew"
    _create(session, mart, home, fresh)
    ((before,),) = session.execute(f"select count(*) from {old}")
    if misfit:
        placed.rows_dropped = int(before)
        placed.changes.append(f"made anew: {misfit}")
    else:
        both = [column for column in wanted if column in held]
        values = ", ".join(
            quoted(column)
            if held[column].type == wanted[column].type
            else f"cast({quoted(column)} as {wanted[column].type})"
            for column in both
        )
        session.execute(f"insert into {home}.{quoted(fresh)} ({listed(both)}) select {values} from {old}")
    if _is_view(session, name):
        session.execute(f"drop view {OPEN}.{quoted(name)}")
    session.execute(f"drop table {old}")
    session.execute(f"alter table {home}.{quoted(fresh)} rename to {quoted(name)}")


def _misfit(
    session: RedshiftSession, mart: Mart, old: str, held: Mapping[str, _Column], wanted: Mapping[str, _Column]
) -> str | None:
    """Why the published rows do not fit the mart's new shape; None where they do. Asks before it changes anything."""
    for column, about in wanted.items():
        if column not in held:
            if about.is_needed and session.execute(f"select 1 from {old} limit 1"):
                return f"{column} is new and never null, which published rows do not fit"
            continue
        name, former = quoted(column), held[column]
        if about.is_needed and not former.is_needed:
            ((nulls,),) = session.execute(f"select count(*) from {old} where {name} is null")
            if nulls:
                return f"{column} is never null now, and is in {nulls} published rows"
        if former.type == about.type:
            continue
        what = f"{column} is {former.type}, the mart's is {about.type}"
        lost = _lost(name, former, about)
        if lost is None:
            return f"{what}, which Redshift cannot try without an error"
        ((count,),) = session.execute(f"select count(*) from {old} where {lost}")
        if count:
            return f"{what}, in which {count} published values would not be the same"
    if not set(mart.key) <= set(held):
        return f"the key is now ({', '.join(mart.key)}), which published rows do not have"
    ((twice,),) = session.execute(
        f"select count(*) from (select 1 as one from {old} group by {listed(mart.key)} having count(*) > 1) as twice"
    )
    return f"the key is now ({', '.join(mart.key)}), which published rows do not fit" if twice else None


def _lost(name: str, former: _Column, wanted: _Column) -> str | None:
    """The condition of values that another type does not hold; None where asking may itself be an error.

    A failed cast ends the transaction on Redshift, which has no savepoints: only casts that cannot fail are tried.
    """
    whole = ("smallint", "integer", "bigint")
    if former.type in whole and wanted.type in whole:
        most = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}[wanted.type]
        return f"{name} < -{most - 1} or {name} > {most - 1}"
    if former.type in whole and wanted.type == "double precision":
        return f"{name} < -{2**53} or {name} > {2**53}"
    if former.type == "real" and wanted.type == "double precision":
        return "1 = 0"
    if former.type in whole and wanted.type.startswith("numeric"):
        return f"length(cast(abs({name}) as varchar(64))) > {_whole_digits(wanted.type)}"
    if wanted.is_text and (former.is_text or former.type in (*whole, "date", "timestamp without time zone")):
        size = int(wanted.type.partition("(")[2].rstrip(")") or LONGEST_TEXT)
        return f"octet_length(cast({name} as varchar({LONGEST_TEXT}))) > {size}"
    if former.type == "date" and wanted.type == "timestamp without time zone":
        return "1 = 0"
    if former.type == "timestamp without time zone" and wanted.type == "date":
        return f"cast({name} as date) <> {name}"
    return None


def _whole_digits(kind: str) -> int:
    precision, _, scale = kind.partition("(")[2].rstrip(")").partition(",")
    return int(precision or 18) - int(scale or 0)


def _expose(
    session: RedshiftSession, mart: Mart, placed: _Placed, wanted: Mapping[str, _Column], personal: Mapping[str, str]
) -> None:
    """Let the readers read it, through a mask where it holds personal data."""
    relation = f"{OPEN}.{quoted(mart.name)}"
    if personal:
        query = _query(placed.table, wanted, personal)
        digest = hashlib.sha256(query.encode()).hexdigest()[:12]
        told = f"Personal columns are masked for all but users in {CLEAR_FOR}. Made by publish ({digest})."
        is_there = _is_view(session, mart.name)
        if is_there and _comment(session, OPEN, mart.name) == told:
            return
        if is_there:
            placed.changes.append("masks")
            session.execute(f"drop view {relation}")
        session.execute(f"create view {relation} as {query}")
        session.execute(f"comment on view {relation} is {text(told)}")
    readers = {
        str(name)
        for (name,) in session.execute(
            "select identity_name from svv_relation_privileges "
            "where namespace_name = %s and relation_name = %s and privilege_type = 'SELECT'",
            (OPEN, mart.name),
        )
    }
    for role in READERS:
        if role not in readers:
            session.execute(f"grant select on {relation} to role {role}")


def _query(table: str, columns: Mapping[str, _Column], personal: Mapping[str, str]) -> str:
    """What the view selects: of a personal column its mask, but for users in `ops.pii_reader`."""
    selected = []
    for column, about in columns.items():
        name = quoted(column)
        if column not in personal:
            selected.append(name)
            continue
        clear = f"cast({name} as varchar({LONGEST_TEXT}))" if about.is_text else name
        # `masked` writes casts and names as Postgres wants them
        mask = masked(name, personal[column], is_text=about.is_text)
        mask = mask.replace("pg_catalog.left", "left").replace("::text", f"::varchar({LONGEST_TEXT})")
        if not about.is_text:
            mask = f"cast(null as {about.type})"
        selected.append(f"case when {_CLEAR} then {clear} else {mask} end as {name}")
    return f"select {', '.join(selected)} from {table}"


def _is_view(session: RedshiftSession, name: str) -> bool:
    return bool(
        session.execute(
            f"select 1 from svv_tables where table_schema = '{OPEN}' and table_name = %s and table_type = 'VIEW'",
            (name,),
        )
    )


def _columns(session: RedshiftSession, schema: str, table: str) -> dict[str, _Column]:
    rows = session.execute(
        "select column_name, data_type, character_maximum_length, numeric_precision, numeric_scale, is_nullable "
        "from svv_columns where table_schema = %s and table_name = %s order by ordinal_position",
        (schema, table),
    )
    found = {}
    for name, kind, length, precision, scale, nullable in rows:
        full = str(kind)
        if full.startswith("character") and length:
            full = f"{full}({length})"
        elif full == "numeric" and precision:
            full = f"numeric({precision},{scale})"
        found[str(name)] = _Column(full, str(nullable) == "NO")
    return found


def _comment(session: RedshiftSession, schema: str, name: str) -> str | None:
    rows = session.execute(
        "select d.description from pg_description as d inner join pg_class as c on d.objoid = c.oid "
        "inner join pg_namespace as n on c.relnamespace = n.oid "
        "where n.nspname = %s and c.relname = %s and d.objsubid = 0",
        (schema, name),
    )
    return str(rows[0][0]) if rows else None


def _said(fault: Error) -> str:
    """What Redshift says, but for values of rows: they stand in the messages of data errors."""
    told = fault.args[0] if fault.args else {}
    code = str(told.get("C", "")) if isinstance(told, dict) else ""
    if code.startswith(_DATA_ERRORS):
        return f"a value of the marts does not fit (SQLSTATE {code}); run the mart's tests"
    return said(fault)
