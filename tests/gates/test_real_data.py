"""The gates over real payloads, loaded by the product's loader and modelled by the real dbt: real quirks pass."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from include.gates import Verdict, check_tables, load_gates
from include.gates.rules import LayerName
from tests.conftest import Warehouse
from tests.dbt.project import Project

SOURCES = Path(__file__).parents[2] / "include" / "sources"
LAYERS: tuple[LayerName, ...] = ("raw", "staging", "marts")
GREEN_TRIPS = 56_551


@pytest.fixture(scope="module")
def data() -> Path:
    folder = Path(os.environ.get("SLUICE_TEST_DATA", SOURCES.parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real payloads at {folder}: set SLUICE_TEST_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="module")
def project(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(warehouse, tmp_path_factory.mktemp("target"))
    made.create_raw()
    return made


@pytest.fixture(scope="module")
def landed(project: Project, data: Path) -> dict[str, int]:
    """Entity -> the landing of its real payload; everything is built by dbt."""
    text = pacsv.ConvertOptions(strings_can_be_null=False, column_types={"LocationID": pa.int64()})
    zones = pacsv.read_csv(data / "zones" / "taxi_zone_lookup.dtc.csv", convert_options=text)
    payloads = json.loads((data / "weather" / "owm_current_186_cities.json").read_text(encoding="utf-8"))
    trips = pq.read_table(data / "taxi" / "parquet" / "green_tripdata_2024-01.parquet")
    ids = {
        "zones": project.load_rows("zones", "all", zones),
        "green_trips": project.load_rows("green_trips", "2024-01", trips),
        "observations": project.load_payloads("2024-09-26T07", payloads),
    }
    project.build(list(ids.values()))
    return ids


def check(warehouse: Warehouse, source: str, layer: LayerName, landed: dict[str, int], *entities: str) -> Verdict:
    return check_tables(
        load_gates(SOURCES / source / "gates.yml").layer(layer),
        url=warehouse.dsn("sluice_gate"),
        schema=layer,
        landing_ids=[landed[entity] for entity in entities],
        entities=entities,
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_a_run_of_the_green_month_and_the_zones_passes_without_a_warning(
    warehouse: Warehouse, landed: dict[str, int], layer: LayerName
) -> None:
    verdict = check(warehouse, "tlc", layer, landed, "green_trips", "zones")
    assert verdict.passed, verdict.table()
    assert not verdict.warnings, verdict.table()
    trips = {"raw": "tlc__green_trips", "staging": "stg_tlc__green_trips", "marts": "fact_taxi_trip"}[layer]
    assert {r.rows_checked for r in verdict.results if r.table == trips} & {GREEN_TRIPS}
    assert set(verdict.left_out) == {"raw": {"tlc__yellow_trips"}, "staging": {"stg_tlc__yellow_trips"}}.get(
        layer, set()
    )


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("entity", ["green_trips", "zones"])
def test_a_run_that_landed_one_entity_alone_passes(
    warehouse: Warehouse, landed: dict[str, int], layer: LayerName, entity: str
) -> None:
    verdict = check(warehouse, "tlc", layer, landed, entity)
    assert verdict.passed, verdict.table()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_run_of_186_cities_passes_without_a_warning(
    warehouse: Warehouse, landed: dict[str, int], layer: LayerName
) -> None:
    verdict = check(warehouse, "openweather", layer, landed, "observations")
    assert verdict.passed, verdict.table()
    assert not verdict.warnings, verdict.table()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("delete from marts.fact_taxi_trip where _row = 7", "1 row found by its query"),
        ("update marts.fact_taxi_trip set total_amount_usd = 1000000 where _row = 7", "1 row found by its query"),
        (
            "update marts.fact_taxi_trip set dropoff_zone_key = -2 where _row < 5000",
            "rows are one of -1, -2",
        ),
        ("delete from marts.taxi_daily", "taxi_daily: row count is 0; expected at least 1"),
        (
            "update marts.fact_taxi_trip set is_outside_source_month = true where _row < 100",
            "fact_taxi_trip.is_outside_source_month: 10",
        ),
        ("delete from marts.dim_zone where zone_key > 100", "dim_zone: row count is 100; expected between 260 and 300"),
    ],
)
def test_a_mart_that_is_not_what_was_landed_fails(
    project: Project, landed: dict[str, int], statement: str, message: str
) -> None:
    project.rows("create schema if not exists kept")
    for table in ("fact_taxi_trip", "taxi_daily", "dim_zone"):
        project.rows(f"drop table if exists kept.{table}")
        project.rows(f"create table kept.{table} as select * from marts.{table}")
    try:
        project.rows(statement)
        verdict = check(project.warehouse, "tlc", "marts", landed, "green_trips", "zones")
    finally:
        for table in ("fact_taxi_trip", "taxi_daily", "dim_zone"):
            project.rows(f"truncate marts.{table}")
            project.rows(f"insert into marts.{table} select * from kept.{table}")
    assert any(message in failure.message for failure in verdict.failures), verdict.table()
