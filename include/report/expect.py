"""What a source ought to have done in the report's 24 hours, from its schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from croniter import croniter


@dataclass(frozen=True)
class Expected:
    """One source, as the report expects it.

    Attributes:
        name: The source's name.
        title: What it is, in a few words.
        is_due: Whether its schedule has it publish in the report's 24 hours.
        warn_after_hours: Age of its newest published landing that is worth a warning; None for any age.
        error_after_hours: Age that is a fault.
    """

    name: str
    title: str
    is_due: bool
    warn_after_hours: int | None = None
    error_after_hours: int | None = None


def expected(
    name: str,
    title: str,
    cron: str | None,
    until: datetime,
    *,
    warn_after_hours: int | None = None,
    error_after_hours: int | None = None,
) -> Expected:
    """What is expected of a source in the 24 hours before `until`.

    Args:
        name: its name.
        title: what it is.
        cron: its schedule (five fields or a preset such as @daily, UTC); None where it has none by the clock.
        until: the end of the 24 hours.
        warn_after_hours: see `Expected`.
        error_after_hours: see `Expected`.
    """
    due = cron is not None and _times(cron, until).get_prev(datetime) >= until - timedelta(days=1)
    return Expected(name, title, due, warn_after_hours, error_after_hours)


def is_daily(cron: str | None, day: datetime) -> bool:
    """Whether a schedule comes round on every day: what the report of each day waits for."""
    if cron is None:
        return False
    times = _times(cron, day)
    return all(times.get_next(datetime) - day <= timedelta(days=one) for one in range(1, 8))


def _times(cron: str, start: datetime) -> croniter:
    return croniter({"@quarterly": "0 0 1 */3 *"}.get(cron, cron), start)
