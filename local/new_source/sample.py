"""A sample of what a source serves, from a file or a URL: its format, its records, and what stands around them."""

import io
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from include.extract import Api, ApiClient, ApiError
from include.landing import LandingError
from include.landing.delimited import CsvOptions, csv_rows
from include.landing.json_records import iter_records
from include.landing.profile import parse_json
from include.landing.tables import Row, Unreadable, text_table
from include.landing.workbook import sheet_rows
from include.pipeline.model import FILE_FORMATS, JSON_FORMATS, Auth
from local import exact_json
from local.home import LocalError

FORMATS = (*JSON_FORMATS, *FILE_FORMATS)
MOST_BYTES = 64 * 1024 * 1024
MOST_RECORDS = 1_000
"""more are not looked at"""


@dataclass(frozen=True)
class Sample:
    """What was found.

    Attributes:
        origin: Where it came from, for messages.
        format: One of FORMATS.
        records: Column -> value of each record. JSON's own values, but numbers as `Number`; texts and None of CSV and
            xlsx; Python's of Parquet.
        document: Of JSON, the whole answer, parsed as the records are; None of other formats.
        path: Of JSON, the keys that lead to the records.
        types: Of Parquet, column -> Arrow type.
        csv: How a CSV file is written.
    """

    origin: str
    format: str
    records: Sequence[Mapping[str, Any]]
    document: object = None
    path: tuple[str, ...] = ()
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    csv: CsvOptions = field(default_factory=CsvOptions)

    @property
    def is_file(self) -> bool:
        """Whether its records are rows, not documents."""
        return self.format in FILE_FORMATS


def fetch(url: str, auth: Auth | None, key: str | None) -> bytes:
    """The answer of an API, or a file from it, through the product's own client.

    Raises:
        LocalError: It could not be had, or is larger than a sample has to be.
    """
    parts = urllib.parse.urlsplit(url)
    api = Api(
        connection="(the sample's)",
        base_url=f"{parts.scheme}://{parts.netloc}",
        key=key if auth else None,
        key_in=auth.place if auth and key else "none",
        key_name=auth.name if auth else "",
        key_prefix=auth.prefix if auth else "",
        retries=1,
        max_bytes=MOST_BYTES,
    )
    try:
        with (
            ApiClient(api) as client,
            client.stream(parts.path or "/", dict(urllib.parse.parse_qsl(parts.query))) as body,
        ):
            return b"".join(body)
    except ApiError as fault:
        more = "" if key else "; if it wants a key, give --key and put the key into SLUICE_SAMPLE_KEY"
        raise LocalError(f"--sample: {fault}{more}; or save an answer to a file, and give that") from None


