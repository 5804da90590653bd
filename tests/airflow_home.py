"""An Airflow of its own for a test: a new metadata database, in which one DAG file runs by `dag.test()`."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from local.stack import Store
from tests.conftest import Warehouse
from tests.frame.conftest import PROJECT, call

ROLES = ("sluice_loader", "sluice_transformer", "sluice_gate", "sluice_publisher", "sluice_reporter")
"""the warehouse connections, each called as its role"""


@dataclass(frozen=True)
class AirflowHome:
    """Where it lives, and the variables it runs with."""

    path: Path
    env: Mapping[str, str]

    def test_dags(self, file: Path, dag_ids: Sequence[str], env: Mapping[str, str], conf: str = "{}") -> str:
        """Run DAGs of a file once each in one process, tasks, retries (at once) and callbacks as a worker runs them.

        Returns:
            What was logged; a line `<dag_id> ended: <state>` ends each run.
        """
        copy = self.path / "dags" / file.name
        shutil.copy(file, copy)
        script = (
            "import datetime, json\n"
            "from airflow.dag_processing.dagbag import DagBag\n"
            f"bag = DagBag({str(copy)!r})\n"
            "assert not bag.import_errors, bag.import_errors\n"
            f"for dag_id in {list(dag_ids)!r}:\n"
            "    for task in bag.dags[dag_id].tasks:\n"
            "        task.retry_delay = datetime.timedelta(0)\n"
            f"    run = bag.dags[dag_id].test(run_conf=json.loads({conf!r}))\n"
            "    print(dag_id, 'ended:', run.state, flush=True)\n"
        )
        return call(["python", "-c", script], cwd=self.path, env={**self.env, **env}).stdout


def make(path: Path) -> AirflowHome:
    """Make one in an empty folder."""
    (path / "dags").mkdir(parents=True)
    (path / "airflow.db").write_bytes(_database())
    return AirflowHome(path, _env(path))


@cache
def _database() -> bytes:
    """The metadata database of an Airflow that has done nothing yet, which takes it some ten seconds."""
    with tempfile.TemporaryDirectory(prefix="sluice-airflow-") as folder:
        path = Path(folder)
        done = call(["airflow", "db", "migrate"], cwd=path, env=_env(path))
        assert done.returncode == 0, done.stdout
        return (path / "airflow.db").read_bytes()


def _env(path: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(path / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        "AIRFLOW__API__BASE_URL": "http://airflow.example:8080",
        "PYTHONPATH": str(PROJECT),
    }


def connections(warehouse: Warehouse, store: Store) -> dict[str, dict[str, Any]]:
    """The connections by which tasks reach a warehouse and S3, by name; those of APIs are still to be added."""
    found: dict[str, dict[str, Any]] = {
        role: {
            "conn_type": "postgres",
            "host": warehouse.host,
            "port": warehouse.port,
            "login": role,
            "password": warehouse.password(role),
            "schema": warehouse.dbname,
        }
        for role in ROLES
    }
    extra = {"endpoint_url": store.endpoint_url, "region_name": "us-east-1"}
    found["sluice_s3"] = {"conn_type": "aws", "login": store.access_key, "password": store.secret_key, "extra": extra}
    return found


def api(url: str, key: str) -> dict[str, Any]:
    """The connection to an API that may be asked as often as a test likes."""
    host, port = url.removeprefix("http://").split(":")
    limit = {"calls_per_minute": 6000}
    return {
        "conn_type": "http",
        "schema": "http",
        "host": host,
        "port": int(port),
        "password": key,
        "extra": limit,
    }


def variables(found: Mapping[str, Mapping[str, Any]], *, bucket: str, manifest: Path, docs: Path) -> dict[str, str]:
    """The environment of tasks.

    Args:
        found: The connections by name.
        bucket: What is landed goes there.
        manifest: dbt's manifest.json.
        docs: The folder of Data Docs.
    """
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(one) for name, one in found.items()} | {
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",  # of a busy machine
        "SLUICE_BUCKET": bucket,
        "SLUICE_DBT_PROJECT_DIR": str(PROJECT / "dbt_project"),
        "SLUICE_DBT_MANIFEST": str(manifest),
        "SLUICE_DOCS_URI": docs.as_uri(),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "GX_ANALYTICS_ENABLED": "false",
    }


def dbt_manifest(target: Path) -> Path:
    """Dbt's manifest.json, made as it is before Airflow starts.

    Args:
        target: The folder it is made in.
    """
    project = ("--project-dir", PROJECT / "dbt_project", "--profiles-dir", PROJECT / "dbt_project")
    env = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    done = call(
        ["dbt", "parse", "--quiet", "--target-path", target, "--log-path", target, *project], cwd=PROJECT, env=env
    )
    assert done.returncode == 0, done.stdout
    return target / "manifest.json"
