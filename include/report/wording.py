"""Numbers, times and facts in words, the same in HTML, plain text and charts."""

from __future__ import annotations

from datetime import UTC, datetime

from include.report.facts import Chart, Figure, SourceFacts, State

WORDS: dict[State, str] = {
    "pass": "in order",
    "warn": "warnings",
    "fail": "failed",
    "missing": "missing",
    "idle": "not due",
}


def number(value: float | None) -> str:
    """Short: 12, 3.4, 1,234, 56.7 k, 1.2 M; `-` for none."""
    if value is None:
        return "-"
    for limit, size, suffix in ((1e12, 1e12, " T"), (1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e4, 1e3, " k")):
        if abs(value) >= limit:
            return f"{value / size:.3g}{suffix}" if abs(value / size) < 1000 else f"{value / size:.0f}{suffix}"
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def count(value: int) -> str:
    """Exact, with thousands separated."""
    return f"{value:,}"


def amount(value: float | None, unit: str) -> str:
    """A number with its unit."""
    if value is None or not unit:
        return number(value)
    if unit == "°C":
        return f"{value:.1f} °C"
    return f"${number(value)}" if unit == "USD" else f"{number(value)} {unit}"


def remark(figure: Figure) -> str:
    """What stands below a key figure: what of, and how it compares."""
    return ", ".join(filter(None, (figure.note, change(figure))))


def change(figure: Figure) -> str:
    """How a key figure compares: `+4.1 % in a week`; empty where it is compared with nothing."""
    return "" if figure.change is None else f"{figure.change:+.1%} in {figure.than}".replace("%", " %")


def size(of: int) -> str:
    """Bytes in decimal units."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if of >= limit:
            return f"{of / limit:.3g} {unit}"
    return f"{of} B"


def span(seconds: float) -> str:
    """A length of time."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def age(hours: float | None) -> str:
    """How old."""
    if hours is None:
        return "never"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"


def moment(of: datetime) -> str:
    """To the minute, UTC."""
    return f"{of.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def gates(source: SourceFacts) -> str:
    """Expectations: `31 met, 1 warned`; `none judged` where no gate stood."""
    if not source.gates_passed + source.gates_warned + source.gates_failed:
        return "none judged"
    parts = [f"{source.gates_passed} met"]
    if source.gates_warned:
        parts.append(f"{source.gates_warned} warned")
    if source.gates_failed:
        parts.append(f"{source.gates_failed} failed")
    return ", ".join(parts)


def described(chart: Chart) -> str:
    """A chart in a sentence or two: its alternative text."""
    points = chart.points
    if chart.kind == "ranges":
        told = "; ".join(f"{p.label} {p.value:.1f} ({p.low:.1f} to {p.high:.1f})" for p in points)
        return f"{chart.title}, in {chart.unit}. {told}."
    if chart.kind == "bars":
        told = "; ".join(f"{p.label} {amount(p.value, chart.unit)}" for p in points)
        return f"{chart.title}. {told}."
    last = points[-1]
    if len(points) == 1:
        return f"{chart.title}. {last.label} {amount(last.value, chart.unit)}."
    low, high = min(points, key=lambda p: p.value), max(points, key=lambda p: p.value)
    return (
        f"{chart.title}, {points[0].label} to {last.label}. Lowest {amount(low.value, chart.unit)} on {low.label}, "
        f"highest {amount(high.value, chart.unit)} on {high.label}, last {amount(last.value, chart.unit)}."
    )
