"""A table of the schema `raw`: what it is made of, and the lock that whoever writes to it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from include.warehouse.landings import CursorType
from include.warehouse.session import Session

_POSTGRES_TYPE = {
    "bigint": "bigint",
    "double": "double precision",
    "text": "text",
    "timestamp": "timestamp",
    "date": "date",
    "boolean": "boolean",
}
_META = {
    "_landing_id": "bigint not null",
    "_row": "bigint not null",
    "_loaded_at": "timestamptz not null default now()",
}


class LoadError(Exception):
    """A load was refused or failed: nothing of it is in raw. The message names table, landing and fault."""


@dataclass(frozen=True)
class CursorMark:
    """What is remembered of a landing's records, for the next one to begin there.

    Attributes:
        field: Path in a record of the value that only grows.
        type: How two values compare: number, timestamp or text.
        by: Path of a record's time (ISO 8601); a mark is kept for each of its days, so that a run can look back.
    """

    field: str
    type: CursorType
    by: str | None = None


@dataclass(frozen=True)
class RawTable:
    """A table of the schema `raw`: of declared columns (name in lower case -> field type) or else of JSON records.

    Attributes:
        name: Name in the schema.
        mode: What becomes of rows that are there: see above.
        columns: Declared columns; None for JSON records.
        keys: With mode `upsert`, the columns that tell rows apart, or paths into the record.
        has_request: Beside each JSON record stands what was asked for, as `_request`.
        cursor: What is remembered of the records, for the next landing to begin there.
        description: Its comment in the database.
        absent: With mode `upsert`, what becomes of rows that a landing lacks: `keep`, for landings that are not
            complete; `mark` sets `_absent_since` to when the landing was fetched, and `_landing_id` to the landing, so
            that the run's slice has them (a row that is back is marked no more); `delete`.
    """

    name: str
    mode: Literal["append", "replace", "upsert"]
    columns: Mapping[str, str] | None = None
    keys: Sequence[str] = ()
    has_request: bool = False
    cursor: CursorMark | None = None
    description: str = ""
    absent: Literal["keep", "mark", "delete"] = "keep"

    @property
    def sql_columns(self) -> dict[str, str]:
        """Column name -> Postgres type with its constraints, the lineage columns last."""
        if self.columns is not None:
            own = {name: _POSTGRES_TYPE[kind] for name, kind in self.columns.items()}
        else:
            own = {"payload": "jsonb not null"} | ({"_key": "text primary key"} if self.keys else {})
            own |= {"_request": "jsonb not null default '{}'"} if self.has_request else {}
        return own | ({"_absent_since": "timestamptz"} if self.absent == "mark" else {}) | _META


def lock_partition(session: Session, table: RawTable, landing_id: int) -> None:
    """Two who write to one partition go one after the other; what a later landing has replaced stays replaced.

    Raises:
        LoadError: the landing is not booked, or with mode `replace` a later one of its partition is loaded.
    """
    found = session.execute('select source, entity, "partition" from ops.landing where landing_id = %s', (landing_id,))
    if not found:
        raise LoadError(f"raw.{table.name}: landing {landing_id} is not in ops.landing; land it before loading it")
    source, entity, partition = found[0]
    if session.engine == "postgres":  # on Redshift whoever writes is alone
        session.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"raw.{table.name}|{partition}",))
    later = session.execute(
        'select max(landing_id) from ops.landing where source = %s and entity = %s and "partition" = %s '
        "and landing_id > %s and loaded_at is not null",
        (source, entity, partition, landing_id),
    )
    if table.mode == "replace" and later[0][0] is not None:
        raise LoadError(
            f"raw.{table.name}: landing {landing_id} was superseded by {later[0][0]}, a later landing of "
            f"{source}.{entity} {partition}; load that one"
        )


def superseded(session: Session, landing_id: int) -> list[int]:
    """The loaded landings whose place a landing takes in its partition."""
    rows = session.execute(
        'select old.landing_id from ops.landing as old join ops.landing as new using (source, entity, "partition") '
        "where new.landing_id = %s and old.landing_id < new.landing_id and old.loaded_at is not null "
        "and old.superseded_by is null",
        (landing_id,),
    )
    return [int(row[0]) for row in rows]
