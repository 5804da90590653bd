"""The part of `source.yml` that says how an entity is asked for: request, paging, cursor."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from include.extract.paging import KeyPath, Paging, Strict

_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")


def _snake_case(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not lower snake case of at most 30 letters, digits and underscores")
    return name


Name = Annotated[str, AfterValidator(_snake_case)]


class FromEntity(Strict):
    """Values for a request out of the records of another entity, which is fetched before."""

    entity: Name
    """the other entity"""
    field: KeyPath
    """path of the value in its records"""


class Request(Strict):
    """A GET; `{variable}` is filled from `for_each`, `{partition:%Y-%m}` from the run's partition."""

    path: str = Field(pattern="^/")
    """below the connection's address"""
    query: dict[str, str] = Field(default={})
    """query parameters, without the key"""
    headers: dict[str, str] = Field(default={})
    """request headers, without the key"""
    for_each: dict[
        str,
        Annotated[
            Annotated[str, Tag("of_param")] | Annotated[FromEntity, Tag("of_entity")],
            Discriminator(lambda use: "of_param" if isinstance(use, str) else "of_entity"),
        ],
    ] = Field(default={})
    """variable -> the parameter whose values it takes, or {entity, field}: one request a value"""
    at_once: int = Field(default=1, ge=1, le=32)
    """requests that may be under way at the same time"""
    paging: Paging | None = None
    """how the pages of an answer follow one another; without it there is one"""
    records: KeyPath | None = None
    """path of the records in an answer: an array, or one object; without it the answer is the record or an array"""

    @property
    def params(self) -> dict[str, str]:
        """Variable -> parameter, for those that take a parameter's values."""
        return {variable: use for variable, use in self.for_each.items() if isinstance(use, str)}

    @property
    def parents(self) -> dict[str, FromEntity]:
        """Variable -> entity and field, for those that take another entity's values."""
        return {variable: use for variable, use in self.for_each.items() if isinstance(use, FromEntity)}


class LookBack(Strict):
    """How far before the cursor a run asks again, for records that are late or change."""

    days: int = Field(ge=1)
    """before the day of the run"""
    by: KeyPath
    """path of a record's time (ISO 8601)"""


class Cursor(Strict):
    """Only what is new is asked for: the greatest `field` of what is in raw goes into `parameter`."""

    field: KeyPath
    """path in a record of a value that only grows"""
    type: Literal["number", "timestamp", "text"]
    """how two values compare"""
    parameter: str
    """query parameter that takes the value; it is left out while there is none"""
    look_back: LookBack | None = None
    """what is asked for again although it lies before the cursor"""
