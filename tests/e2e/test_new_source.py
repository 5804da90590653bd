"""The walk of docs/add-a-source.md, step by step as it is written, on the running stack."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import PROJECT, Stack

pytestmark = pytest.mark.e2e

PAGE = (PROJECT / "docs" / "add-a-source.md").read_text(encoding="utf-8")
SHOWN = {
    "new-source": r"^  departed_at +timestamp +from 'departedAt'",
    "run": r"^ferries +3 +3 ",
    "psql": r"^ B10 +\| +2 +\| +602\n B1 +\| +1 +\| +17|^ B1 +\| +1 +\| +17\n B10 +\| +2 +\| +602",
    "status": r"^analytics +fact_ferries_departures +3",
    "test": r"^2 passed",
}
"""What a command of the page prints, so that its exit code is not taken on trust."""


def sample_of_the_page() -> tuple[str, str]:
    """The file that the page has the reader save: its name, its content."""
    found = re.search(r"[Ss]ave it as `([\w.]+)`:\n\n```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1], found[2]


def commands_of_the_page() -> list[list[str]]:
    """What the page has the reader type, in its order."""
    return [shlex.split(line) for line in re.findall(r"^ {4}(\./sluice .*)$", PAGE, re.MULTILINE)]


def test_the_walk_of_the_page_adds_a_source_to_a_running_stack(stack: Stack) -> None:
    name, content = sample_of_the_page()
    (stack.project / name).write_text(content, encoding="utf-8")
    before = {path: path.read_bytes() for path in files(stack)}
    began = (stack.home / "run" / "scheduler.json").read_text()
    assert [command[1] for command in commands_of_the_page()] == list(SHOWN)
    for _, verb, *arguments in commands_of_the_page():
        done = subprocess.run(
            [str(stack.project / "sluice"), verb, *arguments],
            cwd=stack.project,
            env=os.environ | {"SLUICE_HOME": str(stack.home)},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(SHOWN[verb], done.stdout, re.MULTILINE), done.stdout
    assert (stack.home / "run" / "scheduler.json").read_text() == began, "the stack was started again"
    assert [path for path, content in before.items() if path.read_bytes() != content] == []

    # the way it went: page by page, with the key, and its personal data for those alone who may see it
    graph = (stack.project / "tests" / "frame" / "graphs" / "ferries.txt").read_text().splitlines()
    assert graph == sorted(
        f"{task['task_id']} -> {after}"
        for task in stack.airflow("dags/ferries/tasks")["tasks"]
        for after in task["downstream_task_ids"]
    )
    asked = stack.rows("select request ->> 'url' from ops.landing where source = 'ferries'")
    assert [url.endswith("/samples/ferries/v1/departures") for (url,) in asked] == [True]
    assert stack.rows(
        "select departure_id, contact_email, fare, weather from analytics.fact_ferries_departures order by 1"
    ) == [
        ("d-1001", "email-1@example.com", 1841.5, '{"wind_mps": 3.4}'),
        ("d-1002", "email-2@example.com", 3304.0, '{"wind_mps": 3.1}'),
        ("d-1003", "email-1@example.com", 146.2, None),
    ]
    hidden = stack.sluice("psql", "--", "-At", "-c", "select contact_email from analytics.fact_ferries_departures")
    assert sorted(hidden.stdout.split()) == ["email*****"] * 3

    # and out again, so that the other tests meet the sources that there were
    (removal,) = re.findall(r"^ {4}(rm -r .*)$", PAGE, re.MULTILINE)
    subprocess.run(shlex.split(removal), cwd=stack.project, check=True)
    assert set(files(stack)) == set(before)
    assert "ferries" not in stack.sluice("status").stdout.split("layer")[0]


def files(stack: Stack) -> list[Path]:
    """What the project's folders of sources, models, tests and docs hold."""
    folders = ("include", "dbt_project/models", "tests", "local", "docs")
    found = [path for folder in folders for path in (stack.project / folder).rglob("*") if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts]
