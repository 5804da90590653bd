"""The bookkeeping of landings, `ops.landing`: what was fetched, and how far each has come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from include.warehouse.session import engine_of, open_session

CursorType = Literal["number", "timestamp", "text"]
CURSOR_TYPES: Mapping[CursorType, str] = {"number": "numeric", "timestamp": "timestamptz", "text": "text"}
"""how two values of a cursor compare -> the Postgres type that does so"""

_LONGEST_REQUEST = 60_000
"""bytes of it that Redshift takes at once"""


@dataclass(frozen=True)
class Landed:
    """A row of `ops.landing`, as far as the next run of the same partition wants to know."""

    landing_id: int
    uri: str
    sha256: str
    is_published: bool


def register(
    dsn: str,
    *,
    landing_id: int,
    source: str,
    entity: str,
    partition: str,
    uri: str,
    sha256: str,
    size: int,
    records: int | None,
    request: Mapping[str, Any],
    refused: Sequence[Mapping[str, Any]],
    fetched_at: datetime,
    dag_run_id: str,
) -> None:
    """Book a landing whose manifest is written; booking it again changes nothing."""
    if engine_of(dsn) == "redshift" and len(json.dumps(request)) > _LONGEST_REQUEST and "files" in request:
        request = {**request, "files": len(request["files"])}  # the manifest names them
    values = (
        landing_id, source, entity, partition, uri, sha256, size, records, json.dumps(request),
        json.dumps(list(refused)), fetched_at.isoformat(), dag_run_id,
    )  # fmt: skip
    columns = (
        'landing_id, source, entity, "partition", uri, sha256, bytes, records, request, refused, fetched_at, dag_run_id'
    )
    with open_session(dsn, writes=True) as session:
        if session.engine == "redshift":
            session.execute(
                f"insert into ops.landing ({columns}) select cast(%s as bigint), cast(%s as varchar(128)), "
                "cast(%s as varchar(128)), cast(%s as varchar(128)), cast(%s as varchar(2048)), "
                "cast(%s as varchar(64)), cast(%s as bigint), cast(%s as bigint), json_parse(%s), json_parse(%s), "
                "cast(%s as timestamptz), "
                "cast(%s as varchar(512)) where not exists (select 1 from ops.landing where landing_id = %s)",
                (*values, landing_id),
            )
        else:
            session.execute(
                f"insert into ops.landing ({columns}) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
                "on conflict (landing_id) do nothing",
                values,
            )


def count(dsn: str, landing_id: int, records: int) -> None:
    """Book how many records a landing of files holds, once they have been counted."""
    with open_session(dsn, writes=True) as session:
        session.execute("update ops.landing set records = %s where landing_id = %s", (records, landing_id))


def latest(dsn: str, *, source: str, entity: str, partition: str) -> Landed | None:
    """The newest booked landing of a partition."""
    with open_session(dsn) as session:
        rows = session.execute(
            "select landing_id, uri, sha256, published_at is not null from ops.landing "
            'where source = %s and entity = %s and "partition" = %s order by landing_id desc limit 1',
            (source, entity, partition),
        )
    return Landed(*rows[0]) if rows else None


def cursor(
    dsn: str, source: str, entity: str, request: Mapping[str, str], *, kind: CursorType, before: date | None
) -> str | None:
    """How far an entity is loaded, for one request's values; None while there is nothing.

    Args:
        dsn: postgresql:// URI of a role that reads `ops`.
        source: name of the source folder.
        entity: name of the entity.
        request: values of the request's variables.
        kind: how values compare.
        before: only records of the days before this one count, so that those of later days are asked for again.
    """
    with open_session(dsn) as session:
        if session.engine == "redshift":
            from include.warehouse.redshift.load import COMPARED_AS, canonical

            rows = session.execute(
                "select value from ops.cursor_mark where source = %s and entity = %s and request = %s "
                f'and "day" < %s::date order by cast(value as {COMPARED_AS[kind]}) desc limit 1',
                (source, entity, canonical(json.dumps(dict(request))), before.isoformat() if before else "9999-12-31"),
            )
        else:
            rows = session.execute(
                "select value from ops.cursor_mark where source = %s and entity = %s and request = %s::jsonb "
                f"and day < coalesce(%s::date, 'infinity') order by value::{CURSOR_TYPES[kind]} desc limit 1",
                (source, entity, json.dumps(dict(request)), before.isoformat() if before else None),
            )
    return str(rows[0][0]) if rows else None


def pending(dsn: str, *, source: str, entity: str) -> list[Landed]:
    """Landings whose rows are in raw and not published, oldest first: an earlier run stopped behind its load.

    Those count no more whose files have all been landed anew since.
    """
    with open_session(dsn) as session:
        rows = session.execute(
            "select landing_id, uri, sha256, false from ops.landing as waiting "
            "where source = %s and entity = %s and loaded_at is not null and published_at is null "
            "and superseded_by is null and landing_id not in ("
            "    select file.landing_id from ops.loaded_file as file "
            "    left join (select source, entity, uri, max(landing_id) as newest from ops.loaded_file "
            "        group by source, entity, uri) as newer "
            "    on newer.source = file.source and newer.entity = file.entity and newer.uri = file.uri "
            "    and newer.newest > file.landing_id "
            "    group by file.landing_id having count(*) = count(newer.newest)"
            ") order by landing_id",
            (source, entity),
        )
    return [Landed(*row) for row in rows]


def of_run(
    dsn: str, *, source: str, entity: str, partition: str, dag_run_id: str, state: Literal["loaded", "published"]
) -> list[int]:
    """The landings that a run has made of a partition and that have come as far as `state`, oldest first."""
    with open_session(dsn) as session:
        rows = session.execute(
            'select landing_id from ops.landing where source = %s and entity = %s and "partition" = %s '
            f"and dag_run_id = %s and {state}_at is not null order by landing_id",
            (source, entity, partition, dag_run_id),
        )
    return [int(landing_id) for (landing_id,) in rows]


def loaded_files(dsn: str, *, source: str, entity: str) -> set[tuple[str, str]]:
    """URI and ETag of the files that are in raw."""
    with open_session(dsn) as session:
        rows = session.execute(
            "select uri, etag from ops.loaded_file where source = %s and entity = %s", (source, entity)
        )
    return {(str(uri), str(etag)) for uri, etag in rows}


def taken_files(dsn: str) -> set[tuple[str, str, str, str]]:
    """Source, entity, URI and ETag of all dropped files that a run has ever landed, loaded or not."""
    landed = {
        "postgres": "select source, entity, file ->> 'uri', file ->> 'etag' "
        "from ops.landing, jsonb_array_elements(request -> 'files') as file",
        "redshift": 'select landing.source, landing.entity, file."uri"::varchar(65535), file."etag"::varchar(65535) '
        'from ops.landing as landing, landing.request."files" as file',
    }
    with open_session(dsn) as session:
        rows = session.execute(f"select source, entity, uri, etag from ops.loaded_file union {landed[engine_of(dsn)]}")
    return {(str(source), str(entity), str(uri), str(etag)) for source, entity, uri, etag in rows}
