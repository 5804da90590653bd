"""The five sources at once on one Celery worker and on two, and on one that is cold: wall time, and what a task takes.

Each set-up is a stack of its own, started by the launcher, with the sandbox's usual data. A worker runs equally many
tasks at a time in all of them, so two workers have twice the slots. Prints one Markdown table. Exit 1 if a run fails,
or if a worker runs nothing.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.processes import watch
from benchmarks.stack import await_so, machine, moment, say, sluice
from benchmarks.table import megabytes, ratio, seconds, table
from local import airflow, runs, services, workers
from local.home import Home, LocalError, open_home


@dataclass(frozen=True)
class Setup:
    """A set-up of workers: their number, and whether they hold everything before they fork."""

    name: str
    workers: int
    is_warm: bool = True


@dataclass(frozen=True)
class Measured:
    """What a set-up took.

    Attributes:
        setup: Which.
        wall_seconds: From the start of the first run to the end of the last.
        by_kind: Kind of task -> the seconds of each, and the CPU seconds that its process took.
        by_worker: How many tasks each worker ran.
        memory: Bytes (PSS) of all workers and their tasks together, at their peak; None where the kernel does not tell.
        load: The machine's mean load meanwhile (1-minute average at the end).
        failed: Runs that failed.
    """

    setup: Setup
    wall_seconds: float
    by_kind: Mapping[str, Sequence[tuple[float, float]]]
    by_worker: Mapping[str, int]
    memory: int | None
    load: float
    failed: Sequence[str]


KINDS = {"dbt": ("staging.", "marts."), "gate": ("gate_",), "load": ("raw.load_",)}
"""Kind of task -> how the ids of its tasks begin"""
SETUPS = (Setup("one", 1), Setup("two", 2), Setup("one, cold", 1, is_warm=False))


def main() -> int:
    """Run the benchmark.

    Returns:
        0 when all went well, else 1.
    """
    found = []
    try:
        for setup in SETUPS:
            found.append(measure(setup))
            say(report(found))  # the next one takes minutes, too
    except (LocalError, OSError) as fault:
        print(f"workers: {fault}", file=sys.stderr)
        return 1
    print(report(found))
    faults = [fault for one in found for fault in faults_of(one)]
    print("\n".join(["", *(f"FAULT: {fault}" for fault in faults)]))
    return 1 if faults else 0


def measure(setup: Setup) -> Measured:
    """Start a stack with these workers, run the five sources at once, and take it down.

    Raises:
        LocalError: The stack does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    folder.chmod(0o711)  # root's PostgreSQL runs as another user, who must pass
    env = os.environ | {"SLUICE_HOME": str(folder), "SLUICE_WORKERS": str(setup.workers)}
    try:
        sluice(env, "up", "--no-run")
        home = open_home(folder)
        if not setup.is_warm:
            _cool(home)
        return _run(home, setup)
    finally:
        if sluice(env, "down", "--purge", check=False) == 0:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"workers: the stack was not stopped; stop it with SLUICE_HOME={folder} ./sluice down --purge")


def report(found: Sequence[Measured]) -> str:
    """The table, and on what machine it was measured."""
    rows = [
        [
            one.setup.name,
            str(one.setup.workers * workers.slots()),
            seconds(one.wall_seconds),
            ratio(one.wall_seconds, found[0].wall_seconds),
            *(seconds(median) for kind in KINDS for median in _medians(one.by_kind.get(kind, ()))),
            " + ".join(str(count) for _, count in sorted(one.by_worker.items())),
            megabytes(one.memory),
        ]
        for one in found
    ]
    header = ["workers", "slots", "s", f"s/{found[0].setup.name}"]
    header += [cell for kind in KINDS for cell in (f"{kind}: s", "CPU s")]
    return "\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}; load {', '.join(f'{one.load:.1f}' for one in found)}.",
            "Seconds and CPU seconds of a task are medians; MB are the workers' with their tasks (PSS, 10^6 bytes).",
            "",
            table([*header, "tasks", "MB"], rows),
        ]
    )


def _medians(took: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    if not took:
        return None, None
    return statistics.median(wall for wall, _ in took), statistics.median(cpu for _, cpu in took)


def faults_of(one: Measured) -> list[str]:
    """What is wrong with a measurement, a sentence each."""
    faults = [f"{one.setup.name}: the run of {source} has failed" for source in one.failed]
    if len(one.by_worker) != one.setup.workers:
        ran = ", ".join(sorted(one.by_worker)) or "none"
        faults.append(f"{one.setup.name}: of {one.setup.workers} workers tasks were run by {ran} alone")
    return faults


def _run(home: Home, setup: Setup) -> Measured:
    api = airflow.Api(home)
    own = [service for service in services.of(home) if service.name in workers.names(home)]

    def roots() -> dict[str, int]:
        found = ((service.name, services.running(home, service)) for service in own)
        return {name: started.pid for name, started in found if started}

    with watch(roots) as watched:
        begun = [runs.trigger(api, name, {}) for name in runs.sources()]
        runs.follow(api, begun, say=say)
    of_runs = [api.get(f"dags/{run.source}/dagRuns/{run.run_id}") for run in begun]
    tasks = [task for run in begun for task in run.tasks if task["start_date"] and task["end_date"]]
    cpu = {seen.title: seen.cpu_seconds for seen in watched.processes.values()}
    by_kind: dict[str, list[tuple[float, float]]] = {}
    for task in tasks:
        kind = next((kind for kind, begin in KINDS.items() if task["task_id"].startswith(begin)), None)
        if kind and task["state"] == "success" and (used := cpu.get(f"airflow worker -- {task['id']}")) is not None:
            by_kind.setdefault(kind, []).append((moment(task["end_date"]) - moment(task["start_date"]), used))
    return Measured(
        setup=setup,
        wall_seconds=max(moment(one["end_date"]) for one in of_runs)
        - min(moment(one["start_date"]) for one in of_runs),
        by_kind=by_kind,
        by_worker=Counter(str(task["hostname"]) for task in tasks if task["hostname"]),
        memory=watched.together,
        load=os.getloadavg()[0],
        failed=[run.source for run in begun if run.state != "success"],
    )


def _cool(home: Home) -> None:
    """Start the workers again without what they hold, as Celery starts them by itself."""
    for service in services.of(home):
        if service.name in workers.names(home):
            services.stop(home, [service])
            env = {name: value for name, value in service.env(home).items() if name != "SLUICE_WARM"}
            services.start(home, replace(service, env=_always(env)))
            await_so(partial(service.is_ready, home), what=f"{service.name}, cold", limit_seconds=120)


def _always(env: Mapping[str, str]) -> Callable[[Home], Mapping[str, str]]:
    return lambda _: env


if __name__ == "__main__":
    sys.exit(main())
