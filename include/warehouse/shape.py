"""Where a published mart lies, and that it has the mart's shape: columns, types, key, masks; in publish's transaction.

A mart without personal columns is a table in `analytics`. One with personal columns is a table in `personal`, a schema
that no reader may use, and a view of its name in `analytics` that masks them (`masks`). Publish moves it over when it
gains its first personal column or loses its last.

What has changed in the mart is changed in place where every published value survives it. Where one would not, the
published table is made anew, if the run brings all of its rows: rows of other landings have passed no gate in their
new shape.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg2
from psycopg2 import errors

from include.warehouse.marts import Mart, PublishError
from include.warehouse.masks import CLEAR_FOR, for_readers
from include.warehouse.session import PsycopgSession

OPEN, CLOSED = "analytics", "personal"
READERS = ("analyst", "operator", "pii_reader")
_LONGEST_LOCK_MS = 800
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Column:
    """A column of a table as Postgres has it."""

    type: str
    is_text: bool
    is_needed: bool
    """not null"""


@dataclass
class Placed:
    """A published mart that is ready for its rows."""

    table: str
    """qualified and quoted: where the rows go"""
    columns: tuple[str, ...]
    changes: list[str] = field(default_factory=list)
    """what has been changed of its shape, in words"""
    rows_dropped: int = 0
    """with the former table, where it was made anew"""


@dataclass(frozen=True)
class _Difference:
    """What a published table has not as its mart has it."""

    gone: Sequence[str]
    new: Sequence[str]
    retyped: Mapping[str, Column]
    """as they were"""
    freed: Sequence[str]
    """may be null now"""
    has_other_key: bool

    def __bool__(self) -> bool:
        return bool(self.gone or self.new or self.retyped or self.freed or self.has_other_key)


def published_table(session: PsycopgSession, name: str) -> str | None:
    """Where the rows of a published mart lie, as `personal."dim_person"`; None where it has not been published.

    The session's role must be allowed to use both schemas: sluice_publisher or the owner.
    """
    for schema in (CLOSED, OPEN):
        if _kind(session, schema, name) in ("r", "p"):
            return _quoted(schema, name)
    return None


def lock_what_changes(session: PsycopgSession, models: Sequence[Mart], patience_seconds: float) -> None:
    """Lock all that is to get another place, shape or masks, at once or not at all. Most publishes change none.

    A change must wait for those who read the table. One that waited in its turn would hold up every later reader, and
    in a deadlock with one who reads two tables, either would be lost: so each try is short, and begins without a lock.

    Args:
        session: publish's transaction, which has written nothing yet.
        models: what is published.
        patience_seconds: how long to try.

    Raises:
        PublishError: somebody has been reading for so long.
    """
    relations = [relation for mart in models for relation in _changing(session, mart)]
    if not relations:
        return
    ((former,),) = session.execute("show lock_timeout")
    # all locks together take less than Postgres waits before it looks for a deadlock, which is a second
    wait, until = f"{_LONGEST_LOCK_MS // len(relations)}ms", time.monotonic() + patience_seconds
    while True:
        session.execute("savepoint locking")
        try:
            session.execute("select set_config('lock_timeout', %s, true)", (wait,))
            session.execute(f"lock table {', '.join(relations)} in access exclusive mode")
            session.execute("select set_config('lock_timeout', %s, true)", (former,))
            session.execute("release savepoint locking")
            return
        except errors.LockNotAvailable:
            session.execute("rollback to savepoint locking")
            if time.monotonic() > until:
                raise PublishError(
                    f"{', '.join(relations).replace(chr(34), '')}: to be changed, and read by others for "
                    f"{patience_seconds:.0f} seconds; nothing was published. Publish again, or end who reads: "
                    "select * from pg_stat_activity where state <> 'idle'"
                ) from None
            time.sleep(_PAUSE_SECONDS)


def _changing(session: PsycopgSession, mart: Mart) -> list[str]:
    """The table and the view of a published mart, if either is not what it has to be."""
    held, wanted = published_table(session, mart.name), _columns(session, _quoted("marts", mart.name))
    if not held or not wanted:
        return []
    personal = _personal(mart, wanted)
    is_kept = held == _home(mart, personal) and not _difference(session, mart, held, wanted)
    if is_kept and (not personal or _is_masked(session, mart, _query(session, held, personal))):
        return []
    return [held, _quoted(OPEN, mart.name)] if _kind(session, OPEN, mart.name) == "v" else [held]


def place(session: PsycopgSession, mart: Mart, landing_ids: Sequence[int]) -> Placed:
    """Give a published mart its place, shape, masks and readers; nothing happens where it has them.

    Args:
        session: publish's transaction.
        mart: what is published.
        landing_ids: the run's landings.

    Raises:
        PublishError: the mart does not exist, something of a user's depends on what has to go, or published values
            do not fit the mart's new shape.
    """
    wanted = _columns(session, _quoted("marts", mart.name))
    if not wanted:
        raise PublishError(
            f"marts.{mart.name} does not exist; nothing was published. Build it with dbt, or untag the model"
        )
    personal = _personal(mart, wanted)
    home = _home(mart, personal)
    placed = Placed(home, tuple(wanted))
    held = published_table(session, mart.name)
    if held is None:
        _create(session, mart, home)
    else:
        if held != home:
            _move(session, mart, held, home)
            placed.changes.append(f"moved from {_schema(held)} to {_schema(home)}")
        _reshape(session, mart, placed, wanted, landing_ids)
    _expose(session, mart, placed, personal)
    return placed


def _personal(mart: Mart, wanted: Mapping[str, Column]) -> dict[str, str]:
    return {column: kind for column, kind in mart.personal.items() if column in wanted}


def _home(mart: Mart, personal: Mapping[str, str]) -> str:
    return _quoted(CLOSED if personal else OPEN, mart.name)


def _create(session: PsycopgSession, mart: Mart, table: str) -> None:
    session.execute(f"create table {table} (like {_quoted('marts', mart.name)} including all)")


def _move(session: PsycopgSession, mart: Mart, held: str, home: str) -> None:
    """Between `analytics` and `personal`; nobody keeps a right on it."""
    schema = _schema(home)
    _refuse_dependents(session, mart, held, f"it moves to the schema {schema}")
    _drop_view(session, mart, f"it becomes a table in {schema}")
    session.execute(f"alter table {held} set schema {schema}")
    granted = session.execute(
        "select distinct grantee::regrole::text, grantee from ("
        "select (aclexplode(relacl)).grantee from pg_class where oid = %s::regclass union "
        "select (aclexplode(attacl)).grantee from pg_attribute where attrelid = %s::regclass) as given "
        "where grantee <> (select relowner from pg_class where oid = %s::regclass)",
        (home, home, home),
    )
    for role, oid in granted:
        session.execute(f"revoke all on {home} from {role if oid else 'public'}")


def _reshape(
    session: PsycopgSession, mart: Mart, placed: Placed, wanted: Mapping[str, Column], landing_ids: Sequence[int]
) -> None:
    """Drop, add and retype columns, and change the key, as the mart has it."""
    found = _difference(session, mart, placed.table, wanted)
    if found.gone or found.retyped:
        listed = ", ".join(
            [f"column {column} goes" for column in found.gone]
            + [f"{column} changes its type" for column in found.retyped]
        )
        _refuse_dependents(session, mart, placed.table, listed, [*found.gone, *found.retyped])
        _drop_view(session, mart, listed)
    if misfit := _in_place(session, mart, placed, found, wanted):
        _make_anew(session, mart, placed, misfit, landing_ids)
        return
    for column in found.new:
        session.execute(f'alter table {placed.table} add column "{column}" {wanted[column].type}')
        placed.changes.append(f"new column {column}")
    for column in found.freed:
        session.execute(f'alter table {placed.table} alter column "{column}" drop not null')


def _difference(session: PsycopgSession, mart: Mart, table: str, wanted: Mapping[str, Column]) -> _Difference:
    held = _columns(session, table)
    both = [column for column in wanted if column in held]
    return _Difference(
        gone=[column for column in held if column not in wanted],
        new=[column for column in wanted if column not in held],
        retyped={column: held[column] for column in both if held[column].type != wanted[column].type},
        freed=[
            column
            for column in both
            if held[column].is_needed and not wanted[column].is_needed and column not in mart.key
        ],
        has_other_key=set(_key(session, table)) != set(mart.key),
    )


def _in_place(
    session: PsycopgSession, mart: Mart, placed: Placed, found: _Difference, wanted: Mapping[str, Column]
) -> str | None:
    """Change what is there, or say what of it does not fit and leave it as it was."""
    changes, step = [], ""
    session.execute("savepoint reshaping")
    try:
        for column, held in found.retyped.items():
            former, kind, name = held.type, wanted[column].type, f'"{column}"'
            step = f"{column} is {former}, the mart's is {kind}"
            # a text that can be read as another type is that value; of all else the former value must come back
            keeps_text = held.is_text and not wanted[column].is_text
            changed = "false" if keeps_text else f"{name}::{kind}::{former} is distinct from {name}"
            ((lost,),) = session.execute(f"select count(*) from {placed.table} where {changed}")
            if lost:
                session.execute("rollback to savepoint reshaping")
                return f"{step}, in which {lost} published values would not be the same"
            session.execute(f"alter table {placed.table} alter column {name} type {kind} using {name}::{kind}")
            changes.append(f"{column}: {former} to {kind}")
        for column in found.gone:
            session.execute(f'alter table {placed.table} drop column "{column}"')
            changes.append(f"column {column} dropped")
        if found.has_other_key:
            step = f"the key is now ({', '.join(mart.key)})"
            _change_key(session, mart, placed.table)
            changes.append(f"key ({', '.join(mart.key)})")
    except (psycopg2.DataError, psycopg2.IntegrityError, psycopg2.ProgrammingError) as fault:
        session.execute("rollback to savepoint reshaping")
        return f"{step}, which published rows do not fit ({type(fault).__name__})"
    session.execute("release savepoint reshaping")
    placed.changes.extend(changes)
    return None


def _change_key(session: PsycopgSession, mart: Mart, table: str) -> None:
    for (name,) in session.execute(
        "select conname::text from pg_constraint where conrelid = %s::regclass and contype = 'p'", (table,)
    ):
        session.execute(f'alter table {table} drop constraint "{name}"')
    session.execute(f"alter table {table} add primary key ({_listed(mart.key)})")


def _make_anew(session: PsycopgSession, mart: Mart, placed: Placed, misfit: str, landing_ids: Sequence[int]) -> None:
    """The table as the mart is now, empty: the run's rows, which follow, are all of it."""
    ids = list(landing_ids)
    held = _columns(session, placed.table)
    if not mart.whole:
        conditions, values = [], []
        if "_landing_id" in held:
            conditions.append("(held._landing_id = any(%s)) is not true")
            values.append(ids)
        if set(mart.key) <= set(held):
            same = " and ".join(f'run."{column}"::text = held."{column}"::text' for column in mart.key)
            brought = f"select from {_quoted('marts', mart.name)} as run where run._landing_id = any(%s) and {same}"
            conditions.append(f"not exists ({brought})")
            values.append(ids)
        session.cursor.execute(
            f"select count(*) from {placed.table} as held where {' and '.join(conditions) or 'true'}", values
        )
        ((others,),) = session.cursor.fetchall()
        if others:
            raise PublishError(
                f"analytics.{mart.name}: {misfit}, and {others} rows are not of this run's landings; nothing was "
                "published. Run the DAG with from_landing and all_landings, so that all rows pass their gates in the "
                "new shape, or take the change back"
            )
    _refuse_dependents(session, mart, placed.table, "it is made anew")
    _drop_view(session, mart, "it is made anew")
    session.cursor.execute(f"select count(*) from {placed.table}")
    ((placed.rows_dropped,),) = session.cursor.fetchall()
    session.execute(f"drop table {placed.table}")
    _create(session, mart, placed.table)
    placed.changes.append(f"made anew: {misfit}")


