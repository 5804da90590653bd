"""Which partition (month, day, hour) a run is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from include.pipeline.model import LABELS, PARTITION, Grain, Partition


@dataclass(frozen=True)
class RunPartition:
    """One partition: its label (`2024-01`, `2026-11-21T13`, `all`) and the moment it starts (UTC)."""

    label: str
    start: datetime


@dataclass(frozen=True)
class PartitionRange:
    """Partitions of one grain from the first to the last label, both included; without them, all there are."""

    first: str = ""
    last: str = ""

    def __contains__(self, label: object) -> bool:
        return not self.last or self.first <= str(label) <= self.last  # labels of a grain sort by time

    def __str__(self) -> str:
        if not self.last:
            return "all partitions"
        return self.first if self.first == self.last else f"{self.first} to {self.last}"


def partitions_of_replay(
    partition: Partition, *, asked: str | None, until: str | None, everything: bool, of_run: RunPartition
) -> PartitionRange:
    """The partitions that a run rebuilds from their landings.

    Args:
        partition: grain and delay of the source or entity.
        asked: the parameter `date` (YYYY-MM-DD): all partitions that lie in this day, or that it lies in.
        until: the parameter `until`: all from `date` to this day.
        everything: all that were ever landed.
        of_run: what the run is about if it was asked for nothing of these.

    Raises:
        ValueError: `asked` or `until` is no date, or `until` is without `asked` or before it.
    """
    if everything:
        return PartitionRange()
    if until and (not asked or _day(until) < _day(asked)):
        raise ValueError(f"until {until!r} is the last day to rebuild: give it with a date that is not after it")
    if not asked:
        return PartitionRange(of_run.label, of_run.label)
    midnight = datetime.combine(_day(asked), time(tzinfo=UTC))
    last_moment = datetime.combine(_day(until or asked), time.max, tzinfo=UTC)
    return PartitionRange(
        _start(partition.grain, midnight).strftime(LABELS[partition.grain]),
        _start(partition.grain, last_moment).strftime(LABELS[partition.grain]),
    )


def partition_told(partition: Partition, pattern: str, text: str) -> RunPartition | None:
    """The partition that a text tells which is made like a pattern (`trips_{partition:%Y-%m}.parquet`).

    Args:
        partition: grain of the source or entity.
        pattern: what `source.yml` says; it tells the grain.
        text: what is to be read.

    Returns:
        None where the text is not made like the pattern.
    """
    found = PARTITION.search(pattern)
    if found is None:
        return RunPartition("all", datetime.min.replace(tzinfo=UTC)) if text == pattern else None
    before, behind = pattern[: found.start()], pattern[found.end() :]
    if not (text.startswith(before) and text.endswith(behind)):
        return None
    try:
        told = datetime.strptime(text[len(before) : len(text) - len(behind)], found[1]).replace(tzinfo=UTC)
    except ValueError:
        return None
    start = _start(partition.grain, told)
    return RunPartition(start.strftime(LABELS[partition.grain]), start)


def partition_of_run(
    partition: Partition,
    *,
    asked: str | None,
    logical_date: datetime | None,
    run_after: datetime,
    is_scheduled: bool,
    is_backfill: bool = False,
) -> RunPartition:
    """The partition a run loads.

    A date that was asked for (the form, `--date`) means the partition it lies in, published or not. A scheduled run
    takes the newest that upstream should have published by its date, `delay` partitions earlier; so does a run
    without a date.
    A backfill's run takes its logical date's, published or not: each date its own. Any other (made by hand for a
    logical date) does too, but none newer than what should have been published by now.

    Args:
        partition: grain and delay of the source or entity.
        asked: the parameter `date` (YYYY-MM-DD), or None.
        logical_date: the run's, None for a run without one.
        run_after: when the run was due.
        is_scheduled: the scheduler made the run for its timetable.
        is_backfill: a backfill did; Airflow has it due on its logical date, however long ago that was.

    Raises:
        ValueError: `asked` is no date.
    """
    if asked:
        start = _start(partition.grain, datetime.combine(_day(asked), time(tzinfo=UTC)))
    elif logical_date is None or is_scheduled:
        start = _newest(partition, logical_date or run_after)
    elif is_backfill:
        start = _start(partition.grain, logical_date)
    else:
        start = min(_start(partition.grain, logical_date), _newest(partition, run_after))
    return RunPartition(start.strftime(LABELS[partition.grain]), start)


def _day(asked: str) -> date:
    try:
        return date.fromisoformat(asked)
    except ValueError:
        raise ValueError(f"date {asked!r} is not a day as YYYY-MM-DD") from None


def _newest(partition: Partition, moment: datetime) -> datetime:
    start = _start(partition.grain, moment)
    for _ in range(partition.delay):
        start = _start(partition.grain, start - timedelta(seconds=1))
    return start


def _start(grain: Grain, moment: datetime) -> datetime:
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    match grain:
        case "month":
            return hour.replace(day=1, hour=0)
        case "day" | "all":
            return hour.replace(hour=0)
        case "hour":
            return hour
