"""What those see of a personal column who may not see it: one table of kinds, one place where masks are made.

The kinds are those of `pii:` in source.yml and of `meta.pii` in dbt's yml. A view in `analytics` shows the mask to all
but members of `pii_reader`. dbt's macros `masked` and `masked_after_five` give the same for the mart `non_pii_data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

CLEAR_FOR: Final = "pii_reader"
"""members of this role see clear values"""

Mask = Literal["full", "first five"]

MASKS: Final[Mapping[str, Mask]] = {
    "name": "full",
    "personal_number": "full",
    "birth_date": "full",
    "address": "full",
    "phone": "full",
    "person_id": "full",
    "user_name": "first five",
    "email": "first five",
    "mac_address": "first five",
    "ip_address": "first five",
    "iban": "first five",
}
"""kind -> mask; a kind that is not here is masked in full"""

# no length, and not whether there is a value: both say something of the person
_EXPRESSIONS: Final[Mapping[Mask, str]] = {
    "full": "'*****'",
    "first five": "pg_catalog.left(coalesce({value}, ''), 5) || '*****'",
}


def mask(kind: str) -> Mask:
    """The mask of a kind of personal data."""
    return MASKS.get(kind, "full")


def masked(column: str, kind: str, *, is_text: bool) -> str:
    """The mask of a column as an SQL expression; null where the column is no text.

    Args:
        column: the column, quoted.
        kind: of personal data, as in `meta.pii`.
        is_text: whether the column's type is a text.
    """
    return _EXPRESSIONS[mask(kind)].format(value=f"{column}::text") if is_text else "null"


def for_readers(column: str, kind: str, *, is_text: bool) -> str:
    """What a view selects: the clear value for members of `pii_reader`, the mask for all others.

    The values are in the select list alone, and the planner has no statistics of such an expression: nothing that a
    query does with the column (a function in its WHERE, an error, an estimate) meets more than its reader may see.
    """
    # a subquery, which Postgres asks once a query and not once a row
    clear = f"(select pg_catalog.pg_has_role('{CLEAR_FOR}', 'usage'))"
    value = f"{column}::text" if is_text else column
    return f"case when {clear} then {value} else {masked(column, kind, is_text=is_text)} end"
