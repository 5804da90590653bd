"""Landings into the schema `raw`: each load is one transaction together with its bookkeeping in `ops.landing`.

Tables of the modes `append` and `replace` are partitioned by landing (LIST on `_landing_id`): a load fills a table of
its own and attaches it, `replace` drops in the same transaction what the landing supersedes. So a load costs the same
whatever the table holds, and a landing loaded twice is there once. Tables of the mode `upsert` are keyed: a later
landing's row takes the place of an earlier one's, never the other way round, and `RawTable.absent` says what becomes of
the rows that a complete landing no longer has.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import psycopg2
import pyarrow as pa

from include.warehouse.account import MOST, Account
from include.warehouse.copying import OtherType, copy_batches, copy_lines, fitted
from include.warehouse.fence import Fence
from include.warehouse.jsonb import fault_of, storable
from include.warehouse.landings import CURSOR_TYPES
from include.warehouse.quarantine import clear
from include.warehouse.raw import CursorMark, LoadError, RawTable, lock_partition, superseded
from include.warehouse.session import PsycopgSession, Session, engine_of, psycopg_session

__all__ = [
    "Account",
    "CursorMark",
    "LoadError",
    "RawTable",
    "Record",
    "create_table",
    "load_batches",
    "load_documents",
]

log = logging.getLogger(__name__)


class Unreadable(Protocol):
    """What stands where a record should, and why it is none: a predicate without its values."""

    @property
    def fault(self) -> str: ...
    @property
    def text(self) -> str: ...


Record = tuple[bytes | Unreadable, bytes | None]
"""A JSON record's own text, and what was asked for, JSON too"""


def create_table(dsn: str, table: RawTable) -> None:
    """Create the raw table if it is not there, and add columns declared since; an empty table lets views compile."""
    if engine_of(dsn) == "redshift":
        from include.warehouse.redshift import load as redshift

        redshift.create_table(dsn, table)
        return
    with psycopg_session(dsn) as session:
        session.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"raw.{table.name}",))
        known = _columns(session, table.name)
        if not known:
            columns = ", ".join(f"{_quoted(name)} {kind}" for name, kind in table.sql_columns.items())
            if table.mode == "upsert" and table.columns is not None:
                columns += f", primary key ({_list(table.keys)})"
            layout = "" if table.mode == "upsert" else " partition by list (_landing_id)"
            session.execute(f"create table raw.{_quoted(table.name)} ({columns}){layout}")
            if table.mode == "upsert":
                session.execute(f"create index on raw.{_quoted(table.name)} (_landing_id)")
            session.execute(f"comment on table raw.{_quoted(table.name)} is %s", (table.description,))
        _add_columns(session, table.name, {name: kind for name, kind in table.sql_columns.items() if name not in known})


def load_batches(
    dsn: str,
    table: RawTable,
    landing_id: int,
    batches: pa.RecordBatchReader,
    *,
    account: Account | None = None,
    fence: Fence | None = None,
) -> int:
    """Load a tabular landing by binary COPY; memory is a few batches, whatever the rows.

    Args:
        dsn: postgresql:// URI of the role that owns `raw`.
        table: where to; with mode `upsert` its `keys` are columns.
        landing_id: a row of `ops.landing`.
        batches: the landing's rows with `_landing_id` and `_row`; columns the table lacks are added to it.
        account: is kept while the batches are read, and booked; without it no row may be unreadable.
        fence: refuses the commit once a later try of the task has begun.

    Returns:
        Rows loaded; with mode `upsert` the distinct keys among them that no later landing has.

    Raises:
        LoadError: nothing was loaded, the message says why.
        Superseded: by `fence`; nothing was loaded by this try.
    """
    account = account or Account(table.name, landing_id)
    try:
        with psycopg_session(dsn) as session:
            _take_over(session, dsn, fence)
            _add_new_columns(session, table, batches.schema)
            batches = fitted(batches, _columns(session, table.name))
            if table.mode == "upsert":
                rows = _upsert_batches(session, table, landing_id, batches, account)
            else:
                target = _open_partition(session, table, landing_id)
                rows = copy_batches(session, f"raw.{_quoted(target)} ({_list(batches.schema.names)})", batches)
                _close_partition(session, table, landing_id, target, rows, account)
            if fence is not None:
                fence.check(session)
            return rows
    except (psycopg2.Error, pa.ArrowException) as fault:
        _refuse_superseded(dsn, fence)
        raise LoadError(f"raw.{table.name}: landing {landing_id} was not loaded: {_one_line(fault)}") from None
    except OtherType as fault:
        raise LoadError(
            f"raw.{table.name}: landing {landing_id} was not loaded: {fault}. Have the file corrected; or if that is "
            "what the column is now, say so in the fields of source.yml, drop the table (with cascade) and rebuild it "
            f"from S3: ./sluice replay {table.name.partition('__')[0]} --all"
        ) from None


