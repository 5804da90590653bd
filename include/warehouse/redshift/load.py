"""Landings into the schema `raw` of Redshift, by COPY from S3: the rows come into a temporary table first.

That is a transaction of its own, which holds up nobody. The next one takes the writers' lock, moves the rows into raw
and books them; so a landing is there as a whole or not at all, and once, however often it is loaded.

- `load_parquet`: Redshift reads the landing's own Parquet files; no row passes the worker. COPY does not tell where in
  a file a row stands, so `_row` numbers a part's rows by the order of their values: a reload gives the same numbers.
- `load_batches`, `load_documents`: all else is converted on its way (see `scratch`), a batch at a time. COPY reads no
  workbook, knows no rows to be held back, and says of no line of JSON which request it answers.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from redshift_connector.error import Error as RedshiftError

from include.warehouse.jsonb import fault_of, storable
from include.warehouse.landings import CursorType
from include.warehouse.quarantine import clear
from include.warehouse.raw import LoadError, RawTable, lock_partition, superseded
from include.warehouse.redshift.scratch import Copied, Scratch
from include.warehouse.redshift.sql import LONGEST_TEXT, listed, numbers, quoted, said, same, text
from include.warehouse.session import RedshiftSession, redshift_options, redshift_session

if TYPE_CHECKING:
    from include.warehouse.account import Account
    from include.warehouse.fence import Fence
    from include.warehouse.load import Record

log = logging.getLogger(__name__)

TYPES: Mapping[str, str] = {
    "bigint": "bigint",
    "double": "double precision",
    "text": f"varchar({LONGEST_TEXT})",
    "timestamp": "timestamp",
    "date": "date",
    "boolean": "boolean",
}
_META = {"_landing_id": "bigint not null", "_row": "bigint not null", "_loaded_at": "timestamptz not null"}
_LONGEST_KEY = 4096
_LONGEST_LINE = 4 * 1024 * 1024  # of JSON that COPY reads as one row
COMPARED_AS: Mapping[CursorType, str] = {
    "number": "numeric(38, 9)",
    "timestamp": "timestamptz",
    "text": f"varchar({LONGEST_TEXT})",
}
"""how two values of a cursor compare -> the Redshift type that does so"""
_EXACT = 2**53
"""up to here a double holds each whole number"""


class _File(Protocol):
    """A Parquet file of a landing: see include/landing/footers.py."""

    @property
    def name(self) -> str: ...
    @property
    def uri(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> Sequence[tuple[str, pa.DataType]]: ...


class NotAsDeclared(Exception):  # noqa: N818 - what it is, not what went wrong
    """COPY cannot read the files as they are: their rows have to be converted. The message says why."""


@dataclass(frozen=True)
class Target:
    """What a load is about, and how it ends.

    Attributes:
        dsn: redshift:// URI of the role that owns `raw`, with the `iam_role` of its COPYs.
        table: Where to.
        landing_id: A row of `ops.landing`.
        account: Is kept while the rows are read, and booked.
        fence: Refuses the commit once a later try of the task has begun.
        dropped: Files of the drop zone that the landing has taken, to be booked as loaded.
    """

    dsn: str
    table: RawTable
    landing_id: int
    account: Account
    fence: Fence | None = None
    dropped: Sequence[tuple[str, str]] = field(default=())


def create_table(dsn: str, table: RawTable) -> None:
    """Create the raw table if it is not there, and add columns declared since; an empty table lets views compile."""
    with redshift_session(dsn, writes=True) as session:
        known = columns_of(session, "raw", table.name)
        wanted = _columns(table)
        if not known:
            layout = f"{', '.join(f'{quoted(name)} {kind}' for name, kind in wanted.items())}"
            session.execute(f"create table raw.{quoted(table.name)} ({layout}) sortkey (_landing_id)")
            if table.description:
                # a literal of Redshift's holds no backslash
                description = text(table.description.replace("\\", "/"))
                session.execute(f"comment on table raw.{quoted(table.name)} is {description}")
        else:
            _add_columns(session, table.name, {name: wanted[name] for name in wanted if name not in known})


def load_parquet(target: Target, files: Sequence[_File], types: Mapping[str, str], *, scratch: Scratch) -> int:
    """Load a landing of Parquet files straight from its objects; the worker sees their footers alone.

    Args:
        target: where to.
        files: the landing's parts, in order.
        types: the columns of its rows, name -> field type (`include.landing.footers.types_of`).
        scratch: where the manifests of the COPYs go.

    Returns:
        Rows loaded; with mode `upsert` the distinct keys among them that no later landing has.

    Raises:
        NotAsDeclared: a file or a value cannot be read as declared by COPY and casts; nothing was loaded.
        LoadError: nothing was loaded, the message says why.
        Superseded: by the fence; nothing was loaded by this try.
    """
    selected = [_selected(file, types) for file in files]
    copies = [scratch.manifest([(file.uri, file.bytes)], "parquet", file.rows) for file in files]
    incoming = {name: TYPES[kind] for name, kind in types.items()} | {"_row": "bigint"}

    def stage(session: RedshiftSession) -> int:
        first = 0
        for number, (file, copied, chosen) in enumerate(zip(files, copies, selected, strict=True)):
            part = f"part_{number}"
            own = {f"c{at}": _file_type(kind) for at, (_, kind) in enumerate(file.columns)}
            session.execute(f"create temporary table {part} ({', '.join(f'{n} {k}' for n, k in own.items())})")
            try:
                session.execute(_copy(target.dsn, part, list(own), copied))
            except RedshiftError as fault:
                raise NotAsDeclared(f"{file.uri}: COPY cannot read it: {said(fault)}") from None
            _refuse_losses(session, part, file, chosen)
            session.execute(
                f"insert into incoming ({listed([*chosen, '_row'])}) "
                f"select {', '.join(cast.expression for cast in chosen.values())}, "
                f"row_number() over (order by {', '.join(own)}) - 1 + {first} from {part}"
            )
            session.execute(f"drop table {part}")
            target.account.part(file.name, file.uri, first, file.rows)
            first += file.rows
        if target.table.mode == "upsert":
            keyless = " or ".join(f"{quoted(key)} is null" for key in target.table.keys)
            if session.execute(f"select 1 from incoming where {keyless} limit 1"):
                raise NotAsDeclared("a row lacks a value for the key")
        return first

    return _load(target, incoming, stage, keys=target.table.keys)


def load_batches(target: Target, batches: pa.RecordBatchReader, *, scratch: Scratch) -> int:
    """Load a tabular landing; memory is a few batches, whatever the rows.

    Args:
        target: where to; with mode `upsert` the table's `keys` are columns.
        batches: the landing's rows with `_landing_id` and `_row`; columns the table lacks are added to it.
        scratch: where they lie for COPY.

    Returns:
        Rows loaded; with mode `upsert` the distinct keys among them that no later landing has.

    Raises:
        LoadError: nothing was loaded, the message says why.
        Superseded: by the fence; nothing was loaded by this try.
    """
    schema = pa.schema([one for one in batches.schema if one.name != "_landing_id"])
    copied = scratch.parquet(schema, (batch.select(schema.names) for batch in _fitting(batches, target)))
    incoming = {one.name: _sql_type(one.type) for one in schema}

    def stage(session: RedshiftSession) -> int:
        if copied is not None:
            session.execute(_copy(target.dsn, "incoming", list(incoming), copied))
        return copied.rows if copied else 0

    return _load(target, incoming, stage, keys=target.table.keys)


def load_documents(target: Target, records: Iterable[Record], *, scratch: Scratch) -> int:
    """Load a landing of JSON records into SUPER, as they came (but for what it cannot hold: see `jsonb`).

    Args:
        target: where to; with mode `upsert` the table's `keys` are paths into the document (`id`, `user.id`).
        records: raw JSON without raw newlines, each with what was asked for (JSON too), which goes into `_request`
            where the table has it.
        scratch: where they lie for COPY.

    Returns:
        Rows loaded; with mode `upsert` the distinct keys among them that no later landing has.

    Raises:
        LoadError: nothing was loaded, the message says why.
        Superseded: by the fence; nothing was loaded by this try.
    """
    table = target.table
    incoming = {"payload": "super", "_row": "bigint"}
    incoming |= {"_key": f"varchar({_LONGEST_KEY})"} if table.keys else {}
    incoming |= {"_request": "super"} if table.has_request else {}
    of_marks = {"_asked": f"varchar({LONGEST_TEXT})", "_value": f"varchar({LONGEST_TEXT})", "_day": "date"}
    copied = scratch.json(_lines(records, target))
    staged = incoming | (of_marks if table.cursor else {})

    def stage(session: RedshiftSession) -> int:
        if copied is not None:
            session.execute(_copy(target.dsn, "incoming", list(staged), copied))
        return copied.rows if copied else 0

    return _load(target, staged, stage, keys=("_key",) if table.keys else (), columns=list(incoming))


def columns_of(session: RedshiftSession, schema: str, table: str) -> dict[str, str]:
    """Name -> type of a table's columns, in their order; none where it is not there."""
    rows = session.execute(
        "select column_name, data_type from svv_columns where table_schema = %s and table_name = %s "
        "order by ordinal_position",
        (schema, table),
    )
    return {str(name): str(kind) for name, kind in rows}


