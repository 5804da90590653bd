"""The five sources at once on one Celery worker and on two: wall time; and what a task takes on a worker warm and cold.

Each set-up is a stack of its own, started by the launcher, with the sandbox's usual data. A worker runs equally many
tasks at a time in both, so two workers have twice the slots. Then one source is rebuilt from its landing, by a worker
that holds everything before it forks and by one that does not. Exit 1 if a run fails, or if a worker runs nothing.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from benchmarks.processes import watch
from benchmarks.stack import await_so, by_kind, machine, moment, say, stack
from benchmarks.table import megabytes, ratio, seconds, table
from local import airflow, runs, services, workers
from local.home import Home, LocalError

KINDS = {"dbt": ("staging.", "marts."), "gate": ("gate_",), "load": ("raw.load_",)}
"""Kind of task -> how the ids of its tasks begin"""
REBUILT = "openweather"
"""the source whose tasks are measured warm and cold: small, so that starting is what they mostly do"""


@dataclass(frozen=True)
class Took:
    """What runs took together.

    Attributes:
        wall_seconds: From the start of the first run to the end of the last.
        by_kind: Kind of task -> the seconds of each, and the CPU seconds of its process.
        by_worker: How many tasks each worker ran.
        memory: Bytes (PSS) of all workers and their tasks, at the peak; None where the kernel does not tell.
        load: The machine's load (1-minute average) at the end.
        failed: Sources that have published nothing.
    """

    wall_seconds: float
    by_kind: Mapping[str, Sequence[tuple[float, float]]]
    by_worker: Mapping[str, int]
    memory: int | None
    load: float
    failed: Sequence[str]


def main() -> int:
    """Run the benchmark.

    Returns:
        0 when all went well, else 1.
    """
    try:
        with stack(SLUICE_WORKERS="1") as home:
            together, rebuilt = {1: run(home, runs.sources())}, warm_and_cold(home)
        say(report(together, rebuilt))  # the next one takes minutes, too
        with stack(SLUICE_WORKERS="2") as home:
            together[2] = run(home, runs.sources())
    except (LocalError, OSError) as fault:
        print(f"workers: {fault}", file=sys.stderr)
        return 1
    print(report(together, rebuilt))
    faults = [*faults_of(together), *(f"{REBUILT} has failed, {name}" for name, one in rebuilt.items() if one.failed)]
    print("\n".join(["", *(f"FAULT: {fault}" for fault in faults)]))
    return 1 if faults else 0


def run(home: Home, sources: Sequence[str], *, from_landing: bool = False) -> Took:
    """Run sources at once and wait for them."""
    api = airflow.Api(home)
    own = [service for service in services.of(home) if service.name in workers.names(home)]

    def roots() -> dict[str, int]:
        found = ((service.name, services.running(home, service)) for service in own)
        return {name: started.pid for name, started in found if started}

    with watch(roots) as watched:
        conf = {"from_landing": True, "all_landings": True} if from_landing else {}
        begun = [runs.trigger(api, name, conf) for name in sources]
        runs.follow(api, begun, say=say)
    ended = [api.get(f"dags/{one.source}/dagRuns/{one.run_id}") for one in begun]
    tasks = [task for one in begun for task in one.tasks]
    return Took(
        wall_seconds=max(moment(one["end_date"]) for one in ended) - min(moment(one["start_date"]) for one in ended),
        by_kind=by_kind(KINDS, tasks, watched),
        by_worker=Counter(str(task["hostname"]) for task in tasks if task["hostname"]),
        memory=watched.together,
        load=os.getloadavg()[0],
        failed=[one.source for one in begun if not one.is_published],
    )


def warm_and_cold(home: Home) -> dict[str, Took]:
    """Rebuild a source from its landing on the workers as they are, and on workers that hold nothing."""
    warm = run(home, [REBUILT], from_landing=True)
    for service in services.of(home):
        if service.name in workers.names(home):
            services.stop(home, [service])
            env = {name: value for name, value in service.env(home).items() if name != "SLUICE_WARM"}
            services.start(home, replace(service, env=_always(env)))
            await_so(partial(service.is_ready, home), what=f"{service.name}, cold", limit_seconds=120)
    return {"warm": warm, "cold": run(home, [REBUILT], from_landing=True)}


def report(together: Mapping[int, Took], rebuilt: Mapping[str, Took]) -> str:
    """The tables, and on what machine they were measured."""
    one = next(iter(together.values())).wall_seconds
    loads = ", ".join(f"{took.load:.1f}" for took in (*together.values(), *rebuilt.values()))
    return "\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}; load {loads}.",
            "Memory in MB (10^6 bytes): PSS of workers and tasks together, at the peak.",
            "",
            table(
                ["workers", "slots", "s", "s/one", "tasks", "MB"],
                [
                    [
                        str(number),
                        str(number * workers.slots()),
                        seconds(took.wall_seconds),
                        ratio(took.wall_seconds, one),
                        " + ".join(str(ran) for _, ran in sorted(took.by_worker.items())),
                        megabytes(took.memory),
                    ]
                    for number, took in together.items()
                ],
            ),
            "",
            f"A task of {REBUILT} from its landing, medians; CPU seconds are those of the task's own process.",
            "",
            table(
                ["worker", *(cell for kind in KINDS for cell in (f"{kind}: s", "CPU s"))],
                [
                    [name, *(seconds(one) for kind in KINDS for one in medians(took.by_kind.get(kind, ())))]
                    for name, took in rebuilt.items()
                ],
            ),
        ]
    )


def medians(took: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    """The median of the seconds, and of the CPU seconds; None where there are none."""
    if not took:
        return None, None
    return statistics.median(wall for wall, _ in took), statistics.median(cpu for _, cpu in took)


def faults_of(together: Mapping[int, Took]) -> list[str]:
    """What is wrong with the runs of each number of workers, a sentence each."""
    faults = []
    for number, took in together.items():
        faults += [f"workers {number}: the run of {source} has failed" for source in took.failed]
        if len(took.by_worker) != number:
            faults.append(f"workers {number}: tasks were run by {', '.join(sorted(took.by_worker)) or 'none'} alone")
    return faults


def _always(env: Mapping[str, str]) -> Callable[[Home], Mapping[str, str]]:
    return lambda _: env


if __name__ == "__main__":
    sys.exit(main())
