"""What the tasks do, without Airflow: each step takes what it works on as an argument, so it runs in a test or a shell.

A step that has nothing to do raises `NothingToDo` with the reason; the task it runs in is then skipped.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import quote

import pyarrow as pa

from include.extract import ApiClient, KeyRefused, StatusError
from include.extract.paging import PagingError, iter_pages, records_in, value_at
from include.gates import Gates, Verdict, check_frame, merged
from include.landing import Dropped, LandingError, LandingStore, LandingWriter, Manifest
from include.landing.delimited import CsvOptions
from include.landing.footers import parquet_files, types_of
from include.landing.json_records import is_within, landed_records, only_members
from include.landing.profile import profile
from include.landing.records import iter_batches
from include.landing.rejects import Reject
from include.landing.tables import Unreadable
from include.pipeline.callables import Extract, function_of
from include.pipeline.model import Entity, Source
from include.pipeline.partition import PartitionRange, RunPartition, partition_told
from include.pipeline.request import Cursor, FromEntity, Request
from include.warehouse import landings
from include.warehouse.fence import Fence
from include.warehouse.load import Account, CursorMark, RawTable, Record, create_table, load_batches, load_documents
from include.warehouse.session import engine_of

if TYPE_CHECKING:
    import pandas as pd

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
    is_whole: bool = True,
) -> Landing:
    """Ask the API for one entity's partition and land what it gives, unmodified.

    `is_whole` is false for a run that was asked for other parameters than usual: what its landing lacks is not absent.

    Raises:
        NothingToDo: not asked for by this run, not published yet, nothing new since the cursor, or nothing that the
            partition's last landing, published, does not have.
        FetchError: the API refused, or its pages have no end, for good.
        ApiError: the API is down or refused the key.
    """
    entity = _wanted(source, entity_name, params)
    if entity.request is None:
        raise FetchError(f"{source.name}: {entity_name} is of files: fetch_files takes them from the drop zone")
    asked = _Asked(source, entity_name, entity.request, partition, params, client, store, dsn)
    with store.begin(
        source=source.name, entity=entity_name, partition=partition.label, run_id=run_id, format=entity.format
    ) as writer:
        try:
            if entity.is_file or entity.format == "ndjson":
                _land_file(asked, writer)
            else:
                _land_documents(asked, writer)
        except KeyRefused:
            raise
        except (PagingError, StatusError) as fault:
            raise FetchError(f"{source.name}: {entity_name}: {fault}") from fault
        fresh, last = writer.draft(), None
        if entity.unchanged == "skip":
            last = landings.latest(dsn, source=source.name, entity=entity_name, partition=partition.label)
        if last is not None and last.sha256 == fresh.sha256:
            if last.is_published:
                raise NothingToDo(
                    f"{entity_name} {partition.label}: unchanged since landing {last.landing_id}, published"
                )
            log.info("unchanged entity=%s landing_id=%d: it goes on from there", entity_name, last.landing_id)
            return _landing(store.read(last.uri))
        # the first run of a partition asks for more than the next, which begins at the cursor
        if (
            last is not None
            and last.is_published
            and entity.cursor is not None
            and not entity.is_file
            and is_within(store, fresh, store.read(last.uri), entity.records)
        ):
            raise NothingToDo(
                f"{entity_name} {partition.label}: nothing that is not in landing {last.landing_id}, published"
            )
        manifest = writer.commit(
            {
                "method": "GET",
                "url": client.url(entity.request.path, {}),
                "params": {name: list(params[name]) for name in sorted(set(entity.request.params.values()))},
                "is_whole": is_whole and not writer.refused,
            },
            follows=_followed(writer, entity, dsn, source.name, entity_name, partition, run_id),
        )
    book(dsn, manifest)
    return _landing(manifest)


def fetch_files(
    source: Source,
    entity_name: str,
    partition: RunPartition,
    params: Mapping[str, Sequence[str]],
    *,
    store: LandingStore,
    dsn: str,
    run_id: str,
) -> Landing:
    """Land the files of the drop zone (`s3://<bucket>/drop/<source>/`) that are not in raw yet, as they are.

    A file is known by its URI and ETag: dropped again with another content it is landed again.

    Raises:
        NothingToDo: not asked for by this run, or there is no new file.
    """
    entity = _wanted(source, entity_name, params)
    dropped = _new_files(source, entity_name, store, dsn)
    if not dropped:
        raise NothingToDo(f"{entity_name}: no new file at s3://{store.bucket}/drop/{source.name}/{entity.files}")
    return _land_dropped(source, entity_name, partition, dropped, store=store, dsn=dsn, run_id=run_id)


def fetch_stand_ins(
    source: Source, entity_name: str, only: RunPartition | None, *, store: LandingStore, dsn: str, run_id: str
) -> list[Landing]:
    """Land the files of the drop zone that stand in for the API's answers, each as the partition that its name tells.

    A run's parameters bound them no more than its date: who drops a file wants it loaded.

    Args:
        source: the source.
        entity_name: an entity of it; one without `stand_in` has none.
        only: the one partition whose file is taken; None for all that are not in raw yet.
        store: where files and landings lie.
        dsn: postgresql:// URI of `sluice_loader`.
        run_id: the run.
    """
    pattern = source.entities[entity_name].stand_in
    if pattern is None:
        return []
    prefix = f"s3://{store.bucket}/drop/{source.name}/"
    landed = []
    for file in _new_files(source, entity_name, store, dsn):
        partition = partition_told(source.partition_of(entity_name), pattern, file.uri.removeprefix(prefix))
        if partition is not None and only in (None, partition):
            landed.append(_land_dropped(source, entity_name, partition, [file], store=store, dsn=dsn, run_id=run_id))
    return landed


def is_left_to_ask(
    source: Source,
    entity_name: str,
    partition: RunPartition,
    dropped: Sequence[Landing],
    *,
    is_arrival: bool,
    dsn: str,
) -> bool:
    """Whether a run has to ask the API for an entity, beside the files that it took of it.

    Not for the partition that a file has stood in for. A run of files that have arrived asks for nothing at all but for
    the lookups that there are none of yet: rows are told by them.
    """
    if is_arrival and not source.entities[entity_name].lookup:
        return False
    if any(one["partition"] == partition.label for one in dropped):
        return False
    return not is_arrival or not landings.latest(dsn, source=source.name, entity=entity_name, partition=partition.label)


def _new_files(source: Source, entity_name: str, store: LandingStore, dsn: str) -> list[Dropped]:
    known = landings.loaded_files(dsn, source=source.name, entity=entity_name)
    prefix = f"drop/{source.name}/"
    pattern = f"{prefix}{source.entities[entity_name].drop}"
    return [file for file in store.dropped(prefix, pattern) if (file.uri, file.etag) not in known]


def _land_dropped(
    source: Source,
    entity_name: str,
    partition: RunPartition,
    dropped: Sequence[Dropped],
    *,
    store: LandingStore,
    dsn: str,
    run_id: str,
) -> Landing:
    entity = source.entities[entity_name]
    with store.begin(
        source=source.name, entity=entity_name, partition=partition.label, run_id=run_id, format=entity.format
    ) as writer:
        for file in dropped:
            chunks = store.read_dropped(file)
            if entity.format == "json":
                writer.add_document(b"".join(chunks), origin=file.uri, origin_etag=file.etag)
            else:
                ending = f"{entity.format}.gz" if file.uri.endswith(".gz") else entity.format
                writer.add_file(chunks, ending, origin=file.uri, origin_etag=file.etag)
        manifest = writer.commit(
            {"files": [{"uri": file.uri, "etag": file.etag} for file in dropped]},
            follows=_followed(writer, entity, dsn, source.name, entity_name, partition, run_id),
        )
    book(dsn, manifest)
    return _landing(manifest)


def _followed(
    writer: LandingWriter,
    entity: Entity,
    dsn: str,
    source_name: str,
    entity_name: str,
    partition: RunPartition,
    run_id: str,
) -> list[int]:
    """What a landing of a retried run leaves standing of the run's earlier ones.

    Of an entity that goes on from what is loaded: all that was loaded, for this landing begins behind it. Of any
    other, which is fetched as a whole: what has been published.
    """
    if not writer.is_retry:
        return []
    return landings.of_run(
        dsn,
        source=source_name,
        entity=entity_name,
        partition=partition.label,
        dag_run_id=run_id,
        state="loaded" if entity.cursor or entity.files else "published",
    )


def with_pending(source: Source, landed: Sequence[Landing], *, store: LandingStore, dsn: str) -> list[Landing]:
    """The landings that a run is about: its own, and those that an earlier run loaded and did not publish.

    Only entities whose content does not come again (those with a cursor, and files that are loaded once) have the
    latter; of all others the same partition can be run again. One whose files the run has landed anew, corrected, is
    left out: what was wrong with it would stop the run that mends it.
    """
    found = {landing["landing_id"]: landing for landing in landed}
    for name, entity in source.entities.items():
        if entity.cursor or entity.drop:
            own = [store.read(one["uri"]) for one in landed if entity.drop and one["entity"] == name]
            anew = {part.origin for manifest in own for part in manifest.parts}
            for waiting in landings.pending(dsn, source=source.name, entity=name):
                if waiting.landing_id in found:
                    continue
                manifest = store.read(waiting.uri)
                if not entity.cursor and not any(part.origin for part in manifest.parts):
                    continue  # the API's answer, which comes again
                if entity.drop and {part.origin for part in manifest.parts} <= anew:
                    log.info("pending entity=%s landing_id=%d: its files were landed anew", name, waiting.landing_id)
                    continue
                log.info("pending entity=%s landing_id=%d: loaded and not published", name, waiting.landing_id)
                found[waiting.landing_id] = _landing(manifest)
    return [found[landing_id] for landing_id in sorted(found)]


def fetched_before(
    source: Source,
    entity_name: str,
    partitions: PartitionRange,
    params: Mapping[str, Sequence[str]],
    *,
    store: LandingStore,
    dsn: str,
) -> list[Landing]:
    """The landings of some partitions, oldest first, for a run that rebuilds from S3 alone.

    With mode replace the newest of each partition; with any other all of them, for each has added to raw. A run for
    all partitions takes whatever was landed, also what a run's parameters usually leave out.

    Raises:
        NothingToDo: not asked for by this run, or none was ever landed.
    """
    entity = source.entities[entity_name]
    if partitions != PartitionRange():
        _wanted(source, entity_name, params)
    only = partitions.first if partitions.first == partitions.last else None
    found = [one for one in store.landings(source.name, entity_name, only or None) if one.partition in partitions]
    if entity.load.mode == "replace":
        found = sorted({one.partition: one for one in found}.values(), key=lambda one: one.landing_id)
    if not found:
        raise NothingToDo(f"{entity_name} {partitions}: there is no landing in S3; run it without from-landing")
    for manifest in found:
        book(dsn, manifest)
    return [_landing(manifest) for manifest in found]


def gate_landing(
    source: Source,
    gates: Gates,
    landed: Sequence[Landing],
    *,
    store: LandingStore,
    dsn: str,
    is_replay: bool = False,
) -> tuple[list[Landing], Verdict]:
    """Judge landings before anything of them is loaded, and book how many records they hold.

    Args:
        source: the source.
        gates: its gates.
        landed: what the run is about.
        store: where landings lie.
        dsn: postgresql:// URI of `sluice_loader`.
        is_replay: the run takes whatever was landed, also what was refused then and has been made up for since.

    Returns:
        The landings that the run goes on with, and the verdict on them. One that a replay finds refused is not among
        them where a later one holds what it was to bring.
    """
    kept, verdicts = [], []
    for landing in landed:
        entity = source.entities[landing["entity"]]
        frame = profile(
            store,
            store.read(landing["uri"]),
            required=[name for name, column in entity.fields.items() if not column.optional],
            optional=[name for name, column in entity.fields.items() if column.optional],
            records=entity.records,
            csv_options=csv_options(entity),
            sheet=entity.sheet,
            pii=entity.pii,
            quarantine_at_most=entity.quarantine_at_most,
        )
        if frame["records"].notna().all():
            landings.count(dsn, landing["landing_id"], int(frame["records"].sum()))
        verdict = check_frame(gates.layer("landing"), frame, name=landing["entity"])
        if is_replay and not verdict.passed and _is_succeeded(source, landing, landed):
            log.warning("refused again, and left out: %s: %s", landing["uri"], verdict.failures[0].message)
            continue
        kept.append(landing)
        verdicts.append(verdict)
    return kept, merged(verdicts)


def _is_succeeded(source: Source, landing: Landing, landed: Sequence[Landing]) -> bool:
    """Whether a later one of some landings holds what this one was to bring.

    That is a later one of the same partition; where a run goes on from what is loaded (a cursor, dropped files), a
    later one of any, for what this one held is landed again until it is loaded.
    """
    entity = source.entities[landing["entity"]]
    return any(
        later["entity"] == landing["entity"]
        and later["landing_id"] > landing["landing_id"]
        and (later["partition"] == landing["partition"] or bool(entity.cursor or entity.files))
        for later in landed
    )


def only_lookups(source: Source, landed: Sequence[Landing]) -> bool:
    """Whether nothing but lookups was landed, which alone is no reason for a run to go on."""
    return all(source.entities[landing["entity"]].lookup for landing in landed)


def raw_table(source: Source, entity_name: str) -> RawTable:
    """The entity's table in raw."""
    entity = source.entities[entity_name]
    return RawTable(
        name=source.table(entity_name),
        mode=entity.load.mode,
        columns=entity.columns if entity.is_file else None,
        keys=entity.load.keys,
        has_request=entity.has_request,
        cursor=_cursor_mark(entity.cursor) if entity.cursor else None,
        description=entity.description,
        absent=entity.load.absent,
    )


