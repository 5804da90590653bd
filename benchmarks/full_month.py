"""A full month of yellow taxi trips from the API to published tables, on a stack of its own: what each layer takes.

Three runs through the launcher and the real scheduler: a month; the same month again from its landing; another month,
so that the tables hold twice as much. Prints seconds, rows a second and peak memory as Markdown, and whether the second
and third run cost what the first did. Exit 1 if a run failed, if a process grew over the limit, or if the layers do not
hold the same rows.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.processes import Seen, Watched, watch
from benchmarks.stack import await_so, machine, moment, say, sluice
from benchmarks.table import count, megabytes, ratio, seconds, table
from local import airflow, report, services
from local.home import Home, LocalError, open_home

LIMIT_BYTES = 1_000_000_000
LAYERS = ("landing", "gate_landing", "raw", "gate_raw", "staging", "gate_staging", "marts", "gate_marts", "publish")
_SOURCE = "tlc"
_TASK = re.compile(r"^airflow worker -- (?P<id>[0-9a-f-]{36})$")
_BACKEND = re.compile(r"^postgres: (?P<role>\w+) (?P<database>\w+) [\d.]+\(\d+\)")
_PARALLEL = re.compile(r"^postgres: parallel worker for PID (?P<leader>\d+)")


@dataclass(frozen=True)
class Task:
    """A task instance, as Airflow's REST API has it: times are seconds since the epoch, None if it never ran."""

    id: str
    name: str
    state: str
    start: float | None
    end: float | None

    @property
    def layer(self) -> str:
        """Its task group, or for tasks without one its own name."""
        return self.name.split(".", 1)[0]


@dataclass(frozen=True)
class Layer:
    """What one layer took: from the start of its first task to the end of its last, and what ran for it meanwhile."""

    name: str
    wall_seconds: float | None
    cpu_seconds: float
    task: Seen | None
    backend: Seen | None


@dataclass
class Measured:
    """One run.

    Attributes:
        name: What it is compared as.
        what: What was run.
        tasks: Its task instances.
        wall_seconds: From the start of the DAG run to its end.
        watched: Every process of the stack meanwhile.
        counts: Rows by layer, of the month that was run.
        load: The machine's mean load meanwhile (1-minute average at the end).
        faults: What is wrong with it.
        sizes: Bytes by what holds the rows: of the rows, and of their indexes.
    """

    name: str
    what: str
    tasks: list[Task]
    wall_seconds: float
    watched: Watched
    counts: dict[str, int]
    load: float
    faults: list[str] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        0 when all went well and within the limit, else 1.
    """
    given = _parser().parse_args(arguments)
    months = (given.month, _next_month(given.month))
    folder = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    folder.chmod(0o711)  # root's PostgreSQL runs as another user, who must pass
    env = os.environ | {"SLUICE_HOME": str(folder), "SANDBOX_YELLOW_ROWS": str(given.rows)}
    runs: list[Measured] = []
    try:
        sluice(env, "up", "--no-run")
        home = open_home(folder)
        for month in months:
            say(f"the sandbox made {month:%Y-%m} in {_make_month(home, month):.0f} s")
        await_so(lambda: not services.cold(home), what="the fork server of warm workers", limit_seconds=120)
        for name, month, flags in (
            ("first", months[0], ()),
            ("again", months[0], ("--from-landing",)),
            ("next", months[1], ()),
        ):
            runs.append(_measure(env, home, name, month, *flags))
            say(_report(runs, given.rows))  # the next one takes minutes, too
    except (LocalError, OSError) as fault:
        print(f"full_month: {fault}", file=sys.stderr)
        return 1
    finally:
        if sluice(env, "down", "--purge", check=False) == 0:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"full_month: the stack was not stopped; stop it with SLUICE_HOME={folder} ./sluice down --purge")
    print(_report(runs, given.rows))
    faults = [f"{run.name}: {fault}" for run in runs for fault in run.faults]
    print("\n".join(["", *(f"FAULT: {fault}" for fault in faults)] if faults else ["", "All within the limit."]))
    return 1 if faults else 0


def layers(run: Measured) -> list[Layer]:
    """A run's layers in their order, each with its fattest task and the fattest PostgreSQL backend of its time."""
    found = []
    for name in LAYERS:
        tasks = {task.id: task for task in run.tasks if task.layer == name and task.start and task.end}
        begin = min((task.start for task in tasks.values() if task.start), default=None)
        end = max((task.end for task in tasks.values() if task.end), default=None)
        own, backends = [], []
        for seen in run.watched.processes.values():
            if (worker := _TASK.match(seen.title)) and worker["id"] in tasks:
                own.append(seen)
            elif begin and end and _is_warehouse(seen) and begin <= (seen.first + seen.last) / 2 <= end:
                backends.append(seen)
        found.append(
            Layer(
                name,
                end - begin if begin and end else None,
                sum(seen.cpu_seconds for seen in (*own, *backends)),
                max(own, key=lambda seen: seen.rss, default=None),
                max(backends, key=lambda seen: seen.rss, default=None),
            )
        )
    return found


