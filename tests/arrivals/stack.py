"""The product before moto's S3 and SQS: its bucket tells a queue of what is dropped, as SeaweedFS cannot.

The connection `sluice_s3` is led there by a secrets backend in Airflow's own configuration file; nothing in the product
knows of it.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import airflow
from local.airflow import Api
from local.home import open_home
from tests import amazon
from tests.e2e.conftest import CONNECTIONS_FROM_FILE, PROJECT, Stack
from tests.waiting import wait_until

PATIENCE = 900.0
"""seconds until a test gives up: a machine may be slow, and nothing is waited for that does not come"""


@dataclass(frozen=True)
class Dropping(Stack):
    """A stack whose bucket tells a queue.

    Attributes:
        environment: What the launcher is called with.
        bell: moto's S3 and SQS.
        queue: URL of the queue.
    """

    environment: Mapping[str, str]
    bell: amazon.Bell
    queue: str

    def sluice(self, *arguments: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """Run the launcher on this stack's home and return what it printed and how it ended."""
        return subprocess.run(
            [str(self.project / "sluice"), *arguments],
            env=os.environ | self.environment | {"SLUICE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    @property
    def api(self) -> Api:
        """Airflow's REST API."""
        return Api(open_home(self.home))

    def drop(self, key: str, content: bytes) -> None:
        """Put a file into the drop zone."""
        self.bell.s3.put_object(Bucket=airflow.BUCKET, Key=f"drop/{key}", Body=content)

    def switch(self, dag_id: str, *, on: bool) -> None:
        """Unpause or pause a DAG."""
        self.api.patch(f"dags/{dag_id}", {"is_paused": not on}, update_mask="is_paused")

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """A DAG's runs, oldest first."""
        return list(self.api.get(f"dags/{dag_id}/dagRuns", limit=100, order_by="id")["dag_runs"])

    def is_at_rest(self) -> bool:
        """Whether the queue is empty, and no run is under way or to come."""
        waiting = self.rows("select count(*) from asset_dag_run_queue", database="airflow")
        under_way = self.rows("select count(*) from dag_run where state in ('queued', 'running')", database="airflow")
        return (self.bell.left(self.queue), waiting, under_way) == (0, [(0,)], [(0,)])

    def await_rest(self) -> None:
        """Wait until all that was dropped is dealt with."""
        wait_until(self.is_at_rest, "the stack is at rest", PATIENCE, every_seconds=0.5)

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """What a task's last try logged."""
        api = self.api
        task = api.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return "\n".join(api.log(dag_id, run_id, task))


@contextmanager
def dropping(sandbox: Mapping[str, str]) -> Iterator[Dropping]:
    """A stack of its own, started by `./sluice up --no-run`.

    Args:
        sandbox: The sandbox's settings.
    """
    folder = Path(tempfile.mkdtemp(prefix="sluice-drop-"))
    folder.chmod(0o755)
    with amazon.endpoint() as url:
        bell = amazon.bell(url, airflow.BUCKET)
        queue = bell.make_queue("sluice-drop")
        environment = {**sandbox, "SLUICE_DROP_QUEUE": queue}
        made = Dropping(PROJECT, folder / "home", environment, bell, queue)
        home = open_home(made.home)
        file = made.home / "connections.json"
        file.write_text(json.dumps({"sluice_s3": json.loads(amazon.connection(url))}))
        (home.airflow / "airflow.cfg").write_text(CONNECTIONS_FROM_FILE.format(file=file))
        try:
            started = made.sluice("up", "--no-run")
            assert started.returncode == 0, started.stdout + started.stderr
            yield made
        finally:
            made.sluice("down", "--purge")
            shutil.rmtree(folder, ignore_errors=True)