def _load(
    target: Target,
    incoming: Mapping[str, str],
    stage: Callable[[RedshiftSession], int],
    *,
    keys: Sequence[str],
    columns: Sequence[str] | None = None,
) -> int:
    """Stage the rows in the temporary table `incoming`, then move those columns of it into raw and book the load."""
    table, landing_id, account = target.table, target.landing_id, target.account
    columns = list(incoming) if columns is None else columns
    try:
        with redshift_session(target.dsn) as session:
            session.execute(
                f"create temporary table incoming ({', '.join(f'{quoted(n)} {k}' for n, k in incoming.items())})"
            )
            account.judge(stage(session))
            session.commit()
            session.lock()
            lock_partition(session, table, landing_id)
            known = columns_of(session, "raw", table.name)
            _add_columns(session, table.name, {name: incoming[name] for name in columns if name not in known})
            move = _upsert if table.mode == "upsert" else _append
            rows, replaced = move(session, target, columns, keys)
            _book(session, target, rows, replaced)
            account.book(session)
            _mark(session, target)
            if target.fence is not None:
                target.fence.check(session)
    except RedshiftError as fault:
        if target.fence is not None:
            with suppress(RedshiftError), redshift_session(target.dsn) as session:
                target.fence.check(session)
        raise LoadError(f"raw.{table.name}: landing {landing_id} was not loaded: {said(fault)}") from None
    log.info(
        "loaded table=raw.%s landing_id=%d rows=%d superseded=%s", table.name, landing_id, rows, replaced or "none"
    )
    return rows


