"""An SMTP server on loopback that keeps every mail as a file and sends none on.

Run as `python -m local.mail --port N --directory D`.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import signal
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from local import ports

LARGEST_MAIL = 25 * 1024 * 1024  # bytes; the daily report with its charts is far smaller


class Keeper:
    """Writes each mail to a directory, all or nothing, as the .eml file that a mail program opens."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802, ARG002 - aiosmtpd's
        """Keep one mail (RFC 5321; the envelope's sender and receivers become header fields)."""
        content = envelope.content or b""
        head = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {', '.join(envelope.rcpt_tos)}\r\n"
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(4)}.eml"
        await asyncio.to_thread(
            self._keep, name, head.encode() + (content if isinstance(content, bytes) else content.encode())
        )
        print(f"event=mail_kept file={name} bytes={len(content)}", flush=True)
        return "250 kept"

    def _keep(self, name: str, content: bytes) -> None:
        temporary = self.directory / f".{name}.new"
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.directory / name)


async def serve(port: int, directory: Path, host: str = ports.HOST) -> None:
    """Accept mail until the process is told to end."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    loop = asyncio.get_running_loop()
    keeper = Keeper(directory)
    server = await loop.create_server(
        lambda: SMTP(keeper, data_size_limit=LARGEST_MAIL, hostname="localhost", ident="Sluice", enable_SMTPUTF8=True),
        host,
        port,
    )
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    async with server:
        await end.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m local.mail", description=__doc__)
    parser.add_argument("--host", default=ports.HOST)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(given.port, given.directory, given.host))
