"""Erasure of a person: out of all that a source has landed, loaded, built and published, and the proof that it is so.

The person becomes a pseudonym, random and the same in all of the person's records; what else is personal becomes
`erased`. Rows, positions, counts and sums stay. In order, each step such that whoever goes on after a crash can:

1. `ops.erasure` books that it has begun, with what is known of the person, encrypted with a key made of the person's
   value: whoever goes on has to know it
2. landed objects (`include.landing.erase_objects`), and the drop zone, whose files that are landed are deleted
3. raw, quarantine and the bookkeeping, in one transaction
4. the person's rows of dbt's models are deleted, and built anew from raw as the pseudonym's; the gates judge them
5. what is published, in one transaction: the person's rows go and the pseudonym's come
6. copies: in the lake, slices that the person was in are written anew, and what they were goes at once, with all its
   versions; in the mirror, they are replaced
7. files of ours in which a value could stand (logs, reports, mails)
8. the proof: a search of every column of text or JSON in every schema, of every landed object, of the drop zone and of
   the lake
9. `ops.erasure` forgets what was known of the person

The command for it is `include.pipeline.forget`; the launcher has its own, which gives it the local stack.
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import json
import logging
import os
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import psycopg2
from cryptography.fernet import Fernet, InvalidToken

from include.lake.marts import PREFIX as LAKE
from include.landing import LandingStore, Manifest
from include.landing.erase import ERASED, Erasing, Found, Shape, read, texts
from include.landing.erase_objects import (
    all_manifests,
    delete_for_good,
    former_versions,
    open_dropped,
    open_object,
    rewrite_dropped,
    rewrite_landing,
    unnamed,
)
from include.landing.needles import Needles
from include.landing.store import Dropped
from include.pipeline.lake import Lake, export_marts, sweep_marts
from include.pipeline.mirror import Mirror, mirror_marts
from include.pipeline.model import Source, source_names
from include.pipeline.rebuild import DbtProject, Model
from include.pipeline.steps import csv_options, raw_table
from include.warehouse import turn
from include.warehouse.erase import (
    ErasedLanding,
    ModelTable,
    Person,
    PersonalTable,
    delete_person,
    erase_rows,
    landings_of,
    personal_values,
)
from include.warehouse.peace import alone
from include.warehouse.publish import Mart, Published, book, marts, publish, published_table
from include.warehouse.search import search
from include.warehouse.session import PsycopgSession, Session, psycopg_session
from include.warehouse.slices import Slice
from include.warehouse.slices import of_rows as slices_of

log = logging.getLogger(__name__)

KEY_OF_PERSON = "person_id"
"""kind (meta.pii) of a model's column that holds surrogate_key() of the person field"""

_TOO_COMMON = 4
"""characters: a shorter value stands in many places that are not about the person"""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TEXTS = (".log", ".txt", ".html", ".json", ".jsonl", ".eml", ".csv", ".yml", ".xml", ".md", "")


class ForgetError(Exception):
    """The person is not erased, or not wholly: the message says what stands in the way. Doing it again goes on."""


@dataclass(frozen=True)
class Access:
    """What an erasure works on.

    Attributes:
        store: The landings.
        loader: postgresql:// URI of `sluice_loader`: raw, quarantine, ops.
        transformer: of `sluice_transformer`: staging, marts.
        publisher: of `sluice_publisher`: analytics, personal.
        gate: of `sluice_gate`, which judges what is built anew.
        dbt: The models; None where the source has none.
        folders: Files of ours in which a value could stand: logs, reports, mails.
        lake: Where published marts are exported to; None where they are not.
        mirror: Where the source's published marts are copied to; None where they are not.
        is_running: Whether the run of the source's DAG that built its models last is under way.
    """

    store: LandingStore
    loader: str = field(repr=False)
    transformer: str = field(repr=False)
    publisher: str = field(repr=False)
    gate: str = field(repr=False)
    dbt: DbtProject | None
    folders: Sequence[Path] = ()
    lake: Lake | None = None
    mirror: Mirror | None = None
    is_running: Callable[[str], bool] = lambda _: False


