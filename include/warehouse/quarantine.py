"""The schema `quarantine`: the rows that are kept out, each with the reasons why and where it came from.

`quarantine.<raw table>` is made when it is first needed, and all are alike. A row is in raw or here, never in both, and
`ops.landing.loaded_rows` counts what is in raw. The way back is a reload: a load decides anew about all rows of its
landing, so it begins with `clear`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from psycopg2.extras import execute_values

from include.warehouse.jsonb import storable
from include.warehouse.raw import RawTable, lock_partition
from include.warehouse.session import PsycopgSession, RedshiftSession, Session, engine_of, psycopg_session

if TYPE_CHECKING:
    from include.warehouse.fence import Fence

_Row = TypeVar("_Row")
log = logging.getLogger(__name__)

Reason = Mapping[str, str | None]
"""`{"layer": …, "rule": …, "column": …, "message": …}`; a message holds no personal value"""

_LINEAGE = ("_landing_id", "_row", "_loaded_at", "_absent_since")
_AT_ONCE = 500
"""rows a statement: bounds memory, not what can be held"""

_MERGED = (
    "(select jsonb_agg(reason order by place) from (select reason, min(place) as place from "
    "jsonb_array_elements(kept.reasons || {others}) with ordinality as each (reason, place) group by reason) as merged)"
)
"""reasons that were there and others, each once, in the order in which they were found"""


@dataclass(frozen=True)
class Held:
    """A row of a landing that its load could not read.

    Attributes:
        row: Its position in the landing, from 0, as `_row` in raw.
        payload: Its JSON, of what could be parsed.
        record: Its text as it stood, of what could not.
        request: What was asked for, as JSON.
        reasons: Why it is held.
    """

    row: int
    payload: str | None
    record: str | None
    request: str | None
    reasons: Sequence[Reason]


@dataclass(frozen=True)
class HeldLanding:
    """A landing that has rows in quarantine.

    Attributes:
        entity: Name of the entity.
        table: Name of its raw table, and of the table in `quarantine`.
        landing_id: The landing.
        partition: What it covers.
        uri: S3 folder of its parts.
        rows: How many of its rows are held.
        oldest: Since when the first of them is held.
        reasons: Rule, with its column where it has one -> how many rows are held for it.
    """

    entity: str
    table: str
    landing_id: int
    partition: str
    uri: str
    rows: int
    oldest: datetime
    reasons: Mapping[str, int]


def hold(session: Session, table: str, landing_id: int, rows: Iterable[Held], *, dag_run_id: str) -> int:
    """Hold rows that a load could not read, in the load's transaction.

    Args:
        session: the load's transaction, as `sluice_loader`.
        table: name of the raw table.
        landing_id: a row of `ops.landing`.
        rows: read once, a few hundred at a time.
        dag_run_id: the run.

    Returns:
        Rows held.
    """
    if isinstance(session, RedshiftSession):
        from include.warehouse.redshift import quarantine as redshift

        return redshift.hold(session, table, landing_id, rows, dag_run_id=dag_run_id)
    count = 0
    for some in _batches(rows):
        _make_table(session, table)
        listed = [
            {
                "row": one.row,
                "payload": None if one.payload is None else storable(one.payload.encode()).decode(),
                "record": None if one.record is None else _text(one.record),
                "request": one.request,
                "reasons": [dict(reason) for reason in one.reasons],
            }
            for one in some
        ]
        session.execute(
            f"insert into quarantine.{_quoted(table)} as kept "
            "(_landing_id, _row, payload, record, _request, reasons, dag_run_id) "
            "select %s::bigint, given.row, given.payload::jsonb, given.record, given.request::jsonb, given.reasons, "
            "%s::text from jsonb_to_recordset(%s::text::jsonb) "
            'as given ("row" bigint, payload text, record text, request text, reasons jsonb) '
            "on conflict (_landing_id, _row) do update set payload = excluded.payload, record = excluded.record, "
            f"reasons = {_MERGED.format(others='excluded.reasons')}",
            (landing_id, dag_run_id, json.dumps(listed)),
        )
        count += len(some)
    return count


def clear(session: Session, table: str, landing_id: int) -> None:
    """Forget what is held of a landing: its load, in whose transaction this is, decides about all rows anew."""
    if isinstance(session, RedshiftSession):
        from include.warehouse.redshift import quarantine as redshift

        redshift.clear(session, table, landing_id)
        return
    if _is_there(session, table):
        session.execute(f"delete from quarantine.{_quoted(table)} where _landing_id = %s", (landing_id,))


def divert(
    dsn: str,
    table: str,
    offending: Mapping[tuple[int, int], Sequence[Reason]],
    *,
    dag_run_id: str,
    fence: Fence | None = None,
) -> int:
    """Move rows from raw to quarantine, in one transaction with the counts of `ops.landing`.

    A row that is held already gets the reasons that are new. What is neither in raw nor held is left alone: a later
    landing has taken its place. So doing it again changes nothing.

    Args:
        dsn: postgresql:// URI of `sluice_loader`.
        table: name of the raw table.
        offending: (`_landing_id`, `_row`) -> why.
        dag_run_id: the run.
        fence: refuses the transaction once a later try of the task has taken over.

    Returns:
        Rows moved by this call.

    Raises:
        LoadError: a landing is not in `ops.landing`.
        Superseded: by `fence`.
    """
    if not offending:
        return 0
    if engine_of(dsn) == "redshift":
        from include.warehouse.redshift import quarantine as redshift

        moved = redshift.divert(dsn, table, offending, dag_run_id=dag_run_id, fence=fence)
        log.info("quarantined table=raw.%s rows=%d", table, moved)
        return moved
    with psycopg_session(dsn) as session:
        _lock(session, table, sorted({landing_id for landing_id, _ in offending}))
        _make_table(session, table)
        session.execute(
            "create temporary table offending (_landing_id bigint, _row bigint, reasons jsonb, "
            "primary key (_landing_id, _row)) on commit drop"
        )
        for some in _batches(_listed(offending)):
            execute_values(session.cursor, "insert into offending values %s", some, page_size=_AT_ONCE)
        session.execute("analyze offending")
        moved = _move(session, table, dag_run_id)
        session.execute(
            f"update quarantine.{_quoted(table)} as kept set reasons = {_MERGED.format(others='offending.reasons')} "
            "from offending where kept._landing_id = offending._landing_id and kept._row = offending._row "
            "and not kept.reasons @> offending.reasons"
        )
        if fence is not None:
            fence.check(session)
    log.info("quarantined table=raw.%s rows=%d", table, moved)
    return moved


def reasons_held(dsn: str, table: str, landing_ids: Sequence[int], reason: Reason) -> int:
    """How many rows of these landings are held for exactly this reason."""
    if engine_of(dsn) == "redshift":
        from include.warehouse.redshift import quarantine as redshift

        return redshift.reasons_held(dsn, table, landing_ids, reason)
    with psycopg_session(dsn) as session:
        if not _is_there(session, table):
            return 0
        rows = session.execute(
            f"select count(*) from quarantine.{_quoted(table)} "
            "where _landing_id = any(string_to_array(%s, ',')::bigint[]) and reasons @> %s::jsonb",
            (",".join(map(str, landing_ids)), json.dumps([dict(reason)])),
        )
    return int(rows[0][0])


def held(dsn: str, source: str, entity: str | None = None) -> list[HeldLanding]:
    """The landings of a source that have rows in quarantine, by entity, oldest first.

    Args:
        dsn: postgresql:// URI of a role that reads `quarantine` and `ops`.
        source: name of the source.
        entity: only this one's.
    """
    if engine_of(dsn) == "redshift":
        from include.warehouse.redshift import quarantine as redshift

        return redshift.held(dsn, source, entity)
    found = []
    with psycopg_session(dsn) as session:
        for table in _tables(session, source):
            landings = session.execute(
                'select landing.entity, landing.landing_id, landing."partition", landing.uri, count(*), '
                f"min(kept.quarantined_at) from quarantine.{_quoted(table)} as kept "
                "join ops.landing as landing on landing.landing_id = kept._landing_id "
                "where landing.source = %s and landing.entity = coalesce(%s, landing.entity) "
                "group by landing.landing_id order by landing.landing_id",
                (source, entity),
            )
            for name, landing_id, partition, uri, rows, oldest in landings:
                reasons = session.execute(
                    "select concat_ws(' ', reason ->> 'rule', reason ->> 'column'), count(*) "
                    f"from quarantine.{_quoted(table)}, jsonb_array_elements(reasons) as reason "
                    "where _landing_id = %s group by 1 order by 2 desc, 1",
                    (landing_id,),
                )
                found.append(HeldLanding(name, table, landing_id, partition, uri, rows, oldest, dict(reasons)))
    return found


def purge(dsn: str, source: str, older_than_days: int) -> int:
    """Delete the source's rows that have been held for longer than so many days.

    Returns:
        Rows deleted.
    """
    if engine_of(dsn) == "redshift":
        from include.warehouse.redshift import quarantine as redshift

        return redshift.purge(dsn, source, older_than_days)
    count = 0
    with psycopg_session(dsn) as session:
        for table in _tables(session, source):
            session.execute(
                f"delete from quarantine.{_quoted(table)} as kept using ops.landing as landing "
                "where landing.landing_id = kept._landing_id and landing.source = %s "
                "and kept.quarantined_at < now() - make_interval(days => %s)",
                (source, older_than_days),
            )
            count += session.cursor.rowcount
    if count:
        log.info("purged source=%s rows=%d older_than_days=%d", source, count, older_than_days)
    return count


def _lock(session: Session, table: str, landing_ids: Sequence[int]) -> None:
    """Take the locks that loads take, in one order for all who take several."""
    rows = session.execute(
        "select landing_id from ops.landing where landing_id = any(string_to_array(%s, ',')::bigint[]) "
        'order by "partition", landing_id',
        (",".join(map(str, landing_ids)),),
    )
    booked = [int(row[0]) for row in rows]
    for landing_id in [*booked, *(one for one in landing_ids if one not in booked)]:
        # mode append: what a later landing has replaced is no fault here, its rows are simply not there
        lock_partition(session, RawTable(table, "append"), landing_id)


def _move(session: PsycopgSession, table: str, dag_run_id: str) -> int:
    """Rows of raw that `offending` names -> quarantine; `loaded_rows` goes down by them."""
    rows = session.execute(
        "select attname::text, atttypid::regtype::text from pg_attribute "
        "where attrelid = %s::regclass and attnum > 0 and not attisdropped",
        (f"raw.{_quoted(table)}",),
    )
    types = dict(rows)
    # a file may happen to have a column named payload, but not one of JSON
    is_json = types.get("payload") == "jsonb"
    payload = "gone.payload" if is_json else "to_jsonb(gone)" + "".join(f" - '{name}'" for name in _LINEAGE)
    request = "gone._request" if is_json and "_request" in types else "null::jsonb"
    # the ids stand in the statement, so that Postgres looks at no other partition
    ids = ", ".join(str(row[0]) for row in session.execute("select distinct _landing_id from offending"))
    ((moved,),) = session.execute(
        f"with gone as (delete from raw.{_quoted(table)} as gone using offending "
        f"where gone._landing_id in ({ids}) "
        "and gone._landing_id = offending._landing_id and gone._row = offending._row "
        f"returning gone._landing_id, gone._row, {payload} as payload, {request} as request, offending.reasons), "
        f"kept as (insert into quarantine.{_quoted(table)} as kept "
        "(_landing_id, _row, payload, _request, reasons, dag_run_id) "
        "select _landing_id, _row, payload, request, reasons, %s from gone "
        "on conflict (_landing_id, _row) do update set payload = excluded.payload, _request = excluded._request, "
        f"record = null, reasons = {_MERGED.format(others='excluded.reasons')}), "
        # rows marked as absent stand below 0: they are not of the landing, which is not booked with them
        "counted as (select _landing_id, count(*) filter (where _row >= 0) as rows from gone group by _landing_id), "
        "booked as (update ops.landing as landing set loaded_rows = loaded_rows - counted.rows from counted "
        "where landing.landing_id = counted._landing_id) select count(*) from gone",
        (dag_run_id,),
    )
    return int(moved)


def _make_table(session: Session, table: str) -> None:
    if _is_there(session, table):
        return
    session.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"quarantine.{table}",))
    session.execute(
        f"create table if not exists quarantine.{_quoted(table)} (_landing_id bigint not null, _row bigint not null, "
        "payload jsonb, record text, _request jsonb, reasons jsonb not null, dag_run_id text not null, "
        "quarantined_at timestamptz not null default now(), primary key (_landing_id, _row))"
    )


def _is_there(session: Session, table: str) -> bool:
    rows = session.execute("select to_regclass(%s::text) is not null", (f"quarantine.{_quoted(table)}",))
    return bool(rows[0][0])


def _tables(session: Session, source: str) -> list[str]:
    rows = session.execute(
        "select tablename::text from pg_tables where schemaname = 'quarantine' "
        "and starts_with(tablename, %s) order by tablename",
        (f"{source}__",),
    )
    return [str(row[0]) for row in rows]


def _batches(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    rows = iter(rows)
    while some := list(islice(rows, _AT_ONCE)):
        yield some


def _listed(offending: Mapping[tuple[int, int], Sequence[Reason]]) -> Iterator[tuple[int, int, str]]:
    for (landing_id, row), reasons in offending.items():
        yield landing_id, row, json.dumps([dict(reason) for reason in reasons])


def _text(record: str) -> str:
    """What Postgres' text cannot hold (NUL, halves of surrogate pairs) becomes U+FFFD."""
    return "".join("\ufffd" if one == "\0" or "\ud800" <= one <= "\udfff" else one for one in record)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