def load_documents(
    dsn: str,
    table: RawTable,
    landing_id: int,
    records: Iterable[Record],
    *,
    account: Account | None = None,
    fence: Fence | None = None,
) -> int:
    """Load a landing of JSON records, streamed into jsonb as they came (but for what it cannot hold: see `jsonb`).

    Args:
        dsn: postgresql:// URI of the role that owns `raw`.
        table: where to; with mode `upsert` its `keys` are paths into the document (`id`, `user.id`).
        landing_id: a row of `ops.landing`.
        records: raw JSON without raw newlines, each with what was asked for (JSON too), which goes into `_request`
            where the table has it.
        account: is kept while the records are read, and booked; without it none may be unreadable.
        fence: refuses the commit once a later try of the task has begun.

    Returns:
        Rows loaded; with mode `upsert` the distinct keys among them.

    Raises:
        LoadError: nothing was loaded, the message says why.
        Superseded: by `fence`; nothing was loaded by this try.
    """
    account = account or Account(table.name, landing_id)
    try:
        with psycopg_session(dsn) as session:
            _take_over(session, dsn, fence)
            if table.mode == "upsert":
                rows = _upsert_documents(session, table, landing_id, records, account)
            else:
                target = _open_partition(session, table, landing_id)
                rows = _copy_documents(session, f"raw.{_quoted(target)}", table, landing_id, records, account)
                _close_partition(session, table, landing_id, target, rows, account)
            _mark(session, table, landing_id)
            if fence is not None:
                fence.check(session)
            return rows
    except (psycopg2.Error, UnicodeDecodeError) as fault:
        _refuse_superseded(dsn, fence)
        raise LoadError(f"raw.{table.name}: landing {landing_id} was not loaded: {_one_line(fault)}") from None


def _take_over(session: Session, dsn: str, fence: Fence | None) -> None:
    """End what an earlier try of the task is still at: it could not commit, and its locks would hold this one up."""
    if fence is None:
        return
    task = f"load {hashlib.md5(fence.key.encode(), usedforsecurity=False).hexdigest()} "
    session.execute("select set_config('application_name', %s, true)", (f"{task}{fence.number}",))
    # From here on a later try can see this one and end it; one that has begun before is seen by this.
    with psycopg_session(dsn) as other:
        fence.check(other)
    for pid, name in session.execute(
        "select pid, application_name from pg_stat_activity "
        "where datname = current_database() and usename = current_user and starts_with(application_name, %s)",
        (task,),
    ):
        if int(str(name).removeprefix(task)) < fence.number:
            session.execute("select pg_terminate_backend(%s::int)", (pid,))
            log.warning("ended an earlier try task=%s backend=%d", fence.key, pid)


def _refuse_superseded(dsn: str, fence: Fence | None) -> None:
    """Say that a later try has taken over, where that is why this one broke off."""
    if fence is not None:
        with suppress(psycopg2.Error), psycopg_session(dsn) as session:
            fence.check(session)


