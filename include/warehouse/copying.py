"""Rows into Postgres by COPY: record batches in its binary format, JSON records as lines of text.

Arrow's own driver (ADBC) can do the first too, for five times the CPU to encode with.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
from pgpq import ArrowToPostgresBinaryEncoder

from include.warehouse.session import PsycopgSession

_PIECE_BYTES = 64 * 1024  # of a message: larger ones take more of the server's CPU (docs/performance.md)
_ARROW = {
    "bigint": pa.int64(),
    "double precision": pa.float64(),
    "text": pa.string(),
    "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
    "boolean": pa.bool_(),
}


class OtherType(Exception):  # noqa: N818 - what it is, not what went wrong with us
    """A column comes with values that its table's column cannot hold; the message is a predicate of the column."""


def copy_batches(session: PsycopgSession, target: str, batches: pa.RecordBatchReader) -> int:
    """Binary COPY of rows, each batch read and encoded while the one before is on its way; how many.

    Args:
        session: of a role that may write.
        target: the table and the batches' columns in their order, as SQL has them.
        batches: with the types of the table's columns of their names, as `fitted` sees to: nobody else would notice.

    Raises:
        psycopg2.Error: the server refused them. What the batches raise comes as it is.
    """

    def encoded() -> Iterator[bytes]:
        encoder = ArrowToPostgresBinaryEncoder(batches.schema)
        yield encoder.write_header()
        for batch in batches:
            yield encoder.write_batch(batch)
        yield encoder.finish()

    with closing(_ahead(encoded())) as pieces:
        return _copy(session, target, "format binary", pieces)


def copy_lines(session: PsycopgSession, target: str, lines: Iterator[bytes]) -> int:
    r"""COPY of lines of JSON and numbers, with \x02 between fields; how many.

    Args:
        session: of a role that may write.
        target: the table and its columns, as SQL has them.
        lines: each with its newline, and no other.

    Raises:
        psycopg2.Error: the server refused them. What the lines raise comes as it is.
    """
    # \x01 and \x02 cannot stand in JSON, so no record needs quoting or escaping
    return _copy(session, target, r"format csv, quote e'\x01', delimiter e'\x02'", lines)


def fitted(batches: pa.RecordBatchReader, types: Mapping[str, str]) -> pa.RecordBatchReader:
    """The same rows with the types of a table: numbers as the other kind where none is changed by it, all as text.

    Args:
        batches: the rows.
        types: column -> its type as `information_schema` names it.

    Raises:
        OtherType: a column's values would be changed; at once or while the rows are read.
    """
    wanted = {
        position: _ARROW[types[field.name]]
        for position, field in enumerate(batches.schema)
        if _ARROW.get(types.get(field.name, ""), field.type) != field.type
    }
    if not wanted:
        return batches
    schema = batches.schema
    for position, kind in wanted.items():
        field = schema.field(position)
        if not (_is_number(field.type) and _is_number(kind)) and kind != pa.string():
            raise OtherType(f"column {field.name!r} is a {types[field.name]} there, and comes as {field.type}")
        schema = schema.set(position, field.with_type(kind))

    def cast() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            columns = list(batch.columns)
            for position, kind in wanted.items():
                name = schema.names[position]
                try:
                    columns[position] = pc.cast(columns[position], kind)
                except pa.ArrowInvalid:
                    raise OtherType(
                        f"column {name!r} is a {types[name]} there, and comes as {columns[position].type} with values "
                        "that are none"
                    ) from None
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, cast())


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _copy(session: PsycopgSession, target: str, options: str, pieces: Iterator[bytes]) -> int:
    source = _Pieces(pieces)
    try:
        session.cursor.copy_expert(f"copy {target} from stdin with ({options})", source, size=_PIECE_BYTES)
    except psycopg2.Error:
        if source.fault is not None:
            raise source.fault from None  # which psycopg2 has wrapped in words of its own
        raise
    return session.cursor.rowcount


def _ahead(pieces: Iterator[bytes]) -> Generator[bytes]:
    """The same pieces, each made while the one before is used."""
    # one thread and one piece ahead: what their maker keeps account of is never touched by two at once
    with ThreadPoolExecutor(1, thread_name_prefix="copy") as thread:
        coming = thread.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = thread.submit(next, pieces, None)
            yield piece


class _Pieces:
    """A file of pieces made on demand, as much of one as psycopg2's COPY asks for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = bytearray()
        self.fault: Exception | None = None
        """why there are no more pieces"""

    def read(self, size: int = -1, /) -> bytes:
        while size < 0 or len(self._rest) < size:
            try:
                piece = next(self._pieces, None)
            except Exception as fault:
                self.fault = fault
                raise
            if piece is None:
                break
            self._rest += piece
        chunk = bytes(self._rest if size < 0 else self._rest[:size])
        del self._rest[: len(chunk)]
        return chunk

    def readline(self, _size: int = -1, /) -> bytes:
        return next(self._pieces, b"")
