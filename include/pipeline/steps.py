"""What the tasks do, without Airflow: each step takes what it works on as an argument, so it runs in a test or a shell.

A step that has nothing to do raises `NothingToDo` with the reason; the task it runs in is then skipped.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

from include.extract import ApiClient, StatusError
from include.landing import LandingStore, LandingWriter, Manifest
from include.landing.records import iter_batches
from include.pipeline.model import Entity, Source
from include.pipeline.partition import RunPartition
from include.warehouse import landings
from include.warehouse.load import RawTable, create_table, load_batches, load_documents

log = logging.getLogger(__name__)


class NothingToDo(Exception):  # noqa: N818 - it is no error
    """The step has no work, and that is in order: the message says why."""


class FetchError(Exception):
    """The API answered, but not with what was asked for. Asking again would give the same."""


class Landing(TypedDict):
    """What one task tells the next of a landing."""

    landing_id: int
    entity: str
    partition: str
    uri: str


def fetch(
    source: Source,
    entity_name: str,
    partition: RunPartition,
    params: Mapping[str, Sequence[str]],
    *,
    client: ApiClient,
    store: LandingStore,
    dsn: str,
    run_id: str,
) -> Landing:
    """Ask the API for one entity's partition and land what it gives, unmodified.

    Raises:
        NothingToDo: not asked for by this run, not published yet, or the same content as the landing published last.
        FetchError: the API refused, for good.
        ApiError: the API is down or refused the key.
    """
    entity = _wanted(source, entity_name, params)
    with store.begin(
        source=source.name, entity=entity_name, partition=partition.label, run_id=run_id, format=entity.format
    ) as writer:
        if entity.format == "json":
            _land_documents(source, entity, partition, params, client, writer)
        else:
            _land_file(source, entity, partition, client, writer)
        content = writer.seal()
        last = landings.latest(dsn, source=source.name, entity=entity_name, partition=partition.label)
        if last is not None and last.sha256 == content:
            if last.is_published:
                raise NothingToDo(
                    f"{entity_name} {partition.label}: unchanged since landing {last.landing_id}, published"
                )
            log.info("unchanged entity=%s landing_id=%d: it goes on from there", entity_name, last.landing_id)
            return _landing(store.read(last.uri))
        manifest = writer.commit(
            {
                "method": "GET",
                "url": client.url(entity.request.path, {}),
                "params": {name: list(params[name]) for name in sorted(set(entity.request.for_each.values()))},
            }
        )
    _book(dsn, manifest)
    return _landing(manifest)


def fetched_before(
    source: Source,
    entity_name: str,
    partition: RunPartition,
    params: Mapping[str, Sequence[str]],
    *,
    store: LandingStore,
    dsn: str,
) -> Landing:
    """The newest landing of a partition, for a run that rebuilds from S3 alone.

    Raises:
        NothingToDo: not asked for by this run, or it was never landed.
    """
    _wanted(source, entity_name, params)
    manifest = store.latest(source.name, entity_name, partition.label)
    if manifest is None:
        raise NothingToDo(f"{entity_name} {partition.label}: there is no landing in S3; run it without from-landing")
    _book(dsn, manifest)
    return _landing(manifest)


def only_lookups(source: Source, landed: Sequence[Landing]) -> bool:
    """Whether nothing but lookups was landed, which alone is no reason for a run to go on."""
    return all(source.entities[landing["entity"]].lookup for landing in landed)


def raw_table(source: Source, entity_name: str) -> RawTable:
    """The entity's table in raw."""
    entity = source.entities[entity_name]
    return RawTable(
        name=source.table(entity_name),
        mode=entity.load.mode,
        columns=entity.columns or None,
        keys=entity.load.keys,
        description=entity.description,
    )


