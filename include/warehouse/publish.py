"""Marts that passed their gate on to their readers: one transaction for all models of a run.

Until it commits, readers see the last good state; its cost follows the run's rows, not the history. What moves is said
by each model (`marts`); where it lies, in which shape and behind which masks is seen to by `shape`. The rows go to the
schema `analytics`, those of marts with personal columns to the schema `personal` behind a view in `analytics`. What was
moved is booked with the slices it is in (`slices`), by which the lake and other copies follow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg2

from include.warehouse.marts import Mart, PublishError, marts
from include.warehouse.session import PsycopgSession, Session, engine_of, psycopg_session
from include.warehouse.shape import lock_what_changes, place, published_table
from include.warehouse.slices import Slice, booked, expressions, moved

if TYPE_CHECKING:
    from include.warehouse.fence import Fence

__all__ = ["Mart", "PublishError", "Published", "book", "marts", "publish", "published_table"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """What one model's share of a publish was."""

    model: str
    rows_deleted: int
    rows_inserted: int
    changes: tuple[str, ...] = ()
    """of its columns, types, key, masks or place, in words"""
    slices: frozenset[Slice] | None = None
    """those that rows were moved in; None stands for all"""


def publish(
    dsn: str,
    models: Sequence[Mart],
    *,
    source: str,
    dag_run_id: str,
    landing_ids: Sequence[int],
    turn: Callable[[Session], object] | None = None,
    fence: Fence | None = None,
    patience_seconds: float = 300,
) -> list[Published]:
    """Move a run's changes of all its models to the readers in one transaction, and book it.

    Args:
        dsn: URI of the role that owns `analytics` and `personal`, on Postgres or Redshift.
        models: what `marts` found.
        source: for the bookkeeping.
        dag_run_id: for the bookkeeping.
        landing_ids: the run's slice: rows of these landings move.
        turn: raises if another run builds the source's models by now; asked before anything is read.
        fence: raises if a later try of the task has taken over; asked last.
        patience_seconds: how long to wait for those who read a table whose columns, types, key or masks change;
            Redshift has the change wait in its queue.

    Raises:
        PublishError: nothing was published.
        Superseded: by the fence; nothing was published.
    """
    if engine_of(dsn) == "redshift":
        from include.warehouse.redshift import publish as redshift

        done = redshift.publish(
            dsn, models, source=source, dag_run_id=dag_run_id, landing_ids=landing_ids, turn=turn, fence=fence
        )
        _tell(done)
        return done
    ids = list(landing_ids)
    try:
        with psycopg_session(dsn) as session:
            # one publish at a time: tables shared by sources are never moved by two at once
            session.execute("select pg_advisory_xact_lock(hashtextextended('sluice publish', 0))")
            if turn:
                turn(session)
            lock_what_changes(session, models, patience_seconds)
            done = [_publish_one(session, mart, ids) for mart in models]
            for mart, one in zip(models, done, strict=True):
                book(session, mart, one, source=source, dag_run_id=dag_run_id, landing_ids=ids)
            session.cursor.execute("update ops.landing set published_at = now() where landing_id = any(%s)", (ids,))
            if fence:
                fence.check(session)
    except psycopg2.Error as fault:
        # not from it: what Postgres adds to its message are values of the row
        raise PublishError(f"{source}: nothing was published: {_said(fault)}") from None
    _tell(done)
    return done


def _tell(done: Sequence[Published]) -> None:
    for one in done:
        log.info(
            "published model=%s deleted=%d inserted=%d changes=%s",
            one.model,
            one.rows_deleted,
            one.rows_inserted,
            "; ".join(one.changes) or "none",
        )


def book(
    session: PsycopgSession, mart: Mart, done: Published, *, source: str, dag_run_id: str, landing_ids: Sequence[int]
) -> None:
    """Book what was done to a mart, in the transaction that does it. Publications are numbered in the order of commits.

    Only while `publish` runs, under its lock: in its `turn`, whoever changes what is published books it so.
    """
    session.cursor.execute(
        "insert into ops.publication "
        "(source, dag_run_id, model, landing_ids, rows_deleted, rows_inserted, changes, slices) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            source,
            dag_run_id,
            done.model,
            list(landing_ids),
            done.rows_deleted,
            done.rows_inserted,
            list(done.changes),
            booked(mart, done.slices),
        ),
    )