@dataclass
class Outcome:
    """What was found, and what has become of it.

    Attributes:
        pseudonym: What stands in the place of the person; None where there was nothing.
        objects: Objects of S3 written anew or deleted.
        records: Records in them.
        rows: Rows changed or deleted, by table.
        files: Files of ours with a value of the person.
        waiting: Landings of the person that are loaded and not published yet.
        places: Columns, objects and files searched in the end.
        values: Values searched for.
        common: Values of the person that are others' too, or too short to tell: not searched for.
        left: Where a value was still found -> how often.
    """

    pseudonym: str | None = None
    objects: int = 0
    records: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    waiting: int = 0
    places: int = 0
    values: int = 0
    common: int = 0
    left: dict[str, int] = field(default_factory=dict)

    @property
    def is_nothing(self) -> bool:
        """Whether nothing of the person is there."""
        return self.pseudonym is None and not self.records and not self.rows


@dataclass
class _Known:
    """What is known of a person.

    Attributes:
        pseudonym: What is to take its place.
        names: The person field's values, just as records write them.
        values: All other values of personal data.
        shared: Those that are somebody else's too, or tell nothing.
    """

    pseudonym: str
    names: set[str] = field(default_factory=set)
    values: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)

    @property
    def spellings(self) -> frozenset[str]:
        """The person field's values without white space around them, and the pseudonym, which they may be already."""
        return frozenset({name.strip() for name in self.names} | {self.pseudonym})

    @property
    def ids(self) -> list[str]:
        """The person field's values, and dbt's surrogate keys of them (macros/surrogate_key.sql)."""
        return sorted(self.names | {_surrogate_key(name) for name in self.names})

    @property
    def telling(self) -> set[str]:
        """Values that lead to the person and to nobody else."""
        mine = {value for value in self.values if not _is_common(value)} - self.shared
        return (mine | set(self.ids)) - {self.pseudonym, ERASED}