def _cursor_mark(cursor: Cursor) -> CursorMark:
    return CursorMark(cursor.field, cursor.type, cursor.look_back.by if cursor.look_back else None)


def load(
    source: Source,
    entity_name: str,
    landed: Sequence[Landing],
    *,
    store: LandingStore,
    dsn: str,
    run_id: str = "",
    fence: Fence | None = None,
) -> int:
    """Load the run's landings of an entity into its raw table, which is made first in any case: dbt's views want it.

    Rows that cannot be read go to quarantine, up to the entity's `quarantine_at_most`.

    Returns:
        Rows loaded.

    Raises:
        NothingToDo: the run landed nothing of this entity.
        LoadError: nothing of a landing was loaded.
        LandingError: a landing cannot be read as declared.
        Superseded: a later try of the task has taken over from the one of `fence`.
    """
    table = raw_table(source, entity_name)
    create_table(dsn, table)
    own = [landing for landing in landed if landing["entity"] == entity_name]
    if not own:
        raise NothingToDo(f"{entity_name}: this run landed nothing of it")
    return sum(_load_one(source, entity_name, table, store.read(one["uri"]), store, dsn, run_id, fence) for one in own)


def csv_options(entity: Entity) -> CsvOptions:
    """How the entity's CSV files are written."""
    return CsvOptions(encoding=entity.csv.encoding, delimiter=entity.csv.delimiter, quote=entity.csv.quote)


