"""What the sandbox serves for a run, and how much of it each layer holds."""

import io
import json
import urllib.request
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.landing import LandingStore
from include.warehouse.publish import marts
from local import airflow, s3
from local.home import open_home
from tests.faults.points import CITIES, COLLECTIONS, MONTH, USERNAMES
from tests.faults.stack import Breakable


@dataclass(frozen=True)
class Measured:
    """Where a source's records are counted and a measure of theirs is summed up.

    Attributes:
        source: The source.
        entity: The entity that is counted.
        key: SQL of what tells a record in raw from others.
        value: SQL of the measure in raw.
        fact: The table that readers count, and
        fact_key: its key, and
        fact_value: the measure there.
    """

    source: str
    entity: str
    key: str
    value: str
    fact: str
    fact_key: str
    fact_value: str

    @property
    def raw(self) -> str:
        """The raw table."""
        return f"raw.{self.source}__{self.entity}"


MEASURED = {
    one.source: one
    for one in (
        Measured(
            "tlc",
            "green_trips",
            "(_landing_id, _row)",
            "total_amount",
            "fact_taxi_trip",
            "trip_key",
            "total_amount_usd",
        ),
        Measured(
            "openweather",
            "observations",
            "payload ->> 'id'",
            "(payload -> 'main' ->> 'humidity')::numeric",
            "fact_weather_observation",
            "(city_id, observed_at)",
            "humidity_percent",
        ),
        Measured(
            "driven",
            "sessions",
            "payload ->> 'unique_id'",
            "(payload ->> 'consumed_traffic')::numeric",
            "fact_network_usage",
            "unique_id",
            "consumed_traffic_kilobytes",
        ),
        Measured(
            "opensea",
            "nfts",
            "(payload ->> 'contract', payload ->> 'identifier')",
            "length(payload ->> 'collection')",
            "fact_nft_snapshot",
            "nft_key",
            "length(collection_id)",
        ),
        Measured(
            "x",
            "posts",
            "payload ->> 'id'",
            "(payload -> 'public_metrics' ->> 'like_count')::numeric",
            "fact_post",
            "post_id",
            "likes",
        ),
    )
}


def served(stack: Breakable, source: str, *, month: str = MONTH) -> tuple[int, float]:
    """Records that the API has for the run, and the sum of their measure, asked of it without the product."""
    records = list(_records(stack, source, month))
    return len(records), round(sum(records), 2)


def held(stack: Breakable, source: str) -> dict[str, tuple[int, ...] | tuple[float, ...]]:
    """How many records of the source each layer holds, and the sums of the measure in raw and in analytics."""
    of = MEASURED[source]
    booked = (
        f"from ops.landing where source = '{source}' and entity = '{of.entity}' "
        "and published_at is not null and superseded_by is null"
    )
    facts = f"from analytics.{of.fact}"
    (counts,) = stack.rows(
        f"select (select sum(loaded_rows) {booked})::bigint, (select count(*) from {of.raw})::bigint, "
        f"(select count(distinct {of.key}) from {of.raw})::bigint, (select count(*) {facts})::bigint, "
        f"(select count(distinct {of.fact_key}) {facts})::bigint"
    )
    (sums,) = stack.rows(
        f"select (select round(sum({of.value})::numeric, 2) from {of.raw})::float, "
        f"(select round(sum({of.fact_value})::numeric, 2) {facts})::float"
    )
    return {"counts": counts, "sums": sums}


def own_marts(stack: Breakable, source: str) -> list[str]:
    """The tables that a source publishes, and no other source with it."""
    manifest = open_home(stack.home).dbt_target / "manifest.json"
    others = {mart.name for name in MEASURED if name != source for mart in marts(manifest, tag=name)}
    return [mart.name for mart in marts(manifest, tag=source) if mart.name not in others]


def readers_see(stack: Breakable, tables: Collection[str]) -> dict[str, str]:
    """A hash of each table that readers see, of those that are there.

    Lineage and the time of loading are left out: a run that begins again has others.
    """
    listed = ", ".join(f"'{table}'" for table in tables)
    there = stack.rows(
        "select n.nspname, c.relname::text from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "where n.nspname in ('analytics', 'personal') and c.relkind in ('r', 'v') "
        f"and c.relname in ({listed}) order by 1, 2"
    )
    row = "(to_jsonb(t) - '_landing_id' - '_row' - '_loaded_at')::text"
    content = f"count(*) || ' ' || coalesce(sum(hashtextextended({row}, 0)), 0)"
    return {
        f"{schema}.{table}": stack.rows(f"select {content} from {schema}.{table} as t")[0][0] for schema, table in there
    }


def orphans(stack: Breakable) -> list[str]:
    """What should not be there, whatever was killed: each thing by its name."""
    found = stack.rows(
        "select 'raw table of no landing: ' || relname::text from pg_class where relnamespace = 'raw'::regnamespace "
        r"and relkind = 'r' and relname ~ '_\d{16}$' and (not relispartition or not exists ("
        "select from ops.landing where landing_id = substring(relname from '\\d{16}$')::bigint "
        "and loaded_at is not null and superseded_by is null)) "
        "union all select 'left by dbt: ' || relnamespace::regnamespace || '.' || relname from pg_class "
        "where relname like '%\\_\\_dbt\\_%' and relkind in ('r', 'v') "
        "union all select 'temporary table: ' || relname from pg_class where relpersistence = 't' and relkind = 'r' "
        "union all select 'raw rows of no booking: ' || entity || ' ' || landing_id from ops.landing "
        "where loaded_at is not null and loaded_rows is null "
        "union all select 'prepared transaction: ' || gid from pg_prepared_xacts"
    )
    return [name for (name,) in found]


