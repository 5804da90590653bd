"""A try of a task that a later one has taken over from commits nothing, in either order, with either driver."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Thread
from typing import Any

import pytest

from include.warehouse.fence import Fence, Superseded, forget
from include.warehouse.session import Session, arrow_session, psycopg_session
from tests.conftest import Warehouse
from tests.waiting import wait_until

TASK = "tlc/manual__1/load"
Open = Callable[[str], AbstractContextManager[Session]]
drivers = pytest.mark.parametrize("open_session", [psycopg_session, arrow_session])


@pytest.fixture
def dsn(warehouse: Warehouse) -> str:
    """Of a warehouse that knows no task."""
    dsn = warehouse.dsn("sluice_loader")
    with psycopg_session(dsn) as session:
        session.execute("delete from ops.attempt")
    return dsn


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with psycopg_session(warehouse.dsn(warehouse.server.superuser)) as session:
        return session.execute(query)


def book(session: Session, cursor: str) -> None:
    """Stands for what a load does."""
    session.execute("insert into ops.attempt (task, number) values (%s, 1)", (cursor,))


def waiting_for_a_lock(warehouse: Warehouse) -> bool:
    return bool(
        rows(
            warehouse, "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
    )


@drivers
def test_the_try_that_entered_last_commits(dsn: str, warehouse: Warehouse, open_session: Open) -> None:
    first, second = Fence(TASK, 1), Fence(TASK, 2)
    first.enter(dsn)
    second.enter(dsn)
    second.enter(dsn)  # the same try may begin again
    with open_session(dsn) as session:
        book(session, "done")
        second.check(session)
    assert rows(warehouse, "select task, number from ops.attempt order by task") == [("done", 1), (TASK, 2)]


@drivers
def test_an_earlier_try_commits_nothing(dsn: str, warehouse: Warehouse, open_session: Open) -> None:
    zombie = Fence(TASK, 1)
    zombie.enter(dsn)

    def commit() -> None:
        with open_session(dsn) as session:
            book(session, "done")
            Fence(TASK, 2).enter(dsn)
            zombie.check(session)

    with pytest.raises(Superseded, match=f"{TASK}: a later try has taken over"):
        commit()
    assert rows(warehouse, "select task, number from ops.attempt") == [(TASK, 2)]


def test_a_try_that_wakes_after_a_later_one_does_not_get_in(dsn: str, warehouse: Warehouse) -> None:
    Fence(TASK, 2).enter(dsn)
    with pytest.raises(Superseded):
        Fence(TASK, 1).enter(dsn)
    assert rows(warehouse, "select number from ops.attempt") == [(2,)]


def test_tries_of_other_tasks_and_runs_are_not_concerned(dsn: str) -> None:
    mine = Fence(TASK, 1)
    mine.enter(dsn)
    Fence("tlc/manual__2/load", 7).enter(dsn)
    with psycopg_session(dsn) as session:
        mine.check(session)


@drivers
def test_a_later_try_waits_for_a_commit_that_has_passed_the_fence(
    dsn: str, warehouse: Warehouse, open_session: Open
) -> None:
    first, second = Fence(TASK, 1), Fence(TASK, 2)
    first.enter(dsn)
    entering = Thread(target=second.enter, args=(dsn,))
    with open_session(dsn) as session:
        first.check(session)
        entering.start()
        wait_until(
            lambda: waiting_for_a_lock(warehouse),
            "the second try waits for the first one's commit",
        )
        book(session, "done")
    entering.join(timeout=10)
    assert rows(warehouse, "select task, number from ops.attempt order by task") == [("done", 1), (TASK, 2)]


def test_who_did_not_enter_cannot_commit(dsn: str) -> None:
    with pytest.raises(RuntimeError, match="did not enter"), psycopg_session(dsn) as session:
        Fence(TASK, 1).check(session)


def test_publish_has_a_fence_too(warehouse: Warehouse) -> None:
    dsn = warehouse.dsn("sluice_publisher")
    fence = Fence(TASK, 1)
    fence.enter(dsn)
    with psycopg_session(dsn) as session:
        fence.check(session)


def test_tries_of_long_ago_are_forgotten(dsn: str, warehouse: Warehouse) -> None:
    for task in ("old", "new"):
        Fence(task, 1).enter(dsn)
    with psycopg_session(warehouse.dsn(warehouse.server.superuser)) as session:
        session.execute("update ops.attempt set entered_at = now() - interval '91 days' where task = 'old'")
    assert forget(dsn, older_than_days=90) == 1
    assert rows(warehouse, "select task from ops.attempt") == [("new",)]
