"""COPY … FROM 's3://…' and UNLOAD, between PostgreSQL's COPY and an S3 server.

https://docs.aws.amazon.com/redshift/latest/dg/r_COPY.html, r_UNLOAD.html, loading-data-files-using-manifest.html
"""

import bz2
import csv
import gzip
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import ClientError

from tests.redshift.front.dialect import RefusedError, masked

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NULL = "\x07N"
"""Stands for null in the CSV that PostgreSQL is given"""

_CHUNK = 1 << 16
_LARGEST_DOCUMENT = 4 * 1024 * 1024
_COPY = re.compile(
    r'^\s*copy\s+(?P<table>[\w".]+)\s*(?:\((?P<columns>[^)]*)\))?\s*from\s+\'s3://(?P<bucket>[^/\']+)/(?P<key>[^\']*)\''
    r"(?P<options>.*?);?\s*$",
    re.I | re.S,
)
_UNLOAD = re.compile(
    r"^\s*unload\s*\(\s*(?:'(?P<quoted>(?:[^']|'')*)'|\$\$(?P<dollars>.*?)\$\$)\s*\)\s*"
    r"to\s+'s3://(?P<bucket>[^/']+)/(?P<key>[^']*)'(?P<options>.*?);?\s*$",
    re.I | re.S,
)
_ROLE = r"iam_role\s+(?:'arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/-]+'|default)"
_COPY_OPTIONS = {
    "role": _ROLE,
    "parquet": r"(?:format\s+(?:as\s+)?)?parquet",
    "json": r"(?:format\s+(?:as\s+)?)?json(?:\s+(?:as\s+)?'(?P<value>[^']*)')?",
    "csv": r"(?:format\s+(?:as\s+)?)?csv",
    "manifest": r"manifest",
    "gzip": r"gzip",
    "zstd": r"zstd",
    "bzip2": r"bzip2",
    "serializetojson": r"serializetojson",
    "ignoreheader": r"ignoreheader\s+(?:as\s+)?(?P<value>\d+)",
    "truncatecolumns": r"truncatecolumns",
    "timeformat": r"timeformat\s+(?:as\s+)?'(?:auto|epochsecs|epochmillisecs)'",
    "dateformat": r"dateformat\s+(?:as\s+)?'auto'",
    "region": r"region\s+(?:as\s+)?'[\w-]+'",
    "emptyasnull": r"emptyasnull",
    "blanksasnull": r"blanksasnull",
    "statupdate": r"statupdate(?:\s+(?:on|off|true|false))?",
    "compupdate": r"compupdate(?:\s+(?:on|off|true|false|preset))?",
    "maxerror": r"maxerror\s+(?:as\s+)?0",
}
_UNLOAD_OPTIONS = {
    "role": _ROLE,
    "parquet": r"(?:format\s+(?:as\s+)?)?parquet",
    "json": r"(?:format\s+(?:as\s+)?)?json",
    "csv": r"(?:format\s+(?:as\s+)?)?csv",
    "manifest": r"manifest(?:\s+verbose)?",
    "header": r"header",
    "gzip": r"gzip",
    "allowoverwrite": r"allowoverwrite",
    "cleanpath": r"cleanpath",
    "parallel": r"parallel\s+(?:on|off|true|false)",
    "maxfilesize": r"maxfilesize\s+(?:as\s+)?[\d.]+\s*(?:mb|gb)",
    "region": r"region\s+(?:as\s+)?'[\w-]+'",
}
# What a Parquet column must be for a column of the table; others are an incompatible schema.
# https://docs.aws.amazon.com/redshift/latest/dg/copy-usage_notes-copy-from-columnar.html
_COMPATIBLE = {
    "int2": pa.types.is_integer,
    "int4": pa.types.is_integer,
    "int8": pa.types.is_integer,
    "float4": pa.types.is_floating,
    "float8": pa.types.is_floating,
    "bool": pa.types.is_boolean,
    "varchar": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind),
    "bpchar": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    "date": pa.types.is_date32,
    "timestamp": pa.types.is_timestamp,
    "timestamptz": pa.types.is_timestamp,
    "numeric": pa.types.is_decimal,
}


@dataclass(frozen=True)
class Copy:
    """A COPY as it was asked for."""

    table: str
    columns: tuple[str, ...]
    bucket: str
    key: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class Unload:
    """An UNLOAD as it was asked for."""

    query: str
    bucket: str
    key: str
    options: Mapping[str, str]


