"""Landings of the test's own warehouse."""

from collections.abc import Callable
from functools import partial

import pytest

from tests import landings
from tests.conftest import Warehouse


@pytest.fixture
def book(warehouse: Warehouse) -> Callable[..., int]:
    """Book a landing of a partition and return its id; each is newer than the one before."""
    return partial(landings.book, warehouse.dsn("sluice_loader"))
