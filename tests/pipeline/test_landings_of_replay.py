"""Which landings a run from S3 takes: those that count, of the partitions asked for."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from include.gates import GateFailed, Gates, Verdict
from include.gates.rules import LAYERS
from include.pipeline import steps
from include.pipeline.model import Grain, Partition, Source
from include.pipeline.partition import PartitionRange, RunPartition, partitions_of_replay
from tests.extract.conftest import Answer
from tests.pipeline.test_increments import CURSOR, WHO, Shop, posts, server, shop

__all__ = ["server", "shop"]  # fixtures

EVERYTHING = PartitionRange()
OF_RUN = RunPartition("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC))
DAYS = ("2026-11-19", "2026-11-20", "2026-11-21")
REFUSES = {"on_failure": "fail", "why": "it could not be loaded"}


def replayed(shop: Shop, source: Source, entity: str, partitions: PartitionRange = EVERYTHING) -> list[steps.Landing]:
    params = {name: list(param.default) for name, param in source.params.items()}
    return steps.fetched_before(source, entity, partitions, params, store=shop.store, dsn=shop.dsn)


@pytest.mark.parametrize(
    ("grain", "asked", "until", "expected"),
    [
        ("day", "2026-11-20", None, "2026-11-20"),
        ("month", "2026-11-20", None, "2026-11"),
        ("hour", "2026-11-20", None, "2026-11-20T00 to 2026-11-20T23"),
        ("all", "2026-11-20", None, "all"),
        ("day", "2026-11-20", "2026-12-02", "2026-11-20 to 2026-12-02"),
        ("month", "2025-11-20", "2026-02-01", "2025-11 to 2026-02"),
        ("day", None, None, "2026-11-21"),
    ],
)
def test_a_replay_takes_the_partitions_of_its_days(
    grain: Grain, asked: str | None, until: str | None, expected: str
) -> None:
    found = partitions_of_replay(Partition(grain=grain), asked=asked, until=until, everything=False, of_run=OF_RUN)
    assert str(found) == expected


def test_a_replay_may_take_everything() -> None:
    found = partitions_of_replay(Partition(grain="day"), asked=None, until=None, everything=True, of_run=OF_RUN)
    assert "1999-01-01" in found
    assert "all" in found
    assert str(found) == "all partitions"


@pytest.mark.parametrize(("asked", "until"), [(None, "2026-11-20"), ("2026-11-21", "2026-11-20")])
def test_a_range_without_a_beginning_or_turned_round_is_refused(asked: str | None, until: str) -> None:
    with pytest.raises(ValueError, match="until '2026-11-20' is the last day to rebuild"):
        partitions_of_replay(Partition(grain="day"), asked=asked, until=until, everything=False, of_run=OF_RUN)


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_of_a_partition_that_is_replaced_the_newest_landing_is_taken_else_all(shop: Shop, mode: str) -> None:
    source = shop.source(things={"request": {"path": "/things"}, "load": {"mode": mode}})
    made = []
    for number, day in enumerate((*DAYS, DAYS[1])):
        shop.answers({"/things": lambda _, number=number: [{"n": number}]})  # type: ignore[misc]
        made.append(shop.fetch(source, "things", day=day, run_id=f"run {number}"))
    expected = [made[0], made[2], made[3]] if mode == "replace" else made
    assert replayed(shop, source, "things") == expected
    of_day = [one for one in expected if one["partition"] == DAYS[1]]
    assert replayed(shop, source, "things", PartitionRange(DAYS[1], DAYS[1])) == of_day
    with pytest.raises(steps.NothingToDo, match="things 2026-12-01: there is no landing in S3"):
        replayed(shop, source, "things", PartitionRange("2026-12-01", "2026-12-01"))


@pytest.mark.parametrize("is_loaded", [True, False], ids=["loaded", "not loaded"])
def test_a_second_landing_of_a_run_counts_beside_the_first_if_that_was_loaded(shop: Shop, is_loaded: bool) -> None:
    """A task that is cleared after the load asks for what is new since; one that is tried again, for the same."""
    source = shop.source(params=WHO, posts=CURSOR)
    shop.answers({"/posts/ann": posts((10, "2026-11-19T10:00:00Z")), "/posts/bob": posts()})
    first = shop.fetch(source, "posts")
    if is_loaded:
        shop.load(source, first)
    both = (10, "2026-11-19T10:00:00Z"), (11, "2026-11-20T10:00:00Z")
    shop.answers({"/posts/ann": posts(*both), "/posts/bob": posts()})
    second = shop.fetch(source, "posts")
    assert replayed(shop, source, "posts") == ([first, second] if is_loaded else [second])


GATES = Gates.model_validate(
    {layer: {"shop__posts": {"expect": [{"expect_column_to_exist": {"column": "id"}} | REFUSES]}} for layer in LAYERS}
    | {
        "landing": {
            name: {"expect": [{"expect_column_values_to_be_null": {"column": "fault"}} | REFUSES]}
            for name in ("posts", "others")
        }
    }
)


@pytest.mark.parametrize(
    ("entity", "mended_on", "is_made_up_for"),
    [
        ({"request": {"path": "/posts"}}, DAYS[0], True),
        ({"request": {"path": "/posts"}}, DAYS[1], False),
        ({"request": {"path": "/posts"}}, None, False),
        ({"files": "*.json"}, DAYS[1], True),  # whose runs go on from what is loaded
    ],
    ids=["mended the same day", "mended on another day", "not mended", "files mended on another day"],
)
def test_what_the_gate_refused_a_replay_leaves_out_if_a_later_landing_makes_up_for_it(
    shop: Shop, entity: dict[str, Any], mended_on: str | None, is_made_up_for: bool
) -> None:
    source = shop.source(posts=entity, others={"request": {"path": "/others"}})
    numbers = itertools.count(1)

    def land(content: bytes, day: str, name: str = "posts") -> steps.Landing:
        shop.drop("posts.json", content)
        shop.server.answer = lambda _: Answer(body=content)
        return shop.fetch(source, name, day, run_id=f"run {next(numbers)}")

    def judge(*landed: steps.Landing, is_replay: bool) -> tuple[list[steps.Landing], Verdict]:
        return steps.gate_landing(source, GATES, landed, store=shop.store, dsn=shop.dsn, is_replay=is_replay)

    before, refused = land(b'{"id": 1}', DAYS[0]), land(b'{"id": ', DAYS[0])
    kept, verdict = judge(refused, is_replay=False)
    assert (kept, verdict.passed) == ([refused], False)
    after = [land(b'{"id": 2}', DAYS[0], "others")]
    if mended_on:
        after.append(land(b'{"id": 3}', mended_on))

    kept, verdict = judge(before, refused, *after, is_replay=True)
    if not is_made_up_for:
        with pytest.raises(GateFailed, match="is not JSON"):
            verdict.raise_if_failed(source.name, "landing")
        return
    assert (kept, verdict.passed) == ([before, *after], True)
    shop.load(source, *kept)
    assert [payload["id"] for (payload,) in shop.raw("posts")] == [1, 3]
    assert judge(refused, *after, is_replay=False)[1].failures  # only a replay takes what was refused before
