"""From a row that readers have to the bytes that it came from: `./sluice trace`, without the launcher.

A mart's row leads to its landing by `_landing_id` and to its place there by `_row`. Marts whose rows are made of many
have `_landing_id` alone, which is the landing that changed the row last; `meta.lineage.rows` in the model's yml is the
query that leads on to the rows they are made of. Marts that come from no landing say so in `meta.lineage.none`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from psycopg2 import DataError

from include.landing import LandingStore, Manifest
from include.landing.json_records import masked
from include.landing.locate import Place, locate
from include.pipeline.callables import function_of
from include.pipeline.model import SOURCES, SourceError, load_source
from include.pipeline.steps import csv_options
from include.warehouse.publish import Mart, marts
from include.warehouse.session import postgres_only, psycopg_session

MASK = "***"

PLACE_OF_ROW = """
select
    landing.uri,
    part.part,
    part.uri as object_uri,
    row_of_mart._row - part.first_row as row_in_object,
    landing.fetched_at,
    landing.request,
    landing.sha256
from {mart} as row_of_mart
inner join ops.landing as landing on row_of_mart._landing_id = landing.landing_id
inner join ops.landing_part as part
    on
        row_of_mart._landing_id = part.landing_id
        and row_of_mart._row >= part.first_row
        and row_of_mart._row < part.first_row + part.row_count
