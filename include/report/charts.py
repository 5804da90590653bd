"""A chart -> a small PNG. Drawn by matplotlib's Agg canvas alone: no display, no state that two drawings could share.

The background is white and opaque, so that a mail client in dark mode shows ink on paper.
"""

from __future__ import annotations

import io
from datetime import date
from typing import TYPE_CHECKING

from include.report.facts import Chart
from include.report.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NARROW, WIDE = 316, 648
"""width on the page in CSS pixels; the image has twice as many"""
_HEIGHT, _ROW_HEIGHT = 150, 17
_INK, _QUIET, _GRID, _BLUE, _PALE = "#1a1d21", "#5a6370", "#e3e7ec", "#3b6ea5", "#a9c4e0"
_DPI = 200  # twice that of a CSS pixel at the font sizes below


def width(chart: Chart) -> int:
    """Its width on the page, in CSS pixels."""
    return WIDE if chart.kind == "ranges" else NARROW


def height(chart: Chart) -> int:
    """Its height on the page, in CSS pixels."""
    return 34 + _ROW_HEIGHT * max(2, len(chart.points)) if chart.kind == "ranges" else _HEIGHT


def draw(chart: Chart) -> bytes:
    """The chart as PNG, `width` by `height` at double resolution; the same facts give the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(
        figsize=(width(chart) / 100, height(chart) / 100),
        dpi=_DPI,
        facecolor="white",
        layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03),
    )
    axes = figure.add_subplot()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.tick_params(labelsize=6.2, colors=_QUIET, length=0, pad=2)
    axes.set_axisbelow(True)
    {"columns": _columns, "bars": _bars, "ranges": _ranges}[chart.kind](axes, chart)
    target = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(target, format="png", dpi=_DPI, metadata={"Software": None})
    return target.getvalue()


def _columns(axes: Axes, chart: Chart) -> None:
    """A column a day, the newest in full colour, no column where there is no day."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    days = [date.fromisoformat(point.label).toordinal() for point in chart.points]
    values = [point.value for point in chart.points]
    axes.bar(days, values, width=0.78, color=[_PALE] * (len(days) - 1) + [_BLUE])
    first, last = min(days), max(days)
    # few days stay slim: as if there were a week
    axes.set_xlim(last - max(6, last - first) - 0.6, last + 0.6)
    ticks = sorted({last - round((last - first) * part / 3) for part in range(4)}) if last - first > 3 else days
    axes.set_xticks(ticks, [f"{date.fromordinal(day).day} {date.fromordinal(day):%b}" for day in ticks])
    axes.grid(axis="y", color=_GRID, linewidth=0.6)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=max(values, default=0) > 3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _bars(axes: Axes, chart: Chart) -> None:
    """A bar a name, the first on top, its value at its end."""
    names = [_short(point.label, 18) for point in chart.points]
    values = [point.value for point in chart.points]
    axes.barh(range(len(values)), values, height=0.62, color=_BLUE)
    most = max(values, default=0) or 1
    for at, value in enumerate(values):
        axes.text(value + most * 0.02, at, number(value), va="center", fontsize=6.2, color=_INK)
    axes.set_yticks(range(len(names)), names)
    # few bars stay slim: as if there were four
    axes.set_ylim(max(4, len(values)) - 0.4, -0.6)
    axes.set_xlim(0, most * 1.22)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", labelcolor=_INK)


def _ranges(axes: Axes, chart: Chart) -> None:
    """A line from low to high a name, a dot at the value, which is written beside it."""
    for at, point in enumerate(chart.points):
        low = point.value if point.low is None else point.low
        high = point.value if point.high is None else point.high
        axes.plot([low, high], [at, at], color=_PALE, linewidth=3.2, solid_capstyle="round")
        axes.plot([point.value], [at], "o", color=_BLUE, markersize=3.6)
        axes.annotate(
            f"{point.value:.1f}", (high, at), (5, 0), textcoords="offset points", va="center", fontsize=6.2, color=_INK
        )
    axes.set_yticks(range(len(chart.points)), [_short(point.label, 24) for point in chart.points])
    axes.set_ylim(max(2, len(chart.points)) - 0.4, -0.6)
    axes.tick_params(axis="y", labelcolor=_INK)
    axes.grid(axis="x", color=_GRID, linewidth=0.6)
    axes.margins(x=0.06)


def _short(text: str, most: int) -> str:
    # a $ would begin a formula
    return (text if len(text) <= most else text[: most - 1] + "…").replace("$", r"\$")
