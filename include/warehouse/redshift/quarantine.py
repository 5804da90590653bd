"""The schema `quarantine` on Redshift: as on Postgres, with two bounds of Redshift's.

A parameter has at most 65,535 bytes. A row that is longer as JSON keeps as much of it as fits, as text in `record`; the
whole of it is in the landing. And reasons are merged here instead of there, for SUPER has no set of values.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from include.warehouse.jsonb import storable
from include.warehouse.raw import RawTable, lock_partition
from include.warehouse.redshift.sql import LONGEST_TEXT, cut, numbers, quoted, text
from include.warehouse.session import RedshiftSession, Value, redshift_session

if TYPE_CHECKING:
    from include.warehouse.fence import Fence
    from include.warehouse.quarantine import Held, HeldLanding, Reason

_LINEAGE = ("_landing_id", "_row", "_loaded_at", "_absent_since")
_AT_ONCE = 500
_AS_TEXT = ("date", "timestamp", "time")  # beginnings of the types that OBJECT does not take


def hold(session: RedshiftSession, table: str, landing_id: int, rows: Iterable[Held], *, dag_run_id: str) -> int:
    """Hold rows that a load could not read, in the load's transaction: see the same of Postgres."""
    count = 0
    for some in _batches(list(rows)):
        make_table(session, table)
        session.execute(
            f"delete from quarantine.{quoted(table)} where _landing_id = {landing_id} "
            f"and _row in ({numbers(one.row for one in some)})"
        )
        values: list[Value] = []
        for one in some:
            payload = None if one.payload is None else storable(one.payload.encode()).decode()
            record = one.record
            if payload is not None and len(payload.encode()) > LONGEST_TEXT:
                payload, record = None, payload
            values += [
                one.row,
                payload,
                None if record is None else cut(_text(record)),
                one.request,
                json.dumps([dict(reason) for reason in one.reasons]),
                dag_run_id,
            ]
        session.execute(
            f"insert into quarantine.{quoted(table)} "
            "(_landing_id, _row, payload, record, _request, reasons, dag_run_id, quarantined_at) values "
            + ", ".join(
                [f"({landing_id}, %s, json_parse(%s), %s, json_parse(%s), json_parse(%s), %s, getdate())"] * len(some)
            ),
            values,
        )
        count += len(some)
    return count


def clear(session: RedshiftSession, table: str, landing_id: int) -> None:
    """Forget what is held of a landing."""
    if is_there(session, table):
        session.execute(f"delete from quarantine.{quoted(table)} where _landing_id = %s", (landing_id,))


def divert(
    dsn: str,
    table: str,
    offending: Mapping[tuple[int, int], Sequence[Reason]],
    *,
    dag_run_id: str,
    fence: Fence | None = None,
) -> int:
    """Move rows from raw to quarantine, in one transaction with the counts: see the same of Postgres."""
    with redshift_session(dsn, writes=True) as session:
        for landing_id in sorted({landing_id for landing_id, _ in offending}):
            # mode append: what a later landing has replaced is no fault here, its rows are simply not there
            lock_partition(session, RawTable(table, "append"), landing_id)
        make_table(session, table)
        session.execute(
            f"create temporary table offending (_landing_id bigint, _row bigint, reasons varchar({LONGEST_TEXT}))"
        )
        _insert_offending(session, offending)
        _merge_reasons(session, table, offending)
        moved = _move(session, table, dag_run_id)
        if fence is not None:
            fence.check(session)
    return moved


def reasons_held(dsn: str, table: str, landing_ids: Sequence[int], reason: Reason) -> int:
    """How many rows of these landings are held for exactly this reason."""
    with redshift_session(dsn) as session:
        if not is_there(session, table):
            return 0
        given = {name: reason.get(name) for name in ("layer", "rule", "column", "message")}
        conditions = [
            f'reason."{name}"::varchar(65535) = %s' if value is not None else f'reason."{name}"::varchar(65535) is null'
            for name, value in given.items()
        ]
        rows = session.execute(
            f"select count(*) from quarantine.{quoted(table)} as kept, kept.reasons as reason "
            f"where kept._landing_id in ({numbers(landing_ids)}) and {' and '.join(conditions)}",
            [value for value in given.values() if value is not None],
        )
    return int(rows[0][0])


