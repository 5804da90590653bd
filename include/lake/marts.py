"""A mart in the lake: a table of its name, parted as the mart is, each part a folder that is written once.

Keys: `lake/<mart>/<slice>/<version>/part-00001.parquet`, a slice as `service=green/source_month=2024-01-01` and, of a
mart that is one slice, nothing. What has changed of a slice is written into a new version's folder, all of it; then the
catalogue leads there, in one call for up to a hundred slices; the former version stays for who is reading it, until
`sweep`. So each slice that the catalogue leads to is whole at every moment, and after an export that has failed, doing
it again is all there is to do.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pyarrow as pa

from include.lake.catalogue import PARQUET, Catalogue, Column, LakeError, Table, Values
from include.lake.types import glue_type
from include.objects import delete_for_good, is_versioned
from include.parquet import Bucket, Written, write_parquet

log = logging.getLogger(__name__)

Slice = tuple[str | None, ...]
"""the values of a mart's keys, as text; a null is None"""

PREFIX = "lake/"
NULL = "__HIVE_DEFAULT_PARTITION__"
"""what stands for a null among a partition's values, in Hive, Athena, Spark and DuckDB"""
_SHAPE = "sluice.shape"
_GONE = "_gone"
"""an empty object in a slice's folder, younger than what it held: readers pass over names that begin with _"""


@dataclass(frozen=True)
class LakeTable:
    """A mart as the lake is to have it.

    Attributes:
        name: The mart's; the table's too.
        description: For who reads the catalogue.
        schema: All columns; a field's metadata may hold a `comment`.
        keys: What it is parted by -> the column that the key is, or None where the key is made of one (its month).
        masks: What of it is masked, and how: where that changes, every object is written anew.
    """

    name: str
    description: str
    schema: pa.Schema
    keys: Sequence[tuple[str, str | None]] = ()
    masks: str = ""

    @property
    def stored(self) -> pa.Schema:
        """The columns that objects hold: not those that are a key, which Hive's tables have once."""
        keys = {column for _, column in self.keys if column}
        return pa.schema([field for field in self.schema if field.name not in keys])


@dataclass(frozen=True)
class Exported:
    """What an export has written."""

    rows: int
    files: int
    bytes: int
    slices: int
    is_all: bool
    """whether every slice was written"""


def export(
    bucket: Bucket,
    catalogue: Catalogue,
    table: LakeTable,
    slices: Sequence[Slice] | None,
    *,
    all_slices: Callable[[], Sequence[Slice]],
    read: Callable[[Slice], Iterable[pa.RecordBatch]],
    check: Callable[[], object] = lambda: None,
) -> Exported:
    """Write slices of a mart, and have the catalogue lead to them.

    Args:
        bucket: Where objects go.
        catalogue: Where tables go.
        table: The mart.
        slices: Those that have changed; None for all. Where the catalogue does not have the table in this shape, all
            are written.
        all_slices: Every slice that has rows.
        read: The rows of a slice, with all columns.
        check: Asked before the catalogue is changed; raises if somebody else may be exporting the mart by now.

    Raises:
        LakeError: the mart cannot be in the lake, or the catalogue has not taken it; what it leads to is whole.
    """
    held = catalogue.table(table.name)
    shape = _shape(table)
    is_all = slices is None or held is None or held["Parameters"].get(_SHAPE) != shape
    wanted = list(all_slices() if is_all or slices is None else slices)
    if not wanted and not is_all:
        return Exported(0, 0, 0, 0, is_all=False)
    folder, version = f"{PREFIX}{table.name}/", _version()
    written: dict[Slice, Written] = {}
    for one in wanted:
        written[one] = write_parquet(
            bucket,
            f"{folder}{_path(table, one)}{version}/",
            table.stored,
            (batch.select(table.stored.names) for batch in read(one)),
            if_empty=not table.keys,
        )
    check()
    entry = _entry(bucket, table, shape, folder if table.keys else f"{folder}{version}/")
    catalogue.put(entry)
    if table.keys:
        _swap(bucket, catalogue, entry, table, folder, version, written, is_all=is_all)
    done = Exported(
        sum(one.rows for one in written.values()),
        sum(one.files for one in written.values()),
        sum(one.bytes for one in written.values()),
        len(wanted),
        is_all,
    )
    log.info(
        "lake table=%s.%s slices=%d all=%s rows=%d files=%d bytes=%d version=%s",
        catalogue.database,
        table.name,
        done.slices,
        is_all,
        done.rows,
        done.files,
        done.bytes,
        version,
    )
    return done


