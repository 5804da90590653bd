"""Columns of a sample: a type that holds all values, a name for dbt, whether it may be missing, what is personal."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa

from include.pipeline.model import FieldType
from local.exact_json import Number
from local.new_source.sample import Sample

TYPES: tuple[FieldType, ...] = get_args(FieldType)
SQL_TYPES: Mapping[str, str] = {
    "bigint": "bigint",
    "double": "double precision",
    "text": "text",
    "timestamp": "timestamp with time zone",
    "date": "date",
    "boolean": "boolean",
}
LONGEST_NAME = 50
"""of the 63 bytes that Postgres keeps"""

_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_REAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(?P<offset>Z|[+-][0-9]{2}:?[0-9]{2})?"
)

# The first that fits counts; a name is looked at in snake case.
_PII = (
    ("email", r"(^|_)e_?mails?(_address)?$"),
    ("phone", r"(^|_)(tele)?phones?(_number)?$|(^|_)mobile(_number)?$|^msisdn$"),
    ("iban", r"(^|_)iban$|(^|_)account_number$"),
    ("card", r"(^|_)(credit_)?card_number$"),
    ("personal_number", r"(^|_)(ssn|social_security_number|personal_number|national_id|passport(_number)?|tax_id)$"),
    ("birth_date", r"(^|_)(birth_?da(te|y)|date_of_birth|dob|born(_at|_on)?)$"),
    ("ip_address", r"(^|_)ip(_address|v4|v6)?$"),
    ("mac_address", r"(^|_)mac(_address)?$"),
    ("address", r"^(postal_|street_|home_|billing_|shipping_)?address(_line)?(_?[0-9])?$|^street$"),
    ("user_name", r"^(user_?name|login|screen_name)$"),
    ("name", r"^(first|last|middle|full|given|family|sur|person|customer|contact|owner|patient)_?names?$"),
)
_PERSONS = re.compile(
    r"(^|_)(person|people|user|customer|contact|member|employee|patient|student|driver|passenger|author|subscriber)s?$"
)


@dataclass(frozen=True)
class Column:
    """A column of the sample.

    Attributes:
        original: Its name in the records; of files in lower case.
        name: Its name in dbt.
        type: One of source.yml's types.
        optional: Some record lacks it.
        has_nulls: Some record has no value for it.
        has_offset: Its timestamps say their offset from UTC.
        is_nested: It holds objects or arrays, which become JSON text.
        is_key: It looks like an identifier, and no two records share a value.
        pii: Kind of personal data, or None.
    """

    original: str
    name: str
    type: FieldType
    optional: bool = False
    has_nulls: bool = False
    has_offset: bool = False
    is_nested: bool = False
    is_key: bool = False
    pii: str | None = None

    @property
    def sql_type(self) -> str:
        """Its type in the warehouse."""
        return SQL_TYPES[self.type]


def columns_of(sample: Sample, entity: str, pii: Mapping[str, str]) -> list[Column]:
    """The columns of a sample, in the order in which they first appear.

    Args:
        sample: The records.
        entity: What one of them is part of; lends its name to columns whose own is a word of SQL.
        pii: Column -> kind of personal data, as asked for; "none" for one that holds none.
    """
    found: list[Column] = []
    taken: set[str] = {"_landing_id", "_row", "_loaded_at"}
    for original in dict.fromkeys(name for record in sample.records for name in record):
        values = [record[original] for record in sample.records if original in record]
        there = [value for value in values if value is not None and not (sample.is_file and value == "")]
        arrow = sample.types.get(original)
        kind, has_offset = _arrow_type(arrow) if arrow is not None else _type_of(there, of_texts=sample.is_file)
        plain = snake_case(original)
        name = _free(_named(plain, kind, entity), taken)
        asked = pii.get(original) or pii.get(name) or pii.get(plain)
        found.append(
            Column(
                original=original,
                name=name,
                type=kind,
                optional=len(values) < len(sample.records),
                has_nulls=len(there) < len(sample.records),
                has_offset=has_offset,
                is_nested=any(isinstance(value, (dict, list)) for value in there),
                is_key=_is_key(plain, kind, there, len(sample.records)),
                pii=asked if asked != "none" and asked else None if asked else _guessed_pii(plain, kind, entity),
            )
        )
    return found


def key_of(columns: Sequence[Column]) -> list[Column]:
    """The column that tells records apart, by its looks: the one most like a plain `id`; none if there is none."""
    ranks = (r"id", r"(uu|gu|unique_)id|uid", r".*_(uu|gu|u)?id", r"key|code|number|slug|reference|ref", r".*")
    candidates = [column for column in columns if column.is_key]
    return sorted(
        candidates, key=lambda c: next(i for i, r in enumerate(ranks) if re.fullmatch(r, snake_case(c.original)))
    )[:1]


def snake_case(name: str) -> str:
    """A name as Python and SQL write it: `Order ID`, `orderId` and `ORDER-ID` are order_id."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", plain))
    snake = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:LONGEST_NAME].strip("_")
    return snake if snake[:1].isalpha() else f"column_{snake}".rstrip("_")


def singular(entity: str) -> str:
    """One of them, as far as rules go: departures -> departure, cities -> city."""
    if len(entity) > 4 and entity.endswith("ies"):
        return f"{entity[:-3]}y"
    if re.search(r"(s|x|z|ch|sh)es$", entity) and len(entity) > 4:
        return entity[:-2]
    return (
        entity[:-1] if entity.endswith("s") and not entity.endswith(("ss", "us", "is")) and len(entity) > 3 else entity
    )


