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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from local import airflow
from local.airflow import Api
from local.home import open_home
from tests import amazon
from tests.e2e.conftest import PROJECT, Stack
from tests.waiting import wait_until

REGION = "us-east-1"
PATIENCE = 420.0
"""seconds until a test gives up: a machine may be slow, and nothing is waited for that does not come"""
ACCESS = {"aws_access_key_id": "dropper", "aws_secret_access_key": "a-key-of-moto", "region_name": REGION}
CONFIGURATION = """\
[secrets]
backend = airflow.secrets.local_filesystem.LocalFilesystemBackend
backend_kwargs = {{"connections_file_path": "{file}"}}

[workers]
secrets_backend = airflow.secrets.local_filesystem.LocalFilesystemBackend
secrets_backend_kwargs = {{"connections_file_path": "{file}"}}
"""


@dataclass(frozen=True)
class Dropping(Stack):
    """A stack whose bucket tells a queue.

    Attributes:
        environment: What the launcher is called with.
        s3: moto's S3, as somebody who drops files has it.
        sqs: moto's SQS.
        queue: URL of the queue.
    """

    environment: Mapping[str, str]
    s3: Any = field(repr=False)
    sqs: Any = field(repr=False)
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
        self.s3.put_object(Bucket=airflow.BUCKET, Key=f"drop/{key}", Body=content)

    def switch(self, dag_id: str, *, on: bool) -> None:
        """Unpause or pause a DAG."""
        self.api.patch(f"dags/{dag_id}", {"is_paused": not on}, update_mask="is_paused")

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """A DAG's runs, oldest first."""
        return list(self.api.get(f"dags/{dag_id}/dagRuns", limit=100, order_by="id")["dag_runs"])

    def is_at_rest(self) -> bool:
        """Whether the queue is empty, and no run is under way or to come."""
        counts = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["All"])["Attributes"]
        left = int(counts["ApproximateNumberOfMessages"]) + int(counts["ApproximateNumberOfMessagesNotVisible"])
        waiting = self.rows("select count(*) from asset_dag_run_queue", database="airflow")
        under_way = self.rows("select count(*) from dag_run where state in ('queued', 'running')", database="airflow")
        return (left, waiting, under_way) == (0, [(0,)], [(0,)])

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
        s3, sqs = (boto3.client(one, endpoint_url=url, **ACCESS) for one in ("s3", "sqs"))
        queue = sqs.create_queue(QueueName="sluice-drop")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        s3.create_bucket(Bucket=airflow.BUCKET)
        rules = [{"Name": "prefix", "Value": "drop/"}]  # as infra/templates/buckets.yaml
        told = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": rules}}}
        s3.put_bucket_notification_configuration(
            Bucket=airflow.BUCKET, NotificationConfiguration={"QueueConfigurations": [told]}
        )
        made = Dropping(
            PROJECT, folder / "home", environment={**sandbox, "SLUICE_DROP_QUEUE": queue}, s3=s3, sqs=sqs, queue=queue
        )
        home = open_home(made.home)
        file = made.home / "connections.json"
        connection = {
            "conn_type": "aws",
            "login": ACCESS["aws_access_key_id"],
            "password": ACCESS["aws_secret_access_key"],
            "extra": {"endpoint_url": url, "region_name": REGION},
        }
        file.write_text(json.dumps({"sluice_s3": connection}))
        (home.airflow / "airflow.cfg").write_text(CONFIGURATION.format(file=file))
        try:
            started = made.sluice("up", "--no-run")
            assert started.returncode == 0, started.stdout + started.stderr
            yield made
        finally:
            made.sluice("down", "--purge")
            shutil.rmtree(folder, ignore_errors=True)
