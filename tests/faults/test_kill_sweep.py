"""Tasks are killed wherever a run can be killed: every record arrives once all the same, for every source."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.faults.page import Ledger
from tests.faults.points import POINTS, SMALL, SUBJECTS, Subject, point
from tests.faults.served import (
    forget_all,
    held,
    landings_seen,
    orphans,
    own_marts,
    readers_see,
    served,
    unbooked,
)
from tests.faults.stack import Breakable
from tests.faults.victims import begin

pytestmark = pytest.mark.e2e

PUBLISHED = "after the publish's commit"


@dataclass(frozen=True)
class Swept:
    """What was seen of one source.

    Attributes:
        between: Point -> what readers saw after the kill there, and rows in raw and rows booked.
        state: How the run ended that was killed at every point.
        after: What readers see at last.
        counts: Served, booked as loaded, in raw, distinct there, published, distinct there.
        sums: Of the measure: served, in raw, published.
        landings: Those that a replay would take, and those that are booked.
    """

    between: Mapping[str, tuple[Mapping[str, str], tuple[int, int]]]
    state: str
    after: Mapping[str, str]
    counts: tuple[float, ...]
    sums: tuple[float, ...]
    landings: tuple[list[int], list[int]]


@pytest.fixture(scope="module")
def swept(
    stack: Breakable, asked: set[str], undisturbed: Mapping[str, Mapping[str, str]]
) -> Iterator[Mapping[str, Future[Swept]]]:
    """All sources at once, for a run waits more than it works."""
    forget_all(stack)
    with ThreadPoolExecutor(len(SUBJECTS)) as pool:
        yield {of.source: pool.submit(_sweep, stack, of) for of in SUBJECTS if of.source in asked}


@pytest.mark.parametrize("source", [of.source for of in SUBJECTS])
def test_a_run_whose_tasks_are_killed_at_every_point_brings_every_record_once(
    swept: Mapping[str, Future[Swept]], ledger: Ledger, source: str
) -> None:
    seen = swept[source].result()
    has, loaded, in_raw, distinct, published, distinct_published = map(int, seen.counts)
    doubled = max(loaded, in_raw) - distinct + published - distinct_published
    assert seen.state == "success"
    for name in POINTS:
        ledger.note("kill", name, source, lost=has - distinct_published, doubled=doubled)
    assert seen.counts == (has,) * len(seen.counts)
    assert seen.counts[0] > 0
    assert seen.sums == pytest.approx((seen.sums[0],) * len(seen.sums))


@pytest.mark.parametrize("source", [of.source for of in SUBJECTS])
def test_a_kill_shows_readers_nothing_and_leaves_no_row_unbooked(
    swept: Mapping[str, Future[Swept]], source: str
) -> None:
    seen = swept[source].result()
    assert {name for name, (there, _) in seen.between.items() if there} == {PUBLISHED}
    assert seen.between[PUBLISHED][0] == seen.after
    assert {name: rows for name, (_, rows) in seen.between.items() if rows[0] != rows[1]} == {}
    loaded = {name for name, (_, (rows, _)) in seen.between.items() if rows}
    order = list(POINTS)
    assert loaded == set(order[order.index("after the load's commit") :])


@pytest.mark.parametrize("source", sorted(SMALL))
def test_readers_see_what_they_see_after_a_run_that_nobody_disturbed(
    swept: Mapping[str, Future[Swept]], undisturbed: Mapping[str, Mapping[str, str]], source: str
) -> None:
    assert swept[source].result().after == undisturbed[source]
    assert undisturbed[source]


@pytest.mark.parametrize("source", [of.source for of in SUBJECTS])
def test_a_replay_would_take_the_landings_that_are_booked_and_no_others(
    swept: Mapping[str, Future[Swept]], source: str
) -> None:
    in_s3, booked = swept[source].result().landings
    assert in_s3 == booked
    assert len(booked) == 1


def test_nothing_is_left_over(stack: Breakable, swept: Mapping[str, Future[Swept]]) -> None:
    for future in swept.values():
        future.result()
    assert orphans(stack) == []


def _sweep(stack: Breakable, of: Subject) -> Swept:
    """One run that is killed at every point, one after the other."""
    run, cleared, between = None, "", {}
    tables = own_marts(stack, of.source)
    for name in POINTS:
        at = point(name, of)
        with getattr(stack, at.through).stall(at.where) as stall:
            if run is None:
                run = begin(stack, of.source, of.conf)
            else:
                run.again(cleared)
            run.await_stall(at.task, stall)
            run.kill(at.task, stall)
        cleared = at.task
        between[name] = readers_see(stack, tables), unbooked(stack, of.source)
    assert run is not None
    run.again(cleared)
    state = run.await_end()
    api_count, api_sum = served(stack, of.source)
    arrived = held(stack, of.source)
    return Swept(
        between,
        state,
        readers_see(stack, tables),
        (api_count, *arrived["counts"]),
        (api_sum, *arrived["sums"]),
        landings_seen(stack, of.source, of.entity),
    )