def _append(
    session: RedshiftSession, target: Target, columns: Sequence[str], _keys: Sequence[str]
) -> tuple[int, list[int]]:
    """The landing's rows are what is incoming; with `replace`, those of the landings before it are gone."""
    table = target.table
    replaced = superseded(session, target.landing_id) if table.mode == "replace" else []
    gone = numbers([target.landing_id, *replaced])
    session.execute(f"delete from raw.{quoted(table.name)} where _landing_id in ({gone})")
    for old in replaced:
        clear(session, table.name, old)
    _insert(session, target, columns, "incoming")
    ((rows,),) = session.execute("select count(*) from incoming")
    return int(rows), replaced


def _upsert(
    session: RedshiftSession, target: Target, columns: Sequence[str], keys: Sequence[str]
) -> tuple[int, list[int]]:
    """A row takes the place of that of its key, unless that is a later landing's; of two of one landing the later."""
    table, name, landing_id = target.table, quoted(target.table.name), target.landing_id
    if table.absent != "keep" and _has_later(session, landing_id):
        return 0, []  # a later complete landing has said all there is to say
    session.execute(
        f"create temporary table latest as select * from (select {listed(columns)}, "
        f"row_number() over (partition by {listed(keys)} order by _row desc) as place from incoming) "
        "as numbered where place = 1"
    )
    matched = same(keys, "latest", name)
    session.execute(f"delete from latest using raw.{name} where {matched} and {name}._landing_id > {landing_id}")
    # An older landing that is yet to be published is booked with what raw still holds of it, for its gate counts.
    session.execute(
        "update ops.landing set loaded_rows = loaded_rows - taken.row_count from ("
        f"select {name}._landing_id as taken_from, count(*) as row_count from raw.{name} "
        f"inner join latest on {matched} where {name}._landing_id < {landing_id} and {name}._row >= 0 "
        f"group by {name}._landing_id"
        ") as taken where landing_id = taken.taken_from and loaded_at is not null and published_at is null"
    )
    session.execute(f"delete from raw.{name} using latest where {matched}")
    _insert(session, target, columns, "latest")
    if not target.account.is_short:  # a row that is held back is not gone
        _settle_absent(session, target, keys)
    ((rows,),) = session.execute("select count(*) from latest")
    return int(rows), []


