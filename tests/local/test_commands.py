"""The launcher's commands when they are misused, and when nothing runs: one clear message each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import report, runs
from local.home import PROJECT


def sluice(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(PROJECT), "SLUICE_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-P", "-m", "local", *arguments],
        cwd=home,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fly",), "invalid choice: 'fly'"),
        (("up", "--data", "/nowhere"), "/nowhere is not a folder"),
        (("run", "tlc", "--date", "2024-13-01"), "2024-13-01 is not a date like 2024-01-31"),
        (("run", "tlc", "--param", "cities"), """cities is not KEY=JSON, like cities='["Oslo"]'"""),
        (("run", "tlc", "--param", "cities=[Oslo]"), "the value of cities is not JSON"),
        (("psql", "--role", "root"), "invalid choice: 'root'"),
        (("quarantine",), "the following arguments are required: list | show | redrive"),
        (("quarantine", "show", "x", "--limit", "0"), "0 is not a number from 1 on"),
    ],
)
def test_misuse_ends_with_2_and_says_what_was_wrong(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = sluice(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "nothing"), "sluice: there is no source 'nothing': include/sources has "),
        (("psql",), "sluice: PostgreSQL does not run: start the stack with ./sluice up --no-run"),
        (("quarantine", "list"), "sluice: PostgreSQL does not run: start the stack with ./sluice up --no-run"),
        (("trace", "fact_post", "1"), "sluice: PostgreSQL does not run: start the stack with ./sluice up --no-run"),
        (("forget", "driven", "--person", "Ana"), "sluice: S3 does not run: start the stack with ./sluice up --no-run"),
        (("quarantine", "redrive", "nothing"), "sluice: there is no source 'nothing': include/sources has "),
        (
            ("quarantine", "redrive", "x", "--entity", "likes"),
            "sluice: x has no entity 'likes': it has accounts, posts",
        ),
    ],
)
def test_what_cannot_be_done_now_ends_with_1_and_says_what_to_do(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = sluice(tmp_path, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_run_without_a_stack_says_how_to_start_it(tmp_path: Path) -> None:
    if not runs.sources():
        pytest.skip("the project has no sources")
    done = sluice(tmp_path, "run", runs.sources()[0])
    assert (done.returncode, done.stderr) == (
        1,
        "sluice: Airflow does not run: start the stack with ./sluice up --no-run\n",
    )


def test_the_status_of_a_stack_that_is_down_names_each_service(tmp_path: Path) -> None:
    done = sluice(tmp_path, "status", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert {one["service"] for one in found["services"]} > {"postgres", "s3", "sandbox", "airflow", "scheduler"}
    assert not any(one["running"] or one["ready"] for one in found["services"])


def test_down_with_nothing_running_is_in_order_and_purge_empties_the_home(tmp_path: Path) -> None:
    sluice(tmp_path, "status")
    assert (tmp_path / "secrets.json").exists()
    assert sluice(tmp_path, "down").returncode == 0
    assert (tmp_path / "secrets.json").exists()
    assert sluice(tmp_path, "down", "--purge").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_progress_tells_each_layer_s_state_in_the_order_of_the_data() -> None:
    states = {
        "check_api": "success",
        "landing.fetch_a": "success",
        "gate_landing": "success",
        "raw.load_a": "running",
        "gate_raw": None,
        "staging.stg_a": None,
        "publish": None,
    }
    run = runs.Run("a", "r", "running", [{"task_id": name, "state": state} for name, state in states.items()])
    assert runs.progress(run) == "landing ok  raw 0/2  staging -  marts -  publish -"
    run.tasks[4]["state"] = "failed"
    assert runs.progress(run) == "landing ok  raw failed  staging -  marts -  publish -"


def test_a_table_sets_numbers_to_the_right_and_groups_them() -> None:
    assert report.table(("source", "landed", "seconds"), [("tlc", 56551, 12.34), ("openweather", 186, 5.0)]) == (
        "source       landed  seconds\n"
        "-----------  ------  -------\n"
        "tlc          56,551     12.3\n"
        "openweather     186      5.0"
    )


def test_a_run_without_layers_is_followed_task_by_task() -> None:
    run = runs.Run("daily_report", "one", "running")
    assert runs.progress(run) == "running"
    run.tasks = [{"task_id": "collect_facts", "state": "success"}, {"task_id": "mail_report", "state": None}]
    assert runs.progress(run) == "collect_facts success  mail_report -"


def test_a_run_takes_over_what_has_changed_of_its_own_tasks() -> None:
    def task(name: str, state: str | None, *, run: str = "one", at: int = -1) -> dict[str, object]:
        return {"dag_id": "a", "dag_run_id": run, "task_id": name, "map_index": at, "state": state}

    run = runs.Run("a", "one", "running", [task("first", "running"), task("second", None)])
    run.see([task("first", "success"), task("second", "failed", run="another"), task("mapped", "queued", at=0)])
    run.see([task("mapped", "running", at=1)])
    assert [(one["task_id"], one["map_index"], one["state"]) for one in run.tasks] == [
        ("first", -1, "success"),
        ("second", -1, None),
        ("mapped", 0, "queued"),
        ("mapped", 1, "running"),
    ]