def _open_partition(session: Session, table: RawTable, landing_id: int) -> str:
    """Create the landing's own table, empty and not yet attached; return its name."""
    lock_partition(session, table, landing_id)
    target = _partition_name(table, landing_id)
    session.execute(f"drop table if exists raw.{_quoted(target)}")
    # the check spares the scan that attaching would need to know that every row belongs here
    session.execute(
        f"create table raw.{_quoted(target)} (like raw.{_quoted(table.name)} including defaults, "
        f"check (_landing_id = {landing_id}))"
    )
    return target


def _close_partition(
    session: Session, table: RawTable, landing_id: int, target: str, rows: int, account: Account
) -> None:
    """Attach the filled table, drop what it supersedes, book the load."""
    account.judge(rows)
    # a landing is read whole: how many rows it has is nearly all that a plan needs to know
    session.execute("set local default_statistics_target = 10")
    session.execute(f"analyze raw.{_quoted(target)}")
    replaced = superseded(session, landing_id) if table.mode == "replace" else []
    for old in replaced:
        session.execute(f"drop table if exists raw.{_quoted(_partition_name(table, old))}")
        clear(session, table.name, old)
    session.execute(
        f"alter table raw.{_quoted(table.name)} attach partition raw.{_quoted(target)} for values in ({landing_id})"
    )
    _book(session, landing_id, rows, replaced)
    account.book(session)
    log.info(
        "loaded table=raw.%s landing_id=%d rows=%d superseded=%s", table.name, landing_id, rows, replaced or "none"
    )


def _upsert_batches(
    session: PsycopgSession, table: RawTable, landing_id: int, batches: pa.RecordBatchReader, account: Account
) -> int:
    lock_partition(session, table, landing_id)
    columns = batches.schema.names
    session.execute(
        f"create temporary table incoming on commit drop as "
        f"select {_list(columns)} from raw.{_quoted(table.name)} limit 0"
    )
    read = copy_batches(session, f"incoming ({_list(columns)})", batches)
    meta = "".join(f" - '{name}'" for name in columns if name in ("_landing_id", "_row"))
    _hold_keyless(session, table, table.keys, account, payload=f"to_jsonb(incoming){meta}")
    account.judge(read)
    return _merge_incoming(session, table, landing_id, columns, table.keys, account)


def _upsert_documents(
    session: PsycopgSession, table: RawTable, landing_id: int, records: Iterable[Record], account: Account
) -> int:
    lock_partition(session, table, landing_id)
    # null as soon as one of them is
    key = " || '|' || ".join(f"({_at(path)})" for path in table.keys)
    session.execute(
        "create temporary table incoming (payload jsonb not null, _request jsonb not null default '{}', "
        "_landing_id bigint not null, _row bigint not null, "
        f"_key text generated always as ({key}) stored) on commit drop"
    )
    read = _copy_documents(session, "incoming", table, landing_id, records, account)
    _hold_keyless(
        session,
        table,
        ("_key",),
        account,
        payload="payload",
        request="_request::text" if table.has_request else "null::text",
    )
    account.judge(read)
    columns = ("payload", "_key", *(["_request"] if table.has_request else []), "_landing_id", "_row")
    return _merge_incoming(session, table, landing_id, columns, ("_key",), account)


def _hold_keyless(
    session: Session,
    table: RawTable,
    keys: Sequence[str],
    account: Account,
    *,
    payload: str,
    request: str = "null::text",
) -> None:
    """Take the rows out of `incoming` that lack a value for the key."""
    is_keyless = " or ".join(f"{_quoted(key)} is null" for key in keys)
    keyless = session.execute(
        f"select _row, ({payload})::text, {request} from incoming where {is_keyless} order by _row limit {MOST + 1}"
    )
    for row, text, asked in keyless:
        fault = f"lacks a value for the key ({', '.join(table.keys)}); mend load.keys in source.yml"
        account.hold(int(row), [(None, fault)], payload=text, request=asked)
    if keyless:
        session.execute(f"delete from incoming where {is_keyless}")


