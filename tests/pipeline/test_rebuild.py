"""Everything but S3 is dropped and the API is gone: one replay of all landings brings back the same published tables.

The history is made as it comes about: run by run, in which nothing is new, a later one corrects, files are dropped, and
one stops in the middle. The replay loads and builds everything at once.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from include.extract import ApiClient
from include.gates import check_tables, load_gates
from include.gates.rules import LayerName
from include.landing import LandingStore
from include.pipeline import steps
from include.pipeline.model import SOURCES, Source, load_source
from include.pipeline.partition import PartitionRange, partition_of_run
from include.warehouse.bootstrap import ROLES, bootstrap
from include.warehouse.publish import marts, publish
from tests.conftest import S3, Warehouse
from tests.dbt.project import Project
from tests.local.sandbox.conftest import KEY, Sandbox, running
from tests.sources.way import api_of

SETTINGS = {
    "SANDBOX_DRIVEN_SESSIONS": "300",
    "SANDBOX_DRIVEN_SESSIONS_A_DAY": "60",
    "SANDBOX_OPENSEA_COLLECTIONS": "friendsies:45,harbour-lights:30",
    "SANDBOX_X_POSTS": "harbour_news:60,open_rivers:30,sluice_data:12",
    "SANDBOX_YELLOW_ROWS": "1200",
    "SANDBOX_GREEN_ROWS": "1000",
}
PARAMS = {"collections": ["friendsies", "harbour-lights"]}
SCHEMAS = ("raw", "quarantine", "staging", "marts", "analytics", "personal", "ops")
LAYERS: tuple[LayerName, ...] = ("raw", "staging", "marts")

HISTORIES: dict[str, tuple[str, ...]] = {
    # twice on the 19th, and the look-back of two days over the gap of the 20th
    "driven": ("2026-11-18T06:00Z", "2026-11-19T06:00Z", "2026-11-19T18:00Z", "2026-11-21T06:00Z"),
    "x": ("2026-11-17T04:00Z", "2026-11-18T04:00Z", "2026-11-18T16:00Z", "2026-11-21T04:00Z"),
    # an NFT is burned on the 15th
    "opensea": ("2026-11-14T05:00Z", "2026-11-15T05:00Z", "2026-11-15T17:00Z", "2026-11-18T05:00Z"),
    "openweather": ("2026-11-18T05:05Z", "2026-11-18T06:05Z", "2026-11-18T06:35Z", "2026-11-19T00:05Z"),
    # the month of the run that stops is run again, and goes on from the same landing
    "tlc": ("2026-08-28T09:00Z", "2026-09-28T09:00Z", "2026-09-28T10:00Z", "2026-10-28T09:00Z"),
}
STOPPED = 1
"""which run of each history stops behind its load; the next takes along what would not come again"""


def sessions_csv(*durations: int) -> bytes:
    """A batch of sessions of persons that the API knows nothing of."""
    rows = [
        f"Ana Pop,ana,ana@example.com,2900101{number:06d},1990-01-01,Str. {number},0700,aa:bb,10.0.0.1,RO0{number},"
        f"2026-11-10 10:00:00,{seconds},100,50,1000,00000000-0000-4000-8000-{number:012d}"
        for number, seconds in enumerate(durations)
    ]
    header = (
        "person_name,user_name,email,personal_number,birth_date,address,phone,mac_address,ip_address,iban,accessed_at,"
        "session_duration,download_speed,upload_speed,consumed_traffic,unique_id"
    )
    return "\n".join([header, *rows, ""]).encode()


def assets_json(*numbers: int) -> bytes:
    """An answer of OpenSea's first version."""
    assets = [
        {
            "token_id": str(number),
            "name": f"Doodle {number}",
            "asset_contract": {"address": "0x8a90cab2b38dba80c64b7734e58ee1db38b8992e", "schema_name": "ERC721"},
            "collection": {"slug": "doodles-official", "name": "Doodles"},
            "traits": [{"trait_type": "hat", "value": "red"}],
        }
        for number in numbers
    ]
    return json.dumps({"assets": assets}).encode()


DROPPED: dict[tuple[str, int], dict[str, bytes]] = {
    ("driven", 0): {"sessions/a.csv": sessions_csv(10, 20)},
    ("driven", 1): {"sessions/b.csv": sessions_csv(30, 40, 50)},  # two of the sessions again
    ("driven", 3): {"sessions/a.csv": sessions_csv(11, 21)},
    ("opensea", 1): {"v1/doodles.json": assets_json(1, 2)},
    ("opensea", 3): {"v1/doodles.json": assets_json(2, 3)},
}


