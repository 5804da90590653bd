"""One person's records in landed content, made anonymous; of everybody else's not a byte changes.

In a record of the person, each field of personal data becomes `erased` (where it is no text, nothing), and the one that
tells persons apart a pseudonym. Record and row stay, with all that is not personal, so that positions, counts and sums
do. In Parquet, which has no bytes of a record, everybody else's values stay.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from include.landing.delimited import CsvOptions
from include.landing.json_records import record_spans, replaced
from include.landing.manifest import LandingError
from include.landing.needles import Needles
from include.landing.tables import Unreadable, name_columns
from include.landing.workbook import sheet_rows

ERASED = "erased"
"""what stands in the place of a text"""

_GZIP_MAGIC = b"\x1f\x8b"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BATCH_ROWS = 65_536
_CSV = CsvOptions()


@dataclass(frozen=True)
class Shape:
    """How an entity's content is to be read.

    Attributes:
        format: json (a document a line), document (the whole is one), ndjson, csv, parquet or xlsx.
        person: Field that tells persons apart.
        personal: Fields of personal data -> whether they are declared as text.
        records: Keys that lead to the records in a document.
        csv_options: How CSV files are written.
        sheet: The sheet of a workbook; the first one by default.
    """

    format: str
    person: str
    personal: Mapping[str, bool]
    records: Sequence[str] = ()
    csv_options: CsvOptions = _CSV
    sheet: str | None = None

    def is_of(self, record: Mapping[str, str | None], spellings: frozenset[str]) -> bool:
        """Whether a record is of the person that is written in one of these ways."""
        value = record.get(self.person)
        return value is not None and value.strip() in spellings


@dataclass(frozen=True)
class Erasing:
    """What is to be done.

    Attributes:
        spellings: What the person field holds in records of the person, without white space around it.
        pseudonym: What it is to hold.
        needles: Values of the person, for text that cannot be read as records.
    """

    spellings: frozenset[str]
    pseudonym: str
    needles: Needles = field(default_factory=lambda: Needles(()))

    def scrubbed(self, text: str) -> tuple[str, int]:
        """Unreadable text without the person's values, if it is about the person at all."""
        person = Needles(self.spellings - {self.pseudonym})
        if not person.found(text):
            return text, 0
        return self.needles.replaced(person.replaced(text, self.pseudonym)[0], ERASED)[0], 1


@dataclass(frozen=True)
class Found:
    """A record, or a run of text that is none.

    Attributes:
        personal: Its fields of personal data, as text; nothing of unreadable text.
        text: All of it.
    """

    personal: Mapping[str, str | None]
    text: str


def read(file: BinaryIO, shape: Shape) -> Iterator[Found]:
    """All records of a content, in their order.

    Args:
        file: Seekable; JSON documents decompressed.
        shape: How it is to be read.
    """
    file.seek(0)
    match shape.format:
        case "document":
            yield from _found_in_document(file.read(), shape)
        case "json" | "ndjson":
            with _plain(file) as content:
                for line in content:
                    yield from _found_in_document(line, shape)
        case "csv":
            for _, row, names, lines in _csv_rows(file, shape.csv_options):
                yield Found(
                    {name: row[names[name.lower()]] for name in shape.personal if name.lower() in names} if row else {},
                    lines,
                )
        case "parquet":
            for batch in pq.ParquetFile(file, pre_buffer=False).iter_batches(_BATCH_ROWS, use_threads=False):
                names = name_columns(batch.schema.names)
                for values in batch.to_pylist():
                    texts = [None if value is None else str(value) for value in values.values()]
                    yield Found(_named(texts, names, shape), "\n".join(filter(None, texts)))
        case _:
            names = {}
            for number, (_, cells) in enumerate(sheet_rows(file, shape.sheet)):
                if isinstance(cells, Unreadable):
                    yield Found({}, cells.text)
                elif number == 0:
                    names = name_columns([name or "" for name in cells])
                else:
                    yield Found(_named(cells, names, shape), "\n".join(filter(None, cells)))


def texts(file: BinaryIO, format: str, shape: Shape | None = None) -> Iterator[str]:
    """All text of a content, to search in; of one without a shape, line by line or column by column.

    Args:
        file: Seekable; JSON documents decompressed.
        format: How it is to be read.
        shape: The same in full, where its source has persons.
    """
    file.seek(0)
    if shape is not None:
        yield from (found.text for found in read(file, shape))
    elif format == "parquet":
        parquet = pq.ParquetFile(file, pre_buffer=False)
        columns = [
            field.name for field in parquet.schema_arrow if _is_text(field.type) or pa.types.is_nested(field.type)
        ]
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False) if columns else ():
            for column in batch.columns:
                values = column.to_pylist() if pa.types.is_nested(column.type) else column.unique().to_pylist()
                yield "\n".join(str(value) for value in values if value is not None)
    elif format == "xlsx":
        for _, cells in sheet_rows(file, None):
            yield cells.text if isinstance(cells, Unreadable) else "\n".join(filter(None, cells))
    else:
        with _plain(file) as content:
            yield from (line.decode(errors="replace") for line in content)


