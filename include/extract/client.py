"""An HTTP client for one API: retries, a rate budget, a host allow-list, and a key that never shows.

What it raises and logs never holds the key: exceptions of requests and urllib3, which quote URLs, are replaced, never
chained, and urllib3's debug lines are cleaned while a client is open.
"""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import Literal, Self, TypeVar
from urllib.parse import quote, quote_plus, urljoin, urlsplit

import requests
import tenacity
from requests.adapters import HTTPAdapter

logger = logging.getLogger(__name__)

Params = Mapping[str, str | int | float]

_CHUNK_BYTES = 1024 * 1024
_EXCERPT_BYTES = 64 * 1024
_EXCERPT_CHARACTERS = 200
_POOL = 32  # connections kept open: as many as a source may ask at once; more threads than this still work
_AGAIN = frozenset({408, 425, 429})  # and all from 500 up
_TRANSIENT = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
_QUOTING_LOGGERS = ("urllib3.connectionpool", "urllib3.util.retry")

_LIMITS = ("x-rate-limit", "x-ratelimit", "ratelimit")
_SURELY_AN_EPOCH = 1_000_000_000

T = TypeVar("T")


class ApiError(Exception):
    """An API could not be asked; the message names the connection, the fault and the remedy, and never the key."""


class ApiDown(ApiError):  # noqa: N818 - it says what is so
    """All tries are used up."""


class StatusError(ApiError):
    """The API answered, and its answer is no.

    Attributes:
        status: The HTTP status.
        body_excerpt: What the body says: its `message` (or `detail`, `title`, `error`) if it is a JSON object that has
            one, or else its first 200 characters.
    """

    def __init__(self, message: str, *, status: int, body_excerpt: str) -> None:
        super().__init__(message)
        self.status = status
        self.body_excerpt = body_excerpt


class KeyRefused(StatusError):  # noqa: N818 - it says what is so
    """The API does not accept the connection's key."""


@dataclass(frozen=True)
class Api:
    """An API as an Airflow connection and a source describe it.

    Attributes:
        connection: Airflow connection id, for messages.
        base_url: Scheme, host, port and maybe a path that all requests share.
        key: The secret, or None.
        key_in: Where the key goes.
        key_name: Name of the query parameter or header.
        key_prefix: What stands before the key, such as `Bearer `.
        calls_per_minute: Requests (tries included) that may begin in any 60 seconds; None for no limit.
        timeout_seconds: Most seconds to connect, and most seconds of silence while reading.
        retries: Tries after the first.
        longest_wait_seconds: No wait between two tries is longer, and none for a rate limit.
        max_bytes: A longer body is refused, when it comes as a stream; None for no limit.
        allowed_hosts: Where redirects and absolute URLs may lead, as `host` (on its scheme's own port) or `host:port`;
            base_url's host is always allowed.
        key_refused_statuses: Statuses by which this API refuses a key.
    """

    connection: str
    base_url: str
    key: str | None = field(default=None, repr=False)
    key_in: Literal["query", "header", "none"] = "none"
    key_name: str = ""
    key_prefix: str = ""
    calls_per_minute: int | None = None
    timeout_seconds: float = 30.0
    retries: int = 4
    longest_wait_seconds: float = 60.0
    max_bytes: int | None = None
    allowed_hosts: tuple[str, ...] = ()
    key_refused_statuses: tuple[int, ...] = (401,)


@dataclass(frozen=True)
class Answer:
    """An answer of an API.

    Attributes:
        body: Decoded from any transfer compression.
        url: What was asked for, without the key.
        next_link: The target of its header `Link` with the relation `next` (RFC 8288), or None.
    """

    body: bytes
    url: str
    next_link: str | None


