"""A fence against zombies: a try of a task that was given up, and lives on, can commit nothing any more.

Airflow starts a task again when it has heard nothing of it for a while, be it dead or only cut off. The new try enters
first (`Fence.enter` books its number in `ops.attempt`), and each commit asks whether a later one has entered since
(`Fence.check`, last in the transaction). Whichever comes first, the other waits: either the old try has committed
before the new one begins, or it cannot.
"""

from __future__ import annotations

from dataclasses import dataclass

from include.warehouse.session import Session, engine_of, open_session, psycopg_session, redshift_session


class Superseded(Exception):  # noqa: N818 - what happened, not what went wrong with us
    """A later try of the same task has begun: this one must not commit."""


@dataclass(frozen=True)
class Fence:
    """One try of a task.

    Attributes:
        key: The task in its run, `dag_id/run_id/task_id`.
        number: Which try, from 1; each is greater than the one before.
    """

    key: str
    number: int

    def enter(self, dsn: str) -> None:
        """Book this try, before it does anything; every earlier one is locked out from here on.

        Raises:
            Superseded: a later try has entered already.
        """
        with open_session(dsn, writes=True) as session:
            if session.engine == "redshift":
                session.execute("delete from ops.attempt where task = %s and number <= %s", (self.key, self.number))
                session.execute(
                    "insert into ops.attempt (task, number, entered_at) "
                    "select cast(%s as varchar(1024)), cast(%s as integer), getdate() "
                    "where not exists (select 1 from ops.attempt where task = %s)",
                    (self.key, self.number, self.key),
                )
            else:
                session.execute(
                    "insert into ops.attempt as held (task, number) values (%s, %s) on conflict (task) do update "
                    "set number = excluded.number, entered_at = now() where held.number <= excluded.number",
                    (self.key, self.number),
                )
            self.check(session)

    def check(self, session: Session) -> None:
        """Refuse the commit of a try that a later one has taken over from. Last in the transaction that it guards.

        Until that transaction ends, no later try can enter.

        Raises:
            Superseded: a later try has entered.
        """
        # on Redshift the writers' lock keeps later tries out
        lock = " for share" if session.engine == "postgres" else ""
        found = session.execute(f"select number from ops.attempt where task = %s{lock}", (self.key,))
        if not found:
            raise RuntimeError(f"{self.key}: try {self.number} did not enter its fence before it was to commit")
        if found[0][0] != self.number:
            raise Superseded(
                f"{self.key}: a later try has taken over (this is try {self.number}, it is try {found[0][0]}); nothing "
                "was committed. If no later try runs, for the run was deleted and made anew under the same name, then "
                "delete the task's row from ops.attempt and run it again"
            )


def forget(dsn: str, *, older_than_days: int) -> int:
    """Delete the tries of tasks that began so long ago that none of them can still be alive; how many."""
    if engine_of(dsn) == "redshift":
        with redshift_session(dsn, writes=True) as redshift:
            redshift.execute(
                f"delete from ops.attempt where entered_at < dateadd(day, -{int(older_than_days)}, getdate())"
            )
            return redshift.rowcount
    with psycopg_session(dsn) as session:
        session.execute(
            "delete from ops.attempt where entered_at < now() - make_interval(days => %s)", (older_than_days,)
        )
        return session.cursor.rowcount
