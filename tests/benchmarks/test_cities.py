"""The benchmark of cities: the least that its limits allow, and an API that answers as late as it is told to."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from benchmarks.__main__ import main
from benchmarks.cities import Limits
from benchmarks.slow_api import Seen, city, seen, slow_api


@pytest.mark.parametrize(
    ("limits", "calls", "least"),
    [
        (Limits(8), 1_000, 6.25),
        (Limits(8), 1_001, 6.30),
        (Limits(32), 1_000, 1.60),
        (Limits(8, 60), 60, 0.40),  # a minute's calls begin with it
        (Limits(8, 60), 61, 60.05),
        (Limits(8, 60), 1_000, 16 * 60 + 0.25),
        (Limits(8, 60, 1.0), 1_000, 16.25),
        (Limits(1, 60, 1.0), 1_000, 50.0),  # one after the other they are slower than the budget
    ],
)
def test_the_least_is_whole_minutes_of_the_budget_and_the_last_ones_answers(
    limits: Limits, calls: int, least: float
) -> None:
    assert limits.seconds(calls) == pytest.approx(least)


def test_an_api_answers_each_request_by_itself_and_tells_how_many_waited_at_once() -> None:
    together = threading.Barrier(4)
    with slow_api(4, latency=0.2) as api, ThreadPoolExecutor(4) as pool:

        def ask(number: int) -> str:
            together.wait(timeout=10)
            url = f"{api}/data/2.5/weather?q={quote(city(number))}"
            with urlopen(url, timeout=10) as answer:  # noqa: S310 - our own, on loopback
                return str(json.load(answer)["name"])

        assert list(pool.map(ask, range(4))) == ["City 0", "City 1", "City 2", "City 3"]
        assert seen(api) == Seen(requests=4, at_once=4)
        assert seen(api) == Seen(requests=0, at_once=0)


def test_a_few_cities_against_what_their_limits_allow(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From end to end, on servers of its own: every city asked for once, never more at once than allowed."""
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))
    assert main(["cities", "--rows", "70", "--rounds", "1"]) == 0
    rows = [[cell.strip() for cell in line.split("|")][1:-1] for line in capsys.readouterr().out.splitlines()]
    found = {row[0]: row[1:] for row in rows if len(row) > 1}
    assert found["60 calls a minute of a second, 8 at once"][0:2] == ["70", "8"]
    assert found["60 calls a minute of a second, 8 at once"][3] == "1.10"
    assert found["8 at once"][0:2] == ["70", "8"]
    assert found["32 at once"][0] == "70"
