"""One face for the two Postgres drivers that loads use, so that the bookkeeping SQL is written once.

Rows of tables go in by Arrow's driver (ADBC, binary COPY straight from record batches), JSON documents by psycopg2
(text COPY into jsonb). Whichever it is, rows and bookkeeping share its one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import adbc_driver_postgresql.dbapi
import psycopg2

Value = int | str | None


class Session(Protocol):
    """An open transaction."""

    def execute(self, statement: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Run one statement (placeholders `%s`); rows as tuples, an empty list where it returns none."""
        ...


class PsycopgSession:
    """A transaction on a psycopg2 connection; `cursor` is there for COPY."""

    def __init__(self, cursor: psycopg2.extensions.cursor) -> None:
        self.cursor = cursor

    def execute(self, statement: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """See `Session`."""
        self.cursor.execute(statement, tuple(parameters))
        return self.cursor.fetchall() if self.cursor.description else []


class ArrowSession:
    """A transaction on an ADBC connection; `cursor` is there for `adbc_ingest`."""

    def __init__(self, cursor: adbc_driver_postgresql.dbapi.Cursor) -> None:
        self.cursor = cursor

    def execute(self, statement: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """See `Session`."""
        numbers = iter(range(1, len(parameters) + 1))
        self.cursor.execute(re.sub("%s", lambda _: f"${next(numbers)}", statement), tuple(parameters) or None)
        return self.cursor.fetchall() if self.cursor.description else []


@contextmanager
def psycopg_session(dsn: str) -> Iterator[PsycopgSession]:
    """A transaction that commits on a clean exit and rolls back on an exception."""
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            yield PsycopgSession(cursor)
    finally:
        connection.close()


@contextmanager
def arrow_session(dsn: str) -> Iterator[ArrowSession]:
    """Like `psycopg_session`, on Arrow's driver; `dsn` is a postgresql:// URI."""
    with adbc_driver_postgresql.dbapi.connect(dsn) as connection, connection.cursor() as cursor:
        try:
            yield ArrowSession(cursor)
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
