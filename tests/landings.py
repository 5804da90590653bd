"""Landings that are booked, without S3: what the warehouse knows of one."""

import itertools
from datetime import UTC, datetime

from include.warehouse import landings

_ids = itertools.count(1_700_000_000_000_000)


def book(
    dsn: str,
    entity: str = "things",
    partition: str = "2024-01",
    *,
    source: str = "shop",
    sha256: str = "0",
    records: int | None = None,
    fetched_at: datetime = datetime(2024, 2, 1, tzinfo=UTC),
) -> int:
    """Book a landing as `sluice_loader` and return its id; each is newer than the one before."""
    landing_id = next(_ids)
    landings.register(
        dsn,
        landing_id=landing_id,
        source=source,
        entity=entity,
        partition=partition,
        uri=f"s3://bucket/landing/{source}/{entity}/dt={partition}/run={landing_id}/",
        sha256=sha256,
        size=1,
        records=records,
        request={"method": "GET"},
        refused=[],
        fetched_at=fetched_at,
        dag_run_id="test",
    )
    return landing_id
