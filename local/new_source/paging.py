"""How an API's pages follow one another: as asked for (`token:cursor:meta.next`), or as its answer looks."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from include.extract.paging import Paging
from local.exact_json import Number
from local.home import LocalError
from local.new_source.forms import FORMS
from local.new_source.sample import Sample

_TOKENS = {
    "next_token": "next_token",
    "next_cursor": "cursor",
    "next_page_token": "page_token",
    "nextPageToken": "pageToken",
    "nextToken": "nextToken",
    "nextCursor": "cursor",
    "cursor": "cursor",
    "continuation": "continuation",
    "continuation_token": "continuation_token",
    "next": "next",
}
"""member of an answer -> the parameter that most APIs take it by"""
_PAGES = ("total_pages", "totalPages", "page_count", "pageCount", "last_page", "lastPage", "pages", "num_pages")
_LINKS = ("next", "next_url", "nextUrl", "next_link", "nextLink", "@odata.nextLink", "next_page_url")


def parsed(text: str) -> dict[str, Any] | None:
    """What `request.paging` is for a wish like `token:cursor:meta.next`; None for `none`.

    Raises:
        LocalError: It is none of FORMS.
    """
    kind, _, rest = text.partition(":")
    first, _, second = rest.partition(":")
    if text == "none":
        return None
    content: dict[str, Any] = {"kind": kind}
    match kind:
        case "page" if "=" not in second and second:
            content |= {"parameter": first, "last": second}
        case "page" | "offset" if "=" in second:
            name, _, size = second.partition("=")
            content |= {"parameter": first, "size_parameter": name, "size": size}
        case "token" if second:
            content |= {"parameter": first, "next": second}
        case "cursor" if second:
            content |= {"parameter": first, "field": second}
        case "link" if first and not second:
            content["header" if first == "header" else "next"] = first == "header" or first
        case _:
            raise LocalError(f"--paging {text!r} is none of: {'; '.join(FORMS)}")
    try:
        model = TypeAdapter(Paging).validate_python(content)
    except ValidationError as faults:
        said = "; ".join(f"{'.'.join(map(str, fault['loc'][1:]))} {fault['msg']}".strip() for fault in faults.errors())
        raise LocalError(f"--paging {text!r}: {said}; the forms are: {'; '.join(FORMS)}") from None
    return {name: getattr(model, name) for name in content}


def shown(paging: Mapping[str, Any] | None) -> str:
    """The wish that says the same."""
    if paging is None:
        return "none"
    match paging:
        case {"kind": "link"}:
            return f"link:{paging.get('next', 'header')}"
        case {"size_parameter": name, "size": size}:
            return f"{paging['kind']}:{paging['parameter']}:{name}={size}"
    (last,) = (paging[name] for name in ("last", "next", "field") if name in paging)
    return f"{paging['kind']}:{paging['parameter']}:{last}"


def guessed(sample: Sample, query: Mapping[str, str]) -> dict[str, Any] | None:
    """The paging that an answer looks like, from what stands beside its records; None if it looks like none.

    Args:
        sample: The answer.
        query: Parameters that it was asked with.
    """
    beside = list(_beside(sample.document, sample.path))
    for path, name, value in beside:
        if name in _LINKS and _is_link(value) and _is_path(path):
            return {"kind": "link", "next": path}
    for path, name, value in beside:
        is_token = isinstance(value, str) and not _is_link(value) and value
        if name in _TOKENS and is_token and _is_path(path):
            return {"kind": "token", "parameter": _TOKENS[name], "next": path}
    for path, name, value in beside:
        if name in _PAGES and isinstance(value, Number) and value.isdecimal() and _is_path(path):
            return {"kind": "page", "parameter": "page", "last": path}
    names = {name for _, name, _ in beside}
    size = next((name for name in ("limit", "per_page", "page_size", "pageSize") if name in names | query.keys()), None)
    asked = query.get(size or "") or next((str(value) for _, name, value in beside if name == size), "")
    if "offset" in names | query.keys() and size and asked.isdecimal() and int(asked) > 0:
        return {"kind": "offset", "parameter": "offset", "size_parameter": size, "size": int(asked)}
    for path, name, value in beside:
        # the last page, or the only one, has none: what a link would be called is most often one
        if name in _LINKS[:3] and value is None and _is_path(path):
            return {"kind": "link", "next": path}
    return None


def parameters(paging: Mapping[str, Any] | None) -> set[str]:
    """Query parameters that the paging sets itself."""
    return {str(paging[name]) for name in ("parameter", "size_parameter") if paging and paging.get(name)}


def _beside(document: object, records: tuple[str, ...]) -> Iterator[tuple[str, str, Any]]:
    """Path, name and value of the members around the records, two levels deep."""
    if not isinstance(document, dict) or not records:
        return
    for name, value in document.items():
        if name == records[0] and len(records) == 1:
            continue
        yield name, name, value
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", inner, one) for inner, one in value.items() if not isinstance(one, list))


def _is_link(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, Number) and re.match(r"https?://|/|\?", value) is not None


def _is_path(path: str) -> bool:
    return re.fullmatch(r"[\w-]+(\.[\w-]+)*", path) is not None
