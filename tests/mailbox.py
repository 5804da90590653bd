"""A real mail server for tests: the stack's own sink, in a process of its own, and the mails it has kept."""

import email
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from local import ports
from local.home import PROJECT
from tests.waiting import wait_until


@dataclass(frozen=True)
class Mailbox:
    """What the server on `port` has been sent."""

    port: int
    directory: Path

    @property
    def connection(self) -> str:
        """The Airflow connection to it, as the value of an AIRFLOW_CONN_ variable."""
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "sluice@localhost", "retry_limit": 0}
        return json.dumps({"conn_type": "smtp", "host": ports.HOST, "port": self.port, "extra": extra})

    def mails(self) -> list[EmailMessage]:
        """All of them, oldest first; the envelope is in X-Envelope-From and X-Envelope-To."""
        found = [email.message_from_bytes(path.read_bytes(), policy=default) for path in self.directory.glob("*.eml")]
        assert all(isinstance(one, EmailMessage) for one in found)
        return sorted(found, key=lambda one: (one["Date"].datetime, one["Subject"]))


@contextmanager
def mailbox(directory: Path) -> Iterator[Mailbox]:
    """A mail server on loopback that keeps what it is sent in `directory`."""
    port = ports.reserve_from(22025)
    command = [sys.executable, "-m", "local.mail", "--port", str(port), "--directory", str(directory)]
    server = subprocess.Popen(command, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)})
    wait_until(lambda: ports.is_listening(port) or server.poll() is not None, "the mail server listens")
    assert server.poll() is None, "the mail server ended while starting"
    try:
        yield Mailbox(port, directory)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


def plain(message: EmailMessage) -> str:
    """The plain text of a mail."""
    body = message.get_body(("plain",))
    assert isinstance(body, EmailMessage)
    return str(body.get_content()).replace("\r\n", "\n")


def page(message: EmailMessage) -> str:
    """The HTML of a mail."""
    body = message.get_body(("html",))
    assert isinstance(body, EmailMessage)
    return str(body.get_content()).replace("\r\n", "\n")