@cache
def keywords() -> frozenset[str]:
    """Words of Postgres' and Redshift's SQL, which no column should be called."""
    return frozenset((Path(__file__).with_name("keywords.txt")).read_text(encoding="utf-8").split())


def is_plain(name: str) -> bool:
    """Whether SQL takes the name of a raw column without quotes."""
    return re.fullmatch(r"[a-z_][a-z0-9_]*", name) is not None and name not in keywords()


def _free(name: str, taken: set[str]) -> str:
    """The name, or the name with the first number that makes it one of its own; a suffix that says the type stays."""
    candidate, number = name, 1
    found = re.fullmatch(r"(.+?)(_at|_date)?", name)
    stem, suffix = (found[1], found[2] or "") if found else (name, "")
    while candidate in taken:
        number += 1
        candidate = f"{stem}_{number}{suffix}"
    taken.add(candidate)
    return candidate


def _named(name: str, kind: FieldType, entity: str) -> str:
    """The name that dbt's conventions want for a column of this type (tests/dbt/test_policy.py)."""
    if kind == "timestamp" and name in ("at", "date", "datetime", "time", "timestamp", "ts", "when"):
        name = f"{singular(entity)}_at"
    elif kind == "timestamp" and not name.endswith(("_at", "_at_local")):
        name = re.sub(r"_(at|on|time|timestamp|datetime|date|ts|utc)$", "", name) + "_at"
    elif kind == "date" and name in ("date", "day", "month"):
        name = f"{singular(entity)}_{name}"
    elif kind == "date" and not name.endswith(("_date", "_day", "_month")):
        name = re.sub(r"_(at|on)$", "", name) + "_date"
    elif kind == "boolean" and not name.startswith(("is_", "has_")):
        name = f"is_{name}"
    elif kind != "boolean" and name.startswith(("is_", "has_")):
        name = f"{name}_text" if kind == "text" else f"{name.split('_', 1)[1]}_value"
        name = re.sub(r"^(is|has)_", "", name)
    if name.endswith("_key"):  # those are the keys of dimensions
        name = f"{name.removesuffix('_key')}_code"
    if name in keywords():
        name = f"{singular(entity)}_{name}"
    return name[-LONGEST_NAME:].lstrip("_0123456789") if len(name) > LONGEST_NAME else name


def _is_key(name: str, kind: FieldType, there: Sequence[Any], records: int) -> bool:
    like_an_id = re.search(r"(^|_)(id|uuid|guid|uid|key|code|number|slug|reference|ref)$", name)
    if not like_an_id or kind not in ("bigint", "text") or len(there) < records:
        return False
    values = {str(value) for value in there if isinstance(value, (str, int)) and not isinstance(value, bool)}
    return len(values) == records


def _guessed_pii(name: str, kind: FieldType, entity: str) -> str | None:
    if kind in ("boolean", "double"):
        return None
    if name == "name" and _PERSONS.search(entity):
        return "name"
    return next((what for what, pattern in _PII if re.search(pattern, name)), None)


def _type_of(there: Iterable[Any], *, of_texts: bool) -> tuple[FieldType, bool]:
    """The narrowest type that holds all values, and whether they are times that say their offset."""
    kinds = {_kind(value, of_texts=of_texts) for value in there}
    if len(kinds) == 1:
        match kinds.pop():
            case "instant":
                return "timestamp", True
            case "timestamp" | "date" | "boolean" | "bigint" | "double" as kind:
                return kind, False
        return "text", False
    return ("double", False) if kinds == {"bigint", "double"} else ("text", False)


def _kind(value: object, *, of_texts: bool) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Number) or (of_texts and isinstance(value, str)):
        text = value.strip() if of_texts else value
        if _WHOLE.fullmatch(text) and -(2**63) <= int(text) < 2**63:
            return "bigint"
        if _REAL.fullmatch(text) and _fits_double(text):
            return "double"
        if of_texts and text.lower() in ("true", "false"):
            return "boolean"
        if isinstance(value, Number):
            return "text"
    if isinstance(value, str):
        return _kind_of_text(value.strip() if of_texts else value)
    return "text"


def _fits_double(text: str) -> bool:
    """Whether a double says the same, as far as its 15 digits go: 1e400 and a number of 78 digits are no doubles."""
    number = Decimal(text)
    if not number:
        return True
    digits = number.normalize().as_tuple().digits
    return len(digits) <= 17 and -300 < number.adjusted() < 300


def _kind_of_text(text: str) -> str:
    try:
        if _DATE.fullmatch(text):
            date.fromisoformat(text)
            return "date"
        if found := _TIME.fullmatch(text):
            datetime.fromisoformat(re.sub(r"\.[0-9]+", "", text).replace("Z", "+00:00"))
            return "instant" if found["offset"] else "timestamp"
    except ValueError:
        pass
    return "text"


def _arrow_type(kind: pa.DataType) -> tuple[FieldType, bool]:
    if pa.types.is_dictionary(kind):
        return _arrow_type(kind.value_type)
    if pa.types.is_boolean(kind):
        return "boolean", False
    if pa.types.is_integer(kind):
        return "bigint", False
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "double", False
    if pa.types.is_timestamp(kind):
        return "timestamp", False
    return ("date" if pa.types.is_date(kind) else "text"), False