def _merge_incoming(
    session: Session, table: RawTable, landing_id: int, columns: Sequence[str], keys: Sequence[str], account: Account
) -> int:
    """The rows of the temporary table `incoming` take their places in a keyed table; the load is booked."""
    target = f"raw.{_quoted(table.name)}"
    session.execute("analyze incoming")
    same = " and ".join(f"incoming.{_quoted(key)} = kept.{_quoted(key)}" for key in keys)
    if table.absent == "keep" or not _has_later(session, table, landing_id):
        # What the landing does not have of a row, the row has no more.
        set_all = ", ".join(
            f"{_quoted(name)} = excluded.{_quoted(name)}"
            for name in sorted(_columns(session, table.name).keys() - {*keys, "_loaded_at"})
        )
        # An older landing that is yet to be published is booked with what raw still holds of it, for its gate counts.
        session.execute(
            "update ops.landing as older set loaded_rows = loaded_rows - taken.row_count from ("
            f"select kept._landing_id, count(*) as row_count from {target} as kept "
            f"where kept._landing_id < {landing_id} and kept._row >= 0 and kept._landing_id in ("
            "select waiting.landing_id from ops.landing as waiting join ops.landing as this using (source, entity) "
            f"where this.landing_id = {landing_id} and waiting.loaded_at is not null and waiting.published_at is null) "
            f"and exists (select from incoming where {same}) group by kept._landing_id"
            ") as taken where older.landing_id = taken._landing_id"
        )
        # Two of one key in a landing: the later one holds. A replay of an older landing never undoes a newer one.
        session.execute(
            f"insert into {target} as kept ({_list(columns)}) "
            f"select distinct on ({_list(keys)}) {_list(columns)} from incoming order by {_list(keys)}, _row desc "
            f"on conflict ({_list(keys)}) do update set {set_all}, _loaded_at = now() "
            f"where kept._landing_id <= excluded._landing_id"
        )
        if not account.is_short:  # a row that is held back is not gone
            _settle_absent(session, table, landing_id, keys, same)
        ((rows,),) = session.execute(
            f"select count(*) from (select distinct {_list(keys)} from incoming) as incoming "
            f"where not exists (select from {target} as kept where {same} and kept._landing_id > {landing_id})"
        )
    else:
        rows = 0  # a later complete landing has said all there is to say
    _book(session, landing_id, rows, [])
    account.book(session)
    log.info("loaded table=raw.%s landing_id=%d rows=%d", table.name, landing_id, rows)
    return int(rows)


def _settle_absent(session: Session, table: RawTable, landing_id: int, keys: Sequence[str], same: str) -> None:
    """What `RawTable.absent` says becomes of the rows whose keys a complete landing, in `incoming`, does not have."""
    if table.absent == "keep":
        return
    absent = f"kept._landing_id < {landing_id} and not exists (select from incoming where {same})"
    if table.absent == "delete":
        session.execute(f"delete from raw.{_quoted(table.name)} as kept where {absent}")
        return
    # Marked once: who is absent for longer is no news of the later landing. They stand at no place in the landing's
    # objects, so they count down from -1: `_landing_id` and `_row` together stay unique.
    session.execute(
        f"with gone as (select {_list(keys)}, -row_number() over (order by {_list(keys)}) as place "
        f"from raw.{_quoted(table.name)} as kept where kept._absent_since is null and {absent}) "
        f"update raw.{_quoted(table.name)} as kept set _absent_since = landing.fetched_at, "
        f"_landing_id = {landing_id}, _row = incoming.place, _loaded_at = now() "
        f"from ops.landing as landing, gone as incoming where landing.landing_id = {landing_id} and {same}"
    )


def _has_later(session: Session, table: RawTable, landing_id: int) -> bool:
    """Whether a later landing is loaded, of whatever partition: a complete one leaves an older one nothing to say."""
    session.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"raw.{table.name}",))
    ((later,),) = session.execute(
        "select count(*) from ops.landing as later join ops.landing as this using (source, entity) "
        "where this.landing_id = %s and later.landing_id > this.landing_id and later.loaded_at is not null",
        (landing_id,),
    )
    return bool(later)


