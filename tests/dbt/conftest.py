"""dbt on a warehouse of the module's own, and the real data where it is at hand."""

import pytest

from tests.conftest import Warehouse
from tests.dbt.project import Project


@pytest.fixture(scope="module")
def project(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The dbt project on an empty warehouse whose raw tables exist."""
    made = Project(warehouse, tmp_path_factory.mktemp("dbt"))
    made.create_raw()
    return made
