"""The facts of a report, from a warehouse whose numbers are known."""

import base64
import io
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import psycopg2
import pytest

from include.report import Facts, archive, archived, collect, render
from include.report.expect import Expected, expected, is_daily
from include.report.facts import SourceFacts, SubjectFacts
from tests.conftest import S3, Warehouse
from tests.report.conftest import DAY, NOW, PERSONAL, SOURCES, Filled, landing_id


@pytest.fixture(scope="module")
def facts(filled: Filled) -> Facts:
    return collect(filled.dsn, day=DAY, sources=SOURCES, now=NOW)


def source(facts: Facts, name: str) -> SourceFacts:
    (found,) = [one for one in facts.sources if one.name == name]
    return found


def subject(facts: Facts, name: str) -> SubjectFacts:
    (found,) = [one for one in facts.subjects if one.name == name]
    return found


def figures(facts: Facts, name: str) -> dict[str, float | None]:
    return {figure.label: figure.value and round(figure.value, 2) for figure in subject(facts, name).figures}


def test_a_source_is_told_by_its_last_24_hours_with_its_cost(facts: Facts) -> None:
    weather = source(facts, "openweather")
    assert (weather.runs, weather.landings, weather.landed, weather.loaded, weather.published) == (2, 2, 32, 32, 64)
    assert (weather.seconds, weather.bytes) == (27, 18_700)
    assert (weather.gates_passed, weather.gates_warned, weather.gates_failed) == (18, 2, 0)
    assert weather.state == "warn"
    assert weather.age_hours == pytest.approx(55 / 60)


def test_a_failed_gate_is_told_in_its_words_and_the_source_is_missing_too(facts: Facts) -> None:
    driven = source(facts, "driven")
    assert (driven.state, driven.published, driven.quarantined) == ("fail", 0, 1)
    assert driven.findings == ["stg_driven__sessions.download_speed_mbps: 3 of 987 <0>"]
    assert facts.missing == ["driven"]
    assert facts.summary == "failed: driven; with warnings: openweather"


def test_a_source_that_was_not_due_and_did_nothing_is_no_fault(facts: Facts) -> None:
    tlc = source(facts, "tlc")
    assert (tlc.state, tlc.runs, tlc.landed) == ("idle", 0, 0)
    assert tlc.age_hours == 53


def test_a_source_that_is_too_old_is_a_fault_even_when_its_gates_passed(filled: Filled) -> None:
    old = Expected("x", "posts", is_due=False, warn_after_hours=1, error_after_hours=4)
    found = collect(filled.dsn, day=DAY, sources=[old], now=NOW)
    assert source(found, "x").state == "fail"
    stale = Expected("x", "posts", is_due=False, warn_after_hours=1, error_after_hours=6)
    assert source(collect(filled.dsn, day=DAY, sources=[stale], now=NOW), "x").state == "warn"


def test_a_day_that_is_over_is_told_from_midnight_to_midnight(filled: Filled) -> None:
    later = collect(filled.dsn, day=DAY - timedelta(days=2), sources=SOURCES, now=NOW)
    assert f"{later.until:%Y-%m-%d %H:%M}" == "2026-11-19 00:00"
    assert (source(later, "tlc").landed, source(later, "tlc").published) == (48_210, 2 * 48_210)
    assert source(later, "x").state == "missing"


def test_the_taxi_days_end_before_the_stray_trips_of_the_next_month(facts: Facts) -> None:
    trips, revenue = subject(facts, "taxi").charts
    assert [trips.points[0].label, trips.points[-1].label, len(trips.points)] == ["2026-08-01", "2026-08-31", 31]
    newest = round(98_000 * 1.06) + round(1_400 * 1.06)
    assert figures(facts, "taxi") == {"Trips": newest, "Revenue": newest * 21.5, "Revenue a trip": 21.5}
    assert revenue.unit == "USD"


