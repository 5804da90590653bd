"""The commands and queries that README and docs show, run as they are shown against the running product."""

import os
import re
import shlex
import subprocess

import pytest

from tests.e2e.conftest import PROJECT, Stack

pytestmark = pytest.mark.e2e


# What a command prints, so that its exit code is not taken on trust.
SHOWN = {
    "run": r"^source +landed .*\n.*\n(openweather|tlc|x) ",
    "replay": r"^source +landed .*\n.*\n(openweather|tlc|x) ",
    "backfill": r"^source +landed .*\n.*\n(openweather|tlc|x) ",
    "quarantine": r"^(nothing is in quarantine$|source +table +landing )",
    "status": r"^analytics +fact_taxi_trip +[1-9]",
    "psql": r"^ *green +\| +[1-9]\d*\n *yellow +\| +[1-9]|^ *yellow +\| +[1-9]\d*\n *green +\| +[1-9]",
}


def _blocks(page: str) -> list[str]:
    """The lines of the indented blocks of a page."""
    return re.findall(r"^ {4}(\S.*)$", (PROJECT / page).read_text(encoding="utf-8"), re.MULTILINE)


def sql_of(page: str) -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```", (PROJECT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("command", _blocks("README.md"))
def test_a_command_of_the_readme_does_what_it_says(
    command: str, stack: Stack, first_up: subprocess.CompletedProcess[str]
) -> None:
    program, verb, *arguments = shlex.split(command, comments=True)
    assert program == "./sluice", f"no test knows how to try {command}"
    if verb == "up":
        assert first_up.returncode == 0  # the fixture's finalizer tries `down`
    elif verb == "down":
        assert stack.sluice(verb, *arguments, "--help").returncode == 0
    elif verb == "test":
        assert re.search(r"^exec ./sluice test ", (PROJECT / ".ci" / "run").read_text(), re.MULTILINE)
        assert os.access(PROJECT / ".ci" / "run", os.X_OK)
    elif verb == "bench":  # as it is shown it takes minutes; tests/benchmarks runs one on little data
        done = stack.sluice(verb)
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(rf"^{arguments[0]} ", done.stdout, re.MULTILINE), done.stdout
    else:
        if "--from-landing" in arguments or verb == "replay":  # "without calling the API"
            stack.break_api(path="/*", kind="down")
        try:
            done = stack.sluice(verb, *arguments)
        finally:
            stack.mend_api()
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(SHOWN[verb], done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize(
    ("page", "index", "role", "refused"),
    [
        ("docs/how-a-row-travels.md", 0, "operator", "analyst"),
        ("docs/runbooks/failed-gate.md", 0, "operator", "analyst"),
        ("docs/runbooks/failed-gate.md", 1, "sluice_gate", "operator"),
    ],
)
def test_a_query_of_the_docs_answers_the_role_it_names_and_no_lesser_one(
    page: str, index: int, role: str, refused: str, stack: Stack, first_up: object
) -> None:
    assert f"--role {role}`" in (PROJECT / page).read_text(encoding="utf-8")
    query = _with_landing(sql_of(page)[index], stack)
    asked = stack.sluice("psql", "--role", role, "--", "-At", "-v", "ON_ERROR_STOP=1", "-c", query)
    assert asked.returncode == 0, asked.stderr
    denied = stack.sluice("psql", "--role", refused, "--", "-v", "ON_ERROR_STOP=1", "-c", query)
    assert denied.returncode != 0
    assert "permission denied" in denied.stderr


def test_the_docs_show_no_query_that_is_not_tried() -> None:
    """That of the quarantine is tried by test_canary.py, which has rows held; what Athena shows, in tests/lake."""
    pages = [*(PROJECT / "docs").rglob("*.md"), *PROJECT.glob("*.md")]
    shown = {str(page.relative_to(PROJECT)): len(sql_of(str(page.relative_to(PROJECT)))) for page in pages}
    tried = {
        "docs/how-a-row-travels.md": 1,
        "docs/lake.md": 1,
        "docs/runbooks/failed-gate.md": 2,
        "docs/runbooks/quarantine.md": 1,
    }
    assert {page: count for page, count in shown.items() if count} == tried


def test_a_published_row_leads_back_to_its_object_and_place(stack: Stack, first_up: object) -> None:
    (trip,) = stack.rows("select min(trip_key)::text from analytics.fact_taxi_trip")[0]
    query = sql_of("docs/how-a-row-travels.md")[0].replace("2024012000000000", trip)
    asked = stack.sluice("psql", "--role", "operator", "--", "-At", "-c", query)
    uri, part, place = r"s3://sluice-lake/landing/tlc/\S+/", r"part-00001\.parquet", r"\d+\|[^|]+\|\{.*\}\|[0-9a-f]{64}"
    assert re.fullmatch(rf"({uri})\|({part})\|\1\2\|{place}\n", asked.stdout), asked.stdout


def test_the_runbooks_way_back_to_the_landed_object_is_open_to_the_operator(stack: Stack, first_up: object) -> None:
    page = (PROJECT / "docs/runbooks/failed-gate.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"`(select uri, [^`]+)`", page)
    asked = stack.sluice("psql", "--role", "operator", "--", "-At", "-c", _with_landing(query, stack))
    assert asked.stdout.startswith("s3://sluice-lake/landing/tlc/"), asked.stdout + asked.stderr


def _with_landing(query: str, stack: Stack) -> str:
    """The query about a landing that is there."""
    (landing,) = stack.rows("select min(_landing_id)::text from analytics.fact_taxi_trip")[0]
    return query.replace("1732190000000000", landing).replace("…", landing)
