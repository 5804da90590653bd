"""The DAG processor where nothing can be held (tests/frame/test_warm.py has where it can)."""

import json
import os
import subprocess
import sys

from tests.e2e.conftest import PROJECT

ASK = """
import json, sys
from local.dag_processor import preload
preload()
print(json.dumps(sorted(sys.modules)))
"""


def test_what_cannot_be_held_is_said_and_each_parse_reads_our_modules_anew() -> None:
    env = {name: value for name, value in os.environ.items() if name != "SLUICE_DBT_MANIFEST"}
    asked = subprocess.run(
        [sys.executable, "-c", ASK], cwd=PROJECT, env=env, capture_output=True, text=True, check=True
    )
    assert "the DAGs cannot be built; each parse will say why" in asked.stdout + asked.stderr
    assert [name for name in json.loads(asked.stdout.splitlines()[-1]) if name.partition(".")[0] == "include"] == []
