"""Landings into the schema `raw`: each load is one transaction together with its bookkeeping in `ops.landing`.

Tables of the modes `append` and `replace` are partitioned by landing (LIST on `_landing_id`): a load fills a table of
its own and attaches it, `replace` drops in the same transaction what the landing supersedes. So a load costs the same
whatever the table holds, and a landing loaded twice is there once. Tables of the mode `upsert` are keyed: a later
landing's row takes the place of an earlier one's, never the other way round.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import adbc_driver_manager
import psycopg2
import pyarrow as pa

from include.warehouse.session import PsycopgSession, Session, arrow_session, psycopg_session

log = logging.getLogger(__name__)

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
class RawTable:
    """A table of the schema `raw`: of declared columns (name in lower case -> field type) or else of JSON documents."""

    name: str
    mode: Literal["append", "replace", "upsert"]
    columns: Mapping[str, str] | None = None
    keys: Sequence[str] = ()
    description: str = ""

    @property
    def sql_columns(self) -> dict[str, str]:
        """Column name -> Postgres type with its constraints, the lineage columns last."""
        if self.columns is not None:
            own = {name: _POSTGRES_TYPE[kind] for name, kind in self.columns.items()}
        else:
            own = {"payload": "jsonb not null"} | ({"_key": "text primary key"} if self.keys else {})
        return own | _META


def create_table(dsn: str, table: RawTable) -> None:
    """Create the raw table if it is not there, and add columns declared since; an empty table lets views compile."""
    with psycopg_session(dsn) as session:
        session.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"raw.{table.name}",))
        known = _columns(session, table.name)
        if not known:
            columns = ", ".join(f"{_quoted(name)} {kind}" for name, kind in table.sql_columns.items())
            layout = "" if table.mode == "upsert" else " partition by list (_landing_id)"
            session.execute(f"create table raw.{_quoted(table.name)} ({columns}){layout}")
            if table.mode == "upsert":
                session.execute(f"create index on raw.{_quoted(table.name)} (_landing_id)")
            session.execute(f"comment on table raw.{_quoted(table.name)} is %s", (table.description,))
        _add_columns(session, table.name, {name: kind for name, kind in table.sql_columns.items() if name not in known})


def load_batches(dsn: str, table: RawTable, landing_id: int, batches: pa.RecordBatchReader) -> int:
    """Load a tabular landing by binary COPY; memory is a few batches, whatever the rows.

    Args:
        dsn: postgresql:// URI of the role that owns `raw`.
        table: where to; mode `append` or `replace`.
        landing_id: a row of `ops.landing`.
        batches: the landing's rows with `_landing_id` and `_row`; columns the table lacks are added to it.

    Returns:
        Rows loaded.

    Raises:
        LoadError: nothing was loaded, the message says why.
    """
    try:
        with arrow_session(dsn) as session:
            _add_new_columns(session, table, batches.schema)
            target = _open_partition(session, table, landing_id)
            rows = session.cursor.adbc_ingest(target, batches, mode="append", db_schema_name="raw")
            return _close_partition(session, table, landing_id, target, rows)
    except (adbc_driver_manager.Error, pa.ArrowException) as fault:
        raise LoadError(f"raw.{table.name}: landing {landing_id} was not loaded: {_one_line(fault)}") from fault


def load_documents(dsn: str, table: RawTable, landing_id: int, documents: Iterable[bytes]) -> int:
    """Load a landing of JSON documents, streamed into jsonb as they came.

    Args:
        dsn: postgresql:// URI of the role that owns `raw`.
        table: where to; with mode `upsert` its `keys` are paths into the document (`id`, `user.id`).
        landing_id: a row of `ops.landing`.
        documents: raw JSON, one document each, without raw newlines.

    Returns:
        Rows loaded; with mode `upsert` the distinct keys among them.

    Raises:
        LoadError: nothing was loaded, the message says why.
    """
    try:
        with psycopg_session(dsn) as session:
            if table.mode == "upsert":
                return _upsert_documents(session, table, landing_id, documents)
            target = _open_partition(session, table, landing_id)
            rows = _copy_documents(session, f"raw.{_quoted(target)}", landing_id, documents)
            return _close_partition(session, table, landing_id, target, rows)
    except (psycopg2.Error, UnicodeDecodeError) as fault:
        raise LoadError(f"raw.{table.name}: landing {landing_id} was not loaded: {_one_line(fault)}") from fault


def _open_partition(session: Session, table: RawTable, landing_id: int) -> str:
    """Create the landing's own table, empty and not yet attached; return its name."""
    _lock_partition(session, table, landing_id)
    target = _partition_name(table, landing_id)
    session.execute(f"drop table if exists raw.{_quoted(target)}")
    # the check spares the scan that attaching would need to know that every row belongs here
    session.execute(
        f"create table raw.{_quoted(target)} (like raw.{_quoted(table.name)} including defaults, "
        f"check (_landing_id = {landing_id}))"
    )
    return target


def _close_partition(session: Session, table: RawTable, landing_id: int, target: str, rows: int) -> int:
    """Attach the filled table, drop what it supersedes, book the load."""
    session.execute(f"analyze raw.{_quoted(target)}")
    superseded = _superseded(session, landing_id) if table.mode == "replace" else []
    for old in superseded:
        session.execute(f"drop table if exists raw.{_quoted(_partition_name(table, old))}")
    session.execute(
        f"alter table raw.{_quoted(table.name)} attach partition raw.{_quoted(target)} for values in ({landing_id})"
    )
    _book(session, landing_id, rows, superseded)
    log.info(
        "loaded table=raw.%s landing_id=%d rows=%d superseded=%s", table.name, landing_id, rows, superseded or "none"
    )
    return rows


