"""docs/reliability.md: what was tried, and what came of it. The test run writes it (SLUICE_REDRAW=1), and checks it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
SOURCES = ("tlc", "openweather", "driven", "opensea", "x")
LAYERS = ("landing", "raw", "staging", "marts")
HEADINGS = {
    "kill": "Killed tasks",
    "gate": "Gates that fail",
    "server": "Servers that die",
    "broken": "Broken builds",
}


@dataclass(frozen=True)
class Tried:
    """One fault that was tried.

    Attributes:
        kind: The table that it stands in.
        point: What was broken, and where.
        source: Of which source; empty for those that are about no source.
        lost: Rows that were served and did not arrive.
        doubled: Rows that arrived more than once.
    """

    kind: str
    point: str
    source: str = ""
    lost: int = 0
    doubled: int = 0

    @property
    def mark(self) -> str:
        """What came of it."""
        return f"lost {self.lost}, doubled {self.doubled}" if self.lost or self.doubled else "survived"


@dataclass
class Ledger:
    """What was tried, in the order of trying."""

    tried: list[Tried] = field(default_factory=list)

    def note(self, kind: str, point: str, source: str = "", *, lost: int = 0, doubled: int = 0) -> None:
        """Remember a fault that was tried: no row lost and none doubled means that it was survived."""
        self.tried.append(Tried(kind, point, source, lost, doubled))

    def draw(self, kills: Sequence[str], servers: Sequence[str], broken: Sequence[str]) -> None:
        """Write the page; what was not tried this time stays as the page has it.

        Args:
            kills: The points of the kill sweep, in their order.
            servers: The faults of servers.
            broken: The names of the broken builds.
        """
        before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        PAGE.write_text(page(self.tried, kills, servers, broken, before), encoding="utf-8")


def page(
    tried: Sequence[Tried], kills: Sequence[str], servers: Sequence[str], broken: Sequence[str], before: str
) -> str:
    """The page's text.

    Args:
        tried: What was tried this time.
        kills: The points of the kill sweep.
        servers: The faults of servers.
        broken: The broken builds.
        before: The text of the page as it was.
    """
    now = {(one.kind, one.point, one.source): one.mark for one in tried}

    def row(kind: str, point: str) -> list[str]:
        old = cells(before, HEADINGS[kind]).get(point, [])
        sources = SOURCES if kind in ("kill", "gate") else ("",)
        return [
            now.get((kind, point, source)) or next(iter(old[at : at + 1]), "not tried")
            for at, source in enumerate(sources)
        ]

    table = {
        "kill": {point: row("kill", point) for point in kills},
        "gate": {layer: row("gate", layer) for layer in LAYERS},
        "server": {fault: row("server", fault) for fault in servers},
    }
    marks = [mark for rows in table.values() for found in rows.values() for mark in found]
    was_broken = cells(before, HEADINGS["broken"])
    table["broken"] = {name: was_broken.get(name, ["", "not tried"]) for name in broken}
    heads = ["| " + " | ".join(("", *SOURCES)) + " |", "|---" * (len(SOURCES) + 1) + "|"]
    lines = {
        kind: [f"| {point} | {' | '.join(found)} |" for point, found in rows.items()] for kind, rows in table.items()
    }
    lost, doubled = (
        sum(int(n) for mark in marks for n in re.findall(rf"{word} (\d+)", mark)) for word in ("lost", "doubled")
    )
    return "\n".join(
        [
            "# Faults that are survived",
            "",
            "Made by `SLUICE_REDRAW=1 ./sluice test tests/faults`. Do not edit it by hand.",
            "",
            f"Faults tried: {len(marks) - marks.count('not tried')}. Survived: {marks.count('survived')}. "
            f"Lost rows: {lost}. Duplicates: {doubled}.",
            "",
            "A fault stands here as survived when its test has passed, and the test compares counts and sums of what",
            "was served, landed, loaded and published. The tests break things from outside: proxies before each server",
            "stall a connection at will, processes are killed, servers stopped, data altered. Nothing in the product",
            "knows of them (`tests/faults`).",
            "",
            f"## {HEADINGS['kill']}",
            "",
            "The process that runs a task's code is killed (SIGKILL) at each point; its supervisor has to report -9.",
            "The task is cleared and killed at the next point; at last it is left alone. As many records as the API",
            "has are landed, loaded, distinct in raw, and published; a measure has the same sum everywhere; no table,",
            "landing or row is left over; and readers see what they see after a run that nobody disturbed.",
            "",
            *heads,
            *lines["kill"],
            "",
            f"## {HEADINGS['gate']}",
            "",
            "A batch goes bad before the gate of each layer. The gate stops the run and says what it found and where;",
            "a reader who asks 20 times a second sees the same rows, byte for byte, until the batch is mended.",
            "",
            *heads,
            *lines["gate"],
            "",
            f"## {HEADINGS['server']}",
            "",
            "| fault | |",
            "|---|---|",
            *lines["server"],
            "",
            f"## {HEADINGS['broken']}",
            "",
            "Each test has to fail on a product that lacks what it is for: `python -m tests.faults.mutations`.",
            "",
            "| broken | test | result |",
            "|---|---|---|",
            *lines["broken"],
            "",
        ]
    )


def with_result(text: str, name: str, test: str, result: str) -> str:
    """The page with what came of one broken build."""
    head, heading, rest = text.partition(f"## {HEADINGS['broken']}\n")
    lines = [
        f"| {name} | `{test}` | {result} |" if line.startswith(f"| {name} |") else line for line in rest.split("\n")
    ]
    return head + heading + "\n".join(lines)


def cells(text: str, heading: str) -> dict[str, list[str]]:
    """The table below a heading of the page: first cell -> the others."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip("|").split("|") for line in (found[1] if found else "").splitlines() if line.startswith("| ")]
    return {first.strip(): [cell.strip() for cell in others] for first, *others in lines[1:]}
