"""A source's DAG through the real scheduler, a task per model, against the same DAG with one `dbt build` of all.

The stack is that of `./sluice up`: LocalExecutor, whose fork server holds everything. A source is run, then rebuilt
from its landing again and again, so every round does the same. The `dbt build` of the same models and landing runs for
itself: warm, in a process forked from one that holds what the fork server does; and cold, as a command. What a run with
one such task would take is what the run took, its dbt tasks' time out and the build's in. Exit 1 if a run fails.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.bench import Goal
from benchmarks.processes import watch
from benchmarks.stack import by_kind, machine, moment, say, stack
from benchmarks.table import ratio, seconds, table
from include.warehouse.session import psycopg_session
from local import airflow, runs, services
from local.home import PROJECT, Home, LocalError

KINDS = {
    "dbt: a model and its tests": ("staging.", "marts."),
    "gate in the warehouse": ("gate_raw", "gate_staging", "gate_marts"),
    "gate of the landing": ("gate_landing",),
    "load": ("raw.load_",),
    "publish": ("publish",),
    "wait for the turn (one query)": ("await_turn",),
}
"""Kind of task -> how the ids of its tasks begin"""
_WARM = """
import os, sys, time
from local import warm  # preloads
from cosmos.dbt.runner import _get_cached_dbt_runner

for _ in range(int(sys.argv[1])):
    began = time.monotonic()
    if (child := os.fork()) == 0:
        done = _get_cached_dbt_runner().invoke(sys.argv[2:])
        os._exit(0 if done.success else 1)
    if os.waitpid(child, 0)[1]:
        sys.exit("dbt build failed")
    print("took", time.monotonic() - began, flush=True)
"""


@dataclass(frozen=True)
class Took:
    """One run.

    Attributes:
        wall_seconds: From its start to its end.
        dbt_seconds: Of that, from the end of the task before staging to staging's end, and the same for marts.
        tasks: Kind of task -> seconds and CPU seconds of each.
    """

    wall_seconds: float
    dbt_seconds: float
    tasks: Mapping[str, Sequence[tuple[float, float]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        0 when all went well, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks", description=__doc__)
    parser.add_argument("--source", default="openweather")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    try:
        with stack() as home:
            run(home, given.source, {})
            again = {"from_landing": True, "all_landings": True}
            took = [run(home, given.source, again) for _ in range(given.rounds)]
            warm, cold = warm_builds(home, given.source, given.rounds), cold_builds(home, given.source, given.rounds)
    except (LocalError, OSError, subprocess.CalledProcessError) as fault:
        print(f"tasks: {fault}", file=sys.stderr)
        return 1
    print(report(given.source, took, warm, cold))
    return 0


def run(home: Home, source: str, conf: Mapping[str, Any]) -> Took:
    """Run a source and wait for it.

    Raises:
        LocalError: It has failed.
    """
    api = airflow.Api(home)
    (scheduler,) = (service for service in services.of(home) if service.name == "scheduler")

    def roots() -> dict[str, int]:
        started = services.running(home, scheduler)
        return {"scheduler": started.pid} if started else {}

    with watch(roots) as watched:
        begun = runs.trigger(api, source, conf)
        runs.follow(api, [begun], say=say)
    if not begun.is_published:
        raise LocalError(f"{source} has published nothing: see the run {begun.run_id}")
    ended = api.get(f"dags/{source}/dagRuns/{begun.run_id}")
    wall = moment(ended["end_date"]) - moment(ended["start_date"])
    return Took(wall, dbt_seconds(begun.tasks), by_kind(KINDS, begun.tasks, watched))


def dbt_seconds(tasks: Sequence[Mapping[str, Any]]) -> float:
    """From the end of the task before each layer's first dbt task to the end of its last, both layers together."""
    ends = {task["task_id"]: moment(task["end_date"]) for task in tasks if task["end_date"]}
    found = 0.0
    for before, layer in (("await_turn", "staging."), ("gate_staging", "marts.")):
        last = max(end for name, end in ends.items() if name.startswith(layer))
        found += last - ends[before]
    return found


