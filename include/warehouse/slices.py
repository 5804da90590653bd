"""Which slices of a published mart a publish has changed, so that what copies marts elsewhere copies no more than that.

A slice is the rows that have the same values of `Mart.slice_by`; its name is those values as text, `("green",
"2024-01-01")`, a month as `2024-01`, what is null as None. Publish books in `ops.publication.slices` which slices it
took rows from or put rows into (`changed` as JSON), in its own transaction. Null stands for all of them: the shape has
changed, or a version booked it that knew no slices.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from include.warehouse.marts import Mart, SliceBy
    from include.warehouse.session import PsycopgSession, Session

Slice = tuple[str | None, ...]

_SHAPES = {"day": "YYYY-MM-DD", "month": "YYYY-MM", "year": "YYYY"}
_FIRST_DAY = {"day": "{}", "month": "{}-01", "year": "{}-01-01"}


def expressions(session: Session, relation: str, mart: Mart, alias: str = "") -> list[str]:
    """SQL of the values that name a row's slice, as text.

    Args:
        session: one that sees the relation.
        relation: where the mart lies, qualified and quoted.
        mart: what says how it is parted.
        alias: of the relation in the statement.
    """
    types = _types(session, relation, mart)
    return [
        _expression(by, types[by.column], f'{alias}."{by.column}"' if alias else f'"{by.column}"')
        for by in mart.slice_by
    ]


def condition(session: Session, relation: str, mart: Mart, one: Slice) -> str:
    """SQL that holds for the rows of a slice alone; a range of the column itself, which an index serves."""
    return condition_of(mart, one, _types(session, relation, mart))


def condition_of(mart: Mart, one: Slice, types: Mapping[str, str]) -> str:
    """The same where the columns that it is parted by have these types, by Postgres's names."""
    held = (_holds(by, types[by.column], value) for by, value in zip(mart.slice_by, one, strict=True))
    return " and ".join(held) or "true"


def all_slices(session: Session, relation: str, mart: Mart) -> list[Slice]:
    """Every slice that has rows, in order; of a mart that is not parted, its one."""
    if not mart.slice_by:
        return [()]
    named = ", ".join(expressions(session, relation, mart))
    return sorted_slices(tuple(row) for row in session.execute(f"select distinct {named} from {relation}"))


def of_rows(session: PsycopgSession, relation: str, mart: Mart, where: str, parameters: Sequence[object]) -> set[Slice]:
    """The slices that some rows are in."""
    named = ", ".join(expressions(session, relation, mart)) or "null"
    session.cursor.execute(f"select distinct {named} from {relation} where {where}", parameters)
    return {tuple(row) if mart.slice_by else () for row in session.cursor.fetchall()}


def moved(
    session: PsycopgSession, statement: str, parameters: Sequence[object], named: Sequence[str]
) -> tuple[int, set[Slice]]:
    """Run an insert, update or delete; how many rows it moved, and the slices that they are in.

    Args:
        session: publish's.
        statement: without `returning`.
        parameters: of it.
        named: what `expressions` gives.
    """
    cursor = session.cursor
    if not named:
        cursor.execute(statement, parameters)
        return cursor.rowcount, {()} if cursor.rowcount else set()
    listed = ", ".join(f"{expression} as s{number}" for number, expression in enumerate(named))
    names = ", ".join(f"s{number}" for number, _ in enumerate(named))
    cursor.execute(
        f"with moved as ({statement} returning {listed}) select count(*), {names} from moved group by {names}",
        parameters,
    )
    rows = cursor.fetchall()
    return sum(row[0] for row in rows), {tuple(row[1:]) for row in rows}


def booked(mart: Mart, changed: Iterable[Slice] | None) -> str | None:
    """What `ops.publication.slices` holds of them: `{"by": […], "slices": [[…], …]}`, or null for all."""
    if changed is None:
        return None
    by = [one.name for one in mart.slice_by]
    return json.dumps({"by": by, "slices": [list(one) for one in sorted_slices(changed)]})


def read_booked(mart: Mart, text: str | None) -> set[Slice] | None:
    """The slices that a publication has booked; None for all, as where the mart was parted in another way then."""
    held: dict[str, Any] | None = json.loads(text) if text else None
    if held is None or held["by"] != [one.name for one in mart.slice_by]:
        return None
    return {tuple(one) for one in held["slices"]}


def sorted_slices(found: Iterable[Slice]) -> list[Slice]:
    """In the order of their names, null first."""
    return sorted(found, key=lambda one: [(value is not None, value or "") for value in one])


def literal(value: str) -> str:
    """A text as SQL writes it (https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-STRINGS)."""
    return "'" + value.replace("'", "''") + "'"


def _types(session: Session, relation: str, mart: Mart) -> dict[str, str]:
    if not mart.slice_by:
        return {}
    rows = session.execute(
        "select attname::text, atttypid::regtype::text from pg_attribute "
        "where attrelid = to_regclass(%s) and attnum > 0",
        (relation,),
    )
    return dict(rows)


def _expression(by: SliceBy, kind: str, column: str) -> str:
    if by.grain is None:
        return f"{column}::text"
    at = f"{column} at time zone 'UTC'" if kind == "timestamp with time zone" else column
    return f"to_char({at}, '{_SHAPES[by.grain]}')"


def _holds(by: SliceBy, kind: str, value: str | None) -> str:
    column = f'"{by.column}"'
    if value is None:
        return f"{column} is null"
    if by.grain is None:
        return f"{column} = {literal(value)}::{kind}"
    first = literal(_FIRST_DAY[by.grain].format(value))
    begin, end = f"{first}::timestamp", f"({first}::timestamp + interval '1 {by.grain}')"
    if kind == "timestamp with time zone":
        begin, end = f"{begin} at time zone 'UTC'", f"{end} at time zone 'UTC'"
    elif kind == "date":
        begin, end = f"{begin}::date", f"{end}::date"
    return f"{column} >= {begin} and {column} < {end}"