def load(source: Source, entity_name: str, landing: Landing | None, *, store: LandingStore, dsn: str) -> int:
    """Load a landing into its raw table, which is made first in any case: dbt's views want it.

    Returns:
        Rows loaded.

    Raises:
        NothingToDo: the run landed nothing of this entity.
        LoadError: nothing was loaded.
    """
    table = raw_table(source, entity_name)
    create_table(dsn, table)
    if landing is None:
        raise NothingToDo(f"{entity_name}: this run landed nothing of it")
    manifest = store.read(landing["uri"])
    if table.columns is None:
        return load_documents(dsn, table, manifest.landing_id, store.iter_documents(manifest))
    batches = iter_batches(store, manifest, fields=table.columns, new_columns=source.entities[entity_name].new_columns)
    return load_batches(dsn, table, manifest.landing_id, batches)


def _wanted(source: Source, entity_name: str, params: Mapping[str, Sequence[str]]) -> Entity:
    entity = source.entities[entity_name]
    for param, value in entity.when.items():
        if value not in params[param]:
            raise NothingToDo(f"{entity_name}: this run's {param} are {', '.join(params[param])}")
    return entity


def _land_file(
    source: Source, entity: Entity, partition: RunPartition, client: ApiClient, writer: LandingWriter
) -> None:
    path = entity.request.path.format(partition=partition.start)
    try:
        with client.stream(path, dict(entity.request.query)) as chunks:
            writer.add_file(chunks, entity.format)
    except StatusError as refusal:
        if entity.on_status.get(refusal.status) == "skip":
            raise NothingToDo(
                f"{partition.label} is not published: {client.url(path, {})} answered HTTP {refusal.status}"
            ) from None
        raise FetchError(f"{source.name}: {refusal}") from refusal


def _land_documents(
    source: Source,
    entity: Entity,
    partition: RunPartition,
    params: Mapping[str, Sequence[str]],
    client: ApiClient,
    writer: LandingWriter,
) -> None:
    """One request for each combination of the for-each lists, several at once; landed in the order of the lists."""
    variables = [
        dict(zip(entity.request.for_each, values, strict=True))
        for values in itertools.product(*(params[name] for name in entity.request.for_each.values()))
    ]
    path = entity.request.path
    landed, refusals = 0, []

    def get(values: Mapping[str, str]) -> bytes | StatusError:
        query = {name: text.format(**values, partition=partition.start) for name, text in entity.request.query.items()}
        try:
            return client.get(path.format(**values, partition=partition.start), query)
        except StatusError as refusal:
            if entity.on_status.get(refusal.status) != "record":
                raise
            return refusal

    for values, answer in zip(variables, _in_order(get, variables, entity.request.at_once), strict=True):
        if isinstance(answer, StatusError):
            log.warning("refused %s status=%d", values, answer.status)
            writer.refuse(values, answer.status, answer.body_excerpt)
            refusals.append(values)
        else:
            writer.add_document(answer)
            landed += 1
    if not landed:
        raise FetchError(
            f"{source.name}: the API knows none of what was asked for ({len(refusals)} of {len(variables)} requests "
            f"refused, the first: {refusals[0]}); correct the list in source.yml or the run's parameters"
        )


def _in_order(
    get: Callable[[Mapping[str, str]], bytes | StatusError], requests: Sequence[Mapping[str, str]], at_once: int
) -> Iterator[bytes | StatusError]:
    """The answers in the order of the requests, some of them asked for at once; no more are held than that."""
    with ThreadPoolExecutor(at_once) as pool:
        for first in range(0, len(requests), 4 * at_once):
            yield from pool.map(get, requests[first : first + 4 * at_once])


def _book(dsn: str, manifest: Manifest) -> None:
    landings.register(
        dsn,
        landing_id=manifest.landing_id,
        source=manifest.source,
        entity=manifest.entity,
        partition=manifest.partition,
        uri=manifest.uri,
        sha256=manifest.sha256,
        size=manifest.bytes,
        records=manifest.records,
        request=manifest.request,
        refused=[refusal.model_dump() for refusal in manifest.refused],
        fetched_at=manifest.fetched_at,
        dag_run_id=manifest.run_id,
    )


def _landing(manifest: Manifest) -> Landing:
    return Landing(
        landing_id=manifest.landing_id, entity=manifest.entity, partition=manifest.partition, uri=manifest.uri
    )
