"""`./sluice backfill`: Airflow's own backfill of a source's DAG, followed to its end.

Airflow makes a run for each date of the DAG's schedule in the range; what a run loads is said by its date
(include/pipeline/partition.py). Runs go side by side: landings and raw tables of several partitions at once, within the
pools; the models one run after the other (include/warehouse/turn.py).
https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/backfill.html
"""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, Literal

from include.pipeline.model import load_source
from include.pipeline.partition import partition_of_run
from local import commands, runs
from local.airflow import Api
from local.home import Home, LocalError

_PAGE = 100
_POLL_SECONDS = 1.0
_SETTLE_SECONDS = 90.0
"""Airflow looks every half a minute whether a backfill has ended"""


def backfill(
    home: Home,
    source: str,
    first: str,
    last: str,
    *,
    reprocess: Literal["none", "failed", "completed"] = "none",
    at_once: int = 3,
) -> int:
    """Run a source for each date of its schedule from one day to another, and wait for all of them.

    Args:
        home: The stack.
        source: A folder of include/sources.
        first: The first day, YYYY-MM-DD, UTC.
        last: The last day.
        reprocess: Dates that have been run already: none of them again, those that failed, or all.
        at_once: Most runs at a time.

    Returns:
        0 when every run has succeeded, or there was none to make.

    Raises:
        LocalError: The range is empty or in the future, another backfill of the source is under way, or the stack
            cannot run it.
    """
    if last < first:
        raise LocalError(f"--from {first} is after --to {last}: give the earlier day first")
    if first > datetime.now(UTC).date().isoformat():
        raise LocalError(f"--from {first} is still to come: its runs will be made by the schedule")
    api = commands.ready(home, source)
    end = datetime.combine(date.fromisoformat(last), datetime.max.time(), tzinfo=UTC)
    asked = {
        "dag_id": source,
        "from_date": f"{first}T00:00:00Z",
        "to_date": min(end, datetime.now(UTC)).isoformat(),
        "reprocess_behavior": reprocess,
        "max_active_runs": at_once,
    }
    wanted = {_moment(one["logical_date"]) for one in api.post("backfills/dry_run", asked)["backfills"]}
    left_out = [run for run in _runs_between(api, asked) if _moment(run["logical_date"]) not in wanted]
    for run in left_out:
        commands.say(f"{_name(source, run)}: left out, for the date has a run ({run['dag_run_id']}: {run['state']})")
    if not wanted:
        commands.say(
            f"{source}: nothing to run from {first} to {last}"
            + ("; --reprocess failed or completed runs dates again" if left_out else ": its schedule has no date there")
        )
        return 0
    _await_former(api, source)
    api.post("backfills", asked)
    # a backfill of a paused DAG stays queued
    api.patch(f"dags/{source}", {"is_paused": False}, update_mask="is_paused")
    begun = [
        runs.Run(source, run["dag_run_id"], name=_name(source, run))
        for run in _runs_between(api, asked)
        if _moment(run["logical_date"]) in wanted
    ]
    runs.follow(api, begun, say=commands.say)
    commands.conclude(home, api, begun)
    return 0 if all(run.state == "success" for run in begun) else 1


def _runs_between(api: Api, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The runs whose dates lie in the backfill's range, of whatever kind, oldest first."""
    seen = 0
    while True:
        page = api.get(
            f"dags/{asked['dag_id']}/dagRuns",
            logical_date_gte=asked["from_date"],
            logical_date_lte=asked["to_date"],
            order_by="logical_date",
            limit=_PAGE,
            offset=seen,
        )
        yield from page["dag_runs"]
        seen += len(page["dag_runs"])
        if seen >= page["total_entries"] or not page["dag_runs"]:
            return


def _await_former(api: Api, source: str) -> None:
    """Wait until Airflow has taken note of the end of an earlier backfill: it allows one at a time.

    Raises:
        LocalError: It goes on.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    while any(not one["completed_at"] for one in api.get("backfills", dag_id=source, limit=_PAGE)["backfills"]):
        under_way = sum(
            int(api.get(f"dags/{source}/dagRuns", run_type="backfill", state=state, limit=1)["total_entries"])
            for state in ("queued", "running")
        )
        if under_way or time.monotonic() > deadline:
            raise LocalError(
                f"another backfill of {source} is under way ({under_way} runs): await it, or cancel it in Airflow's UI"
            )
        time.sleep(_POLL_SECONDS)


def _name(source: str, run: dict[str, Any]) -> str:
    """The source and the partition that a backfill's run of that date is about."""
    partition = partition_of_run(
        load_source(source).partition,
        asked=None,
        logical_date=_moment(run["logical_date"]),
        run_after=_moment(run["run_after"]),
        is_scheduled=False,
        is_backfill=True,
    )
    return f"{source} {partition.label}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