def read_file(path: Path) -> bytes:
    """The content of a sample file.

    Raises:
        LocalError: It cannot be read, or is larger than a sample has to be.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise LocalError(f"--sample {path}: more than {MOST_BYTES // 2**20} MiB; a part of it is sample enough")
        return path.read_bytes()
    except OSError as fault:
        raise LocalError(f"--sample {path}: {fault.strerror}; give a file, or a URL") from None


def read_sample(content: bytes, origin: str, *, format: str | None = None, path: str | None = None) -> Sample:
    """Find format, records and envelope of a sample.

    Args:
        content: The whole file or answer.
        origin: Where it came from; its ending is the first hint at the format.
        format: What it is, when that is known.
        path: Where the records are in JSON; by default the first array of objects.

    Raises:
        LocalError: It cannot be read as that, or has no record.
    """
    kind = format or _format_of(content, origin)
    try:
        sample = _READERS[kind](content, origin, path)
    except (ValueError, LandingError, pa.ArrowException, OSError) as fault:
        raise LocalError(f"{origin} cannot be read as {kind}: {' '.join(str(fault).split())}; see --format") from None
    if path and sample.is_file:
        raise LocalError(f"--records is for the formats {' and '.join(JSON_FORMATS)}; {origin} is {kind}")
    if not sample.records:
        where = f" at {'.'.join(sample.path)}" if sample.path else ""
        raise LocalError(f"{origin} has no record{where}: give a sample with at least one, or --records PATH")
    if not any(sample.records):
        raise LocalError(f"{origin}: its records have no member, so there is nothing to make columns of")
    return sample


def _format_of(content: bytes, origin: str) -> str:
    path = urllib.parse.urlsplit(origin).path if "://" in origin else origin
    ending = Path(path).suffix.lower().lstrip(".")
    if ending in FORMATS:
        return ending
    if ending == "jsonl":
        return "ndjson"
    head = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if content.startswith(b"PAR1"):
        return "parquet"
    if content.startswith(b"PK\x03\x04"):
        return "xlsx"
    if head.startswith((b"{", b"[")):
        return "json"
    return "csv"


# --- JSON -------------------------------------------------------------------------------------------------------------


def _read_json(content: bytes, origin: str, path: str | None) -> Sample:
    content = content.removeprefix(b"\xef\xbb\xbf")
    parse_json(content)  # by the letter, which json.loads is not
    document = exact_json.parse(content)
    keys = _keys(path) if path else _records_path(document)
    records = [
        exact_json.parse(record) for record, _ in zip(iter_records(content, keys), range(MOST_RECORDS), strict=False)
    ]
    return Sample(origin, "json", records, document, keys)


def _read_ndjson(content: bytes, origin: str, path: str | None) -> Sample:
    keys = _keys(path) if path else ()
    records: list[Any] = []
    for line in content.removeprefix(b"\xef\xbb\xbf").splitlines():
        if line.strip() and len(records) < MOST_RECORDS:
            parse_json(line)
            records += [exact_json.parse(record) for record in iter_records(line, keys)]
    return Sample(origin, "ndjson", records, None, keys)


def _keys(path: str) -> tuple[str, ...]:
    """The keys of a path; "." is the top: the answer is the record, or the array of them."""
    return tuple(path.split(".")) if path != "." else ()


def _records_path(document: object) -> tuple[str, ...]:
    """The way to the first array of objects, those that lie nearer to the top first; none where there is none."""
    level: list[tuple[tuple[str, ...], Any]] = [((), document)]
    for _ in range(3):
        for path, value in level:
            if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
                return path
        level = [
            ((*path, name), inner)
            for path, value in level
            if isinstance(value, dict)
            for name, inner in value.items()
            if re.fullmatch(r"[\w-]+", name)
        ]
    if isinstance(document, dict):  # an envelope with an empty array has no record, and is none itself
        empty = [name for name, value in document.items() if value == [] and name in _ENVELOPE_NAMES]
        return tuple(empty[:1])
    return ()


_ENVELOPE_NAMES = ("data", "items", "results", "records", "rows", "entries", "values", "content", "value")


# --- files ------------------------------------------------------------------------------------------------------------


def _read_csv(content: bytes, origin: str, _: str | None) -> Sample:
    options = CsvOptions(delimiter=_delimiter(content))
    try:
        records = _rows(csv_rows(io.BytesIO(content), options))
    except ValueError as fault:
        if " is not utf-8" not in str(fault):
            raise
        options = CsvOptions(encoding="cp1252", delimiter=options.delimiter)
        records = _rows(csv_rows(io.BytesIO(content), options))
    return Sample(origin, "csv", records, csv=options)


def _read_xlsx(content: bytes, origin: str, _: str | None) -> Sample:
    return Sample(origin, "xlsx", _rows(sheet_rows(io.BytesIO(content), None)))


def _rows(rows: Any) -> list[dict[str, str | None]]:  # noqa: ANN401 - an iterator of Row
    table = text_table(rows)
    records: list[dict[str, str | None]] = []
    for _, fields in _first(table.rows):
        if isinstance(fields, Unreadable):
            raise ValueError(fields.fault)
        records.append({name: fields[position] for name, position in table.names.items()})
    return records


def _first(rows: Any) -> list[Row]:  # noqa: ANN401 - an iterator of Row
    return [row for row, _ in zip(rows, range(MOST_RECORDS), strict=False)]


def _delimiter(content: bytes) -> str:
    """The character that the header has most of, among the usual ones."""
    header = content.split(b"\n", 1)[0].decode("utf-8", errors="replace")
    return max(",;\t|", key=lambda one: (header.count(one), one == ","))


def _read_parquet(content: bytes, origin: str, _: str | None) -> Sample:
    file = pq.ParquetFile(io.BytesIO(content))
    schema = file.schema_arrow
    rows: list[dict[str, Any]] = []
    for batch in file.iter_batches(batch_size=MOST_RECORDS):
        rows = batch.to_pylist()
        break
    lower = [{name.lower(): value for name, value in row.items()} for row in rows]
    return Sample(origin, "parquet", lower, types={one.name.lower(): one.type for one in schema})


_READERS = {
    "json": _read_json,
    "ndjson": _read_ndjson,
    "csv": _read_csv,
    "parquet": _read_parquet,
    "xlsx": _read_xlsx,
}