def _load_one(
    source: Source,
    entity_name: str,
    table: RawTable,
    manifest: Manifest,
    store: LandingStore,
    dsn: str,
    run_id: str,
    fence: Fence | None,
) -> int:
    entity = source.entities[entity_name]
    if table.absent != "keep" and not manifest.request.get("is_whole", True):
        table = replace(table, absent="keep")
    account = _account(entity, table, manifest, run_id)
    if engine_of(dsn) == "redshift":
        return _load_by_copy(source, entity_name, table, manifest, store, dsn, account, fence)
    if entity.is_file:
        rows = _rows(source, entity, manifest, store, account)
        return load_batches(dsn, table, manifest.landing_id, rows, account=account, fence=fence)
    records = _records(source, entity_name, manifest, store, account)
    return load_documents(dsn, table, manifest.landing_id, records, account=account, fence=fence)


def _load_by_copy(
    source: Source,
    entity_name: str,
    table: RawTable,
    manifest: Manifest,
    store: LandingStore,
    dsn: str,
    account: Account,
    fence: Fence | None,
) -> int:
    """Have Redshift fetch a landing: its own Parquet files where they are as declared, else what is made of them."""
    from include.warehouse.redshift import load as redshift
    from include.warehouse.redshift.scratch import Scratch

    entity = source.entities[entity_name]
    dropped = tuple((part.origin, part.origin_etag) for part in manifest.parts if part.origin and part.origin_etag)
    target = redshift.Target(dsn, table, manifest.landing_id, account, fence, dropped)
    with Scratch.open(store.client, store.bucket) as scratch:
        if not entity.is_file:
            records = _records(source, entity_name, manifest, store, account)
            return redshift.load_documents(target, records, scratch=scratch)
        if manifest.format == "parquet" and not entity.transform:
            files = parquet_files(store, manifest)
            try:
                types = types_of(files, entity.columns, entity.new_columns)
                return redshift.load_parquet(target, files, types, scratch=scratch)
            except redshift.NotAsDeclared as reason:
                log.info("converted uri=%s: %s", manifest.uri, reason)
            account = _account(entity, table, manifest, account.dag_run_id)
            target = replace(target, account=account)
        return redshift.load_batches(target, _rows(source, entity, manifest, store, account), scratch=scratch)


