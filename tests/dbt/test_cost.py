"""A month costs the same whatever the history: nothing of the other months is read."""

import pyarrow as pa
import pytest

from tests.dbt.project import Project
from tests.dbt.samples import ZONES, payload, trip

MONTHS = [f"{year}-{month:02d}" for year in (2022, 2023) for month in range(1, 13)]
TRIPS_A_MONTH = 5_000
HOURS, CITIES = 2_000, 20


def month_of_trips(month: str) -> pa.Table:
    """Trips all over a month, one a minute."""
    return pa.Table.from_pylist(
        [
            trip(f"{month}-{1 + at // 1440 % 28:02d}T{at // 60 % 24:02d}:{at % 60:02d}", total_amount=at / 100)
            for at in range(TRIPS_A_MONTH)
        ]
    )


@pytest.fixture(scope="module")
def history(project: Project) -> Project:
    """Two years of trips and twelve weeks of weather, built."""
    project.load_rows("zones", "all", ZONES)
    for month in MONTHS:
        project.load_rows("green_trips", month, month_of_trips(month))
    for first in range(0, HOURS, 500):
        observations = [payload(city, hour * 3600) for hour in range(first, first + 500) for city in range(CITIES)]
        project.load_payloads(f"history-{first}", observations)
    project.build()
    project.rows("analyze")
    return project


def test_a_month_landed_again_reads_no_other_month(history: Project) -> None:
    landing_id = history.load_rows("green_trips", "2023-06", month_of_trips("2023-06"))
    marts, raw = history.rows_read(r"^marts\."), history.rows_read(r"^raw\.")
    history.build([landing_id], ("tag:tlc",))
    after = history.rows_read(r"^marts\.")
    whole, by_index = (now - then for now, then in zip(after["fact_taxi_trip"], marts["fact_taxi_trip"], strict=True))
    assert whole == 0
    # each of some twenty statements (delete, days, tests) reads the month once
    assert 0 < by_index < 30 * TRIPS_A_MONTH
    read_of_others = {
        table: now[0] - raw.get(table, (0, 0))[0]
        for table, now in history.rows_read(r"^raw\.").items()
        if table.startswith("tlc__green_trips") and not table.endswith(str(landing_id))
    }
    assert not any(read_of_others.values()), read_of_others
    assert history.rows("select count(*) from marts.fact_taxi_trip") == [(TRIPS_A_MONTH * len(MONTHS),)]


def test_an_hour_of_weather_reads_no_other_hour(history: Project) -> None:
    landing_id = history.load_payloads("new", [payload(city, HOURS * 3600) for city in range(CITIES)])
    marts, raw = history.rows_read(r"^marts\."), history.rows_read(r"^raw\.")
    history.build([landing_id], ("tag:openweather",))
    fact, observations = "fact_weather_observation", "openweather__observations"
    assert history.rows_read(r"^marts\.")[fact][0] == marts[fact][0]
    assert history.rows_read(r"^raw\.")[observations][0] == raw[observations][0]
    assert history.rows(f"select count(*) from marts.{fact}") == [(CITIES * (HOURS + 1),)]


@pytest.mark.parametrize("service", ["yellow", "green"])
def test_amounts_of_trips_are_converted_behind_a_join(history: Project, service: str) -> None:
    """The planner takes the staging view apart; of a view that it cannot, all amounts of all rows are converted."""
    history.load_rows(f"{service}_trips", "2024-01", [trip("2024-01-01T00:00", total_amount=1)])
    plan = history.rows(
        f"explain (verbose, costs off) select trips.fare_amount_usd from staging.stg_tlc__{service}_trips as trips "
        "inner join staging.stg_tlc__trip_files as files on trips._landing_id = files._landing_id"
    )
    lines = [line for (line,) in plan]
    scans = [at for at, line in enumerate(lines) if f" on raw.tlc__{service}_trips" in line]
    assert scans
    assert "numeric" in lines[1]
    assert [lines[at + 1] for at in scans if "numeric" in lines[at + 1]] == []
