"""Erasure of a person: out of S3, raw, quarantine, models and what readers see, and nobody else out of anything."""

import csv
import io
import itertools
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from include.landing import LandingStore, Manifest
from include.pipeline import steps
from include.pipeline.erasure import Access, ForgetError, forget
from include.pipeline.model import Source, SourceError, load_source
from include.pipeline.partition import partition_of_run
from include.pipeline.rebuild import DbtProject
from tests.conftest import S3, Warehouse
from tests.dbt.test_driven import session

PROJECT = Path(__file__).resolve().parents[2]
PERSON, LONGER, SHARER, TAKER, GIVER = (
    "1960101223344", "19601012233445", "2960101223344", "2970101223344", "2980101223344"
)  # fmt: skip
NOW = datetime(2026, 11, 21, 13, 5, tzinfo=UTC)
ALL_SCHEMAS = ("raw", "quarantine", "staging", "marts", "analytics", "personal", "ops")
OF_PERSON = {
    "person_name": "Ștefan Țîrcă-Pop",
    "user_name": "stefan.tirca",
    "email": "stefan+1@post.ro",
    "phone": "+40 786 645 539",
    "iban": "RO16EZML5644748904109718",
    "ip_address": "63.138.125.201",
    "mac_address": "38:f9:7c:b3:d5:01",
    "address": "Strada Împărtită 7",
}
OF_OTHERS = {
    "person_name": "Ana Pop",
    "user_name": "anapop",
    "email": "ana@post.ro",
    "phone": "0700 111 222",
    "iban": "RO99EZML5644748904100000",
    "ip_address": "10.9.8.7",
    "mac_address": "00:00:00:00:00:99",
}


def of_person(at: str, **other: str | int) -> dict[str, Any]:
    return session(PERSON, at, **(OF_PERSON | other))


def of_other(number: str, at: str, **other: str | int) -> dict[str, Any]:
    """Of somebody who lives at the same address."""
    return session(number, at, **(OF_OTHERS | {"address": OF_PERSON["address"]} | other))