def rewrite(file: BinaryIO, target: IO[bytes], shape: Shape, erasing: Erasing) -> int:
    """Write a content anew, without the person.

    Args:
        file: Seekable; JSON documents decompressed.
        target: Where to; JSON documents are not compressed, files are as they were.
        shape: How it is to be read.
        erasing: Whom to erase.

    Returns:
        Records, and runs of unreadable text, that were changed.

    Raises:
        LandingError: A workbook holds the person: it cannot be written again without losing formats and formulas.
    """
    file.seek(0)
    match shape.format:
        case "json" | "ndjson" | "document":
            return _rewrite_documents(file, target, shape, erasing)
        case "csv":
            return _rewrite_csv(file, target, shape, erasing)
        case "parquet":
            return _rewrite_parquet(file, target, shape, erasing)
    if any(shape.is_of(found.personal, erasing.spellings) for found in read(file, shape)):
        raise LandingError(
            "a workbook (xlsx) holds the person, and Sluice does not write workbooks: have it dropped again without "
            "the person, remove its landing by hand, and run this again"
        )
    file.seek(0)
    while chunk := file.read(1024 * 1024):
        target.write(chunk)
    return 0


def _named(row: Sequence[str | None], names: Mapping[str, int], shape: Shape) -> dict[str, str | None]:
    return {name: row[names[name.lower()]] for name in shape.personal if name.lower() in names}


# --- JSON -------------------------------------------------------------------------------------------------------------


@contextmanager
def _plain(file: BinaryIO) -> Iterator[IO[bytes]]:
    """The content, decompressed if it is gzip."""
    is_gzip = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    yield cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if is_gzip else file