def _insert(session: RedshiftSession, target: Target, columns: Sequence[str], source: str) -> None:
    session.execute(
        f"insert into raw.{quoted(target.table.name)} ({listed(columns)}, _landing_id, _loaded_at) "
        f"select {listed(columns)}, {target.landing_id}, getdate() from {source}"
    )


def _settle_absent(session: RedshiftSession, target: Target, keys: Sequence[str]) -> None:
    """What `RawTable.absent` says becomes of the rows whose keys a complete landing, in `incoming`, does not have."""
    name, landing_id = quoted(target.table.name), target.landing_id
    if target.table.absent == "keep":
        return
    absent = f"_landing_id < {landing_id} and not exists (select 1 from incoming where {same(keys, 'incoming', name)})"
    if target.table.absent == "delete":
        session.execute(f"delete from raw.{name} where {absent}")
        return
    # Marked once, at places below 0: see the same of Postgres.
    session.execute(
        f"create temporary table gone as select {listed(keys)}, -row_number() over (order by {listed(keys)}) as place "
        f"from raw.{name} where _absent_since is null and {absent}"
    )
    session.execute(
        f"update raw.{name} set _absent_since = landing.fetched_at, _landing_id = {landing_id}, _row = gone.place, "
        f"_loaded_at = getdate() from gone, ops.landing as landing "
        f"where landing.landing_id = {landing_id} and {same(keys, 'gone', name)}"
    )


def _has_later(session: RedshiftSession, landing_id: int) -> bool:
    ((later,),) = session.execute(
        "select count(*) from ops.landing as later join ops.landing as this using (source, entity) "
        "where this.landing_id = %s and later.landing_id > this.landing_id and later.loaded_at is not null",
        (landing_id,),
    )
    return bool(later)


def _book(session: RedshiftSession, target: Target, rows: int, replaced: Sequence[int]) -> None:
    landing_id = target.landing_id
    session.execute(
        # what is loaded anew is not published: a reader has what was loaded before
        "update ops.landing set loaded_at = getdate(), loaded_rows = %s, published_at = null where landing_id = %s",
        (rows, landing_id),
    )
    if replaced:
        session.execute(
            f"update ops.landing set superseded_by = {landing_id} where landing_id in ({numbers(replaced)})"
        )
    if not target.dropped:
        return
    session.execute("create temporary table dropped (uri varchar(2048), etag varchar(256))")
    dropped = list(target.dropped)
    for first in range(0, len(dropped), 500):
        some = dropped[first : first + 500]
        session.execute(
            f"insert into dropped values {', '.join(['(%s, %s)'] * len(some))}",
            list(itertools.chain.from_iterable(some)),
        )
    known = "landing.source = loaded_file.source and landing.entity = loaded_file.entity"
    session.execute(
        "delete from ops.loaded_file using dropped, ops.landing as landing "
        f"where landing.landing_id = {landing_id} and {known} "
        "and dropped.uri = loaded_file.uri and dropped.etag = loaded_file.etag"
    )
    session.execute(
        "insert into ops.loaded_file (source, entity, uri, etag, landing_id) "
        "select landing.source, landing.entity, dropped.uri, dropped.etag, landing.landing_id "
        f"from dropped cross join ops.landing as landing where landing.landing_id = {landing_id}"
    )


