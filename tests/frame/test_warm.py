"""What a parse or a task finds built in the process it is forked from; a file changed since is read again."""

import json
import shutil
from pathlib import Path

from tests.frame.conftest import PROJECT, call

_SCRIPT = """
import json, os, sys
from pathlib import Path

from local import dag_processor

dag_processor.preload()

def seen():
    # in a forked process: whether our modules are there, whether the DAG has been built before, and what it says
    reading, writing = os.pipe()
    if os.fork() == 0:
        was_held = "include.pipeline.factory" in sys.modules
        from include.pipeline.factory import build_dags
        dag = build_dags("x")[0]["x"]
        os.write(writing, json.dumps([was_held, dag is build_dags()[0]["x"], dag.description]).encode())
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
    was_held, is_same, description = seen["unchanged"]
    assert was_held
    assert is_same
    assert not description.startswith("Changed.")
    was_held, is_same, description = seen["changed"]
    assert not was_held
    assert not is_same
    assert description.startswith("Changed.")
