"""One face for the drivers of the warehouse, so that the bookkeeping SQL is written once.

On Postgres rows go in by psycopg2's COPY (record batches in its binary format, JSON documents as text), and come out as
record batches by Arrow's driver (ADBC). On Redshift there is redshift_connector alone, for Redshift fetches the rows
itself. Whichever it is, rows and bookkeeping share its one transaction.

The engine follows from the scheme of the URI: `postgresql://…` or `redshift://…`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg2

if TYPE_CHECKING:
    import adbc_driver_postgresql.dbapi
    from redshift_connector.core import Connection

Value = int | str | None
Engine = Literal["postgres", "redshift"]


class NotOnRedshift(Exception):  # noqa: N818 - what it is, not what went wrong
    """Something that works on Postgres alone was asked of a warehouse on Redshift. The message names it."""


def postgres_only(dsn: str, what: str) -> None:
    """Refuse Redshift, before anything is done.

    Args:
        dsn: URI of the warehouse.
        what: the subject of the message: `./sluice trace`.

    Raises:
        NotOnRedshift: the URI leads to Redshift.
    """
    if engine_of(dsn) == "redshift":
        raise NotOnRedshift(
            f"{what} works on a Postgres warehouse alone, and this one is Redshift; nothing was done. What is not "
            "there on Redshift is listed in docs/redshift.md"
        )


NOW: Mapping[Engine, str] = {"postgres": "now()", "redshift": "getdate()"}
"""the time at which the transaction (on Redshift: the statement) began, for a timestamptz"""

LOCK = "ops.write_lock"
"""the table that whoever writes to Redshift locks first; it has no rows"""


def engine_of(dsn: str) -> Engine:
    """The engine that a warehouse URI leads to."""
    return "redshift" if dsn.startswith("redshift://") else "postgres"


class Session(Protocol):
    """An open transaction."""

    engine: ClassVar[Engine]

    def execute(self, statement: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Run one statement (placeholders `%s`); rows as tuples, an empty list where it returns none."""
        ...


class PsycopgSession:
    """A transaction on a psycopg2 connection; `cursor` is there for COPY."""

    engine: ClassVar[Engine] = "postgres"

    def __init__(self, cursor: psycopg2.extensions.cursor) -> None:
        self.cursor = cursor

    def execute(self, statement: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """See `Session`."""
        # without parameters a percent sign, as a name may have one, stands for itself
        self.cursor.execute(statement, tuple(parameters) or None)
        return self.cursor.fetchall() if self.cursor.description else []


class ArrowSession:
    """A transaction on an ADBC connection; `cursor` is there for `fetch_record_batch`."""

    engine: ClassVar[Engine] = "postgres"

    def __init__(self, cursor: adbc_driver_postgresql.dbapi.Cursor) -> None:
        self.cursor = cursor

    def execute(self, statement: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """See `Session`."""
        numbers = iter(range(1, len(parameters) + 1))
        self.cursor.execute(re.sub("%s", lambda _: f"${next(numbers)}", statement), tuple(parameters) or None)
        return self.cursor.fetchall() if self.cursor.description else []


class RedshiftSession:
    """A transaction on a connection of redshift_connector."""

    engine: ClassVar[Engine] = "redshift"

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.cursor = connection.cursor()
        self.cursor.paramstyle = "format"

    @property
    def rowcount(self) -> int:
        """Rows that the last statement changed or gave."""
        return int(self.cursor.rowcount)

    def execute(self, statement: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """See `Session`. Redshift takes texts of up to 65,535 bytes as parameters."""
        self.cursor.execute(statement, tuple(parameters) or None)
        return [tuple(row) for row in self.cursor.fetchall()] if self.cursor.description else []

    def lock(self) -> None:
        """Have the database's writers go one after the other from here to the end of the transaction.

        Redshift has no advisory locks, and refuses one of two transactions that write to one table from snapshots that
        do not know each other. The lock is taken before the transaction has a snapshot, which then holds all that
        earlier writers have committed (https://docs.aws.amazon.com/redshift/latest/dg/c_serial_isolation.html). So it
        comes first in a transaction.
        """
        self.execute(f"lock table {LOCK}")

    def commit(self) -> None:
        """End the transaction; the next statement begins another, in which temporary tables are still there."""
        self.connection.commit()


def redshift_connection(dsn: str, *, autocommit: bool = False) -> Connection:
    """A connection to Redshift.

    Args:
        dsn: `redshift://user:password@host:port/database`; of its query, `sslmode` is for the connection; it
            is verify-full where it is not given.
        autocommit: each statement is a transaction of its own.
    """
    import redshift_connector

    parts, options = urlsplit(dsn), redshift_options(dsn)
    sslmode = options.get("sslmode", "verify-full")
    connection = redshift_connector.connect(
        host=parts.hostname,
        port=parts.port or 5439,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.removeprefix("/")),
        ssl=sslmode != "disable",
        sslmode=sslmode if sslmode != "disable" else "verify-full",
    )
    connection.autocommit = autocommit
    return connection


def redshift_options(dsn: str) -> dict[str, str]:
    """What a redshift:// URI says behind its question mark: `sslmode`, `iam_role`, `region`."""
    return dict(parse_qsl(urlsplit(dsn).query))


@contextmanager
def redshift_session(dsn: str, *, writes: bool = False) -> Iterator[RedshiftSession]:
    """Like `psycopg_session`, on Redshift; `dsn` is a redshift:// URI. One that writes begins with `lock`."""
    from redshift_connector.error import Error

    connection = redshift_connection(dsn)
    try:
        session = RedshiftSession(connection)
        if writes:
            session.lock()
        try:
            yield session
        except BaseException:
            with suppress(Error, OSError):  # the connection itself may be what failed
                connection.rollback()
            raise
        connection.commit()
    finally:
        with suppress(Error, OSError):
            connection.close()


@contextmanager
def open_session(dsn: str, *, writes: bool = False) -> Iterator[Session]:
    """A transaction on the engine of the URI. On Redshift one that writes says so first; Postgres locks by itself."""
    with redshift_session(dsn, writes=writes) if engine_of(dsn) == "redshift" else psycopg_session(dsn) as session:
        yield session


@contextmanager
def psycopg_session(dsn: str) -> Iterator[PsycopgSession]:
    """A transaction that commits on a clean exit and rolls back on an exception."""
    postgres_only(dsn, "This step")
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            yield PsycopgSession(cursor)
    finally:
        connection.close()


@contextmanager
def arrow_session(dsn: str) -> Iterator[ArrowSession]:
    """Like `psycopg_session`, on Arrow's driver; `dsn` is a postgresql:// URI."""
    import adbc_driver_postgresql.dbapi  # with pandas behind it, which most who ask the warehouse do without

    with adbc_driver_postgresql.dbapi.connect(dsn) as connection, connection.cursor() as cursor:
        try:
            yield ArrowSession(cursor)
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