def test_each_city_has_its_temperature_and_the_range_of_24_hours(facts: Facts) -> None:
    (chart,) = subject(facts, "weather").charts
    assert len(chart.points) == 16
    assert [one.value for one in chart.points] == sorted((one.value for one in chart.points), reverse=True)
    assert all(one.low <= one.value <= one.high for one in chart.points if one.low is not None and one.high is not None)
    assert figures(facts, "weather")["Observations"] == 16 * 24


def test_broadband_is_told_up_to_the_last_whole_day(facts: Facts) -> None:
    sessions = 40 + 19
    wave = (0.82, 0.91, 1.0, 1.06, 1.12, 1.21, 0.88)[date(2026, 11, 19).toordinal() % 7]
    assert figures(facts, "broadband") == {
        "Sessions": sessions,
        "Traffic": pytest.approx(sessions * wave),
        "Payments": sessions * 250.5,
        "Average download": 500,
    }
    (first, *_) = subject(facts, "broadband").figures
    assert first.note == "2026-11-19"
    assert first.change == pytest.approx(59 / 52 - 1)


def test_nfts_without_an_estimate_count_but_are_worth_nothing(facts: Facts) -> None:
    worth = (120 + 45 + 9) * 19 * (0.82, 0.91, 1.0, 1.06, 1.12, 1.21, 0.88)[DAY.toordinal() % 7]
    assert figures(facts, "nft") == {"NFTs": 60, "Estimated value": pytest.approx(worth, abs=0.01), "Sales": 12}
    assert [one.label for one in subject(facts, "nft").charts[-1].points] == [
        "Friendsies",
        "CryptoDevAmigos",
        "<b>$H_b$ & co</b>",
    ]


def test_engagement_gained_is_the_difference_of_two_days(facts: Facts) -> None:
    gained = subject(facts, "social").figures[-1]
    assert (gained.label, gained.value, gained.note) == ("Engagements gained", 30, "by 3 posts since 2026-11-19")


def test_a_warehouse_in_which_nothing_was_published_gives_a_report_that_says_so(
    postgres: object, warehouse: Warehouse, filled: Filled
) -> None:
    """The tables are gone, as before the first run of a source."""
    with closing(psycopg2.connect(warehouse.dsn("sluice_publisher"))) as connection, connection.cursor() as cursor:
        cursor.execute("alter table analytics.payment_data rename to payment_data_gone")
        connection.commit()
        try:
            found = collect(filled.dsn, day=DAY, sources=SOURCES, now=NOW)
        finally:
            cursor.execute("alter table analytics.payment_data_gone rename to payment_data")
            connection.commit()
    assert subject(found, "broadband").missing == "driven has not been published yet (analytics has no payment_data)."
    assert subject(found, "broadband").charts == []
    assert not subject(found, "nft").missing
    assert "driven has not been published yet" in render(found).text


def test_a_subject_that_cannot_be_read_is_said_to_be_and_takes_no_other_with_it(filled: Filled) -> None:
    filled.execute("alter table analytics.taxi_daily rename column trips to journeys")
    try:
        found = collect(filled.dsn, day=DAY, sources=SOURCES, now=NOW)
    finally:
        filled.execute("alter table analytics.taxi_daily rename column journeys to trips")
    assert subject(found, "taxi").missing.startswith("It could not be read (UndefinedColumn)")
    assert subject(found, "weather").figures


def test_text_and_page_and_the_words_for_the_images_say_the_same(facts: Facts) -> None:
    told = render(facts)
    for fact in ("987", "48,", "18 met, 2 warned", "$2.27 M", "66.1 GB", "by 3 posts since 2026-11-19", "55 min"):
        assert (fact in told.text) == (fact in told.html) == (fact != "48,"), fact
    for one in facts.subjects:
        for chart in one.charts:
            assert f"{chart.title}" in told.text
    alternatives = told.html.split('alt="')[1:]
    assert len(alternatives) == len(told.images) == 9
    assert any(text.startswith("Traffic by day, 2026-10-20 to 2026-11-19. Lowest 33.6 GB") for text in alternatives)


