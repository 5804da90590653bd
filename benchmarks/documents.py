"""JSON documents into a landing and into raw: against the server's own COPY to jsonb, and against dlt's default."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.bench import Goal, Result, Servers, state_folder
from benchmarks.load import landing
from benchmarks.measure import Took, Way, in_turn, of, paired
from benchmarks.ours import store
from benchmarks.peers import DLT, installed
from benchmarks.table import count, megabytes, ratio, seconds
from include.landing import Manifest
from include.pipeline import steps
from local.sandbox.weather import HOUR, Place, observe

LIMIT, OURS, KEYED = "server's own COPY to jsonb", "sluice, landing to raw", "sluice, landing to raw by key"
LANDED, TYPED = "sluice, documents to landing", "sluice, landing to raw and typed columns"
DLT_ROWS = "dlt's defaults, raw and typed"
DOCUMENTS = 100_000
_DLT_DOCUMENTS = 20_000
_FIRST_HOUR = 1_704_067_200  # 2024-01-01, UTC
_TYPED = (
    "create table typed as select (payload ->> 'id')::bigint as city_id, payload ->> 'name' as city_name, "
    "to_timestamp((payload ->> 'dt')::bigint) as observed_at, (payload #>> '{coord,lon}')::float8 as longitude, "
    "(payload #>> '{coord,lat}')::float8 as latitude, (payload #>> '{main,temp}')::float8 as temperature, "
    "(payload #>> '{main,feels_like}')::float8 as feels_like, (payload #>> '{main,pressure}')::int as pressure, "
    "(payload #>> '{main,humidity}')::int as humidity, (payload #>> '{wind,speed}')::float8 as wind_speed, "
    "(payload #>> '{wind,deg}')::int as wind_degrees, (payload #>> '{clouds,all}')::int as clouds, "
    "payload #>> '{sys,country}' as country, payload #>> '{weather,0,main}' as weather, _landing_id, _row "
    "from raw.openweather__observations"
)


def run(servers: Servers, *, rows: int, rounds: int, peer_rounds: int) -> Result:
    """Measure; at most 100,000 documents."""
    size = min(rows, DOCUMENTS)
    servers.warehouse()
    servers.warehouse("keyed")
    path, few = documents(size), documents(min(size, _DLT_DOCUMENTS))
    manifest = _land(servers, path)
    copied = servers.server_files / "limit.csv"
    with copied.open("wb") as file, path.open("rb") as lines:
        for number, line in enumerate(lines):
            file.write(b"%b\x02%d\x02%d\n" % (line.rstrip(b"\n"), manifest.landing_id, number))
    copied.chmod(0o644)
    given = {"s3": servers.s3.__dict__, "landing": landing(manifest)}

    def limit() -> Took:
        return servers.clock.measure(
            lambda: servers.ask(
                "drop table if exists limits",
                "create table limits (payload jsonb not null, _landing_id bigint not null, _row bigint not null, "
                "_loaded_at timestamptz not null default now())",
                f"copy limits (payload, _landing_id, _row) from '{copied}' "
                r"(format csv, quote e'\x01', delimiter e'\x02')",
            )
        )

    def ours(mode: str = "append", database: str = "warehouse") -> Took:
        dsn = servers.dsn("sluice_loader", database)
        return servers.clock.measure_apart("benchmarks.ours:load_documents", given | {"mode": mode, "dsn": dsn})

    def typed() -> Took:
        loaded = ours()
        made = servers.clock.measure(lambda: servers.ask("drop table if exists typed", _TYPED))
        return replace(loaded, seconds=loaded.seconds + made.seconds, server=loaded.server + made.server)

    def dlt() -> Took:
        return servers.clock.measure_apart(
            "benchmarks.peers:dlt_documents",
            {"path": str(few), "dsn": servers.dsn(), "table": "peer_documents"},
            python=installed(state_folder(), *DLT),
        )

    landed = partial(
        servers.clock.measure_apart,
        "benchmarks.ours:land_documents",
        {"s3": servers.s3.__dict__, "path": str(path), "run_id": "again"},
    )
    faults: dict[str, str] = {}
    took = in_turn(
        [
            Way(LIMIT, limit),
            Way(OURS, ours),
            Way(KEYED, lambda: ours("upsert", "keyed")),
            Way(LANDED, landed),
            Way(TYPED, typed),
            Way(DLT_ROWS, dlt, peer_rounds, is_peer=True),
        ],
        rounds,
        faults,
    )
    share = size / min(size, _DLT_DOCUMENTS)
    found = []
    for name, runs in took.items():
        if name in faults:
            found.append([name, faults[name], *["-"] * 5])
            continue
        of_way = size / share if name == DLT_ROWS else size
        slower = paired(runs, took[LIMIT])
        found.append(
            [
                name,
                count(of_way / (of(runs, lambda one: one.seconds) or 1)),
                ratio(slower and slower * size / of_way, 1),
                seconds(of(runs, lambda one: one.client)),
                seconds(of(runs, lambda one: one.server)),
                megabytes(int(of(runs, lambda one: one.rss or 0) or 0) or None),
                str(sum(one is not None for one in runs)),
            ]
        )
    raw, other = paired(took[OURS], took[LIMIT]), paired(took[DLT_ROWS], took[TYPED])
    return Result(
        f"{size:,} documents of {path.stat().st_size // size} bytes; dlt {int(size / share):,}.",
        ["way", "documents/s", "x limit", "client CPU s", "server CPU s", "peak MB", "rounds"],
        found,
        [
            Goal("documents a second from landing to raw, of the limit's", raw and 1 / raw, at_least=0.95),
            Goal("raw and typed, times as fast as dlt's default", other and other * share, at_least=7),
        ],
    )


def documents(size: int) -> Path:
    """Observations of a hundred cities as the sandbox makes them, a line each."""
    path = state_folder() / f"observations-{size}.ndjson"
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        places = [Place(1_000 + at, f"City {at}", "NO", at - 50, 3 * at - 150, at, None) for at in range(100)]
        with fresh.open("w") as file:
            for number in range(size):
                hours, at = divmod(number, len(places))
                file.write(json.dumps(observe(places[at], _FIRST_HOUR + hours * HOUR, 0)) + "\n")
        fresh.replace(path)
    return path


def _land(servers: Servers, path: Path) -> Manifest:
    with (
        store(**servers.s3.__dict__).begin(
            source="openweather", entity="observations", partition="2024-01", run_id="limit", format="json"
        ) as writer,
        path.open("rb") as file,
    ):
        for line in file:
            writer.add_document(line.rstrip(b"\n"))
        manifest = writer.commit({})
    for database in ("warehouse", "keyed"):
        steps.book(servers.dsn("sluice_loader", database), manifest)
    return manifest
