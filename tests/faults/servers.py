"""Servers of a test's own, that can be stopped, killed and started again on the same port and data."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from local import ports, process
from local import postgres as postgresql
from local import s3 as seaweed
from local.stack import FAST, Store, base_env, has_bucket, wait_until
from tests.conftest import Warehouse

PASSWORD = "faults-password"
# What is committed has to outlive a server that is killed; the machine itself does not die here.
SETTINGS = {**FAST, "synchronous_commit": "on"}


@dataclass
class Server(ABC):
    """A server process: how it is started, and what tells that it is ready."""

    directory: Path
    name: str
    started: process.Started | None = None

    @abstractmethod
    def start(self) -> None:
        """Start it, and wait until it is ready."""

    def stop(self, number: signal.Signals) -> None:
        """Send a signal and wait until the server is gone, and its children with it."""
        assert self.started is not None
        server = psutil.Process(self.started.pid)
        family = [server, *server.children(recursive=True)]
        server.send_signal(number)
        _, alive = psutil.wait_procs(family, timeout=30)
        assert not alive, f"{self.name} does not end: {alive}"
        process.exit_code(self.started)  # collects it
        self.started = None


@dataclass
class Postgres(Server):
    """A PostgreSQL server."""

    port: int = 0

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        installation = postgresql.install(self.directory / "postgres", password=PASSWORD)
        self.port = self.port or ports.reserve_from(26432)
        log = self.directory / "postgres.log"
        self.started = process.spawn(
            installation.command(self.port, SETTINGS),
            env=installation.env(),
            log=log,
            cwd=Path("/"),
            user=installation.user,
            group=installation.group,
        )
        wait_until(self.server.is_ready, self.started, "PostgreSQL", log)

    @property
    def server(self) -> postgresql.Server:
        """The server as its superuser sees it."""
        return postgresql.Server(ports.HOST, self.port, postgresql.SUPERUSER, PASSWORD)


@dataclass
class S3(Server):
    """A SeaweedFS server."""

    numbers: dict[str, int] = field(default_factory=dict)

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        data = self.directory / "s3"
        data.mkdir(exist_ok=True)
        for name in ("s3", *seaweed.INNER):
            if name not in self.numbers:
                self.numbers[name] = ports.reserve_from(21333, along=[seaweed.GRPC_DISTANCE], fits=seaweed.fits)
        log = self.directory / "s3.log"
        environment: Mapping[str, str] = seaweed.env(self.store.access_key, self.store.secret_key, self.store.bucket)
        self.started = process.spawn(
            seaweed.command(data, self.numbers), env={**base_env(), **environment}, log=log, cwd=data
        )
        wait_until(lambda: has_bucket(self.store), self.started, "SeaweedFS", log)

    @property
    def store(self) -> Store:
        """How it is reached."""
        return Store(f"http://{ports.HOST}:{self.numbers['s3']}", "faults", PASSWORD, "sluice-lake")

    def stop(self, number: signal.Signals) -> None:
        super().stop(number)
        seaweed.remove_sockets(self.numbers.values())


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    """What the warehouse answers to its superuser."""
    with closing(warehouse.server.connect(warehouse.dbname)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall() if cursor.description else []


def is_one_clear_message(fault: BaseException, *named: str) -> bool:
    """Whether it is a line that names what it is about, and no stack of others."""
    text = str(fault)
    return "\n" not in text and all(name in text for name in named)


def client_of(s3: S3) -> Any:  # noqa: ANN401 - boto3's types are made at run time
    """A client of the server."""
    return seaweed.client(s3.store.endpoint_url, s3.store.access_key, s3.store.secret_key)
