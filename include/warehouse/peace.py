"""Erasing a person, and all that reads or writes what persons are erased from, keep out of each other's way.

Who lands, gates, loads or publishes for a source works side by side with others who do; who erases is alone. Both hold
a lock of Postgres for as long as the context lasts, on a connection of its own: it goes with a process that dies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg2

from include.warehouse.session import engine_of, postgres_only

_LOCK = "hashtextextended('sluice erasure ' || %s, 0)"


@contextmanager
def at_work(dsn: str, source: str) -> Iterator[None]:
    """Keep erasures of a source out; waits for one that is on its way."""
    if engine_of(dsn) == "redshift":  # where nobody is erased: see `alone`
        yield
        return
    with _held(dsn, source, "pg_advisory_lock_shared", None):
        yield


@contextmanager
def alone(dsn: str, source: str, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Keep everybody else out; waits for those who are at work, having called `waiting`."""
    postgres_only(dsn, "Erasing a person")
    with _held(dsn, source, "pg_advisory_lock", waiting):
        yield


@contextmanager
def _held(dsn: str, source: str, lock: str, waiting: Callable[[], None] | None) -> Iterator[None]:
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True  # a transaction left open for hours would keep vacuum from its work
        with connection.cursor() as cursor:
            if waiting is not None:
                cursor.execute(f"select pg_try_{lock.removeprefix('pg_')}({_LOCK})", (source,))
                found = cursor.fetchone()
                if found and found[0]:
                    yield
                    return
                waiting()
            cursor.execute(f"select {lock}({_LOCK})", (source,))
            yield