def _copy_documents(
    session: PsycopgSession,
    target: str,
    table: RawTable,
    landing_id: int,
    records: Iterable[Record],
    account: Account,
) -> int:
    if table.has_request:
        columns = "payload, _request, _landing_id, _row"
        lines = (
            b"%b\x02%b\x02%d\x02%d\n" % (storable(record), request or b"{}", landing_id, row)
            for row, record, request in _readable(records, account)
        )
    else:
        columns = "payload, _landing_id, _row"
        lines = (
            b"%b\x02%d\x02%d\n" % (storable(record), landing_id, row) for row, record, _ in _readable(records, account)
        )
    return copy_lines(session, f"{target} ({columns})", lines)


def _readable(records: Iterable[Record], account: Account) -> Iterator[tuple[int, bytes, bytes | None]]:
    """The records that jsonb takes, each with its position among all; the others are held back."""
    for row, (record, request) in enumerate(records):
        account.rows = row + 1
        if isinstance(record, bytes):
            fault = fault_of(record)
            if fault is None:
                yield row, record, request
                continue
            text = record.decode()
        else:
            fault, text = record.fault, record.text
        account.hold(row, [(None, fault)], record=text, request=request.decode() if request else None)


def _mark(session: Session, table: RawTable, landing_id: int) -> None:
    """Remember how far the landing's records go: the greatest value for each request and day. It never goes back."""
    if table.cursor is None:
        return
    kind = CURSOR_TYPES[table.cursor.type]
    request = "_request" if table.has_request else "'{}'::jsonb"
    by = f"cast(({_at(table.cursor.by)})::timestamptz at time zone 'UTC' as date)" if table.cursor.by else "null"
    session.execute(
        "insert into ops.cursor_mark as held (source, entity, request, day, value, landing_id) "
        "select distinct on (request, day) source, entity, request, day, value, landing_id from ("
        f"select landing.source, landing.entity, {request} as request, "
        f"coalesce({by}, date '0001-01-01') as day, {_at(table.cursor.field)} as value, landing.landing_id "
        f"from raw.{_quoted(table.name)} join ops.landing as landing on landing.landing_id = _landing_id "
        f"where _landing_id = {landing_id}) as records "
        f"where value is not null order by request, day, value::{kind} desc "
        "on conflict (source, entity, request, day) do update "
        "set value = excluded.value, landing_id = excluded.landing_id "
        f"where excluded.value::{kind} > held.value::{kind}"
    )


def _at(path: str) -> str:
    return f"payload #>> '{{{path.replace('.', ',')}}}'"


def _book(session: Session, landing_id: int, rows: int, superseded: Sequence[int]) -> None:
    session.execute(
        # what is loaded anew is not published: a reader has what was loaded before
        "update ops.landing set loaded_at = now(), loaded_rows = %s, published_at = null where landing_id = %s",
        (rows, landing_id),
    )
    session.execute(
        "insert into ops.loaded_file (source, entity, uri, etag, landing_id) "
        "select source, entity, file ->> 'uri', file ->> 'etag', landing_id "
        "from ops.landing, jsonb_array_elements(request -> 'files') as file where landing_id = %s "
        "on conflict (source, entity, uri, etag) do update set landing_id = excluded.landing_id",
        (landing_id,),
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


def _columns(session: Session, table: str) -> dict[str, str]:
    """The columns of a raw table -> their types, as information_schema names them."""
    rows = session.execute(
        "select column_name::text, data_type::text from information_schema.columns "
        "where table_schema = 'raw' and table_name = %s",
        (table,),
    )
    return {str(name): str(kind) for name, kind in rows}


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


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(_quoted, names))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _one_line(fault: BaseException) -> str:
    """What the database says, without its DETAIL and CONTEXT: those quote the row, which may be personal."""
    said = re.split(r"\s+(?:DETAIL|CONTEXT|HINT|QUERY):", str(fault), maxsplit=1)[0]
    return re.sub(r"\s+", " ", said).strip()