def _mark(session: RedshiftSession, target: Target) -> None:
    """Remember how far the landing's records go: the greatest value for each request and day. It never goes back."""
    cursor, landing_id = target.table.cursor, target.landing_id
    if cursor is None:
        return
    kind = COMPARED_AS[cursor.type]
    session.execute(
        "create temporary table marks as select * from ("
        "select landing.source, landing.entity, _asked as request, _day as marked_day, _value as value, "
        f"row_number() over (partition by _asked, _day order by cast(_value as {kind}) desc) as place "
        "from incoming cross join ops.landing as landing "
        f"where landing.landing_id = {landing_id} and _value is not null) as numbered where place = 1"
    )
    held = (
        "marks.source = cursor_mark.source and marks.entity = cursor_mark.entity "
        'and marks.request = cursor_mark.request and marks.marked_day = cursor_mark."day"'
    )
    greater = f"cast(marks.value as {kind}) > cast(cursor_mark.value as {kind})"
    session.execute(f"delete from marks using ops.cursor_mark where {held} and not {greater}")
    session.execute(f"delete from ops.cursor_mark using marks where {held}")
    session.execute(
        'insert into ops.cursor_mark (source, entity, request, "day", value, landing_id) '
        f"select source, entity, request, marked_day, value, {landing_id} from marks"
    )


def _copy(dsn: str, table: str, columns: Sequence[str], copied: Copied) -> str:
    """The COPY of a temporary table (https://docs.aws.amazon.com/redshift/latest/dg/r_COPY.html)."""
    options = redshift_options(dsn)
    role = options.get("iam_role", "default")
    given = "default" if role == "default" else text(role)
    # COPY takes a list of columns for JSON; Parquet's are taken in their order
    of_columns = f" ({listed(columns)})" if copied.format == "json" else ""
    how = "format as parquet" if copied.format == "parquet" else "format as json 'auto' gzip"
    region = f" region {text(options['region'])}" if "region" in options and copied.format == "json" else ""
    return f"copy {table}{of_columns} from {text(copied.manifest)} iam_role {given} {how} manifest{region}"


@dataclass(frozen=True)
class _Cast:
    """How a column of raw is made of a file's, and of which values nothing would be lost; None: of all."""

    expression: str
    keeps: str | None = None


def _selected(file: _File, types: Mapping[str, str]) -> dict[str, _Cast]:
    """How the columns of raw are made of a file's.

    Raises:
        NotAsDeclared: one cannot be, without reading its values.
    """
    places = {name: (f"c{at}", kind) for at, (name, kind) in enumerate(file.columns) if name}
    found = {}
    for name, declared in types.items():
        if name not in places:
            continue
        column, kind = places[name]
        cast = _cast(column, kind, declared)
        if cast is None:
            raise NotAsDeclared(f"{file.uri}: column {name} is {kind}, which COPY does not read as {declared}")
        found[name] = cast
    for _, kind in file.columns:
        _file_type(kind)
    return found