def unbooked(stack: Breakable, source: str) -> tuple[int, int]:
    """Rows of the source's main entity in raw, and how many of them the bookkeeping knows: always equal."""
    of = MEASURED[source]
    if stack.rows(f"select to_regclass('{of.raw}') is null") == [(True,)]:
        return 0, 0
    # in one statement, so in one snapshot
    ((rows, booked),) = stack.rows(
        f"select (select count(*) from {of.raw}), (select coalesce(sum(loaded_rows), 0)::bigint from ops.landing "
        f"where source = '{source}' and entity = '{of.entity}' and superseded_by is null)"
    )
    return rows, booked


def landings_seen(stack: Breakable, source: str, entity: str) -> tuple[list[int], list[int]]:
    """The landings that a replay would take from S3, and those that the bookkeeping knows."""
    home = open_home(stack.home)
    client = s3.client(
        f"http://127.0.0.1:{home.ports['s3']}", home.secrets["s3_access_key"], home.secrets["s3_secret_key"]
    )
    store = LandingStore(client, airflow.BUCKET)
    in_s3 = [one.landing_id for one in store.landings(source, entity)]
    booked = stack.rows(
        f"select landing_id from ops.landing where source = '{source}' and entity = '{entity}' order by 1"
    )
    return in_s3, [landing_id for (landing_id,) in booked]


def forget_all(stack: Breakable) -> None:
    """Make the warehouse and the lake as they were before the first run."""
    stack.rows(
        "do $$ declare one record; begin for one in select n.nspname, c.relname, c.relkind from pg_class as c "
        "join pg_namespace as n on n.oid = c.relnamespace "
        "where n.nspname in ('raw', 'staging', 'marts', 'quarantine', 'analytics', 'personal') "
        "and c.relkind in ('r', 'p', 'v') and not c.relispartition loop "
        "execute format('drop %s if exists %I.%I cascade', case one.relkind when 'v' then 'view' else 'table' end, "
        "one.nspname, one.relname); end loop; "
        "for one in select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind = 'r' loop "
        "execute format('truncate ops.%I cascade', one.relname); end loop; end $$"
    )
    home = open_home(stack.home)
    client = s3.client(
        f"http://127.0.0.1:{home.ports['s3']}", home.secrets["s3_access_key"], home.secrets["s3_secret_key"]
    )
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=airflow.BUCKET):
        for entry in page.get("Contents", []):
            client.delete_object(Bucket=airflow.BUCKET, Key=entry["Key"])


def _records(stack: Breakable, source: str, month: str) -> Iterator[float]:
    """The measure of each record that the API has for the run."""
    match source:
        case "tlc":
            content = _get(stack, source, f"/trip-data/green_tripdata_{month}.parquet")
            yield from pc.fill_null(pq.read_table(io.BytesIO(content))["total_amount"], 0).to_pylist()
        case "openweather":
            for city in CITIES:
                yield _json(stack, source, f"/data/2.5/weather?q={city}")["main"]["humidity"]
        case "driven":
            page, pages = 1, 1
            while page <= pages:
                answer = _json(stack, source, f"/driven/v1/sessions?per_page=5000&page={page}")
                page, pages = page + 1, answer["total_pages"]
                yield from (one["consumed_traffic"] for one in answer["data"])
        case "opensea":
            for collection in COLLECTIONS:
                path = f"/api/v2/collection/{collection}/nfts?limit=200"
                for answer in _pages(stack, source, path, "next", "next"):
                    yield from (len(one["collection"]) for one in answer["nfts"])
        case "x":
            for username in USERNAMES:
                account = _json(stack, source, f"/2/users/by/username/{username}")["data"]["id"]
                path = f"/2/users/{account}/tweets?max_results=100&tweet.fields=public_metrics"
                for answer in _pages(stack, source, path, "pagination_token", "meta.next_token"):
                    yield from (one["public_metrics"]["like_count"] for one in answer.get("data", []))


def _pages(stack: Breakable, source: str, path: str, parameter: str, place: str) -> Iterator[Any]:
    """All pages behind a token that stands at a place of each."""
    token: Any = ""
    while token is not None:
        answer = token = _json(stack, source, path + (f"&{parameter}={token}" if token else ""))
        yield answer
        for name in place.split("."):
            token = token.get(name)


def _json(stack: Breakable, source: str, path: str) -> Any:  # noqa: ANN401 - whatever the API gives
    return json.loads(_get(stack, source, path))


def _get(stack: Breakable, source: str, path: str) -> bytes:
    headers = {}
    if source != "tlc":
        key = stack.secret(f"sandbox_{source}")
        path += f"&appid={key}" if source == "openweather" else ""
        headers = {"x": {"authorization": f"Bearer {key}"}, "openweather": {}}.get(source, {"x-api-key": key})
    request = urllib.request.Request(f"http://127.0.0.1:{stack.port('sandbox')}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the same
        return bytes(answer.read())
