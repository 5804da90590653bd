"""The account of one load: how many rows its landing has, which part each came from, and which are held back."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from include.warehouse.quarantine import Held, clear, hold
from include.warehouse.raw import LoadError
from include.warehouse.session import Session, Value

log = logging.getLogger(__name__)

MOST = 10_000
"""rows that are held back of one landing at the most, whatever share of it they are: they wait in memory"""

_PARTS_AT_ONCE = 200
_MOST_CHARACTERS = 64 * 1024 * 1024


@dataclass(frozen=True)
class _Part:
    name: str
    uri: str
    first_row: int
    row_count: int | None  # None until the next part begins


class Account:
    """Kept while a landing's rows pass by, and booked in the load's transaction.

    Attributes:
        rows: How many rows have passed, those that are held back included.
        dag_run_id: The run.

    Args:
        table: Name of the raw table.
        landing_id: The landing.
        at_most: The share of the landing's rows that may be held back; with 0 the first one fails the load.
        dag_run_id: The run.
    """

    def __init__(self, table: str, landing_id: int, *, at_most: float = 0.0, dag_run_id: str = "") -> None:
        self.rows = 0
        self._table = table
        self._landing_id = landing_id
        self._at_most = at_most
        self.dag_run_id = dag_run_id
        self._held: list[Held] = []
        self._characters = 0
        self._parts: list[_Part] = []

    def part(self, name: str, uri: str, first_row: int, row_count: int) -> None:
        """A part of the landing has been read."""
        self._parts.append(_Part(name, uri, first_row, row_count))
        self.rows = first_row + row_count

    def begin_part(self, name: str, uri: str) -> None:
        """The rows from here on are of this part."""
        self._parts.append(_Part(name, uri, self.rows, None))

    def hold(
        self,
        row: int,
        faults: Iterable[tuple[str | None, str]],
        *,
        payload: str | None = None,
        record: str | None = None,
        request: str | None = None,
    ) -> None:
        """Hold a row back.

        Args:
            row: Its position in the landing.
            faults: Why: the column, where one is at fault, and a message without personal values.
            payload: The row as JSON.
            record: Or its text.
            request: What was asked for, as JSON.

        Raises:
            LoadError: None may be held back, or these are too many.
        """
        reasons = [
            {"layer": "load", "rule": "parser", "column": column, "message": message} for column, message in faults
        ]
        if not self._at_most:
            raise LoadError(f"{self._what}: its record {row} (from 0) {reasons[0]['message']}")
        self._held.append(Held(row, payload, record, request, reasons))
        self._characters += len(payload or "") + len(record or "")
        if len(self._held) > MOST:
            raise LoadError(f"{self._what}: more than {MOST} of its rows cannot be read; {self._first}")
        if self._characters > _MOST_CHARACTERS:
            raise LoadError(
                f"{self._what}: {len(self._held)} of its rows cannot be read, of more than {_MOST_CHARACTERS} "
                f"characters together; {self._first}"
            )

    def judge(self, rows: int) -> None:
        """Say whether the load may go on without the rows that are held back.

        Args:
            rows: How many have been copied, for a landing whose parts nobody has told.

        Raises:
            LoadError: They are more than the share that may be.
        """
        count, total = len(self._held), max(self.rows, rows)
        if count > self._at_most * total:
            raise LoadError(
                f"{self._what}: {count} of its {total} rows cannot be read, and quarantine_at_most in source.yml lets "
                f"{self._at_most:g} of them go to quarantine; {self._first}"
            )

    def book(self, session: Session) -> None:
        """Book the parts, and hold what is held back. What an earlier load of the landing booked and held is gone."""
        session.execute("delete from ops.landing_part where landing_id = %s", (self._landing_id,))
        ends = [*(part.first_row for part in self._parts[1:]), self.rows]
        parts = list(zip(self._parts, ends, strict=False))
        for first in range(0, len(parts), _PARTS_AT_ONCE):
            some = parts[first : first + _PARTS_AT_ONCE]
            values: list[Value] = []
            for part, end in some:
                rows = end - part.first_row if part.row_count is None else part.row_count
                values += [self._landing_id, part.name, part.uri, part.first_row, rows]
            session.execute(
                "insert into ops.landing_part (landing_id, part, uri, first_row, row_count) values "
                + ", ".join(["(%s, %s, %s, %s, %s)"] * len(some)),
                values,
            )
        clear(session, self._table, self._landing_id)
        if self._held:
            held = sorted(self._held, key=lambda one: one.row)
            hold(session, self._table, self._landing_id, held, dag_run_id=self.dag_run_id)
            log.warning(
                "held table=raw.%s landing_id=%d rows=%d of=%d", self._table, self._landing_id, len(held), self.rows
            )

    @property
    def is_short(self) -> bool:
        """Whether rows are held back."""
        return bool(self._held)

    @property
    def _what(self) -> str:
        return f"raw.{self._table}: landing {self._landing_id} was not loaded"

    @property
    def _first(self) -> str:
        first = min(self._held, key=lambda one: one.row)
        return f"the first, row {first.row} (from 0): {first.reasons[0]['message']}"
