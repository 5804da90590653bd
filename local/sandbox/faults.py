"""Misbehaviour on demand, and counts of what was asked: the sandbox's control surface for tests.

`PUT /_sandbox/faults` takes the whole list of rules, `DELETE` clears it, `GET` shows what is left of it.
`GET /_sandbox/requests` counts the requests so far, `DELETE` starts again at zero. Control routes, docs, `/healthz` and
`/` are neither counted nor broken. `docs/sandbox.md` has an example of each rule.
"""

import asyncio
import base64
import binascii
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, TypeAdapter, model_validator
from starlette.datastructures import MutableHeaders
from starlette.responses import StreamingResponse
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
    after: int = Field(default=0, ge=0, description="How many requests it lets pass first.")
    share: float = Field(default=1.0, gt=0, le=1, description="Share of the requests that it breaks, at random.")
    seed: int = Field(default=0, description="Which requests those are: the same ones each time for one seed.")

    _dice: random.Random = PrivateAttr()

    def model_post_init(self, _: Any, /) -> None:  # noqa: ANN401 - pydantic's signature
        """Start the dice."""
        self._dice = random.Random(self.seed)  # noqa: S311 - a rehearsal, not a secret

    def takes(self) -> bool:
        """Whether this request, which the rule is meant for, is broken; used up by one if it is."""
        if self.after > 0:
            self.after -= 1
            return False
        if self.share < 1 and self._dice.random() >= self.share:
            return False
        if self.times is not None:
            self.times -= 1
        return True

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
    code: int = Field(ge=200, le=599, description="With a header Location, 302 leads elsewhere.")
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
    headers: dict[str, str] = {}

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
    keep: float = Field(default=0.5, ge=0, lt=1, description="Share of the body that is served.")
    complete: bool = False


class Slow(_Rule):
    """Wait before the true answer."""

    kind: Literal["slow"]
    seconds: float = Field(ge=0)


class Down(_Rule):
    """Close the connection without an answer."""

    kind: Literal["down"]


