"""All sources once in full, then the same runs again with nothing changed in the sources: what do those cost?

The stack is that of `./sluice up`, and the sandbox's clock stands still, so that it serves the same bytes whenever it
is asked. CPU seconds are those of the processes of tasks; one that Airflow skips without a start has none. Exit 1 if a
run fails, or publishes nothing the first time.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.bench import Goal
from benchmarks.processes import Watched, watch
from benchmarks.stack import machine, say, stack
from benchmarks.table import ratio, seconds, table
from local import airflow, runs, services
from local.home import Home, LocalError

_EVERY_SECONDS = 0.05
"""a task that finds nothing to do is soon gone"""
_COSTLIEST = 12


@dataclass(frozen=True)
class Task:
    """A task instance.

    Attributes:
        source: The DAG.
        name: Its id in the DAG.
        state: How it ended.
        cpu_seconds: Of its process; None where it had none.
    """

    source: str
    name: str
    state: str
    cpu_seconds: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        0 when all went well, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unchanged", description=__doc__)
    parser.add_argument("--sources", nargs="+", default=runs.sources(), choices=runs.sources())
    parser.add_argument("--times", type=int, default=3, help="runs of each source, the first one included")
    given = parser.parse_args(arguments)
    now = datetime.now(UTC)
    try:
        with stack(SANDBOX_NOW=now.isoformat()) as home:
            took = [run(home, given.sources) for _ in range(given.times)]
    except (LocalError, OSError) as fault:
        print(f"unchanged: {fault}", file=sys.stderr)
        return 1
    print(report(took))
    faults = faults_of(took)
    if datetime.now(UTC).hour != now.hour:
        faults.append("an hour has ended meanwhile, and with it a partition of openweather: run it again")
    print("\n".join(["", *(f"FAULT: {fault}" for fault in faults)]))
    return 1 if faults else 0


def run(home: Home, sources: Sequence[str]) -> list[Task]:
    """Run sources at once and wait for them; their tasks."""
    api = airflow.Api(home)
    (scheduler,) = (service for service in services.of(home) if service.name == "scheduler")

    def roots() -> Mapping[str, int]:
        started = services.running(home, scheduler)
        return {"scheduler": started.pid} if started else {}

    with watch(roots, every_seconds=_EVERY_SECONDS) as watched:
        begun = [runs.trigger(api, name, {}) for name in sources]
        runs.follow(api, begun, say=say)
    return [task for one in begun for task in tasks_of(one, watched)]


def tasks_of(run: runs.Run, watched: Watched) -> list[Task]:
    """The tasks of a run with what their processes used, all tries together."""
    cpu = {seen.title: seen.cpu_seconds for seen in watched.processes.values()}
    return [
        Task(run.source, str(task["task_id"]), str(task["state"]), cpu.get(f"airflow worker -- {task['id']}"))
        for task in run.tasks
    ]


def report(took: Sequence[Sequence[Task]]) -> str:
    """The tables and the goal, and on what machine they were measured.

    Args:
        took: The tasks of all sources, the first time, the second, and so on.
    """
    sources = sorted({task.source for task in took[0]})
    first = _cpu(took[0])
    later = [f"{number}." for number in range(2, len(took) + 1)]
    costliest = sorted(took[1], key=lambda task: task.cpu_seconds or 0, reverse=True)[:_COSTLIEST]
    return "\n".join(
        [
            f"{len(sources)} sources, {len(took)} times. {datetime.now(UTC):%Y-%m-%d}, {machine()}; "
            f"load {os.getloadavg()[0]:.1f}.",
            "",
            table(
                ["source", "tasks", "CPU s", *(cell for one in later for cell in (f"{one}: tasks", "CPU s", "/first"))],
                [
                    _row(name, [[task for task in one if name in (task.source, "together")] for one in took])
                    for name in [*sources, "together"]
                ],
            ),
            "",
            table(
                ["costliest task, 2. time", "state", "CPU s", "first"],
                [
                    [
                        f"{task.source}: {task.name}",
                        task.state,
                        f"{task.cpu_seconds:.2f}",
                        f"{_cpu([one for one in took[0] if (one.source, one.name) == (task.source, task.name)]):.2f}",
                    ]
                    for task in costliest
                    if task.cpu_seconds is not None
                ],
            ),
            "",
            *(
                f"- {Goal(f'CPU seconds of the {one} time, of the first', _cpu(tasks) / first, at_most=0.1)}"
                for one, tasks in zip(later, took[1:], strict=True)
            ),
        ]
    )


def faults_of(took: Sequence[Sequence[Task]]) -> list[str]:
    """What is wrong with the runs, a sentence each."""
    faults = [
        f"{task.source}: {task.name} ended as {task.state}, the {number}. time"
        for number, tasks in enumerate(took, 1)
        for task in tasks
        if task.state not in {"success", "skipped"}
    ]
    published = {task.source for task in took[0] if task.name == "publish" and task.state == "success"}
    lacking = sorted({task.source for task in took[0]} - published)
    return [*faults, *(f"{name} has published nothing, the first time" for name in lacking)]


def _row(name: str, took: Sequence[Sequence[Task]]) -> list[str]:
    first = _cpu(took[0])
    row = [name, str(_started(took[0])), seconds(first)]
    for tasks in took[1:]:
        row += [str(_started(tasks)), seconds(_cpu(tasks)), ratio(_cpu(tasks), first)]
    return row


def _started(tasks: Sequence[Task]) -> int:
    return sum(task.cpu_seconds is not None for task in tasks)


def _cpu(tasks: Sequence[Task]) -> float:
    return sum(task.cpu_seconds or 0.0 for task in tasks)


if __name__ == "__main__":
    sys.exit(main())
