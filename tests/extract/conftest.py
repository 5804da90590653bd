"""A real HTTP server whose answers a test chooses."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest


@dataclass(frozen=True)
class Request:
    """A request as the server got it, from which port."""

    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    at: float
    port: int


@dataclass(frozen=True)
class Answer:
    """What the server says; `cut` bytes less than it announces, when not 0."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    chunked: bool = False


class Server:
    """A server on loopback: set `answer`, read `requests`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answer] = lambda _: Answer()
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                request = Request(
                    parts.path, parse_qs(parts.query), dict(self.headers), time.monotonic(), self.client_address[1]
                )
                outer.requests.append(request)
                outer.send(self, outer.answer(request))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        """Send an answer, whole or cut."""
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(
                b"%x\r\n%s\r\n" % (len(answer.body), answer.body) + (b"" if answer.cut else b"0\r\n\r\n")
            )
        else:
            handler.send_header("Content-Length", str(len(answer.body)))
            handler.end_headers()
            handler.wfile.write(answer.body[: len(answer.body) - answer.cut])
        handler.close_connection = bool(answer.cut)

    def close(self) -> None:
        """Stop; answers that wait for `closing` end."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def other_server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()