def read_copy(sql: str) -> Copy | None:
    """The COPY that a statement is, if it is one from S3.

    Raises:
        RefusedError: it lacks what COPY needs, or has an option that is not known.
    """
    found = _COPY.match(_bare(sql))
    if found is None:
        return None
    columns = tuple(one.strip().strip('"').lower() for one in (found["columns"] or "").split(",") if one.strip())
    options = _options(found["options"], _COPY_OPTIONS, "COPY")
    if "parquet" in options and {"gzip", "zstd", "bzip2", "ignoreheader"} & set(options):
        raise RefusedError("COPY: compression and header options are not supported for FORMAT PARQUET")
    if not {"parquet", "json", "csv"} & set(options):
        raise RefusedError("redshift front: COPY of a file with delimiters is not supported; use PARQUET, JSON or CSV")
    return Copy(found["table"], columns, found["bucket"], found["key"], options)


def read_unload(sql: str) -> Unload | None:
    """The UNLOAD that a statement is, if it is one.

    Raises:
        RefusedError: it lacks what UNLOAD needs, or has an option that is not known.
    """
    found = _UNLOAD.match(_bare(sql))
    if found is None:
        return None
    query = found["dollars"] if found["quoted"] is None else found["quoted"].replace("''", "'")
    return Unload(query, found["bucket"], found["key"], _options(found["options"], _UNLOAD_OPTIONS, "UNLOAD"))


def is_copy_or_unload(sql: str) -> bool:
    """Whether a statement begins with one of the two."""
    return bool(re.match(r"\s*(copy|unload)\b", masked(sql), re.I))


def target(copy: Copy, columns: Mapping[str, str]) -> tuple[list[str], str]:
    """The columns a COPY fills, and PostgreSQL's own COPY that takes `rows` of them.

    Args:
        copy: what was asked for.
        columns: the table's columns and their types, in their order.

    Raises:
        RefusedError: there is no such table or column.
    """
    if not columns:
        raise RefusedError(f"Cannot COPY into nonexistent table {copy.table}")
    names = list(copy.columns or columns)
    for name in names:
        if name not in columns:
            raise RefusedError(f'column "{name}" of relation "{copy.table}" does not exist')
    listed = ", ".join(f'"{name}"' for name in names)
    return names, f"copy {copy.table} ({listed}) from stdin (format csv, null E'\\x07N')"


