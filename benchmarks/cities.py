"""The weather of 1,000 cities, from an API that takes 50 ms for each, to its landing: against what its limits allow.

Two things bound it, whatever the client does: how many calls the budget lets begin in a minute, and how many may be
under way at once. A minute's calls may all begin with the minute, so that 1,000 calls at 60 a minute begin in 17 of
them, of which 16 are waited for. That takes a quarter of an hour, so the minute of the first row lasts a second: the
client keeps the same budget sixty times as fast, and what it adds by itself weighs sixty times as much.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial

from benchmarks.bench import Goal, Result, Servers
from benchmarks.measure import Took, Way, in_turn, of
from benchmarks.ours import observations
from benchmarks.slow_api import city, seen, slow_api
from benchmarks.table import count, megabytes, ratio, seconds
from benchmarks.worker import WayError

CITIES, LATENCY = 1_000, 0.05
_NOT_REACHED = 6_000
"""calls a minute, more than are made: what the local stack has for the sandbox, which is nobody's quota"""
_MOST_AT_ONCE = 32
"""that a `source.yml` may ask for: the client's own work is the limit then, so that it has no goal"""
_runs = itertools.count()


@dataclass(frozen=True)
class Limits:
    """What bounds a run.

    Attributes:
        at_once: Calls that may be under way together.
        calls_per_minute: Calls that may begin in a minute.
        minute_seconds: How long the minute is.
    """

    at_once: int
    calls_per_minute: int = _NOT_REACHED
    minute_seconds: float = 60.0

    def seconds(self, calls: int) -> float:
        """The least that so many calls can take: whole minutes waited for, and the answers of the last one's calls."""
        minutes = (calls - 1) // self.calls_per_minute
        last = calls - minutes * self.calls_per_minute
        answers = LATENCY * math.ceil(calls / self.at_once)
        return max(minutes * self.minute_seconds + LATENCY * math.ceil(last / self.at_once), answers)


def run(servers: Servers, *, rows: int, rounds: int, peer_rounds: int) -> Result:  # noqa: ARG001 - one face for all
    """Measure; at most 1,000 cities."""
    calls = min(rows, CITIES)
    servers.warehouse()
    declared = observations("upsert")
    request = declared.entities["observations"].request
    budget = declared.calls_per_minute
    assert request is not None
    assert budget is not None
    of_budget = f"{budget} calls a minute of a second, {request.at_once} at once"
    ways = {
        of_budget: Limits(request.at_once, budget, 1.0),
        f"{request.at_once} at once": Limits(request.at_once),
        f"{_MOST_AT_ONCE} at once": Limits(_MOST_AT_ONCE),
    }
    at_once: dict[str, int] = {}
    with slow_api(calls, LATENCY) as api:

        def fetch(name: str) -> Took:
            limits = ways[name]
            given = {
                "s3": servers.s3.__dict__,
                "dsn": servers.dsn("sluice_loader"),
                "api": api,
                "partition": f"of-{next(_runs)}",
                "cities": [city(number) for number in range(calls)],
                "at_once": limits.at_once,
                "calls_per_minute": limits.calls_per_minute,
                "minute_seconds": limits.minute_seconds,
            }
            took = servers.clock.measure_apart("benchmarks.ours:fetch_cities", given)
            met = seen(api)
            if met.requests != calls:
                raise WayError(f"{name}: {met.requests} requests for {calls} cities")
            at_once[name] = max(at_once.get(name, 0), met.at_once)
            return took

        took = in_turn([Way(name, partial(fetch, name)) for name in ways], rounds)
    slower = {name: (of(runs, lambda one: one.seconds) or 0) / ways[name].seconds(calls) for name, runs in took.items()}
    return Result(
        f"{calls:,} cities, each answered after {LATENCY * 1000:.0f} ms, to one landing.",
        ["way", "requests", "most at once", "s", "limit's s", "x limit", "client CPU s", "peak MB", "rounds"],
        [
            [
                name,
                count(calls),
                str(at_once[name]),
                f"{of(runs, lambda one: one.seconds) or 0:.2f}",
                f"{ways[name].seconds(calls):.2f}",
                ratio(slower[name], 1),
                seconds(of(runs, lambda one: one.client)),
                megabytes(int(of(runs, lambda one: one.rss or 0) or 0)),
                str(rounds),
            ]
            for name, runs in took.items()
        ],
        [
            Goal(f"{name}, seconds, of the least that its limits allow", value, at_most=1.2)
            for name, value in list(slower.items())[:2]
        ],
    )