def kind(seen: Seen) -> str:
    """What a process is, by where it descends from and what it says of itself."""
    if _TASK.match(seen.title):
        return "Airflow task"
    if seen.title.startswith("airflow worker -- LocalExecutor"):
        return "Airflow task's supervisor"
    if backend := _BACKEND.match(seen.title):
        return f"PostgreSQL backend of {backend['role'] if backend['database'] == 'warehouse' else 'Airflow'}"
    if _PARALLEL.match(seen.title):
        return "PostgreSQL parallel worker"
    return {"postgres": "PostgreSQL's own", "launcher": "./sluice run"}.get(seen.root, seen.root)


def over_limit(run: Measured) -> list[str]:
    """The processes that had more than the limit in memory, a sentence each."""
    return [
        f"{_who(run, seen)} had {megabytes(seen.rss)} MB in memory, over the limit of {megabytes(LIMIT_BYTES)} MB"
        for seen in run.watched.processes.values()
        if seen.rss > LIMIT_BYTES
    ]


def differing(counts: Mapping[str, int], rows: int) -> list[str]:
    """A sentence if the layers do not all hold the rows that the API gave."""
    if set(counts.values()) == {rows}:
        return []
    return [f"of {rows:,} rows there are " + ", ".join(f"{held:,} in {layer}" for layer, held in counts.items())]


def _measure(env: Mapping[str, str], home: Home, name: str, month: date, *flags: str) -> Measured:
    api = airflow.Api(home)
    before = {run["dag_run_id"] for run in _runs(api)}
    arguments = ("run", _SOURCE, "--date", f"{month:%Y-%m}-15", "--param", 'services=["yellow"]', *flags)
    me = os.getpid()

    def roots() -> dict[str, int]:
        found = ((service.name, services.running(home, service)) for service in services.of(home))
        return {name: started.pid for name, started in found if started} | {"launcher": me}

    with watch(roots, skip=[me]) as watched:
        code = sluice(env, *arguments, check=False)
    (run,) = [run for run in _runs(api) if run["dag_run_id"] not in before]
    answer = api.get(f"dags/{_SOURCE}/dagRuns/{run['dag_run_id']}/taskInstances", limit=1000)["task_instances"]
    tasks = [
        Task(task["id"], task["task_id"], task["state"], _moment(task["start_date"]), _moment(task["end_date"]))
        for task in answer
    ]
    begin, end = _moment(run["start_date"]), _moment(run["end_date"])
    measured = Measured(
        name=name,
        what=f"{month:%Y-%m}" + (" from its landing" if flags else ""),
        tasks=tasks,
        wall_seconds=end - begin if begin and end else 0.0,
        watched=watched,
        counts=_counts(home, month),
        load=os.getloadavg()[0],
        sizes=_sizes(home, month),
    )
    if code or run["state"] != "success":
        failed = ", ".join(task.name for task in tasks if task.state == "failed")
        measured.faults.append(f"the run ended as {run['state']} (failed: {failed or 'none'})")
    rows = int(env["SANDBOX_YELLOW_ROWS"])
    measured.faults += [*differing(measured.counts, rows), *over_limit(measured)]
    return measured


