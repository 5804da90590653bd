"""A row's place in its landing: from `_row` to the object and to the position at which the record stands there.

The rows of a landing are counted over its parts in order, from 0, as the loader counts them. What names a place depends
on the format:

- json: the document (line of the part, from 1), and byte offset and length of the record within the decompressed part
- ndjson: the line (from 1), and byte offset and length of the record within the file, decompressed if it is gzip
- csv: the first and the last line of the record (from 1; a field in quotes may hold line ends)
- parquet: the row of the file, the row group, and the row in it (all from 0)
- xlsx: the sheet, and its row (from 1)
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import openpyxl
import pyarrow.parquet as pq

from include.landing.delimited import CsvOptions, csv_rows, encoding_of
from include.landing.json_records import record_spans
from include.landing.manifest import LandingError, Manifest, Part
from include.landing.tables import Row, TextTable, Unreadable, text_table
from include.landing.workbook import sheet_rows

if TYPE_CHECKING:
    from include.landing.store import LandingStore

Transform = Callable[[Any], Iterable[Mapping[str, object]]]
_CSV = CsvOptions()
_GZIP_MAGIC = b"\x1f\x8b"
_BATCH_ROWS = 1024


@dataclass(frozen=True)
class Place:
    """Where one row of a landing stands, and what stands there.

    Attributes:
        part: The part that holds it.
        row: Its position in the part, from 0.
        where: What names the position, by format: see the module.
        record: The bytes of the record as they stand there: JSON as it is in the part, CSV with its line ends. None for
            parquet and xlsx, whose rows are no run of bytes.
        fields: Of tabular formats, column name as the file has it -> value as text, None for nothing.
        asked: What the request was that the document answers, where there were several.
    """

    part: Part
    row: int
    where: Mapping[str, int | str]
    record: bytes | None = None
    fields: Mapping[str, str | None] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)


def locate(
    store: LandingStore,
    manifest: Manifest,
    row: int,
    *,
    part: tuple[str, int] | None = None,
    records: Sequence[str] = (),
    csv_options: CsvOptions = _CSV,
    sheet: str | None = None,
    transform: Transform | None = None,
) -> Place:
    """Find the place of a row in its landing.

    Memory is bounded by a document or a batch of rows; the part lies on disk meanwhile.

    Args:
        store: Where the landing lies.
        manifest: The landing.
        row: The row's position in the landing, from 0: `_row` in raw and behind.
        part: Name and first row of the part that holds it, as `ops.landing_part` says; without it, the parts before
            are counted through.
        records: Keys that lead to the records in a JSON document.
        csv_options: How CSV files are written.
        sheet: The sheet of a workbook; the first one by default.
        transform: What made rows of JSON records at the load, where something did: record -> its rows.

    Raises:
        LandingError: The landing does not hold so many rows, or cannot be read.
    """
    if row < 0:
        raise LandingError(
            f"{manifest.uri}: row {row} stands nowhere in it: the landing is complete and lacks the record, which is "
            "what raw says of it (_absent_since)"
        )
    rest = row
    parts = [one for one in manifest.parts if part is None or one.name >= part[0]]
    if part is not None:
        rest -= part[1]
    for one in parts:
        read = _TABULAR.get(manifest.format)
        with store.open_part(manifest, one) as file:
            try:
                found = (
                    read(file, rest, csv_options, sheet)
                    if read
                    else _in_documents(file, rest, manifest, one, records, transform)
                )
            except (ValueError, OSError, LookupError) as fault:
                raise LandingError(f"{manifest.uri}{one.name}: row {rest} of it cannot be found: {fault}") from fault
        if isinstance(found, int):
            rest -= found
            continue
        return Place(part=one, row=rest, **found)
    raise LandingError(f"{manifest.uri}: it holds no row {row}: compare ops.landing with the manifest")


# Each reader gives either what `Place` wants to know, or how many rows the part has if the row is not among them.
_Found = dict[str, Any] | int


def _in_documents(
    file: BinaryIO, row: int, manifest: Manifest, part: Part, path: Sequence[str], transform: Transform | None
) -> _Found:
    before = 0
    for line, offset, document in _documents(file, manifest, part):
        for begin, end in _spans(document, path, is_line=manifest.format == "ndjson"):
            record = document[begin:end]
            rows = _rows_made(record, transform)
            if row < before + rows:
                where = {"document" if manifest.format == "json" else "line": line}
                where |= {"byte_offset": offset + begin, "byte_length": end - begin}
                return {"where": where, "record": record, "asked": _asked(manifest, part, line)}
            before += rows
    return before


def _spans(document: bytes, path: Sequence[str], *, is_line: bool) -> list[tuple[int, int]]:
    """Where the records of a document stand; a line that is no JSON counts for one, as at the load."""
    try:
        return list(record_spans(document, path))
    except LandingError:
        if not is_line:
            raise
        return [(0, len(document.rstrip(b" \t\r")))]


def _rows_made(record: bytes, transform: Transform | None) -> int:
    """How many rows the load makes of a record; one that cannot be given to `transform` is a row, in quarantine."""
    if transform is None:
        return 1
    try:
        given = json.loads(record)
    except (ValueError, RecursionError):
        return 1
    return sum(1 for _ in transform(given)) if isinstance(given, dict) else 1


def _documents(file: BinaryIO, manifest: Manifest, part: Part) -> Iterator[tuple[int, int, bytes]]:
    """Number of the line, from 1, offset of the document in the part, and the document, as the store gives them."""
    is_ndjson = manifest.format == "ndjson"
    is_gzip = is_ndjson and file.read(2) == _GZIP_MAGIC
    file.seek(0)
    content = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if is_gzip else file
    offset = 0
    for number, line in enumerate(content, start=1):
        document, begin = line.rstrip(b"\n"), offset
        offset += len(line)
        if (is_ndjson and number == 1) or part.origin is not None:
            kept = document.removeprefix(codecs.BOM_UTF8)
            document, begin = kept, begin + len(document) - len(kept)
        if is_ndjson and not document.rstrip(b" \t\r"):
            continue
        yield number, begin, document


def _asked(manifest: Manifest, part: Part, line: int) -> Mapping[str, str]:
    """The variables of the request that a document answers."""
    before = 0
    for one in manifest.parts:
        if one.name == part.name:
            break
        before += one.records or 0
    document = before + line - 1
    for asked in manifest.asked:
        if document < asked.documents:
            return asked.values
        document -= asked.documents
    return {}


def _in_csv(file: BinaryIO, row: int, options: CsvOptions, _sheet: str | None) -> _Found:
    table = text_table(csv_rows(file, options))
    found, rows = _at(table, row)
    if found is None:
        return rows
    line, fields = found
    following = next(table.rows, None)
    encoding = encoding_of(file, options)
    file.seek(0)
    text = io.TextIOWrapper(file, encoding, newline="")
    lines = list(islice(text, line - 1, following[0] - 1 if following else None))
    text.detach()
    while not lines[-1].strip("\r\n"):  # empty lines are no rows
        lines.pop()
    file.seek(0)
    return {
        "where": {"first_line": line, "last_line": line + len(lines) - 1},
        "record": "".join(lines).encode(_without_mark(encoding, file.read(1))),
        "fields": _named(table, fields),
    }


def _without_mark(encoding: str, first: bytes) -> str:
    """The encoding that writes no byte order mark; of the two orders, the one that the file's first byte tells."""
    if encoding in ("utf-16", "utf-32"):
        return f"{encoding}-be" if first in (b"\xfe", b"\x00") else f"{encoding}-le"
    return encoding.removesuffix("-sig")


