"""One PostgreSQL or one SeaweedFS alone, for tests and whoever needs just that: a context manager each.

>>> with postgres(Path(directory)) as server, s3(Path(directory)) as store:
...     server.dsn("postgres"), store.endpoint_url
"""

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from local import ports, process
from local import postgres as postgresql
from local import s3 as seaweed

# Nothing of a throw-away server needs to survive a power cut.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "100"}


@dataclass(frozen=True)
class Store:
    """A running S3 server with one bucket."""

    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str


@contextlib.contextmanager
def postgres(
    directory: Path, *, password: str | None = None, port: int = 25432, settings: dict[str, str] | None = None
) -> Iterator[postgresql.Server]:
    """A PostgreSQL server that keeps its data under `directory`; killed when the context ends, the data stays.

    Args:
        directory: Where data and log go.
        password: The superuser's; generated when not given (give the old one for old data).
        port: The first port to try.
        settings: PostgreSQL settings; by default those of a server whose data nobody will miss.
    """
    directory.mkdir(parents=True, exist_ok=True)
    secret = password or secrets.token_urlsafe(24)
    installation = postgresql.install(directory / "postgres", password=secret)
    number = ports.reserve_from(port)
    log = directory / "postgres.log"
    started = process.spawn(
        installation.command(number, FAST if settings is None else settings),
        env=installation.env(),
        log=log,
        cwd=Path("/"),
        user=installation.user,
        group=installation.group,
    )
    try:
        server = postgresql.Server(ports.HOST, number, postgresql.SUPERUSER, secret)
        wait_until(server.is_ready, started, "PostgreSQL", log)
        yield server
    finally:
        process.stop([started], first=signal.SIGQUIT)  # "immediate"


@contextlib.contextmanager
def s3(
    directory: Path,
    *,
    access_key: str | None = None,
    secret_key: str | None = None,
    bucket: str = "sluice-lake",
    port: int = 20333,  # with gRPC 10000 higher, still below the ports that the kernel gives to connections
) -> Iterator[Store]:
    """A SeaweedFS server that keeps its data under `directory`; killed when the context ends, the data stays."""
    data = directory / "s3"
    data.mkdir(parents=True, exist_ok=True)
    numbers: dict[str, int] = {}
    for name in ("s3", *seaweed.INNER):
        numbers[name] = ports.reserve_from(port, along=[seaweed.GRPC_DISTANCE], fits=seaweed.fits)
    store = Store(
        f"http://{ports.HOST}:{numbers['s3']}",
        access_key or secrets.token_hex(10),
        secret_key or secrets.token_urlsafe(30),
        bucket,
    )
    log = directory / "s3.log"
    started = process.spawn(
        seaweed.command(data, numbers),
        env={**base_env(), **seaweed.env(store.access_key, store.secret_key, bucket)},
        log=log,
        cwd=data,
    )
    try:
        wait_until(lambda: has_bucket(store), started, "SeaweedFS", log)
        yield store
    finally:
        process.stop([started], first=signal.SIGKILL)
        seaweed.remove_sockets(numbers.values())


def has_bucket(store: Store) -> bool:
    """Whether the server answers, knows the credentials and has made the bucket."""
    if not seaweed.is_healthy(int(store.endpoint_url.rpartition(":")[2])):
        return False
    try:
        seaweed.client(store.endpoint_url, store.access_key, store.secret_key).head_bucket(Bucket=store.bucket)
    except (BotoCoreError, ClientError):
        return False
    return True


def base_env() -> dict[str, str]:
    """What every program needs of the launcher's environment, and nothing that could change what it does."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "TZ") if name in os.environ}


def wait_until(
    is_ready: Callable[[], bool], started: process.Started, name: str, log: Path, *, seconds: float = 60.0
) -> None:
    """Wait for a service to be ready.

    Raises:
        RuntimeError: It ended, or was not ready in time; with the end of its log.
    """
    deadline = time.monotonic() + seconds
    while not is_ready():
        fault = None
        if not process.is_running(started):
            fault = "ended while starting"
        elif time.monotonic() > deadline:
            fault = f"was not ready after {seconds:.0f} s"
        if fault:
            raise RuntimeError(f"{name} {fault}; the end of {log}:\n{tail(log)}")
        time.sleep(0.05)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError as fault:
        return f"(no log: {fault})"
