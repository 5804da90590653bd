"""A warehouse on Redshift: the front's database, bootstrapped."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from include.warehouse.redshift.bootstrap import ROLES, USERS, bootstrap
from tests import landings
from tests.conftest import S3
from tests.redshift.conftest import ADMIN, PASSWORD, ROLE, Redshift

if TYPE_CHECKING:
    from tests.redshift.warehouse.bench import Bench


@dataclass(frozen=True)
class Warehouse:
    """A bootstrapped warehouse; .dsn(user) for each user of a step, and the owner."""

    redshift: Redshift

    def password(self, user: str) -> str:
        """The fixed password of a user."""
        return PASSWORD if user == ADMIN else f"{user}-Password-1"

    def dsn(self, user: str = ADMIN) -> str:
        """A redshift:// URI of a user."""
        place = f"{self.redshift.host}:{self.redshift.port}/{self.redshift.dbname}"
        return f"redshift://{user}:{self.password(user)}@{place}?sslmode=disable&iam_role={quote(ROLE)}"

    def ask(self, *statements: str, user: str = ADMIN) -> list[Any]:
        """Run statements in one transaction; the rows of the last."""
        return self.redshift.run(*statements, user=user, password=self.password(user))


@pytest.fixture(scope="module")
def warehouse(redshift: Redshift) -> Iterator[Warehouse]:
    """A warehouse a module, with users and roles of its own; they go with it."""
    made = Warehouse(redshift)
    with closing(redshift.server.connect(redshift.dbname)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        # the tests' other warehouses are on the same server, where these are users that log in
        cursor.execute("select rolname from pg_roles where rolname = any(%s)", (list(ROLES),))
        shared = [name for (name,) in cursor.fetchall()]
        for name in shared:
            cursor.execute(f'alter role "{name}" nologin')
        bootstrap(made.dsn(), {user: made.password(user) for user in USERS})
        yield made
        for name in shared:
            cursor.execute(f'alter role "{name}" login')


@pytest.fixture
def book(warehouse: Warehouse) -> Callable[..., int]:
    """Book a landing of a partition and return its id; each is newer than the one before."""
    return partial(landings.book, warehouse.dsn("sluice_loader"))


@pytest.fixture
def bench(s3: S3, warehouse: Warehouse) -> "Bench":
    """Landings in a bucket of the test's own."""
    from tests.redshift.warehouse.bench import Bench

    return Bench(s3, warehouse)
