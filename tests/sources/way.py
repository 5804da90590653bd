"""The way of a source without Airflow: sandbox, S3, warehouse, dbt and gates, each the real one."""

from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg2

from include.extract import Api, ApiClient
from include.gates import load_gates
from include.gates.rules import LayerName
from include.landing import LandingStore
from include.pipeline import held, steps
from include.pipeline.model import SOURCES, Source, load_source
from include.pipeline.partition import partition_of_run
from include.warehouse.publish import marts, publish
from tests.conftest import Warehouse
from tests.dbt.project import Project

NOW = datetime(2026, 11, 21, 13, 5, tzinfo=UTC)


def api_of(source: Source, base_url: str, *, key: str = "any", retries: int = 0) -> Api:
    """The source's API at an address, as `connections.api_of` makes it of an Airflow connection; as fast as it goes."""
    return Api(
        connection=source.connection,
        base_url=base_url,
        key=key if source.auth else None,
        key_in=source.auth.place if source.auth else "none",
        key_name=source.auth.name if source.auth else "",
        key_prefix=source.auth.prefix if source.auth else "",
        retries=retries,
    )


@dataclass(frozen=True)
class Way:
    """What a source's run needs, filled in.

    Attributes:
        sandbox: URL of a sandbox that takes any key.
        store: Where landings go.
        warehouse: Where rows go.
        project: dbt on that warehouse.
        path: Where the sandbox serves an API, by its connection; samples of new sources, unless it is said otherwise.
        unit_tests: Whether models are unit-tested as they are built.
    """

    sandbox: str
    store: LandingStore
    warehouse: Warehouse
    project: Project
    path: str = "/samples/{connection}"
    unit_tests: bool = True

    def run(self, name: str) -> dict[str, int]:
        """Run a source up to its readers, as its DAG does; every gate has to pass.

        Returns:
            Entity -> id of what was landed of it; nothing for those that have nothing new.
        """
        source, gates = load_source(name), load_gates(SOURCES / name / "gates.yml")
        loader = self.warehouse.dsn("sluice_loader")
        params = {one: list(param.default) for one, param in source.params.items()}
        landed = []
        with ApiClient(
            api_of(source, f"{self.sandbox}{self.path.format(connection=source.connection)}", retries=1)
        ) as client:
            for entity, about in source.entities.items():
                if about.files:
                    continue  # nothing is dropped
                partition = partition_of_run(
                    source.partition_of(entity), asked=None, logical_date=None, run_after=NOW, is_scheduled=False
                )
                try:
                    landed.append(
                        steps.fetch(
                            source,
                            entity,
                            partition,
                            params,
                            client=client,
                            store=self.store,
                            dsn=loader,
                            run_id="test",
                        )
                    )
                except steps.NothingToDo:
                    continue
        if not landed:
            return {}
        landed, verdict = steps.gate_landing(source, gates, landed, store=self.store, dsn=loader)
        verdict.raise_if_failed(name, "landing")
        ids = [landing["landing_id"] for landing in landed]

        def gate(layer: LayerName) -> None:
            verdict = held.judge(
                gates.layer(layer),
                layer,
                landed,
                gate_dsn=self.warehouse.dsn("sluice_gate"),
                loader_dsn=loader,
                dag_run_id="test",
            )
            verdict.raise_if_failed(name, layer)

        for entity in source.entities:
            with suppress(steps.NothingToDo):  # its table is there now
                steps.load(source, entity, landed, store=self.store, dsn=loader)
        gate("raw")
        for layer, models in (("staging", f"path:models/staging/{name}"), ("marts", f"path:models/marts,tag:{name}")):
            self.project.build(ids, [models], unit_tests=self.unit_tests)
            gate("staging" if layer == "staging" else "marts")
        publish(
            self.warehouse.dsn("sluice_publisher"),
            marts(self.project.target / "manifest.json", tag=name),
            source=name,
            dag_run_id="test",
            landing_ids=ids,
        )
        return {landing["entity"]: landing["landing_id"] for landing in landed}

    def count(self, table: str, landing_id: int) -> int:
        """Rows of a landing in a table."""
        ((count,),) = self.rows(f"select count(*) from {table} where _landing_id = {landing_id}")
        return int(count)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the warehouse answers to its superuser."""
        with (
            closing(psycopg2.connect(self.warehouse.server.dsn(self.warehouse.dbname))) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query)
            return cursor.fetchall()
