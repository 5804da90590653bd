"""The bookkeeping of landings, `ops.landing`: what was fetched, and how far each has come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.warehouse.session import psycopg_session


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
    with psycopg_session(dsn) as session:
        session.execute(
            'insert into ops.landing (landing_id, source, entity, "partition", uri, sha256, bytes, records, request, '
            "refused, fetched_at, dag_run_id) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
            "on conflict (landing_id) do nothing",
            (
                landing_id, source, entity, partition, uri, sha256, size, records, json.dumps(request),
                json.dumps(list(refused)), fetched_at.isoformat(), dag_run_id,
            ),
        )  # fmt: skip


def count(dsn: str, landing_id: int, records: int) -> None:
    """Book how many records a landing of files holds, once they have been counted."""
    with psycopg_session(dsn) as session:
        session.execute("update ops.landing set records = %s where landing_id = %s", (records, landing_id))


def latest(dsn: str, *, source: str, entity: str, partition: str) -> Landed | None:
    """The newest booked landing of a partition."""
    with psycopg_session(dsn) as session:
        rows = session.execute(
            "select landing_id, uri, sha256, published_at is not null from ops.landing "
            'where source = %s and entity = %s and "partition" = %s order by landing_id desc limit 1',
            (source, entity, partition),
        )
    return Landed(*rows[0]) if rows else None
