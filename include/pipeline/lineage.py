"""What a task has read and written, told to OpenLineage where a backend is configured (docs/lineage.md).

Airflow's hook lineage carries it: the provider's listener sends what was collected with the event that ends the task.
dbt's tasks are reported by Cosmos, under the same names, so that the way joins up from the landing to `analytics`:

- a landing: namespace `s3://<bucket>`, name `landing/<source>/<entity>/dt=…/run=…`
- a table: namespace `postgres://<host>:<port>`, name `<database>.<schema>.<table>`

Names alone leave the house: no row, no request, no credentials.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.pipeline.steps import Landing


def is_told() -> bool:
    """Whether there is a backend that is told of lineage."""
    from airflow.providers.openlineage.conf import is_disabled

    return not is_disabled()


def report(*, reads: Iterable[str] = (), writes: Iterable[str] = ()) -> None:
    """Tell what the running task has read and written; without a backend nothing is done, nor imported.

    Args:
        reads: URIs of landings (`landing_uris`) and tables (`table_uris`).
        writes: The same.
    """
    if not is_told():
        return
    from airflow.sdk import BaseHook
    from airflow.sdk.lineage import get_hook_lineage_collector

    collector, hook = get_hook_lineage_collector(), BaseHook()
    for uri in dict.fromkeys(reads):
        collector.add_input_asset(context=hook, uri=uri)
    for uri in dict.fromkeys(writes):
        collector.add_output_asset(context=hook, uri=uri)


def fetched(landed: list[Landing], *, is_replay: bool = False) -> list[Landing]:
    """Report landings as written by who fetched them, or as read by who only found them; hand them on."""
    uris = landing_uris(landed)
    report(reads=uris if is_replay else (), writes=() if is_replay else uris)
    return landed


def landing_uris(landed: Iterable[Landing]) -> list[str]:
    """The landings' folders."""
    return [landing["uri"].rstrip("/") for landing in landed]


def table_uris(connection_id: str, schema: str, tables: Iterable[str]) -> list[str]:
    """Tables of the warehouse, by where a connection finds it: `postgres://host:port/database/schema/table`."""
    from include.pipeline.connections import warehouse_address

    address = warehouse_address(connection_id)
    return [f"{address}/{schema}/{table}" for table in tables]
