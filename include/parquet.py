"""Record batches -> Parquet objects of bounded size in a folder of a bucket, whatever the number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from include.objects import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectTypeDef

_GROUP_BYTES = 16 * 1024 * 1024
"""of Arrow's memory in a row group: what is in memory at once, besides what is being encoded"""
_FILE_BYTES = 256 * 1024 * 1024
"""an object ends with the row group that has made it so large: Athena reads a few large ones best"""


@dataclass(frozen=True)
class Bucket:
    """Where objects lie.

    Attributes:
        client: A boto3 client of S3.
        name: The bucket's.
    """

    client: S3Client
    name: str

    def uri(self, key: str) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.name}/{key}"

    def key(self, uri: str) -> str:
        """The key of a URI of this bucket."""
        return uri.removeprefix(f"s3://{self.name}/")

    def listed(self, prefix: str) -> Iterator[ObjectTypeDef]:
        """All objects below a prefix."""
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            yield from page.get("Contents", [])

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders right below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix, Delimiter="/")
        found = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])]
        return [one.removeprefix(prefix).rstrip("/") for one in found]


@dataclass(frozen=True)
class Written:
    """What has been written into a folder."""

    rows: int
    files: int
    bytes: int


def write_parquet(
    bucket: Bucket,
    folder: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    *,
    if_empty: bool = False,
    group_bytes: int = _GROUP_BYTES,
    file_bytes: int = _FILE_BYTES,
) -> Written:
    """Write rows as `part-00001.parquet`, `part-00002.parquet`, …, compressed with zstd.

    Memory holds a row group and a piece of an upload (8 MiB), whatever the number of rows. Statistics of every column
    are in the files, by which readers pass over row groups.

    Args:
        bucket: Where to.
        folder: Key of the folder, which nobody reads yet; it ends with a slash.
        schema: Of the rows.
        batches: The rows; read once.
        if_empty: Write an object without rows where there are none.
        group_bytes: Of Arrow's memory in a row group.
        file_bytes: Of an object, roughly.
    """
    files: list[Upload] = []
    writer: pq.ParquetWriter | None = None
    rows = 0
    try:
        for group in _groups(schema, batches, group_bytes):
            if writer is None:
                files.append(Upload(bucket.client, bucket.name, folder, f"part-{len(files) + 1:05d}.parquet"))
                writer = _writer(files[-1], schema)
            writer.write_table(group, row_group_size=max(group.num_rows, 1))
            rows += group.num_rows
            if files[-1].bytes >= file_bytes:
                writer.close()
                files[-1].finish()
                writer = None
        if not files and if_empty:
            files.append(Upload(bucket.client, bucket.name, folder, "part-00001.parquet"))
            writer = _writer(files[-1], schema)
        if writer is not None:
            writer.close()
            files[-1].finish()
    except BaseException:
        for file in files:
            file.abort()
        raise
    return Written(rows, len(files), sum(file.bytes for file in files))


def _writer(file: Upload, schema: pa.Schema) -> pq.ParquetWriter:
    # pa.PythonFile never closes what it is given, which is finished or aborted here
    return pq.ParquetWriter(pa.PythonFile(file, "w"), schema, compression="zstd")


def _groups(schema: pa.Schema, batches: Iterable[pa.RecordBatch], group_bytes: int) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        held.append(batch)
        size += batch.nbytes
        if size >= group_bytes:
            yield pa.Table.from_batches(held, schema)
            held, size = [], 0
    if held:
        yield pa.Table.from_batches(held, schema)
