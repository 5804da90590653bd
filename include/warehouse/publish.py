"""Marts that passed their gate on to their readers: one transaction for all models of a run.

Until it commits, readers see the last good state; its cost follows the run's rows, not the history. What moves is said
by each model (`marts`); where it lies, in which shape and behind which masks is seen to by `shape`. The rows go to the
schema `analytics`, those of marts with personal columns to the schema `personal` behind a view in `analytics`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2

from include.warehouse.marts import Mart, PublishError, marts
from include.warehouse.session import PsycopgSession, Session, engine_of, psycopg_session
from include.warehouse.shape import lock_what_changes, place, published_table

if TYPE_CHECKING:
    from include.warehouse.fence import Fence

__all__ = ["Mart", "PublishError", "Published", "marts", "publish", "published_table"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """What one model's share of a publish was."""

    model: str
    rows_deleted: int
    rows_inserted: int
    changes: tuple[str, ...] = ()
    """of its columns, types, key, masks or place, in words"""


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
            for one in done:
                session.cursor.execute(
                    "insert into ops.publication "
                    "(source, dag_run_id, model, landing_ids, rows_deleted, rows_inserted, changes) "
                    "values (%s, %s, %s, %s, %s, %s, %s)",
                    (source, dag_run_id, one.model, ids, one.rows_deleted, one.rows_inserted, list(one.changes)),
                )
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


def _publish_one(session: PsycopgSession, mart: Mart, landing_ids: list[int]) -> Published:
    placed = place(session, mart, landing_ids)
    source, table = f'marts."{mart.name}"', placed.table
    listed = ", ".join(f'"{column}"' for column in placed.columns)
    key = ", ".join(f'"{column}"' for column in mart.key)
    others = [column for column in placed.columns if column not in mart.key]
    update = ", ".join(f'"{column}" = excluded."{column}"' for column in others)
    on_conflict = f"do update set {update}" if others else "do nothing"
    cursor, deleted = session.cursor, placed.rows_dropped
    if mart.whole:
        cursor.execute(f"delete from {table} where ({key}) not in (select {key} from {source})")
        deleted += cursor.rowcount
        changed = " or ".join(f'held."{column}" is distinct from excluded."{column}"' for column in others)
        cursor.execute(
            f"insert into {table} as held ({listed}) select {listed} from {source} "
            f"on conflict ({key}) {on_conflict}" + (f" where {changed}" if others else "")
        )
        return Published(mart.name, deleted, cursor.rowcount, tuple(placed.changes))
    if mart.replace_by:
        names = [f'"{column}"' for column in mart.replace_by]
        cursor.execute(f"select distinct {', '.join(names)} from {source} where _landing_id = any(%s)", (landing_ids,))
        # each slice by its values, which the planner finds in an index; a join with them it may do by reading it all
        for values in cursor.fetchall():
            cursor.execute(f"delete from {table} where {' and '.join(f'{name} = %s' for name in names)}", values)
            deleted += cursor.rowcount
    if mart.also:
        other, column, own = mart.also
        same = " and ".join(f'built."{column}" = held."{column}"' for column in mart.key)
        cursor.execute(
            f'delete from {table} as held where held."{own}" = any(array('
            f'select "{column}" from marts."{other}" where _landing_id = any(%s))) '
            f"and not exists (select from {source} as built where {same})",
            (landing_ids,),
        )
        deleted += cursor.rowcount
    cursor.execute(
        f"insert into {table} ({listed}) select {listed} from {source} where _landing_id = any(%s) "
        f"on conflict ({key}) {on_conflict}",
        (landing_ids,),
    )
    return Published(mart.name, deleted, cursor.rowcount, tuple(placed.changes))


def _said(fault: psycopg2.Error) -> str:
    """What Postgres says, but for values of rows: they stand in its details, and in the messages of data errors."""
    kind = type(fault).__name__
    if isinstance(fault, psycopg2.DataError):
        return f"a value of the marts does not fit ({kind}); run the mart's tests, or ask Postgres's log"
    return " ".join((fault.diag.message_primary or str(fault) or kind).split())
