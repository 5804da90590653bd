"""What a new user sees: Airflow, the dbt docs and the Data Docs in a real browser, then the table itself."""

import itertools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response, expect

from tests.e2e.browser import browser_page, chromium, log_in, newest_published, show_run
from tests.e2e.conftest import Stack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine (apt install chromium)"),
]

LAYERS = ["landing", "raw", "staging", "marts"]
WAY = ["check_api", *(step for layer in LAYERS for step in (layer, f"gate_{layer}")), "publish"]
WAY.insert(WAY.index("staging"), "await_turn")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser_page() as page:
        yield page


@pytest.fixture(scope="module")
def told(first_up: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The addresses that `up` ends with, and where it says that the password is."""
    line = re.search(
        r"^Airflow +(?P<airflow>\S+) +user (?P<user>\w+), password: (?P<secret>\w+) in (?P<file>.+)$"
        r"\ndbt docs +(?P<dbt>\S+)$\nData Docs +(?P<gates>\S+)$",
        first_up.stdout,
        re.MULTILINE,
    )
    assert line, first_up.stdout
    return line.groupdict()


@pytest.fixture(scope="module")
def airflow(page: Page, told: dict[str, str]) -> str:
    """Airflow's address, its user logged in with the password that `up` pointed to."""
    password = re.search(rf'"{told["secret"]}": *"([^"]+)"', Path(told["file"]).read_text())
    assert password
    log_in(page, told["airflow"], told["user"], password[1])
    return told["airflow"]


def test_the_graph_of_a_run_reads_from_left_to_right_with_a_gate_behind_each_layer(
    page: Page, airflow: str, stack: Stack
) -> None:
    show_run(page, airflow, "tlc", newest_published(stack, "tlc"))
    nodes = {node.get_attribute("data-id"): node.bounding_box() for node in page.locator(".react-flow__node").all()}
    boxes = {name: box for name, box in nodes.items() if name and box}
    assert sorted(boxes, key=lambda name: boxes[name]["x"]) == WAY
    for left, right in itertools.pairwise(WAY):
        assert boxes[left]["x"] + boxes[left]["width"] <= boxes[right]["x"], f"{left} reaches into {right}"
    middles = [box["y"] + box["height"] / 2 for box in boxes.values()]
    assert max(middles) - min(middles) < 20, "the way is not one line"
    for name in WAY:
        node = page.locator(f'.react-flow__node[data-id="{name}"]')
        expect(node).to_contain_text(name)
        expect(node).to_contain_text("success")


def test_the_page_of_a_dag_says_what_it_lands_and_what_to_do_when_it_fails(page: Page, airflow: str) -> None:
    page.goto(f"{airflow}/dags/tlc")
    page.get_by_role("button", name="Dag Docs").click()
    page_of_dag = page.get_by_role("dialog")
    expect(page_of_dag.get_by_role("heading", name="tlc: New York taxi trips")).to_be_visible()
    expect(page_of_dag.get_by_role("cell", name="raw.tlc__green_trips, month replaced")).to_be_attached()
    expect(page_of_dag).to_contain_text("When it fails")


def test_the_dbt_docs_open_from_airflows_menu_and_find_a_table(page: Page, airflow: str) -> None:
    page.goto(airflow)
    page.get_by_role("button", name="Browse").click()
    with page.expect_popup() as opened:
        page.get_by_role("menuitem", name="Sluice dbt docs").click()
    docs = opened.value
    assert docs.url.startswith(airflow)
    docs.get_by_placeholder("Search for models...").fill("fact_taxi_trip")
    docs.locator(".search-result", has_text=re.compile(r"^\s*fact_taxi_trip\b")).click()
    assert_describes_trips(docs)
    docs.close()


def test_the_static_dbt_docs_describe_every_column_of_a_table(page: Page, told: dict[str, str], stack: Stack) -> None:
    page.goto(f"{told['dbt']}#!/model/model.sluice.fact_taxi_trip")
    assert_describes_trips(page)
    for (name,) in stack.rows(
        "select attname::text from pg_attribute where attrelid = 'analytics.fact_taxi_trip'::regclass and attnum > 0"
    ):
        row = page.locator("tr", has=page.get_by_text(name, exact=True)).first
        described = row.locator("td").nth(2)
        expect(described, f"{name} has no description").to_have_text(re.compile(r"\w{2}"))


def assert_describes_trips(docs: Page) -> None:
    expect(docs.get_by_role("heading", name="fact_taxi_trip")).to_be_visible()
    expect(docs.get_by_role("paragraph").filter(has_text="One row per trip record of the TLC, yellow")).to_be_visible()
    expect(docs.get_by_text("trip_key", exact=True).first).to_be_visible()


def test_the_data_docs_are_whole_without_the_internet(page: Page, told: dict[str, str], stack: Stack) -> None:
    missed: list[str] = []

    def note(answer: Response) -> None:
        if not answer.ok and answer.status != 304:
            missed.append(f"{answer.url}: HTTP {answer.status}")

    page.on("response", note)
    page.on("requestfailed", lambda request: missed.append(f"{request.url}: {request.failure}"))
    page.goto(told["gates"])
    expect(page.get_by_role("heading", name="Data Docs: what the gates found")).to_be_visible()
    for layer in LAYERS:
        expect(page.get_by_role("columnheader", name=layer).first).to_be_visible()
    run_id = newest_published(stack, "tlc")
    run = page.get_by_role("row", name=run_id)
    expect(run.get_by_role("link")).to_have_count(len(LAYERS))
    run.get_by_role("link").last.click()
    expect(page.get_by_text("fact_taxi_trip").first).to_be_visible()
    background = page.locator("th").first.evaluate("cell => getComputedStyle(cell).backgroundColor")
    assert background != "rgba(0, 0, 0, 0)", "the page has no styles"
    assert missed == []


def test_an_analyst_queries_the_table_that_the_docs_describe(stack: Stack, first_up: object) -> None:
    query = (
        "select service, count(*) > 0, sum(total_amount_usd) > 0 from analytics.fact_taxi_trip group by 1 order by 1"
    )
    asked = stack.sluice("psql", "--", "-At", "-c", query)
    assert asked.stdout.splitlines() == ["green|t|t", "yellow|t|t"], asked.stdout + asked.stderr
