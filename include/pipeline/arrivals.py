"""The DAG `arrivals`: a file that has arrived in the drop zone has its source's DAG run, within the minute.

S3's event -> SQS -> the watcher of the asset `drop_zone` -> `arrivals` looks what is new -> the asset `drop_<source>`
-> the source's DAG, in a run that takes dropped files and asks no API. Airflow makes one run of all events that come
while another is under way, at both DAGs (`max_active_runs=1`), and every run takes all that it finds in the drop zone:
an event that is doubled, late or out of order does nothing, and one that is lost is made up for by the hourly look.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import (
    Asset,
    AssetAlias,
    AssetOrTimeSchedule,
    AssetWatcher,
    CronTriggerTimetable,
    Variable,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.utils.types import DagRunType

if TYPE_CHECKING:
    from include.pipeline.model import Source

log = logging.getLogger(__name__)

QUEUE = os.environ.get("SLUICE_DROP_QUEUE", "")
"""URL of the SQS queue; without one nobody rings, and sources take dropped files by their schedule alone"""
EVERY_HOUR = "17 * * * *"
ARRIVED = AssetAlias("arrived")
"""stands for the assets `drop_<source>` of the sources whose files are there, which is known when the task runs"""
TOLD = "arrivals__strays_told"
"""Airflow Variable: the strays that somebody has been told of"""
_NAMED = 20


def arrived(source: str) -> Asset:
    """The asset whose update says that a source has new files in the drop zone."""
    return Asset(name=f"drop_{source}", uri=f"sluice://drop/{source}")


def is_arrival(dag_run: Any, triggering: Iterable[Asset | AssetAlias]) -> bool:  # noqa: ANN401 - Airflow's own
    """Whether a source's run is for nothing but files that have arrived.

    Args:
        dag_run: the run, as a task's context has it.
        triggering: its assets, as `triggering_asset_events` has them.
    """
    if dag_run.run_type != DagRunType.ASSET_TRIGGERED:
        return False
    return {asset.name for asset in triggering} <= {arrived(dag_run.dag_id).name, ARRIVED.name}


def schedule() -> AssetOrTimeSchedule | None:
    """When `arrivals` runs: at a message of the queue, and every hour; by hand alone where there is no queue."""
    if not QUEUE:
        return None
    from include.pipeline.connections import S3
    from include.pipeline.drop_queue import DropQueueTrigger

    bell = AssetWatcher(name="drop_queue", trigger=DropQueueTrigger(QUEUE, S3))
    return AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(EVERY_HOUR, timezone="UTC", run_immediately=timedelta(0)),
        assets=[Asset(name="drop_zone", uri="sluice://drop", watchers=[bell])],
    )


@task(outlets=[ARRIVED])
def look() -> dict[str, list[str]]:
    """See what has arrived, and update the asset of each source that it is for.

    Returns:
        `strays`: files that no entity takes and that nobody has been told of; `known`: all strays that are there.
    """
    from include.pipeline import connections
    from include.pipeline.drop_zone import explain, survey

    sources, unreadable = _sources()
    store = connections.landing_store()
    found = survey(sources, store, connections.warehouse_dsn(connections.LOADER), unreadable=unreadable)
    context = get_current_context()
    for name, files in sorted(found.arrived.items()):
        uris = [file.uri for file in files]
        context["outlet_events"][ARRIVED].add(arrived(name), extra={"count": len(uris), "files": [*uris[:_NAMED]]})
        is_paused = context["ti"].get_dag(name).is_paused
        log.info("arrived source=%s files=%d first=%s paused=%s", name, len(uris), uris[0], is_paused)
        if is_paused:
            log.warning("source=%s is paused: its files are taken within an hour of its being switched on", name)
    told = set(json.loads(Variable.get(TOLD, default="[]")))
    known = {f"{stray.uri} {stray.etag}": stray for stray in found.strays}
    return {
        "strays": [explain(stray, sources, store.bucket) for name, stray in known.items() if name not in told],
        "known": list(known),
    }


@task
def tell_strays(found: Mapping[str, list[str]]) -> None:
    """Say once, by failing, which files are nobody's.

    Raises:
        AirflowFailException: there are some that nobody was told of.
        AirflowSkipException: there are none.
    """
    if not found["strays"]:
        raise AirflowSkipException("every file of the drop zone is taken by an entity, or was spoken of before")
    Variable.set(TOLD, json.dumps(found["known"]), description="Files of the drop zone that no source takes.")
    lines = found["strays"][:_NAMED]
    more = len(found["strays"]) - len(lines)
    raise AirflowFailException(
        "\n".join([*lines, *([f"and {more} more"] if more else [])])
        + "\nThey are left alone, and this is said once. Move each to where an entity takes it, or remove it."
    )


@task
def check_queue() -> None:
    """See every hour that the queue answers and that its messages are taken.

    Raises:
        AirflowFailException: it does not.
        AirflowSkipException: there is none, or it has just spoken.
    """
    from airflow.providers.amazon.aws.hooks.sqs import SqsHook
    from botocore.exceptions import BotoCoreError, ClientError

    from include.pipeline.connections import S3

    run: Any = get_current_context()["dag_run"]
    if not QUEUE or run.run_type == DagRunType.ASSET_TRIGGERED:
        raise AirflowSkipException("SLUICE_DROP_QUEUE is not set" if not QUEUE else "the queue has just spoken")
    client: Any = SqsHook(aws_conn_id=S3).get_conn()
    try:
        answer = client.get_queue_attributes(QueueUrl=QUEUE, AttributeNames=["All"])
    except (BotoCoreError, ClientError) as fault:
        raise AirflowFailException(
            f"{QUEUE} (SLUICE_DROP_QUEUE) does not answer: {fault}. Dropped files are taken by the hourly look and by "
            f"their sources' schedules until it does: see that it is there, and that connection {S3!r} may receive "
            "from it, delete, and read its attributes"
        ) from None
    waiting = int(answer["Attributes"]["ApproximateNumberOfMessages"])
    log.info("queue=%s waiting=%d under_way=%s", QUEUE, waiting, answer["Attributes"].get(_TAKEN))


_TAKEN = "ApproximateNumberOfMessagesNotVisible"


def _sources() -> tuple[dict[str, Source], set[str]]:
    """The sources by name, and the names of those whose `source.yml` is wrong (their DAG's import error says how)."""
    from include.pipeline.model import SourceError, load_source, source_names

    sources, unreadable = {}, set()
    for name in source_names():
        try:
            sources[name] = load_source(name)
        except SourceError:
            log.warning("source=%s cannot be read: its files wait", name)
            unreadable.add(name)
    return sources, unreadable
