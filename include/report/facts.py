"""What a report is made of: numbers and sentences, no row of any table. Goes through XCom as JSON."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel

State = Literal["pass", "warn", "fail", "missing", "idle"]
ChartKind = Literal["columns", "bars", "ranges"]


class Figure(BaseModel):
    """A key figure.

    Attributes:
        label: What it is.
        value: The number; None where there is none.
        unit: What it counts or measures: `USD`, `GB`, `°C`; empty for plain counts.
        note: Which day, which city.
        change: Since then: 0.1 is 10 % more.
        than: How far back that lies: `a week`.
    """

    label: str
    value: float | None
    unit: str = ""
    note: str = ""
    change: float | None = None
    than: str = ""


class Point(BaseModel):
    """One column or bar; low and high for ranges."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


class Chart(BaseModel):
    """A small chart.

    Attributes:
        name: Unique in the report; the image's Content-ID.
        title: What it shows.
        unit: Of its values.
        kind: `columns` by day (labels are ISO dates), `bars` or `ranges` by name.
        points: In the order they are drawn.
    """

    name: str
    title: str
    unit: str
    kind: ChartKind
    points: list[Point]


class SubjectFacts(BaseModel):
    """Key figures and charts of one subject; `missing` says in a sentence why there are none."""

    name: str
    title: str
    source: str
    missing: str = ""
    figures: list[Figure] = []
    charts: list[Chart] = []


class SourceFacts(BaseModel):
    """What one source did in the report's 24 hours.

    Attributes:
        name: The source.
        title: What it is.
        state: `fail` (a gate failed, or it is too old), `missing` (due, and nothing was published), `warn`, `pass`, or
            `idle` (not due, and nothing happened).
        is_due: Whether its schedule had it publish.
        runs: Runs that landed, judged or published something.
        landings: Landings.
        landed: Records landed, as far as they have been counted.
        loaded: Rows loaded into raw.
        quarantined: Rows in quarantine, of these landings.
        published: Rows moved to analytics.
        has_published: Whether a run has published, be it no row.
        gates_passed: Expectations met.
        gates_warned: Not met, and worth a warning.
        gates_failed: Not met, and the run stopped.
        findings: Expectations that are not met, a sentence each, at most five.
        fetched_at: When its newest published landing was fetched, ever.
        age_hours: How old that was at the end of the 24 hours.
        stale_after_hours: From what age on it is not in order.
        seconds: From the first request to the last verdict or publication, summed over the runs.
        bytes: Stored in S3.
    """

    name: str
    title: str
    state: State
    is_due: bool
    runs: int = 0
    landings: int = 0
    landed: int = 0
    loaded: int = 0
    quarantined: int = 0
    published: int = 0
    has_published: bool = False
    gates_passed: int = 0
    gates_warned: int = 0
    gates_failed: int = 0
    findings: list[str] = []
    fetched_at: datetime | None = None
    age_hours: float | None = None
    stale_after_hours: int | None = None
    seconds: float = 0
    bytes: int = 0


class Facts(BaseModel):
    """A whole report: the 24 hours up to `until`, which lie in (or end with) `day`."""

    day: date
    until: datetime
    made_at: datetime
    sources: list[SourceFacts]
    subjects: list[SubjectFacts]

    @property
    def missing(self) -> list[str]:
        """Sources that were due and have published nothing."""
        return [source.name for source in self.sources if source.is_due and not source.has_published]

    @property
    def is_complete(self) -> bool:
        """Whether every source that was due has published."""
        return not self.missing

    @property
    def state(self) -> State:
        """The gravest of the sources' states."""
        states = {source.state for source in self.sources}
        gravest: tuple[State, ...] = ("fail", "missing", "warn")
        return next((state for state in gravest if state in states), "pass")

    @property
    def summary(self) -> str:
        """The report in one sentence: the mail's subject says it too."""
        failed = [source.name for source in self.sources if source.state == "fail"]
        warned = [source.name for source in self.sources if source.state == "warn"]
        missing = [name for name in self.missing if name not in failed]
        parts = [
            f"{label} {', '.join(names)}"
            for label, names in (("failed:", failed), ("missing:", missing), ("with warnings:", warned))
            if names
        ]
        return "; ".join(parts) or "all is in order"