def held(dsn: str, source: str, entity: str | None = None) -> list[HeldLanding]:
    """The landings of a source that have rows in quarantine, by entity, oldest first."""
    from include.warehouse.quarantine import HeldLanding

    found = []
    with redshift_session(dsn) as session:
        for table in _tables(session, source):
            landings = session.execute(
                'select landing.entity, landing.landing_id, landing."partition", landing.uri, count(*), '
                f"min(kept.quarantined_at) from quarantine.{quoted(table)} as kept "
                "join ops.landing as landing on landing.landing_id = kept._landing_id "
                "where landing.source = %s and landing.entity = coalesce(%s, landing.entity) "
                'group by landing.entity, landing.landing_id, landing."partition", landing.uri '
                "order by landing.landing_id",
                (source, entity),
            )
            for name, landing_id, partition, uri, rows, oldest in landings:
                reasons = session.execute(
                    "select trim(coalesce(reason.\"rule\"::varchar(65535), '') || ' ' || "
                    "coalesce(reason.\"column\"::varchar(65535), '')) as named, count(*) as row_count "
                    f"from quarantine.{quoted(table)} as kept, kept.reasons as reason "
                    f"where kept._landing_id = {int(landing_id)} group by named order by row_count desc, named"
                )
                since: datetime = oldest
                found.append(
                    HeldLanding(
                        str(name), table, int(landing_id), str(partition), str(uri), int(rows), since, dict(reasons)
                    )
                )
    return found


def purge(dsn: str, source: str, older_than_days: int) -> int:
    """Delete the source's rows that have been held for longer than so many days; how many."""
    count = 0
    with redshift_session(dsn, writes=True) as session:
        for table in _tables(session, source):
            session.execute(
                f"delete from quarantine.{quoted(table)} "
                f"where quarantined_at < dateadd(day, -{int(older_than_days)}, getdate()) "
                "and _landing_id in (select landing_id from ops.landing where source = %s)",
                (source,),
            )
            count += session.rowcount
    return count


def make_table(session: RedshiftSession, table: str) -> None:
    """Create a raw table's table in quarantine, if it is not there."""
    if is_there(session, table):
        return
    session.execute(
        f"create table if not exists quarantine.{quoted(table)} (_landing_id bigint not null, _row bigint not null, "
        f"payload super, record varchar({LONGEST_TEXT}), _request super, reasons super not null, "
        "dag_run_id varchar(512) not null, quarantined_at timestamptz not null) sortkey (_landing_id)"
    )
    let_count(session, table)


def let_count(session: RedshiftSession, table: str) -> None:
    """Let the daily report count what is held of a raw table, and see nothing of it."""
    session.execute(f"grant select (_landing_id) on quarantine.{quoted(table)} to sluice_reporter")


def tables(session: RedshiftSession) -> list[str]:
    """The raw tables of which anything has ever been held."""
    rows = session.execute("select table_name from svv_tables where table_schema = 'quarantine' order by table_name")
    return [str(name) for (name,) in rows]


def is_there(session: RedshiftSession, table: str) -> bool:
    """Whether anything of a raw table has ever been held."""
    return bool(
        session.execute(
            "select 1 from svv_tables where table_schema = 'quarantine' and table_name = %s limit 1", (table,)
        )
    )


def _insert_offending(session: RedshiftSession, offending: Mapping[tuple[int, int], Sequence[Reason]]) -> None:
    for some in _batches(list(offending.items())):
        values: list[Value] = []
        for (landing_id, row), reasons in some:
            values += [landing_id, row, json.dumps([dict(reason) for reason in reasons])]
        session.execute(f"insert into offending values {', '.join(['(%s, %s, %s)'] * len(some))}", values)


