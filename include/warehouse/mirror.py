"""Published marts in Redshift's `analytics`: what has changed, from Parquet on S3, in one transaction for all of them.

Each mart's changed slices are COPYed into a temporary table, deleted from the mart's table and inserted from there. The
mark of how far each copy has come (`ops.mirror_mark`) is a row of Redshift's own and commits with the rows: a copy
never holds more or less than its mark says, whatever stops the task. Readers see a run's marts all at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

log = logging.getLogger(__name__)

_TYPES = {
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.string(): "varchar(65535)",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp",
}
_CONDITIONS_AT_ONCE = 100


class MirrorError(Exception):
    """Nothing was copied; the message names the mart and the fault."""


@dataclass(frozen=True)
class Redshift:
    """Where copies go.

    Attributes:
        host: Its address.
        port: The port that it listens on.
        database: Its database.
        user: Who owns the schemas `analytics` and `ops` there.
        password: The user's.
        iam_role: ARN of the role that COPY reads the bucket as.
        region: The bucket's, where it is not Redshift's own.
        ssl: Whether the connection is encrypted.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    iam_role: str
    region: str | None = None
    ssl: bool = True


@dataclass(frozen=True)
class Copied:
    """What is new of a mart.

    Attributes:
        name: The mart's.
        schema: Its columns.
        publication_id: The last publication that the copy holds afterwards.
        uri: Folder of the Parquet objects with all rows of the changed slices; None where those have no rows.
        gone: SQL conditions for the rows of each changed slice; None for all rows of the table.
    """

    name: str
    schema: pa.Schema
    publication_id: int
    uri: str | None
    gone: Sequence[str] | None


class Session:
    """A transaction on Redshift, made by `session`."""

    def __init__(self, cursor: Any, to: Redshift) -> None:  # noqa: ANN401 - redshift_connector's
        self._cursor = cursor
        self._to = to

    def marks(self) -> dict[str, tuple[int, str]]:
        """Mart -> the last publication that its copy holds, and the columns that it was made with."""
        self._run("create schema if not exists analytics")
        self._run("create schema if not exists ops")
        self._run(
            "create table if not exists ops.mirror_mark "
            "(model varchar(256) not null, publication_id bigint not null, columns varchar(65535) not null)"
        )
        # one mirror at a time; readers do not wait for it
        self._run("lock table ops.mirror_mark")
        # in two: Redshift joins no catalogue with a table
        there = self._run("select table_name from information_schema.tables where table_schema = 'analytics'")
        marks = self._run("select model, publication_id, columns from ops.mirror_mark")
        return {str(model): (int(at), str(columns)) for model, at, columns in marks if (model,) in there}

    def take(self, one: Copied) -> None:
        """Have the mart's table hold what is new.

        Raises:
            MirrorError: a column has a type that Redshift does not take from Parquet.
        """
        columns = columns_of(one.name, one.schema)
        table, fresh = f'analytics."{one.name}"', f'"mirror_{one.name}"'
        listed = ", ".join(f'"{column}"' for column in columns)
        self._shape(one.name, columns)
        if one.gone is None:
            self._run(f"delete from {table}")
        for some in range(0, len(one.gone or ()), _CONDITIONS_AT_ONCE):
            conditions = (one.gone or ())[some : some + _CONDITIONS_AT_ONCE]
            self._run(f"delete from {table} where {' or '.join(f'({condition})' for condition in conditions)}")
        if one.uri:
            self._run(f"create temp table {fresh} ({_declared(columns)})")
            region = f" region '{self._to.region}'" if self._to.region else ""
            self._run(f"copy {fresh} from '{one.uri}' iam_role '{self._to.iam_role}' format as parquet{region}")
            self._run(f"insert into {table} ({listed}) select {listed} from {fresh}")
            self._run(f"drop table {fresh}")
        self._run("delete from ops.mirror_mark where model = %s", one.name)
        self._run("insert into ops.mirror_mark values (%s, %s, %s)", one.name, one.publication_id, _declared(columns))

    def _shape(self, name: str, columns: dict[str, str]) -> None:
        """Make the table, or give it the mart's columns; one that has changed its type comes anew, empty."""
        found = self._run("select model, columns from ops.mirror_mark where model = %s", name)
        table = f'analytics."{name}"'
        self._run(f"create table if not exists {table} ({_declared(columns)})")
        held = {
            str(column): str(kind)
            for column, kind in self._run(
                "select column_name, data_type from information_schema.columns "
                "where table_schema = 'analytics' and table_name = %s",
                name,
            )
        }
        was = dict(part.rsplit('" ', 1) for part in _parts(str(found[0][1]))) if found else {}
        for column in held:
            if column not in columns or (found and was.get(f'"{column}') not in (None, columns[column])):
                self._run(f'alter table {table} drop column "{column}"')
        for column, kind in columns.items():
            if column not in held or (found and was.get(f'"{column}') not in (None, kind)):
                self._run(f'alter table {table} add column "{column}" {kind}')

    def _run(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        self._cursor.execute(statement, parameters or None)
        return [tuple(row) for row in self._cursor.fetchall()] if self._cursor.description else []


@contextmanager
def session(to: Redshift) -> Iterator[Session]:
    """A transaction that commits on a clean exit; otherwise nothing has happened.

    Raises:
        MirrorError: Redshift refuses.
    """
    import redshift_connector
    from redshift_connector.error import Error

    try:
        with closing(
            redshift_connector.connect(
                host=to.host, port=to.port, database=to.database, user=to.user, password=to.password, ssl=to.ssl
            )
        ) as connection:
            with connection.cursor() as cursor:
                yield Session(cursor, to)
            connection.commit()
    except Error as fault:
        said = fault.args[0].get("M", "") if fault.args and isinstance(fault.args[0], dict) else type(fault).__name__
        raise MirrorError(
            f"Redshift at {to.host} refused it: {said}; nothing was copied, and the next run makes up for it"
        ) from None


def columns_of(name: str, schema: pa.Schema) -> dict[str, str]:
    """Column -> type in Redshift.

    Raises:
        MirrorError: there is none that COPY fills from Parquet.
    """
    columns = {}
    for one in schema:
        if pa.types.is_decimal128(one.type):
            columns[one.name] = f"numeric({one.type.precision},{one.type.scale})"
        elif one.type in _TYPES:
            columns[one.name] = _TYPES[one.type]
        else:
            raise MirrorError(f"{name}.{one.name}: Redshift takes no {one.type} from Parquet; cast it in the model")
    return columns


def declared(name: str, schema: pa.Schema) -> str:
    """The columns as they are declared, by which a copy of another shape is known."""
    return _declared(columns_of(name, schema))


def _declared(columns: dict[str, str]) -> str:
    return ", ".join(f'"{name}" {kind}' for name, kind in columns.items())


def _parts(text: str) -> list[str]:
    """What `_declared` has joined: types hold commas without a space."""
    return [part for part in text.split(", ") if part]
