"""Names and values in SQL for Redshift, and what its errors say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redshift_connector.error import Error

LONGEST_TEXT = 65_535
"""bytes of a VARCHAR, of a literal and of a parameter, at the most"""


def quoted(name: str) -> str:
    """A name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str], of: str = "") -> str:
    """Names as a list of columns, of a table if one is given."""
    return ", ".join(f"{of}.{quoted(name)}" if of else quoted(name) for name in names)


def same(keys: Iterable[str], one: str, other: str) -> str:
    """The condition that two tables' keys are equal."""
    return " and ".join(f"{one}.{quoted(key)} = {other}.{quoted(key)}" for key in keys)


def numbers(values: Iterable[int]) -> str:
    """Whole numbers for `in (…)`; of none, a null, which is equal to nothing."""
    return ", ".join(str(int(value)) for value in values) or "null"


def text(value: str) -> str:
    """A literal. Redshift reads a backslash in one as the beginning of an escape: what has any goes as a parameter.

    Raises:
        ValueError: the text has a backslash.
    """
    if "\\" in value:
        raise ValueError("a literal of Redshift's cannot hold a backslash; give it as a parameter")
    return "'" + value.replace("'", "''") + "'"


def cut(value: str, most: int = LONGEST_TEXT) -> str:
    """A text that fits a VARCHAR, whose size is in bytes."""
    data = value.encode()
    return value if len(data) <= most else data[: most - 3].decode(errors="ignore") + "\N{HORIZONTAL ELLIPSIS}"


def said(fault: Error) -> str:
    """What Redshift says, in one line, without details, which may quote a row."""
    told = fault.args[0] if fault.args else ""
    message = str(told.get("M", told)) if isinstance(told, dict) else str(told)
    return re.sub(r"\s+", " ", message).strip()