class Stage:
    """A source's landings and rows, without Airflow."""

    def __init__(self, warehouse: Warehouse, store: LandingStore, source: Source) -> None:
        self.warehouse, self.store, self.source = warehouse, store, source
        self.dsn = warehouse.dsn("sluice_loader")
        self.days = itertools.count(1)

    def access(self, dbt: DbtProject | None = None, folders: Sequence[Path] = ()) -> Access:
        dsn = self.warehouse.dsn
        return Access(
            self.store,
            dsn("sluice_loader"),
            dsn("sluice_transformer"),
            dsn("sluice_publisher"),
            dsn("sluice_gate"),
            dbt=dbt,
            folders=folders,
        )

    def land(self, *pages: Sequence[Mapping[str, Any]]) -> steps.Landing:
        """Land pages of the API as a day, and book that."""
        day = f"2026-11-{next(self.days):02}"
        with self.store.begin(
            source=self.source.name, entity="sessions", partition=day, run_id=f"run {day}", format="json"
        ) as writer:
            for number, page in enumerate(pages, start=1):
                writer.add_document(json.dumps({"page": number, "data": page}, ensure_ascii=number % 2 == 0).encode())
            manifest = writer.commit({"method": "GET"})
        steps.book(self.dsn, manifest)
        return as_landing(manifest)

    def drop(self, name: str, *rows: Mapping[str, Any]) -> str:
        """Drop a CSV file; its key."""
        key = f"drop/{self.source.name}/sessions/{name}.csv"
        self.store.client.put_object(Bucket=self.store.bucket, Key=key, Body=as_csv(rows))
        return key

    def land_files(self) -> steps.Landing:
        partition = partition_of_run(
            self.source.partition_of("session_files"), asked=None, logical_date=None, run_after=NOW, is_scheduled=False
        )
        return steps.fetch_files(
            self.source, "session_files", partition, {}, store=self.store, dsn=self.dsn, run_id=f"r{next(self.days)}"
        )

    def load(self, *landed: steps.Landing) -> None:
        for entity in self.source.entities:
            try:
                steps.load(self.source, entity, landed, store=self.store, dsn=self.dsn)
            except steps.NothingToDo:
                continue

    def objects(self) -> dict[str, bytes]:
        """Key -> content, decompressed where it is a part of JSON."""
        listed = self.store.client.list_objects_v2(Bucket=self.store.bucket).get("Contents", [])
        found = {}
        for entry in listed:
            body = self.store.client.get_object(Bucket=self.store.bucket, Key=entry["Key"])["Body"].read()
            if entry["Key"].endswith(".zst"):
                import pyarrow as pa

                body = pa.CompressedInputStream(pa.py_buffer(body), "zstd").read()
            found[entry["Key"]] = body
        return found

    def documents(self) -> dict[int, list[bytes]]:
        """Landing -> its content, as its manifest leads to it."""
        found = {}
        for manifest in every_manifest(self.store, self.source.name):
            contents = []
            for part in manifest.parts:
                with self.store.open_part(manifest, part) as file:
                    contents.append(file.read())
            found[manifest.landing_id] = contents
        return found

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        server = self.warehouse.server
        with (
            closing(psycopg2.connect(server.dsn(self.warehouse.dbname))) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def clear(self) -> None:
        """Take the tables away, for what a test has left would be found by the search of the next one."""
        for schema in ("raw", "quarantine"):
            for entity in self.source.entities:
                self.rows(f"drop table if exists {schema}.{self.source.table(entity)}")
        self.rows("drop table if exists raw.notes")

    def everything(self, *, schemas: Sequence[str] = ALL_SCHEMAS) -> dict[str, list[str]]:
        """Table -> its rows as text, sorted."""
        tables = self.rows(
            "select quote_ident(n.nspname) || '.' || quote_ident(c.relname) from pg_class as c "
            "join pg_namespace as n on n.oid = c.relnamespace where c.relkind in ('r', 'p') and not c.relispartition "
            "and n.nspname = any(%s) order by 1",
            list(schemas),
        )
        return {
            table: [text for (text,) in self.rows(f"select t::text from {table} as t order by 1")]
            for (table,) in tables
        }


def every_manifest(store: LandingStore, source: str) -> list[Manifest]:
    from include.landing.erase_objects import all_manifests

    return all_manifests(store, source)


def as_landing(manifest: Manifest) -> steps.Landing:
    return steps.Landing(
        landing_id=manifest.landing_id, entity=manifest.entity, partition=manifest.partition, uri=manifest.uri
    )


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def holds_person(text: str | bytes) -> bool:
    """Whether a value of the person stands somewhere: independent of how the product searches."""
    text = text if isinstance(text, str) else text.decode()
    text = text.replace(LONGER, "")
    values = [value for name, value in OF_PERSON.items() if name != "address"] + [PERSON]
    return any(form in text for value in values for form in (value, json.dumps(value)[1:-1]))


# --- without models ---------------------------------------------------------------------------------------------------


@pytest.fixture
def stage(warehouse: Warehouse, s3: S3) -> Iterator[Stage]:
    """A source of its own for a test, without models, of which a person is to be erased."""
    source = load_source("driven").model_copy(update={"name": f"driven_{s3.bucket.replace('-', '_')}"})
    made = Stage(warehouse, LandingStore(s3.client, s3.bucket), source)
    first = made.land(
        [of_person("2026-11-01T08:00:00"), of_other(LONGER, "2026-11-01T08:00:00")],
        [of_other(SHARER, "2026-11-01T09:00:00"), of_person("2026-11-01T10:00:00", address="Strada Doi")],
    )
    second = made.land([of_other(SHARER, "2026-11-02T09:00:00")])
    third = made.land([of_person("2026-11-01T08:00:00", download_speed=7), of_other(TAKER, "2026-11-03T09:00:00")])
    made.drop("landed", of_person("2026-11-04T08:00:00"), of_other(LONGER, "2026-11-04T08:00:00"))
    made.drop("others", of_other(LONGER, "2026-11-05T08:00:00"))
    made.load(first, second, third, made.land_files())
    made.drop("waiting", of_other(SHARER, "2026-11-06T08:00:00"), of_person("2026-11-06T08:00:00"))
    yield made
    made.clear()


def test_others_stay_byte_for_byte_and_the_person_becomes_one_pseudonym(stage: Stage) -> None:
    before, rows_before = stage.documents(), stage.everything(schemas=["raw"])
    outcome = forget(stage.source, PERSON, stage.access())
    assert outcome.left == {}
    assert outcome.pseudonym is not None
    after = stage.documents()
    for landing_id, contents in before.items():
        for was, now in zip(contents, after[landing_id], strict=True):
            assert_only_the_person_changed(was, now, outcome.pseudonym)
    for key, content in stage.objects().items():
        assert not holds_person(content), key
    assert not holds_person(str(stage.everything()))
    for table, rows in stage.everything(schemas=["raw"]).items():
        kept = [row for row in rows_before[table] if PERSON not in row.replace(LONGER, "")]
        assert [row for row in rows if outcome.pseudonym not in row] == kept
        assert len(rows) == len(rows_before[table])


def assert_only_the_person_changed(was: bytes, now: bytes, pseudonym: str) -> None:
    """Who is not the person stands there as before, and in the same place; the person has gone from each of its own."""
    before, after = (re.split(r"(\r\n|(?<=\}), (?=\{)|\n)", content.decode()) for content in (was, now))
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        if PERSON not in old.replace(LONGER, ""):
            assert new == old
        else:
            assert new.count(pseudonym) == 1
            assert not holds_person(new)
            assert OF_PERSON["address"] not in new


def test_loading_the_landings_again_gives_the_same_rows(stage: Stage) -> None:
    forget(stage.source, PERSON, stage.access())
    held = without_load_time(stage)
    assert len(held) == 9
    stage.load(*map(as_landing, every_manifest(stage.store, stage.source.name)))
    assert without_load_time(stage) == held


def without_load_time(stage: Stage) -> list[tuple[Any, ...]]:
    names = [stage.source.table(entity) for entity in stage.source.entities]
    return [
        row
        for name in names
        for row in stage.rows(f"select (to_jsonb(t) - '_loaded_at')::text from raw.{name} as t order by 1")
    ]


def test_bookkeeping_follows_what_is_landed(stage: Stage) -> None:
    forget(stage.source, PERSON, stage.access())
    booked = stage.rows(
        "select landing_id, sha256, bytes from ops.landing where source = %s order by 1", stage.source.name
    )
    assert booked == [(one.landing_id, one.sha256, one.bytes) for one in every_manifest(stage.store, stage.source.name)]
    erased = [one.erased_at is not None for one in every_manifest(stage.store, stage.source.name)]
    assert erased == [True, False, True, True]
    ((source, by, is_finished, records, working),) = stage.rows(
        "select source, erased_by, finished_at is not null, records, working from ops.erasure where source = %s",
        stage.source.name,
    )
    assert (source, bool(by), is_finished, records, working) == (stage.source.name, True, True, 5, None)


def test_dropped_files_that_are_landed_go_and_those_that_wait_are_rewritten(stage: Stage) -> None:
    forget(stage.source, PERSON, stage.access())
    dropped = {key.rsplit("/")[-1]: body for key, body in stage.objects().items() if key.startswith("drop/")}
    assert dropped.keys() == {"others.csv", "waiting.csv"}
    assert dropped["others.csv"] == as_csv([of_other(LONGER, "2026-11-05T08:00:00")])
    stage.load(stage.land_files())
    ((count,),) = stage.rows(f"select count(*) from raw.{stage.source.table('session_files')}")
    assert count == 3 + 2  # nothing is loaded twice


def test_the_second_time_there_is_nothing(stage: Stage) -> None:
    forget(stage.source, PERSON, stage.access())
    before = stage.objects()
    again = forget(stage.source, PERSON, stage.access())
    assert again.is_nothing
    assert again.places > 0
    assert (again.left, stage.objects()) == ({}, before)


def test_a_dry_run_and_a_no_change_nothing(stage: Stage) -> None:
    before, rows = stage.objects(), stage.everything()
    for how in ({"dry_run": True}, {"confirm": lambda _: False}):
        outcome = forget(stage.source, PERSON, stage.access(), **how)
        assert (outcome.records, outcome.rows["raw"]) == (6, 3)  # with the dropped copy
        assert (stage.objects(), stage.everything()) == (before, rows)


def test_rows_in_quarantine_and_words_in_the_bookkeeping_go_too(stage: Stage) -> None:
    name = stage.source.table("session_files")
    stage.rows(
        f"create table quarantine.{name} (_landing_id bigint, _row bigint, payload jsonb, record text, "
        "_request jsonb, reasons jsonb, dag_run_id text, quarantined_at timestamptz)"
    )
    stage.rows(f"alter table quarantine.{name} owner to sluice_loader")
    held = of_person("2026-11-01T08:00:00"), of_other(LONGER, "2026-11-01T08:00:00")
    for number, row in enumerate(held):
        line = ",".join(map(str, row.values()))
        stage.rows(
            f"insert into quarantine.{name} values (1, %s, %s, null, null, '[]', 'r', now()), "
            "(1, %s, null, %s, null, '[]', 'r', now())",
            number, json.dumps(row), number + 2, line,
        )  # fmt: skip
    stage.rows(
        "insert into ops.gate_result (source, layer, dag_run_id, landing_ids, table_name, expectation, arguments, "
        "on_failure, success, message) values ('s', 'raw', 'r', '{1}', 't', 'e', %s, 'warn', true, %s)",
        json.dumps({"x": [PERSON, LONGER]}),
        f"about {OF_PERSON['email']}, {LONGER}",
    )
    outcome = forget(stage.source, PERSON, stage.access())
    assert (outcome.left, outcome.rows["quarantine"], outcome.rows["ops"]) == ({}, 2, 2)
    assert not holds_person(str(stage.everything()))
    assert stage.rows(f"select payload from quarantine.{name} where _row = 1") == [(held[1],)]
    ((arguments, message),) = stage.rows("select arguments, message from ops.gate_result where dag_run_id = 'r'")
    assert arguments == {"x": [outcome.pseudonym, LONGER]}
    assert message == f"about erased, {LONGER}"


def test_what_is_left_is_told_and_the_next_time_goes_on(stage: Stage) -> None:
    stage.rows("create table raw.notes (note text)")
    stage.rows("alter table raw.notes owner to sluice_loader")
    stage.rows("insert into raw.notes values (%s), (%s)", f"call {OF_PERSON['phone']}!", f"not {LONGER}")
    first = forget(stage.source, PERSON, stage.access())
    assert first.left == {"raw.notes.note": 1}
    stage.rows("drop table raw.notes")
    second = forget(stage.source, PERSON, stage.access())
    assert (second.left, second.pseudonym) == ({}, first.pseudonym)
    assert forget(stage.source, PERSON, stage.access()).is_nothing


def test_a_table_that_nobody_may_search_fails_the_proof(stage: Stage) -> None:
    stage.rows("create schema hidden create table hidden.notes (note text)")
    try:
        with pytest.raises(ForgetError, match=r"cannot read hidden.notes"):
            forget(stage.source, PERSON, stage.access())
    finally:
        stage.rows("drop schema hidden cascade")


def test_files_of_ours_are_wiped_in_place(stage: Stage, tmp_path: Path) -> None:
    log = tmp_path / "deep" / "task.log"
    log.parent.mkdir()
    with log.open("a") as writing:
        writing.write(f"odd: {OF_PERSON['person_name']} {LONGER}\n")
        writing.flush()
        outcome = forget(stage.source, PERSON, stage.access(folders=[tmp_path]))
        writing.write("goes on\n")
    assert outcome.files == 1
    stars = "*" * len(OF_PERSON["person_name"].encode())
    assert log.read_text() == f"odd: {stars} {LONGER}\ngoes on\n"


def test_a_landing_on_its_way_is_waited_for(stage: Stage) -> None:
    said: list[str] = []
    program = """
import sys
from include.warehouse.peace import at_work
with at_work(sys.argv[1], sys.argv[2]):
    print("at work", flush=True)
    sys.stdin.readline()
"""
    command = [sys.executable, "-c", program, stage.dsn, stage.source.name]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "at work\n"

        def say(line: str) -> None:
            said.append(line)
            if line.startswith("waiting"):
                worker.communicate("done\n")

        assert forget(stage.source, PERSON, stage.access(), say=say).left == {}
    assert said[0].startswith("waiting for tasks of")


def test_a_run_that_builds_the_models_stops_the_erasure_before_it_begins(stage: Stage) -> None:
    stage.rows("insert into ops.turn (source, dag_run_id) values (%s, 'scheduled__1')", stage.source.name)
    access = stage.access()
    before = stage.objects()
    with pytest.raises(ForgetError, match="the run scheduled__1 builds its models"):
        forget(stage.source, PERSON, Access(**{**vars(access), "is_running": lambda run: run == "scheduled__1"}))
    assert stage.objects() == before
    assert forget(stage.source, PERSON, access).left == {}


def test_no_message_and_no_line_holds_a_value(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []
    with caplog.at_level("DEBUG", logger="include"):
        outcome = forget(stage.source, PERSON, stage.access(), say=said.append)
    from include.pipeline.forget import told

    assert not holds_person("\n".join([*said, caplog.text, told(outcome, "driven"), repr(outcome)]))


def test_old_versions_of_objects_go_too(warehouse: Warehouse, s3: S3) -> None:
    s3.client.put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": "Enabled"})
    source = load_source("driven").model_copy(update={"name": f"driven_{s3.bucket.replace('-', '_')}"})
    made = Stage(warehouse, LandingStore(s3.client, s3.bucket), source)
    made.drop("a", of_person("2026-11-04T08:00:00"))
    made.drop("a", of_person("2026-11-05T08:00:00"), of_other(LONGER, "2026-11-05T08:00:00"))
    made.load(
        made.land([of_person("2026-11-01T08:00:00")], [of_other(SHARER, "2026-11-01T08:00:00")]), made.land_files()
    )
    try:
        assert forget(source, PERSON, made.access()).left == {}
        versions = s3.client.list_object_versions(Bucket=s3.bucket)
        contents = [
            s3.client.get_object(Bucket=s3.bucket, Key=one["Key"], VersionId=one["VersionId"])["Body"].read()
            for one in versions.get("Versions", [])
        ]
        assert len(contents) == 4  # a part and a manifest of each landing
        assert not any(holds_person(content) for content in contents if not content.startswith(b"\x28\xb5\x2f\xfd"))
        assert not any(holds_person(str(content)) for content in made.documents().values())
    finally:
        made.clear()
        s3.client.put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": "Suspended"})
        listed = s3.client.list_object_versions(Bucket=s3.bucket)
        for one in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
            s3.client.delete_object(Bucket=s3.bucket, Key=one["Key"], VersionId=one["VersionId"])


# --- what source.yml may say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("person: personal_number", "person: number", "no field 'number' of type text and with pii"),
        ("person: personal_number", "person: unique_id", "no field 'unique_id' of type text and with pii"),
        ("person: personal_number", "person: accessed_at", "no field 'accessed_at' of type text and with pii"),
        ("keys: [unique_id]", "keys: [email]", "load.keys of personal data that are not 'personal_number'"),
        (", pii: personal_number,", ",", "no field 'personal_number' of type text and with pii"),
    ],
)
def test_a_person_is_told_by_a_text_that_is_tagged(tmp_path: Path, old: str, new: str, fault: str) -> None:
    text = (PROJECT / "include" / "sources" / "driven" / "source.yml").read_text()
    assert old in text
    (tmp_path / "driven").mkdir()
    (tmp_path / "driven" / "source.yml").write_text(text.replace(old, new))
    with pytest.raises(SourceError, match=fault):
        load_source("driven", tmp_path)


