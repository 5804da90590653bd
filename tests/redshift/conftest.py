"""A Redshift to test with: the front before the session's PostgreSQL and S3 server."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
import redshift_connector
from redshift_connector.core import Connection

from local import postgres as postgresql
from local import s3 as seaweed
from local import stack
from tests.redshift.front import Front, front, prepare

ADMIN = "awsadmin"
PASSWORD = "Admin-password-1"
ROLE = "arn:aws:iam::123456789012:role/sluice-redshift-copy"
"""What COPY and UNLOAD are given; the front looks at its form alone"""


@dataclass(frozen=True)
class Redshift:
    """An empty Redshift database of its own, and its administrator."""

    front: Front
    server: postgresql.Server
    dbname: str

    @property
    def host(self) -> str:
        """Where it listens."""
        return self.front.host

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.front.port

    def connect(self, user: str = ADMIN, password: str = PASSWORD) -> Connection:
        """A connection of redshift_connector, which begins a transaction by itself."""
        return redshift_connector.connect(
            host=self.host, port=self.port, database=self.dbname, user=user, password=password, ssl=False
        )

    def run(self, *statements: str, user: str = ADMIN, password: str = PASSWORD) -> list[Any]:
        """Run statements in one transaction; rows of the last one that has any."""
        with closing(self.connect(user, password)) as connection, connection.cursor() as cursor:
            rows: list[Any] = []
            for statement in statements:
                cursor.execute(statement)
                if cursor.description:
                    rows = [tuple(row) for row in cursor.fetchall()]
            connection.commit()
            return rows


@pytest.fixture(scope="session")
def redshift_front(postgres: postgresql.Server, s3_server: stack.Store) -> Iterator[Front]:
    """The front, one a session."""
    client = seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    with front(postgres, client) as running:
        yield running


def database(running: Front, server: postgresql.Server, dbname: str = "redshift") -> Redshift:
    """An empty database on a server with a front, with an administrator as a new cluster has."""
    made = Redshift(running, server, dbname)
    postgresql.create_database(server, dbname, owner=ADMIN, password=PASSWORD)
    with closing(server.connect(dbname)) as connection, connection.cursor() as cursor:
        cursor.execute(f"alter role {ADMIN} superuser")  # Redshift's own may all that the front does
        cursor.execute(f'grant connect, temporary on database "{dbname}" to public')
        connection.commit()
    prepare(server, dbname)
    return made


@pytest.fixture(scope="module")
def redshift(redshift_front: Front, postgres: postgresql.Server) -> Iterator[Redshift]:
    """An empty Redshift a module."""
    made = database(redshift_front, postgres)
    yield made
    with closing(postgres.connect()) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'drop database "{made.dbname}" with (force)')
