"""The stand-in for TLC's file host, and the trips that it makes up."""

import csv
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import requests

from local.sandbox.newyork import Service
from local.sandbox.tlc import published_at
from local.sandbox.trips import write_month
from tests.local.sandbox.conftest import Sandbox

YELLOW = "/trip-data/yellow_tripdata_2026-08.parquet"
ZONES = "/misc/taxi_zone_lookup.csv"
PARTS = [
    "fare_amount",
    "extra",
    "mta_tax",
    "tip_amount",
    "tolls_amount",
    "improvement_surcharge",
    "congestion_surcharge",
    "Airport_fee",
    "cbd_congestion_fee",
]


def trips(sandbox: Sandbox, name: str) -> pd.DataFrame:
    """The trips of a month as the host serves it."""
    answer = sandbox.get(f"/trip-data/{name}.parquet")
    assert answer.status_code == 200
    month: pd.DataFrame = pq.read_table(io.BytesIO(answer.content)).to_pandas()
    return month


@pytest.fixture(scope="module")
def yellow(shared_sandbox: Sandbox) -> pd.DataFrame:
    """A yellow month of 150,000 rows."""
    return trips(shared_sandbox, "yellow_tripdata_2026-08")


@pytest.fixture(scope="module")
def green(shared_sandbox: Sandbox) -> pd.DataFrame:
    """A green month of 40,000 rows."""
    return trips(shared_sandbox, "green_tripdata_2026-08")


def unexplained(month: pd.DataFrame) -> "pd.Series[float]":
    """What the total holds beyond the sum of its parts, cents rounded."""
    parts = month[[name for name in PARTS if name in month]].fillna(0).sum(axis=1)
    return (month["total_amount"] - parts).round(2)


# --- the host ---------------------------------------------------------------------------------------------------------


def test_a_month_is_served_as_s3_serves_an_object(sandbox: Sandbox) -> None:
    head = requests.head(sandbox.url + YELLOW, timeout=60)
    got = sandbox.get(YELLOW)

    assert head.status_code == got.status_code == 200
    assert head.content == b""
    assert int(head.headers["content-length"]) == len(got.content)
    assert got.content[:4] == got.content[-4:] == b"PAR1"
    assert head.headers["last-modified"] == "Thu, 01 Oct 2026 00:00:00 GMT"
    assert re.fullmatch(r'"[0-9a-f]{32}"', head.headers["etag"])
    assert {name: head.headers[name] for name in ("etag", "last-modified", "content-length", "accept-ranges")} == {
        name: got.headers[name] for name in ("etag", "last-modified", "content-length", "accept-ranges")
    }


def test_a_part_of_a_month_can_be_asked_for(sandbox: Sandbox) -> None:
    whole = sandbox.get(YELLOW)

    part = sandbox.get(YELLOW, headers={"Range": "bytes=1000-1999", "If-Range": whole.headers["etag"]})
    beyond = sandbox.get(YELLOW, headers={"Range": f"bytes={len(whole.content)}-"})

    assert (part.status_code, part.content) == (206, whole.content[1000:2000])
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(whole.content)}"
    assert beyond.status_code == 416


