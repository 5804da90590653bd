"""Answers that come in pages: how an API's paging is described, and the walk through the pages.

Each kind of paging is a model of what `source.yml` says under `request.paging`, and knows the step from a page to the
next. A walk that does not end is refused: a chain that leads in a circle, a page that repeats the one before, more
pages than `max_pages`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import urljoin

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from include.extract.client import Answer, ApiClient, ApiError

KeyPath = Annotated[
    str, Field(pattern=r"^[\w-]+(\.[\w-]+)*$", description="Keys of JSON objects, joined by dots: meta.next_token")
]


class PagingError(ApiError):
    """The pages have no end, or cannot be followed. Asking again would give the same."""


@dataclass(frozen=True)
class Page:
    """One answer: its body as it came, and the records in it, parsed (numbers as text)."""

    body: bytes
    records: Sequence[Any]


@dataclass(frozen=True)
class Step:
    """What asks for the next page: parameters beside the request's own, or a link instead of it."""

    query: Mapping[str, str] = field(default_factory=dict)
    link: str | None = None


class Strict(BaseModel):
    """A mapping of the YAML: no key but those declared, and nothing changes it later."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class _Paging(Strict, ABC):
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

    def first_step(self) -> Step:
        """What asks for the first page."""
        return Step()

    @abstractmethod
    def next_step(self, number: int, document: object, records: Sequence[Any], answer: Answer) -> Step | None:
        """What asks for the page after this one, or None after the last.

        Args:
            number: of this page, from 0.
            document: its body, parsed.
            records: the records in it.
            answer: it, as it came.
        """


class PagePaging(_Paging):
    """Pages by number; the last is the one that `last` names, or else the first with fewer records than `size`."""

    kind: Literal["page"]
    parameter: str
    """query parameter of the page's number"""
    first: int = Field(default=1, ge=0)
    """number of the first page"""
    last: KeyPath | None = None
    """path in an answer of the number of pages"""

    @model_validator(mode="after")
    def _end_can_be_told(self) -> PagePaging:
        if self.last is None and self.size is None:
            raise ValueError("needs 'last' or 'size' to tell which page is the last")
        return self

    def first_step(self) -> Step:
        """The first page by its number."""
        return Step({self.parameter: str(self.first)})

    def next_step(self, number: int, document: object, records: Sequence[Any], answer: Answer) -> Step | None:  # noqa: ARG002
        """The next number."""
        if self.last is not None:
            pages = value_at(document, self.last)
            if pages is None or not str(pages).isdecimal():
                raise PagingError(f"paging.last: the answer has no number of pages at {self.last} but {pages!r}")
            is_last = number + 1 >= int(str(pages))
        else:
            is_last = len(records) < (self.size or 1)
        return None if is_last else Step({self.parameter: str(self.first + number + 1)})


class OffsetPaging(_Paging):
    """Pages by the number of records before them; the last is the first with fewer records than `size`."""

    kind: Literal["offset"]
    parameter: str
    """query parameter of the number of records to pass over"""
    size_parameter: str
    """query parameter that says how many records a page should have"""
    size: int = Field(ge=1)
    """its value"""

    def first_step(self) -> Step:
        """No record passed over."""
        return Step({self.parameter: "0"})

    def next_step(self, number: int, document: object, records: Sequence[Any], answer: Answer) -> Step | None:  # noqa: ARG002
        """All records so far passed over."""
        return Step({self.parameter: str((number + 1) * self.size)}) if len(records) >= self.size else None


class TokenPaging(_Paging):
    """Each answer holds a token that asks for the next page; the last has none."""

    kind: Literal["token"]
    parameter: str
    """query parameter that takes the token"""
    next: KeyPath
    """path of the token in an answer"""

    def next_step(self, number: int, document: object, records: Sequence[Any], answer: Answer) -> Step | None:  # noqa: ARG002
        """The token of this page."""
        token = value_at(document, self.next)
        return Step({self.parameter: str(token)}) if token not in (None, "") else None


