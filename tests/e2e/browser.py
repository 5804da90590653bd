"""The product's pages in headless Chromium, as a user sees them.

`python -m tests.e2e.browser` takes the README's picture anew: the graph of the newest run of `tlc` that published, on
the running stack of SLUICE_HOME (start it with `./sluice up`). How a graph is shown, Airflow keeps in the browser's
local storage, under the keys that `show_run` sets.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.conftest import PROJECT, Stack

PICTURE = PROJECT / "docs" / "images" / "airflow-graph.png"
PATIENCE_SECONDS = 60.0
_NAVIGATION_WIDTH, _WIDTH, _HEIGHT = 64, 1600, 300
_STILL = """seen => {
    const now = document.querySelector('.react-flow__viewport').style.transform;
    seen.frames = now === seen.transform ? seen.frames + 1 : 0;
    seen.transform = now;
    return seen.frames >= 15;
}"""


def chromium() -> str | None:
    """Where Chromium is on this machine; None when there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser_page(width: int = 1600, height: int = 900) -> Iterator[Page]:
    """An empty page of a new Chromium that remembers nothing and for which there is no host but loopback."""
    offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    quiet = (offline, "--disable-background-networking", "--no-first-run", "--disable-sync")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage", *quiet]
        )
        page = browser.new_page(viewport={"width": width, "height": height})
        page.context.set_default_timeout(PATIENCE_SECONDS * 1000)
        expect.set_options(timeout=PATIENCE_SECONDS * 1000)
        yield page
        browser.close()


def log_in(page: Page, url: str, user: str, password: str) -> None:
    """Log in to Airflow at `url` through its form, and wait for the front page."""
    page.goto(url)
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(password)
    page.locator("button[type=submit]").click()
    expect(page.get_by_test_id("nav-home-link")).to_have_accessible_name("Home")


def show_run(page: Page, url: str, dag: str, run_id: str, *, opened: Sequence[str] = ()) -> None:
    """Open the graph of a run, left to right, the groups in `opened` open, and the whole of it in view."""
    settings = {
        "default_dag_view": "graph",
        f"direction-{dag}": "RIGHT",
        f"{dag}/open-groups": list(opened),
    }
    page.evaluate(
        "settings => { for (const key in settings) localStorage.setItem(key, JSON.stringify(settings[key])) }",
        settings,
    )
    page.goto(f"{url}/dags/{dag}/runs/{run_id}")
    expect(page.locator('.react-flow__node[data-id="publish"]')).to_be_visible()
    page.get_by_label("Collapse Details Panel").click()
    expect(page.get_by_label("Collapse Details Panel")).not_to_be_attached()
    page.locator(".react-flow__controls-fitview").click()
    _await_still(page)


def take_picture(stack: Stack, path: Path) -> None:
    """Write a PNG of the graph of the newest published run of `tlc`, without Airflow's navigation and map."""
    url = f"http://127.0.0.1:{stack.port('airflow')}"
    with browser_page(_NAVIGATION_WIDTH + _WIDTH, _HEIGHT) as page:
        log_in(page, url, "admin", stack.secret("airflow_admin"))
        show_run(page, url, "tlc", newest_published(stack, "tlc"))
        # the fit leaves a margin that costs a tenth of the letters' size
        page.mouse.move(_NAVIGATION_WIDTH + _WIDTH / 2, 2 * _HEIGHT / 3)
        page.mouse.wheel(0, -48)
        _await_still(page)
        page.add_style_tag(content=".react-flow__minimap, .react-flow__panel { display: none }")
        page.screenshot(path=path, clip={"x": _NAVIGATION_WIDTH, "y": 0, "width": _WIDTH, "height": _HEIGHT})


def newest_published(stack: Stack, source: str) -> str:
    """The id of the run that published last."""
    ((run_id,),) = stack.rows(
        f"select dag_run_id from ops.publication where source = '{source}' order by published_at desc limit 1"
    )
    return str(run_id)


def _await_still(page: Page) -> None:
    """Wait until the graph has stopped moving."""
    seen = page.evaluate_handle("({frames: 0, transform: null})")
    page.wait_for_function(_STILL, arg=seen, polling="raf")


if __name__ == "__main__":
    home = Path(os.environ.get("SLUICE_HOME", PROJECT / ".sluice"))
    take_picture(Stack(PROJECT, home), PICTURE)
