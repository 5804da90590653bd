"""OpenLineage: a source's DAG, run by Airflow with a real backend to tell it to, joins up from landing to analytics."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from local import s3 as seaweed
from local.stack import Store
from tests import airflow_home
from tests.conftest import Warehouse
from tests.frame.conftest import PROJECT
from tests.pipeline.conftest import KEY

BUCKET = "lineage-lake"
# dag.test() runs all tasks in one process, a worker each in its own: what one has collected is not the next one's.
AS_IN_A_WORKER = """
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.lineage import get_hook_lineage_collector


class OfItsOwn:
    @hookimpl
    def on_task_instance_running(self, previous_state, task_instance):
        get_hook_lineage_collector.cache_clear()


class OfItsOwnPlugin(AirflowPlugin):
    name = "of_its_own"
    listeners = [OfItsOwn()]
"""
Event = dict[str, Any]


class Backend(ThreadingHTTPServer):
    """Takes OpenLineage's events as a backend does (POST /api/v1/lineage)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Events)
        self.events: list[Event] = []


class _Events(BaseHTTPRequestHandler):
    server: Backend

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.events.append(json.loads(content))
        self.send_response(201)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass(frozen=True)
class Ran:
    """What was told of a run, and what must not be in it."""

    events: list[Event]
    log: str
    host: str
    secrets: tuple[str, ...]

    def datasets(self, task: str, side: str) -> set[str]:
        """Namespace and name of what a task has told of its inputs or outputs when it ended."""
        return {
            f"{one['namespace']} {one['name']}"
            for event in self.events
            if event["job"]["name"] == f"openweather.{task}" and event["eventType"] == "COMPLETE"
            for one in event[side]
        }


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return airflow_home.dbt_manifest(tmp_path_factory.mktemp("dbt"))


@pytest.fixture
def ran(
    backend: Backend,
    manifest: Path,
    sandbox: str,
    warehouse: Warehouse,
    s3_server: Store,
    tmp_path: Path,
) -> Ran:
    seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key).create_bucket(Bucket=BUCKET)
    found = airflow_home.connections(warehouse, s3_server) | {"openweather": airflow_home.api(sandbox, KEY)}
    env = airflow_home.variables(found, bucket=BUCKET, manifest=manifest, docs=tmp_path / "docs") | {
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "http", "url": f"http://127.0.0.1:{backend.server_port}", "endpoint": "api/v1/lineage"}
        ),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "sluice",
    }
    home = airflow_home.make(tmp_path / "airflow")
    (home.path / "plugins").mkdir()
    (home.path / "plugins" / "of_its_own.py").write_text(AS_IN_A_WORKER)
    log = home.test_dags(PROJECT / "dags" / "sources.py", ["openweather"], env, conf='{"cities": ["Oslo", "Lima"]}')
    assert "openweather ended: success" in log, log[-5000:]
    secrets = (KEY, s3_server.secret_key, *(warehouse.password(role) for role in airflow_home.ROLES))
    return Ran(backend.events, log, f"postgres://{warehouse.host}:{warehouse.port}", secrets)


def test_the_tasks_tell_what_they_read_and_write_and_it_joins_up(ran: Ran) -> None:
    (landing,) = ran.datasets("landing.fetch_observations", "outputs")
    assert landing.startswith(f"s3://{BUCKET} landing/openweather/observations/dt=")

    def table(name: str) -> str:
        return f"{ran.host} warehouse.{name}"

    raw = table("raw.openweather__observations")
    staged = table("staging.stg_openweather__observations")
    fact = "fact_weather_observation"
    assert ran.datasets("gate_landing", "inputs") == {landing}
    assert ran.datasets("raw.load_observations", "inputs") == {landing}
    as_dbt_says = table("raw.observations")
    assert ran.datasets("raw.load_observations", "outputs") == {raw, as_dbt_says}
    assert raw in ran.datasets("gate_raw", "inputs")
    assert as_dbt_says in ran.datasets("staging.stg_openweather__observations", "inputs")
    assert staged in ran.datasets("staging.stg_openweather__observations", "outputs")
    assert staged in ran.datasets("gate_staging", "inputs")
    assert staged in ran.datasets(f"marts.{fact}", "inputs")
    assert table(f"marts.{fact}") in ran.datasets(f"marts.{fact}", "outputs")
    assert table(f"marts.{fact}") in ran.datasets("gate_marts", "inputs")
    assert table(f"marts.{fact}") in ran.datasets("publish", "inputs")
    assert table(f"analytics.{fact}") in ran.datasets("publish", "outputs")
    told = json.dumps(ran.events) + ran.log
    assert [secret for secret in ran.secrets if secret in told] == []