def base_url_of(schema: str | None, host: str, port: int | None) -> str:
    """The base URL of an Airflow HTTP connection.

    Args:
        schema: `http` or `https`; without one it is https, unless a port other than 443 is given.
        host: Host name, or a URL itself, maybe with a path (as Airflow's own hook has it).
        port: Port, or None for the scheme's own.
    """
    scheme = schema or ("https" if port in (None, 443) else "http")
    parts = urlsplit(host if "://" in host else f"{scheme}://{host}")
    return parts._replace(netloc=f"{parts.netloc}:{port}" if port else parts.netloc).geturl().rstrip("/")


class ApiClient:
    """Asks one API. Threads may share it; they share its rate budget then.

    A request that meets a broken connection, a timeout, a cut body or a status of 408, 425, 429 or 5xx is tried again,
    after an exponential wait with jitter, or after `Retry-After` if that is longer, but never after more than
    the API's `longest_wait_seconds`. The budget is exact: in any 60 seconds no more than `calls_per_minute` requests
    begin, so a new client may spend a minute's calls at once, and then waits until the first of them is a minute old.
    An API that tells how many calls remain (`x-rate-limit-remaining` and `-reset`, as X, GitHub and OpenSea spell them,
    or `RateLimit-Remaining` and `-Reset`) is not asked again before the reset once none do.

    Args:
        api: What to ask, and how.
        first_wait_seconds: Wait before the second try; it doubles from there.
        longest_wait_seconds: No wait is longer; the API's own by default.
        minute_seconds: How long the budget's minute is, for tests and benchmarks that cannot wait for one.

    Raises:
        ApiError: The base URL is none.
    """

    def __init__(
        self,
        api: Api,
        *,
        first_wait_seconds: float = 0.5,
        longest_wait_seconds: float | None = None,
        minute_seconds: float = 60.0,
    ) -> None:
        self._api = api
        self._first_wait = first_wait_seconds
        self._longest_wait = api.longest_wait_seconds if longest_wait_seconds is None else longest_wait_seconds
        self._pause = _Pause(self._longest_wait)
        self._budget = _Budget(api.calls_per_minute, minute_seconds) if api.calls_per_minute else None
        try:
            self._home = _host(api.base_url)
        except ValueError as error:
            raise ApiError(
                f"connection {api.connection!r}: {api.base_url!r} is no base URL ({error}): "
                "correct the connection's schema, host and port"
            ) from None
        self._hosts = {self._home, *(host.lower() for host in api.allowed_hosts)}
        self._forms = _forms(api.key) if api.key else []
        self._session = _Session(self._check, self._goes_home, api.key_name if api.key_in == "header" else None)
        self._filter = _KeyFilter(self._hide)

    def __repr__(self) -> str:
        return f"ApiClient({self._api!r})"

    def __enter__(self) -> Self:
        for chatty in _QUOTING_LOGGERS:
            logging.getLogger(chatty).addFilter(self._filter)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()
        for chatty in _QUOTING_LOGGERS:
            logging.getLogger(chatty).removeFilter(self._filter)

    def url(self, path: str, params: Params) -> str:
        """The URL of a request, without the key: for manifests, messages and logs."""
        url = self._absolute(path)
        return self._hide(requests.Request("GET", url, params=dict(params)).prepare().url or url)

    def get(self, path: str, params: Params, *, max_bytes: int = 64 * 1024 * 1024) -> bytes:
        """The whole body of an answer, decoded from any transfer compression.

        Args:
            path: Path below the API's base URL, or an absolute URL on an allowed host (a link to the next page).
            params: Query parameters, without the key.
            max_bytes: A longer body is refused.

        Raises:
            KeyRefused: The API refused the key.
            StatusError: The API answered with another status than 2xx.
            ApiDown: All tries failed.
            ApiError: The body is too long, or the URL leads to a host that is not allowed.
        """
        return self.ask(path, params, max_bytes=max_bytes).body

    def ask(
        self, path: str, params: Params, *, headers: Mapping[str, str] | None = None, max_bytes: int = 64 * 1024 * 1024
    ) -> Answer:
        """As `get`, with request headers of one's own, and what the answer says besides its body."""
        shown = self.url(path, params)

        def read(response: requests.Response) -> Answer:
            body = bytearray()
            for chunk in response.iter_content(_CHUNK_BYTES):
                body += chunk
                if len(body) > max_bytes:
                    raise ApiError(
                        f"connection {self._api.connection!r}: GET {shown} answered with more than "
                        f"{max_bytes} bytes: ask for less at a time, or fetch it as a file"
                    )
            return Answer(bytes(body), shown, response.links.get("next", {}).get("url"))

        return self._ask(path, params, read, headers or {}, shown)

    @contextmanager
    def stream(self, path: str, params: Params) -> Iterator[Iterator[bytes]]:
        """The body of an answer of any size, in chunks of at most 1 MiB.

        It is fetched whole to a nameless temporary file (in TMPDIR) before the first chunk is handed out. So a body
        that is cut (fewer bytes than its Content-Length, or chunks without an end) is fetched again without the caller
        ever having seen a byte of it, and memory stays flat.

        Raises:
            As `get`, before the context is entered; a body longer than the API's `max_bytes` is refused.
        """
        most, shown = self._api.max_bytes, self.url(path, params)
        with tempfile.TemporaryFile() as file:

            def save(response: requests.Response) -> None:
                file.seek(0)
                file.truncate()
                for chunk in response.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
                    if most is not None and file.tell() > most:
                        raise ApiError(
                            f"connection {self._api.connection!r}: GET {shown} answered with more "
                            f"than {most} bytes: nothing was landed; raise max_megabytes in source.yml if that is right"
                        )

            self._ask(path, params, save, {"Accept-Encoding": "identity"}, shown)
            file.seek(0)
            yield iter(partial(file.read, _CHUNK_BYTES), b"")

    def _ask(
        self,
        path: str,
        params: Params,
        read: Callable[[requests.Response], T],
        headers: Mapping[str, str],
        shown: str,
    ) -> T:
        """Ask until there is an answer, and read it within the same try."""
        url = self._absolute(path)
        began = time.monotonic()
        tries = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._api.retries + 1),
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(_AgainError),
            before_sleep=lambda state: logger.warning(
                "api_retry connection=%s try=%d wait_seconds=%.1f url=%s fault=%s",
                self._api.connection,
                state.attempt_number,
                state.upcoming_sleep,
                shown,
                state.outcome and state.outcome.exception(),
            ),
            reraise=True,
        )
        try:
            answer: T = tries(self._try, url, params, read, headers, shown)
        except _AgainError as error:
            fault = str(error)
        else:
            return answer
        # Outside of the except block, for what is raised inside would carry along what it replaces.
        raise ApiDown(
            f"connection {self._api.connection!r}: {_host_and_port(url)} did not serve GET {shown} "
            f"(tries: {self._api.retries + 1} over {time.monotonic() - began:.1f} s, the last: {fault}). "
            "See that it is up, and that the connection's host and port are right; then run this again"
        )

    def _try(
        self,
        url: str,
        params: Params,
        read: Callable[[requests.Response], T],
        headers: Mapping[str, str],
        shown: str,
    ) -> T:
        self._pause.wait()
        if self._budget:
            self._budget.wait()
        query, sent = self._with_key(url, params, headers)
        timeout = self._api.timeout_seconds
        try:
            with self._session.get(url, params=query, headers=sent, timeout=timeout, stream=True) as response:
                until_reset = self._pause.heed(response.headers)
                if 200 <= response.status_code < 300:
                    return read(response)
                status, retry_after = response.status_code, _seconds(response.headers.get("Retry-After"))
                if retry_after is None and status == 429:
                    retry_after = until_reset
                said = self._excerpt(response)
            fault = None
        except _TRANSIENT as error:
            fault, for_good = self._hide(_root(error)), False
        except (requests.RequestException, ValueError) as error:  # the latter of URLs and headers that are none
            fault, for_good = self._hide(_root(error)), True
        if fault is None:
            raise self._refusal(shown, status, said, retry_after)
        if for_good:
            raise ApiError(f"connection {self._api.connection!r}: GET {shown} cannot be asked: {fault}")
        raise _AgainError(fault)

    def _refusal(self, shown: str, status: int, said: str, retry_after: float | None) -> Exception:
        connection = f"connection {self._api.connection!r}"
        answer = f"HTTP {status}: {said}" if said else f"HTTP {status}"
        if status in _AGAIN or status >= 500:
            return _AgainError(answer, retry_after)
        if status in self._api.key_refused_statuses:
            what = "refused its key" if self._api.key else "wants a key, and the connection has none"
            return KeyRefused(
                f"{connection}: the API {what} ({answer}). Put the right key into the connection's password",
                status=status,
                body_excerpt=said,
            )
        return StatusError(f"{connection}: GET {shown} answered {answer}", status=status, body_excerpt=said)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        backoff = tenacity.wait_exponential_jitter(self._first_wait, self._longest_wait, jitter=self._first_wait)(state)
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, _AgainError) else None
        return min(max(backoff, asked or 0.0), self._longest_wait)

    def _absolute(self, path: str) -> str:
        if "://" not in path.split("?")[0]:
            return f"{self._api.base_url.rstrip('/')}/{path.lstrip('/')}"
        self._check(path)
        return path

    def _with_key(
        self, url: str, params: Params, headers: Mapping[str, str]
    ) -> tuple[dict[str, str | int | float], dict[str, str | bytes]]:
        query: dict[str, str | int | float] = dict(params)
        sent: dict[str, str | bytes] = dict(headers)
        if self._api.key and self._goes_home(url):
            if self._api.key_in == "query":
                query[self._api.key_name] = self._api.key_prefix + self._api.key
            elif self._api.key_in == "header":
                sent[self._api.key_name] = (
                    self._api.key_prefix + self._api.key
                ).encode()  # as bytes, for not all of Unicode is Latin-1
        return query, sent

    def _goes_home(self, url: str) -> bool:
        """Whether a URL is of base_url's own host, the one that gets the key."""
        return _host(url) == self._home

    def _check(self, url: str) -> None:
        """Refuse a URL that leads to a foreign host, or out of TLS."""
        try:
            host = _host(url)
        except ValueError as error:
            host = str(error)
        if host not in self._hosts:
            raise ApiError(
                f"connection {self._api.connection!r}: the API leads on to {self._hide(host)!r}, which is no allowed "
                f"host ({', '.join(sorted(self._hosts))}): nothing was sent there. Allow it if it is to be trusted"
            )
        if urlsplit(self._api.base_url).scheme == "https" and urlsplit(url).scheme != "https":
            raise ApiError(
                f"connection {self._api.connection!r}: the API leads on from https to plain http at {host!r}: "
                "nothing was sent there"
            )

    def _excerpt(self, response: requests.Response) -> str:
        """What an error's body says, in one line."""
        try:
            body = next(response.iter_content(_EXCERPT_BYTES), b"")
        except requests.RequestException:
            return ""
        text = body.decode(errors="replace")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            said = (document.get(name) for name in ("message", "detail", "title", "error"))
            text = next((words for words in said if isinstance(words, str) and words), text)
        line = self._hide(" ".join(text.split()))
        return line if len(line) <= _EXCERPT_CHARACTERS else line[:_EXCERPT_CHARACTERS] + "…"

    def _hide(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "***")
        return text


