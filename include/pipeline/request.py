"""The part of `source.yml` that says how an entity is asked for: request, paging, cursor."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")


def _snake_case(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not lower snake case of at most 30 letters, digits and underscores")
    return name


Name = Annotated[str, AfterValidator(_snake_case)]
Path = Annotated[
    str, Field(pattern=r"^\w+(\.\w+)*$", description="Keys of JSON objects, joined by dots: meta.next_token")
]


class Strict(BaseModel):
    """A mapping of the YAML: no key but those declared, and nothing changes it later."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class _Paging(Strict):
    max_pages: int = Field(default=10_000, ge=1)
    """a chain longer than this is refused: it has no end, or it should be asked for in smaller pieces"""
    size_parameter: str | None = None
    """query parameter that says how many records a page should have"""
    size: int | None = Field(default=None, ge=1)
    """its value"""

    @model_validator(mode="after")
    def _size_has_a_parameter(self) -> _Paging:
        if (self.size is None) != (self.size_parameter is None):
            raise ValueError("'size' and 'size_parameter' go together")
        return self


class PagePaging(_Paging):
    """Pages by number; the last is the one that `last` names, or else the first with fewer records than `size`."""

    kind: Literal["page"]
    parameter: str
    """query parameter of the page's number"""
    first: int = Field(default=1, ge=0)
    """number of the first page"""
    last: Path | None = None
    """path in an answer of the number of pages"""

    @model_validator(mode="after")
    def _end_can_be_told(self) -> PagePaging:
        if self.last is None and self.size is None:
            raise ValueError("needs 'last' or 'size' to tell which page is the last")
        return self


class OffsetPaging(_Paging):
    """Pages by the number of records before them; the last is the first with fewer records than `size`."""

    kind: Literal["offset"]
    parameter: str
    """query parameter of the number of records to pass over"""
    size_parameter: str
    size: int = Field(ge=1)


class TokenPaging(_Paging):
    """Each answer holds a token that asks for the next page; the last has none."""

    kind: Literal["token"]
    parameter: str
    """query parameter that takes the token"""
    next: Path
    """path of the token in an answer"""


class CursorPaging(_Paging):
    """The next page begins after the last record of this one; the last is the first without records."""

    kind: Literal["cursor"]
    parameter: str
    """query parameter that takes the value"""
    field: Path
    """path of the value in a record"""


class LinkPaging(_Paging):
    """Each answer links to the next page, in its body or in the header `Link` (RFC 8288); the last does not."""

    kind: Literal["link"]
    next: Path | None = None
    """path of the link in an answer"""
    header: bool = False
    """the link is in the header"""

    @model_validator(mode="after")
    def _one_place(self) -> LinkPaging:
        if (self.next is not None) == self.header:
            raise ValueError("needs either 'next' (a path in the answer) or 'header: true'")
        return self


PAGING: dict[str, type[_Paging]] = {
    "page": PagePaging,
    "offset": OffsetPaging,
    "token": TokenPaging,
    "cursor": CursorPaging,
    "link": LinkPaging,
}


def _kind(paging: object) -> str | None:
    kind = paging.get("kind") if isinstance(paging, dict) else getattr(paging, "kind", None)
    return kind if kind in PAGING else None


Paging = Annotated[
    Annotated[PagePaging, Tag("page")]
    | Annotated[OffsetPaging, Tag("offset")]
    | Annotated[TokenPaging, Tag("token")]
    | Annotated[CursorPaging, Tag("cursor")]
    | Annotated[LinkPaging, Tag("link")],
    Discriminator(
        _kind,
        custom_error_type="paging_kind",
        custom_error_message=f"kind is not one of {', '.join(PAGING)}; leave 'paging' out for a single answer",
    ),
]


class FromEntity(Strict):
    """Values for a request out of the records of another entity, which is fetched before."""

    entity: Name
    field: Path


class Request(Strict):
    """A GET; `{variable}` is filled from `for_each`, `{partition:%Y-%m}` from the run's partition."""

    path: str = Field(pattern="^/")
    query: dict[str, str] = Field(default={})
    headers: dict[str, str] = Field(default={})
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
    records: Path | None = None
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
    by: Path
    """path of a record's time (ISO 8601)"""


class Cursor(Strict):
    """Only what is new is asked for: the greatest `field` of what is in raw goes into `parameter`."""

    field: Path
    """path in a record of a value that only grows"""
    type: Literal["number", "timestamp", "text"]
    """how two values compare"""
    parameter: str
    """query parameter that takes the value; it is left out while there is none"""
    look_back: LookBack | None = None
