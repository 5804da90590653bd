"""What the tasks of the lake do: the source's marts and landings, from the warehouse to S3 and the Glue catalogue.

Switched on by `SLUICE_LAKE_DATABASE`, the catalogue's database. What each mart's copy holds is booked
(`ops.export_mark`); one that fails is made up for by the next, of whatever run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from include.lake import Catalogue, Exported, LakeTable, Landed, LandedTable, export, register, sweep
from include.lake.marts import PREFIX
from include.parquet import Bucket
from include.pipeline.model import Source
from include.warehouse import exports
from include.warehouse.marts import Mart
from include.warehouse.masks import mask

TARGET = "lake"
"""as `ops.export_mark` calls it"""


def database() -> str | None:
    """Name of the Glue database, or None where there is no lake."""
    return os.environ.get("SLUICE_LAKE_DATABASE") or None


@dataclass(frozen=True)
class Lake:
    """Where exports go.

    Attributes:
        bucket: The objects'.
        catalogue: The tables'.
        dsn: postgresql:// URI of `sluice_reporter`, which sees what analysts see; never log it.
    """

    bucket: Bucket
    catalogue: Catalogue
    dsn: str


def export_marts(lake: Lake, marts: Sequence[Mart]) -> dict[str, Exported]:
    """Export what has changed of marts since each was exported last.

    Returns:
        Mart -> what was written, of those that the lake did not hold as they are.

    Raises:
        ExportError: a mart cannot be copied; those before it are.
        LakeError: the catalogue did not take it.
    """
    done = {}
    for mart in marts:
        with exports.alone(lake.dsn, TARGET, mart.name) as exporting, exports.reading(lake.dsn, mart) as reading:
            # a table that somebody has dropped from the catalogue comes back whole
            is_there = lake.catalogue.table(mart.name) is not None
            pending = reading.pending(exports.mark(exporting.session, TARGET, mart.name) if is_there else None)
            if pending is None:
                continue
            done[mart.name] = export(
                lake.bucket,
                lake.catalogue,
                _table(mart, reading),
                pending.slices,
                all_slices=reading.slices,
                read=reading.batches,
                check=exporting.check,
            )
            exporting.book(pending.publication_id, done[mart.name].rows)
    return done


def register_landings(lake: Lake, source: Source) -> dict[str, int]:
    """Register the landings of a source that were published since this was done last.

    Those of entities with personal data are not registered: the lake is for readers who may not see it.

    Returns:
        Entity -> landings that are new in the catalogue.
    """
    tables = {name: _landed_table(source, name) for name, entity in source.entities.items() if not entity.pii}
    tables = {name: table for name, table in tables.items() if table.is_readable}
    mark = f"landing/{source.name}"
    done = {}
    with exports.alone(lake.dsn, TARGET, mark) as exporting:
        missing = [name for name, table in tables.items() if lake.catalogue.table(table.name) is None]
        cursor = exporting.session.cursor
        cursor.execute(
            "select publication_id, landing_ids from ops.publication where source = %s and publication_id > %s",
            (source.name, exports.mark(exporting.session, TARGET, mark) or 0),
        )
        published = cursor.fetchall()
        ids = sorted({landing_id for _, landing_ids in published for landing_id in landing_ids})
        cursor.execute(
            'select entity, "partition", landing_id, uri from ops.landing '
            "where source = %s and published_at is not null and entity = any(%s) "
            "and (landing_id = any(%s) or entity = any(%s)) order by landing_id",
            (source.name, list(tables), ids, missing),
        )
        landed: dict[str, list[Landed]] = {}
        for entity, partition, landing_id, uri in cursor.fetchall():
            landed.setdefault(entity, []).append(Landed(partition, landing_id, uri))
        for name, landings in landed.items():
            root = lake.bucket.uri(f"landing/{source.name}/{name}/")
            done[name] = register(lake.catalogue, tables[name], root, landings)
        if published:
            exporting.book(max(publication_id for publication_id, _ in published), 0)
    return done


def sweep_marts(lake: Lake, grace: timedelta, *, only: Sequence[str] | None = None, for_good: bool = False) -> int:
    """Remove the objects of marts that the catalogue does not lead to.

    Args:
        lake: Where.
        grace: How long a slice must have been as it is.
        only: These marts alone; None for all that have objects.
        for_good: With all versions that a versioned bucket keeps.

    Returns:
        Objects removed.
    """
    removed = 0
    for name in lake.bucket.folders(PREFIX) if only is None else only:
        with exports.alone(lake.dsn, TARGET, name):
            removed += sweep(lake.bucket, lake.catalogue, name, grace, for_good=for_good)
    return removed


def _table(mart: Mart, reading: exports.Reading) -> LakeTable:
    masks = {column: mask(kind) for column, kind in sorted(mart.personal.items()) if column in reading.schema.names}
    return LakeTable(
        mart.name,
        mart.description,
        reading.schema,
        [(by.name, None if by.grain else by.column) for by in mart.slice_by],
        repr(masks) if masks else "",
    )


def _landed_table(source: Source, name: str) -> LandedTable:
    entity = source.entities[name]
    return LandedTable(source.name, name, entity.description, entity.format, entity.columns if entity.is_file else {})
