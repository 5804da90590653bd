"""Values searched for in the whole warehouse: every column of text or JSON, of every table of every schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from include.warehouse.session import PsycopgSession, psycopg_session

_WORD = re.compile(r"\w")
_ESCAPED_BLANK = re.compile(r"\\[nrtbf]")  # its letter would hide where a word begins


@dataclass
class Searched:
    """What a search has seen.

    Attributes:
        columns: How many columns it has read.
        tables: How many tables they are of.
        hits: schema.table.column -> rows that hold one of the values.
        closed: Tables that no role given may read.
    """

    columns: int = 0
    tables: int = 0
    hits: dict[str, int] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)


def patterns(values: Iterable[str]) -> list[str]:
    """Regular expressions of Postgres for values as whole words, in text and as JSON writes them.

    No letter, digit or underscore may stand right before or behind, so that a number is not found in a longer one.
    """
    return [_apart(form) for form in _forms(values)]


def search(dsns: Sequence[str], values: Iterable[str]) -> Searched:
    """Search for values.

    Args:
        dsns: postgresql:// URIs of the roles that read the schemas between them; a table is read by the first that may.
        values: what to search for.

    Returns:
        What was found; columns without a hit are not among the hits.
    """
    found, forms = Searched(), sorted(_forms(values))
    exact = "|".join(patterns(forms)) if forms else "(?!)"
    # looking around costs; most rows are told by the values alone
    quick = "|".join(map(_literal, forms)) if forms else "(?!)"
    seen: set[str] = set()
    everything: set[str] = set()
    for dsn in dsns:
        with psycopg_session(dsn) as session:
            for table, columns, is_open in _tables(session):
                everything.add(table)
                if is_open and table not in seen:
                    seen.add(table)
                    found.tables += 1
                    found.columns += len(columns)
                    found.hits |= _hits(session, table, columns, quick, exact)
    found.closed = sorted(everything - seen)
    return found


def _tables(session: PsycopgSession) -> list[tuple[str, dict[str, str], bool]]:
    """Name, columns with their SQL as text, and whether all of them may be read, of each table that has text."""
    return [
        (str(name), dict(zip(columns, texts, strict=True)), bool(is_open))
        for name, columns, texts, is_open in session.execute(
            "select quote_ident(n.nspname) || '.' || quote_ident(c.relname), "
            "array_agg(quote_ident(a.attname) order by a.attnum), "
            "array_agg(case when t.typname ~ 'json' or coalesce(element.typname ~ 'json', false) "
            "then 'regexp_replace(' || quote_ident(a.attname) || '::text, ' || quote_literal('\\\\[nrtbf]') "
            "|| ', '' '', ''g'')' else quote_ident(a.attname) || '::text' end order by a.attnum), "
            "has_schema_privilege(n.oid, 'usage') and bool_and(has_column_privilege(c.oid, a.attnum, 'select')) "
            "from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
            "join pg_attribute as a on a.attrelid = c.oid join pg_type as t on t.oid = a.atttypid "
            "left join pg_type as element on element.oid = t.typelem "
            "where c.relkind in ('r', 'p', 'm') and not c.relispartition and n.nspname !~ '^pg_' "
            "and n.nspname <> 'information_schema' and a.attnum > 0 and not a.attisdropped "
            "and (t.typcategory = 'S' or t.typname in ('json', 'jsonb', 'xml') "
            "or (t.typcategory = 'A' and (element.typcategory = 'S' or element.typname in ('json', 'jsonb')))) "
            "group by n.oid, n.nspname, c.oid, c.relname order by 1",
        )
    ]


def _hits(session: PsycopgSession, table: str, columns: Mapping[str, str], quick: str, exact: str) -> dict[str, int]:
    counts = ", ".join(f"count(*) filter (where {text} ~ %s)" for text in columns.values())
    texts = ", ".join(columns.values())
    ((*rows,),) = session.execute(
        f"select {counts} from {table} where concat_ws(e'\\n', {texts}) ~ %s", [*(exact for _ in columns), quick]
    )
    return {f"{table}.{column}": int(count) for column, count in zip(columns, rows, strict=True) if count}


def _forms(values: Iterable[str]) -> set[str]:
    """As each value stands, and as JSON writes it, but for white space."""
    return {
        form
        for value in values
        for form in (value, _ESCAPED_BLANK.sub(" ", json.dumps(value, ensure_ascii=False)[1:-1]))
    }


def _apart(form: str) -> str:
    before = "(?<![[:alnum:]_])" if _WORD.match(form[0]) else ""
    behind = "(?![[:alnum:]_])" if _WORD.match(form[-1]) else ""
    return f"{before}{_literal(form)}{behind}"


def _literal(text: str) -> str:
    return re.sub(r"([^\w\s])", r"\\\1", text)