def _split(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Byte order mark, document, end of a line."""
    mark = codecs.BOM_UTF8 if line.startswith(codecs.BOM_UTF8) else b""
    document = line[len(mark) :].rstrip(b"\r\n")
    return mark, document, line[len(mark) + len(document) :]


def _found_in_document(line: bytes, shape: Shape) -> Iterator[Found]:
    _, document, _ = _split(line)
    try:
        spans = list(record_spans(document, shape.records)) if document.strip() else []
    except LandingError:
        yield Found({}, document.decode(errors="replace"))
        return
    at = 0
    for begin, end in spans:
        if around := document[at:begin].strip(b" ,[]{}\t"):
            yield Found({}, around.decode())
        at = end
        record = document[begin:end]
        yield Found(_members(record, shape), _unescaped(record))
    if around := document[at:].strip(b" ,[]{}\t"):
        yield Found({}, around.decode())


def _members(record: bytes, shape: Shape) -> dict[str, str | None]:
    """The members of personal data, as text."""
    given = json.loads(record, parse_int=str, parse_float=str)
    if not isinstance(given, dict):
        return {}
    return {name: _as_text(given[name]) for name in shape.personal if name in given}


def _as_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _unescaped(record: bytes) -> str:
    """All names and texts of a record as they read, where escapes stand in it; else the record."""
    if b"\\" not in record:
        return record.decode()
    return "\n".join(_words(json.loads(record, parse_int=str, parse_float=str)))


def _words(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from _words(one)
    elif isinstance(value, list):
        for one in value:
            yield from _words(one)
    elif isinstance(value, str):
        yield value


def _rewrite_documents(file: BinaryIO, target: IO[bytes], shape: Shape, erasing: Erasing) -> int:
    values = {name: json.dumps(ERASED).encode() if is_text else b"null" for name, is_text in shape.personal.items()} | {
        shape.person: json.dumps(erasing.pseudonym).encode()
    }
    quick = [spelling.encode() for spelling in erasing.spellings]
    changed = 0
    is_gzip = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    with _plain(file) as content, _compressed(target, is_gzip=is_gzip) as out:
        for line in content if shape.format != "document" else [content.read()]:
            mark, document, end = _split(line)
            if b"\\" in document or any(one in document for one in quick):
                document, count = _rewritten(document, shape, erasing, values)
                changed += count
            out.write(mark + document + end)
    return changed


@contextmanager
def _compressed(target: IO[bytes], *, is_gzip: bool) -> Iterator[IO[bytes]]:
    if not is_gzip:
        yield target
        return
    with gzip.GzipFile(fileobj=target, mode="wb", mtime=0) as file:
        yield cast("IO[bytes]", file)


def _rewritten(document: bytes, shape: Shape, erasing: Erasing, values: Mapping[str, bytes]) -> tuple[bytes, int]:
    try:
        spans = list(record_spans(document, shape.records)) if document.strip() else []
    except LandingError:
        text, count = erasing.scrubbed(document.decode(errors="surrogateescape"))
        return text.encode(errors="surrogateescape"), count
    made, at, count = [], 0, 0
    for begin, end in spans:
        record = document[begin:end]
        if not record.startswith(b"{"):
            text, changed = erasing.scrubbed(record.decode())
            made += [document[at:begin], text.encode()]
            at, count = end, count + changed
        elif shape.is_of(_members(record, shape), erasing.spellings):
            made += [document[at:begin], new := replaced(record, values)]
            at = end
            count += new != record  # it may have been erased before
    return b"".join([*made, document[at:]]), count


# --- CSV --------------------------------------------------------------------------------------------------------------


def _csv_rows(
    file: BinaryIO, options: CsvOptions
) -> Iterator[tuple[str, Sequence[str] | None, Mapping[str, int], str]]:
    """Of each row behind the header its encoding, fields (None where it cannot be read), all names, and its lines.

    The header comes first, as a row that cannot be read.
    """
    file.seek(0)
    head = file.read(4)
    mark, encoding = next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", options.encoding))
    file.seek(len(mark))
    text = io.TextIOWrapper(file, encoding, errors="surrogateescape" if encoding == "utf-8" else "strict", newline="")
    seen: list[str] = []

    def lines() -> Iterator[str]:
        for line in text:
            seen.append(line)
            yield line

    names: dict[str, int] = {}
    width = -1
    reader = csv.reader(lines(), delimiter=options.delimiter, quotechar=options.quote, strict=True)
    try:
        while True:
            try:
                row = next(reader, None)
            except csv.Error:
                row = []
            if row is None:
                break
            if row and width < 0:
                width, names = len(row), name_columns(row)
                yield encoding, None, names, "".join(seen)
            else:
                yield encoding, row if len(row) == width else None, names, "".join(seen)
            seen.clear()
        if seen:
            yield encoding, None, names, "".join(seen)
    finally:
        if not file.closed:
            text.detach()


def _rewrite_csv(file: BinaryIO, target: IO[bytes], shape: Shape, erasing: Erasing) -> int:
    head = file.read(4)
    target.write(next((mark for mark, _ in _MARKS if head.startswith(mark)), b""))
    options, count, is_header = shape.csv_options, 0, True
    for encoding, row, names, lines in _csv_rows(file, options):
        written = lines
        if row is None and not is_header:
            written, changed = erasing.scrubbed(lines)
            count += changed
        elif row is not None and shape.is_of(_named(row, names, shape), erasing.spellings):
            cells = list(row)
            for name, is_text in shape.personal.items():
                if name.lower() in names:
                    new = erasing.pseudonym if name == shape.person else ERASED if is_text else ""
                    cells[names[name.lower()]] = new
            made = io.StringIO()
            csv.writer(
                made,
                delimiter=options.delimiter,
                quotechar=options.quote,
                lineterminator=lines[len(lines.rstrip("\r\n")) :],
            ).writerow(cells)
            written = made.getvalue()
            count += written != lines
        is_header = False
        target.write(written.encode(encoding, errors="surrogateescape" if encoding == "utf-8" else "strict"))
    return count


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _rewrite_parquet(file: BinaryIO, target: IO[bytes], shape: Shape, erasing: Erasing) -> int:
    parquet = pq.ParquetFile(file, pre_buffer=False)
    schema, count = parquet.schema_arrow, 0
    names = name_columns(schema.names)
    personal = {names[name.lower()]: name for name in shape.personal if name.lower() in names}
    # a text takes the place of a number only in a column of texts
    for position, name in personal.items():
        if shape.personal[name] and not _is_text(schema.field(position).type):
            schema = schema.set(position, schema.field(position).with_type(pa.string()))
    with pq.ParquetWriter(target, schema) as writer:
        for group in range(parquet.metadata.num_row_groups):
            table = parquet.read_row_group(group, use_threads=False)
            rows = (
                [
                    shape.is_of({shape.person: None if value is None else str(value)}, erasing.spellings)
                    for value in table.column(names[shape.person.lower()]).to_pylist()
                ]
                if shape.person.lower() in names
                else []
            )
            changed = [False] * len(rows)
            for position, name in personal.items():
                column, kind = table.column(position), schema.field(position).type
                new = erasing.pseudonym if name == shape.person else ERASED if shape.personal[name] else None
                if column.type != kind:
                    column = pa.chunked_array([[None if one is None else str(one) for one in column.to_pylist()]], kind)
                if any(rows):
                    kept = column.to_pylist()
                    made = [new if is_person else one for one, is_person in zip(kept, rows, strict=True)]
                    changed = [is_so or one != was for is_so, one, was in zip(changed, made, kept, strict=True)]
                    column = pa.chunked_array([pa.array(made, kind)], kind)
                table = table.set_column(position, schema.field(position), column)
            writer.write_table(table.cast(schema))
            count += sum(changed)
    return count


def _is_text(kind: pa.DataType) -> bool:
    is_ = pa.types
    return bool(is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind))
