"""What a gate found: one result for each expectation, and whether the run may go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from include.gates.rules import LayerName, OnFailure, raw_table

RUNBOOK = "docs/runbooks/failed-gate.md"

Key = tuple[int, int]
"""`_landing_id` and `_row`"""
Reason = Mapping[str, str | None]
"""why a row is held: layer, rule, column and message, which quotes no value of the row"""
Held = Callable[[str, Reason], int]
"""raw table, reason -> how many of the run's rows are held for it"""


class GateFailed(Exception):  # noqa: N818 (what happened, not what went wrong with us)
    """A gate has failed: nothing further down may run. The message says what failed and what to read."""


@dataclass(frozen=True, slots=True)
class Result:
    """One expectation, judged. Holds counts and aggregates of the table's rows, never values of them."""

    table: str
    expectation: str
    column: str | None
    """its column, `a, b` where it is about several, None where it is about the table"""
    arguments: Mapping[str, Any]
    on_failure: OnFailure
    success: bool
    rows_checked: int | None
    """rows that it was asked of, without the null ones that it leaves out; None where it does not count rows"""
    rows_unexpected: int | None
    observed: str | None
    message: str
    """one sentence: what was found, and what was expected"""
    reason: Reason | None = None
    """of a rule with on_failure `quarantine`: what is written beside a row that it holds"""
    is_diverted: bool = False
    """the rows that it found are in quarantine"""

    @property
    def state(self) -> str:
        """`pass`, or what its failure does."""
        return "pass" if self.success else self.on_failure.value


@dataclass(frozen=True, slots=True)
class Verdict:
    """The results of one gate, in the order of gates.yml."""

    results: tuple[Result, ...]
    left_out: tuple[str, ...] = ()
    """tables that the run put nothing into, and that were therefore not judged"""
    offending: Mapping[str, Mapping[Key, Sequence[Reason]]] = field(default_factory=dict)
    """raw table -> its rows that are to be held, and why: at most the share that the rules allow"""

    @property
    def passed(self) -> bool:
        """Whether the run may go on: nothing has failed, and what was to be held is."""
        return not self.failures

    @property
    def failures(self) -> tuple[Result, ...]:
        """Failed expectations that stop the run."""
        return tuple(
            r
            for r in self.results
            if not r.success
            and (r.on_failure is OnFailure.FAIL or (r.on_failure is OnFailure.QUARANTINE and not r.is_diverted))
        )

    @property
    def is_over_share(self) -> bool:
        """Whether more rows than allowed are to be held for one reason, so that none are."""
        return any(r.reason and r.on_failure is OnFailure.FAIL and not r.success for r in self.results)

    @property
    def quarantined(self) -> tuple[Result, ...]:
        """Failed expectations whose rows are in quarantine."""
        return tuple(r for r in self.results if not r.success and r.is_diverted)

    def with_quarantined(self, held: Held) -> Verdict:
        """The final verdict: each rule with on_failure `quarantine` counts the rows that are held for it.

        Args:
            held: how many of the run's rows of a raw table are held for a reason.
        """
        return replace(self, results=tuple(_counted(result, held) for result in self.results))

    @property
    def warnings(self) -> tuple[Result, ...]:
        """Failed expectations that do not stop the run."""
        return tuple(r for r in self.results if not r.success and r.on_failure is OnFailure.WARN)

    def table(self) -> str:
        """The verdict as a text table for a task's log, and below it a sentence for each failed expectation."""
        header = ("", "table", "column", "expectation", "rows", "unexpected", "observed")
        rows = [
            (
                r.state,
                r.table,
                r.column or "",
                r.expectation.removeprefix("expect_"),
                "" if r.rows_checked is None else f"{r.rows_checked:,}",
                "" if r.rows_unexpected is None else f"{r.rows_unexpected:,}",
                _cut(r.observed or ""),
            )
            for r in self.results
        ]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        right = (4, 5)
        lines = [
            "  ".join(
                cell.rjust(width) if at in right else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (header, tuple("-" * width for width in widths), *rows)
        ]
        lines += [f"{r.on_failure.upper()}: {r.message}" for r in (*self.failures, *self.quarantined, *self.warnings)]
        lines += [f"not judged, the run put nothing into it: {table}" for table in self.left_out]
        met = sum(r.success for r in self.results)
        lines.append(f"{'passed' if self.passed else 'FAILED'}: {met} of {len(self.results)} expectations met")
        return "\n".join(lines)

    def raise_if_failed(self, source: str, layer: LayerName) -> None:
        """Stop here unless the gate has passed.

        Raises:
            GateFailed: an expectation with on_failure `fail` has failed.
        """
        if self.passed:
            return
        failed = "\n".join(f"  - {r.message}" for r in self.failures)
        count = len(self.failures)
        raise GateFailed(
            f"{source}: the gate of {layer} has failed, {count} of {len(self.results)} expectations "
            f"{'is' if count == 1 else 'are'} not met, nothing further down runs:\n{failed}\nWhat to do: {RUNBOOK}"
        )


def merged(verdicts: Iterable[Verdict]) -> Verdict:
    """Several verdicts as one (the landing is judged entity by entity)."""
    verdicts = tuple(verdicts)
    return Verdict(
        results=tuple(result for verdict in verdicts for result in verdict.results),
        left_out=tuple(table for verdict in verdicts for table in verdict.left_out),
        offending={table: rows for verdict in verdicts for table, rows in verdict.offending.items()},
    )


def _counted(result: Result, held: Held) -> Result:
    if not result.reason or not result.success:
        return result
    count = held(raw_table(str(result.reason["layer"]), result.table), result.reason)
    if not count:
        return result
    checked = None if result.rows_checked is None else result.rows_checked + count
    of = "" if checked is None else f" of {checked:,}"
    return replace(
        result,
        success=False,
        is_diverted=True,
        rows_checked=checked,
        rows_unexpected=count,
        observed=f"{count:,} in quarantine",
        message=f"{count:,}{of} rows {'is' if count == 1 else 'are'} in quarantine: {result.reason['message']}",
    )


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