class _AgainError(Exception):
    """A try failed in a way that another may not."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class _Session(requests.Session):
    """A session that follows redirects to allowed hosts alone, and takes neither cookies nor passwords from files."""

    def __init__(self, check: Callable[[str], None], goes_home: Callable[[str], bool], key_header: str | None) -> None:
        super().__init__()
        self._check = check
        self._goes_home = goes_home
        self._key_header = key_header
        self.max_redirects = 5
        self.auth = _unchanged  # without any, requests would look into ~/.netrc
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(pool_maxsize=_POOL))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where a redirect leads, if it may."""
        target = super().get_redirect_target(resp)
        if target is not None:
            self._check(urljoin(resp.url, target))
        return target

    def rebuild_auth(
        self,
        prepared_request: requests.PreparedRequest,
        response: requests.Response,  # noqa: ARG002 - requests' signature
    ) -> None:
        """Take the key off a request that leaves the API's own host."""
        if self._key_header and not self._goes_home(prepared_request.url or ""):
            prepared_request.headers.pop(self._key_header, None)


class _Budget:
    """At most so many beginnings in any window of time, for all threads together."""

    def __init__(self, calls: int, window_seconds: float) -> None:
        self._window = window_seconds
        self._lock = threading.Lock()
        self._times: deque[float] = deque(maxlen=calls)

    def wait(self) -> None:
        """Come back when the next request may begin."""
        with self._lock:
            now = time.monotonic()
            full = len(self._times) == self._times.maxlen
            begin = max(now, self._times[0] + self._window) if full else now
            self._times.append(begin)  # which lets the oldest go
        if begin > now:  # a sleep of nothing still hands the processor on
            time.sleep(begin - now)


