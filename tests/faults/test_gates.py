"""A batch of each source goes bad before the gate of each layer: the gate says why, and no reader sees a row of it.

The steps are those of the DAG (fetch, load, judge, dbt, publish), in its order; `test_gates_on_the_stack` has the DAG.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from include.extract import ApiClient
from include.gates import GateFailed, load_gates
from include.gates.rules import LayerName
from include.landing import LandingStore
from include.pipeline import held as quarantine
from include.pipeline import steps
from include.pipeline.model import SOURCES, load_source
from include.pipeline.partition import partition_of_run
from include.warehouse.publish import marts, publish
from local import s3 as seaweed
from local.stack import Store
from tests.conftest import Warehouse
from tests.dbt.project import Project
from tests.faults.bad_batches import BAD, Bad
from tests.faults.conftest import DAY, NEXT_DAY, SANDBOX
from tests.faults.page import LAYERS, Ledger
from tests.faults.points import SUBJECTS
from tests.faults.readers import Watch, reading, to_the_byte
from tests.faults.served import MEASURED
from tests.local.sandbox.conftest import Sandbox, running
from tests.sources.way import NOW, api_of

KEY = "0" * 32
LAYERS_IN_WAREHOUSE: tuple[LayerName, ...] = ("raw", "staging", "marts")


@dataclass(frozen=True)
class Way:
    """All that a run needs, but Airflow."""

    sandbox: Sandbox
    store: LandingStore
    warehouse: Warehouse
    project: Project

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the warehouse answers to its superuser."""
        connection = self.warehouse.server.connect(self.warehouse.dbname)
        with closing(connection), connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []

    def fetch(self, name: str, conf: Mapping[str, Any], entities: Sequence[str]) -> list[steps.Landing]:
        """Fetch and land entities of a source."""
        source = load_source(name)
        params = {one: list(conf.get(one, param.default)) for one, param in source.params.items()}
        landed = []
        with ApiClient(api_of(source, self.sandbox.url, key=KEY, retries=1)) as client:
            for entity in entities:
                partition = partition_of_run(
                    source.partition_of(entity),
                    asked=conf["date"],
                    logical_date=None,
                    run_after=NOW,
                    is_scheduled=False,
                )
                try:
                    landing = steps.fetch(
                        source,
                        entity,
                        partition,
                        params,
                        client=client,
                        store=self.store,
                        dsn=self.warehouse.dsn("sluice_loader"),
                        run_id="test",
                    )
                except steps.NothingToDo:
                    continue
                landed.append(landing)
        return landed

    def judge(self, name: str, layer: str, landed: Sequence[steps.Landing]) -> None:
        """The gate of a layer.

        Raises:
            GateFailed: it has failed.
        """
        gates = load_gates(SOURCES / name / "gates.yml")
        if layer == "landing":
            _, verdict = steps.gate_landing(
                load_source(name), gates, landed, store=self.store, dsn=self.warehouse.dsn("sluice_loader")
            )
            verdict.raise_if_failed(name, "landing")
            return
        (of_warehouse,) = (one for one in LAYERS_IN_WAREHOUSE if one == layer)
        quarantine.judge(
            gates.layer(of_warehouse),
            of_warehouse,
            landed,
            gate_dsn=self.warehouse.dsn("sluice_gate"),
            loader_dsn=self.warehouse.dsn("sluice_loader"),
            dag_run_id="test",
        ).raise_if_failed(name, of_warehouse)

    def step_before(self, name: str, layer: str, landed: Sequence[steps.Landing]) -> None:
        """What is done between the gate before and the gate of a layer."""
        ids = [landing["landing_id"] for landing in landed]
        if layer == "raw":
            source = load_source(name)
            for entity in source.entities:
                try:
                    steps.load(source, entity, landed, store=self.store, dsn=self.warehouse.dsn("sluice_loader"))
                except steps.NothingToDo:
                    continue
        elif layer != "landing":
            models = f"path:models/staging/{name}" if layer == "staging" else f"path:models/marts,tag:{name}"
            self.project.dbt(
                *("build", "--select", models, "--exclude-resource-type", "test", "unit_test"), landing_ids=ids
            )

    def publish(self, name: str, landed: Sequence[steps.Landing]) -> None:
        """Publish the run's rows."""
        publish(
            self.warehouse.dsn("sluice_publisher"),
            marts(self.project.target / "manifest.json", tag=name),
            source=name,
            dag_run_id="test",
            landing_ids=[landing["landing_id"] for landing in landed],
        )


