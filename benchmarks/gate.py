"""Twelve expectations on a taxi month in raw: against one aggregate over the same rows, written by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from benchmarks.bench import Goal, Result, Servers, land, month_file
from benchmarks.load import landing
from benchmarks.measure import Took, Way, in_turn, of, paired
from benchmarks.table import ratio
from benchmarks.worker import WayError
from include.gates import check_tables
from include.gates.rules import TableGate
from include.pipeline import steps
from include.pipeline.model import load_source

HAND, GATE = "one aggregate by hand", "the gate, 12 expectations"
TABLE = "tlc__yellow_trips"
_PRESENT = ["vendorid", "tpep_pickup_datetime", "tpep_dropoff_datetime", "total_amount"]
_EXPECTED: list[dict[str, Any]] = [
    {"expect_table_row_count_to_be_between": {"min_value": 1}},
    {"expect_column_values_to_not_be_null": {"column": _PRESENT}},
    {"expect_column_values_to_be_in_set": {"column": "vendorid", "value_set": [1, 2, 6, 7], "mostly": 0.5}},
    {"expect_column_values_to_be_in_set": {"column": "payment_type", "value_set": [*range(7)], "mostly": 0.5}},
    {"expect_column_values_to_be_in_set": {"column": "store_and_fwd_flag", "value_set": ["Y", "N"], "mostly": 0.5}},
    *(
        {"expect_column_values_to_be_between": {"column": column, "min_value": low, "max_value": high, "mostly": 0.5}}
        for column, low, high in (
            ("passenger_count", 0, 9),
            ("trip_distance", 0, 500),
            ("pulocationid", 1, 265),
            ("dolocationid", 1, 265),
        )
    ),
]
"""Twelve: the one of four columns counts for four. None finds a row, or few, so that none asks again which."""


def run(servers: Servers, *, rows: int, rounds: int, peer_rounds: int) -> Result:  # noqa: ARG001 - one face for all
    """Measure."""
    servers.warehouse()
    manifest = land(servers, month_file(rows), "2024-01", run_id="gate")
    steps.load(
        load_source("tlc"),
        "yellow_trips",
        [landing(manifest)],
        store=servers.store,
        dsn=servers.dsn("sluice_loader"),
    )
    gate_of = TableGate.model_validate(
        {"expect": [rule | {"on_failure": "fail", "why": "the benchmark wants it"} for rule in _EXPECTED]}
    )
    slice_ = f"from raw.{TABLE} where _landing_id in ({manifest.landing_id})"
    by_hand = (
        "select count(*), "
        + ", ".join(
            f"count(*) filter (where {condition})"
            for condition in (
                "vendorid is null",
                "tpep_pickup_datetime is null",
                "tpep_dropoff_datetime is null",
                "total_amount is null",
                "vendorid not in (1, 2, 6, 7)",
                "payment_type not in (0, 1, 2, 3, 4, 5, 6)",
                "passenger_count not between 0 and 9",
                "trip_distance not between 0 and 500",
                "pulocationid not between 1 and 265",
                "dolocationid not between 1 and 265",
                "store_and_fwd_flag not in ('Y', 'N')",
            )
        )
        + f" {slice_}"
    )

    def gate() -> Took:
        def judge() -> None:
            verdict = check_tables(
                {TABLE: gate_of},
                url=servers.dsn("sluice_gate"),
                schema="raw",
                landing_ids=[manifest.landing_id],
            )
            if not verdict.passed or len(verdict.results) != 12:
                raise WayError(f"gate: {len(verdict.results)} results, and it {verdict.failures or 'passed'}")

        with _asking() as asked:
            took = servers.clock.measure(judge)
        return replace(took, asking=sum(asked))

    gate()  # imports Great Expectations, which a warm worker has done
    took = in_turn([Way(HAND, lambda: servers.clock.measure(lambda: servers.ask(by_hand))), Way(GATE, gate)], rounds)
    hand = took[HAND]
    asking = [one and replace(one, seconds=one.asking or 0) for one in took[GATE]]
    return Result(
        f"{rows:,} rows.",
        ["way", "s", "of it asking", "client CPU s", "server CPU s", "x by hand, s", "x by hand, server", "rounds"],
        [
            [
                name,
                f"{of(runs, lambda one: one.seconds) or 0:.2f}",
                f"{of(runs, lambda one: one.asking or one.seconds) or 0:.2f}",
                f"{of(runs, lambda one: one.client) or 0:.2f}",
                f"{of(runs, lambda one: one.server) or 0:.2f}",
                ratio(paired(runs, hand), 1),
                ratio(paired(runs, hand, lambda one: one.server), 1),
                str(rounds),
            ]
            for name, runs in took.items()
        ],
        [
            Goal("its queries (start-up apart), of one aggregate by hand, seconds", paired(asking, hand), at_most=2),
            Goal(
                "the same, server's CPU",
                paired(took[GATE], hand, lambda one: one.server),
                at_most=2,
            ),
        ],
    )


@contextmanager
def _asking() -> Iterator[list[float]]:
    """The seconds of each query of SQLAlchemy's, which Great Expectations asks by."""
    asked: list[float] = []
    begun = 0.0

    def begin(*_: object) -> None:
        nonlocal begun
        begun = time.perf_counter()

    def end(*_: object) -> None:
        asked.append(time.perf_counter() - begun)

    sa.event.listen(sa.Engine, "before_cursor_execute", begin)
    sa.event.listen(sa.Engine, "after_cursor_execute", end)
    try:
        yield asked
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", begin)
        sa.event.remove(sa.Engine, "after_cursor_execute", end)
