"""Tables of text, as CSV and spreadsheets have them: a header, then rows, every field a text or nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

OWN_NAMES = frozenset({"_landing_id", "_row", "_loaded_at", "_absent_since"})
"""Columns that the loader adds to every table, or to some"""


@dataclass(frozen=True)
class Unreadable:
    """A row or record that cannot be read, while those around it can.

    Attributes:
        fault: Why, in words that hold none of its values; of a row, they begin with where it stands.
        text: What stands there.
    """

    fault: str
    text: str


Row = tuple[int, "Sequence[str | None] | Unreadable"]
"""Where a row stands (its line, or its row of the sheet, from 1), and its fields"""


@dataclass(frozen=True)
class TextTable:
    """A table being read.

    Attributes:
        header: The names as they stand, without white space around them.
        names: Name in lower case -> position of its field in a row; columns without a name are not among them.
        rows: What follows the header, read once.
    """

    header: Sequence[str]
    names: Mapping[str, int]
    rows: Iterator[Row]


def text_table(rows: Iterator[Row]) -> TextTable:
    """Take the first row as the header of the others.

    A row in which a column without a name holds a value is unreadable.

    Raises:
        ValueError: There is none, or none that can be read; two columns share a name but for case and white space, or
            one has a name of Sluice's own.
    """
    first = next(rows, None)
    if first is None:
        raise ValueError("empty file: it has not even a header")
    if isinstance(first[1], Unreadable):
        raise ValueError(first[1].fault)
    header = [(name or "").strip() for name in first[1]]
    names = name_columns(header)
    nameless = [position for position, name in enumerate(header) if not name]
    return TextTable(header, names, _rows(rows, nameless) if nameless else rows)


def name_columns(originals: Sequence[str]) -> dict[str, int]:
    """Names in lower case -> position, without those that are empty.

    Raises:
        ValueError: Two are the same but for case, or one is a name of Sluice's own.
    """
    lower = [name.strip().lower() for name in originals]
    if twice := [name for name, count in Counter(lower).items() if count > 1 and name]:
        raise ValueError(f"columns of the same name but for case: {', '.join(map(repr, twice))}")
    if own := sorted(OWN_NAMES.intersection(lower)):
        raise ValueError(f"column {own[0]!r} has a name of Sluice's own: have it renamed")
    return {name: position for position, name in enumerate(lower) if name}


def _rows(rows: Iterator[Row], nameless: Sequence[int]) -> Iterator[Row]:
    """The rows as they are: exporters end lines with one separator too many, so a column of nothing needs no name."""
    for place, fields in rows:
        if not isinstance(fields, Unreadable):
            filled = next((position for position in nameless if fields[position]), None)
            if filled is not None:
                fault = f"line {place}: column {filled + 1} holds a value, and the header has no name for it"
                yield place, Unreadable(fault, json.dumps(fields, ensure_ascii=False))
                continue
        yield place, fields