class CursorPaging(_Paging):
    """The next page begins after the last record of this one; the last is the first without records."""

    kind: Literal["cursor"]
    parameter: str
    """query parameter that takes the value"""
    field: KeyPath
    """path of the value in a record"""

    def next_step(self, number: int, document: object, records: Sequence[Any], answer: Answer) -> Step | None:  # noqa: ARG002
        """The value of the last record."""
        if not records:
            return None
        value = value_at(records[-1], self.field)
        if value is None:
            raise PagingError(f"paging.field: the last record of a page has no {self.field}")
        return Step({self.parameter: str(value)})


class LinkPaging(_Paging):
    """Each answer links to the next page, in its body or in the header `Link` (RFC 8288); the last does not."""

    kind: Literal["link"]
    next: KeyPath | None = None
    """path of the link in an answer"""
    header: bool = False
    """the link is in the header"""

    @model_validator(mode="after")
    def _one_place(self) -> LinkPaging:
        if (self.next is not None) == self.header:
            raise ValueError("needs either 'next' (a path in the answer) or 'header: true'")
        return self

    def next_step(self, number: int, document: object, records: Sequence[Any], answer: Answer) -> Step | None:  # noqa: ARG002
        """The link of this page, made absolute."""
        link = answer.next_link if self.next is None else value_at(document, self.next)
        return Step(link=urljoin(answer.url, str(link))) if link not in (None, "") else None


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


def iter_pages(
    client: ApiClient,
    path: str,
    query: Mapping[str, str],
    *,
    paging: Paging,
    records: str | None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Page]:
    """Walk through the pages of an answer, one request at a time.

    Args:
        client: asks.
        path: below the API's base URL.
        query: parameters of every page.
        paging: how pages follow one another.
        records: path of the records in an answer; None where the answer is the array of them.
        headers: beside the key.

    Raises:
        PagingError: there is no end, or the next page cannot be told.
        ApiError: a page could not be had, or is not JSON.
    """
    fixed = {**query, **({paging.size_parameter: str(paging.size)} if paging.size_parameter else {})}
    step = paging.first_step()
    seen = {step_key(step)}
    before = b""
    for number in range(paging.max_pages):
        where, asked = (step.link, {}) if step.link else (path, {**fixed, **step.query})
        answer = client.ask(where, asked, headers=headers)
        shown = client.url(where, asked)
        try:
            document = json.loads(answer.body, parse_int=str, parse_float=str)
        except (ValueError, RecursionError) as fault:
            raise ApiError(
                f"GET {shown} answered with what is not JSON ({fault}); if it stays so, tell the API's owner"
            ) from None
        found = records_in(document, records)
        digest = hashlib.sha256(answer.body).digest()
        if found and digest == before:
            raise PagingError(
                f"GET {shown}: page {number + 1} is the same as the one before: the API does not heed the parameters "
                f"{', '.join(step.query)}; mend request.paging"
            )
        before = digest
        yield Page(answer.body, found)
        following = paging.next_step(number, document, found, answer)
        if following is None:
            return
        if step_key(following) in seen:
            raise PagingError(
                f"GET {shown}: the page after page {number + 1} is one that was fetched before: the API leads in a "
                "circle, and nothing was landed"
            )
        step = following
        seen.add(step_key(step))
    raise PagingError(
        f"GET {client.url(path, fixed)}: more than {paging.max_pages} pages, and nothing was landed; raise "
        "request.paging.max_pages, or ask for less at a time"
    )


def step_key(step: Step) -> bytes:
    """What tells one step from another, in few bytes."""
    return hashlib.sha256(repr((sorted(step.query.items()), step.link)).encode()).digest()[:16]


def records_in(document: object, path: str | None) -> Sequence[Any]:
    """The records of a parsed answer: those at a path, none where it leads nowhere.

    Raises:
        PagingError: there is something else than an array or an object.
    """
    found = value_at(document, path) if path else document
    if found is None:
        return []
    if isinstance(found, dict):
        return [found]
    if isinstance(found, list):
        return found
    raise PagingError(
        f"request.records: at {path or 'the top'} of the answer is {type(found).__name__}, no array or object"
    )


def value_at(document: object, path: str) -> Any:  # noqa: ANN401 - JSON
    """The value at a path of keys joined by dots, None where it leads nowhere."""
    for key in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document
