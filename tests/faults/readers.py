"""A reader who asks without a pause while something goes on, and what readers see to the last byte."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol


class Asked(Protocol):
    """A warehouse that answers its superuser."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What it answers."""
        ...


@dataclass
class Watch:
    """What a reader saw.

    Attributes:
        answers: Times at which it had an answer.
        strange: Answers with a row of a landing that has not passed its gates, by the table.
    """

    answers: list[float] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """How often it had an answer, on average."""
        return (len(self.answers) - 1) / (self.answers[-1] - self.answers[0])


@contextmanager
def reading(connect: Callable[[], Any], facts: Sequence[str], *, since: int) -> Iterator[Watch]:
    """Ask as an analyst, as often as possible, for rows of landings that began after a moment.

    Args:
        connect: Gives a psycopg2 connection of an analyst.
        facts: Tables of analytics.
        since: Microseconds since the epoch, as landing ids are.
    """
    watch, ends = Watch(), threading.Event()
    query = " union all ".join(
        f"select '{fact}' where exists (select from analytics.{fact} where _landing_id >= {since})" for fact in facts
    )
    connection = connect()
    connection.autocommit = True

    def read() -> None:
        with connection.cursor() as cursor:
            while not ends.wait(0.01):
                cursor.execute(query)
                watch.strange += [table for (table,) in cursor.fetchall()]
                watch.answers.append(time.monotonic())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield watch
    finally:
        ends.set()
        reader.join()
        connection.close()


def to_the_byte(of: Asked) -> dict[str, str]:
    """A hash over all bytes of each table that readers see, and of the tables behind their views."""
    tables = of.rows(
        "select n.nspname || '.' || c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "where n.nspname in ('analytics', 'personal') and c.relkind in ('r', 'v') order by 1"
    )
    content = "md5(coalesce(string_agg(t::text, e'\\n' order by t::text collate \"C\"), ''))"
    return {table: of.rows(f"select {content} from {table} as t")[0][0] for (table,) in tables}
