"""A scheduler that cannot start says so and ends; tests/faults sees one that had worked started again."""

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import PROJECT

NOBODY = "postgresql+psycopg2://nobody@127.0.0.1:1/nothing?connect_timeout=2"


def test_a_scheduler_that_dies_at_once_is_not_started_again(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": NOBODY,
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(PROJECT),
    }
    env.pop("SLUICE_WARM", None)
    done = subprocess.run(
        [sys.executable, "-m", "local.scheduler"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "OperationalError" in done.stderr
    assert "started again" not in done.stderr + done.stdout
