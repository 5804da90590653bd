"""The rows of a landing of files, as a stream of Arrow batches with the types that the source declares."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from include.landing.manifest import LandingError, Manifest
from include.landing.profile import csv_lines

if TYPE_CHECKING:
    from include.landing.store import LandingStore

FieldType = Literal["bigint", "double", "text", "timestamp", "date", "boolean"]
NewColumns = Literal["evolve", "freeze", "discard"]

LANDING_ID = "_landing_id"
ROW = "_row"

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "bigint": pa.int64(),
    "double": pa.float64(),
    "text": pa.string(),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "boolean": pa.bool_(),
}

# Text that does not become its type at once may by way of another: '1.0' is an integer by way of an exact decimal,
# '2024-01-01T00:00:00Z' a timestamp by way of one with a zone.
_TEXT_BY_WAY_OF: Mapping[str, pa.DataType] = {
    "bigint": pa.decimal128(38, 10),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def iter_batches(
    store: LandingStore,
    manifest: Manifest,
    *,
    fields: Mapping[str, str],
    new_columns: NewColumns,
    batch_rows: int = 65_536,
) -> pa.RecordBatchReader:
    """Read all parts of a landing of Parquet or CSV files as one stream.

    Memory stays flat whatever the landing's size: the parts lie on disk meanwhile, and go when the reader goes.
    Timestamps are naive; one with a zone becomes UTC, nanoseconds are cut to microseconds.
    In a CSV file everything is text to begin with: a text column keeps each field as it stands ("NA", "N/A" and
    nothing at all are texts), and in another column a field that is empty and not quoted is null.

    Args:
        store: Where the landing lies.
        manifest: The landing.
        fields: Declared columns, lower-case name -> bigint, double, text, timestamp, date or boolean. One that a part
            does not have is null (whether it may be missing is the gate's question).
        new_columns: What becomes of columns that are not declared: `evolve` keeps them, with the type of this
            vocabulary that holds theirs (text in CSV, JSON text for nested ones), `freeze` refuses them, `discard`
            drops them.
        batch_rows: Most rows in a batch.

    Returns:
        A reader of the declared columns in their order, the new ones in the order of the files, then `_landing_id`
        (int64) and `_row` (int64, 0-based position over the parts in order).

    Raises:
        ValueError: A declared type or the contract is unknown.
        LandingError: A new column under `freeze`; or, while reading, a value that is not of its declared type (the
            message names part, column, row and value), or a file that cannot be read.
    """
    if unknown := sorted(set(fields.values()) - set(ARROW_TYPES)):
        raise ValueError(f"type {unknown[0]!r} is not one of {', '.join(ARROW_TYPES)}")
    if new_columns not in ("evolve", "freeze", "discard"):
        raise ValueError(f"new_columns {new_columns!r} is not one of evolve, freeze, discard")
    if manifest.format == "json":
        raise LandingError(f"{manifest.uri} holds JSON documents, not rows: use LandingStore.iter_documents")
    with ExitStack() as stack:
        parts = []
        for part in manifest.parts:
            file = stack.enter_context(store.open_part(manifest, part))
            with _faults_named(f"{manifest.uri}{part.name}"):
                parts.append(_OPENERS[manifest.format](f"{manifest.uri}{part.name}", file, batch_rows))
        types = _all_types(parts, fields, new_columns)
        schema = pa.schema(
            [(name, ARROW_TYPES[kind]) for name, kind in types.items()] + [(LANDING_ID, pa.int64()), (ROW, pa.int64())]
        )
        batches = _batches(stack.pop_all(), parts, types, schema, manifest.landing_id)
    return pa.RecordBatchReader.from_batches(schema, batches)


@dataclass(frozen=True)
class _Rows:
    """The rows of one part: its columns (lower-case name -> own type), and how to read some (name -> wanted type)."""

    uri: str
    types: Mapping[str, str]
    read: Callable[[Mapping[str, str]], Iterator[pa.RecordBatch]]


def _open_parquet(uri: str, file: BinaryIO, batch_rows: int) -> _Rows:
    # By default Arrow fetches whole row groups ahead, which for a taxi month is a third of the file at once.
    parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
    schema = parquet.schema_arrow
    names = _lower_names(uri, schema.names)

    def read(columns: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        chosen = [names[column] for column in columns]
        for batch in parquet.iter_batches(batch_rows, columns=chosen, use_threads=False):
            yield batch.select(chosen).rename_columns(list(columns))

    return _Rows(uri, {name: _own_type(schema.field(original).type) for name, original in names.items()}, read)


def _open_csv(uri: str, file: BinaryIO, batch_rows: int) -> _Rows:
    rows = csv.reader(csv_lines(file), strict=True)
    header = next(filter(None, rows), [])
    names = _lower_names(uri, header)
    empty = next(filter(None, rows), None) is None  # of which Arrow would complain
    file.seek(0)

    def read(columns: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        if empty:
            return
        chosen = [names[column] for column in columns]
        batches = pacsv.open_csv(
            file,
            read_options=pacsv.ReadOptions(use_threads=False),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                include_columns=chosen,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        for batch in batches:
            arrays = [
                pc.fill_null(array, "") if kind == "text" else array
                for array, kind in zip(batch.columns, columns.values(), strict=True)
            ]
            whole = pa.RecordBatch.from_arrays(arrays, names=list(columns))
            for start in range(0, whole.num_rows, batch_rows):
                yield whole.slice(start, batch_rows)

    return _Rows(uri, dict.fromkeys(names, "text"), read)


_OPENERS: Mapping[str, Callable[[str, BinaryIO, int], _Rows]] = {"csv": _open_csv, "parquet": _open_parquet}


def _lower_names(uri: str, originals: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for original in originals:
        if original.lower() in (*names, LANDING_ID, ROW):
            raise LandingError(
                f"{uri}: column {original!r} is there twice, but for case, or has a name of Sluice's own"
            )
        names[original.lower()] = original
    return names


def _own_type(kind: pa.DataType) -> str:
    """The type of the vocabulary that holds an Arrow type; text holds all."""
    is_ = pa.types
    if is_.is_dictionary(kind):
        return _own_type(kind.value_type)
    tests: list[tuple[str, Callable[[pa.DataType], bool]]] = [
        ("bigint", is_.is_integer),
        ("double", is_.is_floating),
        ("double", is_.is_decimal),
        ("timestamp", is_.is_timestamp),
        ("date", is_.is_date),
        ("boolean", is_.is_boolean),
    ]
    return next((name for name, test in tests if test(kind)), "text")


def _all_types(parts: Sequence[_Rows], fields: Mapping[str, str], new_columns: NewColumns) -> dict[str, str]:
    """The columns of the stream: declared ones as declared, new ones by contract."""
    types = dict(fields)
    for part in parts:
        for name, kind in part.types.items():
            if name in fields or new_columns == "discard":
                continue
            if new_columns == "freeze":
                raise LandingError(
                    f"{part.uri}: column {name!r} is new, and the source's contract freezes its columns: "
                    "add it to the fields in source.yml, or let new_columns be evolve or discard"
                )
            # Parts that differ meet in what holds both.
            both = {kind, types.get(name, kind)}
            types[name] = kind if len(both) == 1 else "double" if both == {"bigint", "double"} else "text"
    return types


def _batches(
    stack: ExitStack,
    parts: Sequence[_Rows],
    types: Mapping[str, str],
    schema: pa.Schema,
    landing_id: int,
) -> Iterator[pa.RecordBatch]:
    position = 0
    with stack:
        for part in parts:
            begin = position
            with _faults_named(part.uri):
                for batch in part.read({name: kind for name, kind in types.items() if name in part.types}):
                    rows = batch.num_rows
                    columns = [
                        _cast(batch.column(name), kind, f"{part.uri}: column {name!r}", position - begin)
                        if name in part.types
                        else pa.nulls(rows, ARROW_TYPES[kind])
                        for name, kind in types.items()
                    ]
                    columns.append(pa.repeat(pa.scalar(landing_id, pa.int64()), rows))
                    columns.append(pa.array(range(position, position + rows), pa.int64()))
                    yield pa.RecordBatch.from_arrays(columns, schema=schema)
                    position += rows


def _cast(column: pa.Array, kind: str, what: str, first_row: int) -> pa.Array:
    """A column as its declared type, or an error that names the first value that is not of it."""
    if pa.types.is_nested(column.type):
        documents = (value if value is None else json.dumps(value, default=str) for value in column.to_pylist())
        column = pa.array(documents, pa.string())
    try:
        return _cast_or_raise(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
        low, high = 0, len(column)  # the first bad value lies in [low, high)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                _cast_or_raise(column.slice(low, middle - low), kind)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                high = middle
            else:
                low = middle
        raise LandingError(
            f"{what} is declared {kind}, and its row {first_row + low} (from 0) holds {column[low].as_py()!r}, "
            f"which is not one ({fault}): correct the field's type in source.yml, or have the file corrected"
        ) from None


def _cast_or_raise(column: pa.Array, kind: str) -> pa.Array:
    # Nothing is lost in silence but digits below the microsecond: Arrow refuses to cut or overflow anything else.
    options = pc.CastOptions(ARROW_TYPES[kind], allow_time_truncate=True)
    if not pa.types.is_string(column.type) or kind == "text":
        return pc.cast(column, options=options)
    column = pc.utf8_trim_whitespace(column)
    try:
        return pc.cast(column, options=options)
    except pa.ArrowInvalid:
        if kind not in _TEXT_BY_WAY_OF:
            raise
        return pc.cast(pc.cast(column, _TEXT_BY_WAY_OF[kind]), options=options)


@contextmanager
def _faults_named(uri: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, csv.Error, ValueError) as fault:
        raise LandingError(
            f"{uri}: cannot be read: {fault}; see the landing gate's verdict, and land it again"
        ) from fault
