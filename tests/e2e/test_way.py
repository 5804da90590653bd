"""The whole way, through the real launcher and scheduler: from the API to the tables that readers see."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import REAL_DATA, Stack, analytics
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

FIVE = {
    "driven": "fact_network_usage",
    "opensea": "fact_nft_snapshot",
    "openweather": "fact_weather_observation",
    "tlc": "fact_taxi_trip",
    "x": "fact_post",
}
GREEN_ROWS, GREEN_TOTAL = 56_551, "1266922.59"


@pytest.fixture(autouse=True)
def behaving(stack: Stack) -> Iterator[None]:
    stack.mend_api()
    yield
    stack.mend_api()


def needs(real_data: Path | None) -> Path:
    if real_data is None:
        pytest.skip(f"no real data: {REAL_DATA} is not there (set SLUICE_TEST_DATA)")
    return real_data


def test_up_publishes_every_source_and_its_table_is_true(
    stack: Stack, first_up: subprocess.CompletedProcess[str]
) -> None:
    for source in FIVE:
        found = re.search(rf"^\W*{source}\W+(\d[\d,]*)\W+(\d[\d,]*)\W", first_up.stdout, re.MULTILINE)
        assert found, first_up.stdout
        told = tuple(int(number.replace(",", "")) for number in found.groups())
        of_source = f"from ops.landing where source = '{source}'"
        # other tests may have run it since; the launcher's run ids are in the order of time
        first = f"(select min(dag_run_id) {of_source} and dag_run_id like 'sluice%')"
        booked = f"{of_source} and published_at is not null and dag_run_id = {first}"
        assert [told] == stack.rows(f"select sum(records), sum(loaded_rows) {booked}")
    for table in FIVE.values():
        asked = stack.sluice("psql", "--", "-At", "-c", f"select count(*) > 0 from analytics.{table}")
        assert asked.stdout.strip() == "t", asked.stdout + asked.stderr


def test_up_ends_with_the_report_of_the_day(stack: Stack, first_up: subprocess.CompletedProcess[str]) -> None:
    (report,) = [mail for mail in stack.mails() if "report" in mail["Subject"].lower()][:1]
    text = report.get_body(("plain",))
    assert text is not None
    for source in FIVE:
        assert source in text.get_content()
    pictures = [part for part in report.walk() if part.get_content_type() == "image/png"]
    assert len(pictures) >= len(FIVE)
    assert "/reports/" in first_up.stdout


def test_the_launcher_follows_runs_by_what_has_changed(
    stack: Stack, first_up: subprocess.CompletedProcess[str]
) -> None:
    """More steps are told of than the run was asked for as a whole, and few of those questions are needed."""
    whole = re.findall(
        r"path=/api/v2/dags/driven/dagRuns/(sluice__\S+)/taskInstances ",
        (stack.home / "logs" / "airflow.log").read_text(),
    )
    first = stack.rows("select min(dag_run_id) from ops.landing where source = 'driven' and dag_run_id like 'sluice%'")
    steps = re.findall(r"^driven: landing ", first_up.stdout, re.MULTILINE)
    assert 0 < whole.count(first[0][0]) < len(steps)


def test_airflow_gives_more_than_a_hundred_tasks_at_once(stack: Stack, first_up: object) -> None:
    there = stack.airflow("dags/~/dagRuns/~/taskInstances?limit=1000")
    assert there["total_entries"] > 100
    assert len(there["task_instances"]) == there["total_entries"]


def test_personal_data_is_masked_for_all_but_those_who_may_see_it(stack: Stack, first_up: object) -> None:
    for role, shown in (
        ("analyst", r"RO\d\d[A-Z]\*{5}"),
        ("operator", r"RO\d\d[A-Z]\*{5}"),
        ("pii_reader", r"RO\w{22}"),
    ):
        query = "select iban from analytics.payment_data limit 1"
        asked = stack.sluice("psql", "--role", role, "--", "-At", "-c", query)
        assert re.fullmatch(shown, asked.stdout.strip()), asked.stdout + asked.stderr
    masked = stack.rows("select distinct person_name from analytics.non_pii_data", "analyst")
    assert masked == [("*****",)]


def test_unchanged_content_is_skipped_and_said(stack: Stack, first_up: object) -> None:
    # a day has its own snapshot, and midnight may have passed since the first one
    assert stack.sluice("run", "opensea").returncode == 0
    before = analytics(stack)
    run = stack.sluice("run", "opensea")
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"opensea: skipped: nfts \S+: unchanged since landing \d+, published", run.stdout), run.stdout
    assert "opensea: already published, nothing has changed since" in run.stdout
    assert analytics(stack) == before


def test_dropped_files_are_published_once(stack: Stack, first_up: object) -> None:
    header = (
        "person_name,user_name,email,personal_number,birth_date,address,phone,mac_address,ip_address,iban,accessed_at,"
        "session_duration,download_speed,upload_speed,consumed_traffic,unique_id"
    )
    row = (
        'Ana Pop,anapop,ana@example.ro,2800101123456,1980-01-01,"Strada Mare Nr. 1, Iași, 700001",0722 000 000,'
        "aa:bb:cc:dd:ee:ff,10.0.0.1,RO49AAAA1B31007593840000,2026-11-01 10:00:00,600,100,50,1000,"
    )
    keys = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(3)]
    stack.drop("driven/sessions/a.csv", "\r\n".join([header, *(row + key for key in keys)]).encode())
    for _ in range(2):
        run = stack.sluice("run", "driven")
        assert run.returncode == 0, run.stdout + run.stderr
        found = stack.rows(
            "select count(*), sum(payment_amount)::text from analytics.payment_data "
            "where unique_id::text like '00000000-%'"
        )
        # ((100 + 50 + 1) / 2) + (1000 / (600 + 1)), three times
        assert found[0][0] == 3
        assert found[0][1].startswith("231.49")


def test_a_real_month_arrives_whole(stack: Stack, real_data: Path | None) -> None:
    needs(real_data)
    run = stack.sluice("run", "tlc", "--date", "2024-01-15", "--param", 'services=["green"]')
    assert run.returncode == 0, run.stdout + run.stderr
    landed = "from ops.landing where entity = 'green_trips' and partition = '2024-01'"
    assert stack.rows(f"select records, loaded_rows {landed}") == [(GREEN_ROWS, GREEN_ROWS)]
    raw = f"from raw.tlc__green_trips where _landing_id = (select landing_id {landed})"
    loaded = stack.rows(f"select count(*), round(sum(total_amount)::numeric, 2)::text {raw}")
    assert loaded == [(GREEN_ROWS, GREEN_TOTAL)]
    facts = "from analytics.fact_taxi_trip where service = 'green' and source_month = date '2024-01-01'"
    published = stack.rows(f"select count(*), count(distinct trip_key), sum(total_amount_usd)::text {facts}")
    assert published == [(GREEN_ROWS, GREEN_ROWS, GREEN_TOTAL)]
    for end in ("pickup", "dropoff"):
        joined = f"select count(*) {facts} and {end}_zone_key in (select zone_key from analytics.dim_zone)"
        assert stack.rows(joined) == [(GREEN_ROWS,)]
    texts = "service_zone = 'N/A'"
    zones = stack.rows(
        f"select count(*), count(*) filter (where {texts}) from analytics.dim_zone where zone_key between 1 and 265"
    )
    assert zones == [(265, 2)]


def test_the_weather_of_186_real_cities_arrives_whole(stack: Stack, real_data: Path | None) -> None:
    folder = needs(real_data)
    payloads = json.loads((folder / "openweather" / "cities.json").read_text())
    cities = sorted({payload["name"] for payload in payloads})
    run = stack.sluice("run", "openweather", "--param", f"cities={json.dumps(cities)}")
    assert run.returncode == 0, run.stdout + run.stderr
    served = stack.rows("select payload from raw.openweather__observations")
    keys = {(payload["id"], payload["dt"]) for (payload,) in served}
    assert {(one["id"], one["dt"]) for one in payloads if one["name"] in cities} <= keys
    ((facts,),) = stack.rows("select count(*) from analytics.fact_weather_observation")
    assert facts == len(keys)


def test_a_second_run_changes_nothing(stack: Stack) -> None:
    month = ("run", "tlc", "--date", "2023-05-01")
    first = stack.sluice(*month)
    assert first.returncode == 0, first.stdout + first.stderr
    before = analytics(stack)
    again = stack.sluice(*month)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "unchanged" in again.stdout
    assert analytics(stack) == before


def test_a_month_is_rebuilt_from_its_landing_with_the_api_down(stack: Stack) -> None:
    month = ("run", "tlc", "--date", "2023-06-01")
    first = stack.sluice(*month)
    assert first.returncode == 0, first.stdout + first.stderr
    before = analytics(stack, but="_loaded_at")
    stack.rows("delete from analytics.fact_taxi_trip where source_month = date '2023-06-01'")
    stack.rows("delete from marts.fact_taxi_trip where source_month = date '2023-06-01'")
    stack.rows(
        "delete from raw.tlc__yellow_trips using ops.landing where landing_id = _landing_id and partition = '2023-06'"
    )
    stack.break_api(path="/*", kind="down")
    rebuilt = stack.sluice(*month, "--from-landing")
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    assert analytics(stack, but="_loaded_at") == before


def test_a_month_that_is_not_published_skips_the_run_and_says_so(stack: Stack) -> None:
    before = analytics(stack)
    run = stack.sluice("run", "tlc", "--date", "2040-01-01")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2040-01 is not published" in run.stdout
    assert "HTTP 403" in run.stdout
    assert analytics(stack) == before


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            {"kind": "body", "text": "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"},
            "not a Parquet file",
        ),
        ({"kind": "truncate", "complete": True}, "Parquet file"),
    ],
)
def test_a_file_that_is_none_stops_at_the_landings_gate(stack: Stack, fault: dict[str, object], said: str) -> None:
    before, month = analytics(stack), "2022-0" + ("1" if "text" in fault else "2")
    stack.break_api(path="/trip-data/*", method="GET", **fault)
    run = stack.sluice("run", "tlc", "--date", f"{month}-01")
    assert run.returncode == 1
    assert "gate_landing" in run.stdout + run.stderr
    assert said in run.stdout + run.stderr
    loaded = stack.rows(f"select count(*) from ops.landing where partition = '{month}' and loaded_at is not null")
    assert loaded == [(0,)]
    assert analytics(stack) == before


def test_a_wrong_key_is_refused_by_the_name_of_its_connection(stack: Stack) -> None:
    stack.break_api(path="/data/2.5/weather", kind="status", code=401, body={"cod": 401, "message": "Invalid API key."})
    run = stack.sluice("run", "openweather", "--param", 'cities=["Oslo"]')
    assert run.returncode == 1
    assert "connection 'openweather': the API refused its key (HTTP 401: Invalid API key" in run.stdout + run.stderr
    assert stack.secret("sandbox_openweather") not in run.stdout + run.stderr


def test_one_unknown_city_is_recorded_and_the_others_are_published(stack: Stack) -> None:
    run = stack.sluice("run", "openweather", "--param", 'cities=["Lima", "Atlantis", "Nairobi", "Oslo", "Tokyo"]')
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 warned" in run.stdout
    newest = "where source = 'openweather' order by landing_id desc limit 1"
    ((refused,),) = stack.rows(f"select refused from ops.landing {newest}")
    assert [one["params"] for one in refused] == [{"city": "Atlantis"}]


def test_a_failed_gate_leaves_what_readers_see(stack: Stack) -> None:
    before = analytics(stack)
    body: dict[str, object] = {"coord": {"lon": 1, "lat": 1}, "weather": [], "dt": 1700000000, "id": 4711, "cod": 200}
    body |= {"name": "Nowhere", "timezone": 0, "sys": {"country": "NO"}, "main": {"temp": -5, "humidity": 50}}
    stack.break_api(path="/data/2.5/weather", kind="status", code=200, body=body)
    run = stack.sluice("run", "openweather", "--param", 'cities=["Oslo"]')
    assert run.returncode == 1, run.stdout
    assert re.search(r"gate_(raw|staging|marts)", run.stdout + run.stderr)
    assert analytics(stack) == before
    failed = "from ops.gate_result where not success and on_failure = 'fail' and source = 'openweather'"
    assert stack.rows(f"select count(*) > 0 {failed}") == [(True,)]
    told = stack.mails()[-1]
    text = told.get_body(("plain",))
    assert text is not None
    assert "openweather" in told["Subject"]
    assert re.search(r"gate_(raw|staging|marts)", text.get_content())
    assert re.search(r"Not met:\s+- \S*stg_openweather__observations", text.get_content()), text.get_content()
    assert f"http://127.0.0.1:{stack.port('airflow')}/dags/openweather/runs/" in text.get_content()


def test_a_broken_source_is_an_import_error_and_takes_no_other_with_it(stack: Stack) -> None:
    broken = stack.project / "include" / "sources" / "broken"
    broken.mkdir()
    (broken / "source.yml").write_text("shedule: daily\n")
    try:
        said = await_import_error(stack, "broken")
        assert "include/sources/broken/source.yml: shedule: no such key; allowed here are" in said
        dags = stack.airflow("dags?tags=source&exclude_stale=true")["dags"]
        assert {dag["dag_id"] for dag in dags} >= set(FIVE)
        run = stack.sluice("run", "openweather", "--param", 'cities=["Paris"]')
        assert run.returncode == 0, run.stdout + run.stderr
    finally:
        shutil.rmtree(broken)


def await_import_error(stack: Stack, word: str, seconds: float = 120) -> str:
    def found() -> list[str]:
        errors = stack.airflow("importErrors")["import_errors"]
        return [str(error["stack_trace"]) for error in errors if word in error["stack_trace"]]

    wait_until(lambda: bool(found()), f"Airflow shows an import error with {word!r}", seconds, every_seconds=1)
    return found()[0]
