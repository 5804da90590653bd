"""Sources that `./sluice new-source` has made: the sample in a source's folder, served as its API would.

`include/sources/<source>/samples/<entity>.<format>` answers to `GET /samples/<connection>` and the entity's path, page
by page as source.yml says, and with the key where it wants one. Folders are read when they are asked for, so a new one
is there at once.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from include.extract.paging import (
    CursorPaging,
    LinkPaging,
    OffsetPaging,
    PagePaging,
    Paging,
    TokenPaging,
    records_in,
    value_at,
)
from include.pipeline.model import SOURCES, Entity, Source, SourceError, load_source, source_names
from local import exact_json
from local.sandbox.access import is_accepted
from local.sandbox.settings import Settings

NAME = "samples"
_TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def router(settings: Settings, folder: Path = SOURCES) -> APIRouter:
    """The routes of all samples in a folder of sources."""
    routes = APIRouter(tags=[NAME])

    # A plain function: FastAPI runs it on its threads, for it reads files.
    @routes.get("/samples/{connection}/{path:path}")
    def sample(connection: str, path: str, request: Request) -> Response:
        """The sample of the entity that has this path."""
        found = next(_entities(folder, connection, f"/{path}"), None)
        if found is None:
            return _refusal(404, f"no source of the connection {connection} has an entity with the path /{path}")
        source, name, entity = found
        if not _is_allowed(source, request, settings):
            return _refusal(401, "the key is missing or not known")
        file = folder / source.name / "samples" / f"{name}.{entity.format}"
        if not file.is_file():
            return _refusal(404, f"there is no sample {file.relative_to(folder)}")
        content = file.read_bytes()
        if entity.format == "json" and entity.request and entity.request.paging:
            return _page(content, entity.request.paging, entity.request.records, request)
        return Response(content, media_type=_TYPES[entity.format])

    return routes


def _refusal(status: int, message: str) -> Response:
    return Response(json.dumps({"error": message}), status, media_type="application/json")


def _entities(folder: Path, connection: str, path: str) -> Iterator[tuple[Source, str, Entity]]:
    """The entities of a connection's sources that are asked for by a path; a broken folder has none."""
    for source_name in source_names(folder):
        try:
            source = load_source(source_name, folder)
        except SourceError:
            continue
        for name, entity in source.entities.items() if source.connection == connection else ():
            if entity.request and re.fullmatch(_pattern(entity.request.path), path):
                yield source, name, entity


def _pattern(template: str) -> str:
    """A request's path as a pattern: what stands in braces may be anything within a step."""
    literal = {"{{": r"\{", "}}": r"\}"}
    parts = re.split(r"(\{\{|\}\}|\{[^}]*\})", template)
    return "".join(literal.get(part) or ("[^/]+" if part.startswith("{") else re.escape(part)) for part in parts)


def _is_allowed(source: Source, request: Request, settings: Settings) -> bool:
    if source.auth is None:
        return True
    given = (request.query_params if source.auth.place == "query" else request.headers).get(source.auth.name) or ""
    return given.startswith(source.auth.prefix) and is_accepted(
        given.removeprefix(source.auth.prefix), settings.samples_key
    )


# --- pages ------------------------------------------------------------------------------------------------------------


def _page(content: bytes, paging: Paging, path: str | None, request: Request) -> Response:
    """One page of an answer, half of the sample where the request does not say how many records it wants."""
    document = exact_json.parse(content)
    records = list(records_in(document, path))
    asked = request.query_params
    usual = paging.size or max(1, math.ceil(len(records) / 2))
    size = _whole(asked.get(paging.size_parameter or "", ""), usual) or usual
    start = _start(paging, records, asked, size)
    page, pages = records[start : start + size], max(1, math.ceil(len(records) / size))
    has_next = start + size < len(records)
    headers = {}
    match paging:
        case PagePaging(last=str(last)):
            document = _with(document, last, exact_json.Number(pages))
        case TokenPaging(next=following):
            document = _with(document, following, f"from-{start + size}" if has_next else None)
        case LinkPaging():
            link = str(request.url.include_query_params(start_from=start + size)) if has_next else None
            if paging.next:
                document = _with(document, paging.next, link)
            elif link:
                headers["Link"] = f'<{link}>; rel="next"'
    document = _with(document, path, page) if path else page
    return Response(exact_json.write(document), media_type="application/json", headers=headers)


def _start(paging: Paging, records: list[Any], asked: Mapping[str, str], size: int) -> int:
    """The first record of the page that a request is for."""
    match paging:
        case PagePaging():
            return (_whole(asked.get(paging.parameter, ""), paging.first) - paging.first) * size
        case OffsetPaging():
            return _whole(asked.get(paging.parameter, ""), 0)
        case TokenPaging():
            return _whole(asked.get(paging.parameter, "").removeprefix("from-"), 0)
        case CursorPaging():
            values = [str(value_at(record, paging.field)) for record in records]
            after = asked.get(paging.parameter)
            return values.index(after) + 1 if after in values else 0
    return _whole(asked.get("start_from", ""), 0)


def _whole(text: str, usual: int) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else usual


def _with(document: Any, path: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    """A document with a value at a path of keys joined by dots; without its last key where the value is None."""
    key, _, rest = path.partition(".")
    held = document if isinstance(document, dict) else {}
    if rest:
        return {**held, key: _with(held.get(key), rest, value)}
    kept = {name: one for name, one in held.items() if name != key or value is not None}
    return kept if value is None else {**kept, key: value}