class _Pause:
    """Holds all requests back while the API says that none remain."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest = longest_seconds
        self._until = 0.0

    def heed(self, headers: Mapping[str, str]) -> float | None:
        """Note what an answer says of the rate limit.

        Returns:
            Seconds until the limit is reset, or None where the answer does not say.
        """
        remaining = next((headers[f"{name}-remaining"] for name in _LIMITS if f"{name}-remaining" in headers), None)
        reset = next((headers[f"{name}-reset"] for name in _LIMITS if f"{name}-reset" in headers), None)
        if reset is None or not reset.strip().isdigit():
            return None
        # an epoch (X, GitHub) or seconds from now (the IETF's draft)
        seconds = max(0.0, float(reset) - time.time() if float(reset) > _SURELY_AN_EPOCH else float(reset))
        if remaining is not None and remaining.strip() == "0":
            self._until = time.monotonic() + min(seconds, self._longest)
        return seconds

    def wait(self) -> None:
        """Come back when requests are welcome again."""
        seconds = self._until - time.monotonic()
        if seconds > 0:
            logger.warning("api_rate_limit wait_seconds=%.1f", seconds)
            time.sleep(seconds)


class _KeyFilter(logging.Filter):
    """Cleans the lines of libraries that quote URLs."""

    def __init__(self, hide: Callable[[str], str]) -> None:
        super().__init__()
        self._hide = hide

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._hide(record.getMessage()), None
        return True


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _forms(key: str) -> list[str]:
    """The ways in which a key may be written in a message, the longest first."""
    forms = {key, key.strip(), repr(key)[1:-1], json.dumps(key)[1:-1]}
    forms |= {key.encode().decode("latin-1")}  # a header of UTF-8, read by the letter of HTTP/1.1
    forms |= {escape(form, safe="") for form in (key, key.strip()) for escape in (quote, quote_plus)}
    return sorted(forms - {""}, key=len, reverse=True)


def _host(url: str) -> str:
    """Host of a URL in lower case, with its port if that is not the scheme's own.

    Raises:
        ValueError: It is no http or https URL with a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it takes http or https and a host")
    port = parts.port if parts.port != {"http": 80, "https": 443}.get(parts.scheme) else None
    return f"{parts.hostname}:{port}" if port else f"{parts.hostname}"


def _host_and_port(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or {'http': 80, 'https': 443}.get(parts.scheme)}"


def _root(error: BaseException) -> str:
    """What was wrong at the root of an exception of requests, which wraps those of urllib3, and so on."""
    while inner := next(
        (each for each in (getattr(error, "reason", None), *error.args) if isinstance(each, Exception)), None
    ):
        error = inner
    return f"{type(error).__name__}: {error}"


def _seconds(retry_after: str | None) -> float | None:
    """Seconds that a `Retry-After` asks for, be it a number or a date (RFC 9110, section 10.2.3), or else None."""
    if retry_after is None:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
