"""Tables and numbers as text: Markdown, so that what a benchmark prints can go into a document as it is."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned; the first column to the left, all others, being numbers, to the right.

    Raises:
        ValueError: A row has more or fewer cells than the header.
    """
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        "| " + " | ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]) + " |"
        for cells in (lines[0], rule, *lines[1:])
    )


def seconds(value: float | None) -> str:
    """`12.3`, and from a hundred on `123`; a dash for what was not measured."""
    return "-" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def megabytes(value: int | None) -> str:
    """Bytes as MB (10^6); a dash for what could not be measured."""
    return "-" if value is None else f"{value / 1e6:.0f}"


def count(value: float | None) -> str:
    """`3,000,000`; a dash for what was not measured."""
    return "-" if value is None else f"{value:,.0f}"


def ratio(value: float | None, base: float | None) -> str:
    """`1.07`; a dash where there is nothing to compare with."""
    return "-" if not value or not base else f"{value / base:.2f}"