where {key}
"""
"""The one query: object and position of any row that has `_landing_id` and `_row` (docs/how-a-row-travels.md)."""


class TraceError(Exception):
    """The row cannot be traced; the message says why, and what to do."""


@dataclass(frozen=True)
class Landed:
    """What `ops.landing` says of a landing."""

    landing_id: int
    source: str
    entity: str
    partition: str
    uri: str
    sha256: str
    request: Mapping[str, Any]
    fetched_at: datetime


@dataclass(frozen=True)
class Trace:
    """Where a row comes from.

    Attributes:
        mart: Name of the table in `analytics`.
        key: Its key's columns -> values as text.
        row: `_row`; None where the mart has none.
        landing: The landing of `_landing_id`; None for a row of no landing.
        place: Where it stands in the landing; None where the mart's rows are made of many.
        shown: The record as it stands there, values of personal columns masked unless they were asked for.
        masked: Names of the masked columns.
        note: Why there is no place, or what to know of it.
        rows_query: The query for the rows that this one is made of, its values filled in; None for a row of one.
        rows: The first of them: the query's columns -> values.
    """

    mart: str
    key: Mapping[str, str]
    row: int | None
    landing: Landed | None
    place: Place | None = None
    shown: str = ""
    masked: Sequence[str] = ()
    note: str = ""
    rows_query: str | None = None
    rows: Sequence[Mapping[str, Any]] = field(default_factory=list)


def trace(
    dsn: str,
    store: LandingStore,
    manifest: Path,
    mart_name: str,
    key: str,
    *,
    reader_dsn: str | None = None,
    clear: bool = False,
    most_rows: int = 20,
    sources: Path = SOURCES,
) -> Trace:
    """Trace one row of a published mart.

    Args:
        dsn: postgresql:// URI of a role that reads `ops` (operator).
        store: Where the landings are.
        manifest: dbt's manifest.json, which names the marts, their keys and what their rows are made of.
        mart_name: Name of the mart, with or without `analytics.` before it.
        key: Its primary key; of several columns the values in their order, with commas between them.
        reader_dsn: URI of a role that reads the key's columns in `analytics`, where they are personal (pii_reader).
        clear: Show the values of personal columns too.
        most_rows: How many of the rows that a row is made of are given.
        sources: The folder of the source folders, which say how a landing is read.

    Raises:
        NotOnRedshift: The warehouse is one.
        TraceError: There is no such mart, key or row.
        LandingError: The landing is gone, or is not what its manifest says.
    """
    postgres_only(dsn, "Tracing a row")
    mart, lineage = _mart(manifest, mart_name.removeprefix("analytics."))
    given = key.split(",", len(mart.key) - 1)
    if len(given) != len(mart.key):
        raise TraceError(
            f"analytics.{mart.name}: its key is {', '.join(mart.key)}, and {len(given)} of {len(mart.key)} values were "
            "given; give all with commas between them, in this order"
        )
    values = dict(zip(mart.key, given, strict=True))
    row = _row_of(reader_dsn or dsn, mart, values)
    landing_id, place_in_landing = row.get("_landing_id"), row.get("_row")
    landing = None if landing_id is None else _landing(dsn, int(landing_id))
    about = partial(Trace, mart.name, values, place_in_landing, landing)
    if landing is None:
        note = lineage.get("none") or "the row has no _landing_id: no landing brought it, the model adds it by itself"
        return about(note=" ".join(note.split()))
    if place_in_landing is None:
        query = lineage.get("rows")
        if not query:
            return about(note="the mart says no more than which landing changed the row last")
        return about(
            note="the row is made of several: the landing is the one that changed it last, the query leads to them",
            rows_query=_filled(reader_dsn or dsn, query, values),
            rows=_rows(reader_dsn or dsn, query, values, most_rows),
        )
    manifest_of_landing = store.read(landing.uri)
    found, personal = _place(dsn, store, manifest_of_landing, landing, int(place_in_landing), sources)
    hidden = [] if clear else sorted(personal)
    return about(place=found, shown=_shown(found, manifest_of_landing, frozenset(hidden)), masked=hidden)


def _mart(manifest: Path, name: str) -> tuple[Mart, Mapping[str, str]]:
    published = {mart.name: mart for mart in marts(manifest, tag="marts")}
    if name not in published:
        raise TraceError(f"there is no published mart {name!r}: choose one of {', '.join(sorted(published))}")
    nodes = json.loads(manifest.read_bytes())["nodes"].values()
    meta = next(node for node in nodes if node["resource_type"] == "model" and node["name"] == name)["config"]["meta"]
    return published[name], meta.get("lineage") or {}


def _row_of(dsn: str, mart: Mart, values: Mapping[str, str]) -> Mapping[str, Any]:
    """The lineage columns of a row, as far as the mart has them."""
    with psycopg_session(dsn) as session:
        types = dict(
            session.execute(
                "select attname::text, format_type(atttypid, atttypmod) from pg_attribute "
                "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
                (f'analytics."{mart.name}"',),
            )
        )
        if not types:
            raise TraceError(f"analytics.{mart.name} is not there yet: publish its source first (./sluice run)")
        wanted = [column for column in ("_landing_id", "_row") if column in types]
        # the values take the columns' types, so that the key's index serves
        same = " and ".join(f'"{column}" = cast(%s as {types[column]})' for column in mart.key)
        try:
            found = session.execute(
                f'select {", ".join(wanted) or "1"} from analytics."{mart.name}" where {same}',  # noqa: S608
                tuple(values.values()),
            )
        except DataError as fault:
            raise TraceError(
                f"analytics.{mart.name}: the key is no {', '.join(types[column] for column in mart.key)}: "
                f"{str(fault).splitlines()[0]}"
            ) from None
    if not found:
        raise TraceError(f"analytics.{mart.name} has no row of this key ({', '.join(mart.key)})")
    return dict(zip(wanted, found[0], strict=False))


def _landing(dsn: str, landing_id: int) -> Landed:
    with psycopg_session(dsn) as session:
        rows = session.execute(
            'select landing_id, source, entity, "partition", uri, sha256, request, fetched_at '
            "from ops.landing where landing_id = %s",
            (landing_id,),
        )
    if not rows:
        raise TraceError(f"landing {landing_id} is not in ops.landing; replay its source, which books it again from S3")
    return Landed(*rows[0])


def _place(
    dsn: str, store: LandingStore, manifest: Manifest, landing: Landed, row: int, sources: Path
) -> tuple[Place, Mapping[str, str]]:
    """The place, and the personal columns of what stands there."""
    with psycopg_session(dsn) as session:
        parts = session.execute(
            "select part, first_row from ops.landing_part "
            "where landing_id = %s and first_row <= %s and %s < first_row + row_count",
            (landing.landing_id, row, row),
        )
    try:
        entity = load_source(landing.source, sources).entities[landing.entity]
    except (SourceError, KeyError):
        raise TraceError(
            f"include/sources/{landing.source}: its source.yml cannot be read or has no entity {landing.entity!r} any "
            f"more, so how {landing.uri} is to be read is not known; restore it"
        ) from None
    found = locate(
        store,
        manifest,
        row,
        part=(str(parts[0][0]), int(parts[0][1])) if parts else None,
        records=entity.records,
        csv_options=csv_options(entity),
        sheet=entity.sheet,
        transform=function_of(landing.source, entity.transform, sources)
        if entity.transform and not entity.is_file
        else None,
    )
    return found, entity.pii


def _shown(place: Place, manifest: Manifest, hidden: frozenset[str]) -> str:
    """What stands at the place, to be read."""
    if not place.fields:
        return masked(place.record or b"", hidden).decode()
    if manifest.format == "csv" and not hidden:
        return (place.record or b"").decode(errors="replace").rstrip("\r\n")
    lower = {name.lower() for name in hidden} | ({"unreadable"} if hidden else set())
    values = {name: MASK if name.lower() in lower and value else value for name, value in place.fields.items()}
    return json.dumps(values, ensure_ascii=False)


def _rows(dsn: str, query: str, values: Mapping[str, str], most: int) -> list[Mapping[str, Any]]:
    with psycopg_session(dsn) as session:
        session.cursor.execute(query, dict(values))
        names = [column.name for column in session.cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in session.cursor.fetchmany(most)]


def _filled(dsn: str, query: str, values: Mapping[str, str]) -> str:
    with psycopg_session(dsn) as session:
        return " ".join(session.cursor.mogrify(query, dict(values)).decode().split())
