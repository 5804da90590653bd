"""The whole way on Redshift: sandbox, S3, COPY, gates, dbt, gates, publish, by the steps that the DAGs are made of."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from include.extract import ApiClient
from include.gates import load_gates
from include.gates.rules import LayerName
from include.pipeline import held, steps, verdicts
from include.pipeline.model import SOURCES, load_source
from include.pipeline.partition import partition_of_run
from include.warehouse import turn
from include.warehouse.fence import Fence
from include.warehouse.publish import marts, publish
from tests.frame.conftest import PROJECT
from tests.pipeline.conftest import KEY, sandbox
from tests.redshift.warehouse.bench import Bench
from tests.sources.way import NOW, api_of

__all__ = ["sandbox"]

DBT_PROJECT = PROJECT / "dbt_project"
PUBLISHED = {"openweather": "fact_weather_observation", "tlc": "fact_taxi_trip"}


def build(bench: Bench, target: Path, landing_ids: Sequence[int], select: str) -> None:
    """Run dbt on Redshift as the pipeline does."""
    redshift = bench.warehouse.redshift
    environment = {
        "SLUICE_DBT_HOST": redshift.host,
        "SLUICE_DBT_PORT": str(redshift.port),
        "SLUICE_DBT_USER": "sluice_transformer",
        "SLUICE_DBT_PASSWORD": bench.warehouse.password("sluice_transformer"),
        "SLUICE_DBT_DBNAME": redshift.dbname,
        "SLUICE_DBT_SSLMODE": "disable",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("dbt"), "build", "--target", "redshift", "--select", select),
            *("--project-dir", DBT_PROJECT, "--profiles-dir", DBT_PROJECT, "--target-path", target),
            *("--log-path", target, "--exclude-resource-type", "unit_test"),
            *("--vars", json.dumps({"landing_ids": ",".join(map(str, landing_ids))})),
        ],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_source_goes_from_its_api_to_its_readers(bench: Bench, sandbox: str, tmp_path: Path, name: str) -> None:
    source, gates = load_source(name), load_gates(SOURCES / name / "gates.yml")
    params = {one: list(param.default) for one, param in source.params.items()}
    landed = []
    with ApiClient(api_of(source, sandbox, key=KEY)) as client:
        for entity in source.entities:
            partition = partition_of_run(
                source.partition_of(entity), asked=None, logical_date=None, run_after=NOW, is_scheduled=False
            )
            landed.append(
                steps.fetch(
                    source, entity, partition, params, client=client, store=bench.store, dsn=bench.dsn, run_id="test"
                )
            )  # fmt: skip
    landed, verdict = steps.gate_landing(source, gates, landed, store=bench.store, dsn=bench.dsn)
    verdict.raise_if_failed(name, "landing")
    ids = [one["landing_id"] for one in landed]
    for entity in source.entities:
        fence = Fence(f"{name}/test/load_{entity}", 1)
        fence.enter(bench.dsn)
        steps.load(source, entity, landed, store=bench.store, dsn=bench.dsn, run_id="test", fence=fence)

    def gate(layer: LayerName) -> None:
        judged = held.judge(
            gates.layer(layer),
            layer,
            landed,
            gate_dsn=bench.warehouse.dsn("sluice_gate"),
            loader_dsn=bench.dsn,
            dag_run_id="test",
        )
        verdicts.keep(
            bench.warehouse.dsn("sluice_gate"),
            judged,
            source=name,
            layer=layer,
            dag_run_id="test",
            landing_ids=ids,
            docs_uri=str(tmp_path / "docs"),
        )
        judged.raise_if_failed(name, layer)

    gate("raw")
    assert turn.take(bench.dsn, name, "test", is_running=lambda _: False) is None
    build(bench, tmp_path, ids, f"path:models/staging/{name}")
    gate("staging")
    build(bench, tmp_path, ids, f"path:models/marts,tag:{name}")
    gate("marts")
    done = publish(
        bench.warehouse.dsn("sluice_publisher"),
        marts(tmp_path / "manifest.json", tag=name),
        source=name,
        dag_run_id="test",
        landing_ids=ids,
        turn=lambda session: turn.check(session, name, "test"),
    )
    published = {one.model: one.rows_inserted for one in done}
    fact = PUBLISHED[name]
    in_raw = sum(
        bench.rows(f"select count(*) from raw.{source.table(entity)}")[0][0]
        for entity, about in source.entities.items()
        if not about.lookup
    )
    assert published[fact] == in_raw > 0
    assert bench.warehouse.ask(f"select count(*) from analytics.{fact}", user="sluice_reporter") == [(in_raw,)]
    assert bench.scratch() == 0
