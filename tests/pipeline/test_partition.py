"""Which month or hour a run is about."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from include.pipeline.model import Grain, Partition
from include.pipeline.partition import partition_of_run, partition_told

MONTHLY = Partition(grain="month", delay=2)
NOW = datetime(2026, 11, 21, 13, 40, tzinfo=UTC)


def label(
    partition: Partition = MONTHLY,
    asked: str | None = None,
    logical_date: datetime | None = None,
    *,
    run_after: datetime = NOW,
    is_scheduled: bool = False,
    is_backfill: bool = False,
) -> str:
    return partition_of_run(
        partition,
        asked=asked,
        logical_date=logical_date,
        run_after=run_after,
        is_scheduled=is_scheduled,
        is_backfill=is_backfill,
    ).label


def test_a_date_that_was_asked_for_means_its_own_partition_published_or_not() -> None:
    assert label(asked="2024-01-15") == "2024-01"
    assert label(asked="2026-11-01") == "2026-11"


def test_a_scheduled_run_takes_what_upstream_should_have_published_by_then() -> None:
    assert label(logical_date=datetime(2024, 3, 29, 9, tzinfo=UTC), is_scheduled=True) == "2024-01"
    assert label(logical_date=datetime(2024, 1, 29, 9, tzinfo=UTC), is_scheduled=True) == "2023-11"


def test_a_run_without_a_date_takes_the_newest_there_should_be() -> None:
    assert label() == "2026-09"


def test_a_backfill_takes_its_own_date() -> None:
    for month in (1, 2, 3):
        date = datetime(2024, month, 28, 9, tzinfo=UTC)  # on which Airflow has the run due, too
        assert label(logical_date=date, run_after=date, is_backfill=True) == f"2024-{month:02d}"


def test_a_backfill_of_what_is_not_published_yet_does_not_take_an_older_partition_again() -> None:
    assert label(logical_date=datetime(2026, 11, 1, tzinfo=UTC), is_backfill=True) == "2026-11"


def test_a_run_made_by_hand_for_a_date_takes_that_date() -> None:
    assert label(logical_date=datetime(2024, 3, 29, tzinfo=UTC)) == "2024-03"


def test_a_run_made_by_hand_today_takes_the_newest_there_should_be() -> None:
    assert label(logical_date=NOW) == "2026-09"


@pytest.mark.parametrize(("grain", "expected"), [("hour", "2026-11-21T13"), ("day", "2026-11-21"), ("all", "all")])
def test_a_partition_is_named_by_its_grain(grain: Grain, expected: str) -> None:
    assert label(Partition(grain=grain)) == expected


def test_the_hour_is_that_of_utc() -> None:
    elsewhere = datetime(2026, 11, 21, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert label(Partition(grain="hour"), run_after=elsewhere) == "2026-11-20T20"


@pytest.mark.parametrize("asked", ["2024-13-01", "January", "2024-02-30"])
def test_what_is_no_date_is_named(asked: str) -> None:
    with pytest.raises(ValueError, match=f"date '{asked}' is not a day as YYYY-MM-DD"):
        label(asked=asked)


@pytest.mark.parametrize(
    ("grain", "pattern", "text", "expected"),
    [
        ("month", "yellow_{partition:%Y-%m}.parquet", "yellow_2024-01.parquet", "2024-01"),
        ("month", "{partition:%d.%m.%Y}.csv", "17.01.2024.csv", "2024-01"),
        ("hour", "a/{partition:%Y%m%dT%H}.csv", "a/20240117T05.csv", "2024-01-17T05"),
        ("all", "zones.csv", "zones.csv", "all"),
        ("all", "zones.csv", "zones.csv.bak", None),
        ("month", "yellow_{partition:%Y-%m}.parquet", "yellow_2024-13.parquet", None),
        ("month", "yellow_{partition:%Y-%m}.parquet", "yellow_2024-01.parquet.bak", None),
        ("month", "yellow_{partition:%Y-%m}.parquet", "b/yellow_2024-01.parquet", None),
    ],
)
def test_a_files_name_tells_its_partition_or_none(grain: Grain, pattern: str, text: str, expected: str | None) -> None:
    told = partition_told(Partition(grain=grain), pattern, text)
    assert (told and told.label) == expected