def _account(entity: Entity, table: RawTable, manifest: Manifest, run_id: str) -> Account:
    return Account(table.name, manifest.landing_id, at_most=entity.quarantine_at_most, dag_run_id=run_id)


def _records(
    source: Source, entity_name: str, manifest: Manifest, store: LandingStore, account: Account
) -> Iterator[Record]:
    """The JSON records of a landing, as raw has them."""
    entity = source.entities[entity_name]
    transform = function_of(source.name, entity.transform) if entity.transform else None
    records: Iterator[Record] = landed_records(store, manifest, entity.records, begin_part=account.begin_part)
    if transform:
        records = _transformed(records, transform)
    if entity.new_columns != "evolve":
        records = _contracted(records, entity, f"{source.name}.{entity_name}")
    return records


def _rows(
    source: Source, entity: Entity, manifest: Manifest, store: LandingStore, account: Account
) -> pa.RecordBatchReader:
    """The rows of a landing of files, as raw has them; the account is told of parts and of rows that are none."""

    def reject(one: Reject) -> None:
        faults = [(fault.column, fault.message) for fault in one.faults]
        account.hold(one.row, faults, payload=one.payload, record=one.record)

    batches = iter_batches(
        store,
        manifest,
        fields=entity.columns,
        new_columns=entity.new_columns,
        csv_options=csv_options(entity),
        sheet=entity.sheet,
        pii={name.lower() for name in entity.pii},
        reject=reject if entity.quarantine_at_most else None,
        part_read=lambda part: account.part(part.part, part.uri, part.first_row, part.row_count),
    )
    if entity.transform:
        batches = _transformed_batches(batches, function_of(source.name, entity.transform))
    return batches


