"""An API in a process of its own that has the weather of many cities and takes its time to tell it.

    python -m benchmarks.slow_api --cities 1000 --latency 0.05

prints its address and serves `GET /data/2.5/weather?q=City 7`: the sandbox's payloads, made beforehand, each sent so
many seconds after it was asked for, whoever else asks meanwhile. `GET /seen` tells as JSON how many requests have come
since it was last asked, and how many of them waited at once at most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

from local.home import PROJECT
from local.sandbox.weather import Place, observe

_HOUR = 1_704_067_200  # 2024-01-01, UTC


@dataclass(frozen=True)
class Seen:
    """What the API has seen.

    Attributes:
        requests: How many came.
        at_once: How many of them waited for their answers at the same time, at most.
    """

    requests: int
    at_once: int


@contextmanager
def slow_api(cities: int, latency: float) -> Iterator[str]:
    """Start one; its base URL. It ends with the context.

    Args:
        cities: How many it knows: `City 0` and so on.
        latency: Seconds from a request to its answer.
    """
    command = [sys.executable, "-m", "benchmarks.slow_api", "--cities", str(cities), "--latency", str(latency)]
    env = os.environ | {"PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=PROJECT, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def seen(base_url: str) -> Seen:
    """What an API has seen since it was last asked."""
    with urlopen(f"{base_url}/seen", timeout=10) as answer:  # noqa: S310 - our own, on loopback
        return Seen(**json.load(answer))


def city(number: int) -> str:
    """The name of a city."""
    return f"City {number}"


class _Api:
    """All connections together."""

    def __init__(self, cities: int, latency: float) -> None:
        places = (Place(1_000 + at, city(at), "NO", at % 90, at % 180, 0, None) for at in range(cities))
        self._payloads = {place.name: json.dumps(observe(place, _HOUR, 0)).encode() for place in places}
        self._latency = latency
        self._requests = self._waiting = self._at_once = 0

    def answer(self, target: str, connection: _Connection) -> None:
        """Answer a request, now or later."""
        asked = urlsplit(target)
        if asked.path == "/seen":
            connection.send("200 OK", json.dumps({"requests": self._requests, "at_once": self._at_once}).encode())
            self._requests = self._at_once = 0
            return
        self._requests += 1
        self._waiting += 1
        self._at_once = max(self._at_once, self._waiting)
        name = parse_qs(asked.query).get("q", [""])[0]
        asyncio.get_running_loop().call_later(self._latency, self._tell, name, connection)

    def _tell(self, name: str, connection: _Connection) -> None:
        self._waiting -= 1
        payload = self._payloads.get(name)
        if payload is None:
            connection.send("404 Not Found", b'{"cod":"404","message":"city not found"}')
        else:
            connection.send("200 OK", payload)


class _Connection(asyncio.Protocol):
    """One connection: requests without a body, one after the other."""

    def __init__(self, api: _Api) -> None:
        self._api = api
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._api.answer(head.split(b" ", 2)[1].decode(), self)

    def send(self, status: str, body: bytes) -> None:
        """Send an answer."""
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def _serve(cities: int, latency: float) -> None:
    api = _Api(cities, latency)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(api), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow_api", description=__doc__)
    parser.add_argument("--cities", type=int, required=True)
    parser.add_argument("--latency", type=float, required=True)
    given = parser.parse_args(arguments)
    asyncio.run(_serve(given.cities, given.latency))


if __name__ == "__main__":
    main()
