"""`python -m benchmarks.picture`: where the time and the memory of a month go, drawn from the table in the document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.__main__ import DOCUMENT

PICTURE = DOCUMENT.parent / "images" / "full-month.png"
_COLUMNS = ("s", "CPU s", "task RSS", "task PSS", "backend USS")
_INK, _QUIET, _BLUE, _PALE = "#1a1d21", "#5a6370", "#3b6ea5", "#a9c4e0"


def layers(text: str) -> list[tuple[str, dict[str, float]]]:
    """The layers of the full month in the document's text -> what each took, by column; 0 for what was not measured.

    Raises:
        ValueError: The text has no such table.
    """
    found = re.search(r"^\| layer .*?(?=\n\n)", text, re.DOTALL | re.MULTILINE)
    if not found:
        raise ValueError(f"{DOCUMENT}: there is no table of a full month's layers; run benchmarks.full_month")
    header, _, *rows = ([cell.strip() for cell in line.strip("| ").split("|")] for line in found[0].splitlines())
    places = {column: header.index(column) for column in _COLUMNS}
    return [
        (row[0], {column: _number(row[place]) for column, place in places.items()})
        for row in rows
        if not row[0].startswith("*")
    ]


def draw(measured: Sequence[tuple[str, dict[str, float]]], path: Path) -> None:
    """Two panels beside each other: seconds and CPU seconds of each layer; memory of its task and its backend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), dpi=140, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    names = [name for name, _ in measured]
    for axes, title, (wide, thin) in zip(
        figure.subplots(1, 2, sharey=True),
        ("Seconds (pale) and CPU seconds", "MB at most: task (pale, PSS) and database backend (USS)"),
        (("s", "CPU s"), ("task PSS", "backend USS")),
        strict=True,
    ):
        axes.barh(names, [took[wide] for _, took in measured], height=0.75, color=_PALE)
        axes.barh(names, [took[thin] for _, took in measured], height=0.35, color=_BLUE)
        for name, took in measured:
            axes.text(max(took[wide], took[thin]), name, f" {took[wide]:.0f} / {took[thin]:.0f}", va="center", size=7)
        axes.set_title(title, loc="left", size=9, color=_INK)
        axes.tick_params(labelsize=8, colors=_QUIET, length=0)
        axes.margins(x=0.15)
        for side in ("top", "right", "bottom", "left"):
            axes.spines[side].set_visible(False)
        axes.xaxis.set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.savefig(path, metadata={"Software": None})


def _number(cell: str) -> float:
    return 0.0 if cell == "-" else float(cell.replace(",", ""))


if __name__ == "__main__":
    draw(layers(DOCUMENT.read_text()), PICTURE)
    print(PICTURE)
