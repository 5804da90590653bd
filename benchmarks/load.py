"""A taxi month, Parquet in S3, into raw: against the server's own binary COPY of the same rows, and against peers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.bench import Goal, Result, Servers, land, month_file, repeated, state_folder
from benchmarks.measure import Took, Way, in_turn, of, paired
from benchmarks.peers import DLT, installed
from benchmarks.table import count, megabytes, ratio, seconds
from include.landing import Manifest
from include.pipeline import steps
from include.pipeline.model import load_source

LIMIT = "server's own binary COPY"
OURS = "sluice"
_SLOW_ROWS = 50_000


def run(servers: Servers, *, rows: int, rounds: int, peer_rounds: int) -> Result:
    """Measure."""
    servers.warehouse()
    path = month_file(rows)
    manifest = land(servers, path, "2024-01", run_id="limit")
    steps.load(
        load_source("tlc"),
        "yellow_trips",
        [landing(manifest)],
        store=servers.store,
        dsn=servers.dsn("sluice_loader"),
    )
    binary = servers.server_files / "limit.bin"
    servers.ask(f"copy (select * from raw.tlc__yellow_trips) to '{binary}' (format binary)")

    def limit() -> Took:
        return servers.clock.measure(
            lambda: servers.ask(
                "drop table if exists limits",
                "create table limits (like raw.tlc__yellow_trips including defaults)",
                f"copy limits from '{binary}' (format binary)",
            )
        )

    small = land(servers, month_file(_SLOW_ROWS), "2024-02", run_id="small")
    peers: dict[str, tuple[str, Manifest, tuple[str, ...] | None]] = {
        "ADBC": ("adbc", manifest, None),
        "dlt, Arrow and Parquet": ("dlt_arrow", manifest, DLT),
        "psycopg COPY of CSV": ("psycopg_csv", manifest, None),
        f"dlt's defaults ({_SLOW_ROWS:,} rows)": ("dlt_rows", small, DLT),
        f"pandas.to_sql ({_SLOW_ROWS:,} rows)": ("pandas_to_sql", small, None),
    }
    ways = [Way(LIMIT, limit), Way(OURS, lambda: ours(servers, manifest))]
    ways += [Way(name, partial(_peer, servers, *peer), peer_rounds, is_peer=True) for name, peer in peers.items()]
    faults: dict[str, str] = {}
    took = in_turn(ways, rounds, faults)
    sizes = {name: _SLOW_ROWS if of_landing is small else rows for name, (_, of_landing, _) in peers.items()}
    limits = took[LIMIT]
    found = []
    for way in ways:
        if way.name in faults:
            found.append([way.name, faults[way.name], *["-"] * 5])
            continue
        runs, size = took[way.name], sizes.get(way.name, rows)
        slower = paired(runs, limits)
        found.append(
            [
                way.name,
                count(size / (of(runs, lambda one: one.seconds) or 1)),
                ratio(slower and slower * rows / size, 1),
                seconds(of(runs, lambda one: one.client)),
                seconds(of(runs, lambda one: one.server)),
                megabytes(int(of(runs, lambda one: one.rss or 0) or 0) or None),
                str(sum(one is not None for one in runs)),
            ]
        )
    mine = paired(took[OURS], limits)
    best, slow = list(peers)[1], list(peers)[-1]

    def over(name: str) -> float | None:
        pair = paired(took[name], took[OURS]) if name in took else None
        return pair and pair * rows / sizes[name]

    peaks = {size: memory(servers, size) for size in (rows // 10, rows * 4)}
    at_rows = int(of(took[OURS], lambda one: one.rss or 0) or 0)
    before = int(of(took[OURS], lambda one: one.rss_before or 0) or 0)
    return Result(
        f"{rows:,} rows, Parquet in S3 to typed rows with lineage.",
        ["way", "rows/s", "x limit", "client CPU s", "server CPU s", "peak MB", "rounds"],
        found,
        [
            Goal("rows a second, of the limit's", mine and 1 / mine, at_least=0.9),
            Goal("times as fast as dlt at its best", over(best), at_least=2),
            Goal("times as fast as pandas.to_sql", over(slow), at_least=40),
            Goal(f"memory at {rows * 4:,} rows, of that at {rows // 10:,}", _growth(peaks), at_most=1.1),
            Goal("peak memory in MB", max(at_rows, *peaks.values()) / 1e6, at_most=200),
        ],
        [
            f"Memory of sluice's process: {megabytes(before)} MB once all is imported; peaks "
            + ", ".join(f"{megabytes(peak)} MB at {size:,} rows" for size, peak in peaks.items())
            + f", {megabytes(at_rows)} MB at {rows:,}.",
            "Times are of the work alone: imports, the interpreter's start and making the table's file are apart.",
        ],
    )


def landing(manifest: Manifest) -> steps.Landing:
    """What the load's task is told."""
    return steps.Landing(
        landing_id=manifest.landing_id, entity=manifest.entity, partition=manifest.partition, uri=manifest.uri
    )


def ours(servers: Servers, manifest: Manifest) -> Took:
    """The product's load in a process of its own."""
    given = {"s3": servers.s3.__dict__, "landing": landing(manifest), "dsn": servers.dsn("sluice_loader")}
    return servers.clock.measure_apart("benchmarks.ours:load_file", given)


def memory(servers: Servers, rows: int) -> int:
    """Peak memory of a load of so many rows."""
    times = max(1, rows // 3_000_000)
    path = month_file(rows // times)
    manifest = land(servers, repeated(path, times) if times > 1 else path, "2024-03", run_id=f"memory-{rows}")
    return ours(servers, manifest).rss or 0


def _peer(servers: Servers, function: str, manifest: Manifest, needs: tuple[str, ...] | None) -> Took:
    where = servers.store
    key = manifest.uri.removeprefix(f"s3://{where.bucket}/") + manifest.parts[0].name
    url = where.client.generate_presigned_url("get_object", Params={"Bucket": where.bucket, "Key": key})
    given = {"url": url, "dsn": servers.dsn(), "table": f"peer_{function}"}
    python = installed(state_folder(), *needs) if needs else Path(sys.executable)
    return servers.clock.measure_apart(f"benchmarks.peers:{function}", given, python=python)


def _growth(peaks: Mapping[int, int]) -> float | None:
    first, last = peaks[min(peaks)], peaks[max(peaks)]
    return last / first if first else None