def _expose(session: PsycopgSession, mart: Mart, placed: Placed, personal: Mapping[str, str]) -> None:
    """Let the readers read it, through a mask where it holds personal data."""
    relation = _quoted(OPEN, mart.name)
    if personal:
        query = _query(session, placed.table, personal)
        if not _is_masked(session, mart, query):
            if _kind(session, OPEN, mart.name) == "v" and not placed.changes:
                placed.changes.append("masks")
            _show(session, mart, relation, query)
            session.cursor.execute(f"comment on view {relation} is %s", (_told(query),))
    granted = session.execute(
        "select given.grantee::regrole::text from pg_class, aclexplode(relacl) as given "
        "where pg_class.oid = %s::regclass and privilege_type = 'SELECT' and grantee <> 0",
        (relation,),
    )
    for role in READERS:
        if (role,) not in granted:
            session.execute(f"grant select on {relation} to {role}")


def _query(session: PsycopgSession, table: str, personal: Mapping[str, str]) -> str:
    """What the view selects."""
    selected = [
        f"{for_readers(name, personal[column], is_text=about.is_text)} as {name}" if column in personal else name
        for column, about in _columns(session, table).items()
        for name in [f'"{column}"']
    ]
    return f"select {', '.join(selected)} from {table}"


def _told(query: str) -> str:
    """The view's comment, which says for publish what the view was made from."""
    digest = hashlib.sha256(query.encode()).hexdigest()[:12]
    return f"Personal columns are masked for all but members of {CLEAR_FOR}. Made by publish ({digest})."


