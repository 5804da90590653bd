"""Which partition (month, day, hour) a run is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from include.pipeline.model import Grain, Partition

_LABELS: dict[Grain, str] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m", "all": "all"}


@dataclass(frozen=True)
class RunPartition:
    """One partition: its label (`2024-01`, `2026-11-21T13`, `all`) and the moment it starts (UTC)."""

    label: str
    start: datetime


def partition_of_run(
    partition: Partition, *, asked: str | None, logical_date: datetime | None, run_after: datetime, is_scheduled: bool
) -> RunPartition:
    """The partition a run loads.

    A date that was asked for (the form, `--date`, a backfill's logical date) means the partition it lies in. A scheduled
    run, or one without a date, takes the newest that upstream should have published: `delay` partitions earlier.

    Args:
        partition: grain and delay of the source or entity.
        asked: the parameter `date` (YYYY-MM-DD), or None.
        logical_date: the run's, None for a run without one.
        run_after: when the run was due.
        is_scheduled: the scheduler made the run for its timetable.

    Raises:
        ValueError: `asked` is no date.
    """
    if asked:
        try:
            day = date.fromisoformat(asked)
        except ValueError:
            raise ValueError(f"date {asked!r} is not a day as YYYY-MM-DD") from None
        moment, delay = datetime(day.year, day.month, day.day, tzinfo=UTC), 0
    elif logical_date is not None and not is_scheduled:
        moment, delay = logical_date, 0
    else:
        moment, delay = logical_date or run_after, partition.delay
    start = _start(partition.grain, moment.astimezone(UTC))
    for _ in range(delay):
        start = _start(partition.grain, start - timedelta(seconds=1))
    return RunPartition(start.strftime(_LABELS[partition.grain]), start)


def _start(grain: Grain, moment: datetime) -> datetime:
    hour = moment.replace(minute=0, second=0, microsecond=0)
    match grain:
        case "month":
            return hour.replace(day=1, hour=0)
        case "day" | "all":
            return hour.replace(hour=0)
        case "hour":
            return hour
