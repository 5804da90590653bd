"""A partition that is landed and loaded again, over tables of 1 to 24 partitions."""

from __future__ import annotations

import itertools
from functools import partial

from benchmarks.bench import Goal, Result, Servers, land, month_file
from benchmarks.load import landing
from benchmarks.measure import Took, Way, in_turn, of, paired
from benchmarks.table import ratio
from include.pipeline import steps
from include.pipeline.model import load_source

HISTORIES = (1, 6, 24)
_MOST_ROWS = 100_000
_runs = itertools.count()


def run(servers: Servers, *, rows: int, rounds: int, peer_rounds: int) -> Result:  # noqa: ARG001 - one face for all
    """Measure; a partition has at most 100,000 rows."""
    path = month_file(min(rows, _MOST_ROWS))
    source = load_source("tlc")

    def load(database: str, partition: str) -> Took:
        manifest = land(servers, path, partition, run_id=f"run-{next(_runs)}", database=database)
        return servers.clock.measure(
            lambda: steps.load(
                source,
                "yellow_trips",
                [landing(manifest)],
                store=servers.store,
                dsn=servers.dsn("sluice_loader", database),
            )
        )

    for history in HISTORIES:
        database = servers.warehouse(f"of_{history}")
        for number in range(history):
            load(database, f"{2000 + number}-01")
    took = in_turn(
        [Way(f"{history} partitions", partial(load, f"of_{history}", "2000-01")) for history in HISTORIES], rounds
    )
    return flat(
        f"A partition of {min(rows, _MOST_ROWS):,} rows again, from its landing to raw.",
        took,
        "a partition again over 24, of that over 1",
        at_most=1.15,
    )


def flat(what: str, took: dict[str, list[Took | None]], goal: str, *, at_most: float) -> Result:
    """A result that says whether a cost stays what it is while the first way's history grows to the last one's."""
    first, last = next(iter(took)), list(took)[-1]
    return Result(
        what,
        ["history", "s", "CPU s", "x first, s", "x first, CPU", "rounds"],
        [
            [
                name,
                f"{of(runs, lambda one: one.seconds) or 0:.2f}",
                f"{of(runs, lambda one: one.cpu) or 0:.2f}",
                ratio(paired(runs, took[first]), 1),
                ratio(paired(runs, took[first], lambda one: one.cpu), 1),
                str(len(runs)),
            ]
            for name, runs in took.items()
        ],
        [
            Goal(f"{goal}, seconds", paired(took[last], took[first]), at_most=at_most),
            Goal(f"{goal}, CPU", paired(took[last], took[first], lambda one: one.cpu), at_most=at_most),
        ],
    )