def test_names_from_upstream_are_shown_as_text(facts: Facts) -> None:
    told = render(facts)
    assert "3 of 987 &lt;0&gt;" in told.html
    assert "<b>$H_b$" not in told.html
    assert "<b>$H_b$ & co</b>" in told.text


def test_the_page_loads_nothing_from_anywhere(facts: Facts) -> None:
    told = render(facts, {"The run": "http://127.0.0.1:8080/dags/daily_report"})
    sources = [part.split('"')[0] for part in told.page.split('src="')[1:]]
    assert all(one.startswith("data:image/png;base64,") for one in sources)
    assert base64.b64decode(sources[0].partition(",")[2]).startswith(b"\x89PNG")
    assert "<script" not in told.page
    assert "http" not in told.page.replace("http://127.0.0.1:8080/dags/daily_report", "")


def test_images_have_twice_the_pixels_that_they_take_on_the_page(facts: Facts) -> None:
    from matplotlib.image import imread

    told = render(facts)
    shape = imread(io.BytesIO(told.images["taxi-trips"])).shape
    assert shape[:2] == (300, 632)
    assert told.images == render(facts).images


def test_no_personal_value_can_reach_the_report_for_its_role_sees_masks(filled: Filled, facts: Facts) -> None:
    told = render(facts)
    assert not [one for one in PERSONAL for text in (told.text, told.page, facts.model_dump_json()) if one in text]
    with closing(psycopg2.connect(filled.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("select distinct iban from analytics.payment_data")
        assert cursor.fetchall() == [("RO49A*****",)]


def test_a_report_is_kept_on_s3_and_in_a_folder_and_found_again(facts: Facts, s3: S3, tmp_path: Path) -> None:
    told = render(facts)
    for place in (f"s3://{s3.bucket}", tmp_path.as_uri()):
        assert archived(DAY, place, s3=s3.client) is None
        earlier = facts.model_copy(update={"day": DAY - timedelta(days=1)})
        archive(earlier, told, place, s3=s3.client)
        assert archive(facts, told, place, s3=s3.client) == f"{place}/reports/dt=2026-11-20/report.html"
        assert archived(DAY, place, s3=s3.client) == facts
    index = s3.client.get_object(Bucket=s3.bucket, Key="reports/index.html")["Body"].read().decode()
    assert index == (tmp_path / "reports" / "index.html").read_text()
    assert index.index("dt=2026-11-20/report.html") < index.index("dt=2026-11-19/report.html")
    kind = s3.client.head_object(Bucket=s3.bucket, Key="reports/dt=2026-11-20/report.html")["ContentType"]
    assert kind == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("cron", "due", "daily"),
    [
        ("5 * * * *", True, True),
        ("0 6 * * *", True, True),
        ("@daily", True, True),
        ("0 10 * * *", True, True),
        ("0 9 29 * *", False, False),
        ("0 6 20 * *", True, False),
        ("0 6 * * 1-5", True, False),
        ("@quarterly", False, False),
        (None, False, False),
    ],
)
def test_what_a_day_waits_for_follows_from_the_schedule(cron: str | None, due: bool, daily: bool) -> None:
    assert expected("any", "thing", cron, NOW).is_due is due
    assert is_daily(cron, NOW) is daily


def test_the_cost_of_asking_is_bounded_by_what_was_landed_lately(filled: Filled) -> None:
    """Rows of landings of long ago are not read: the index on the landing decides."""
    old = landing_id(NOW - timedelta(days=400))
    filled.insert(
        "analytics.fact_network_usage",
        [
            {
                "unique_id": "old",
                "accessed_at": NOW - timedelta(days=1),
                "consumed_traffic_kilobytes": 1,
                "_landing_id": old,
            }
        ],
    )
    found = collect(filled.dsn, day=DAY, sources=SOURCES, now=NOW)
    assert figures(found, "broadband")["Sessions"] == 59