def _in_workbook(file: BinaryIO, row: int, _options: CsvOptions, sheet: str | None) -> _Found:
    table = text_table(sheet_rows(file, sheet))
    found, rows = _at(table, row)
    if found is None:
        return rows
    where = {"sheet": sheet or _first_sheet(file), "sheet_row": found[0]}
    return {"where": where, "fields": _named(table, found[1])}


def _at(table: TextTable, row: int) -> tuple[Row | None, int]:
    """A row of a table, or None and how many it has."""
    rows = 0
    for rows, one in enumerate(table.rows, start=1):
        if rows > row:
            return one, rows
    return None, rows


def _named(table: TextTable, fields: Sequence[str | None] | Unreadable) -> dict[str, str | None]:
    """Column -> value; of a row that could not be read, what stands there."""
    if isinstance(fields, Unreadable):
        return {"unreadable": fields.text}
    return {name: value for name, value in zip(table.header, fields, strict=True) if name}


def _first_sheet(file: BinaryIO) -> str:
    file.seek(0)
    return str(openpyxl.load_workbook(file, read_only=True).worksheets[0].title)


def _in_parquet(file: BinaryIO, row: int, _options: CsvOptions, _sheet: str | None) -> _Found:
    parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20, coerce_int96_timestamp_unit="us")
    rest = row
    for group in range(parquet.metadata.num_row_groups):
        count = parquet.metadata.row_group(group).num_rows
        if rest >= count:
            rest -= count
            continue
        at = rest
        for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], use_threads=False):
            if at < batch.num_rows:
                values = {
                    name: None if value is None else str(value)
                    for name, value in batch.slice(at, 1).to_pylist()[0].items()
                }
                return {"where": {"row": row, "row_group": group, "row_in_group": rest}, "fields": values}
            at -= batch.num_rows
    return int(parquet.metadata.num_rows)


_TABULAR: Mapping[str, Callable[[BinaryIO, int, CsvOptions, str | None], _Found]] = {
    "csv": _in_csv,
    "xlsx": _in_workbook,
    "parquet": _in_parquet,
}