def test_a_source_without_persons_is_told_so(warehouse: Warehouse, s3: S3) -> None:
    stage = Stage(warehouse, LandingStore(s3.client, s3.bucket), load_source("tlc"))
    with pytest.raises(ForgetError, match=r"tlc: source\.yml does not say which field tells persons apart"):
        forget(stage.source, PERSON, stage.access())


# --- killed in the middle ---------------------------------------------------------------------------------------------

VICTIM = """
import sys
import psycopg2
from include.landing import LandingStore
from include.pipeline.erasure import Access, forget
from include.pipeline.model import load_source
from local import s3

endpoint, access_key, secret_key, bucket, name, person, at, *dsns = sys.argv[1:]
client = s3.client(endpoint, access_key, secret_key)
has_begun = False
steps = 0

def say(line):
    global has_begun
    has_begun = has_begun or line.startswith("erasing")

def step(what):
    global steps
    if has_begun:
        steps += 1
        print(what, flush=True)
        if steps == int(at):
            sys.stdin.readline()  # which never comes

# before each call of S3 that changes something, and before each commit
for call in ("PutObject", "DeleteObject"):
    client.meta.events.register(
        f"before-parameter-build.s3.{call}",
        lambda params, model, **_: step(f"{model.name} {params['Key'].rsplit('/')[-1]}"),
    )
connect = psycopg2.connect

class Connection(psycopg2.extensions.connection):
    def __exit__(self, *reason):
        if reason[0] is None:
            step("commit")
        return super().__exit__(*reason)

psycopg2.connect = lambda dsn: connect(dsn, connection_factory=Connection)
source = load_source("driven").model_copy(update={"name": name})
print("left", forget(source, person, Access(LandingStore(client, bucket), *dsns, dbt=None), say=say).left)
"""