def _transformed(
    records: Iterable[Record], transform: Callable[..., Iterable[Mapping[str, object]]]
) -> Iterator[Record]:
    for record, asked in records:
        if not isinstance(record, bytes):
            yield record, asked
            continue
        try:
            given = json.loads(record)
        except (ValueError, RecursionError) as fault:  # a number of 5,000 digits is none to Python
            yield Unreadable(f"cannot be given to 'transform' ({type(fault).__name__})", record.decode()), asked
            continue
        for made in transform(given):
            yield json.dumps(made, ensure_ascii=False).encode(), asked


def _transformed_batches(
    batches: pa.RecordBatchReader, transform: Callable[[pd.DataFrame], pd.DataFrame]
) -> pa.RecordBatchReader:
    import pandas as pd

    def made() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            frame = transform(batch.to_pandas(types_mapper=pd.ArrowDtype))
            yield pa.RecordBatch.from_pandas(frame, schema=batches.schema, preserve_index=False)

    return pa.RecordBatchReader.from_batches(batches.schema, made())


def _contracted(records: Iterable[Record], entity: Entity, what: str) -> Iterator[Record]:
    """Records under the contract freeze or discard."""
    for number, (record, asked) in enumerate(records):
        if not isinstance(record, bytes):
            yield record, asked
            continue
        kept, others = only_members(record, entity.fields)
        if others and entity.new_columns == "freeze":
            raise LandingError(
                f"{what}: record {number} (from 0) has the member {others[0]!r}, which source.yml does not declare; "
                "declare it under fields, or choose new_columns: evolve or discard"
            )
        yield kept, asked