def _is_masked(session: PsycopgSession, mart: Mart, query: str) -> bool:
    found = session.execute("select obj_description(to_regclass(%s), 'pg_class')", (_quoted(OPEN, mart.name),))
    return found == [(_told(query),)]


def _show(session: PsycopgSession, mart: Mart, relation: str, query: str) -> None:
    # security_barrier: the planner's estimates, which EXPLAIN shows, are not made from what is behind the mask
    statement = f"view {relation} with (security_barrier = true) as {query}"
    session.execute("savepoint showing")
    try:
        session.execute(f"create or replace {statement}")
    except errors.InvalidTableDefinition:  # what it had is another type now
        session.execute("rollback to savepoint showing")
        _drop_view(session, mart, "its columns change")
        session.execute(f"create {statement}")
    session.execute("release savepoint showing")


def _drop_view(session: PsycopgSession, mart: Mart, why: str) -> None:
    relation = _quoted(OPEN, mart.name)
    if _kind(session, OPEN, mart.name) == "v":
        _refuse_dependents(session, mart, relation, why)
        session.execute(f"drop view {relation}")


def _refuse_dependents(
    session: PsycopgSession, mart: Mart, relation: str, why: str, columns: Sequence[str] | None = None
) -> None:
    """Raise if anything but the view of our own reads a relation, or of it one of these columns."""
    wanted = None if columns is None else list(columns)
    session.cursor.execute(
        "select distinct case when rule.oid is null then pg_describe_object(d.classid, d.objid, d.objsubid) "
        "else pg_describe_object('pg_class'::regclass, rule.ev_class, 0) end "
        "from pg_depend as d left join pg_rewrite as rule on d.classid = 'pg_rewrite'::regclass and d.objid = rule.oid "
        "where d.refclassid = 'pg_class'::regclass and d.refobjid = %s::regclass and d.deptype = 'n' "
        "and (rule.oid is null or rule.ev_class not in (d.refobjid, coalesce(to_regclass(%s)::oid, 0))) "
        "and (%s::text[] is null or d.refobjsubid in (select attnum from pg_attribute "
        "where attrelid = d.refobjid and attname = any(%s))) order by 1",
        (relation, _quoted(OPEN, mart.name), wanted, wanted),
    )
    if found := [name for (name,) in session.cursor.fetchall()]:
        raise PublishError(
            f"analytics.{mart.name}: {why}, and {', '.join(found)} needs it as it is; nothing was published. Drop "
            f"{'it' if len(found) == 1 else 'them'}, publish again and make it anew, or take the change back"
        )


def _columns(session: PsycopgSession, table: str) -> dict[str, Column]:
    rows = session.execute(
        "select attname::text, format_type(atttypid, atttypmod), typcategory = 'S', attnotnull from pg_attribute "
        "inner join pg_type on pg_type.oid = atttypid "
        "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        (table,),
    )
    return {name: Column(kind, is_text, is_needed) for name, kind, is_text, is_needed in rows}


def _key(session: PsycopgSession, table: str) -> list[str]:
    rows = session.execute(
        "select attname::text from pg_index inner join pg_attribute on attrelid = indrelid and attnum = any(indkey) "
        "where indrelid = %s::regclass and indisprimary",
        (table,),
    )
    return [name for (name,) in rows]


def _kind(session: PsycopgSession, schema: str, name: str) -> str | None:
    found = session.execute("select relkind::text from pg_class where oid = to_regclass(%s)", (_quoted(schema, name),))
    return found[0][0] if found else None


def _quoted(schema: str, name: str) -> str:
    return f'{schema}."{name}"'


def _schema(table: str) -> str:
    return table.partition(".")[0]


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
