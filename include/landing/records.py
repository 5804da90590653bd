"""The rows of a landing of files, as a stream of Arrow batches with the types that the source declares."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.landing.delimited import CsvOptions, csv_rows
from include.landing.manifest import LandingError, Manifest
from include.landing.rejects import Fault, PartRows, Reject
from include.landing.tables import Row, Unreadable, name_columns, text_table

if TYPE_CHECKING:
    from include.landing.store import LandingStore

FieldType = Literal["bigint", "double", "text", "timestamp", "date", "boolean"]
NewColumns = Literal["evolve", "freeze", "discard"]

LANDING_ID = "_landing_id"
ROW = "_row"

BATCH_ROWS = 8_192
"""A batch is encoded as a whole, then sent: so many rows of a taxi month are some 2 MB"""

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "bigint": pa.int64(),
    "double": pa.float64(),
    "text": pa.string(),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "boolean": pa.bool_(),
}

# Arrow's own pool keeps what is freed: with it the load of a month takes 30 MB more, and no less time.
pa.set_memory_pool(pa.system_memory_pool())

# Text that does not become its type at once may by way of another: '1.0' is an integer by way of an exact decimal.
_EXACT = pa.decimal128(38, 10)
_UTC = pa.timestamp("us", tz="UTC")
_HAS_OFFSET = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
_HAS_TIME = r"^[^T ]+[T ]"

_NAME_BYTES = 63  # what Postgres keeps of a name
_CHUNK_CHARACTERS = 4 * 1024 * 1024
_SHOWN_CHARACTERS = 160
_MOST_FAULTS = 5_000  # of a column in a batch: no column is of such a type
_NOT_OF_TYPE = (pa.ArrowInvalid, pa.ArrowNotImplementedError)
_CSV = CsvOptions()


def iter_batches(
    store: LandingStore,
    manifest: Manifest,
    *,
    fields: Mapping[str, str],
    new_columns: NewColumns,
    batch_rows: int = BATCH_ROWS,
    csv_options: CsvOptions = _CSV,
    sheet: str | None = None,
    pii: Collection[str] = (),
    reject: Callable[[Reject], None] | None = None,
    part_read: Callable[[PartRows], None] | None = None,
) -> pa.RecordBatchReader:
    """Read all parts of a landing of Parquet, CSV or xlsx files as one stream.

    Memory stays flat whatever the landing's size: the parts lie on disk meanwhile, and go when the reader goes. A
    large Parquet file is read while it arrives: what was read counts once the reader has come to its end.
    What is read is right or refused; nothing is guessed:

    - In CSV and xlsx everything is text to begin with. A text column keeps each field as it stands, white space
      included ("NA", "N/A" and nothing at all are texts; of xlsx, an empty cell is null). In a column of another type,
      a text of nothing or white space is null, and white space around a value does not count.
    - Numbers have ASCII digits, at most one point and an exponent: no separators of thousands, no hexadecimal. An
      integer may be written as 1.0 or 1e3. A text is no double if it is none that is finite (NaN, inf, 1e400).
    - Timestamps and dates are ISO 8601 with dashes: 2024-01-31, 2024-01-31 08:30[:15[.123456]] with a blank or a T.
      Those with an offset or Z become UTC, those without stay as they are; both in one column of one file are
      refused. Digits below the microsecond are cut. 31/01/2024 could be two days and is refused, and so is a number.
    - Booleans are true, false, 1 and 0, whatever their case.
    - Of typed columns, none is taken for what it is not: a number is no time, a time no number, 2 no boolean, a
      timestamp within a day no date.

    Args:
        store: Where the landing lies.
        manifest: The landing.
        fields: Declared columns, lower-case name -> bigint, double, text, timestamp, date or boolean. One that a part
            does not have is null (whether it may be missing is the gate's question).
        new_columns: What becomes of columns that are not declared: `evolve` keeps them, with the type of this
            vocabulary that holds theirs (text in CSV, JSON text for nested ones), `freeze` refuses them, `discard`
            drops them.
        batch_rows: Most rows in a batch.
        csv_options: How CSV files are written.
        sheet: The sheet of a workbook; the first one by default.
        pii: Columns that hold personal data, in lower case. Where there are any, messages show *** for every value.
        reject: Takes each row that cannot be read or has a value that is not of its type, in order, while the others
            go on, their positions unchanged; what it raises ends the read. Without it the first such row does.
        part_read: Is told of each part what rows it had, once it is read.

    Returns:
        A reader of the declared columns in their order, the new ones in the order of the files, then `_landing_id`
        (int64) and `_row` (int64, 0-based position over the parts in order).

    Raises:
        ValueError: A declared type or the contract is unknown.
        LandingError: A new column under `freeze`; a part with none of the declared columns; or, while reading, a file
            that cannot be read or, without `reject`, a value that is not of its declared type (the message names part,
            column, row and value).
    """
    if unknown := sorted(set(fields.values()) - set(ARROW_TYPES)):
        raise ValueError(f"type {unknown[0]!r} is not one of {', '.join(ARROW_TYPES)}")
    if new_columns not in ("evolve", "freeze", "discard"):
        raise ValueError(f"new_columns {new_columns!r} is not one of evolve, freeze, discard")
    if manifest.format in ("json", "ndjson"):
        raise LandingError(f"{manifest.uri} holds JSON documents, not rows: use LandingStore.iter_documents")
    with ExitStack() as stack:
        parts = []
        for part in manifest.parts:
            file = stack.enter_context(store.arriving_part(manifest, part))
            uri = manifest.uri + part.name
            with _faults_named(uri):
                match manifest.format:
                    case "parquet":
                        parts.append(_open_parquet(part.name, uri, file, batch_rows))
                    case "csv":
                        parts.append(_open_texts(part.name, uri, partial(csv_rows, file, csv_options), batch_rows))
                    case _:
                        from include.landing.workbook import sheet_rows  # with openpyxl, which only these need

                        parts.append(_open_texts(part.name, uri, partial(sheet_rows, file, sheet), batch_rows))
        types = all_types(parts, fields, new_columns)
        schema = pa.schema(
            [(name, ARROW_TYPES[kind]) for name, kind in types.items()] + [(LANDING_ID, pa.int64()), (ROW, pa.int64())]
        )
        batches = _batches(
            stack.pop_all(), parts, types, schema, manifest.landing_id, frozenset(pii), reject, part_read
        )
    return pa.RecordBatchReader.from_batches(schema, batches)


@dataclass(frozen=True)
class _Chunk:
    """Some rows of a part.

    Attributes:
        batch: Those that could be told apart into fields.
        lines: On which line each of them begins, where the file has lines.
        unreadable: The others, by their place among all of the chunk's.
    """

    batch: pa.RecordBatch
    lines: Sequence[int] | None = None
    unreadable: Mapping[int, Unreadable] = field(default_factory=dict)

    def places(self, first: int = 0) -> pa.Array:
        """The places of the batch's rows among all of the chunk's, counted from `first`."""
        places = pa.arange(first, first + self.batch.num_rows + len(self.unreadable))
        return places.filter(_mask(len(places), self.unreadable, is_in=False)) if self.unreadable else places


class Columns(Protocol):
    """The columns of one part, lower-case name -> own type, and its object."""

    @property
    def uri(self) -> str:
        """Of the object."""
        ...

    @property
    def types(self) -> Mapping[str, str]:
        """Of the columns."""
        ...


@dataclass(frozen=True)
class _Part:
    """The rows of one part.

    Attributes:
        name: Its name in the landing.
        uri: Its object.
        types: Its columns, lower-case name -> own type.
        read: Some of its columns, in chunks.
    """

    name: str
    uri: str
    types: Mapping[str, str]
    read: Callable[[Sequence[str]], Iterator[_Chunk]]


def _open_parquet(part: str, uri: str, file: BinaryIO, batch_rows: int) -> _Part:
    # By default Arrow fetches whole row groups ahead, which for a taxi month is a third of the file at once.
    # INT96, as Spark writes it, reaches further than nanoseconds do: 9999-12-31 would become a day of 1816.
    parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 18, coerce_int96_timestamp_unit="us")
    schema = parquet.schema_arrow
    names = name_columns(schema.names)

    def read(columns: Sequence[str]) -> Iterator[_Chunk]:
        chosen = [schema.names[names[column]] for column in columns]
        for batch in parquet.iter_batches(batch_rows, columns=chosen, use_threads=False):
            yield _Chunk(batch.select(chosen).rename_columns(list(columns)))

    return _Part(part, uri, {name: own_type(schema.field(position).type) for name, position in names.items()}, read)


def _open_texts(part: str, uri: str, rows: Callable[[], Iterator[Row]], batch_rows: int) -> _Part:
    names = text_table(rows()).names

    def read(columns: Sequence[str]) -> Iterator[_Chunk]:
        positions = [names[column] for column in columns]
        for lines, fields, unreadable in _chunks(text_table(rows()).rows, batch_rows):
            columns_of_fields = list(zip(*fields, strict=True))
            arrays = [pa.array(columns_of_fields[position] if fields else (), pa.string()) for position in positions]
            # Without columns, a batch would not know how many rows it has.
            counted = pa.RecordBatch.from_arrays([*arrays, pa.nulls(len(lines))], names=[*columns, ROW])
            yield _Chunk(counted, lines, unreadable)

    return _Part(part, uri, dict.fromkeys(names, "text"), read)


def _chunks(
    rows: Iterator[Row], most: int
) -> Iterator[tuple[list[int], list[Sequence[str | None]], dict[int, Unreadable]]]:
    """Rows together with their lines, at most so many and not much more than `_CHUNK_CHARACTERS`; unreadable ones."""
    lines: list[int] = []
    fields: list[Sequence[str | None]] = []
    unreadable: dict[int, Unreadable] = {}
    characters = 0
    for line, row in rows:
        if isinstance(row, Unreadable):
            unreadable[len(lines) + len(unreadable)] = row
            characters += len(row.text)
        else:
            lines.append(line)
            fields.append(row)
            characters += sum(map(len, filter(None, row)))
        if len(lines) == most or characters > _CHUNK_CHARACTERS:
            yield lines, fields, unreadable
            lines, fields, unreadable, characters = [], [], {}, 0
    if lines or unreadable:
        yield lines, fields, unreadable


def own_type(kind: pa.DataType) -> str:
    """The type of the vocabulary that holds an Arrow type; text holds all."""
    is_ = pa.types
    if is_.is_dictionary(kind):
        return own_type(kind.value_type)
    tests: list[tuple[str, Callable[[pa.DataType], bool]]] = [
        ("bigint", is_.is_integer),
        ("double", is_.is_floating),
        ("double", is_.is_decimal),
        ("timestamp", is_.is_timestamp),
        ("date", is_.is_date),
        ("boolean", is_.is_boolean),
    ]
    return next((name for name, test in tests if test(kind)), "text")


def all_types(parts: Sequence[Columns], fields: Mapping[str, str], new_columns: NewColumns) -> dict[str, str]:
    """The columns of the stream: declared ones as declared, new ones by contract."""
    types = dict(fields)
    for part in parts:
        if fields and not fields.keys() & part.types.keys():
            # Its names are not told: of a file without a header they are the values of its first row.
            raise LandingError(
                f"{part.uri}: it has none of the columns {', '.join(fields)}: its header is missing, or it is another "
                "file, or of another delimiter; correct source.yml, or have the file corrected"
            )
        for name, kind in part.types.items():
            if name in fields or new_columns == "discard":
                continue
            if new_columns == "freeze":
                raise LandingError(
                    f"{part.uri}: column {name!r} is new, and the source's contract freezes its columns: "
                    "add it to the fields in source.yml, or let new_columns be evolve or discard"
                )
            if len(name.encode()) > _NAME_BYTES:
                raise LandingError(
                    f"{part.uri}: column {name!r} is new, and its name is longer than the {_NAME_BYTES} bytes of a "
                    "name in Postgres: have it renamed, or let new_columns be discard"
                )
            # Parts that differ meet in what holds both.
            both = {kind, types.get(name, kind)}
            types[name] = kind if len(both) == 1 else "double" if both == {"bigint", "double"} else "text"
    return types


def _batches(
    stack: ExitStack,
    parts: Sequence[_Part],
    types: Mapping[str, str],
    schema: pa.Schema,
    landing_id: int,
    pii: Collection[str],
    reject: Callable[[Reject], None] | None,
    part_read: Callable[[PartRows], None] | None,
) -> Iterator[pa.RecordBatch]:
    position = 0
    landing = pa.arange(landing_id, landing_id + 1)[0]  # pa.scalar and pa.array import pandas
    with stack:
        for part in parts:
            begin = position
            # where any column is personal no value is quoted: in a row whose columns have moved it stands in another
            casts = {name: _Cast(kind, name, part.uri, bool(pii)) for name, kind in types.items() if name in part.types}
            with _faults_named(part.uri):
                for chunk in part.read(list(casts)):
                    if chunk.unreadable and reject is None:
                        raise ValueError(next(iter(chunk.unreadable.values())).fault)
                    rows = chunk.batch.num_rows
                    arrays, faults = {}, dict[int, list[Fault]]()
                    for name, cast in casts.items():
                        column = _plain(chunk.batch.column(name))
                        if reject is None:
                            arrays[name] = cast.all(column, position - begin, chunk.lines)
                        else:
                            arrays[name], bad = cast.most(column, chunk.lines)
                            for row, fault in bad.items():
                                faults.setdefault(row, []).append(fault)
                    if reject is not None and (faults or chunk.unreadable):
                        for one in _rejects(chunk, list(casts), faults, position):
                            reject(one)
                    batch = pa.RecordBatch.from_arrays(
                        [
                            *(
                                arrays[name] if name in arrays else pa.nulls(rows, ARROW_TYPES[kind])
                                for name, kind in types.items()
                            ),
                            pa.repeat(landing, rows),
                            chunk.places(position),
                        ],
                        schema=schema,
                    )
                    position += rows + len(chunk.unreadable)
                    if faults:
                        batch = batch.filter(_mask(rows, faults, is_in=False))
                    if batch.num_rows:
                        yield batch
            if part_read is not None:
                part_read(PartRows(part.name, part.uri, begin, position - begin))


def _rejects(
    chunk: _Chunk, columns: Sequence[str], faults: Mapping[int, Sequence[Fault]], position: int
) -> Iterator[Reject]:
    """The chunk's rows that are not read, in order; made one by one, for whoever takes them may have enough."""
    places = chunk.places().to_pylist()
    rows = {places[row]: row for row in faults}
    for place in sorted([*chunk.unreadable, *rows]):
        if place in rows:
            row = rows[place]
            values = {name: _held(chunk.batch.column(name)[row]) for name in columns}
            payload = json.dumps(values, ensure_ascii=False, default=str)
            yield Reject(position + place, faults[row], payload=payload)
        else:
            unreadable = chunk.unreadable[place]
            yield Reject(position + place, [Fault(unreadable.fault)], record=unreadable.text)


def _held(value: pa.Scalar) -> object:
    """A value as JSON can say it without losing any of it."""
    try:
        held = value.as_py()
    except UnicodeDecodeError:
        held = value.as_buffer().to_pybytes()
    if isinstance(held, bytes):
        return held.decode(errors="backslashreplace")
    if isinstance(held, list | dict):
        return json.loads(json.dumps(held, default=str), parse_constant=str)
    return str(held) if isinstance(held, float) and not math.isfinite(held) else held


def _mask(rows: int, chosen: Collection[int], *, is_in: bool) -> pa.Array:
    mask = np.full(rows, not is_in)
    mask[list(chosen)] = is_in
    return pa.array(mask)


class _Cast:
    """One column of one part, batch by batch as its declared type."""

    def __init__(self, kind: str, name: str, uri: str, is_personal: bool) -> None:
        self._kind = kind
        self._name = name
        self._uri = uri
        self._is_personal = is_personal
        self._offsets: bool | None = None  # whether its timestamps have some, once one is seen

    def all(self, column: pa.Array, first_row: int, lines: Sequence[int] | None) -> pa.Array:
        """The batch's values, or an error that names the first one that is not of the type."""
        try:
            array, self._offsets = _as_kind(column, self._kind, self._offsets)
        except _NOT_OF_TYPE:
            row, fault = next(self._faults(column))
            line = f"; line {lines[row]}" if lines else ""
            raise LandingError(
                f"{self._uri}: column {self._name!r} is declared {self._kind}, and its row {first_row + row} "
                f"(from 0{line}) holds {self._said(column[row], fault)}: correct the field's type in source.yml, or "
                "have the file corrected"
            ) from None
        return array

    def most(self, column: pa.Array, lines: Sequence[int] | None) -> tuple[pa.Array, dict[int, Fault]]:
        """The batch's values, null where one is not of the type, and why those are not, by row."""
        try:
            array, self._offsets = _as_kind(column, self._kind, self._offsets)
        except _NOT_OF_TYPE:
            faults = {}
            for row, fault in itertools.islice(self._faults(column), _MOST_FAULTS):
                line = f"line {lines[row]}: " if lines else ""
                what = f"column {self._name!r} is declared {self._kind} and holds {self._said(column[row], fault)}"
                faults[row] = Fault(line + what, self._name)
            if len(faults) == _MOST_FAULTS:
                first = next(iter(faults.values()))
                raise LandingError(
                    f"{self._uri}: {_MOST_FAULTS} values of {len(column)} rows are not of their type; the first: "
                    f"{first.message}: correct the field's type in source.yml, or have the file corrected"
                ) from None
            others = pc.if_else(_mask(len(column), faults, is_in=True), pa.scalar(None, column.type), column)
            array, self._offsets = _as_kind(others, self._kind, self._offsets)
            return array, faults
        return array, {}

    def _faults(self, column: pa.Array) -> Iterator[tuple[int, Exception]]:
        """Each row whose value is not of the type, in order, and why: halves are cast until it stands alone."""
        offsets = self._offsets
        waiting = [(0, len(column))]
        while waiting:
            low, high = waiting.pop()
            try:
                _, offsets = _as_kind(column.slice(low, high - low), self._kind, offsets)
            except _NOT_OF_TYPE as fault:
                if high - low == 1:
                    yield low, fault
                else:
                    middle = (low + high) // 2
                    waiting += [(middle, high), (low, middle)]

    def _said(self, value: pa.Scalar, fault: Exception) -> str:
        return "***, which is not one" if self._is_personal else f"{_shown(value)}, which is not one ({fault})"


def _plain(column: pa.Array) -> pa.Array:
    """The values of a column without an encoding of their own; nested ones as JSON text."""
    is_ = pa.types
    if is_.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_.is_nested(column.type):
        documents = (value if value is None else json.dumps(value, default=str) for value in column.to_pylist())
        return pa.array(documents, pa.string())
    if is_.is_large_string(column.type) or is_.is_string_view(column.type):
        return pc.cast(column, pa.string())
    return column


def _as_kind(column: pa.Array, kind: str, offsets: bool | None) -> tuple[pa.Array, bool | None]:
    """A column as its declared type, and whether its timestamps have offsets, if that is known by now.

    Raises:
        pa.ArrowInvalid: A value is not of the type, or would not stay what it is.
        pa.ArrowNotImplementedError: No value of the column's own type is.
    """
    if kind == "text":
        return _as_text(column), offsets
    if not pa.types.is_string(column.type):
        return _as_typed(column, kind), offsets
    column = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    if kind == "timestamp":
        return _as_timestamp(column, offsets)
    if kind == "bigint":
        return _as_bigint(column), offsets
    array = pc.cast(column, ARROW_TYPES[kind])
    if kind == "double":
        _refuse_unless(pc.is_finite(array), "it is not finite, or too large for a double")
    return array, offsets


def _as_text(column: pa.Array) -> pa.Array:
    texts = pc.cast(column, pa.string())
    if pa.types.is_string(column.type):
        texts.validate(full=True)  # that it is UTF-8, on which nobody has insisted so far
    _refuse_unless(pc.invert(pc.match_substring(texts, "\0")), "a NUL character, which no text column can hold")
    return texts


def _as_typed(column: pa.Array, kind: str) -> pa.Array:
    """What has a type already. Arrow refuses to cut or overflow most of it; what else would be lost is refused here."""
    is_ = pa.types
    is_number = is_.is_integer(column.type) or is_.is_floating(column.type)
    if (kind == "timestamp" and is_number) or (
        kind == "bigint" and (is_.is_temporal(column.type) or is_.is_duration(column.type))
    ):
        raise pa.ArrowInvalid(f"a {column.type} says no {kind}: its unit and its beginning are unknown")
    array = pc.cast(column, options=pc.CastOptions(ARROW_TYPES[kind], allow_time_truncate=True))
    if kind == "boolean" and is_number:
        _refuse_unless(pc.is_in(column.drop_null(), pa.array([0, 1]).cast(column.type)), "only 0 and 1 are booleans")
    if kind == "date" and is_.is_timestamp(column.type):
        _refuse_unless(pc.equal(pc.cast(array, column.type), column), "it has a time of day, which would be lost")
    return array


def _as_bigint(texts: pa.Array) -> pa.Array:
    _refuse_unless(pc.match_substring_regex(texts, "^[0-9.eE+-]+$"), "not a number of decimal digits")
    try:
        return pc.cast(texts, pa.int64())
    except pa.ArrowInvalid:
        return pc.cast(pc.cast(texts, _EXACT), pa.int64())


def _as_timestamp(texts: pa.Array, offsets: bool | None) -> tuple[pa.Array, bool | None]:
    # Of a date alone the last two digits would be an offset.
    have = pc.and_(pc.match_substring_regex(texts, _HAS_OFFSET), pc.match_substring_regex(texts, _HAS_TIME))
    known = have.drop_null()
    if not len(known):
        return pc.cast(texts, ARROW_TYPES["timestamp"]), offsets
    offsets = known[0].as_py() if offsets is None else offsets
    _refuse_unless(
        pc.equal(have, offsets),
        "other values of this column have an offset from UTC" if offsets else "others have none",
    )
    texts = pc.replace_substring_regex(texts, r"(\.[0-9]{6})[0-9]+", r"\1")
    return pc.cast(pc.cast(texts, _UTC) if offsets else texts, ARROW_TYPES["timestamp"]), offsets


def _refuse_unless(is_right: pa.Array, reason: str) -> None:
    if not pc.all(is_right, min_count=0).as_py():
        raise pa.ArrowInvalid(reason)


def _shown(value: pa.Scalar) -> str:
    try:
        shown = repr(value.as_py())
    except UnicodeDecodeError:
        shown = repr(value.as_buffer().to_pybytes())
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"


@contextmanager
def _faults_named(uri: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise LandingError(
            f"{uri}: cannot be read: {fault}; see the landing gate's verdict, and land it again"
        ) from fault
