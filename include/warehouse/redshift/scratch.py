"""What Redshift cannot read as it was landed: its rows as files of Parquet or JSON that COPY takes, below `scratch/`.

Memory is one batch and what S3's client holds of an upload, whatever the rows: each file is made on disk, uploaded and
forgotten before the next one begins. The files are gone once they are loaded, or not: nothing else reads them, and a
process that dies leaves them to the bucket's lifecycle rule.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

PREFIX = "scratch/redshift"
_FILE_ROWS = 1_000_000
_FILE_BYTES = 128 * 1024 * 1024
"""of JSON before compression; COPY has all slices of a cluster read files of such a size side by side"""


@dataclass(frozen=True)
class Copied:
    """What a COPY is to read: a manifest that names its files.

    Attributes:
        manifest: URI of the manifest (https://docs.aws.amazon.com/redshift/latest/dg/loading-data-files-using-manifest.html).
        format: How the files are written.
        rows: Rows of them all.
    """

    manifest: str
    format: Literal["parquet", "json"]
    rows: int


class Scratch:
    """A folder of one load below `scratch/redshift/` of the bucket; leaving `open` removes it.

    Args:
        client: A boto3 S3 client that may put and delete there.
        bucket: Name of the bucket.
        folder: Key of the folder.
    """

    def __init__(self, client: S3Client, bucket: str, folder: str) -> None:
        self._client = client
        self._bucket = bucket
        self._folder = folder
        self._keys: list[str] = []

    @classmethod
    @contextmanager
    def open(cls, client: S3Client, bucket: str) -> Iterator[Scratch]:
        """A folder of its own."""
        scratch = cls(client, bucket, f"{PREFIX}/{uuid.uuid4().hex}")
        try:
            yield scratch
        finally:
            scratch._remove()

    def manifest(self, files: Iterable[tuple[str, int]], format: Literal["parquet", "json"], rows: int = 0) -> Copied:
        """Name files for COPY: URI and size of each, all of which must be there."""
        entries = [{"url": uri, "mandatory": True, "meta": {"content_length": size}} for uri, size in files]
        uri, _ = self._put(f"{len(self._keys):05}.manifest", io.BytesIO(json.dumps({"entries": entries}).encode()))
        return Copied(uri, format, rows)

    def parquet(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Copied | None:
        """Write batches as Parquet files of at most a million rows each; None if there is no row."""
        files: list[tuple[str, int]] = []
        total, rows = 0, 0
        file: IO[bytes] | None = None
        writer: pq.ParquetWriter | None = None
        try:
            for batch in batches:
                if file is None or writer is None:
                    file = tempfile.TemporaryFile()  # noqa: SIM115 - it goes when the last of it is uploaded
                    writer = pq.ParquetWriter(file, schema, compression="snappy")
                writer.write_batch(batch)
                rows += batch.num_rows
                if rows >= _FILE_ROWS:
                    writer.close()
                    files.append(self._put(f"{len(self._keys):05}.parquet", file))
                    total, rows, file, writer = total + rows, 0, None, None
            if file is not None and writer is not None:
                writer.close()
                files.append(self._put(f"{len(self._keys):05}.parquet", file))
        finally:
            if file is not None:
                file.close()
        return self.manifest(files, "parquet", total + rows) if files else None

    def json(self, lines: Iterable[bytes]) -> Copied | None:
        """Write JSON objects, one a line, as files compressed with gzip; None if there is none."""
        files: list[tuple[str, int]] = []
        rows = 0
        lines = iter(lines)
        line = next(lines, None)
        while line is not None:
            with tempfile.TemporaryFile() as file:
                size = 0
                with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=3, mtime=0) as packed:
                    while line is not None and size < _FILE_BYTES:
                        size += packed.write(line) + packed.write(b"\n")
                        rows += 1
                        line = next(lines, None)
                files.append(self._put(f"{len(self._keys):05}.json.gz", file))
        return self.manifest(files, "json", rows) if files else None

    def _put(self, name: str, content: IO[bytes]) -> tuple[str, int]:
        size = content.seek(0, io.SEEK_END)
        content.seek(0)
        key = f"{self._folder}/{name}"
        self._keys.append(key)
        self._client.put_object(Bucket=self._bucket, Key=key, Body=content)
        content.close()
        log.info("scratch key=%s bytes=%d", key, size)
        return f"s3://{self._bucket}/{key}", size

    def _remove(self) -> None:
        for key in self._keys:
            self._client.delete_object(Bucket=self._bucket, Key=key)
