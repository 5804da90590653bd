"""Where reports are kept: `reports/dt=YYYY-MM-DD/report.html` and `.txt`, in the bucket and beside the other docs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from include.report.facts import Facts
from include.report.layout import Rendered

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_KINDS = {".html": "text/html; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".json": "application/json"}


def archive(facts: Facts, rendered: Rendered, uri: str, *, s3: S3Client | None = None) -> str:
    """Write a day's report, in place of an earlier one of the day, and the list of all days.

    Args:
        facts: the report; they are kept as `report.json`.
        rendered: the same, laid out.
        uri: a folder (`file:///…`) or `s3://bucket/prefix`; the reports go to `reports/` below it.
        s3: the client for an `s3://` URI.

    Returns:
        The URI of the page.
    """
    folder = f"{uri.rstrip('/')}/reports"
    of_day = f"{folder}/{_name(facts.day)}"
    _write(f"{of_day}/report.txt", rendered.text, s3)
    _write(f"{of_day}/report.json", facts.model_dump_json(indent=1), s3)
    _write(f"{of_day}/report.html", rendered.page, s3)
    days = sorted({*_days(folder, s3), facts.day}, reverse=True)
    links = "\n".join(f'<li><a href="{_name(day)}/report.html">{day}</a></li>' for day in days)
    _write(f"{folder}/index.html", _INDEX.format(links=links), s3)
    return f"{of_day}/report.html"


def archived(day: date, uri: str, *, s3: S3Client | None = None) -> Facts | None:
    """The facts of the day's report, if one has been archived below `uri`."""
    held = _read(f"{uri.rstrip('/')}/reports/{_name(day)}/report.json", s3)
    return Facts.model_validate(json.loads(held)) if held else None


_INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Sluice: daily reports</title>
<style>body {{ font: 1rem/1.6 system-ui, sans-serif; margin: 2rem auto; max-width: 40rem; padding: 0 1rem; }}</style>
</head><body><h1>Daily reports</h1><ul>
{links}
</ul></body></html>
"""


def _name(day: date) -> str:
    return f"dt={day.isoformat()}"


def _days(folder: str, s3: S3Client | None) -> Iterator[date]:
    """The days that have a folder."""
    if s3 is None or not folder.startswith("s3://"):
        names = [path.name for path in _path(folder).glob("dt=*")]
    else:
        bucket, key = _bucket_and_key(folder)
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{key}/dt=", Delimiter="/")
        found = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])]
        names = [prefix.rstrip("/").rsplit("/", 1)[1] for prefix in found]
    for name in names:
        yield date.fromisoformat(name.removeprefix("dt="))


def _write(uri: str, text: str, s3: S3Client | None) -> None:
    """Write a file or object, as a whole or not at all."""
    if uri.startswith("s3://"):
        bucket, key = _bucket_and_key(uri)
        _client(uri, s3).put_object(
            Bucket=bucket,
            Key=key,
            Body=text.encode(),
            ContentType=_KINDS[Path(key).suffix],
            CacheControl="no-cache",
        )
        return
    path = _path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
    temporary = Path(file.name)
    temporary.chmod(0o644)
    temporary.replace(path)


def _read(uri: str, s3: S3Client | None) -> str | None:
    if uri.startswith("s3://"):
        client = _client(uri, s3)
        bucket, key = _bucket_and_key(uri)
        try:
            return client.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        except client.exceptions.NoSuchKey:
            return None
    path = _path(uri)
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _client(uri: str, s3: S3Client | None) -> S3Client:
    if s3 is None:
        raise ValueError(f"{uri}: an s3:// URI needs a client: archive(…, s3=client)")
    return s3


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.scheme not in ("file", ""):
        raise ValueError(f"{uri}: reports go to a folder (file://…) or to s3://bucket/prefix")
    return Path(unquote(parts.path) if parts.scheme else uri).resolve()
