"""A stack of the fault tests' own: small data, its clock stopped, and a proxy in front of every server.

The product runs as it is. That its connections lead to the proxies is said from outside, by a secrets backend in
Airflow's own configuration file; nothing in it knows of a test. No run begins by schedule: what a test counts is what
its own runs bring.
"""

import os
from collections.abc import Iterator

import pytest

from tests.faults.mutations import MUTATIONS
from tests.faults.page import Ledger
from tests.faults.points import POINTS, SERVERS, SMALL, SUBJECTS
from tests.faults.served import forget_all, own_marts, readers_see
from tests.faults.stack import Breakable, start
from tests.faults.victims import begin

DAY, NEXT_DAY = "2026-11-20T12:00:00Z", "2026-11-21T12:00:00Z"
SANDBOX = {
    "SANDBOX_NOW": DAY,
    "SANDBOX_GREEN_ROWS": "3000",
    "SANDBOX_YELLOW_ROWS": "3000",
    "SANDBOX_DRIVEN_SESSIONS": "6000",
    "SANDBOX_OPENSEA_COLLECTIONS": "friendsies:250,cryptodevamigos:30,harbour-lights:30",
    "SANDBOX_X_POSTS": "harbour_news:130,open_rivers:20,sluice_data:20",
}


@pytest.fixture(scope="session")
def ledger() -> Iterator[Ledger]:
    """What was tried and what came of it; with SLUICE_REDRAW=1 it becomes docs/reliability.md."""
    made = Ledger()
    yield made
    if os.environ.get("SLUICE_REDRAW"):
        made.draw(list(POINTS), SERVERS, list(MUTATIONS))


@pytest.fixture(scope="package")
def stack() -> Iterator[Breakable]:
    """The whole product, started by `./sluice up --no-run`, with small data."""
    with start(SANDBOX) as made:
        yield made


@pytest.fixture(scope="package")
def asked(request: pytest.FixtureRequest) -> set[str]:
    """The sources that the session's tests are about, by their parameter: fewer with `-k`."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    return {str(call.params["source"]) for call in calls if call and "source" in call.params}


@pytest.fixture(scope="package")
def undisturbed(stack: Breakable, asked: set[str]) -> dict[str, dict[str, str]]:
    """A first run of the two smallest sources, which nobody disturbs: source -> what readers see of it then."""
    forget_all(stack)
    runs = {of.source: begin(stack, of.source, of.conf) for of in SUBJECTS if of.source in asked & SMALL}
    for run in runs.values():
        assert run.await_end() == "success", run.progress()
    return {source: readers_see(stack, own_marts(stack, source)) for source in runs}