def forget(
    source: Source,
    person: str,
    access: Access,
    *,
    dry_run: bool = False,
    confirm: Callable[[Outcome], bool] = lambda _: True,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Erase a person from all that a source has brought.

    Args:
        source: A source with `person` in its source.yml.
        person: The value that tells the person apart.
        access: What to work on.
        dry_run: Only say what there is.
        confirm: Asked once, with what there is; a no leaves all as it was.
        say: Told each step.

    Returns:
        What was found and done. With `left`, some values are elsewhere: the erasure is unfinished.

    Raises:
        ForgetError: The source has no `person`; a run builds its models; a record cannot be written anew.
    """
    person = person.strip()
    if source.person is None:
        raise ForgetError(f"{source.name}: source.yml does not say which field tells persons apart: give it 'person'")
    if not person or person == ERASED:
        raise ForgetError("the person's value is empty: give what the field holds, or - to be asked for it")
    with alone(
        access.loader, source.name, waiting=lambda: say(f"waiting for tasks of {source.name} that fetch, load or gate")
    ):
        return _Erasure(source, person, access, say).run(dry_run=dry_run, confirm=confirm)


class _Erasure:
    """One erasure on its way."""

    def __init__(self, source: Source, person: str, access: Access, say: Callable[[str], None]) -> None:
        self.source, self.person, self.access, self.say = source, person, access, say
        self.outcome = Outcome()
        self.entities = {name: entity for name, entity in source.entities.items() if entity.pii}
        self.shapes = {name: _shape(source, name) for name in self.entities}
        self.tables = [_personal_table(source, name) for name in self.entities]
        unfinished = self._unfinished()
        self.erasure_id = unfinished[0] if unfinished else None
        self.known = unfinished[1] if unfinished else _Known(f"{ERASED}-{secrets.token_hex(16)}")
        self.run_id = ""
        self.landings: list[Manifest] = []
        self.known.names.add(person)

    def run(self, *, dry_run: bool, confirm: Callable[[Outcome], bool]) -> Outcome:
        outcome, known = self.outcome, self.known
        self.say(f"looking through what {self.source.name} has landed and loaded")
        self._survey()
        if self.erasure_id is None and outcome.is_nothing:
            self._prove(only_person=True)
            return outcome
        if dry_run or not confirm(outcome):
            return outcome
        self._take_turn()
        self._begin()
        outcome.pseudonym, outcome.objects, outcome.records, outcome.rows = known.pseudonym, 0, 0, {}
        erasing = Erasing(known.spellings, known.pseudonym, Needles(known.telling))
        self.say("erasing from landed objects and the drop zone")
        self._erase_objects(erasing)
        self.say("erasing from raw, quarantine and the bookkeeping")
        self._erase_rows()
        self._erase_models()
        self._erase_copies()
        self._erase_files()
        self.say("searching for what is left")
        self._prove(only_person=False)
        if not outcome.left:
            self._finish()
        return outcome

    # --- what there is ------------------------------------------------------------------------------------------------

    def _survey(self) -> None:
        """Find the person's records and values, and which of those are others' too."""
        known, outcome = self.known, self.outcome
        for place, shape, found in self._landed_records():
            if shape.is_of(found.personal, known.spellings):
                if shape.format == "xlsx":
                    raise ForgetError(
                        f"{place}: a workbook holds the person, and Sluice does not write workbooks: have it dropped "
                        "again without the person, delete its landing by hand, and do this again; nothing was changed"
                    )
                outcome.records += 1
                self._learn(shape, found.personal)
        rows, held, values = personal_values(self.access.loader, self.tables, sorted(known.spellings))
        outcome.rows = {name: count for name, count in (("raw", rows), ("quarantine", held)) if count}
        for name, count in self._model_rows().items():
            outcome.rows[name] = count
        known.names |= {value for value in values if value.strip() in known.spellings}
        known.values |= {value for value in values if value}
        known.values -= known.names | {known.pseudonym, ERASED}
        if not (needles := Needles(known.telling)).values or outcome.is_nothing:
            return
        for _, shape, found in self._landed_records():
            if found.personal and not shape.is_of(found.personal, known.spellings):
                known.shared |= needles.found("\n".join(filter(None, found.personal.values()))) - set(known.ids)

    def _learn(self, shape: Shape, personal: Mapping[str, str | None]) -> None:
        for name, value in personal.items():
            if value and name == shape.person:
                self.known.names.add(value)
            elif value:
                self.known.values.add(value)
        self.known.names.discard(self.known.pseudonym)

    def _landed_records(self) -> Iterator[tuple[str, Shape, Found]]:
        """Place, shape and record of all that lies in the source's landings and in its drop zone."""
        store = self.access.store
        for manifest in all_manifests(store, self.source.name):
            if shape := self.shapes.get(manifest.entity):
                for part in manifest.parts:
                    with store.open_part(manifest, part) as file:
                        for found in read(file, shape):
                            yield manifest.uri + part.name, shape, found
        for entity, dropped in self._dropped():
            shape = _of_file(self.shapes[entity])
            with open_dropped(store, dropped) as content:
                for found in read(content, shape):
                    yield dropped.uri, shape, found

    def _dropped(self) -> Iterator[tuple[str, Dropped]]:
        prefix = f"drop/{self.source.name}/"
        for name, entity in self.entities.items():
            if entity.drop:
                for file in self.access.store.dropped(prefix, f"{prefix}{entity.drop}"):
                    yield name, file

    def _model_rows(self) -> dict[str, int]:
        """Rows of the models and marts that are the person's."""
        counts: dict[str, int] = {}
        for dsn, tables in ((self.access.transformer, self._models()), (self.access.publisher, self._marts())):
            with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
                for table in tables:
                    cursor.execute(
                        "select from pg_class where oid = to_regclass(%s) and relkind in ('r', 'p')", (table.name,)
                    )
                    if not cursor.rowcount:
                        continue
                    mine = " or ".join(f'"{column}" = any(%s)' for column in table.ids)
                    cursor.execute(
                        f"select count(*) from {table.name} where {mine}",  # noqa: S608 - names of dbt's manifest
                        [self.known.ids] * len(table.ids),
                    )
                    if (found := cursor.fetchone()) and found[0]:
                        counts[table.name.replace('"', "")] = int(found[0])
        return counts

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _take_turn(self) -> None:
        """Have the models of the source for this erasure alone; a run that wants to build them waits, or is refused."""
        own = f"forget__{datetime.now(UTC).isoformat(timespec='milliseconds')}"
        holder = turn.take(self.access.loader, self.source.name, own, is_running=self.access.is_running)
        if holder is not None:
            raise ForgetError(
                f"{self.source.name}: the run {holder} builds its models: wait until it has ended (./sluice status), "
                "and do this again"
            )
        self.run_id = own

    def _erase_objects(self, erasing: Erasing) -> None:
        store, outcome, at = self.access.store, self.outcome, datetime.now(UTC)
        # nobody is landing now, so what no manifest names is what a killed fetch or erasure has left
        for key in unnamed(store, self.source.name):
            delete_for_good(store, key)
            outcome.objects += 1
        for manifest in all_manifests(store, self.source.name):
            if (shape := self.shapes.get(manifest.entity)) is None:
                continue
            made, records = rewrite_landing(store, manifest, shape, erasing, at=at)
            outcome.objects += sum(one.name != was.name for one, was in zip(made.parts, manifest.parts, strict=True))
            outcome.records += records
            if made.erased_at is not None:
                self.landings.append(made)
        landed = {
            (part.origin, part.origin_etag) for one in all_manifests(store, self.source.name) for part in one.parts
        }
        person = Needles(self.known.names)
        for entity, file in self._dropped():
            shape = _of_file(self.shapes[entity])
            if (file.uri, file.etag) not in landed:
                if records := rewrite_dropped(store, file, shape, erasing):
                    outcome.objects, outcome.records = outcome.objects + 1, outcome.records + records
                continue
            with open_dropped(store, file) as content:
                is_of = any(
                    shape.is_of(found.personal, erasing.spellings) or person.found(found.text)
                    for found in read(content, shape)
                )
            if is_of:
                delete_for_good(store, file.uri.removeprefix(f"s3://{store.bucket}/"))
                outcome.objects += 1
        for prefix in (f"landing/{self.source.name}/", f"drop/{self.source.name}/"):
            for key in former_versions(store, prefix):
                delete_for_good(store, key, but_current=True)

    def _erase_rows(self) -> None:
        known = self.known
        person = Person(sorted(known.spellings), known.pseudonym, sorted(known.telling))
        raw, held, of_ops = erase_rows(
            self.access.loader,
            self.tables,
            person,
            [
                ErasedLanding(one.landing_id, one.sha256, one.bytes, [p.name for p in one.parts])
                for one in self.landings
            ],
        )
        for name, count in (("raw", raw), ("quarantine", held), ("ops", of_ops)):
            if count:
                self.outcome.rows[name] = count

    def _erase_models(self) -> None:
        known, access = self.known, self.access
        if access.dbt is None:
            return
        self.say("deleting the person from the models, and building the pseudonym's rows")
        with psycopg_session(access.transformer) as session:
            self.outcome.rows |= _plain_names(delete_person(session, self._models(), known.ids, alone=True))
        ids = self._published(landings_of(access.loader, self.tables, known.pseudonym))
        if ids:
            access.dbt.build(self.source, ids, erased=f"{(self.source.person or '').lower()}={known.pseudonym}")
            self._gate(ids)
        self._publish(ids)

    def _published(self, landing_ids: Sequence[int]) -> list[int]:
        """Those that readers have. What waits to be published comes as the pseudonym's, with the run that does it."""
        with psycopg_session(self.access.loader) as session:
            rows = session.execute(
                "select landing_id from ops.landing where landing_id = any(string_to_array(%s, ',')::bigint[]) "
                "and published_at is not null order by landing_id",
                (",".join(map(str, landing_ids)),),
            )
        self.outcome.waiting = len(landing_ids) - len(rows)
        return [int(row[0]) for row in rows]

    def _gate(self, landing_ids: Sequence[int]) -> None:
        from include.gates import GateFailed, check_tables, load_gates, record
        from include.pipeline.model import SOURCES

        path = SOURCES / self.source.name / "gates.yml"
        if not path.is_file():
            return
        gates = load_gates(path)
        with psycopg_session(self.access.loader) as session:
            entities = session.execute(
                "select distinct entity from ops.landing where landing_id = any(string_to_array(%s, ',')::bigint[])",
                (",".join(map(str, landing_ids)),),
            )
        for layer in ("staging", "marts"):
            verdict = check_tables(
                gates.layer(layer),
                url=self.access.gate,
                schema=layer,
                landing_ids=list(landing_ids),
                entities=[str(row[0]) for row in entities],
            )
            with closing(psycopg2.connect(self.access.gate)) as connection:
                record(
                    connection,
                    verdict,
                    source=self.source.name,
                    layer=layer,
                    dag_run_id=self.run_id,
                    landing_ids=list(landing_ids),
                )
            try:
                verdict.raise_if_failed(self.source.name, layer)
            except GateFailed as failure:
                raise ForgetError(
                    f"the rows that were built anew do not pass their gate, so readers still see the person: {failure}"
                ) from None

    def _publish(self, landing_ids: Sequence[int]) -> None:
        self.say("publishing without the person")
        published = self._published_marts()

        def go(session: Session) -> None:
            turn.check(session, self.source.name, self.run_id)
            own = cast("PsycopgSession", session)
            left = {mart.name: self._slices(own, mart) for mart in published}
            deleted = _plain_names(delete_person(own, self._marts(), self.known.ids, alone=False))
            self.outcome.rows |= deleted
            for mart in published:
                # that they are gone: what copies have to follow
                count = sum(deleted.get(f"{schema}.{mart.name}", 0) for schema in ("personal", "analytics"))
                if count:
                    done = Published(mart.name, count, 0, slices=frozenset(left[mart.name]))
                    book(own, mart, done, source=self.source.name, dag_run_id=self.run_id, landing_ids=[])

        publish(
            self.access.publisher,
            published if landing_ids else [],
            source=self.source.name,
            dag_run_id=self.run_id,
            landing_ids=landing_ids,
            turn=go,
        )

    def _slices(self, session: PsycopgSession, mart: Mart) -> set[Slice]:
        """The slices of a published mart that the person has rows in."""
        found: set[Slice] = set()
        for table in self._marts():
            if published_table(session, mart.name) == table.name:
                for column in table.ids:
                    found |= slices_of(session, table.name, mart, f'"{column}" = any(%s)', [self.known.ids])
        return found

    def _published_marts(self) -> list[Mart]:
        return marts(self.access.dbt.manifest, tag=self.source.name) if self.access.dbt else []

    def _erase_copies(self) -> None:
        """What the lake and the mirror hold of the person, masked as it is; of objects no version is left."""
        published = self._published_marts()
        if self.access.lake is not None:
            self.say("writing what the lake holds of the person anew")
            export_marts(self.access.lake, published)
            self.outcome.objects += sweep_marts(
                self.access.lake, timedelta(0), only=[mart.name for mart in published], for_good=True
            )
        if self.access.mirror is not None:
            self.say("copying what the mirror holds of the person anew")
            mirror_marts(self.access.mirror, self.source.name, published)

    def _models(self) -> list[ModelTable]:
        """What dbt builds of the source and holds persons in."""
        return [ModelTable(f'{model.schema}."{model.name}"', ids) for model, ids in self._with_ids()]

    def _marts(self) -> list[ModelTable]:
        """The same as published; a mart with personal columns lies in `personal`, and did in `analytics` before."""
        return [
            ModelTable(f'{schema}."{model.name}"', ids)
            for model, ids in self._with_ids()
            for schema in ("personal", "analytics")
        ]

    def _with_ids(self) -> Iterator[tuple[Model, Sequence[str]]]:
        if self.access.dbt is None:
            return
        kinds = {KEY_OF_PERSON, *(entity.pii[self.source.person or ""] for entity in self.entities.values())}
        for model in self.access.dbt.models(self.source):
            if ids := [column for column, kind in model.personal.items() if kind in kinds]:
                yield model, ids

    def _erase_files(self) -> None:
        needles = Needles(self.known.telling)
        for path in _files(self.access.folders):
            try:
                content = path.read_bytes()
                wiped, count = needles.wiped(content)
                if count:
                    self.say(f"wiping {count} values from {path}")
                    # in its place, as long as before: whoever appends to the file goes on
                    with path.open("r+b") as file:
                        file.write(wiped)
                    self.outcome.files += 1
            except FileNotFoundError:
                continue

    # --- the proof ----------------------------------------------------------------------------------------------------

    def _prove(self, *, only_person: bool) -> None:
        """Search everywhere for all that tells of the person; `left` says where something was found."""
        outcome, known, access = self.outcome, self.known, self.access
        needles = Needles(known.ids if only_person else known.telling)
        outcome.values = len(needles.values)
        outcome.common = 0 if only_person else len(known.values - known.telling)
        left: dict[str, int] = defaultdict(int)
        found = search([access.loader, access.transformer, access.publisher], needles.values)
        outcome.places = found.columns
        left |= found.hits
        if found.closed:
            raise ForgetError(
                f"the search cannot read {', '.join(found.closed)}: grant select on it to sluice_loader, or drop it"
            )
        places = set()
        for uri, text in self._landed_texts():
            places.add(uri)
            if needles.found(text):
                left[uri] += 1
        for path in _files(access.folders):
            try:
                places.add(str(path))
                if needles.found(path.read_bytes().decode(errors="replace")):
                    left[str(path)] += 1
            except FileNotFoundError:
                continue
        outcome.places += len(places)
        outcome.left = dict(sorted(left.items()))

    def _landed_texts(self) -> Iterator[tuple[str, str]]:
        """Texts of all objects in the bucket that are landed or dropped, whatever the source, and of all manifests."""
        store = self.access.store
        for name in sorted({*source_names(), self.source.name}):
            for manifest in all_manifests(store, name):
                yield f"{manifest.uri}_manifest.json", manifest.model_dump_json()
                for part in manifest.parts:
                    with store.open_part(manifest, part) as file:
                        shape = self.shapes.get(manifest.entity) if name == self.source.name else None
                        for text in texts(file, manifest.format, shape):
                            yield manifest.uri + part.name, text
            for key in unnamed(store, name) if name == self.source.name else ():
                yield f"s3://{store.bucket}/{key}", key
        if lake := self.access.lake:
            for entry in lake.bucket.listed(LAKE):
                if entry["Key"].endswith(".parquet"):
                    with open_object(store, entry["Key"]) as content:
                        for text in texts(content, "parquet"):
                            yield lake.bucket.uri(entry["Key"]), text
        for entity, dropped in self._dropped():
            with open_dropped(store, dropped) as content:
                shape = _of_file(self.shapes[entity])
                for text in texts(content, shape.format, shape):
                    yield dropped.uri, text

    # --- the book -----------------------------------------------------------------------------------------------------

    def _unfinished(self) -> tuple[int, _Known] | None:
        """An erasure of this person that did not come to its end."""
        with psycopg_session(self.access.loader) as session:
            rows = session.execute(
                "select erasure_id, pseudonym, salt, working from ops.erasure "
                "where source = %s and finished_at is null and working is not null order by erasure_id",
                (self.source.name,),
            )
        for erasure_id, pseudonym, salt, working in rows:
            try:
                told = json.loads(Fernet(_key(self.person, bytes(salt))).decrypt(bytes(working)))
            except InvalidToken:
                continue  # another person's
            known = _Known(str(pseudonym), set(told["names"]), set(told["values"]), set(told["shared"]))
            self.say("going on with an erasure of this person that did not come to its end")
            return int(erasure_id), known
        return None

    def _begin(self) -> None:
        known, salt = self.known, secrets.token_bytes(16)
        told = {"names": sorted(known.names), "values": sorted(known.values), "shared": sorted(known.shared)}
        working = Fernet(_key(self.person, salt)).encrypt(json.dumps(told).encode())
        with psycopg_session(self.access.loader) as session:
            if self.erasure_id is None:
                session.cursor.execute(
                    "insert into ops.erasure (source, pseudonym, erased_by, salt, working) values (%s, %s, %s, %s, %s) "
                    "returning erasure_id",
                    (self.source.name, known.pseudonym, _who(), salt, working),
                )
                ((self.erasure_id,),) = session.cursor.fetchall()
            else:
                session.cursor.execute(
                    "update ops.erasure set salt = %s, working = %s where erasure_id = %s",
                    (salt, working, self.erasure_id),
                )

    def _finish(self) -> None:
        outcome = self.outcome
        with psycopg_session(self.access.loader) as session:
            session.cursor.execute(
                "update ops.erasure set finished_at = now(), salt = null, working = null, objects = objects + %s, "
                'records = records + %s, "rows" = "rows" + %s, tables = %s, places_searched = %s where erasure_id = %s',
                (
                    outcome.objects,
                    outcome.records,
                    sum(outcome.rows.values()),
                    len(outcome.rows),
                    outcome.places,
                    self.erasure_id,
                ),
            )
        log.info("erased source=%s pseudonym=%s records=%d", self.source.name, outcome.pseudonym, outcome.records)


def _shape(source: Source, name: str) -> Shape:
    entity = source.entities[name]
    return Shape(
        format=entity.format,
        person=source.person or "",
        personal={field: entity.fields[field].type == "text" for field in entity.pii},
        records=entity.records,
        csv_options=csv_options(entity),
        sheet=entity.sheet,
    )


def _of_file(shape: Shape) -> Shape:
    """How a file is read that is not landed: a JSON file is one document, on however many lines."""
    return Shape(**{**vars(shape), "format": "document" if shape.format == "json" else shape.format})


def _personal_table(source: Source, name: str) -> PersonalTable:
    entity = source.entities[name]
    personal = {field: entity.fields[field].type == "text" for field in entity.pii}
    return PersonalTable(raw_table(source, name), source.person or "", personal)


def _plain_names(counts: Mapping[str, int]) -> dict[str, int]:
    return {name.replace('"', ""): count for name, count in counts.items()}


def _files(folders: Collection[Path]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.suffix in _TEXTS:
                yield path


def _is_common(value: str) -> bool:
    return len(value) < _TOO_COMMON or bool(_DATE.fullmatch(value))


def _surrogate_key(value: str) -> str:
    """What macros/surrogate_key.sql makes of one text."""
    return hashlib.md5(f"{len(value)}:{value}".encode(), usedforsecurity=False).hexdigest()


def _key(person: str, salt: bytes) -> bytes:
    """A key that only who knows the person's value can make, and not by trying values out."""
    return base64.urlsafe_b64encode(hashlib.scrypt(person.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32))


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"uid {os.getuid()}"