def _report(runs: Sequence[Measured], rows: int) -> str:
    first, by_run = runs[0], [layers(run) for run in runs]
    layer_rows = []
    for name, *of_runs in zip(LAYERS, *by_run, strict=True):
        one, *others = of_runs
        layer_rows.append(
            [
                name,
                seconds(one.wall_seconds),
                count(rows / one.wall_seconds if one.wall_seconds else None),
                seconds(one.cpu_seconds),
                megabytes(one.task and one.task.rss),
                megabytes(one.task and one.task.pss),
                megabytes(one.backend and one.backend.rss),
                megabytes(one.backend and one.backend.uss),
                *(cell for other in others for cell in (seconds(other.wall_seconds), seconds(other.cpu_seconds))),
                *(ratio(other.cpu_seconds, one.cpu_seconds) for other in others),
            ]
        )
    cpu = [sum(layer.cpu_seconds for layer in of_run) for of_run in by_run]
    layer_rows.append(
        [
            "**the run**",
            seconds(first.wall_seconds),
            count(rows / first.wall_seconds),
            seconds(cpu[0]),
            *("" for _ in range(4)),
            *(
                cell
                for run, used in zip(runs[1:], cpu[1:], strict=True)
                for cell in (seconds(run.wall_seconds), seconds(used))
            ),
            *(ratio(used, cpu[0]) for used in cpu[1:]),
        ]
    )
    header = ["layer", "s", "rows/s", "CPU s", "task RSS", "task PSS", "backend RSS", "backend USS"]
    header += [cell for run in runs[1:] for cell in (f"{run.name}: s", "CPU s")]
    header += [f"{run.name}/{first.name}" for run in runs[1:]]
    return "\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}; load {', '.join(f'{run.load:.1f}' for run in runs)}.",
            f"{rows:,} rows: " + ", ".join(f"{run.name} is {run.what}" for run in runs) + ".",
            "Memory in MB (10^6 bytes), peaks; ratios are of CPU seconds.",
            "",
            table(header, layer_rows),
            "",
            table(
                ["process", "at once", "RSS", "PSS", "USS", "fattest"],
                _kinds(runs),
            ),
            "",
            f"The stack together: {megabytes(max((run.watched.together or 0) for run in runs) or None)} MB PSS.",
            "",
            table(
                ["slowest tasks", *(run.name for run in runs)],
                _slowest(runs),
            ),
            "",
            table(
                ["rows of the month", *first.counts],
                [[run.name, *(count(held) for held in run.counts.values())] for run in runs],
            ),
            "",
            table(
                ["on disk after the first", "MB", "bytes a row", "indexes: MB", "bytes a row"],
                [
                    [
                        name,
                        megabytes(held),
                        count(held / rows),
                        megabytes(indexes or None),
                        count(indexes / rows if indexes else None),
                    ]
                    for name, (held, indexes) in first.sizes.items()
                ],
            ),
        ]
    )


def _kinds(runs: Sequence[Measured]) -> list[list[str]]:
    """The peaks of each kind of process over all runs, the fattest kind first."""
    by_kind: dict[str, list[tuple[Measured, Seen]]] = {}
    for run in runs:
        for seen in run.watched.processes.values():
            by_kind.setdefault(kind(seen), []).append((run, seen))
    peaks = []
    for name, members in by_kind.items():
        run, fattest = max(members, key=lambda member: member[1].rss)
        peaks.append((fattest.rss, name, members, _who(run, fattest)))
    return [
        [
            name,
            str(max(_at_once([seen for of, seen in members if of is run]) for run in runs)),
            megabytes(rss),
            megabytes(max((seen.pss for _, seen in members if seen.pss is not None), default=None)),
            megabytes(max((seen.uss for _, seen in members if seen.uss is not None), default=None)),
            who,
        ]
        for rss, name, members, who in sorted(peaks, key=lambda peak: -peak[0])
    ]


def _at_once(processes: Sequence[Seen]) -> int:
    moments = sorted([(seen.first, 1) for seen in processes] + [(seen.last, -1) for seen in processes])
    most = now = 0
    for _, change in sorted(moments, key=lambda moment: (moment[0], -moment[1])):
        now += change
        most = max(most, now)
    return most


def _slowest(runs: Sequence[Measured], how_many: int = 10) -> list[list[str]]:
    took = [
        {task.name: task.end - task.start for task in run.tasks if task.start and task.end and task.state == "success"}
        for run in runs
    ]
    names = sorted(took[0], key=lambda name: -took[0][name])[:how_many]
    return [[name, *(seconds(of_run.get(name)) for of_run in took)] for name in names]


