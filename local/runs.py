"""DAG runs through Airflow's REST API: trigger, follow, and say what became of them."""

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from include.pipeline.model import Dbt, SourceError, load_source
from local.airflow import AT_ONCE, Api
from local.home import PROJECT, LocalError

REPORT = "daily_report"
"""the DAG of the daily report; it is no source"""
LAYERS = ("landing", "raw", "staging", "marts", "publish")
_ENDED = {"success", "failed"}
_TASK_ENDED = {"success", "skipped", "failed", "upstream_failed", "removed"}
_POLL_SECONDS = 0.5
_WHOLE_LOOK_SECONDS = 10.0
"""after so long all is asked for anew: a run that was deleted meanwhile changes no more"""
_OVERLAP = timedelta(seconds=2)
_SKIPPED = re.compile(r"\bskipped: (.+)")


@dataclass
class Run:
    """One DAG run as last seen.

    Attributes:
        source: The DAG's id, which is the source's name.
        run_id: The run's id.
        state: Airflow's word: queued, running, success or failed.
        tasks: The task instances, as REST gives them.
        seconds: How long it ran, once it has ended.
        name: What it is called where it is told of.
    """

    source: str
    run_id: str
    state: str = "queued"
    tasks: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or self.source

    @property
    def has_ended(self) -> bool:
        """Whether it will change no more."""
        return self.state in _ENDED

    def see(self, changed: Sequence[dict[str, Any]]) -> None:
        """Take over what has changed of tasks, those of other runs left aside."""
        own = [one for one in changed if (one["dag_id"], one["dag_run_id"]) == (self.source, self.run_id)]
        tasks = {(task["task_id"], task["map_index"]): task for task in [*self.tasks, *own]}
        self.tasks = list(tasks.values())

    @property
    def is_published(self) -> bool:
        """Whether its last task, publish, did its work."""
        return any(task["task_id"].endswith("publish") and task["state"] == "success" for task in self.tasks)


def sources() -> list[str]:
    """The sources that the project has: folders with a source.yml."""
    return sorted(path.parent.name for path in (PROJECT / "include" / "sources").glob("*/source.yml"))


def await_dags(api: Api, names: Sequence[str], *, seconds: float = 120.0) -> None:
    """Wait until Airflow has read the DAGs of the sources.

    Raises:
        LocalError: One is not there in time, or cannot be imported; with Airflow's reason.
    """
    deadline = time.monotonic() + seconds
    while True:
        there = {
            dag["dag_id"]: dag for dag in api.get("dags", tags="source", limit=AT_ONCE, exclude_stale="true")["dags"]
        }
        missing = sorted(set(names) - there.keys())
        if not missing:
            break
        if time.monotonic() > deadline:
            faults = [str(error["stack_trace"]).strip() for error in api.get("importErrors")["import_errors"]]
            reason = "\n".join(faults) or "see logs/dag-processor.log in the state folder"
            raise LocalError(f"Airflow shows no DAG for {', '.join(missing)}: {reason}")
        time.sleep(_POLL_SECONDS)


def await_models(api: Api, source: str, manifest: Path, *, seconds: float = 120.0) -> None:
    """Wait until a source's DAG has a task for each of its models in dbt's manifest, which may be newer than the DAG.

    Raises:
        LocalError: It has not in time.
    """
    with contextlib.suppress(SourceError):  # Airflow says why it has no DAG for it
        if load_source(source).dbt != Dbt():
            return  # which of its models the DAG has is for dbt's selection to say
    nodes = json.loads(manifest.read_bytes())["nodes"].values()
    wanted = {one["name"] for one in nodes if one["resource_type"] == "model" and source in one["tags"]}
    deadline = time.monotonic() + seconds
    while True:
        tasks = [str(task["task_id"]) for task in api.get(f"dags/{source}/tasks")["tasks"]]
        built = {task.split(".")[1] for task in tasks if task.startswith(("staging.", "marts."))}
        if wanted <= built:
            return
        if time.monotonic() > deadline:
            lacking = ", ".join(sorted(wanted - built))
            raise LocalError(f"Airflow's DAG {source} lacks {lacking}: see logs/dag-processor.log in the state folder")
        time.sleep(_POLL_SECONDS)


