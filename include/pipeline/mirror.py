"""What the task `mirror_redshift` does: a source's published marts, from Postgres through S3 to Redshift."""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from include.objects import delete_for_good
from include.parquet import Bucket, write_parquet
from include.warehouse import exports, mirror
from include.warehouse.marts import Mart
from include.warehouse.mirror import Copied, Redshift
from include.warehouse.slices import condition_of

log = logging.getLogger(__name__)

TARGET = "redshift"
PREFIX = "mirror/"


@dataclass(frozen=True)
class Mirror:
    """Where copies go, and by what way.

    Attributes:
        bucket: What lies between, for as long as a copy takes: below `mirror/`.
        to: Where they go.
        dsn: postgresql:// URI of `sluice_reporter`, which sees what analysts see; never log it.
    """

    bucket: Bucket
    to: Redshift
    dsn: str


def mirror_marts(to: Mirror, source: str, marts: Sequence[Mart]) -> dict[str, int]:
    """Copy what has changed of marts since each was copied last, all of one snapshot, in one transaction.

    Args:
        to: Where to.
        source: Names the folder in between.
        marts: What to copy; the same ones are copied by nobody else meanwhile.

    Returns:
        Mart -> rows written, of those that the copy did not hold as they are.

    Raises:
        ExportError: a mart cannot be copied; nothing was.
        MirrorError: Redshift refused; nothing was copied.
    """
    folder = f"{PREFIX}{source}/{secrets.token_hex(8)}/"
    done = {}
    with ExitStack() as stack:
        rights = [stack.enter_context(exports.alone(to.dsn, TARGET, mart.name)) for mart in _in_order(marts)]
        session = stack.enter_context(mirror.session(to.to))
        stack.callback(_remove, to.bucket, folder)
        marks = session.marks()
        for reading in stack.enter_context(exports.reading_all(to.dsn, _in_order(marts))):
            mart = reading.mart
            since, columns = marks.get(mart.name, (None, ""))
            is_same = columns == mirror.declared(mart.name, reading.schema)
            pending = reading.pending(since if is_same else None)
            if pending is None:
                continue
            slices = reading.slices() if pending.slices is None else pending.slices
            rows = itertools.chain.from_iterable(map(reading.batches, slices))
            written = write_parquet(to.bucket, f"{folder}{mart.name}/", reading.schema, rows)
            types = {field.name: _KINDS.get(str(field.type), "text") for field in reading.schema}
            session.take(
                Copied(
                    mart.name,
                    reading.schema,
                    pending.publication_id,
                    to.bucket.uri(f"{folder}{mart.name}/") if written.files else None,
                    None if pending.slices is None else [condition_of(mart, one, types) for one in pending.slices],
                )
            )
            done[mart.name] = written.rows
            log.info("mirrored mart=%s slices=%s rows=%d bytes=%d", mart.name, len(slices), written.rows, written.bytes)
        for right in rights:
            right.check()
    return done


_KINDS = {
    "timestamp[us]": "timestamp without time zone",
    "date32[day]": "date",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "bool": "boolean",
}
"""how conditions name the types of the columns that marts are parted by"""


def _in_order(marts: Sequence[Mart]) -> list[Mart]:
    """So that two who copy some of the same marts wait for each other, and not both."""
    return sorted(marts, key=lambda mart: mart.name)


def _remove(bucket: Bucket, folder: str) -> None:
    for entry in bucket.listed(folder):
        delete_for_good(bucket.client, bucket.name, entry["Key"])
