"""The real green month and the real weather, through every model with every test and unit test."""

import csv
import json
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.dbt.project import DbtError, Project

GREEN_ROWS = 56_551


@pytest.fixture(scope="module")
def landing_ids(project: Project, real_data: Path) -> list[int]:
    """The real data in raw, everything built and tested; the landings' ids."""
    with (real_data / "zones" / "taxi_zone_lookup.attommm.csv").open(encoding="utf-8", newline="") as file:
        zones = [{**row, "LocationID": int(row["LocationID"])} for row in csv.DictReader(file)]
    payloads = json.loads((real_data / "weather" / "owm_current_186_cities.json").read_bytes())
    ids = [
        project.load_rows(
            "green_trips", "2024-01", pq.read_table(real_data / "taxi" / "parquet" / "green_tripdata_2024-01.parquet")
        ),
        project.load_rows("zones", "all", zones),
        project.load_payloads("2024-09-26T07", payloads),
    ]
    project.build(ids, unit_tests=True)
    return ids


def test_every_record_of_the_green_month_is_in_the_fact_to_the_cent(project: Project, landing_ids: list[int]) -> None:
    assert project.rows("select count(*), sum(total_amount_usd) from marts.fact_taxi_trip") == [
        (GREEN_ROWS, Decimal("1266922.59"))
    ]


def test_charge_and_reversal_pairs_of_the_green_month_are_flagged(project: Project, landing_ids: list[int]) -> None:
    assert project.rows(
        "select sum(is_reversal::int), sum((is_reversal and has_reversal_pair)::int), sum(has_reversal_pair::int), "
        "sum(total_amount_usd) filter (where has_reversal_pair) from marts.fact_taxi_trip"
    ) == [(185, 181, 362, Decimal(0))]


def test_quirks_of_the_green_month_are_counted_as_measured(project: Project, landing_ids: list[int]) -> None:
    assert project.records(
        "select sum(is_duplicate::int) as duplicates, sum(is_outside_source_month::int) as outside, "
        "sum(is_zero_duration::int) as zero_duration, sum(has_negative_duration::int) as negative_duration, "
        "sum(is_distance_implausible::int) as implausible, sum((rate_code_key = -1)::int) as no_rate_code, "
        "max(trip_distance_miles) as longest, sum(is_total_mismatch::int) as mismatch from marts.fact_taxi_trip"
    ) == [
        {
            "duplicates": 0, "outside": 2, "zero_duration": 76, "negative_duration": 0, "implausible": 46,
            "no_rate_code": 3415, "longest": Decimal("201421.68"), "mismatch": GREEN_ROWS - 48_517,
        }
    ]  # fmt: skip


def test_both_ends_of_every_trip_have_their_zone(project: Project, landing_ids: list[int]) -> None:
    assert project.rows(
        "select count(*) from marts.fact_taxi_trip as t join marts.dim_zone as p on p.zone_key = t.pickup_zone_key "
        "join marts.dim_zone as d on d.zone_key = t.dropoff_zone_key where p.is_listed and d.is_listed"
    ) == [(GREEN_ROWS,)]


def test_na_stays_a_text_in_the_zones(project: Project, landing_ids: list[int]) -> None:
    assert project.rows("select zone_key, borough, zone_name from marts.dim_zone where borough = 'N/A'") == [
        (265, "N/A", "Outside of NYC")
    ]
    assert project.rows("select count(*) from marts.dim_zone where is_listed") == [(265,)]


def test_days_add_up_to_the_month(project: Project, landing_ids: list[int]) -> None:
    assert project.rows(
        "select sum(trips), sum(reversals), sum(trips + reversals + duplicates), sum(revenue_usd) from marts.taxi_daily"
    ) == [(GREEN_ROWS - 185, 185, GREEN_ROWS, Decimal("1266922.59"))]


def test_every_real_payload_is_an_observation_of_a_city(project: Project, landing_ids: list[int]) -> None:
    assert project.rows(
        "select count(*), count(distinct city_id), count(observed_at_local), count(*) filter (where rain_1h_mm > 0), "
        "min(temperature_celsius) > -60, max(temperature_celsius) < 60, "
        "max(abs(temperature_celsius * 9 / 5 + 32 - temperature_fahrenheit)) < 0.002 "
        "from marts.fact_weather_observation join marts.dim_city using (city_id)"
    ) == [(186, 186, 186, 33, True, True, True)]


def test_real_holidays_fall_on_their_days(project: Project, landing_ids: list[int]) -> None:
    assert project.rows(
        "select date_key from marts.dim_date where is_us_federal_holiday and year_number = 2024 order by 1"
    ) == [
        (day,)
        for day in (
            20240101, 20240115, 20240219, 20240527, 20240619, 20240704, 20240902, 20241014, 20241111, 20241128,
            20241225,
        )
    ]  # fmt: skip


def test_building_again_changes_nothing(project: Project, landing_ids: list[int]) -> None:
    before = project.fingerprint()
    project.build(landing_ids)
    assert project.fingerprint() == before
    project.build()
    assert project.fingerprint() == before


def test_sources_say_how_fresh_they_are_from_the_book_of_landings(project: Project, landing_ids: list[int]) -> None:
    with pytest.raises(DbtError) as failure:  # yellow trips were never landed here
        project.dbt("source", "freshness", "--select", "source:tlc", "source:openweather")
    freshness = failure.value.nodes
    assert {name: node.status for name, node in freshness.items()} == {
        "yellow_trips": "error",
        "green_trips": "pass",
        "observations": "pass",
    }