def _swap(
    bucket: Bucket,
    catalogue: Catalogue,
    entry: Table,
    table: LakeTable,
    folder: str,
    version: str,
    written: dict[Slice, Written],
    *,
    is_all: bool,
) -> None:
    """Have the catalogue lead to the new version of each slice, and nowhere for those without rows."""
    paths = {_values(table, one): _path(table, one) for one in written}
    full = {_values(table, one) for one, what in written.items() if what.rows}
    held = set(catalogue.partitions(table.name)) if is_all else catalogue.partitions_of(table.name, paths)
    locations = {values: bucket.uri(f"{folder}{paths[values]}{version}/") for values in paths if values in full}
    catalogue.put_partitions(entry, locations, held)
    gone = (held if is_all else held & set(paths)) - full
    for values in gone:
        # of when it went, which no object of its own says
        path = paths.get(values) or _folder_of(table, values)
        bucket.client.put_object(Bucket=bucket.name, Key=f"{folder}{path}{version}/{_GONE}", Body=b"")
    catalogue.drop_partitions(table.name, sorted(gone))


def sweep(bucket: Bucket, catalogue: Catalogue, name: str, grace: timedelta, *, for_good: bool = False) -> int:
    """Remove the objects of a mart that the catalogue does not lead to any more, or never did.

    Nobody may export the mart meanwhile.

    Args:
        bucket: Where objects lie.
        catalogue: What leads to them.
        name: The mart's.
        grace: How long a slice must be as it is: queries that have begun before read its former version.
        for_good: With all versions that a versioned bucket keeps of them, and of those that went before.

    Returns:
        Objects removed.
    """
    held = catalogue.table(name)
    current: set[str] = set()
    if held:
        of_table = [] if held.get("PartitionKeys") else [held["StorageDescriptor"]["Location"]]
        of_parts = catalogue.partitions(name).values() if held.get("PartitionKeys") else []
        current = {bucket.key(uri) for uri in (*of_table, *of_parts)}
    before, removed = datetime.now(UTC) - grace, 0
    listed = bucket.listed(f"{PREFIX}{name}/")
    # keys come sorted, so those of a slice together
    for _, entries in itertools.groupby(listed, lambda entry: entry["Key"].rsplit("/", 2)[0]):
        found = [(entry["Key"], entry["LastModified"]) for entry in entries]
        if grace and max(at for _, at in found) > before:
            continue
        for key, _ in found:
            if f"{key.rpartition('/')[0]}/" in current:
                continue
            if for_good:
                delete_for_good(bucket.client, bucket.name, key)
            else:
                bucket.client.delete_object(Bucket=bucket.name, Key=key)
            removed += 1
    if for_good:
        for key in _former(bucket, f"{PREFIX}{name}/"):
            delete_for_good(bucket.client, bucket.name, key, but_current=True)
    if removed:
        log.info("lake_swept table=%s objects=%d", name, removed)
    return removed


def _former(bucket: Bucket, prefix: str) -> list[str]:
    """Keys below a prefix of which a versioned bucket keeps something that is no longer current."""
    if not is_versioned(bucket.client, bucket.name):
        return []
    pages = bucket.client.get_paginator("list_object_versions").paginate(Bucket=bucket.name, Prefix=prefix)
    return sorted({one["Key"] for page in pages for one in page.get("Versions", []) if not one["IsLatest"]})


def _entry(bucket: Bucket, table: LakeTable, shape: str, folder: str) -> Table:
    return Table(
        table.name,
        table.description,
        [_column(table, field) for field in table.stored],
        [
            _column(table, table.schema.field(column))
            if column
            else Column(name, "string", f"What {name.rpartition('_')[0]} lies in, in UTC; name it in queries.")
            for name, column in table.keys
        ],
        bucket.uri(folder),
        PARQUET,
        {"parquet.compression": "ZSTD", _SHAPE: shape},
    )


def _column(table: LakeTable, field: pa.Field) -> Column:
    try:
        kind = glue_type(field.type)
    except ValueError as fault:
        raise LakeError(f"{table.name}.{field.name}: {fault}; cast the column in the model") from None
    return Column(field.name, kind, (field.metadata or {}).get(b"comment", b"").decode())


def _shape(table: LakeTable) -> str:
    """What objects that were written with another one do not fit to."""
    columns = [f"{field.name} {field.type}" for field in table.schema]
    return hashlib.sha256(repr((columns, list(table.keys), table.masks)).encode()).hexdigest()[:16]


def _version() -> str:
    """A folder that nobody has written to; later ones sort behind."""
    return f"v{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"


def _path(table: LakeTable, one: Slice) -> str:
    return _folder_of(table, _values(table, one))


def _folder_of(table: LakeTable, values: Values) -> str:
    names = [name for name, _ in table.keys]
    return "".join(f"{name}={quote(value, safe='')}/" for name, value in zip(names, values, strict=True))


def _values(table: LakeTable, one: Slice) -> Values:
    if "" in one:
        raise LakeError(
            f"{table.name}: it is parted by a column that holds an empty text, which Hive's tables cannot tell from "
            "null; have the model give null instead, or part it by another"
        )
    return tuple(NULL if value is None else value for value in one)
