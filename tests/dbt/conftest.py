"""dbt on a warehouse of the module's own, and the real data where it is at hand."""

import os
from pathlib import Path

import pytest

from tests.conftest import Warehouse
from tests.dbt.project import Project

_DATA = Path(os.environ.get("SLUICE_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


@pytest.fixture(scope="module")
def project(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The dbt project on an empty warehouse whose raw tables exist."""
    made = Project(warehouse, tmp_path_factory.mktemp("dbt"))
    made.create_raw()
    return made


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real payloads; without it the test is skipped."""
    if not _DATA.is_dir():
        pytest.skip(f"no real data: {_DATA} is not there; SLUICE_TEST_DATA says where it is")
    return _DATA
