"""Misbehaviour on demand, and counts of what was asked: the sandbox's control surface for tests.

`PUT /_sandbox/faults` takes the whole list of rules, `DELETE` clears it, `GET` shows what is left of it.
`GET /_sandbox/requests` counts the requests so far, `DELETE` starts again at zero. Control routes, docs, `/healthz` and
`/` are neither counted nor broken.
"""

import asyncio
import base64
import binascii
from collections import Counter
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, model_validator
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

EXEMPT = ("/_sandbox/", "/healthz", "/docs", "/redoc", "/openapi.json")
SECRET_PARAMETERS = frozenset({"appid"})
MAX_DISTINCT_REQUESTS = 10_000


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    path: str = Field(description="Glob over the request's path, such as /data/2.5/* or /trip-data/green_*.")
    query: dict[str, str] = Field(
        default={}, description="Globs by parameter; all must match, names and values in any case."
    )
    method: str | None = Field(default=None, description="GET or HEAD; any when absent.")
    times: int | None = Field(default=None, ge=1, description="How many requests it breaks; for good when absent.")

    def matches(self, method: str, path: str, query: dict[str, str]) -> bool:
        """Whether the rule is meant for this request; names in `query` are in lower case."""
        return (
            fnmatchcase(path, self.path)
            and self.method in (None, method)
            and all(fnmatchcase(query.get(k.lower(), "").casefold(), v.casefold()) for k, v in self.query.items())
        )


class Status(_Rule):
    """Answer with a status, and a body that is text or JSON."""

    kind: Literal["status"]
    code: int = Field(ge=200, le=599)
    body: JsonValue = ""
    content_type: str | None = Field(
        default=None, description="application/json for a JSON body, text/plain for text, when absent."
    )
    retry_after: str | int | None = Field(
        default=None, description="Seconds or an HTTP date, for the Retry-After header."
    )
    headers: dict[str, str] = {}


class Body(_Rule):
    """Answer 200 with another body, such as the XML of an error."""

    kind: Literal["body"]
    text: str | None = None
    base64: str | None = Field(default=None, description="The body's bytes, instead of text.")
    content_type: str = "application/xml"

    @model_validator(mode="after")
    def _has_one_body(self) -> "Body":
        if (self.text is None) == (self.base64 is None):
            raise ValueError("a body rule takes either text or base64")
        try:
            self.content()
        except binascii.Error as error:
            raise ValueError(f"base64 is not valid ({error})") from error
        return self

    def content(self) -> bytes:
        """The bytes to serve."""
        return self.text.encode() if self.text is not None else base64.b64decode(self.base64 or "", validate=True)


class Truncate(_Rule):
    """Serve the first part of the true body.

    With `complete` false the full length stays declared and the connection is cut, as a broken transfer looks.
    With `complete` true the short body is declared as if it were the whole.
    """

    kind: Literal["truncate"]
    share: float = Field(default=0.5, ge=0, lt=1, description="Share of the body that is served.")
    complete: bool = False


class Slow(_Rule):
    """Wait before the true answer."""

    kind: Literal["slow"]
    seconds: float = Field(ge=0)


class Down(_Rule):
    """Close the connection without an answer."""

    kind: Literal["down"]


Rule = Annotated[Status | Body | Truncate | Slow | Down, Field(discriminator="kind")]
_RULES: TypeAdapter[list[Rule]] = TypeAdapter(list[Rule])


class Faults:
    """The rules in force and the requests counted; lives with one app.

    State is touched on the event loop alone, so it needs no lock.
    """

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.counts: Counter[tuple[str, str, tuple[tuple[str, str], ...]]] = Counter()

    def put(self, rules: list[Rule]) -> None:
        """Replace every rule."""
        self.rules = _RULES.validate_python([rule.model_dump() for rule in rules])

    def take(self, method: str, path: str, query: dict[str, str]) -> Rule | None:
        """The first rule for this request, used up by one; None when there is none."""
        for rule in self.rules:
            if rule.matches(method, path, query):
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times == 0:
                        self.rules.remove(rule)
                return rule
        return None

    def count(self, method: str, path: str, query: dict[str, str]) -> None:
        """Count one request, without the values of secret parameters."""
        shown = tuple(sorted((k, v) for k, v in query.items() if k not in SECRET_PARAMETERS))
        key = (method, path, shown)
        if key not in self.counts and len(self.counts) >= MAX_DISTINCT_REQUESTS:
            key = (method, "(others)", ())
        self.counts[key] += 1


