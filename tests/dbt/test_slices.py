"""What a run changes and what it leaves alone: months landed again, days of two files, hours that come late."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from tests.dbt.project import DbtError, Project
from tests.dbt.samples import ZONES, payload, trip

TAXI = ("tag:tlc",)
TRIPS = ("stg_tlc__trip_files", "fact_taxi_trip", "int_taxi_daily_by_file", "taxi_daily")
WEATHER = ("dim_city", "fact_weather_observation")


@pytest.fixture(scope="module")
def taxi(project: Project) -> Project:
    """Zones and one month of two trips, only green: nothing has ever been landed for yellow."""
    ids = [
        project.load_rows("zones", "all", ZONES),
        project.load_rows(
            "green_trips", "2024-01", [trip("2024-01-30T08:00"), trip("2024-01-31T08:00", total_amount=4.25)]
        ),
    ]
    project.build(ids, TAXI)
    return project


def days(project: Project) -> Sequence[tuple[Any, ...]]:
    """Day, borough, trips, revenue of the daily table."""
    return [
        (str(day), borough, trips, revenue)
        for day, borough, trips, revenue in project.rows(
            "select trip_date, pickup_borough, trips, revenue_usd from marts.taxi_daily order by 1, 2"
        )
    ]


def test_a_source_of_which_only_one_service_was_landed_builds(taxi: Project) -> None:
    assert taxi.rows("select service, count(*) from marts.fact_taxi_trip group by 1") == [("green", 2)]


def test_stray_days_and_landings_again_leave_each_day_as_its_files_have_it(taxi: Project) -> None:
    # the file of February has a trip of January too
    february = taxi.load_rows(
        "green_trips", "2024-02", [trip("2024-01-31T23:00", total_amount=1), trip("2024-02-01T08:00")]
    )
    taxi.build([february], TRIPS)
    assert days(taxi) == [
        ("2024-01-30", "Manhattan", 1, Decimal("10.50")),
        ("2024-01-31", "Manhattan", 2, Decimal("5.25")),
        ("2024-02-01", "Manhattan", 1, Decimal("10.50")),
    ]
    assert taxi.rows(
        "select trip_date::text, is_from.source_month::text from marts.taxi_daily "
        "join staging.stg_tlc__trip_files as is_from using (_landing_id) order by 1"
    ) == [("2024-01-30", "2024-01-01"), ("2024-01-31", "2024-02-01"), ("2024-02-01", "2024-02-01")]
    untouched = taxi.rows("select t::text from marts.fact_taxi_trip as t where source_month = '2024-02-01' order by 1")

    # January again: the 30th is gone, the 31st has another trip and another borough
    january = taxi.load_rows(
        "green_trips", "2024-01", [trip("2024-01-31T08:00", total_amount=7), trip("2024-01-31T09:00", pulocationid=138)]
    )
    taxi.build([january], TRIPS)
    assert days(taxi) == [
        ("2024-01-30", "Manhattan", 0, Decimal("0.00")),
        ("2024-01-31", "Manhattan", 2, Decimal("8.00")),
        ("2024-01-31", "Queens", 1, Decimal("10.50")),
        ("2024-02-01", "Manhattan", 1, Decimal("10.50")),
    ]
    assert taxi.rows(
        "select trip_key, _landing_id = %s from marts.fact_taxi_trip where source_month = '2024-01-01' order by 1",
        january,
    ) == [
        (2024012000000000, True),
        (2024012000000001, True),
    ]
    assert untouched == taxi.rows(
        "select t::text from marts.fact_taxi_trip as t where source_month = '2024-02-01' order by 1"
    )
    # what publish moves by the run's landing is all that this run has changed
    assert taxi.rows(
        "select trip_date::text, pickup_borough from marts.taxi_daily where _landing_id = %s order by 1, 2", january
    ) == [
        ("2024-01-30", "Manhattan"),
        ("2024-01-31", "Manhattan"),
        ("2024-01-31", "Queens"),
    ]

    # without a list of landings: what is newer than what the models hold
    before = taxi.fingerprint()
    taxi.build((), TRIPS)
    assert taxi.fingerprint() == before
    taxi.load_rows("green_trips", "2024-02", [trip("2024-02-02T08:00")])
    taxi.build((), TRIPS)
    assert days(taxi)[1:] == [
        ("2024-01-31", "Manhattan", 1, Decimal("7.00")),
        ("2024-01-31", "Queens", 1, Decimal("10.50")),
        ("2024-02-01", "Manhattan", 0, Decimal("0.00")),
        ("2024-02-02", "Manhattan", 1, Decimal("10.50")),
    ]


def test_a_landing_that_is_no_number_is_refused_by_name(taxi: Project) -> None:
    with pytest.raises(DbtError, match=r"var landing_ids: '2\) or \(true' is not the id of a landing"):
        taxi.dbt("run", "--select", "fact_taxi_trip", "--vars", '{landing_ids: "1, 2) or (true"}')


def test_a_trip_lost_on_the_way_to_the_fact_fails_its_tests(taxi: Project) -> None:
    taxi.rows("delete from marts.fact_taxi_trip where trip_key = (select max(trip_key) from marts.fact_taxi_trip)")
    with pytest.raises(DbtError) as failure:
        taxi.dbt("test", "--select", "fact_taxi_trip", "taxi_daily", "--exclude", "test_type:unit")
    assert {name for name, node in failure.value.nodes.items() if node.status == "fail"} == {
        "every_trip_record_is_in_the_fact_with_its_amount",
        "every_trip_record_counts_once_in_its_day",
    }


def cities(project: Project) -> Sequence[tuple[Any, ...]]:
    """City, time of its newest observation, landing."""
    return project.rows(
        "select city_id, extract(epoch from last_observed_at)::bigint, _landing_id from marts.dim_city order by 1"
    )


def test_late_and_repeated_hours_leave_one_row_for_each_observation(project: Project) -> None:
    nine, ten = 1_704_103_200, 1_704_106_800
    second = project.load_payloads("2024-01-01T10", [payload(1, ten, 281.0), payload(2, ten)])
    project.build([second], ("tag:openweather",))
    # nine o'clock comes late; the city's newest observation stays the one of ten o'clock
    late = project.load_payloads("2024-01-01T09", [payload(1, nine, 280.0)])
    project.build([late], WEATHER)
    assert cities(project) == [(1, ten, second), (2, ten, second)]
    # and ten o'clock is corrected by a later answer
    again = project.load_payloads("2024-01-01T10", [payload(1, ten, 282.0)])
    project.build([again], WEATHER)
    assert project.rows(
        "select city_id, extract(epoch from observed_at)::bigint, temperature_celsius, _landing_id "
        "from marts.fact_weather_observation order by 1, 2"
    ) == [(1, nine, Decimal("6.850"), late), (1, ten, Decimal("8.850"), again), (2, ten, Decimal("7.170"), second)]
    assert cities(project) == [(1, ten, again), (2, ten, second)]