def rows(copy: Copy, names: Sequence[str], columns: Mapping[str, str], s3: "S3Client") -> Iterator[bytes]:
    """What the files hold, as CSV in pieces; a file's piece is in memory, never the file.

    Raises:
        RefusedError: a file is missing, or is not what the table takes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for bucket, key in list(_objects(copy, s3)):
        for row in _read(copy, bucket, key, names, [columns[name] for name in names], s3):
            writer.writerow([NULL if value is None else value for value in row])
            if text.tell() > _CHUNK:
                yield text.getvalue().encode()
                text.seek(0)
                text.truncate()
    if text.tell():
        yield text.getvalue().encode()


def unload(
    asked: Unload, names: Sequence[str], kinds: Sequence[str], found: Sequence[Sequence[str | None]], s3: "S3Client"
) -> None:
    """Write a query's rows to S3.

    Args:
        asked: the UNLOAD.
        names: the query's columns.
        kinds: their types, as PostgreSQL names them.
        found: the rows, as text.
        s3: where to.

    Raises:
        RefusedError: there is something at the destination.
    """
    if not {"allowoverwrite", "cleanpath"} & set(asked.options) and s3.list_objects_v2(
        Bucket=asked.bucket, Prefix=asked.key
    ).get("KeyCount"):
        raise RefusedError(
            "Specified unload destination on S3 is not empty. Consider using a different bucket / prefix, "
            "manually removing the target files in S3, or using the ALLOWOVERWRITE option."
        )
    if "cleanpath" in asked.options:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=asked.bucket, Prefix=asked.key):
            for one in page.get("Contents", []):
                s3.delete_object(Bucket=asked.bucket, Key=one["Key"])
    body, name = _written(asked, names, kinds, found)
    s3.put_object(Bucket=asked.bucket, Key=asked.key + name, Body=body)
    if "manifest" in asked.options:
        entry: dict[str, Any] = {"url": f"s3://{asked.bucket}/{asked.key}{name}"}
        entry["meta"] = {"content_length": len(body), "record_count": len(found)}
        content = json.dumps({"entries": [entry]}).encode()
        s3.put_object(Bucket=asked.bucket, Key=f"{asked.key}manifest", Body=content)


def _bare(sql: str) -> str:
    """The statement without the comment that dbt and others put before it."""
    return re.sub(r"^\s*(?:/\*.*?\*/\s*|--[^\n]*\n\s*)*", "", sql, flags=re.S)


def _options(text: str, known: Mapping[str, str], command: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while rest := text[at:].strip():
        at = len(text) - len(text[at:].lstrip())
        for name, pattern in known.items():
            match = re.match(rf"{pattern}(?=\s|;|$)", text[at:], re.I)
            if match:
                found[name] = match.groupdict().get("value") or ""
                at += match.end()
                break
        else:
            raise RefusedError(f"syntax error at or near {rest.split()[0]!r} in the options of {command}")
    if "role" not in found:
        raise RefusedError(f"{command}: credentials are missing: give IAM_ROLE '<arn>' or IAM_ROLE default")
    return found


def _objects(copy: Copy, s3: "S3Client") -> Iterator[tuple[str, str]]:
    """Bucket and key of each file."""
    if "manifest" not in copy.options:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=copy.bucket, Prefix=copy.key)
        keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
        if not keys:
            raise RefusedError(f"The specified S3 prefix '{copy.key}' does not exist")
        yield from ((copy.bucket, key) for key in keys)
        return
    try:
        manifest = json.loads(s3.get_object(Bucket=copy.bucket, Key=copy.key)["Body"].read())
        entries = manifest["entries"]
    except (ClientError, ValueError, KeyError, TypeError) as fault:
        raise RefusedError(f"Problem reading manifest file - s3://{copy.bucket}/{copy.key}: {fault}") from None
    for entry in entries:
        bucket, _, key = str(entry["url"]).removeprefix("s3://").partition("/")
        size = entry.get("meta", {}).get("content_length")
        if "parquet" in copy.options and size is None:
            raise RefusedError(
                f"Missing content_length of {entry['url']} in the manifest: it is required for FORMAT PARQUET"
            )
        try:
            actual = s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
        except ClientError:
            if entry.get("mandatory"):
                raise RefusedError(f"Mandatory url is not present in manifest file: {entry['url']}") from None
            continue
        if size is not None and size != actual:
            raise RefusedError(
                f"File {entry['url']} has {actual} bytes, where the manifest has a content_length of {size}"
            )
        yield bucket, key


def _read(
    copy: Copy, bucket: str, key: str, names: Sequence[str], kinds: Sequence[str], s3: "S3Client"
) -> Iterator[Sequence[str | None]]:
    where = f"s3://{bucket}/{key}"
    with tempfile.TemporaryFile() as file:
        s3.download_fileobj(bucket, key, file)
        file.seek(0)
        if "parquet" in copy.options:
            yield from _parquet(copy, file, where, names, kinds)
            return
        stream: Any = file
        if "gzip" in copy.options:
            stream = gzip.GzipFile(fileobj=file)
        elif "bzip2" in copy.options:
            stream = bz2.BZ2File(file)
        elif "zstd" in copy.options:
            stream = pa.CompressedInputStream(pa.PythonFile(file), "zstd")
        if "json" in copy.options:
            yield from _json(copy, stream, where, names, kinds)
            return
        skipped = int(copy.options.get("ignoreheader") or 0)
        for number, row in enumerate(csv.reader(io.TextIOWrapper(stream, encoding="utf-8", newline=""))):
            if number >= skipped:
                if len(row) != len(names):
                    raise RefusedError(
                        f"{where}, line {number + 1}: {len(row)} columns, where the table has {len(names)}"
                    )
                yield [None if cell == "" else cell for cell in row]


def _parquet(
    copy: Copy, file: IO[bytes], where: str, names: Sequence[str], kinds: Sequence[str]
) -> Iterator[Sequence[str | None]]:
    try:
        parquet = pq.ParquetFile(file)
    except pa.ArrowException as fault:
        raise RefusedError(f"Spectrum Scan Error: {where} is not a Parquet file: {fault}") from None
    schema = parquet.schema_arrow
    if len(schema) != len(names):
        raise RefusedError(
            f"Spectrum Scan Error: Unmatched number of columns between table and file. Table columns: {len(names)}, "
            f"Data columns: {len(schema)}, File name: {where}"
        )
    for column, name, kind in zip(schema, names, kinds, strict=True):
        nested = pa.types.is_nested(column.type)
        if kind == "super":
            if nested and "serializetojson" not in copy.options:
                raise RefusedError(f"Spectrum Scan Error: {where}: column {name!r} is nested: give SERIALIZETOJSON")
        elif nested or not _COMPATIBLE.get(kind, lambda _: True)(column.type):
            raise RefusedError(
                f"Spectrum Scan Error: File '{where}' has an incompatible Parquet schema for column '{name}'. "
                f"Column type: {kind}, Parquet schema: {column.type}"
            )
    for batch in parquet.iter_batches(8192):
        columns = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            yield [_cell(value, kind) for value, kind in zip(row, kinds, strict=True)]


def _json(
    copy: Copy, stream: IO[bytes], where: str, names: Sequence[str], kinds: Sequence[str]
) -> Iterator[Sequence[str | None]]:
    mode = (copy.options["json"] or "auto").lower()
    if mode not in ("auto", "auto ignorecase", "noshred"):
        raise RefusedError(
            f"redshift front: COPY JSON '{mode}' is not supported; use 'auto', 'auto ignorecase' or 'noshred'"
        )
    if mode == "noshred" and (len(names) != 1 or kinds[0] != "super"):
        raise RefusedError("COPY JSON 'noshred' needs a table with one SUPER column")
    for number, document in enumerate(_documents(stream, where), 1):
        if mode == "noshred":
            yield [_dumped(document)]
            continue
        if not isinstance(document, dict):
            raise RefusedError(f"{where}, record {number}: Invalid JSON: an object was expected")
        if mode == "auto ignorecase":
            document = {name.lower(): value for name, value in document.items()}
        yield [_cell(document.get(name), kind) for name, kind in zip(names, kinds, strict=True)]


def _documents(stream: IO[bytes], where: str) -> Iterator[Any]:
    """The JSON values of a file, one behind the other, however they are set out."""
    decoder = json.JSONDecoder(parse_float=Decimal, strict=False)
    reader = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    text, at, ended = "", 0, False
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if at < len(text):
            try:
                value, end = decoder.raw_decode(text, at)
            except ValueError as fault:
                if ended:
                    raise RefusedError(f"{where}: Invalid JSON: {fault}") from None
            else:
                if end < len(text) or ended:  # a number may go on behind what has been read
                    if len(text[at:end].encode()) > _LARGEST_DOCUMENT:
                        raise RefusedError(f"{where}: a JSON object has more than {_LARGEST_DOCUMENT} bytes")
                    yield value
                    at = end
                    continue
        elif ended:
            return
        more = reader.read(1 << 20)
        text, at, ended = text[at:] + more, 0, not more


def _cell(value: Any, kind: str) -> str | None:  # noqa: ANN401 - whatever a file may hold
    if value is None:
        return None
    if kind == "super":
        return _dumped(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return _dumped(value)
    return str(value)


def _dumped(value: Any) -> str:  # noqa: ANN401 - whatever a file may hold
    """JSON with each number as it came."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(name))}:{_dumped(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dumped, value)) + "]"
    return json.dumps(value, default=str)