def _upsert_documents(session: PsycopgSession, table: RawTable, landing_id: int, documents: Iterable[bytes]) -> int:
    _lock_partition(session, table, landing_id)
    session.execute(
        "create temporary table incoming (payload jsonb not null, _landing_id bigint not null, _row bigint not null) "
        "on commit drop"
    )
    _copy_documents(session, "incoming", landing_id, documents)
    parts = [f"payload #>> '{{{','.join(key.split('.'))}}}'" for key in table.keys]
    keyless = session.execute(
        f"select min(_row) from incoming where {' or '.join(f'{part} is null' for part in parts)}"
    )
    if keyless[0][0] is not None:
        raise LoadError(
            f"raw.{table.name}: landing {landing_id} was not loaded: its document {keyless[0][0]} lacks a value "
            f"for the key ({', '.join(table.keys)}); mend load.keys in source.yml"
        )
    # two of one key in a landing: the later one holds. A replay of an older landing never undoes a newer one.
    session.execute(
        f"insert into raw.{_quoted(table.name)} as kept (payload, _key, _landing_id, _row) "
        f"select distinct on (_key) payload, _key, _landing_id, _row "
        f"from (select concat_ws('|', {', '.join(parts)}) as _key, * from incoming) as keyed order by _key, _row desc "
        f"on conflict (_key) do update set payload = excluded.payload, _landing_id = excluded._landing_id, "
        f"_row = excluded._row, _loaded_at = now() where kept._landing_id <= excluded._landing_id"
    )
    ((keys,),) = session.execute(f"select count(distinct ({', '.join(parts)})) from incoming")
    _book(session, landing_id, keys, [])
    log.info("loaded table=raw.%s landing_id=%d rows=%d", table.name, landing_id, keys)
    return int(keys)


def _copy_documents(session: PsycopgSession, target: str, landing_id: int, documents: Iterable[bytes]) -> int:
    # \x01 and \x02 cannot stand in JSON, so no document needs quoting or escaping
    session.cursor.copy_expert(
        f"copy {target} (payload, _landing_id, _row) from stdin "
        r"with (format csv, quote e'\x01', delimiter e'\x02')",
        _Lines(b"%b\x02%d\x02%d\n" % (document, landing_id, row) for row, document in enumerate(documents)),
    )
    return session.cursor.rowcount


class _Lines:
    """A file of lines made on demand, as much of one as psycopg2's COPY asks for."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._rest = bytearray()

    def read(self, size: int = -1, /) -> bytes:
        while size < 0 or len(self._rest) < size:
            line = next(self._lines, None)
            if line is None:
                break
            self._rest += line
        chunk = bytes(self._rest if size < 0 else self._rest[:size])
        del self._rest[: len(chunk)]
        return chunk

    def readline(self, _size: int = -1, /) -> bytes:
        return next(self._lines, b"")


def _lock_partition(session: Session, table: RawTable, landing_id: int) -> None:
    """Two loads of one partition go one after the other; what a later landing has replaced stays replaced."""
    found = session.execute('select source, entity, "partition" from ops.landing where landing_id = %s', (landing_id,))
    if not found:
        raise LoadError(f"raw.{table.name}: landing {landing_id} is not in ops.landing; land it before loading it")
    source, entity, partition = found[0]
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


def _superseded(session: Session, landing_id: int) -> list[int]:
    rows = session.execute(
        'select old.landing_id from ops.landing as old join ops.landing as new using (source, entity, "partition") '
        "where new.landing_id = %s and old.landing_id < new.landing_id and old.loaded_at is not null "
        "and old.superseded_by is null",
        (landing_id,),
    )
    return [int(row[0]) for row in rows]


def _book(session: Session, landing_id: int, rows: int, superseded: Sequence[int]) -> None:
    session.execute(
        "update ops.landing set loaded_at = now(), loaded_rows = %s where landing_id = %s", (rows, landing_id)
    )
    for old in superseded:
        session.execute("update ops.landing set superseded_by = %s where landing_id = %s", (landing_id, old))


def _add_new_columns(session: Session, table: RawTable, schema: pa.Schema) -> None:
    known = _columns(session, table.name)
    _add_columns(session, table.name, {field.name: _sql_type(field) for field in schema if field.name not in known})


def _add_columns(session: Session, table: str, columns: Mapping[str, str]) -> None:
    for name, kind in columns.items():
        session.execute(f"alter table raw.{_quoted(table)} add column if not exists {_quoted(name)} {kind}")
        log.info("column added table=raw.%s column=%s type=%s", table, name, kind)


def _columns(session: Session, table: str) -> set[str]:
    rows = session.execute(
        "select column_name::text from information_schema.columns where table_schema = 'raw' and table_name = %s",
        (table,),
    )
    return {str(row[0]) for row in rows}


def _sql_type(field: pa.Field) -> str:
    """Postgres type of a column that a file brought along."""
    kind = field.type
    if pa.types.is_integer(kind):
        return "bigint"
    if pa.types.is_floating(kind):
        return "double precision"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamptz"
    if pa.types.is_date(kind):
        return "date"
    return "boolean" if pa.types.is_boolean(kind) else "text"


def _partition_name(table: RawTable, landing_id: int) -> str:
    # landing ids differ between tables too, so a cut name stays unique (Postgres allows 63 bytes)
    return f"{table.name[:46]}_{landing_id}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _one_line(fault: BaseException) -> str:
    return re.sub(r"\s+", " ", str(fault)).strip()