def erase_in_a_process(stage: Stage, s3: S3, *, stop_at: int) -> tuple[list[str], int]:
    """Erase in a process of its own, killed at a step; the steps it came to, and what it ended with."""
    roles = ("sluice_loader", "sluice_transformer", "sluice_publisher", "sluice_gate")
    about = [s3.endpoint_url, s3.access_key, s3.secret_key, s3.bucket, stage.source.name, PERSON, str(stop_at)]
    command = [sys.executable, "-c", VICTIM, *about, *map(stage.warehouse.dsn, roles)]
    lines = []
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        for line in victim.stdout:
            lines.append(line.strip())
            if len(lines) == stop_at:
                victim.kill()
                break
        victim.wait()
    return lines, victim.returncode


def test_killed_at_any_step_it_goes_on_with_the_same_pseudonym(stage: Stage, s3: S3) -> None:
    landed = {one.landing_id: len(one.parts) for one in every_manifest(stage.store, stage.source.name)}
    pseudonyms, killed_before = set(), []
    for stop_at in itertools.count(1):  # each time one step further than the time before
        lines, code = erase_in_a_process(stage, s3, stop_at=stop_at)
        if code == 0:
            assert lines[-1] == "left {}"
            break
        assert code == -signal.SIGKILL
        killed_before.append(lines[-1].split("-")[0])
        found = stage.rows("select pseudonym from ops.erasure where source = %s", stage.source.name)
        pseudonyms |= {one for (one,) in found}
        # whatever the moment, every landing can be read, and is whole
        assert {one: len(contents) for one, contents in stage.documents().items()} == landed
    assert {"PutObject part", "PutObject _manifest.json", "DeleteObject part", "commit"} <= set(killed_before)
    assert len(pseudonyms) == 1
    ((is_finished, working),) = stage.rows(
        "select finished_at is not null, working from ops.erasure where source = %s", stage.source.name
    )
    assert (is_finished, working) == (True, None)
    assert not holds_person(str(stage.everything()))
    names = sorted(key.rsplit("/")[-1][:4] for key in stage.objects())
    assert names == ["_man"] * len(landed) + ["othe"] + ["part"] * sum(landed.values()) + ["wait"]
    assert not any(holds_person(content) for content in stage.objects().values())