class Endless(_Rule):
    """Answer 200 with a body that goes on until the client hangs up, of no declared length."""

    kind: Literal["endless"]
    start: str = Field(default='{"data":[', description="What it begins with.")
    repeat: str = Field(default='{"id":"1"},', min_length=1, description="What then comes again and again.")
    content_type: str = "application/json"
    headers: dict[str, str] = {}

    async def stream(self) -> AsyncIterator[bytes]:
        """The body, in pieces of some 64 KiB."""
        yield self.start.encode()
        piece = self.repeat.encode()
        piece *= max(1, 65_536 // len(piece))
        while True:
            yield piece
            # Give way: a client that reads as fast as we write must not keep the others waiting.
            await asyncio.sleep(0)


class Edit(_Rule):
    """Serve the true JSON answer with something changed; answers that are no JSON object pass as they are.

    Paths have dots in them: `meta.next_token`, `public_metrics.like_count`.
    """

    kind: Literal["edit"]
    content_type: str | None = Field(default=None, description="Declared for the answer, whatever it is.")
    put: dict[str, JsonValue] = Field(default={}, description="Members of the answer to set, by path.")
    loop: str | None = Field(
        default=None, description="Path of the next link: the first one seen is served in every answer from then on."
    )
    records: str | None = Field(default=None, description="Path of the records; what follows is done to each of them.")
    rename: dict[str, str] = Field(default={}, description="Members to rename: old path, new last name.")
    remove: list[str] = Field(default=[], description="Members to leave out, by path.")
    as_text: list[str] = Field(default=[], description="Members whose values become text, by path.")
    set: dict[str, JsonValue] = Field(default={}, description="Members to set, new ones too, by path.")
    drop_every: int | None = Field(default=None, ge=1, description="Leave out each n-th record, as if it came late.")
    repeat_every: int | None = Field(default=None, ge=1, description="Serve each n-th record twice.")
    carry: int = Field(default=0, ge=0, description="Begin with the last n records of the answer before.")

    _link: JsonValue = PrivateAttr(default=None)
    _carried: list[Any] = PrivateAttr(default_factory=list)

    @model_validator(mode="after")
    def _has_records_for_what_it_does_to_them(self) -> "Edit":
        does = [self.rename, self.remove, self.as_text, self.set, self.drop_every, self.repeat_every, self.carry]
        if any(does) and self.records is None:
            raise ValueError("an edit rule that changes records takes their path in records")
        return self

    def apply(self, answer: dict[str, Any]) -> None:
        """Change a parsed answer in place."""
        if self.records is not None:
            holder, name = _holder(answer, self.records)
            found = holder.get(name) if holder is not None else None
            if holder is not None and isinstance(found, list):
                holder[name] = self._edited(found)
            elif isinstance(found, dict):
                self._change(found)
        for path, value in self.put.items():
            _set(answer, path, value)
        if self.loop is not None:
            holder, name = _holder(answer, self.loop)
            self._link = self._link or (holder or {}).get(name)
            if self._link is not None:
                _set(answer, self.loop, self._link)

    def _edited(self, records: list[Any]) -> list[Any]:
        for record in records:
            if isinstance(record, dict):
                self._change(record)
        kept = [r for n, r in enumerate(records, 1) if self.drop_every is None or n % self.drop_every]
        twice = [
            again
            for number, record in enumerate(kept, 1)
            for again in [record] * (2 if self.repeat_every and number % self.repeat_every == 0 else 1)
        ]
        carried, self._carried = self._carried, kept[-self.carry :] if self.carry else []
        return carried + twice

    def _change(self, record: dict[str, Any]) -> None:
        for path, new in self.rename.items():
            holder, name = _holder(record, path)
            if holder is not None and name in holder:
                holder[new] = holder.pop(name)
        for path in self.remove:
            holder, name = _holder(record, path)
            (holder or {}).pop(name, None)
        for path in self.as_text:
            holder, name = _holder(record, path)
            if holder is not None and name in holder and not isinstance(holder[name], str):
                holder[name] = json.dumps(holder[name])
        for path, value in self.set.items():
            _set(record, path, value)


Rule = Annotated[Status | Body | Truncate | Slow | Down | Endless | Edit, Field(discriminator="kind")]
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
            if rule.matches(method, path, query) and rule.takes():
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
                answer = Response(rule.content(), headers=rule.headers, media_type=rule.content_type)
                await answer(scope, receive, send)
            case Truncate() as rule:
                await self._truncated(rule, scope, receive, send)
            case Slow() as rule:
                await asyncio.sleep(rule.seconds)
                await self.app(scope, receive, send)
            case Down():
                await _drop(scope, receive)
            case Endless() as rule:
                endless = StreamingResponse(rule.stream(), headers=rule.headers, media_type=rule.content_type)
                await endless(scope, receive, send)
            case Edit() as rule:
                await self._edited(rule, scope, receive, send)
            case None:
                await self.app(scope, receive, send)

    async def _truncated(self, rule: Truncate, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on as much of the app's response as the rule keeps of its declared length; sources declare theirs."""
        left = 0

        async def cut(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                left = int(int(headers["content-length"]) * rule.keep)
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

    async def _edited(self, rule: Edit, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold the app's response back until it is whole, and send it changed."""
        start: Message = {}
        body = b""

        async def hold(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            else:
                body += message.get("body", b"")

        await self.app(scope, receive, hold)
        headers = MutableHeaders(raw=list(start["headers"]))
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and start["status"] == 200:
            rule.apply(answer)
            body = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
            headers["content-length"] = str(len(body))
        if rule.content_type is not None:
            headers["content-type"] = rule.content_type
        await send({**start, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})


def _holder(record: dict[str, Any], path: str) -> tuple[dict[str, Any] | None, str]:
    """The object that a path's last member is in, None when there is none, and that member's name."""
    *inner, name = path.split(".")
    for step in inner:
        found = record.get(step)
        if not isinstance(found, dict):
            return None, name
        record = found
    return record, name


def _set(record: dict[str, Any], path: str, value: JsonValue) -> None:
    """Set a member by its path, making the objects on the way that are not there."""
    *inner, name = path.split(".")
    for step in inner:
        found = record.get(step)
        if not isinstance(found, dict):
            found = record[step] = {}
        record = found
    record[name] = value


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
