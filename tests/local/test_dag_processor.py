"""The DAG processor's fork holds the libraries of the DAGs, and nothing of ours that may change."""

import json
import subprocess
import sys

from tests.e2e.conftest import PROJECT

ASK = """
import json, sys
from local.dag_processor import preload
preload()
print(json.dumps(sorted(sys.modules)))
"""


def test_libraries_are_imported_and_our_own_modules_are_read_anew_by_each_parse() -> None:
    asked = subprocess.run([sys.executable, "-c", ASK], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(asked.stdout.splitlines()[-1]))
    assert {"cosmos.airflow.task_group", "pydantic"} <= loaded
    assert [name for name in loaded if name.partition(".")[0] == "include"] == []