class RequestCount(BaseModel):
    """How often one request came."""

    method: str
    path: str
    query: dict[str, str]
    count: int


class RequestCounts(BaseModel):
    """The requests so far: in all, by path (every method), and one by one."""

    total: int
    paths: dict[str, int]
    requests: list[RequestCount]


def router(faults: Faults) -> APIRouter:
    """The control routes."""
    routes = APIRouter(prefix="/_sandbox", tags=["sandbox control"])

    @routes.put("/faults", status_code=204, response_class=Response)
    async def put_faults(rules: list[Rule]) -> None:
        """Replace the list of rules; the first that matches a request breaks it."""
        faults.put(rules)

    @routes.get("/faults")
    async def get_faults() -> list[Rule]:
        """The rules that still have requests to break."""
        return faults.rules

    @routes.delete("/faults", status_code=204, response_class=Response)
    async def delete_faults() -> None:
        """Behave again."""
        faults.put([])

    @routes.get("/requests")
    async def get_requests() -> RequestCounts:
        """Count of every request to the APIs, broken ones too."""
        paths: Counter[str] = Counter()
        for (_, path, _), count in faults.counts.items():
            paths[path] += count
        rows = [
            RequestCount(method=method, path=path, query=dict(query), count=count)
            for (method, path, query), count in sorted(faults.counts.items())
        ]
        return RequestCounts(total=paths.total(), paths=dict(sorted(paths.items())), requests=rows)

    @routes.delete("/requests", status_code=204, response_class=Response)
    async def delete_requests() -> None:
        """Count from zero again."""
        faults.counts.clear()

    return routes


class DroppableConnection(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, with the connection within reach of the app: `scope["state"]["transport"]`.

    ASGI has no way to end a response early, which is what a server that breaks down does.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport where each request's scope copies it from."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class FaultMiddleware:
    """Counts each request to an API and breaks those that a rule is meant for."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self.app = app
        self.faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http" or scope["path"] == "/" or scope["path"].startswith(EXEMPT):
            await self.app(scope, receive, send)
            return
        query = {k.lower(): v for k, v in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)}
        self.faults.count(scope["method"], scope["path"], query)
        match self.faults.take(scope["method"], scope["path"], query):
            case Status() as rule:
                await _status_response(rule)(scope, receive, send)
            case Body() as rule:
                await Response(rule.content(), media_type=rule.content_type)(scope, receive, send)
            case Truncate() as rule:
                await self._truncated(rule, scope, receive, send)
            case Slow() as rule:
                await asyncio.sleep(rule.seconds)
                await self.app(scope, receive, send)
            case Down():
                await _drop(scope, receive)
            case None:
                await self.app(scope, receive, send)

    async def _truncated(self, rule: Truncate, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the app's response on up to the rule's share of its declared length; sources declare theirs."""
        left = 0

        async def cut(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                left = int(int(headers["content-length"]) * rule.share)
                if rule.complete:
                    headers["content-length"] = str(left)
                await send({**message, "headers": headers.raw})
                return
            body = message.get("body", b"")[:left]
            left -= len(body)
            ends = not message.get("more_body", False)
            if body or ends:
                await send({**message, "body": body, "more_body": not ends or not rule.complete})

        await self.app(scope, receive, cut)
        if not rule.complete and scope["method"] != "HEAD":
            await _drop(scope, receive)


def _status_response(rule: Status) -> Response:
    headers = dict(rule.headers)
    if rule.retry_after is not None:
        headers["Retry-After"] = str(rule.retry_after)
    if isinstance(rule.body, str):
        return Response(rule.body, rule.code, headers, rule.content_type or "text/plain")
    text = TypeAdapter[Any](JsonValue).dump_json(rule.body)
    return Response(text, rule.code, headers, rule.content_type or "application/json")


async def _drop(scope: Scope, receive: Receive) -> None:
    """Close the connection after what has been written, and wait until it is closed."""
    scope["state"]["transport"].close()
    while (await receive())["type"] != "http.disconnect":
        pass
