"""The way of a source, for the tests in its folder."""

from collections.abc import Iterator

import pytest

from include.landing import LandingStore
from tests.conftest import S3, Warehouse
from tests.dbt.project import Project
from tests.local.sandbox.conftest import NOW, running
from tests.sources.way import Way


@pytest.fixture(scope="session")
def sandbox_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A sandbox that takes any key; its clock stands still."""
    with running("--cache-dir", str(tmp_path_factory.mktemp("sandbox-cache")), SANDBOX_NOW=NOW) as sandbox:
        yield sandbox.url


@pytest.fixture
def way(sandbox_url: str, s3: S3, warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Way:
    """Everything that a source's run needs."""
    return Way(
        sandbox_url, LandingStore(s3.client, s3.bucket), warehouse, Project(warehouse, tmp_path_factory.mktemp("dbt"))
    )
