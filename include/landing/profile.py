"""A streamed look at a landing, for the gate of the landing: one row a part, before anything is loaded."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from include.landing.delimited import CsvOptions, csv_rows
from include.landing.json_records import iter_records
from include.landing.manifest import Format, LandingError, Manifest, Part
from include.landing.tables import Row, Unreadable, name_columns, text_table

if TYPE_CHECKING:
    import pandas as pd

    from include.landing.store import LandingStore

log = logging.getLogger(__name__)

NO_PART = "(none)"

_EXCERPT_CHARACTERS = 160
_FAULT_CHARACTERS = 400
_PARQUET_MAGIC = b"PAR1"
_NAMES = {"csv": "CSV file", "xlsx": "sheet"}
_CSV = CsvOptions()


def profile(
    store: LandingStore,
    manifest: Manifest,
    *,
    required: Sequence[str] = (),
    optional: Sequence[str] = (),
    records: Sequence[str] = (),
    csv_options: CsvOptions = _CSV,
    sheet: str | None = None,
    pii: Collection[str] = (),
    quarantine_at_most: float = 0.0,
) -> pd.DataFrame:
    """Look at every part of a landing as far as it takes to say whether it can be loaded.

    Parquet: the footer, and every row group (decoding them all costs a third of a second a million taxi trips).
    CSV and xlsx: every row, as the loader reads them (`include.landing.delimited`, `include.landing.workbook`).
    JSON and NDJSON: every document (RFC 8259, an object, UTF-8). No file is held in memory.

    Args:
        store: Where the landing lies.
        manifest: The landing.
        required: Columns that must be there (of JSON documents: top-level members, in each document).
        optional: Columns that may be there. All others are new. Names of columns compare without regard to case
            (`Airport_fee` is `airport_fee`), those of JSON members with it, as JSON does.
        records: Keys that lead to the records in a JSON document; none where it is the record, or the array of them.
        csv_options: How CSV files are written.
        sheet: The sheet of a workbook; the first one by default.
        pii: Columns or members that hold personal data. Where there are any, no fault quotes a part's content.
        quarantine_at_most: Which share of the landing's rows (of JSON: records) may be unreadable one by one, for the
            load holds those in quarantine; they are no fault then. More, or 0: the first of a part is its fault.

    Returns:
        One row a part, and for a landing of no parts one row whose part is `(none)`, with the columns:
        part (text), bytes (stored size), records (rows or documents; None if they cannot be counted),
        fault (None or one sentence), missing_columns and new_columns (comma-joined, or None; None as well when the
        columns could not be read, or when neither required nor optional names any),
        and for the whole landing, the same on every row: refused (requests that the API refused), documents (JSON
        documents or files landed), requests (both together), refused_share (refused / requests).
    """
    import pandas as pd  # not with the module, which whoever loads imports

    documents = manifest.records if manifest.records is not None else len(manifest.parts)
    refused = len(manifest.refused)
    reading = _Reading(records, csv_options, sheet, quotes=not pii, is_lenient=quarantine_at_most > 0)
    looks: list[_Look] = []
    for part in manifest.parts:
        try:
            looks.append(_LOOKS[manifest.format](store, manifest, part, reading))
        except LandingError as error:
            looks.append(_Look(fault=str(error)))
    unreadable, seen = sum(look.unreadable for look in looks), sum(look.records or 0 for look in looks)
    if unreadable > quarantine_at_most * seen:
        looks = [look.refused() for look in looks]
    elif unreadable:
        log.info("unreadable uri=%s rows=%d of=%d: within the share for quarantine", manifest.uri, unreadable, seen)
    rows: list[dict[str, object]] = []
    for part, look in zip(manifest.parts, looks, strict=True):
        judged = _judge(look, manifest.format, required, optional, reading)
        rows.append({"part": part.name, "bytes": part.bytes, **judged})
    if not rows:
        fault = f"nothing was landed: the API refused all of {refused} requests" if refused else "nothing was landed"
        judged = _judge(_Look(0, fault), manifest.format, required, optional, reading)
        rows.append({"part": NO_PART, "bytes": 0, **judged})
    requests = documents + refused
    # As objects, for pandas would make a NaN of None among texts.
    frame = pd.DataFrame(rows, dtype=object).assign(
        refused=refused, documents=documents, requests=requests, refused_share=refused / requests if requests else 0.0
    )
    return frame.astype({"bytes": "int64", "records": "Int64"})


@dataclass(frozen=True)
class _Reading:
    """How to read parts, whether what they hold may be quoted, and whether single rows may be unreadable."""

    records: Sequence[str]
    csv_options: CsvOptions
    sheet: str | None
    quotes: bool
    is_lenient: bool

    def beginning(self, content: bytes) -> str:
        if not content:
            return "it is empty"
        if not self.quotes:
            return "its beginning is not shown, for it may hold personal data"
        return f'it begins with "{_one_line(content.decode(errors="replace"))}"'


@dataclass(frozen=True)
class _Look:
    """What was seen in one part. Columns in every record, and in any: the two differ for documents alone."""

    records: int | None = None
    fault: str | None = None
    in_all: Collection[str] | None = None
    in_any: Collection[str] = ()
    unreadable: int = 0
    first_unreadable: str = ""

    def refused(self) -> _Look:
        """The same, where what is unreadable is a fault of the part."""
        return replace(self, fault=self.fault or self.first_unreadable or None)


def _judge(
    look: _Look, format: str, required: Sequence[str], optional: Sequence[str], reading: _Reading
) -> dict[str, object]:
    def same(name: str) -> str:
        return name if format in ("json", "ndjson") else name.lower()

    missing = new = None
    if (required or optional) and look.in_all is not None:
        there = {same(name) for name in look.in_all}
        known = {same(name) for name in (*required, *optional)}
        missing = ", ".join(name for name in required if same(name) not in there) or None
        new = ", ".join(name for name in look.in_any if same(name) not in known) or None
    fault = look.fault
    if (
        format in _NAMES
        and required
        and not fault
        and not {same(name) for name in required} & {same(name) for name in look.in_any}
    ):
        # A header with nothing of what it must have is no header: an error page with status 200, most often, a file
        # without one, or one with another delimiter.
        fault = f"not the {_NAMES[format]} expected: {reading.beginning(','.join(look.in_any).encode())}"
        if format == "csv" and len(look.in_any) == 1 and (other := set(";\t|,") & set("".join(look.in_any))):
            fault += (
                f"; if {min(other)!r} separates its fields, say so in source.yml: csv: {{delimiter: {min(other)!r}}}"
            )
        new = new if reading.quotes else None
    return {"records": look.records, "fault": fault, "missing_columns": missing, "new_columns": new}


def _look_at_parquet(store: LandingStore, manifest: Manifest, part: Part, reading: _Reading) -> _Look:
    with store.open_part(manifest, part) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(_EXCERPT_CHARACTERS)
        if not head.startswith(_PARQUET_MAGIC):
            return _Look(fault=f"not a Parquet file: {reading.beginning(head)}")
        file.seek(-len(_PARQUET_MAGIC), os.SEEK_END)
        if size < 12 or file.read() != _PARQUET_MAGIC:
            return _Look(fault=f"truncated Parquet file: it ends after {size} bytes without a footer")
        file.seek(0)
        try:
            # Through Arrow's buffered stream, for by default it fetches whole row groups ahead.
            parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            return _Look(fault=f"damaged Parquet file: its footer cannot be read ({_one_line(error)})")
        columns = parquet.schema_arrow.names
        try:
            rows = sum(batch.num_rows for batch in parquet.iter_batches(use_threads=False))
        except (pa.ArrowException, OSError) as error:
            fault = f"damaged Parquet file: its rows cannot be read ({_one_line(error)})"
            return _Look(fault=fault, in_all=columns, in_any=columns)
        try:
            name_columns(columns)
        except ValueError as error:
            return _Look(rows, str(error), in_all=columns, in_any=columns)
        if rows != parquet.metadata.num_rows:
            fault = f"damaged Parquet file: its footer says {parquet.metadata.num_rows} rows, and it has {rows}"
            return _Look(rows, fault, in_all=columns, in_any=columns)
        return _Look(rows, in_all=columns, in_any=columns)


def _look_at_csv(store: LandingStore, manifest: Manifest, part: Part, reading: _Reading) -> _Look:
    with store.open_part(manifest, part) as file:
        return _look_at_rows(csv_rows(file, reading.csv_options), reading)


def _look_at_xlsx(store: LandingStore, manifest: Manifest, part: Part, reading: _Reading) -> _Look:
    from include.landing.workbook import sheet_rows  # with openpyxl, which only these need

    with store.open_part(manifest, part) as file:
        return _look_at_rows(sheet_rows(file, reading.sheet), reading)


def _look_at_rows(rows: Iterator[Row], reading: _Reading) -> _Look:
    columns: list[str] | None = None
    records = unreadable = 0
    first = ""
    try:
        table = text_table(rows)
        columns = [name for name in table.header if name]
        for _, row in table.rows:
            records += 1
            if isinstance(row, Unreadable):
                unreadable += 1
                first = first or _one_line(row.fault, _FAULT_CHARACTERS)
                if not reading.is_lenient:
                    break
    except ValueError as error:
        return _Look(fault=_one_line(error, _FAULT_CHARACTERS), in_all=columns, in_any=columns or ())
    more = f" (and {unreadable - 1} more of {records} rows)" if unreadable > 1 else ""
    counted = None if unreadable and not reading.is_lenient else records
    return _Look(counted, None, columns, columns, unreadable, first + more)


def _look_at_documents(store: LandingStore, manifest: Manifest, part: Part, reading: _Reading) -> _Look:
    lines = records = faults = unreadable = 0
    is_refused = False
    first: str | None = None
    in_any: dict[str, None] = {}  # a set that keeps its order
    in_all: set[str] | None = None
    for number, line in store.iter_lines(manifest, part):
        lines += 1
        try:
            found = _records_at(parse_json(line), reading.records)
        except ValueError as error:
            fault = f"line {number} is not JSON: {_one_line(error)}"
            # a line of NDJSON is a record; of a document, single records can be no JSON for all but Python
            count, bad = (1, 1) if manifest.format == "ndjson" else _lax_records(line, reading.records)
            records += count
            unreadable += bad
            is_refused = is_refused or not bad
        else:
            records += len(found)
            members = [record.keys() for record in found if isinstance(record, dict)]
            for names in members:
                in_any |= dict.fromkeys(names)
                in_all = set(names) if in_all is None else in_all & names
            if len(members) == len(found):
                continue
            unreadable += len(found) - len(members)
            fault = f"line {number} is not an object, or has a record that is none: {reading.beginning(line)}"
        faults += 1
        first = first or fault
    more = f" (and {faults - 1} more of {lines} lines)" if faults > 1 else ""
    said = f"{first}{more}" if first else ""
    return _Look(records, said if is_refused else None, in_all, in_any, unreadable, said)


def _lax_records(document: bytes, path: Sequence[str]) -> tuple[int, int]:
    """How many records a document has that is no JSON by the letter, and how many of them are none.

    NaN is a number to Python, so such a record ends where it should, and the load can leave it out. (1, 0): the
    document cannot be told apart into records.
    """
    try:
        json.loads(document.decode(), parse_int=str, parse_float=str)
        records = list(iter_records(document, path))
    except (ValueError, RecursionError, LandingError):
        return 1, 0
    return len(records), sum(1 for record in records if not _is_json(record))


def _is_json(text: bytes) -> bool:
    try:
        parse_json(text)
    except ValueError:
        return False
    return True


def _records_at(document: object, path: Sequence[str]) -> Sequence[object]:
    """The records of a document, as `json_records.iter_records` cuts them out."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    if path and document is None:
        return []
    return document if isinstance(document, list) else [document]


def parse_json(text: bytes) -> object:
    """One JSON text by the letter of RFC 8259: UTF-8 without a mark, no NaN, no Infinity. Numbers stay text.

    Raises:
        ValueError: It is none; the message says where.
    """
    try:
        document: object = json.loads(text.decode(), parse_constant=_refuse_constant, parse_int=str, parse_float=str)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _one_line(text: object, longest: int = _EXCERPT_CHARACTERS) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= longest else line[:longest] + "…"


_LOOKS: dict[Format, Callable[[LandingStore, Manifest, Part, _Reading], _Look]] = {
    "csv": _look_at_csv,
    "json": _look_at_documents,
    "ndjson": _look_at_documents,
    "parquet": _look_at_parquet,
    "xlsx": _look_at_xlsx,
}
