"""What the footers of a landing's Parquet files say of them, without reading a row: columns, types, how many rows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from include.landing.manifest import LandingError, Manifest
from include.landing.records import NewColumns, all_types, own_type
from include.landing.tables import name_columns

if TYPE_CHECKING:
    from include.landing.store import LandingStore


@dataclass(frozen=True)
class ParquetFile:
    """One part of a landing of Parquet files.

    Attributes:
        name: Its name in the landing.
        uri: Its object.
        bytes: Its size.
        rows: How many rows it has.
        columns: Its columns in their order: lower-case name and Arrow type.
    """

    name: str
    uri: str
    bytes: int
    rows: int
    columns: Sequence[tuple[str, pa.DataType]]

    @cached_property
    def types(self) -> Mapping[str, str]:
        """Name -> the type of source.yml's vocabulary that holds the column's own."""
        return {name: own_type(kind) for name, kind in self.columns if name}


def parquet_files(store: LandingStore, manifest: Manifest) -> list[ParquetFile]:
    """The parts of a landing of Parquet files; of each only its end is fetched, some kilobytes.

    Raises:
        LandingError: A part is gone, is no Parquet file, or has two columns of one name.
    """
    found = []
    for part in manifest.parts:
        uri = manifest.uri + part.name
        try:
            file = pq.ParquetFile(_Remote(store, uri, part.bytes))
            names = file.schema_arrow.names
            name_columns(names)
        except store.client.exceptions.NoSuchKey:
            raise LandingError(f"{uri}: its manifest names it, but it is gone: restore it, or land it again") from None
        except (pa.ArrowException, OSError, ValueError) as fault:
            raise LandingError(
                f"{uri}: cannot be read: {fault}; see the landing gate's verdict, and land it again"
            ) from None
        columns = [(name.strip().lower(), kind) for name, kind in zip(names, file.schema_arrow.types, strict=True)]
        found.append(ParquetFile(part.name, uri, part.bytes, file.metadata.num_rows, columns))
    return found


def types_of(files: Sequence[ParquetFile], fields: Mapping[str, str], new_columns: NewColumns) -> dict[str, str]:
    """The columns of a landing as `iter_batches` would give them: declared ones as declared, new ones by contract.

    Raises:
        LandingError: A new column under `freeze`, or a part with none of the declared columns.
    """
    return all_types(files, fields, new_columns)


class _Remote(io.RawIOBase):
    """An object of S3, read where it is asked for."""

    def __init__(self, store: LandingStore, uri: str, size: int) -> None:
        self._store = store
        self._key = uri.removeprefix(f"s3://{store.bucket}/")
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        answer = self._store.client.get_object(
            Bucket=self._store.bucket, Key=self._key, Range=f"bytes={self._at}-{end - 1}"
        )
        data = answer["Body"].read()
        self._at += len(data)
        return data
