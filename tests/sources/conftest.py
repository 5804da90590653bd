"""The way of a source, for the tests in its folder."""

from collections.abc import Iterator

import pytest

from include.landing import LandingStore
from local import s3 as seaweed
from local.stack import Store
from tests.conftest import Warehouse
from tests.dbt.project import Project
from tests.local.sandbox.conftest import NOW, running
from tests.sources.way import Way


@pytest.fixture(scope="session")
def sandbox_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A sandbox that takes any key; its clock stands still."""
    with running("--cache-dir", str(tmp_path_factory.mktemp("sandbox-cache")), SANDBOX_NOW=NOW) as sandbox:
        yield sandbox.url


@pytest.fixture(scope="module")
def way(sandbox_url: str, s3_server: Store, warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Way:
    """Everything that a source's run needs."""
    client = seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    project = Project(warehouse, tmp_path_factory.mktemp("dbt"))
    return Way(sandbox_url, LandingStore(client, s3_server.bucket), warehouse, project)