@dataclass
class World:
    """What a source's runs need, and what they have landed."""

    sandbox: Sandbox
    store: LandingStore
    warehouse: Warehouse
    project: Project
    loaded: list[steps.Landing] = field(default_factory=list)

    @property
    def dsn(self) -> str:
        return self.warehouse.dsn("sluice_loader")

    def fetch(self, source: Source, entity: str, moment: datetime) -> steps.Landing:
        partition = partition_of_run(
            source.partition_of(entity), asked=None, logical_date=None, run_after=moment, is_scheduled=True
        )
        params = params_of(source)
        where = {"store": self.store, "dsn": self.dsn}
        run_id = f"scheduled__{moment.isoformat()}"
        if source.entities[entity].files:
            return steps.fetch_files(source, entity, partition, params, run_id=run_id, **where)  # type: ignore[arg-type]
        with ApiClient(api_of(source, self.sandbox.url, key=KEY)) as client:
            return steps.fetch(source, entity, partition, params, client=client, run_id=run_id, **where)  # type: ignore[arg-type]

    def run(self, source: Source, moment: datetime, *, stops: bool) -> None:
        """A scheduled run; one that stops has loaded what it landed, and built nothing of it."""
        self.sandbox.stop_clock(moment.isoformat())
        own = []
        for entity in source.entities:
            with suppress(steps.NothingToDo):
                own.append(self.fetch(source, entity, moment))
        landed = steps.with_pending(source, own, store=self.store, dsn=self.dsn)
        if stops:
            self.load(source, landed)
        else:
            self.build(source, landed)

    def load(self, source: Source, landed: Sequence[steps.Landing]) -> None:
        gates = load_gates(SOURCES / source.name / "gates.yml")
        landed, verdict = steps.gate_landing(source, gates, landed, store=self.store, dsn=self.dsn)
        verdict.raise_if_failed(source.name, "landing")
        for entity in source.entities:
            with suppress(steps.NothingToDo):
                steps.load(source, entity, landed, store=self.store, dsn=self.dsn)

    def build(self, source: Source, landed: Sequence[steps.Landing], *, with_gates: bool = False) -> None:
        """From the landings to the readers."""
        ids = [landing["landing_id"] for landing in landed]
        self.load(source, landed)
        models = [f"path:models/staging/{source.name}", f"path:models/marts,tag:{source.name}"]
        self.project.dbt("build", "--select", *models, "--exclude-resource-type", "unit_test", "test", landing_ids=ids)
        if with_gates:
            for layer in LAYERS:
                check_tables(
                    load_gates(SOURCES / source.name / "gates.yml").layer(layer),
                    url=self.warehouse.dsn("sluice_gate"),
                    schema=layer,
                    landing_ids=ids,
                    entities=[landing["entity"] for landing in landed],
                ).raise_if_failed(source.name, layer)
        publish(
            self.warehouse.dsn("sluice_publisher"),
            marts(self.project.target / "manifest.json", tag=source.name),
            source=source.name,
            dag_run_id="test",
            landing_ids=ids,
        )

    def replay(self, source: Source) -> None:
        """One run from all landings."""
        landed: list[steps.Landing] = []
        for entity in source.entities:
            landed += steps.fetched_before(
                source, entity, PartitionRange(), params_of(source), store=self.store, dsn=self.dsn
            )
        self.build(source, sorted(landed, key=lambda one: one["landing_id"]), with_gates=True)

    def drop_all_but_s3(self) -> None:
        """No table of the product is left, only its roles; nor what was dropped as files."""
        server = self.warehouse.server
        with closing(server.connect(self.warehouse.dbname)) as connection:
            with connection, connection.cursor() as cursor:
                cursor.execute("set client_min_messages = warning")
                for schema in SCHEMAS:
                    cursor.execute(f"drop schema {schema} cascade")
            bootstrap(connection, {role: self.warehouse.password(role) for role in ROLES})
        for entry in self.store.client.list_objects_v2(Bucket=self.store.bucket, Prefix="drop/").get("Contents", []):
            self.store.client.delete_object(Bucket=self.store.bucket, Key=entry["Key"])

    def published(self) -> dict[str, tuple[int, str]]:
        """Published table -> its rows and their hash, in no order and without when they were loaded."""
        columns = self.project.rows(
            "select table_schema, table_name, array_agg(quote_ident(column_name::text) order by column_name::text) "
            "from information_schema.columns join information_schema.tables using (table_schema, table_name) "
            "where table_schema in ('analytics', 'personal') and table_type = 'BASE TABLE' "
            "and column_name <> '_loaded_at' group by 1, 2 order by 1, 2"
        )
        found = {}
        for schema, table, names in columns:
            rows = self.project.rows(f'select row({", ".join(names)})::text from {schema}."{table}" order by 1')
            found[f"{schema}.{table}"] = len(rows), hashlib.sha256(repr(rows).encode()).hexdigest()
        return found


def params_of(source: Source) -> dict[str, Any]:
    return {name: PARAMS.get(name, list(param.default)) for name, param in source.params.items()}


@pytest.fixture
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, Callable[[], None]]]:
    """A sandbox, and how to stop it."""
    with ExitStack() as stack:
        made = stack.enter_context(running("--cache-dir", str(tmp_path_factory.mktemp("cache")), **SETTINGS))
        yield made, stack.close


@pytest.mark.parametrize("name", HISTORIES)
def test_all_is_rebuilt_from_s3_alone_without_a_single_request(
    sandbox: tuple[Sandbox, Callable[[], None]], s3: S3, warehouse: Warehouse, tmp_path: Path, name: str
) -> None:
    api, stop_api = sandbox
    source, store = load_source(name), LandingStore(s3.client, s3.bucket)
    world = World(api, store, warehouse, Project(warehouse, tmp_path))
    world.drop_all_but_s3()
    world.project.create_raw()
    for number, moment in enumerate(HISTORIES[name]):
        for key, content in DROPPED.get((name, number), {}).items():
            s3.client.put_object(Bucket=s3.bucket, Key=f"drop/{name}/{key}", Body=content)
        world.run(source, datetime.fromisoformat(moment), stops=number == STOPPED)
    history = world.published()
    assert all(rows for rows, _ in history.values())
    assert any(manifest for entity in source.entities for manifest in store.landings(name, entity))

    stop_api()
    with pytest.raises(requests.ConnectionError):
        api.get("/healthz")
    world.drop_all_but_s3()
    world.project.create_raw()
    assert world.published() == {}
    world.replay(source)
    assert world.published() == history
