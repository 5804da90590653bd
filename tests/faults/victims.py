"""A run of a source on the real scheduler, and the death of its task processes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psutil

from local.airflow import Api
from local.home import open_home
from tests.faults.proxy import Stall
from tests.faults.stack import Breakable
from tests.waiting import wait_until

PATIENCE = 1200.0
"""seconds until a test gives up: a machine may be slow, and nothing is waited for that does not come"""
ASK_SECONDS = 0.4
"""between two questions to Airflow"""


@dataclass(frozen=True)
class Run:
    """One DAG run.

    Attributes:
        stack: Where.
        source: The DAG.
        run_id: Its id.
    """

    stack: Breakable
    source: str
    run_id: str
    api: Api = field(repr=False)

    @property
    def path(self) -> str:
        """Its place in Airflow's REST API."""
        return f"dags/{self.source}/dagRuns/{self.run_id}"

    def task(self, task_id: str) -> dict[str, Any]:
        """A task instance as it is now."""
        return self.api.get(f"{self.path}/taskInstances/{task_id}")

    def state(self) -> str:
        """The run's state."""
        return str(self.api.get(self.path)["state"])

    def await_task(self, task_id: str, states: Collection[str | None], *, seconds: float = PATIENCE) -> None:
        """Wait until a task is in one of some states."""
        wait_until(
            lambda: self.task(task_id)["state"] in states,
            lambda: f"{self.source}: {task_id} is in one of {states}\n{self.progress()}\n{self.told(task_id)}",
            seconds,
            every_seconds=ASK_SECONDS,
        )

    def await_end(self, *, seconds: float = PATIENCE) -> str:
        """Wait for the run's end; its state."""
        wait_until(
            lambda: self.state() in ("success", "failed"),
            lambda: f"{self.source}: the run has ended\n{self.progress()}",
            seconds,
            every_seconds=ASK_SECONDS,
        )
        return self.state()

    def progress(self) -> str:
        """Each task and its state."""
        tasks = self.api.get(f"{self.path}/taskInstances", limit=1000)["task_instances"]
        return "\n".join(f"{task['task_id']} {task['state']} {task['try_number']}" for task in tasks)

    def log(self, task_id: str, try_number: int) -> list[dict[str, Any]]:
        """A try's log, entry by entry."""
        path = f"{self.path}/taskInstances/{task_id}/logs/{try_number}"
        return [one for one in self.api.get(path, full_content="true")["content"] if isinstance(one, dict)]

    def told(self, task_id: str) -> str:
        """The log of a task's last try, as text."""
        return "\n".join(self.api.log(self.source, self.run_id, self.task(task_id)))

    def await_stall(self, task_id: str, stall: Stall, *, seconds: float = PATIENCE) -> None:
        """Wait until a task's connection stalls; a task that ends instead says why."""

        def is_there() -> bool:
            if stall.is_reached(ASK_SECONDS):
                return True
            over = self.task(task_id)["state"] in ("failed", "up_for_retry", "upstream_failed", "skipped")
            assert not over, f"{self.source}: {task_id} ended before {stall.where}\n{self.told(task_id)[-4000:]}"
            return False

        wait_until(is_there, lambda: f"{self.source}: a stall at {stall.where}\n{self.progress()}", seconds)

    def kill(self, task_id: str, stall: Stall) -> None:
        """SIGKILL the process that runs a task's code and see it dead: its supervisor has to say so.

        Args:
            task_id: The task.
            stall: Where one of its connections has stalled.
        """
        seen = self.task(task_id)
        victim, number = psutil.Process(seen["pid"]), seen["try_number"]
        supervisor = victim.parent()
        assert supervisor is not None
        assert "LocalExecutor" in " ".join(supervisor.cmdline()), supervisor.cmdline()
        assert stall.port in {one.laddr.port for one in victim.net_connections()}, "another process has stalled"
        victim.kill()
        self.await_task(task_id, {"up_for_retry", "failed"})
        assert not victim.is_running()
        assert supervisor.is_running(), "the supervisor was killed, not the task"
        assert [one["signal"] for one in self.log(task_id, number) if one.get("signal_name") == "SIGKILL"] == [-9]

    def again(self, *task_ids: str) -> None:
        """Have tasks run anew at once, and all behind them, as an operator's Clear does."""
        content: Mapping[str, object] = {
            "dry_run": False,
            "dag_run_id": self.run_id,
            "task_ids": list(task_ids),
            "include_downstream": True,
            "only_failed": False,
            # Airflow 3.3 answers 500 where a DAG has a deadline and the run is to be reset (apache/airflow#70368)
            "reset_dag_runs": False,
        }
        self.api.post(f"dags/{self.source}/clearTaskInstances", content)
        if self.state() == "failed":
            self.api.patch(self.path, {"state": "queued"}, update_mask="state")


def begin(stack: Breakable, source: str, conf: Mapping[str, object] | None = None) -> Run:
    """Start a run of a source."""
    api = Api(open_home(stack.home))
    run_id = f"fault__{source}__{datetime.now(UTC).isoformat(timespec='milliseconds')}"
    api.post(f"dags/{source}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})})
    api.patch(f"dags/{source}", {"is_paused": False}, update_mask="is_paused")
    return Run(stack, source, run_id, api)