def _written(
    asked: Unload, names: Sequence[str], kinds: Sequence[str], found: Sequence[Sequence[str | None]]
) -> tuple[bytes, str]:
    """A file and what its name ends with."""
    if "parquet" in asked.options:
        columns = {
            name: pa.array((_typed(row[number], kind) for row in found), _arrow(kind, (row[number] for row in found)))
            for number, (name, kind) in enumerate(zip(names, kinds, strict=True))
        }
        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink, compression="snappy")
        return sink.getvalue(), "0000_part_00.parquet"
    text = io.StringIO()
    if "json" in asked.options:
        for row in found:
            record = {name: _typed(value, kind) for name, value, kind in zip(names, row, kinds, strict=True)}
            text.write(_dumped(record) + "\n")
    else:
        writer = csv.writer(text, lineterminator="\n", delimiter="," if "csv" in asked.options else "|")
        if "header" in asked.options:
            writer.writerow(names)
        writer.writerows([["" if value is None else value for value in row] for row in found])
    body = text.getvalue().encode()
    return (gzip.compress(body, mtime=0), "0000_part_00.gz") if "gzip" in asked.options else (body, "0000_part_00")


def _arrow(kind: str, values: Iterable[str | None]) -> Any:  # noqa: ANN401 - pyarrow has no types
    simple = {
        "int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64(), "float4": pa.float32(), "float8": pa.float64(),
        "bool": pa.bool_(), "date": pa.date32(), "timestamp": pa.timestamp("us"),
        "timestamptz": pa.timestamp("us", "UTC"),
    }  # fmt: skip
    if kind == "numeric":
        places = [-int(Decimal(value).as_tuple().exponent) for value in values if value is not None]
        return pa.decimal128(38, max((0, *places)))
    return simple.get(kind, pa.string())


def _typed(value: str | None, kind: str) -> Any:  # noqa: ANN401 - by its kind
    if value is None:
        return None
    if kind in ("int2", "int4", "int8"):
        return int(value)
    if kind in ("float4", "float8"):
        return float(value)
    if kind == "numeric":
        return Decimal(value)
    if kind == "bool":
        return value == "t"
    if kind in ("date", "timestamp", "timestamptz"):
        scalar = pa.scalar(value)
        arrow = _arrow(kind, ())
        return scalar.cast(arrow).as_py()
    return value
