"""Landings that are booked, without S3: what the warehouse knows of one."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from include.warehouse import landings
from tests.conftest import Warehouse

_ids = itertools.count(1_700_000_000_000_000)


@pytest.fixture
def book(warehouse: Warehouse) -> Callable[..., int]:
    """Book a landing of a partition and return its id; each is newer than the one before."""

    def one(entity: str = "things", partition: str = "2024-01", sha256: str = "0") -> int:
        landing_id = next(_ids)
        landings.register(
            warehouse.dsn("sluice_loader"),
            landing_id=landing_id,
            source="shop",
            entity=entity,
            partition=partition,
            uri=f"s3://bucket/landing/shop/{entity}/dt={partition}/run={landing_id}/",
            sha256=sha256,
            size=1,
            records=None,
            request={"method": "GET"},
            refused=[],
            fetched_at=datetime(2024, 2, 1, tzinfo=UTC),
            dag_run_id="test",
        )
        return landing_id

    return one
