"""Raw landings in the catalogue: what an API or file host gave, where it lies, unmodified.

A table an entity, a partition a landing: `dt` as in its key, and `landing_id`, which rows of marts carry as
`_landing_id`. Parquet is read as it is; JSON documents and CSV files as lines of text, one column, for what a source
may add tomorrow has no column yet (`json_extract` takes documents apart). Workbooks (xlsx) are read by nothing here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from include.lake.catalogue import LINES, PARQUET, Catalogue, Column, Table, Values

log = logging.getLogger(__name__)

PREFIX = "landing_"
TEXTS = {"json": "document", "ndjson": "document", "csv": "line"}
"""format -> the one column; compressed or not, which Athena tells by the name: .zst, .gz
(https://docs.aws.amazon.com/athena/latest/ug/compression-support-hive.html)"""
_TYPES = {"bigint": "bigint", "double": "double", "text": "string", "timestamp": "timestamp"}
_KEYS = (
    Column("dt", "string", "What the landing covers: a month (2024-01), a day, an hour (2026-11-21T13), or all."),
    Column("landing_id", "bigint", "The landing; rows of marts that came of it hold it as _landing_id."),
)


@dataclass(frozen=True)
class LandedTable:
    """An entity of a source.

    Attributes:
        source: Name of the source folder.
        entity: Name of the entity.
        description: For who reads the catalogue.
        format: Of its landings: json, ndjson, csv or parquet.
        columns: Of Parquet files: name in lower case -> bigint, double, text or timestamp, as source.yml declares them.
    """

    source: str
    entity: str
    description: str
    format: str
    columns: Mapping[str, str]

    @property
    def name(self) -> str:
        """Of the table: `landing_<source>__<entity>`."""
        return f"{PREFIX}{self.source}__{self.entity}"

    @property
    def is_readable(self) -> bool:
        """Whether Athena reads such files."""
        return self.format == "parquet" or self.format in TEXTS


@dataclass(frozen=True)
class Landed:
    """A landing: what it covers, its id, and the URI of its folder."""

    dt: str
    landing_id: int
    uri: str


def register(catalogue: Catalogue, table: LandedTable, root: str, landings: Sequence[Landed]) -> int:
    """Have the catalogue lead to landings; again where it does already.

    Args:
        catalogue: Where to.
        table: Whose they are.
        root: URI of the folder that they lie below, with a slash at its end.
        landings: What is new, or all there are.

    Returns:
        How many partitions the catalogue did not have before.
    """
    if table.format == "parquet":
        columns = [Column(name, _TYPES[kind]) for name, kind in table.columns.items()]
    else:
        columns = [Column(TEXTS[table.format], "string", "A line of the object, as it came.")]
    entry = Table(table.name, table.description, columns, _KEYS, root, PARQUET if table.format == "parquet" else LINES)
    catalogue.put(entry)
    locations: dict[Values, str] = {(one.dt, str(one.landing_id)): one.uri for one in landings}
    held = catalogue.partitions_of(table.name, locations)
    catalogue.put_partitions(entry, locations, held)
    log.info(
        "lake table=%s.%s landings=%d new=%d",
        catalogue.database,
        table.name,
        len(locations),
        len(locations) - len(held),
    )
    return len(locations) - len(held)