def _wanted(source: Source, entity_name: str, params: Mapping[str, Sequence[str]]) -> Entity:
    entity = source.entities[entity_name]
    for param, value in entity.when.items():
        if value not in params[param]:
            raise NothingToDo(f"{entity_name}: this run's {param} are {', '.join(params[param])}")
    return entity


@dataclass(frozen=True)
class _Asked:
    """All that a fetch of one entity is about."""

    source: Source
    entity_name: str
    request: Request
    partition: RunPartition
    params: Mapping[str, Sequence[str]]
    client: ApiClient
    store: LandingStore
    dsn: str

    @property
    def entity(self) -> Entity:
        return self.source.entities[self.entity_name]

    def fill(self, text: str, values: Mapping[str, str]) -> str:
        return text.format(**values, partition=self.partition.start)

    def query(self, values: Mapping[str, str]) -> dict[str, str]:
        query = {name: self.fill(text, values) for name, text in self.request.query.items()}
        since = self.since(values)
        if since is not None and self.entity.cursor:
            query[self.entity.cursor.parameter] = since
        return query

    def headers(self, values: Mapping[str, str]) -> dict[str, str]:
        return {name: self.fill(text, values) for name, text in self.request.headers.items()}

    def recorded(self, refusal: StatusError) -> StatusError:
        """The refusal, if the others may go on without what was asked for.

        Raises:
            NothingToDo: the status says that there is nothing yet.
            StatusError: the refusal itself, if they may not.
        """
        match self.entity.on_status.get(refusal.status):
            case "record":
                return refusal
            case "skip":
                raise NothingToDo(f"{self.entity_name} {self.partition.label}: not there: {refusal}") from None
        raise refusal

    def for_function(self) -> Extract:
        return Extract(self.client, self.source, self.entity_name, self.partition, self.params, self.since)

    def path(self, values: Mapping[str, str]) -> str:
        return self.fill(self.request.path, {name: quote(value, safe="") for name, value in values.items()})

    def since(self, values: Mapping[str, str]) -> str | None:
        """Where the cursor stands for a request, as far back as the entity looks."""
        cursor = self.entity.cursor
        if cursor is None:
            return None
        before = (self.partition.start - timedelta(days=cursor.look_back.days)).date() if cursor.look_back else None
        since = landings.cursor(self.dsn, self.source.name, self.entity_name, values, kind=cursor.type, before=before)
        log.info("cursor entity=%s request=%s since=%s", self.entity_name, dict(values), since or "the beginning")
        return since

    def variables(self) -> list[dict[str, str]]:
        """The values of each request: one for each combination of the for-each lists, in their order."""
        lists = [
            self.params[use] if isinstance(use, str) else self._of_parent(use) for use in self.request.for_each.values()
        ]
        return [dict(zip(self.request.for_each, values, strict=True)) for values in itertools.product(*lists)]

    def _of_parent(self, parent: FromEntity) -> list[str]:
        is_mine = self.source.partition_of(parent.entity) == self.source.partition_of(self.entity_name)
        partition = self.partition.label if is_mine else "all"
        last = landings.latest(self.dsn, source=self.source.name, entity=parent.entity, partition=partition)
        if last is None:
            raise NothingToDo(f"{self.entity_name}: it is asked for by {parent.entity}, of which nothing was landed")
        records = landed_records(self.store, self.store.read(last.uri), self.source.entities[parent.entity].records)
        values = (
            value_at(json.loads(record, parse_int=str, parse_float=str), parent.field)
            for record, _ in records
            if isinstance(record, bytes)
        )
        return list(dict.fromkeys(str(value) for value in values if value is not None))


