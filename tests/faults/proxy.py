"""A TCP proxy that can stop time: what goes through it stalls where a test says, until the test lets it go on.

It stands between the product and a server (Postgres, S3, an API) and knows nothing of either: it looks for patterns in
what the client sends. A connection that stalls is the moment at which a test kills, or looks at what others see.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

_CHUNK = 65_536
_TAIL = 16_384
_CONTINUE = b"HTTP/1.1 100 "


class NotReached(Exception):  # noqa: N818 - what happened
    """What was to stall has ended before it came to the point, so that nothing was tried."""


@dataclass(frozen=True)
class Where:
    """A point in a connection.

    Attributes:
        seen: Patterns that the client has to send, one after the other; the last one is the point.
        hold: What stalls: the client's own bytes from the one that completes the pattern on (`request`), so that the
            server never gets them; the server's answer (`answer`), when it begins to come, so that the work is done and
            the client does not know; or the rest of the answer (`rest`), behind the first `after` bytes of its body.
        after: How many more bytes pass: of the client's behind the pattern (`request`), or of the answer's (`rest`).
    """

    seen: Sequence[bytes]
    hold: Literal["request", "answer", "rest"]
    after: int = 0


@dataclass(eq=False)
class Stall:
    """One stall: armed, it takes the first connection that comes to the point."""

    where: Where
    port: int | None = None
    """the client's end of the connection that has stalled"""
    _stalled: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    def is_reached(self, seconds: float) -> bool:
        """Whether something stalls, now or within some seconds."""
        return self._stalled.wait(seconds)

    def release(self) -> None:
        """Let it go on; what is not there any more is forgotten."""
        self._released.set()


class Proxy:
    """A listener on loopback that passes every connection on; `target` may be set when it is known."""

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self._armed: list[Stall] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @contextmanager
    def stall(self, where: Where) -> Iterator[Stall]:
        """Stall the next connection that comes to a point, for as long as the context lasts."""
        stall = Stall(where)
        with self._lock:
            self._armed.append(stall)
        try:
            yield stall
        finally:
            stall.release()
            with self._lock:
                if stall in self._armed:
                    self._armed.remove(stall)

    def close(self) -> None:
        """Take no more connections; those that are open go on."""
        self._listener.close()

    def claim(self, stall: Stall) -> bool:
        """Whether the stall is still to be had; it is not, then."""
        with self._lock:
            if stall not in self._armed:
                return False
            self._armed.remove(stall)
            return True

    def armed(self) -> list[Stall]:
        """What is to stall."""
        with self._lock:
            return list(self._armed)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=_Connection(self, client).run, daemon=True).start()


class _Connection:
    """One client and its server."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._sent: dict[Stall, tuple[int, bytes]] = {}
        """stall -> how many of its patterns have been seen, and what came since the last of them"""
        self._answer_of: Stall | None = None
        self._answer_seen = 0
        self._lock = threading.Lock()

    def run(self) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._proxy.target))
        except OSError:  # nobody listens there: the client is to see the same
            self._client.close()
            return
        for one in (self._client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._pass_back, args=(server,), daemon=True)
        back.start()
        with suppress(OSError):
            while chunk := self._client.recv(_CHUNK):
                self._pass_on(chunk, server)
        # A client that is gone is gone for the server at once, whatever is held: so it is with a killed process.
        for one in (server, self._client):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        back.join()
        server.close()
        self._client.close()

    def _pass_on(self, chunk: bytes, server: socket.socket) -> None:
        for stall in self._proxy.armed():
            if not self._reaches(stall, chunk) or not self._proxy.claim(stall):
                continue
            if stall.where.hold == "request":
                self._hold_request(stall, chunk, server)
                return
            with self._lock:
                self._answer_of, self._answer_seen = stall, 0
        server.sendall(chunk)

    def _reaches(self, stall: Stall, chunk: bytes) -> bool:
        """Whether the client has sent the last of the patterns just now."""
        step, sent = self._sent.get(stall, (0, b""))
        sent = (sent + chunk)[-max(_TAIL, len(chunk)) :]
        while step < len(stall.where.seen) and (found := re.search(stall.where.seen[step], sent, re.DOTALL)):
            step, sent = step + 1, sent[found.end() :]
        self._sent[stall] = step, sent
        return step == len(stall.where.seen)

    def _hold_request(self, stall: Stall, chunk: bytes, server: socket.socket) -> None:
        let = stall.where.after
        while let > 0 and chunk:
            server.sendall(chunk[:let])
            let, chunk = let - len(chunk[:let]), chunk[let:]
            if not chunk:
                chunk = self._client.recv(_CHUNK)
        held = chunk
        self._is_stalled(stall)
        self._client.settimeout(0.05)
        try:
            while not stall._released.is_set():
                with suppress(TimeoutError):
                    more = self._client.recv(_CHUNK)
                    if not more:
                        raise ConnectionResetError
                    held += more
        finally:
            self._client.settimeout(None)
        server.sendall(held)

    def _pass_back(self, server: socket.socket) -> None:
        with suppress(OSError):
            while chunk := server.recv(_CHUNK):
                with self._lock:
                    stall = self._answer_of
                if stall is not None:
                    chunk = self._hold_answer(stall, chunk)
                self._client.sendall(chunk)
        # The server's end is the client's too: a read that waits here would wait for ever.
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def _hold_answer(self, stall: Stall, chunk: bytes) -> bytes:
        if chunk.startswith(_CONTINUE) and chunk.endswith(b"\r\n\r\n") and chunk.count(b"\r\n\r\n") == 1:
            return chunk
        if stall.where.hold == "rest":
            head, gap, _ = chunk.partition(b"\r\n\r\n")
            begins = len(head) + len(gap) if self._answer_seen == 0 and gap else 0
            let = begins + stall.where.after - self._answer_seen
            if len(chunk) <= let:
                self._answer_seen += len(chunk) - begins
                return chunk
            self._client.sendall(chunk[:let])
            chunk = chunk[let:]
        with self._lock:
            self._answer_of = None
        self._is_stalled(stall)
        stall._released.wait()
        return chunk

    def _is_stalled(self, stall: Stall) -> None:
        stall.port = self._client.getpeername()[1]
        stall._stalled.set()