def warm_builds(home: Home, source: str, rounds: int) -> list[float]:
    """Seconds of `dbt build` in processes forked from one that holds what the fork server does."""
    env = os.environ | airflow.env(home) | {"PYTHONPATH": str(PROJECT), "SLUICE_WARM": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _WARM, str(rounds), *_build(home, source)],
        env=env,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("took ")]


def cold_builds(home: Home, source: str, rounds: int) -> list[float]:
    """Seconds of the command `dbt build`."""
    found = []
    for _ in range(rounds):
        began = time.monotonic()
        command = [str(Path(sys.executable).with_name("dbt")), *_build(home, source)]
        subprocess.run(command, env=os.environ | airflow.env(home), stdout=sys.stderr, check=True)
        found.append(time.monotonic() - began)
    return found


def report(source: str, took: Sequence[Took], warm: Sequence[float], cold: Sequence[float]) -> str:
    """The tables and the goals, and on what machine they were measured."""
    ways = {
        "a task per model": [one.wall_seconds for one in took],
        "one dbt build, warm": _in_one(took, warm),
        "one dbt build, cold": _in_one(took, cold),
    }
    medians = {name: statistics.median(one) for name, one in ways.items()}
    per_model, in_one, in_a_cold_one = medians.values()
    kinds = {kind: [pair for one in took for pair in one.tasks.get(kind, ())] for kind in KINDS}
    walls = {kind: statistics.median(wall for wall, _ in pairs) for kind, pairs in kinds.items() if pairs}
    goals = [
        Goal("a run with a task per model, of one with one warm dbt build", per_model / in_one, at_most=1.5),
        Goal("the same, of one with one cold dbt build", per_model / in_a_cold_one, at_most=1),
        Goal("seconds of a dbt task", walls.get("dbt: a model and its tests"), at_most=0.8),
        Goal("seconds of a gate, its queries too", walls.get("gate in the warehouse"), at_most=0.4),
    ]
    return "\n".join(
        [
            f"`{source}` from its landing, {len(took)} runs. {datetime.now(UTC):%Y-%m-%d}, {machine()}; "
            f"load {os.getloadavg()[0]:.1f}.",
            "",
            table(
                ["the run", "s, median", "x one warm"],
                [
                    [name, seconds(statistics.median(one)), ratio(statistics.median(one), in_one)]
                    for name, one in ways.items()
                ],
            ),
            "",
            table(
                ["task", "tasks", "s, median", "CPU s"],
                [
                    [kind, str(len(pairs)), f"{walls[kind]:.2f}", f"{statistics.median(cpu for _, cpu in pairs):.2f}"]
                    for kind, pairs in kinds.items()
                    if pairs
                ],
            ),
            "",
            *(f"- {goal}" for goal in goals),
        ]
    )


def _in_one(took: Sequence[Took], builds: Sequence[float]) -> list[float]:
    build = statistics.median(builds)
    return [one.wall_seconds - one.dbt_seconds + build for one in took]


def _build(home: Home, source: str) -> list[str]:
    """The arguments of a `dbt build` of the source's models, of all its landings."""
    with psycopg_session(airflow.server(home).dsn("warehouse")) as session:
        rows = session.execute("select landing_id from ops.landing where source = %s order by 1", (source,))
    project = str(PROJECT / "dbt_project")
    target = str(home.path / "bench_target")
    return [
        "build",
        *("--select", f"path:models/staging/{source}", f"path:models/marts,tag:{source}"),
        *("--exclude-resource-type", "unit_test"),
        *("--vars", json.dumps({"landing_ids": ",".join(str(landing_id) for (landing_id,) in rows)})),
        *("--project-dir", project, "--profiles-dir", project, "--target", "postgres"),
        *("--target-path", target, "--log-path", target, "--quiet"),
    ]


if __name__ == "__main__":
    sys.exit(main())