def _land_file(asked: _Asked, writer: LandingWriter) -> None:
    entity, client = asked.entity, asked.client
    if entity.extract:
        writer.add_file(function_of(asked.source.name, entity.extract)(asked.for_function()), entity.format)
        return
    path = asked.path({})
    try:
        with client.stream(path, asked.query({})) as chunks:
            writer.add_file(chunks, entity.format)
    except StatusError as refusal:
        if entity.on_status.get(refusal.status) == "skip":
            raise NothingToDo(
                f"{asked.partition.label} is not published: {client.url(path, {})} answered HTTP {refusal.status}"
            ) from None
        raise


def _land_documents(asked: _Asked, writer: LandingWriter) -> None:
    """One request for each combination of the for-each lists; landed in the order of the lists, page by page."""
    landed, records, refusals = 0, 0, []
    is_counted = asked.entity.cursor is not None or asked.entity.load.absent != "keep"
    for values, answer, found in _answers(asked):
        if isinstance(answer, StatusError):
            log.warning("refused %s status=%d", values, answer.status)
            writer.refuse(values, answer.status, answer.body_excerpt)
            refusals.append(values)
        else:
            writer.add_document(answer, values=values or None)
            landed += 1
            if is_counted:
                records += _count(answer, asked.request.records) if found is None else found
    if refusals and not landed:
        raise FetchError(
            f"{asked.source.name}: the API knows none of what was asked for ({len(refusals)} requests refused, the "
            f"first: {refusals[0]}); correct the list in source.yml or the run's parameters"
        )
    if asked.entity.load.absent != "keep" and not records:
        raise FetchError(
            f"{asked.source.name}: {asked.entity_name}: the API gave no record at all, and load.absent would take all "
            "rows for gone; if they are, delete them by hand"
        )
    if asked.entity.cursor and not records:
        raise NothingToDo(f"{asked.entity_name}: nothing new since the cursor")


def _count(answer: bytes, path: str | None) -> int:
    """How many records an answer has. What is no JSON counts for one: it is landed, and the landing's gate says it."""
    try:
        return len(records_in(json.loads(answer, parse_int=str, parse_float=str), path))
    except (ValueError, RecursionError):
        return 1


def _answers(asked: _Asked) -> Iterator[tuple[Mapping[str, str], bytes | StatusError, int | None]]:
    """Each payload with the values of the request that it answers, or the refusal where that is in order.

    The third is how many records it has, where that is known already.
    """
    request, client = asked.request, asked.client
    if asked.entity.extract:
        for given in function_of(asked.source.name, asked.entity.extract)(asked.for_function()):
            payload, values = given if isinstance(given, tuple) else (given, {})
            yield values, payload, None
        return
    variables = asked.variables()
    if request.paging:
        for values in variables:
            pages = iter_pages(
                client,
                asked.path(values),
                asked.query(values),
                paging=request.paging,
                records=request.records,
                headers=asked.headers(values),
            )
            try:
                first = next(pages)
            except StatusError as refusal:
                yield values, asked.recorded(refusal), None
                continue
            yield values, first.body, len(first.records)
            for page in pages:
                yield values, page.body, len(page.records)
        return

    def get(values: Mapping[str, str]) -> bytes | StatusError:
        try:
            return client.ask(asked.path(values), asked.query(values), headers=asked.headers(values)).body
        except StatusError as refusal:
            return asked.recorded(refusal)

    for values, answer in zip(variables, _in_order(get, variables, request.at_once), strict=True):
        yield values, answer, None


def _in_order(
    get: Callable[[Mapping[str, str]], bytes | StatusError], requests: Sequence[Mapping[str, str]], at_once: int
) -> Iterator[bytes | StatusError]:
    """The answers in the order of the requests, some of them asked for at once; four times as many are held at most."""
    left = iter(requests)
    pool = ThreadPoolExecutor(at_once)
    try:
        asked = deque(pool.submit(get, values) for values in itertools.islice(left, 4 * at_once))
        while asked:
            answer = asked.popleft().result()
            asked.extend(pool.submit(get, values) for values in itertools.islice(left, 1))
            yield answer
    finally:
        pool.shutdown(cancel_futures=True)


def book(dsn: str, manifest: Manifest) -> None:
    """Book a landing as its manifest tells of it; once more changes nothing."""
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