def _merge_reasons(session: RedshiftSession, table: str, offending: Mapping[tuple[int, int], Sequence[Reason]]) -> None:
    """Rows that are held already keep their reasons and get those that are new, each once."""
    kept = session.execute(
        "select kept._landing_id, kept._row, json_serialize(kept.reasons) "
        f"from quarantine.{quoted(table)} as kept "
        "inner join offending on kept._landing_id = offending._landing_id and kept._row = offending._row"
    )
    merged: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for landing_id, row, listed in kept:
        reasons = json.loads(listed)
        new = [dict(reason) for reason in offending[int(landing_id), int(row)] if dict(reason) not in reasons]
        merged[int(landing_id), int(row)] = [*reasons, *new]
    for some in _batches(list(merged)):
        pairs = " or ".join(f"(_landing_id = {landing_id} and _row = {row})" for landing_id, row in some)
        session.execute(f"delete from offending where {pairs}")
    _insert_offending(session, merged)
    session.execute(
        f"update quarantine.{quoted(table)} set reasons = json_parse(offending.reasons) from offending "
        f"where {quoted(table)}._landing_id = offending._landing_id and {quoted(table)}._row = offending._row"
    )


def _move(session: RedshiftSession, table: str, dag_run_id: str) -> int:
    """Rows of raw that `offending` names -> quarantine; `loaded_rows` goes down by them."""
    from include.warehouse.redshift.load import columns_of

    types = columns_of(session, "raw", table)
    # a file may happen to have a column named payload, but not one of JSON
    is_json = types.get("payload") == "super"
    if is_json:
        payload = "gone.payload"
    else:
        members = (
            f"{text(name)}, gone.{quoted(name)}{'::varchar(65535)' if kind.startswith(_AS_TEXT) else ''}"
            for name, kind in types.items()
            if name not in _LINEAGE
        )
        payload = f"object({', '.join(members)})"
    request = "gone._request" if is_json and "_request" in types else "cast(null as super)"
    name = quoted(table)
    matched = "{0}._landing_id = offending._landing_id and {0}._row = offending._row"
    session.execute(
        f"create temporary table moved as select gone._landing_id, gone._row, {payload} as payload, "
        f"{request} as _request, offending.reasons from raw.{name} as gone "
        f"inner join offending on {matched.format('gone')}"
    )
    session.execute(f"delete from raw.{name} using offending where {matched.format(name)}")
    session.execute(
        f"delete from quarantine.{name} using moved "
        f"where {name}._landing_id = moved._landing_id and {name}._row = moved._row"
    )
    session.execute(
        f"insert into quarantine.{name} (_landing_id, _row, payload, _request, reasons, dag_run_id, quarantined_at) "
        "select _landing_id, _row, payload, _request, json_parse(reasons), %s, getdate() from moved",
        (dag_run_id,),
    )
    session.execute(
        # rows marked as absent stand below 0: they are not of the landing, which is not booked with them
        "update ops.landing set loaded_rows = loaded_rows - counted.row_count from ("
        "select _landing_id, count(*) as row_count from moved where _row >= 0 group by _landing_id"
        ") as counted where landing_id = counted._landing_id"
    )
    ((moved,),) = session.execute("select count(*) from moved")
    return int(moved)


def _tables(session: RedshiftSession, source: str) -> list[str]:
    return [name for name in tables(session) if name.startswith(f"{source}__")]


def _batches(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(rows), _AT_ONCE):
        yield rows[first : first + _AT_ONCE]


def _text(record: str) -> str:
    """What no text can hold (NUL, halves of surrogate pairs) becomes U+FFFD."""
    return "".join("\ufffd" if one == "\0" or "\ud800" <= one <= "\udfff" else one for one in record)
