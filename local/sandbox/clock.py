"""The sandbox's time, which can be stopped at any moment: that is how a test lets days go by.

`PUT /_sandbox/clock` with `{"now": "2026-11-22T06:00:00Z"}` stops it there, `DELETE` sets it back to how it was at the
start, `GET` reads it. Quotas go by the machine's time nevertheless, as clients do.
"""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict


def _utc_when_naive(value: object) -> object:
    """Read `2026-11-21T13:05` as UTC: the sandbox's clock has no other zone."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is not an ISO time such as 2026-11-21T13:05:00Z") from error
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_utc_when_naive)]
"""An ISO time, UTC when it names no zone."""


class Clock:
    """Tells the time; state is the moment at which it stands still, if it does.

    Args:
        at_first: Where it stands from the start on, None to let it run.
    """

    def __init__(self, at_first: datetime | None) -> None:
        self.at_first = at_first
        self.stands_at = at_first

    def __call__(self) -> datetime:
        """Now, in UTC."""
        return (self.stands_at or datetime.now(UTC)).astimezone(UTC)


class ClockTime(BaseModel):
    """What a clock shows."""

    model_config = ConfigDict(extra="forbid")

    now: Moment


def router(clock: Clock) -> APIRouter:
    """The control routes of a clock."""
    routes = APIRouter(prefix="/_sandbox", tags=["sandbox control"])

    @routes.put("/clock", status_code=204, response_class=Response)
    async def put_clock(time: ClockTime) -> None:
        """Stop the clock at a moment."""
        clock.stands_at = time.now

    @routes.get("/clock")
    async def get_clock() -> ClockTime:
        """What the APIs take for now."""
        return ClockTime(now=clock())

    @routes.delete("/clock", status_code=204, response_class=Response)
    async def delete_clock() -> None:
        """Set the clock back to how it was at the start."""
        clock.stands_at = clock.at_first

    return routes
