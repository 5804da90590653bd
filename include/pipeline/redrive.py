"""The task of the DAG `redrive`: what to run again of a source, so that its held rows come back."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

log = logging.getLogger(__name__)


@task
def find_held() -> dict[str, Any]:
    """The configuration of the source's run: which landings have held rows is looked up again when it runs.

    Raises:
        AirflowSkipException: nothing is held.
        AirflowFailException: the source has no such entity.
    """
    from include.pipeline import connections
    from include.pipeline.model import load_source
    from include.warehouse import quarantine

    params = get_current_context()["params"]
    source, entity, landing_id = params["source"], params["entity"], params["landing_id"]
    entities = load_source(source).entities
    if entity not in (None, *entities):
        raise AirflowFailException(f"{source} has no entity {entity!r}; it has {', '.join(entities)}")
    found = [
        one
        for one in quarantine.held(connections.warehouse_dsn(connections.LOADER), source, entity)
        if landing_id in (None, one.landing_id)
    ]
    if not found:
        what = ".".join(filter(None, (source, entity)))
        reason = f"{what}: no row of {f'landing {landing_id}' if landing_id else 'it'} is in quarantine"
        log.info("skipped: %s", reason)
        raise AirflowSkipException(reason)
    for one in found:
        log.info("held source=%s entity=%s landing_id=%d rows=%d", source, one.entity, one.landing_id, one.rows)
    return {"redrive": True, "redrive_entity": entity, "redrive_landing": landing_id}
