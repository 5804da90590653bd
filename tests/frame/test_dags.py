"""Astro's integrity test over the DAGs, in an empty environment, and what every DAG must say of itself."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.frame.conftest import PROJECT, call

INTEGRITY = PROJECT / ".astro" / "test_dag_integrity_default.py"

DESCRIBE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag

bag = DagBag()
json.dump({
    "import_errors": bag.import_errors,
    "dags": {
        dag_id: {
            "tags": sorted(dag.tags),
            "owner": dag.owner,
            "description": dag.description,
            "doc_md": dag.doc_md,
            "catchup": dag.catchup,
            "rules": {task.task_id: task.trigger_rule for task in dag.tasks},
            "retries": {task.task_id: task.retries for task in dag.tasks},
            "edges": sorted(f"{task.task_id} -> {after}" for task in dag.tasks for after in task.downstream_task_ids),
        }
        for dag_id, dag in bag.dags.items()
    },
}, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="module")
def airflow_env(image: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An Airflow of its own with nothing in it: no connection, no variable, a new metadata database."""
    home = tmp_path_factory.mktemp("airflow")
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        "PYTHONPATH": str(PROJECT),
        "SLUICE_DBT_MANIFEST": str(image / "dbt_target" / "manifest.json"),
    }


@pytest.fixture(scope="module")
def parsed(airflow_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The DAGs as Airflow's processor finds them: import errors, and per DAG what it says of itself."""
    out = tmp_path_factory.mktemp("parsed") / "dags.json"
    done = call(["python", "-c", DESCRIBE, out], cwd=out.parent, env=airflow_env)
    assert done.returncode == 0, done.stdout
    content: dict[str, Any] = json.loads(out.read_text())
    return content


def test_astros_integrity_test_passes(airflow_env: dict[str, str]) -> None:
    """As `astro dev parse` runs it: in the project's folder, in an empty environment."""
    done = call(["pytest", "-v", "-p", "no:cacheprovider", INTEGRITY], cwd=PROJECT, env=airflow_env)
    assert done.returncode == 0, done.stdout
    assert re.search(r"test_file_imports\[\S*dags/sources\.py\] PASSED", done.stdout), done.stdout


def test_astros_integrity_test_finds_a_broken_file(airflow_env: dict[str, str], tmp_path: Path) -> None:
    """An import error fails it; without one, a file that reads a variable that is not there passes."""
    (tmp_path / "broken.py").write_text("from airflow.sdk import DAG\nimport no_such_module\n")
    (tmp_path / "fine.py").write_text(
        "import os\n"
        "from airflow.models import Variable\n"
        "from airflow.sdk import DAG\n"
        "dag = DAG('fine', description=os.getenv('NOT_SET') + Variable.get('not_there'))\n"
    )
    env = {**airflow_env, "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path)}
    done = call(["pytest", "-q", "-p", "no:cacheprovider", INTEGRITY], cwd=PROJECT, env=env)
    assert done.returncode == 1, done.stdout
    assert "No module named 'no_such_module'" in done.stdout
    assert "1 failed, 2 passed" in done.stdout


def test_every_source_has_its_dag_and_no_file_an_import_error(parsed: dict[str, Any]) -> None:
    """One DAG a folder, named as the folder."""
    assert parsed["import_errors"] == {}
    folders = {path.parent.name for path in (PROJECT / "include" / "sources").glob("*/source.yml")}
    assert folders <= set(parsed["dags"])


def test_every_graph_is_as_it_was_drawn(parsed: dict[str, Any]) -> None:
    """A change to a graph is seen in review; SLUICE_REDRAW=1 takes it over."""
    for name, dag in parsed["dags"].items():
        drawing = Path(__file__).with_name("graphs") / f"{name}.txt"
        drawn = "\n".join(dag["edges"] or sorted(dag["retries"])) + "\n"  # tasks apart from each other by their names
        if os.environ.get("SLUICE_REDRAW"):
            drawing.parent.mkdir(exist_ok=True)
            drawing.write_text(drawn)
        assert drawn == drawing.read_text(), f"{drawing}: redraw it with SLUICE_REDRAW=1, and commit it"


def test_a_run_that_fetched_nothing_goes_on_only_where_earlier_landings_may_wait(parsed: dict[str, Any]) -> None:
    """Those of entities with a cursor and of dropped files; the weather has neither, so not even a task starts."""
    rules = {name: dag["rules"]["gate_landing"] for name, dag in parsed["dags"].items() if "source" in dag["tags"]}
    assert rules == {
        "driven": "none_failed",
        "opensea": "none_failed",
        "openweather": "none_failed_min_one_success",
        "tlc": "none_failed",
        "x": "none_failed",
    }


def test_a_catalogue_adds_the_lake_and_nothing_else(
    airflow_env: dict[str, str], parsed: dict[str, Any], tmp_path: Path
) -> None:
    """Behind publish, and what is superseded is swept."""
    out = tmp_path / "dags.json"
    done = call(["python", "-c", DESCRIBE, out], cwd=tmp_path, env={**airflow_env, "SLUICE_LAKE_DATABASE": "sluice"})
    assert done.returncode == 0, done.stdout
    for name, dag in json.loads(out.read_text())["dags"].items():
        without = parsed["dags"][name]
        if name == "maintenance":
            assert set(dag["retries"]) == {*without["retries"], "sweep_lake"}
        else:
            more = ["publish -> export_lake"] if "publish" in dag["retries"] else []
            assert dag["edges"] == sorted([*without["edges"], *more]), name


BROKEN = {
    "wrong_key": ("source.yml", "shedule: daily\n", "wrong_key/source.yml: shedule: no such key; allowed here are"),
    "no_yaml": ("source.yml", "a: [\n", "no_yaml/source.yml: not valid YAML"),
    "no_gates": ("gates.yml", "landing: {}\n", "no_gates/gates.yml"),
}


def test_broken_folders_are_an_import_error_and_take_no_dag_with_them(
    airflow_env: dict[str, str], tmp_path: Path
) -> None:
    """Each fault is told; the other sources' DAGs are there."""
    for name in ("dags", "include"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    sources = tmp_path / "include" / "sources"
    for name, (file, content, _) in BROKEN.items():
        shutil.copytree(sources / "tlc", sources / name)
        (sources / name / file).write_text(content)
    env = airflow_env | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "PYTHONPATH": str(tmp_path),
        "SLUICE_DBT_PROJECT_DIR": str(PROJECT / "dbt_project"),
    }
    done = call(["python", "-c", DESCRIBE, tmp_path / "dags.json"], cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout
    found = json.loads((tmp_path / "dags.json").read_text())
    folders = {path.parent.name for path in (PROJECT / "include" / "sources").glob("*/source.yml")}
    own = {path.stem for path in (PROJECT / "dags").glob("*.py")} - {"sources", "source_faults"}
    assert set(found["dags"]) == folders | own
    ((where, error),) = found["import_errors"].items()
    assert where.endswith("source_faults.py")
    for _, _, said in BROKEN.values():
        assert said in error


SAY = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

bag = DagBag()
assert not bag.import_errors, bag.import_errors
told = {}
for dag_id, dag in bag.dags.items():
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    condition = getattr(again.timetable, "asset_condition", None)
    fetch = dag.get_task("landing.fetch_observations") if dag.has_task("landing.fetch_observations") else None
    told[dag_id] = {
        "timetable": type(again.timetable).__name__,
        "summary": again.timetable.summary,
        "assets": sorted(
            [key.name for key, _ in condition.iter_assets()] + [ref.name for ref in condition.iter_asset_refs()]
        )
        if condition
        else None,
        "deadline": bool(again.deadline),
        "first": sorted(task.task_id for task in dag.tasks if not task.upstream_task_ids),
        "fetch": fetch and {
            "exponential": fetch.retry_exponential_backoff,
            "timeout": fetch.execution_timeout and fetch.execution_timeout.total_seconds(),
            "on_retry": bool(fetch.on_retry_callback),
            "on_failure": bool(fetch.on_failure_callback),
        },
    }
json.dump(told, open(sys.argv[1], "w"))
"""


def test_what_source_yml_can_say_reaches_airflow(airflow_env: dict[str, str], tmp_path: Path) -> None:
    """Schedules of every kind, retries, time-outs and notices, as the scheduler will read them."""
    for name in ("dags", "include"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    sources = tmp_path / "include" / "sources"
    hourly = 'schedule: "5 * * * *"'
    variants = {
        "by_timetable": "schedule: {timetable: airflow.sdk.CronDataIntervalTimetable, "
        "arguments: {expression: '5 4 * * *', timezone: UTC}}",
        "by_assets": "schedule: {assets: [analytics_tlc, analytics_x]}",
        "by_hand": "schedule: null",
        "with_all": "schedule: '@daily'\nretry_exponentially: true\ntask_timeout_minutes: 30\n"
        "notify: {failure: [a@example.com], retry: [b@example.com], deadline: {minutes: 45}}",
    }
    for name, schedule in variants.items():
        shutil.copytree(sources / "openweather", sources / name)
        text = (sources / name / "source.yml").read_text()
        assert hourly in text
        (sources / name / "source.yml").write_text(text.replace(hourly, schedule))
    for name, schedule in {"files_by_assets": "{assets: [analytics_tlc]}", "files_by_hand": "null"}.items():
        shutil.copytree(sources / "driven", sources / name)
        text = (sources / name / "source.yml").read_text()
        (sources / name / "source.yml").write_text(text.replace('schedule: "0 6 * * *"', f"schedule: {schedule}"))
    env = airflow_env | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "PYTHONPATH": str(tmp_path),
        "SLUICE_DBT_PROJECT_DIR": str(PROJECT / "dbt_project"),
        "SLUICE_DROP_QUEUE": "https://sqs.nowhere.example/1/drop",  # which nobody asks while DAGs are parsed
    }
    done = call(["python", "-c", SAY, tmp_path / "dags.json"], cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout
    told = json.loads((tmp_path / "dags.json").read_text())
    assert told["by_hand"]["timetable"] == "NullTimetable"
    assert told["by_assets"]["timetable"] == "AssetTriggeredTimetable"
    assert told["by_timetable"]["timetable"] == "CronDataIntervalTimetable"
    assert told["openweather"]["summary"] == "5 * * * *"
    plain = {"exponential": False, "timeout": None, "on_retry": False, "on_failure": True}
    assert told["openweather"]["fetch"] == plain
    assert told["with_all"]["fetch"] == {"exponential": True, "timeout": 1800, "on_retry": True, "on_failure": True}
    assert (told["with_all"]["deadline"], told["openweather"]["deadline"]) == (True, False)
    # dropped files start a source beside its schedule, and the queue and the clock start who looks for them
    assert told["driven"]["summary"] == "Asset or 0 6 * * *"
    assert told["arrivals"]["summary"] == "Asset or 17 * * * *"
    assert told["files_by_assets"]["assets"] == ["analytics_tlc", "drop_files_by_assets"]
    assert told["files_by_hand"]["assets"] == ["drop_files_by_hand"]
    assert told["arrivals"]["assets"] == ["drop_zone"]
    # files need no API
    assert told["driven"]["first"] == ["check_api", "landing.fetch_session_files"]


def test_every_dag_has_tags_an_owner_a_description_and_documentation(parsed: dict[str, Any]) -> None:
    """Whoever is paged at night starts from these."""
    for name, dag in parsed["dags"].items():
        assert dag["tags"], name
        assert dag["owner"] not in ("", "airflow"), name
        assert dag["description"], name
        assert dag["doc_md"], name
        assert len(dag["doc_md"]) > 200, f"{name}: its doc_md says next to nothing"


def test_every_task_is_retried_at_least_twice(parsed: dict[str, Any]) -> None:
    """A cut connection is nobody's reason to get up."""
    few = {
        f"{name}.{task}": retries
        for name, dag in parsed["dags"].items()
        for task, retries in dag["retries"].items()
        if retries < 2
    }
    assert few == {"redrive.run_source": 0}  # it starts a run whose own tasks have been tried again