def trigger(api: Api, source: str, conf: Mapping[str, Any]) -> Run:
    """Start a run of a source's DAG now, and its schedule too.

    Args:
        api: Airflow.
        source: The DAG.
        conf: Values of the DAG's params that differ from their defaults.

    Raises:
        LocalError: Airflow refused, for example a param that the DAG does not have or a value out of its choices.
    """
    # Airflow itself takes any key, and a typing error would run with the defaults.
    params = api.get(f"dags/{source}/details")["params"] or {}
    if unknown := sorted(set(conf) - params.keys()):
        raise LocalError(f"{source} has no parameter {unknown[0]!r}: it has {', '.join(sorted(params))}")
    run_id = f"sluice__{datetime.now(UTC).isoformat(timespec='milliseconds')}"
    api.post(f"dags/{source}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)})
    # After the trigger: a DAG that wakes up makes a run of its own, and one run at a time is allowed.
    api.patch(f"dags/{source}", {"is_paused": False}, update_mask="is_paused")
    return Run(source, run_id)


def follow(api: Api, runs: Sequence[Run], *, say: Callable[[str], None]) -> None:
    """Wait until all runs have ended, telling of each step: in a line of its own, or in one live line on a terminal."""
    said: dict[str, str] = {}
    live = sys.stdout.isatty()
    whole_look, since = 0.0, datetime.now(UTC)
    while True:
        begun = datetime.now(UTC)
        if time.monotonic() >= whole_look:
            for run in _under_way(runs):
                refresh(api, run)
            whole_look = time.monotonic() + _WHOLE_LOOK_SECONDS
        else:
            _catch_up(api, _under_way(runs), since - _OVERLAP)
        since = begun
        lines = {run.name: progress(run) for run in runs}
        if live:
            text = "   ".join(f"{name} {line}" for name, line in lines.items())
            print(f"\r\033[K{text}", end="", flush=True)
        for run in runs:
            if not live and said.get(run.name) != lines[run.name]:
                said[run.name] = lines[run.name]
                say(f"{run.name}: {lines[run.name]}")
        if not _under_way(runs):
            break
        time.sleep(_POLL_SECONDS)
    if live:
        print()


def _under_way(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if not run.has_ended]


def refresh(api: Api, run: Run) -> None:
    """Look at a run again."""
    path = f"dags/{run.source}/dagRuns/{run.run_id}"
    # State first, tasks after: the tasks of a run that has ended are final.
    seen = api.get(path)
    run.state = str(seen["state"])
    run.tasks = list(api.get(f"{path}/taskInstances", limit=AT_ONCE)["task_instances"])
    if run.has_ended and seen.get("start_date") and seen.get("end_date"):
        run.seconds = (_moment(seen["end_date"]) - _moment(seen["start_date"])).total_seconds()


def _catch_up(api: Api, runs: Sequence[Run], since: datetime) -> None:
    """Look at what has changed since then, and at all of a run whose tasks have ended.

    One small question for all runs: to ask for each of them whole, twice a second, was 42 of the 71 seconds that
    Airflow's API server spent on requests in `./sluice up`.
    """
    seen = api.get("dags/~/dagRuns/~/taskInstances", updated_at_gte=since.isoformat(), limit=AT_ONCE)["task_instances"]
    for run in runs:
        run.see(seen)
        if all(task["state"] in _TASK_ENDED for task in run.tasks):
            refresh(api, run)


def progress(run: Run) -> str:
    """How far a run is, layer by layer: `landing ok  raw 1/2  staging -  marts -  publish -`; else task by task."""
    if not any(layer_of(task["task_id"]) for task in run.tasks):
        return "  ".join(f"{task['task_id']} {task['state'] or '-'}" for task in run.tasks) or run.state
    parts = []
    for layer in LAYERS:
        tasks = [task for task in run.tasks if layer_of(task["task_id"]) == layer]
        done = [task for task in tasks if task["state"] in {"success", "skipped"}]
        if any(task["state"] in {"failed", "upstream_failed"} for task in tasks):
            word = "failed"
        elif tasks and all(task["state"] == "skipped" for task in tasks):
            word = "skipped"
        elif tasks and len(done) == len(tasks):
            word = "ok"
        elif any(task["state"] == "up_for_retry" for task in tasks):
            word = "retries"
        elif done or any(task["state"] == "running" for task in tasks):
            word = f"{len(done)}/{len(tasks)}"
        else:
            word = "-"
        parts.append(f"{layer} {word}")
    return "  ".join(parts)


def layer_of(task_id: str) -> str | None:
    """The layer of a task: its task group's name, a gate's layer, or publish; None for what comes before."""
    head = task_id.split(".", 1)[0]
    name = head.removeprefix("gate_")
    return name if name in LAYERS else None


def skip_reasons(api: Api, run: Run) -> list[str]:
    """Why tasks of the run were skipped, in their own words."""
    reasons = []
    for task in run.tasks:
        if task["state"] == "skipped":
            for line in api.log(run.source, run.run_id, task):
                if (found := _SKIPPED.search(line)) and found[1] not in reasons:
                    reasons.append(found[1])
    return reasons


def failures(api: Api, run: Run, *, lines: int = 12) -> list[tuple[str, list[str]]]:
    """The tasks that failed, each with the last lines of its log."""
    return [
        (task["task_id"], [line for line in api.log(run.source, run.run_id, task) if line.strip()][-lines:])
        for task in run.tasks
        if task["state"] == "failed"
    ]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