def test_an_unchanged_month_need_not_be_sent_again(sandbox: Sandbox) -> None:
    headers = requests.head(sandbox.url + YELLOW, timeout=60).headers

    for condition in ({"If-None-Match": headers["etag"]}, {"If-Modified-Since": headers["last-modified"]}):
        answer = sandbox.get(YELLOW, headers=condition)
        assert (answer.status_code, answer.content) == (304, b"")
    assert sandbox.get(YELLOW, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/trip-data/yellow_tripdata_2026-10.parquet",
        "/trip-data/green_tripdata_2027-01.parquet",
        "/trip-data/yellow_tripdata_2008-12.parquet",
        "/trip-data/green_tripdata_2013-07.parquet",
        "/trip-data/yellow_tripdata_2026-13.parquet",
        "/trip-data/fhvhv_tripdata_2026-01.parquet",
        "/misc/nothing.csv",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_not_published_is_denied_in_xml(sandbox: Sandbox, path: str, method: str) -> None:
    answer = requests.request(method, sandbox.url + path, timeout=60)

    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/xml"
    if method == "GET":
        assert "<Error><Code>AccessDenied</Code><Message>Access Denied</Message>" in answer.text


@pytest.mark.parametrize("name", ["yellow_tripdata_2026-09", "yellow_tripdata_2009-01", "green_tripdata_2013-08"])
def test_the_first_and_the_last_published_month_are_there(sandbox: Sandbox, name: str) -> None:
    assert requests.head(f"{sandbox.url}/trip-data/{name}.parquet", timeout=60).status_code == 200


def test_a_month_is_published_at_the_start_of_the_second_month_after_it() -> None:
    assert [published_at(month).strftime("%Y-%m-%d") for month in ("2024-01", "2024-11", "2024-12")] == [
        "2024-03-01",
        "2025-01-01",
        "2025-02-01",
    ]


def test_the_zone_table_has_265_zones_and_its_texts_na_are_texts(sandbox: Sandbox) -> None:
    answer = sandbox.get(ZONES)

    lines = answer.content.split(b"\r\n")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert lines[0] == b'"LocationID","Borough","Zone","service_zone"'
    assert lines[1] == b'1,"EWR","Newark Airport","EWR"'
    assert [int(row["LocationID"]) for row in rows] == list(range(1, 266))
    assert rows[263] == {"LocationID": "264", "Borough": "Unknown", "Zone": "NV", "service_zone": "N/A"}
    assert rows[264] == {"LocationID": "265", "Borough": "Unknown", "Zone": "NA", "service_zone": "N/A"}
    assert int(requests.head(sandbox.url + ZONES, timeout=10).headers["content-length"]) == len(answer.content) == 12322


def test_real_files_come_before_synthetic_ones(start: Callable[..., Sandbox], real_data: Path) -> None:
    sandbox = start("--data", str(real_data), SANDBOX_GREEN_ROWS="100")

    for path, name in (("/trip-data/green_tripdata_2024-01.parquet",) * 2, (ZONES, ZONES)):
        assert sandbox.get(path).content == (real_data / "tlc" / Path(name).name).read_bytes()
    assert len(trips(sandbox, "green_tripdata_2024-01")) == 56_551
    assert len(trips(sandbox, "green_tripdata_2024-02")) == 100


# --- determinism and volume -------------------------------------------------------------------------------------------


def test_the_same_month_is_the_same_file_in_another_process_and_another_month_is_not(
    start: Callable[..., Sandbox], tmp_path: Path
) -> None:
    one, two = (start(SANDBOX_YELLOW_ROWS="3000").get(YELLOW).content for _ in range(2))
    other = tmp_path / "other.parquet"
    write_month("yellow", "2026-07", 3000, other)

    assert one == two
    assert one != other.read_bytes()


def test_a_kept_month_is_not_made_again(start: Callable[..., Sandbox], tmp_path: Path) -> None:
    first = start("--cache-dir", str(tmp_path), SANDBOX_YELLOW_ROWS="2000").get(YELLOW)
    (kept,) = tmp_path.iterdir()
    made = kept.stat().st_mtime_ns

    again = start("--cache-dir", str(tmp_path), SANDBOX_YELLOW_ROWS="2000").get(YELLOW)

    assert again.content == first.content
    assert again.headers["etag"] == first.headers["etag"]
    assert [path.stat().st_mtime_ns for path in tmp_path.iterdir()] == [made]


@pytest.mark.parametrize("rows", [0, 1, 7, 9_999, 65_536, 65_537, 131_075])
@pytest.mark.parametrize("service", ["yellow", "green"])
def test_a_month_has_exactly_the_rows_that_were_asked_for(tmp_path: Path, service: Service, rows: int) -> None:
    write_month(service, "2024-02", rows, tmp_path / "month.parquet")

    assert pq.read_metadata(tmp_path / "month.parquet").num_rows == rows


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc, which only Linux has")
def test_peak_memory_does_not_grow_with_the_rows(start: Callable[..., Sandbox]) -> None:
    def peak_mb(rows: int) -> float:
        sandbox = start(SANDBOX_YELLOW_ROWS=str(rows))
        with sandbox.get(YELLOW, stream=True) as answer:
            served = sum(len(chunk) for chunk in answer.iter_content(1 << 20))
        assert served == int(answer.headers["content-length"])
        status = Path(f"/proc/{sandbox.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+)", status)
        assert found
        return int(found[1]) / 1024

    small, large = peak_mb(150_000), peak_mb(600_000)

    assert large < small + 60
    assert large < 300


# --- drift ------------------------------------------------------------------------------------------------------------


def types(tmp_path: Path, service: Service, month: str) -> dict[str, str]:
    """Column -> type of a month."""
    path = tmp_path / f"{service}-{month}.parquet"
    write_month(service, month, 50, path)
    return {field.name: str(field.type) for field in pq.read_schema(path)}


def test_yellow_columns_drift_as_they_did(tmp_path: Path) -> None:
    old, new = types(tmp_path, "yellow", "2023-01"), types(tmp_path, "yellow", "2023-02")
    changed = {name for name in old if old[name] != new.get(name)}

    assert changed == {"VendorID", "passenger_count", "RatecodeID", "PULocationID", "DOLocationID", "airport_fee"}
    assert [old[name] for name in ("VendorID", "passenger_count", "RatecodeID")] == ["int64", "double", "double"]
    assert [new[name] for name in ("VendorID", "passenger_count", "RatecodeID")] == ["int32", "int64", "int64"]
    assert set(new) - set(old) == {"Airport_fee"}
    assert set(types(tmp_path, "yellow", "2025-01")) - set(types(tmp_path, "yellow", "2024-12")) == {
        "cbd_congestion_fee"
    }
    assert set(types(tmp_path, "yellow", "2026-06")) - set(types(tmp_path, "yellow", "2026-05")) == {"request_source"}
    assert types(tmp_path, "yellow", "2026-08")["tpep_pickup_datetime"] == "timestamp[us]"


def test_the_oldest_yellow_months_have_other_columns_altogether(tmp_path: Path) -> None:
    nine, ten, eleven = (set(types(tmp_path, "yellow", month)) for month in ("2009-12", "2010-01", "2011-01"))

    assert {"vendor_name", "Trip_Pickup_DateTime", "Start_Lon", "Total_Amt"} <= nine
    assert {"vendor_id", "pickup_datetime", "pickup_longitude", "total_amount"} <= ten
    assert {"VendorID", "PULocationID"} <= eleven
    assert not nine & eleven - {"mta_tax"}


def test_charges_that_did_not_exist_yet_are_null(tmp_path: Path) -> None:
    write_month("yellow", "2018-06", 500, tmp_path / "old.parquet")
    month = pd.read_parquet(tmp_path / "old.parquet")

    assert month["congestion_surcharge"].isna().all()
    assert month["airport_fee"].isna().all()
    assert set(month["improvement_surcharge"].abs()) == {0.3}


def test_green_has_the_columns_and_types_of_a_real_month(tmp_path: Path, real_data: Path) -> None:
    real = pq.read_schema(real_data / "tlc" / "green_tripdata_2024-01.parquet")

    assert types(tmp_path, "green", "2024-01") == {field.name: str(field.type) for field in real}
    assert list(types(tmp_path, "green", "2024-01")) == real.names


# --- quirks at their rates --------------------------------------------------------------------------------------------


def test_yellow_quirks_come_at_their_measured_rates(yellow: pd.DataFrame) -> None:
    rates = {
        "payment_type 0": (yellow["payment_type"] == 0).mean(),
        "rate code 99": (yellow["RatecodeID"] == 99).mean(),
        "negative total": (yellow["total_amount"] < 0).mean(),
        "zero distance": (yellow["trip_distance"] == 0).mean(),
        "zero duration": (yellow["tpep_pickup_datetime"] == yellow["tpep_dropoff_datetime"]).mean(),
        "total differs": (unexplained(yellow) != 0).mean(),
    }

    measured = {
        "payment_type 0": 0.26,
        "rate code 99": 0.026,
        "negative total": 0.0054,
        "zero distance": 0.032,
        "zero duration": 0.0125,
        "total differs": 0.37,
    }
    assert rates == pytest.approx(measured, rel=0.1)


def test_flex_fares_stand_in_one_block_without_the_meters_columns(yellow: pd.DataFrame) -> None:
    null = yellow[["passenger_count", "RatecodeID", "store_and_fwd_flag", "congestion_surcharge", "Airport_fee"]].isna()
    flex = yellow["payment_type"] == 0

    assert (null.all(axis=1) == flex).all()
    assert (null.any(axis=1) == flex).all()
    assert flex.is_monotonic_increasing
    assert yellow.drop(columns=null.columns).notna().all(axis=None)


def test_each_negative_total_reverses_one_charge_of_the_same_trip(yellow: pd.DataFrame, green: pd.DataFrame) -> None:
    for month, prefix in ((yellow, "tpep"), (green, "lpep")):
        key = ["VendorID", f"{prefix}_pickup_datetime", f"{prefix}_dropoff_datetime", "PULocationID", "DOLocationID"]
        trip = month.groupby(key)["total_amount"].agg(["size", "sum", "min"])
        reversed_trips = trip[trip["min"] < 0]
        assert len(reversed_trips) == (month["total_amount"] < 0).sum() > 0
        assert (reversed_trips["size"] == 2).all()
        assert (reversed_trips["sum"] == 0).all()


def test_exactly_one_row_is_repeated_in_every_column(yellow: pd.DataFrame, green: pd.DataFrame) -> None:
    assert (yellow.duplicated().sum(), green.duplicated().sum()) == (1, 1)


def test_some_pickups_lie_outside_the_month_and_one_in_another_decade(
    yellow: pd.DataFrame, green: pd.DataFrame
) -> None:
    for pickup in (yellow["tpep_pickup_datetime"], green["lpep_pickup_datetime"]):
        outside = pickup[(pickup < "2026-08-01") | (pickup >= "2026-09-01")]
        assert 2 <= len(outside) <= 5
        assert outside.dt.year.min() in (2001, 2002, 2008, 2009)
        assert (outside > "2026-07-31").any()


def test_some_distances_are_absurd_and_none_is_beyond_the_longest_measured(yellow: pd.DataFrame) -> None:
    absurd = yellow["trip_distance"][yellow["trip_distance"] > 100]

    assert 1 <= len(absurd) <= 10
    assert absurd.between(1000, 328_522).all()


def test_codes_are_those_of_the_data_dictionary(yellow: pd.DataFrame, green: pd.DataFrame) -> None:
    assert set(yellow["VendorID"]) == {1, 2, 6, 7}
    assert set(yellow["RatecodeID"].dropna()) == {1, 2, 3, 4, 5, 99}
    assert set(yellow["payment_type"]) <= {0, 1, 2, 3, 4, 5}
    assert set(yellow["store_and_fwd_flag"].dropna()) == {"Y", "N"}
    for month in (yellow, green):
        assert month["PULocationID"].between(1, 265).all()
        assert month["DOLocationID"].between(1, 265).all()
        assert month["passenger_count"].dropna().between(0, 9).all()
    assert set(green["trip_type"].dropna()) == {1, 2}
    assert green["ehail_fee"].isna().all()
    assert set(yellow["cbd_congestion_fee"].abs()) == {0.0, 0.75}


def test_green_quirks_come_at_the_rates_of_a_real_month(green: pd.DataFrame) -> None:
    rates = {
        "no payment type": green["payment_type"].isna().mean(),
        "negative total": (green["total_amount"] < 0).mean(),
        "zero distance": (green["trip_distance"] == 0).mean(),
        "total differs": (unexplained(green) != 0).mean(),
    }

    assert rates == pytest.approx(
        {"no payment type": 0.0604, "negative total": 0.0033, "zero distance": 0.0507, "total differs": 0.142}, rel=0.15
    )


def test_trips_follow_zones_hours_and_weekdays(yellow: pd.DataFrame, green: pd.DataFrame) -> None:
    by_hour = yellow["tpep_pickup_datetime"].dt.hour.value_counts()
    days = yellow["tpep_pickup_datetime"].dt.date.value_counts()
    zones = pd.read_csv(
        Path(__file__).resolve().parents[3] / "local" / "sandbox" / "taxi_zone_lookup.csv", keep_default_na=False
    ).set_index("LocationID")["Borough"]

    assert by_hour[18] > 4 * by_hour[4]
    assert len(days[days > 1000]) == 31
    assert (yellow["PULocationID"].map(zones) == "Manhattan").mean() > 0.8
    assert green["PULocationID"].value_counts().index[:2].tolist() == [74, 75]
    assert yellow["PULocationID"].value_counts(normalize=True)[132] == pytest.approx(0.05, abs=0.015)


def test_typical_trips_are_of_a_plausible_size(yellow: pd.DataFrame) -> None:
    usual = yellow[(yellow["total_amount"] > 0) & (yellow["trip_distance"] > 0)]
    minutes = (usual["tpep_dropoff_datetime"] - usual["tpep_pickup_datetime"]).dt.total_seconds() / 60

    assert 1 < usual["trip_distance"].median() < 3
    assert 6 < minutes.median() < 20
    assert 8 < usual["fare_amount"].median() < 20
    assert 15 < usual["total_amount"].median() < 30
    assert np.corrcoef(usual["trip_distance"].clip(upper=40), usual["fare_amount"])[0, 1] > 0.8
