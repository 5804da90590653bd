"""The front itself: it speaks PostgreSQL's protocol to both sides and turns Redshift's statements into PostgreSQL's.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import asyncio
import re
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from local import postgres as postgresql
from tests.redshift.front import copy
from tests.redshift.front.dialect import RefusedError, Settings, statements, translate

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SSL_REQUEST, _CANCEL_REQUEST, _GSS_REQUEST = 80877103, 80877102, 80877104
# of the start-up parameters PostgreSQL refuses those that it does not know, such as client_protocol_version
_PARAMETERS = {b"user", b"database", b"application_name", b"client_encoding", b"options"}
_SASL = struct.pack("!i", 10)
_VERSION = b"server_version\x00" + b"8.0.2\x00"
_REFUSED = b'"redshift refuses"'
_TOO_LONG = re.compile(rb"redshift_bytes_\d+|value too long for type")


@dataclass
class Front:
    """A running front.

    Attributes:
        host: where it listens.
        port: the port it listens on.
        said: the statements it was given, in their order, for tests that look at them.
    """

    host: str
    port: int
    said: list[str] = field(default_factory=list)


@contextmanager
def front(server: postgresql.Server, s3: "S3Client", *, port: int = 0) -> Iterator[Front]:
    """A front before a PostgreSQL server; databases have to be `prepare`d.

    Args:
        server: what stands behind it, with the roles and passwords that clients give.
        s3: where COPY reads and UNLOAD writes.
        port: where to listen; 0 for any that is free.
    """
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    running = Front(server.host, port)
    stop = asyncio.Event()

    async def serve() -> None:
        tasks: set[asyncio.Task[None]] = set()

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                with suppress(asyncio.CancelledError):  # by the front's own end
                    await _Session(server, s3, running, reader, writer).run()
            finally:
                tasks.discard(task)

        listening = await asyncio.start_server(client, running.host, port)
        running.port = listening.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="redshift-front", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield running
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def prepare(server: postgresql.Server, dbname: str) -> None:
    """Give a database what Redshift has and PostgreSQL has not."""
    with closing(server.connect(dbname)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(Path(__file__).with_name("bootstrap.sql").read_text(encoding="utf-8"))


class _FaultError(Exception):
    """A question of the front's own was answered with an error: the error's fields."""

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        super().__init__(fields.get(b"M", b"").decode())
        self.fields = fields


class _Session:
    """One client's connection."""

    def __init__(
        self,
        server: postgresql.Server,
        s3: "S3Client",
        running: Front,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._server, self._s3, self._running = server, s3, running
        self._client, self._to_client = reader, writer
        self._settings = Settings()
        self._lists_end_early = False  # redshift_connector takes the end of the list of mechanisms for one more
        self._status = b"I"  # idle, in a Transaction, or in one that has Erred
        self._extended = False
        self._error: dict[bytes, bytes] | None = None  # what the client is told in place of the next error
        self._copies: list[Iterator[bytes]] = []
        self._answer: list[tuple[bytes, bytes]] | None = None  # to a question of the front's own
        self._answered = asyncio.Event()

    async def run(self) -> None:
        """Serve until either side is gone."""
        try:
            if await self._start():
                ways = [asyncio.create_task(self._up()), asyncio.create_task(self._down())]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
                    self._to_server.close()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._to_client.close()

    async def _start(self) -> bool:
        """Pass the start-up on; false where there is no session to come."""
        while True:
            length, code = struct.unpack("!ii", await self._client.readexactly(8))
            body = await self._client.readexactly(length - 8)
            if code in (_SSL_REQUEST, _GSS_REQUEST):
                self._to_client.write(b"N")
                await self._to_client.drain()
                continue
            break
        self._from_server, self._to_server = await asyncio.open_connection(self._server.host, self._server.port)
        if code == _CANCEL_REQUEST:
            self._to_server.write(struct.pack("!ii", length, code) + body)
            await self._to_server.drain()
            self._to_server.close()
            return False
        words = body.split(b"\0")
        given = dict(zip(words[::2], words[1::2], strict=False))
        self._lists_end_early = b"client_protocol_version" in given
        kept = b"".join(name + b"\0" + value + b"\0" for name, value in given.items() if name in _PARAMETERS) + b"\0"
        self._to_server.write(struct.pack("!ii", len(kept) + 8, code) + kept)
        return True

    async def _up(self) -> None:
        """From the client to the server."""
        async for kind, body in _messages(self._client):
            if kind == b"Q":
                self._extended = False
                body = (await self._translated(body[:-1].decode())).encode() + b"\0"
            elif kind == b"P":
                self._extended = True
                name, statement, types = body.split(b"\0", 2)
                translated = await self._translated(statement.decode())
                body = name + b"\0" + translated.encode() + b"\0" + types
            self._to_server.write(_message(kind, body))
            await self._to_server.drain()
            if kind == b"X":
                return

    async def _down(self) -> None:
        """From the server to the client."""
        async for kind, body in _messages(self._from_server):
            if kind == b"Z":
                self._status = body
            if self._answer is not None:
                if kind == b"Z":
                    self._answered.set()
                else:
                    self._answer.append((kind, body))
                continue
            if kind == b"G" and self._copies:
                await self._feed(self._copies.pop(0))
                continue
            if kind == b"C" and body.startswith(b"COPY "):
                self._settings.last_copy_count = int(body[5:-1])
            if kind == b"S" and body.startswith(b"server_version\0"):
                body = _VERSION
            elif kind == b"R" and body[:4] == _SASL and self._lists_end_early:
                body = body[:-1]
            elif kind == b"E":
                body = self._told(body)
            elif kind == b"Z":
                self._error = None
            self._to_client.write(_message(kind, body))
            await self._to_client.drain()

    async def _translated(self, sql: str) -> str:
        """What the server is sent for a text of statements; for one that is refused, what it will not understand."""
        self._running.said.append(sql)
        if not sql.strip():
            return sql
        try:
            return ";\n".join([await self._statement(one) for one in statements(sql)]) or sql
        except RefusedError as refused:
            self._error = {b"C": b"0A000", b"M": str(refused).encode()}
        except _FaultError as fault:
            self._error = fault.fields
        return _REFUSED.decode()

    async def _statement(self, sql: str) -> str:
        if copy.is_copy_or_unload(sql):
            if asked := copy.read_copy(sql):
                return await self._copy(asked)
            if unload := copy.read_unload(sql):
                await self._unload(unload)
                return "do $$ begin end $$"
            if re.search(r"\bfrom\s+'s3://|\bunload\b", sql, re.I):
                raise RefusedError(f"syntax error in {sql.split()[0].upper()}")
        translated = translate(sql, self._settings)
        if self._status != b"I" and re.match(r"\s*truncate\b", translated, re.I):
            raise RefusedError("redshift front: TRUNCATE commits the transaction it is in on Redshift; use DELETE")
        return translated

    async def _copy(self, asked: copy.Copy) -> str:
        # asked on the client's own session, which sees what its transaction has made
        found = await self._ask(
            "select a.attname, case when t.typname = 'text' then 'varchar' else t.typname end from pg_attribute as a "
            "inner join pg_type as t on a.atttypid = t.oid "
            f"where a.attrelid = to_regclass('{asked.table.lower()}') and a.attnum > 0 and not a.attisdropped "
            "order by a.attnum"
        )
        columns = {str(name): str(kind) for name, kind in found[2]}
        names, statement = copy.target(asked, columns)
        self._copies.append(copy.rows(asked, names, columns, self._s3))
        return statement

    async def _unload(self, asked: copy.Unload) -> None:
        names, oids, found = await self._ask(translate(asked.query, self._settings))
        _, _, kinds = await self._ask(f"select oid, typname from pg_type where oid in ({', '.join(map(str, oids))})")
        named = {int(str(oid)): str(name) for oid, name in kinds}
        types = [named[oid] for oid in oids]
        await asyncio.to_thread(copy.unload, asked, names, types, found, self._s3)

    async def _ask(self, sql: str) -> tuple[list[str], list[int], list[list[str | None]]]:
        """Names and types of the columns, and the rows, of a question of the front's own in the client's session.

        Raises:
            _FaultError: the server has answered with an error.
        """
        self._answer, self._answered = [], asyncio.Event()
        self._to_server.write(_message(b"Q", sql.encode() + b"\0"))
        await self._to_server.drain()
        await self._answered.wait()
        answer, self._answer = self._answer, None
        names: list[str] = []
        oids: list[int] = []
        rows: list[list[str | None]] = []
        for kind, body in answer:
            if kind == b"E":
                raise _FaultError(_fields(body))
            if kind == b"T":
                at = 2
                for _ in range(struct.unpack("!h", body[:2])[0]):
                    end = body.index(b"\0", at)
                    names.append(body[at:end].decode())
                    oids.append(struct.unpack("!i", body[end + 7 : end + 11])[0])
                    at = end + 19
            elif kind == b"D":
                rows.append(_cells(body))
        return names, oids, rows

    async def _feed(self, rows: Iterator[bytes]) -> None:
        """Give the server what a COPY reads from S3."""
        try:
            while (piece := await asyncio.to_thread(next, rows, None)) is not None:
                self._to_server.write(_message(b"d", piece))
                await self._to_server.drain()
            end = _message(b"c", b"")
        except Exception as fault:  # whatever goes wrong, the server waits for an end
            message = (
                str(fault) if isinstance(fault, RefusedError) else f"redshift front: {type(fault).__name__}: {fault}"
            )
            self._error = {b"C": b"XX000", b"M": message.encode()}
            end = _message(b"f", b"refused\0")
        self._to_server.write(end + (_message(b"S", b"") if self._extended else b""))
        await self._to_server.drain()

    def _told(self, body: bytes) -> bytes:
        """An error in Redshift's words."""
        fields = _fields(body)
        if self._error is not None:
            fields = {b"S": b"ERROR", b"V": b"ERROR"} | self._error
            self._error = None
        elif _TOO_LONG.search(fields.get(b"M", b"")):
            fields |= {b"C": b"22001", b"M": b"Value too long for character type"}
        return b"".join(name + value + b"\0" for name, value in fields.items()) + b"\0"


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bytes]]:
    """Kind and body of each message, until the other side is gone."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            kind, length = struct.unpack("!ci", await reader.readexactly(5))
            yield kind, await reader.readexactly(length - 4)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _fields(body: bytes) -> dict[bytes, bytes]:
    return {one[:1]: one[1:] for one in body.split(b"\0") if one}


def _cells(body: bytes) -> list[str | None]:
    cells: list[str | None] = []
    at = 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        length = struct.unpack("!i", body[at : at + 4])[0]
        cells.append(None if length < 0 else body[at + 4 : at + 4 + length].decode())
        at += 4 + max(length, 0)
    return cells