def _cast(column: str, kind: pa.DataType, declared: str) -> _Cast | None:
    is_ = pa.types
    whole, real = is_.is_signed_integer(kind), is_.is_floating(kind) or is_.is_decimal(kind)
    expression = f"cast({column} as {TYPES[declared]})"
    match declared:
        case "bigint" if whole:
            return _Cast(expression)
        case "bigint" if real:
            return _Cast(expression, f"{column} between -{_EXACT} and {_EXACT} and {column} = trunc({column})")
        case "double" if real:
            return _Cast(expression)
        case "double" if whole:
            return _Cast(expression, f"{column} between -{_EXACT} and {_EXACT}")
        case "text" if is_.is_string(kind) or is_.is_large_string(kind):
            return _Cast(column)
        case "timestamp" if is_.is_timestamp(kind) or is_.is_date32(kind):
            return _Cast(expression)
        case "date" if is_.is_date32(kind):
            return _Cast(column)
        case "boolean" if is_.is_boolean(kind):
            return _Cast(column)
    return None


def _file_type(kind: pa.DataType) -> str:
    """The Redshift type that COPY reads a column of a Parquet file as.

    Raises:
        NotAsDeclared: it is none that COPY is documented to read as it stands.
    """
    is_ = pa.types
    if is_.is_timestamp(kind) and kind.unit in ("us", "ms") and kind.tz in (None, "UTC"):
        return "timestamp"
    if is_.is_decimal128(kind):
        return f"numeric({kind.precision}, {kind.scale})"
    if is_.is_string(kind) or is_.is_large_string(kind):
        return f"varchar({LONGEST_TEXT})"
    known = {
        pa.int8(): "smallint",
        pa.int16(): "smallint",
        pa.int32(): "integer",
        pa.int64(): "bigint",
        pa.float32(): "real",
        pa.float64(): "double precision",
        pa.bool_(): "boolean",
        pa.date32(): "date",
    }
    if kind not in known:
        raise NotAsDeclared(f"COPY reads no column of type {kind}")
    return known[kind]


def _refuse_losses(session: RedshiftSession, part: str, file: _File, chosen: Mapping[str, _Cast]) -> None:
    names = {name: cast.keeps for name, cast in chosen.items() if cast.keeps}
    if not names:
        return
    places = {name: f"c{at}" for at, (name, _) in enumerate(file.columns)}
    counts = ", ".join(
        f"sum(case when {places[name]} is null or ({keeps}) then 0 else 1 end)" for name, keeps in names.items()
    )
    ((*lost,),) = session.execute(f"select {counts} from {part}")
    for name, count in zip(names, lost, strict=True):
        if count:
            raise NotAsDeclared(f"{file.uri}: column {name} has {count} values that are not of its declared type")


def _fitting(batches: pa.RecordBatchReader, target: Target) -> Iterator[pa.RecordBatch]:
    """The rows that Redshift can hold and that have a key; the others are held back."""
    keys = target.table.keys if target.table.mode == "upsert" else ()
    texts = [one.name for one in batches.schema if pa.types.is_string(one.type)]
    for batch in batches:
        faults: dict[int, list[tuple[str | None, str]]] = {}
        for key in keys:
            for row in pc.indices_nonzero(pc.is_null(batch.column(key))).to_pylist():
                fault = f"lacks a value for the key ({', '.join(keys)}); mend load.keys in source.yml"
                faults.setdefault(row, []).append((None, fault))
        for name in texts:
            sizes = pc.fill_null(pc.binary_length(batch.column(name)), 0)
            if (pc.max(sizes).as_py() or 0) <= LONGEST_TEXT:
                continue
            for row in pc.indices_nonzero(pc.greater(sizes, LONGEST_TEXT)).to_pylist():
                fault = f"column {name!r} has {sizes[row].as_py()} bytes, and a text of Redshift's holds {LONGEST_TEXT}"
                faults.setdefault(row, []).append((name, fault))
        for row in sorted(faults):
            values = {name: batch.column(name)[row].as_py() for name in batch.schema.names if name[:1] != "_"}
            place = batch.column("_row")[row].as_py()
            target.account.hold(place, faults[row], payload=json.dumps(values, ensure_ascii=False, default=str))
        if faults:
            kept = pa.array([row not in faults for row in range(batch.num_rows)])
            batch = batch.filter(kept)
        if batch.num_rows:
            yield batch


