"""What a parse or a task finds built in the process it is forked from; a file changed since is read again."""

import json
import shutil
from pathlib import Path

from include.pipeline.model import source_names
from tests.frame.conftest import PROJECT, call

_SCRIPT = """
import json, os, sys
from pathlib import Path

from local import dag_processor

dag_processor.preload()

def seen():
    # in a forked process: whether our modules are there, DAGs built before and by asking for one, and what that says
    reading, writing = os.pipe()
    if os.fork() == 0:
        was_imported = "include.pipeline.factory" in sys.modules
        from include.pipeline.factory import build_dag, build_dags
        built = build_dag.cache_info().currsize
        dags, faults = build_dags("x")
        again = build_dag.cache_info().currsize - built
        os.write(writing, json.dumps([was_imported, built, again, dags["x"].description, faults]).encode())
        os._exit(0)
    os.wait()
    return json.loads(os.read(reading, 4096))

first = seen()
file = Path("include/sources/x/source.yml")
file.write_text(file.read_text().replace("Posts of a few", "Changed. Posts of a few", 1))
print(json.dumps({"unchanged": first, "changed": seen()}), file=open(sys.argv[1], "w"))
"""


def test_a_dag_is_held_until_a_file_of_ours_is_changed(image: Path, tmp_path: Path) -> None:
    for folder in ("dags", "dbt_project", "include", "local"):
        shutil.copytree(PROJECT / folder, tmp_path / "project" / folder)
    env = {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        "PYTHONPATH": str(tmp_path / "project"),
        "SLUICE_DBT_MANIFEST": str(image / "dbt_target" / "manifest.json"),
    }
    done = call(["python", "-c", _SCRIPT, tmp_path / "seen.json"], cwd=tmp_path / "project", env=env)
    assert done.returncode == 0, done.stdout
    seen = json.loads((tmp_path / "seen.json").read_text())
    *held, description, _ = seen["unchanged"]
    assert held == [True, len(source_names()), 0]
    assert not description.startswith("Changed.")
    *held, description, faults = seen["changed"]
    assert held == [False, 0, 1]
    assert description.startswith("Changed.")
    assert faults == {}


_SUPERVISOR = """
import os, signal, sys
from uuid import uuid4

import psutil, structlog
from airflow.sdk.execution_time.supervisor import PsutilTracker, WatchedSubprocess

from local.warm import free_slots_at_once

free_slots_at_once()
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    os.read(reading, 1)
    os._exit(7)
watched = WatchedSubprocess(
    id=uuid4(), pid=pid, stdin=None, process=PsutilTracker(psutil.Process(pid)), process_log=structlog.get_logger()
)
assert watched._service_subprocess(max_wait_time=0.1) is None  # it lives, and has no socket open
signal.alarm(20)  # an answer that takes longer is none
os.write(writing, b"x")
print(watched._service_subprocess(max_wait_time=60), file=open(sys.argv[1], "w"))
"""


def test_a_supervisor_does_not_wait_for_the_sockets_of_a_process_that_has_closed_them(tmp_path: Path) -> None:
    env = {"AIRFLOW_HOME": str(tmp_path / "airflow"), "PYTHONPATH": str(PROJECT)}
    done = call(["python", "-c", _SUPERVISOR, tmp_path / "seen"], cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "seen").read_text() == "7\n"
