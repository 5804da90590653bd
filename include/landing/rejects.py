"""What a read of a landing finds beside its rows: those that cannot be read, and which part each row came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Why a row cannot be read.

    Attributes:
        message: In words; a value is only quoted of a column that holds no personal data.
        column: The column whose value is not of its type; None where the whole row is no row.
    """

    message: str
    column: str | None = None


@dataclass(frozen=True)
class Reject:
    """A row that is left out of what is read, for it is not as declared.

    Attributes:
        row: Its position in the landing, from 0, which no other row has.
        faults: Why, at least one.
        payload: The row as it stood, a JSON object of its columns, where it could be told apart into them.
        record: Its text as it stood, where it could not.
    """

    row: int
    faults: Sequence[Fault]
    payload: str | None = None
    record: str | None = None


@dataclass(frozen=True)
class PartRows:
    """Which rows of a landing came from one of its parts; rejected ones count.

    Attributes:
        part: Name of the part.
        uri: Its object.
        first_row: Position of its first row in the landing, from 0.
        row_count: How many rows it has.
    """

    part: str
    uri: str
    first_row: int
    row_count: int