def _publish_one(session: PsycopgSession, mart: Mart, landing_ids: list[int]) -> Published:
    placed = place(session, mart, landing_ids)
    source, table = f'marts."{mart.name}"', placed.table
    listed = ", ".join(f'"{column}"' for column in placed.columns)
    key = ", ".join(f'"{column}"' for column in mart.key)
    others = [column for column in placed.columns if column not in mart.key]
    update = ", ".join(f'"{column}" = excluded."{column}"' for column in others)
    on_conflict = f"do update set {update}" if others else "do nothing"
    named = expressions(session, table, mart)
    deleted, changed = placed.rows_dropped, set[Slice]()

    def move(statement: str, *parameters: object) -> int:
        count, slices = moved(session, statement, parameters, named)
        changed.update(slices)
        return count

    def done(inserted: int) -> Published:
        slices = None if placed.changes else frozenset(changed)
        return Published(mart.name, deleted, inserted, tuple(placed.changes), slices)

    if mart.whole:
        deleted += move(f"delete from {table} where ({key}) not in (select {key} from {source})")
        differs = " or ".join(f'held."{column}" is distinct from excluded."{column}"' for column in others)
        return done(
            move(
                f"insert into {table} as held ({listed}) select {listed} from {source} "
                f"on conflict ({key}) {on_conflict}" + (f" where {differs}" if others else "")
            )
        )
    if mart.replace_by:
        names = [f'"{column}"' for column in mart.replace_by]
        session.cursor.execute(
            f"select distinct {', '.join(names)} from {source} where _landing_id = any(%s)", (landing_ids,)
        )
        # each slice by its values, which the planner finds in an index; a join with them it may do by reading it all
        for values in session.cursor.fetchall():
            deleted += move(f"delete from {table} where {' and '.join(f'{name} = %s' for name in names)}", *values)
    if mart.also:
        other, column, own = mart.also
        same = " and ".join(f'built."{column}" = held."{column}"' for column in mart.key)
        deleted += move(
            f'delete from {table} as held where held."{own}" = any(array('
            f'select "{column}" from marts."{other}" where _landing_id = any(%s))) '
            f"and not exists (select from {source} as built where {same})",
            landing_ids,
        )
    insert = (
        f"insert into {table} ({listed}) select {listed} from {source} where _landing_id = any(%s) "
        f"on conflict ({key}) {on_conflict}"
    )
    if mart.replace_by:
        # the run's slices are empty by now: a key that is there still was in another one, nobody knows which
        named = [*named, "(xmax <> 0)::text"] if named else []
        inserted, slices = moved(session, insert, [landing_ids], named)
        changed.update(one[: len(mart.slice_by)] for one in slices)
        result = done(inserted)
        return replace(result, slices=None) if any(one[-1:] == ("true",) for one in slices) else result
    changed.update(_former_slices(session, mart, table, landing_ids))
    return done(move(insert, landing_ids))


def _former_slices(session: PsycopgSession, mart: Mart, table: str, landing_ids: list[int]) -> list[Slice]:
    """The slices that rows are in which the run's rows of the same keys, maybe of other slices, take the place of."""
    if {by.column for by in mart.slice_by} <= set(mart.key):
        return []  # the same key is the same slice
    same = " and ".join(f'held."{column}" = run."{column}"' for column in mart.key)
    # offset 0: each key is looked up in the index; as a join the planner might read all that is published
    session.cursor.execute(
        f'select distinct former.* from marts."{mart.name}" as run cross join lateral ('
        f"select {', '.join(expressions(session, table, mart, 'held'))} from {table} as held where {same} offset 0"
        ") as former where run._landing_id = any(%s)",
        (landing_ids,),
    )
    return [tuple(row) for row in session.cursor.fetchall()]


def _said(fault: psycopg2.Error) -> str:
    """What Postgres says, but for values of rows: they stand in its details, and in the messages of data errors."""
    kind = type(fault).__name__
    if isinstance(fault, psycopg2.DataError):
        return f"a value of the marts does not fit ({kind}); run the mart's tests, or ask Postgres's log"
    return " ".join((fault.diag.message_primary or str(fault) or kind).split())
