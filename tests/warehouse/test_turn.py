"""The models of a source are built by one run at a time; who has ended, however, holds nobody up."""

from threading import Thread

import pytest

from include.warehouse.session import psycopg_session
from include.warehouse.turn import NotMyTurn, check, take
from tests.conftest import Warehouse
from tests.waiting import wait_until


@pytest.fixture
def dsn(warehouse: Warehouse) -> str:
    """Of a warehouse in which nobody holds a turn."""
    with psycopg_session(warehouse.dsn(warehouse.server.superuser)) as session:
        session.execute("delete from ops.turn")
    return warehouse.dsn("sluice_loader")


def wants(dsn: str, run: str, running: set[str], source: str = "tlc") -> str | None:
    return take(dsn, source, run, is_running=running.__contains__)


def test_one_run_at_a_time_and_the_next_when_it_has_ended(dsn: str) -> None:
    running = {"one", "two"}
    assert wants(dsn, "one", running) is None
    assert wants(dsn, "two", running) == "one"
    assert wants(dsn, "one", running) is None  # it keeps what it has
    running.remove("one")
    assert wants(dsn, "two", running) is None
    running.add("one")  # cleared
    assert wants(dsn, "one", running) == "two"


def test_each_source_has_a_turn_of_its_own(dsn: str) -> None:
    assert wants(dsn, "one", {"one"}) is None
    assert wants(dsn, "two", {"one"}, source="x") is None


def test_of_two_that_find_it_free_one_gets_it(dsn: str) -> None:
    wants(dsn, "old", set())
    asked: list[str | None] = []

    def other_is_first(run: str) -> bool:
        if run == "old":
            asked.append(wants(dsn, "two", set()))
        return False

    assert take(dsn, "tlc", "one", is_running=other_is_first) == "two"
    assert asked == [None]


@pytest.mark.parametrize("role", ["sluice_loader", "sluice_publisher"])
def test_who_does_not_hold_the_turn_is_told_what_to_clear(dsn: str, warehouse: Warehouse, role: str) -> None:
    with psycopg_session(warehouse.dsn(role)) as session:
        with pytest.raises(NotMyTurn, match=r"tlc: it is not this run's turn .*: no run holds it\. Clear"):
            check(session, "tlc", "one")
        wants(dsn, "one", {"one"})
        check(session, "tlc", "one")
        with pytest.raises(NotMyTurn, match=r"run one has built them since\. Clear the task await_turn of this run"):
            check(session, "tlc", "two")


def test_nobody_takes_the_turn_from_a_publish_that_has_begun(dsn: str, warehouse: Warehouse) -> None:
    wants(dsn, "zombie", set())
    taken: list[str | None] = []
    taking = Thread(target=lambda: taken.append(wants(dsn, "next", set())))
    with psycopg_session(warehouse.dsn("sluice_publisher")) as session:
        check(session, "tlc", "zombie")
        taking.start()
        wait_until(
            lambda: bool(
                session.execute(
                    "select 1 from pg_locks where not granted and pid in (select pid from pg_stat_activity "
                    "where datname = current_database())"
                )
            ),
            "the next run waits for the publish",
        )
        assert taken == []
    taking.join(timeout=10)
    assert taken == [None]
