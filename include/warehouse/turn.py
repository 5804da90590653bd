"""Whose turn it is: the models of a source are built by one run at a time, from staging to publish.

Landings and raw tables bear several runs at once, for each load is one transaction about its own landings. dbt's models
do not: two runs that merge into one table interleave between their tasks. Airflow's `max_active_runs` does not keep
backfill runs apart (a backfill has a bound of its own, beside that of the other runs), so the warehouse does, in
`ops.turn`. A run holds its turn from `take` until it has ended, however it ended; nothing has to be given back.
"""

from __future__ import annotations

from collections.abc import Callable

from include.warehouse.session import NOW, Session, open_session


class NotMyTurn(Exception):  # noqa: N818 - what happened, not what went wrong with us
    """Another run builds the models of the source, or has built them in between. The message says what to clear."""


def take(dsn: str, source: str, dag_run_id: str, *, is_running: Callable[[str], bool]) -> str | None:
    """Take a source's turn for a run, if it is free or its holder has ended.

    Args:
        dsn: postgresql:// URI of a role that may write `ops.turn`.
        source: name of the source folder.
        dag_run_id: the run that wants it; one that holds it keeps it.
        is_running: whether the run of that id is under way. One that waits to be started again is not: it may be
            waiting for this very run.

    Returns:
        The run that has it instead; None: it is this run's.
    """
    with open_session(dsn, writes=True) as session:
        if session.engine == "redshift":
            session.execute(
                "insert into ops.turn (source, dag_run_id, taken_at) "
                "select cast(%s as varchar(128)), cast(%s as varchar(512)), getdate() "
                "where not exists (select 1 from ops.turn where source = %s)",
                (source, dag_run_id, source),
            )
        else:
            session.execute(
                "insert into ops.turn (source, dag_run_id) values (%s, %s) on conflict (source) do nothing",
                (source, dag_run_id),
            )
        holder = _holder(session, source)
    if holder == dag_run_id:
        return None
    if is_running(holder):
        return holder
    with open_session(dsn, writes=True) as session:
        # of two that found it free the first one takes it; a publish of the old holder that is at its end goes first
        session.execute(
            f"update ops.turn set dag_run_id = %s, taken_at = {NOW[session.engine]} "
            "where source = %s and dag_run_id = %s",
            (dag_run_id, source, holder),
        )
        holder = _holder(session, source)
    return None if holder == dag_run_id else holder


def check(session: Session, source: str, dag_run_id: str) -> None:
    """Refuse to go on if the run does not hold its source's turn. Until the transaction ends, no other can take it.

    Raises:
        NotMyTurn: it does not.
    """
    lock = " for share" if session.engine == "postgres" else ""  # on Redshift who takes it waits for the writers' lock
    holder = session.execute(f"select dag_run_id from ops.turn where source = %s{lock}", (source,))
    if holder != [(dag_run_id,)]:
        others = f"run {holder[0][0]} has built them since" if holder else "no run holds it"
        raise NotMyTurn(
            f"{source}: it is not this run's turn to build and publish the models: {others}. Clear the task await_turn "
            "of this run together with all tasks behind it"
        )


def _holder(session: Session, source: str) -> str:
    ((holder,),) = session.execute("select dag_run_id from ops.turn where source = %s", (source,))
    return str(holder)
