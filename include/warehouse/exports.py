"""What of a published mart a copy elsewhere does not hold yet, and its rows, as readers see them.

A copy has a mark for each mart (`ops.export_mark`): the last publication that it holds. What was published since says
which slices have changed (`slices`). One that fails, or is switched off for a year, is behind until the next one: it
takes all slices that were changed meanwhile, each once. Without a mark it takes all.

Rows come from `analytics` in record batches, by one binary COPY a slice: memory holds a batch, whatever the slice. The
role is one that sees personal columns masked (`sluice_reporter`), so that no copy can hold a clear value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from include.warehouse.marts import Mart
from include.warehouse.session import ArrowSession, PsycopgSession, Session, arrow_session, psycopg_session
from include.warehouse.slices import Slice, all_slices, condition, read_booked, sorted_slices

_BATCH_BYTES = 4 * 1024 * 1024
_INTEGERS = {"smallint": pa.int16(), "integer": pa.int32(), "bigint": pa.int64()}
_OTHERS = {
    "boolean": pa.bool_(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us"),
    "bytea": pa.binary(),
}
_AS_TEXT = ("text", "character varying", "character", "uuid", "json", "jsonb")
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_MOST_DIGITS = 38
"""of a decimal, in Parquet's readers, Athena and Redshift alike"""


class ExportError(Exception):
    """A mart was not copied; the message names it and the fault. The copy is as it was."""


@dataclass(frozen=True)
class Pending:
    """What of a mart a copy does not hold.

    Attributes:
        publication_id: The last publication, which the copy will hold.
        slices: Those that have changed since, in order; None for all, gone ones included.
    """

    publication_id: int
    slices: tuple[Slice, ...] | None


class Reading:
    """A mart as it was at one moment: made by `reading`."""

    def __init__(self, session: ArrowSession, mart: Mart) -> None:
        self.mart = mart
        self._session = session
        self._relation = f'analytics."{mart.name}"'
        self._selected, self.schema = _columns(session, self._relation, mart)
        """columns of the mart, with what its yml says of each as the field's metadata `comment`"""

    def pending(self, since: int | None) -> Pending | None:
        """What a copy does not hold that holds a publication, or none yet; None where nothing is. See `pending`."""
        return pending(self._session, self.mart, since)

    def slices(self) -> list[Slice]:
        """Every slice that has rows."""
        return all_slices(self._session, self._relation, self.mart)

    def batches(self, one: Slice) -> Iterator[pa.RecordBatch]:
        """The rows of a slice, in no order.

        Raises:
            ExportError: a value is none of its column's type elsewhere, such as the numeric NaN.
        """
        where = condition(self._session, self._relation, self.mart, one)
        cursor = self._session.cursor
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
        cursor.execute(f"select {', '.join(self._selected)} from {self._relation} where {where}")
        with cursor.fetch_record_batch() as reader:
            for batch in reader:
                yield self._typed(batch)

    def _typed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = []
        for values, field in zip(batch.columns, self.schema, strict=True):
            try:
                columns.append(values if values.type == field.type else pc.cast(values, field.type))
            except pa.ArrowInvalid:
                raise ExportError(
                    f"analytics.{self.mart.name}.{field.name}: it holds a value that is no {field.type}, such as NaN; "
                    "see that the model gives null instead"
                ) from None
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


@contextmanager
def reading(dsn: str, mart: Mart) -> Iterator[Reading]:
    """A mart in one snapshot: what is pending, and the rows, are of the same moment.

    Args:
        dsn: postgresql:// URI of a role that reads `analytics` masked, and `ops`.
        mart: what to read.

    Raises:
        ExportError: the mart is not published, or has a column of a type that has no counterpart elsewhere.
    """
    with reading_all(dsn, [mart]) as (one,):
        yield one


@contextmanager
def reading_all(dsn: str, marts: Sequence[Mart]) -> Iterator[list[Reading]]:
    """Several marts in one snapshot, to be read one after the other: `reading` says the rest."""
    with arrow_session(dsn) as session:
        session.execute("set transaction isolation level repeatable read, read only")
        session.execute("set local timezone = 'UTC'")
        yield [Reading(session, mart) for mart in marts]