def _who(run: Measured, seen: Seen) -> str:
    if worker := _TASK.match(seen.title):
        return next((task.name for task in run.tasks if task.id == worker["id"]), seen.title)
    begun = [task for task in run.tasks if task.start and task.end and task.start <= seen.rss_at <= task.end]
    during = ", ".join(sorted(task.name for task in begun)) if _is_warehouse(seen) else ""
    return f"{kind(seen)} during {during}" if during else kind(seen)


def _is_warehouse(seen: Seen) -> bool:
    """Whether it is a backend that worked for a task, or helped one that did."""
    backend = _BACKEND.match(seen.title)
    return (backend is not None and backend["database"] == "warehouse") or _PARALLEL.match(seen.title) is not None


def _counts(home: Home, month: date) -> dict[str, int]:
    """How many trips of the month each layer holds."""
    label, day = f"{month:%Y-%m}", month.isoformat()
    queries: dict[str, tuple[str, Sequence[str]]] = {
        "landing": (
            "select records as held from ops.landing where source = 'tlc' and entity = 'yellow_trips' "
            'and "partition" = %s order by landing_id desc limit 1',
            [label],
        ),
        "raw": (
            "select count(*) as held from raw.tlc__yellow_trips where _landing_id in "
            "(select landing_id from ops.landing where entity = 'yellow_trips' and \"partition\" = %s)",
            [label],
        ),
        **{
            f"{schema}.fact_taxi_trip": (
                f"select count(*) as held from {schema}.fact_taxi_trip where service = 'yellow' and source_month = %s",
                [day],
            )
            for schema in ("marts", "analytics")
        },
    }
    found = {}
    with report.warehouse(home) as cursor:
        for layer, (query, values) in queries.items():
            try:
                cursor.execute(query, values)
            except psycopg2.errors.UndefinedTable:
                found[layer] = 0
            else:
                row = cursor.fetchone()
                found[layer] = int(row["held"] or 0) if row else 0
    return found


def _sizes(home: Home, month: date) -> dict[str, tuple[int, int]]:
    """Bytes that the month's landing takes in S3, and that each table takes with all its rows."""
    with report.warehouse(home) as cursor:
        cursor.execute(
            "select coalesce(sum(bytes), 0)::bigint as held from ops.landing where entity = 'yellow_trips' "
            'and "partition" = %s and superseded_by is null',
            [f"{month:%Y-%m}"],
        )
        row = cursor.fetchone()
        found = {"landing (S3)": (int(row["held"]) if row else 0, 0)}
        for name in ("raw.tlc__yellow_trips", "marts.fact_taxi_trip", "analytics.fact_taxi_trip"):
            cursor.execute(
                "select coalesce(sum(pg_table_size(part)), 0)::bigint as held, "
                "coalesce(sum(pg_indexes_size(part)), 0)::bigint as indexes from (select to_regclass(%s) as part "
                "union select relid from pg_partition_tree(to_regclass(%s))) as parts",
                [name, name],
            )
            row = cursor.fetchone()
            found[name] = (int(row["held"]), int(row["indexes"])) if row else (0, 0)
    return found


def _make_month(home: Home, month: date) -> float:
    """Have the sandbox make a month and keep it, so that making it is no part of fetching it; seconds."""
    begun = time.monotonic()
    url = f"http://127.0.0.1:{home.ports['sandbox']}/trip-data/yellow_tripdata_{month:%Y-%m}.parquet"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=1800) as answer:
        while answer.read(1 << 20):
            pass
    return time.monotonic() - begun


def _runs(api: airflow.Api) -> list[dict[str, Any]]:
    return list(api.get(f"dags/{_SOURCE}/dagRuns", limit=100)["dag_runs"])


def _moment(text: str | None) -> float | None:
    return moment(text) if text else None


def _next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full_month", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=3_000_000, help="trips in the month (default %(default)s)")
    parser.add_argument(
        "--month",
        type=lambda text: date.fromisoformat(f"{text}-01"),
        default="2024-01",
        metavar="YYYY-MM",
        help="which month; the other is the one after (default %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