@dataclass
class Held:
    """What came of a batch that went bad at each layer.

    Attributes:
        messages: Layer -> what the gate said.
        changed: Layer -> tables whose bytes were others after the gate had failed.
        watch: What the reader saw until the batch was mended.
        published: Rows of the batch that readers see at last.
    """

    messages: dict[str, str] = field(default_factory=dict)
    changed: dict[str, set[str]] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    published: int = 0


@pytest.fixture(scope="module")
def way(s3_server: Store, warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    client = seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    project = Project(warehouse, tmp_path_factory.mktemp("dbt"))
    project.create_raw()
    with running("--cache-dir", str(tmp_path_factory.mktemp("cache")), **SANDBOX) as sandbox:
        yield Way(sandbox, LandingStore(client, s3_server.bucket), warehouse, project)


@pytest.fixture(scope="module", params=BAD, ids=[bad.source for bad in BAD])
def tried(way: Way, request: pytest.FixtureRequest) -> tuple[Bad, Held]:
    """A batch that is published, and one that goes bad layer after layer, is mended, and is published at last."""
    bad: Bad = request.param
    of, found = MEASURED[bad.source], Held()
    entities = [name for name, entity in load_source(bad.source).entities.items() if entity.request]
    (subject,) = (one for one in SUBJECTS if one.source == bad.source)
    way.sandbox.stop_clock(DAY)
    good = way.fetch(bad.source, subject.conf, entities)
    for layer in LAYERS:
        way.step_before(bad.source, layer, good)
        way.judge(bad.source, layer, good)
    way.publish(bad.source, good)
    before, since = to_the_byte(way), good[-1]["landing_id"] + 1

    way.sandbox.stop_clock(NEXT_DAY)
    with reading(way.warehouse.dsn("analyst"), [of.fact], since=since) as found.watch:
        way.sandbox.break_with(dict(bad.api))
        landed = way.fetch(bad.source, bad.conf, entities)
        _see_it_fail(way, bad, "landing", landed, before, found)
        way.sandbox.break_with()
        again = way.fetch(bad.source, bad.conf, bad.fetches)
        landed = [one for one in landed if one["entity"] not in bad.fetches] + again
        way.judge(bad.source, "landing", landed)
        batch = f"_landing_id = {next(one['landing_id'] for one in landed if one['entity'] == of.entity)}"
        for number, layer in enumerate(LAYERS_IN_WAREHOUSE):
            # what went bad before is mended by the step that makes it
            for done in LAYERS_IN_WAREHOUSE[: number + 1]:
                way.step_before(bad.source, done, landed)
                if done != layer:
                    way.judge(bad.source, done, landed)
            marts_suffer = f"delete from marts.{of.fact} where {{batch}}"
            suffers = {"raw": bad.raw, "staging": bad.staging, "marts": marts_suffer}[layer]
            way.rows(suffers.format(raw=of.raw, batch=batch))
            _see_it_fail(way, bad, layer, landed, before, found)
    way.step_before(bad.source, "marts", landed)
    way.judge(bad.source, "marts", landed)
    way.publish(bad.source, landed)
    ((found.published,),) = way.rows(f"select count(*) from analytics.{of.fact} where _landing_id >= {since}")
    return bad, found


@pytest.mark.parametrize("layer", LAYERS)
def test_a_gate_that_fails_says_what_it_found_and_readers_see_the_same_bytes(
    tried: tuple[Bad, Held], ledger: Ledger, layer: str
) -> None:
    bad, held = tried
    message = held.messages[layer]
    assert message.startswith(f"{bad.source}: the gate of {layer} has failed")
    assert re.search(bad.said[layer], message), message
    assert held.changed[layer] == set()
    ledger.note("gate", layer, bad.source)


def test_a_reader_who_asks_twenty_times_a_second_never_sees_a_row_until_the_batch_is_mended(
    tried: tuple[Bad, Held],
) -> None:
    _, held = tried
    assert held.watch.strange == []
    assert held.watch.per_second >= 20
    assert held.published > 0


def _see_it_fail(
    way: Way, bad: Bad, layer: str, landed: Sequence[steps.Landing], before: Mapping[str, str], found: Held
) -> None:
    with pytest.raises(GateFailed) as failed:
        way.judge(bad.source, layer, landed)
    found.messages[layer] = str(failed.value)
    after = to_the_byte(way)
    found.changed[layer] = {name for name in before if before[name] != after.get(name)}