def _lines(records: Iterable[Record], target: Target) -> Iterator[bytes]:
    """The records that SUPER takes as lines of JSON with what raw and the cursor want of each; others are held back."""
    table, account = target.table, target.account
    for row, (record, request) in enumerate(records):
        account.rows = row + 1
        asked = request.decode() if request else None
        if not isinstance(record, bytes):
            account.hold(row, [(None, record.fault)], record=record.text, request=asked)
            continue
        fault = fault_of(record)
        document = storable(record)
        if fault is None and len(document) > _LONGEST_LINE - LONGEST_TEXT:
            fault = f"has {len(document)} bytes, and COPY takes {_LONGEST_LINE - LONGEST_TEXT} of a record at the most"
        if fault is not None:
            account.hold(row, [(None, fault)], record=record.decode(), request=asked)
            continue
        members: dict[str, object] = {"_row": row}
        if table.keys or table.cursor:
            parsed = json.loads(document, parse_int=_number, parse_float=_number)
            if table.keys:
                parts = [_at(parsed, path) for path in table.keys]
                if None in parts:
                    fault = f"lacks a value for the key ({', '.join(table.keys)}); mend load.keys in source.yml"
                    account.hold(row, [(None, fault)], payload=document.decode(), request=asked)
                    continue
                members["_key"] = "|".join(str(part) for part in parts)
            if table.cursor:
                members["_asked"] = canonical(asked if table.has_request else None)
                members["_value"] = _at(parsed, table.cursor.field)
                members["_day"] = _day(_at(parsed, table.cursor.by), target, row) if table.cursor.by else "0001-01-01"
        line = json.dumps(members, ensure_ascii=False).encode()
        if table.has_request:
            line = line[:-1] + b', "_request": %b}' % (request or b"{}")
        yield line[:-1] + b', "payload": %b}' % document


def canonical(request: str | None) -> str:
    """A request's values as a text that is equal for equal values."""
    return json.dumps(json.loads(request or "{}"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _number(digits: str) -> str:
    return format(Decimal(digits), "f")


def _at(document: object, path: str) -> str | None:
    """The value at a path as text, as Postgres' `#>>` gives it."""
    value: Any = document
    for step in path.split("."):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _day(value: str | None, target: Target, row: int) -> str:
    """The day of a time, in UTC."""
    if value is None:
        return "0001-01-01"
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise LoadError(
            f"raw.{target.table.name}: landing {target.landing_id} was not loaded: its record {row} (from 0) has no "
            "time in ISO 8601 where cursor.look_back.by of source.yml says"
        ) from None
    return (time.astimezone(UTC) if time.tzinfo else time).date().isoformat()


def _columns(table: RawTable) -> dict[str, str]:
    """Column name -> Redshift type with its constraints, the lineage columns last."""
    if table.columns is not None:
        own = {name: TYPES[kind] for name, kind in table.columns.items()}
    else:
        own = {"payload": "super not null"} | ({"_key": f"varchar({_LONGEST_KEY}) not null"} if table.keys else {})
        own |= {"_request": "super not null"} if table.has_request else {}
    return own | ({"_absent_since": "timestamptz"} if table.absent == "mark" else {}) | _META


def _add_columns(session: RedshiftSession, table: str, columns: Mapping[str, str]) -> None:
    for name, kind in columns.items():
        session.execute(f"alter table raw.{quoted(table)} add column {quoted(name)} {kind.removesuffix(' not null')}")
        log.info("column added table=raw.%s column=%s type=%s", table, name, kind)


def _sql_type(kind: pa.DataType) -> str:
    """The type of raw that holds a column of `iter_batches`."""
    is_ = pa.types
    if is_.is_integer(kind):
        return TYPES["bigint"]
    if is_.is_floating(kind):
        return TYPES["double"]
    if is_.is_timestamp(kind):
        return TYPES["timestamp"]
    if is_.is_date(kind):
        return TYPES["date"]
    return TYPES["boolean"] if is_.is_boolean(kind) else TYPES["text"]
