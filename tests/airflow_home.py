"""An Airflow of its own for a test: a new metadata database, in which one DAG file runs by `dag.test()`."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.frame.conftest import PROJECT, call


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
    env = {
        "AIRFLOW_HOME": str(path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(path / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        "AIRFLOW__API__BASE_URL": "http://airflow.example:8080",
        "PYTHONPATH": str(PROJECT),
    }
    done = call(["airflow", "db", "migrate"], cwd=path, env=env)
    assert done.returncode == 0, done.stdout
    return AirflowHome(path, env)
