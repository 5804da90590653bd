"""The tasks of the DAG `maintenance`: what is left behind, and what is kept long enough, goes."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import get_current_context, task

from include.pipeline.model import load_source, source_names

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

_ATTEMPT_DAYS = 90
"""how long ops.attempt remembers a task's tries; a task that is cleared after that begins anew"""


@task
def sweep_landings() -> Mapping[str, int]:
    """Remove from S3 what landings that were killed have left, once the grace time is over.

    Returns:
        How many folders, objects and unfinished uploads were removed.
    """
    from include.pipeline import connections

    swept = connections.landing_store().sweep(timedelta(hours=get_current_context()["params"]["grace_hours"]))
    return {"folders": len(swept.folders), "objects": swept.objects, "uploads": swept.uploads}


@task
def sweep_lake() -> int:
    """Remove from S3 what the lake's catalogue leads to no more, once the grace time is over; how many objects."""
    from include.pipeline import connections
    from include.pipeline.lake import sweep_marts

    return sweep_marts(connections.lake(), timedelta(hours=get_current_context()["params"]["grace_hours"]))


@task
def purge_quarantine() -> dict[str, int]:
    """Delete rows that have been in quarantine for longer than each source keeps them.

    Returns:
        Source -> rows deleted. A source whose folder is wrong is left for another day; its own import error tells.
    """
    from include.pipeline import connections
    from include.pipeline.model import SourceError
    from include.warehouse import quarantine

    dsn, purged = connections.warehouse_dsn(connections.LOADER), {}
    for name in source_names():
        try:
            days = load_source(name).quarantine_days
        except SourceError as fault:
            log.warning("quarantine of source=%s is left as it is: %s", name, fault)
            continue
        purged[name] = quarantine.purge(dsn, name, days)
    return purged


@task
def forget_attempts() -> int:
    """Delete the tries of tasks of long ago from `ops.attempt`; how many."""
    from include.pipeline import connections
    from include.warehouse.fence import forget

    return forget(connections.warehouse_dsn(connections.LOADER), older_than_days=_ATTEMPT_DAYS)