@contextmanager
def alone(dsn: str, target: str, name: str) -> Iterator[Exporting]:
    """Nobody else copies the same there until the context ends; waits for who does."""
    with psycopg_session(dsn) as session:
        session.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"sluice export {target} {name}",))
        yield Exporting(session, target, name)


@dataclass(frozen=True)
class Exporting:
    """The right to change a copy of something; made by `alone`."""

    session: PsycopgSession
    target: str
    name: str

    def check(self) -> None:
        """See that the right is still held, before what cannot be taken back: a lost connection has lost it.

        Raises:
            psycopg2.Error: it is not.
        """
        self.session.execute("select 1")

    def book(self, publication_id: int, rows: int) -> None:
        """Move the mark; it holds from the end of `alone` on."""
        self.session.execute(
            'insert into ops.export_mark as held (target, model, publication_id, "rows") values (%s, %s, %s, %s) '
            "on conflict (target, model) do update set publication_id = excluded.publication_id, "
            '"rows" = excluded."rows", exported_at = now() where held.publication_id <= excluded.publication_id',
            (self.target, self.name, publication_id, rows),
        )


def mark(session: Session, target: str, name: str) -> int | None:
    """The last publication that a copy holds; None where there is no copy."""
    rows = session.execute(
        "select publication_id from ops.export_mark where target = %s and model = %s", (target, name)
    )
    return int(rows[0][0]) if rows else None


def pending(session: Session, mart: Mart, since: int | None) -> Pending | None:
    """What of a mart a copy does not hold; None where it holds all, or nothing is published.

    Args:
        session: of a role that reads ops.
        mart: of what.
        since: the last publication that the copy holds; None where there is no copy, or it is lost.
    """
    rows = session.execute(
        "select publication_id, slices::text from ops.publication where model = %s and publication_id > %s "
        "order by publication_id",
        (mart.name, since or 0),
    )
    if not rows:
        return None
    changed: set[Slice] | None = set() if since is not None else None
    for _, slices in rows:
        booked = read_booked(mart, slices)
        changed = None if changed is None or booked is None else changed | booked
    return Pending(int(rows[-1][0]), None if changed is None else tuple(sorted_slices(changed)))


def _columns(session: Session, relation: str, mart: Mart) -> tuple[list[str], pa.Schema]:
    """What to select of a mart, and what comes of it."""
    rows = session.execute(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute "
        "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        (relation,),
    )
    if not rows:
        raise ExportError(f"analytics.{mart.name} is not published: run its source first")
    selected, fields = [], []
    for name, kind in rows:
        expression, arrow = _column(mart, f'"{name}"', str(kind))
        selected.append(f'{expression} as "{name}"')
        said = mart.columns.get(name)
        fields.append(pa.field(name, arrow, metadata={"comment": said} if said else None))
    return selected, pa.schema(fields)


def _column(mart: Mart, name: str, kind: str) -> tuple[str, pa.DataType]:
    plain = kind.partition("(")[0].strip()
    if found := _NUMERIC.fullmatch(kind):
        digits, scale = int(found[1]), int(found[2])
        if digits <= _MOST_DIGITS and scale <= digits:
            return f"{name}::text", pa.decimal128(digits, scale)
    elif plain in _AS_TEXT:
        return f"{name}::text", pa.string()
    elif kind == "timestamp with time zone":
        return f"{name} at time zone 'UTC'", _OTHERS[kind]
    elif arrow := _INTEGERS.get(kind) or _OTHERS.get(kind):
        return name, arrow
    raise ExportError(
        f"analytics.{mart.name}.{name[1:-1]}: the type {kind} has no counterpart in Parquet that Athena and Redshift "
        f"read; cast it in the model, to text or to a numeric(p, s) of at most {_MOST_DIGITS} digits"
    )
