"""A reader who asks without a pause while something goes on, and what readers see to the last byte."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

# A process of its own: a test that is at work would not let a thread of its own ask often enough.
_READER = """
import json, os, select, sys, time
import psycopg2

connection = psycopg2.connect(os.environ["READER_DSN"])
connection.autocommit = True
cursor, answers, strange = connection.cursor(), 0, set()
began = time.monotonic()
print("reading", flush=True)
while not select.select([sys.stdin], [], [], 0.01)[0]:
    cursor.execute(sys.argv[1])
    strange |= {table for (table,) in cursor.fetchall()}
    answers += 1
print(json.dumps([answers, time.monotonic() - began, sorted(strange)]))
"""


class Asked(Protocol):
    """A warehouse that answers its superuser."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What it answers."""
        ...


@dataclass
class Watch:
    """What a reader saw.

    Attributes:
        answers: How often it had an answer.
        seconds: Within how long.
        strange: Tables in which it saw a row of a landing that has not passed its gates.
    """

    answers: int = 0
    seconds: float = 1.0
    strange: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """How often it had an answer, on average."""
        return self.answers / self.seconds


@contextmanager
def reading(dsn: str, facts: Sequence[str], *, since: int) -> Iterator[Watch]:
    """Ask as often as possible for rows of landings that began after a moment.

    Args:
        dsn: postgresql:// URI of an analyst.
        facts: Tables of analytics.
        since: Microseconds since the epoch, as landing ids are.
    """
    query = " union all ".join(
        f"select '{fact}' where exists (select from analytics.{fact} where _landing_id >= {since})" for fact in facts
    )
    watch = Watch()
    with subprocess.Popen(
        [sys.executable, "-c", _READER, query],
        env={**os.environ, "READER_DSN": dsn},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdin is not None
        assert reader.stdout.readline() == "reading\n"
        try:
            yield watch
        finally:
            reader.stdin.close()
            watch.answers, watch.seconds, watch.strange = json.loads(reader.stdout.read())


def to_the_byte(of: Asked) -> dict[str, str]:
    """A hash over all bytes of each table that readers see, and of the tables behind their views."""
    tables = of.rows(
        "select n.nspname || '.' || c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "where n.nspname in ('analytics', 'personal') and c.relkind in ('r', 'v') order by 1"
    )
    content = "md5(coalesce(string_agg(t::text, e'\\n' order by t::text collate \"C\"), ''))"
    return {table: of.rows(f"select {content} from {table} as t")[0][0] for (table,) in tables}
