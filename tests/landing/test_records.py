"""The rows of a landing: declared types, contracts for new columns, lineage, flat memory."""

import csv
import io
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.landing import LandingError, LandingStore, Manifest
from include.landing.records import iter_batches
from tests.conftest import S3
from tests.landing.conftest import Land, pieces

PROJECT = Path(__file__).parents[2]


def read(store: LandingStore, manifest: Manifest, new_columns: Any = "discard", **fields: str) -> pa.Table:  # noqa: ANN401 - wrong ones too
    return iter_batches(store, manifest, fields=fields, new_columns=new_columns).read_all()


def parquet(**columns: Any) -> bytes:  # noqa: ANN401 - whatever Arrow takes
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_a_real_month_keeps_every_row_and_the_sum_of_its_totals(
    store: LandingStore, land: Land, real_data: Path
) -> None:
    manifest = land("parquet", pieces(real_data / "taxi" / "parquet" / "green_tripdata_2024-01.parquet"))
    table = read(store, manifest, passenger_count="bigint", total_amount="double", ehail_fee="double")
    assert table.num_rows == 56_551
    assert round(sum(table["total_amount"].to_pylist()), 2) == 1_266_922.59
    assert table["passenger_count"].null_count == 3_415
    assert table.schema.field("passenger_count").type == pa.int64()
    assert table["ehail_fee"].null_count == 56_551


def test_zones_named_na_stay_texts(store: LandingStore, land: Land, real_data: Path) -> None:
    manifest = land("csv", pieces(real_data / "zones" / "taxi_zone_lookup.dtc.csv"))
    table = read(store, manifest, "freeze", locationid="bigint", borough="text", zone="text", service_zone="text")
    assert table.num_rows == 265
    by_id = {row["locationid"]: row for row in table.to_pylist()}
    assert by_id[264]["borough"] == "Unknown"
    assert {by_id[264]["zone"], by_id[264]["service_zone"], by_id[265]["service_zone"]} <= {"NV", "NA", "N/A"}
    assert table["zone"].null_count == table["service_zone"].null_count == 0


def test_rows_are_numbered_over_all_parts_in_their_order(store: LandingStore, land: Land) -> None:
    manifest = land("csv", "a\n10\n11\n", "a\n", "a\n12\n")
    table = read(store, manifest, a="bigint")
    assert table.to_pydict() == {"a": [10, 11, 12], "_landing_id": [manifest.landing_id] * 3, "_row": [0, 1, 2]}


def test_rows_are_numbered_on_from_batch_to_batch(store: LandingStore, land: Land) -> None:
    for manifest in (
        land("parquet", parquet(a=list(range(10)))),
        land("csv", "a\n" + "".join(f"{n}\n" for n in range(10))),
    ):
        reader = iter_batches(store, manifest, fields={"a": "bigint"}, new_columns="freeze", batch_rows=3)
        batches = list(reader)
        assert [batch.num_rows for batch in batches] == [3, 3, 3, 1]
        assert [row for batch in batches for row in batch["_row"].to_pylist()] == list(range(10))


def test_columns_come_in_lower_case_in_their_declared_order_and_missing_ones_as_nulls(
    store: LandingStore, land: Land
) -> None:
    manifest = land("parquet", parquet(Airport_fee=[1.5], VendorID=[2]))
    table = read(store, manifest, vendorid="bigint", cbd_congestion_fee="double", airport_fee="double")
    assert table.to_pylist() == [
        {"vendorid": 2, "cbd_congestion_fee": None, "airport_fee": 1.5, "_landing_id": manifest.landing_id, "_row": 0}
    ]
    assert table.schema.field("cbd_congestion_fee").type == pa.float64()


NOON = datetime(2024, 1, 1, 12)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pa.array([1, None], pa.int32()), "bigint", [1, None]),
        (pa.array([1.0, None]), "bigint", [1, None]),
        (pa.array(["1", " 2.0", "9007199254740993.0"]), "bigint", [1, 2, 9007199254740993]),
        (pa.array([None, None]), "bigint", [None, None]),
        (pa.array([1, 2]), "double", [1.0, 2.0]),
        (pa.array(["1e3", "-.5"]), "double", [1000.0, -0.5]),
        (pa.array([1, 2]), "text", ["1", "2"]),
        (pa.array(["N", "Y"]).dictionary_encode(), "text", ["N", "Y"]),
        (pa.array([b"N"]), "text", ["N"]),
        (pa.array([{"a": [1, None]}, None]), "text", ['{"a": [1, null]}', None]),
        (pa.array([1704110400123456789], pa.timestamp("ns")), "timestamp", [NOON.replace(microsecond=123456)]),
        (pa.array([NOON.replace(tzinfo=UTC)], pa.timestamp("ms", "America/New_York")), "timestamp", [NOON]),
        (pa.array(["2024-01-01 12:00:00", "2024-01-01T12:00:00"]), "timestamp", [NOON, NOON]),
        (pa.array(["2024-01-01T12:00:00Z", "2024-01-01T13:00:00+01:00"]), "timestamp", [NOON, NOON]),
        (pa.array([date(2024, 1, 1)]), "timestamp", [NOON.replace(hour=0)]),
        (pa.array(["2024-01-01"]), "date", [date(2024, 1, 1)]),
        (pa.array(["true", "0"]), "boolean", [True, False]),
    ],
)
def test_values_become_their_declared_type(
    store: LandingStore, land: Land, values: pa.Array, kind: str, expected: list[Any]
) -> None:
    table = read(store, land("parquet", parquet(it=values)), it=kind)
    assert table["it"].to_pylist() == expected


@pytest.mark.parametrize(
    ("values", "kind", "fault"),
    [
        ([1.0, 2.0, 2.5, 3.5], "bigint", r"column 'it' is declared bigint, and its row 2 \(from 0\) holds 2\.5"),
        ([1.0, float("nan")], "bigint", r"row 1 .* holds nan"),
        ([1e300], "bigint", r"row 0 .* holds 1e\+300"),
        (["1.0000000000001"], "bigint", r"row 0 .* holds '1\.0000000000001'"),
        (["1", "one"], "double", r"row 1 .* holds 'one'"),
        ([2**60 + 1], "double", rf"row 0 .* holds {2**60 + 1}"),
        (["2024-01-01", "2024-02-30"], "date", r"row 1 .* holds '2024-02-30'"),
        ([b"\xff"], "text", r"row 0 .* holds b'\\xff'"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_column_and_row(
    store: LandingStore, land: Land, values: list[Any], kind: str, fault: str
) -> None:
    with pytest.raises(LandingError, match=r"part-00001\.parquet: column 'it' .*" + fault.removeprefix("column 'it' ")):
        read(store, land("parquet", parquet(it=values)), it=kind)


def test_a_bad_value_far_down_is_found_by_its_row_in_its_part(store: LandingStore, land: Land) -> None:
    values = [1.0] * 5_000
    values[4_321] = 0.5
    manifest = land("parquet", parquet(it=[1.0]), parquet(it=values))
    reader = iter_batches(store, manifest, fields={"it": "bigint"}, new_columns="freeze", batch_rows=1_000)
    with pytest.raises(LandingError, match=r"part-00002\.parquet: column 'it' .* row 4321 \(from 0\) holds 0\.5"):
        reader.read_all()


def test_a_bad_value_is_found_wherever_it_stands(store: LandingStore, land: Land) -> None:
    for position in range(5):
        values = [1.0] * 5
        values[position] = 0.5
        with pytest.raises(LandingError, match=rf"row {position} \(from 0\) holds 0\.5"):
            read(store, land("parquet", parquet(it=values)), it="bigint")


def test_newlines_inside_of_values_survive_wherever_the_reader_cuts_its_blocks(store: LandingStore, land: Land) -> None:
    rows = [(number, "\n" * (number % 7) + "x" * (number % 61)) for number in range(60_000)]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("n", "t"), *rows])
    assert len(text.getvalue()) > 2_000_000  # two blocks at least
    table = read(store, land("csv", text.getvalue()), n="bigint", t="text")
    assert list(zip(table["n"].to_pylist(), table["t"].to_pylist(), strict=True)) == rows


def test_a_field_of_nothing_is_null_where_it_is_no_text_and_a_text_where_it_is(store: LandingStore, land: Land) -> None:
    manifest = land("csv", 'n,t\n,\n1,""\n2,NA\n3,NULL\n')
    assert read(store, manifest, n="bigint", t="text").select(["n", "t"]).to_pydict() == {
        "n": [None, 1, 2, 3],
        "t": ["", "", "NA", "NULL"],
    }
    assert read(store, land("csv", 'n,t\n"",x\n" ",y\n'), n="bigint")["n"].to_pylist() == [None, None]
    with pytest.raises(LandingError, match=r"column 'n' .* row 0 .* holds 'NA'"):
        read(store, land("csv", "n,t\nNA,x\n"), n="bigint")


def test_csv_spectrum_is_read_as_it_says_it_should_be(store: LandingStore, land: Land, real_data: Path) -> None:
    for file in sorted((real_data / "nasty" / "csv-spectrum" / "csvs").glob("*.csv")):
        expected = json.loads((file.parents[1] / "json" / f"{file.stem}.json").read_text())
        rows = expected if isinstance(expected, list) else [dict(zip(expected, expected.values(), strict=True))]
        table = read(store, land("csv", pieces(file)), "evolve").drop_columns(["_landing_id", "_row"])
        got = [{name: _unix(value) for name, value in row.items()} for row in table.to_pylist()]
        if file.stem != "location_coordinates":  # whose JSON says it otherwise than its CSV
            assert got == [{name.lower(): _unix(value) for name, value in row.items()} for row in rows], file.name


_ROWS = st.lists(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=9), min_size=2, max_size=2)
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(_ROWS, min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
)
def test_whatever_a_csv_writer_writes_is_read_back(
    land: Land, store: LandingStore, files: list[list[list[str]]], ending: str, quoting: Literal[0, 1], encoding: str
) -> None:
    bodies = []
    for rows in files:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator=ending, quoting=quoting).writerows([["a", "b"], *rows])
        bodies.append(text.getvalue().encode(encoding))
    table = read(store, land("csv", *bodies), a="text", b="text")
    assert [[row["a"], row["b"]] for row in table.to_pylist()] == [row for rows in files for row in rows]


def test_new_columns_evolve_with_a_type_that_holds_theirs(store: LandingStore, land: Land) -> None:
    first = parquet(a=[1], count=pa.array([1], pa.int16()), half=pa.array([0.5], pa.float32()), At=[NOON], tags=[["x"]])
    table = read(store, land("parquet", first), "evolve", a="bigint")
    assert {field.name: str(field.type) for field in table.schema} == {
        "a": "int64", "count": "int64", "half": "double", "at": "timestamp[us]", "tags": "string",
        "_landing_id": "int64", "_row": "int64",
    }  # fmt: skip
    assert table["tags"].to_pylist() == ['["x"]']


def test_new_columns_that_differ_between_parts_meet_in_what_holds_both(store: LandingStore, land: Land) -> None:
    manifest = land("parquet", parquet(n=[1], t=[1]), parquet(n=[0.5], t=["x"]), parquet(late=[True]))
    table = read(store, manifest, "evolve").drop_columns(["_landing_id", "_row"])
    assert table.to_pydict() == {"n": [1.0, 0.5, None], "t": ["1", "x", None], "late": [None, None, True]}


def test_new_columns_are_refused_by_name_under_freeze_before_a_row_is_read(store: LandingStore, land: Land) -> None:
    for manifest in (land("parquet", parquet(a=[1], Tip=[2])), land("csv", "a,Tip\n1,2\n")):
        with pytest.raises(LandingError, match="column 'tip' is new, and the source's contract freezes"):
            iter_batches(store, manifest, fields={"a": "bigint"}, new_columns="freeze")


def test_new_columns_are_left_out_under_discard(store: LandingStore, land: Land) -> None:
    for manifest in (land("parquet", parquet(b=[2], a=[1], c=[3])), land("csv", "b,a,c\n2,1,3\n")):
        table = read(store, manifest, a="bigint")
        assert table.column_names == ["a", "_landing_id", "_row"]
        assert table["a"].to_pylist() == [1]


@pytest.mark.parametrize("names", [("fee", "Fee"), ("_row", "a"), ("_Landing_ID", "a")])
def test_columns_that_would_meet_under_one_name_are_refused(
    store: LandingStore, land: Land, names: tuple[str, str]
) -> None:
    with pytest.raises(LandingError, match=r"columns of the same name but for case: 'fee'|has a name of Sluice's own"):
        read(store, land("parquet", parquet(**{name: [1] for name in names})), "evolve")


@pytest.mark.parametrize(
    ("format", "body"),
    [("parquet", b"PAR1" + bytes(100)), ("csv", "a,b\n1\n"), ("csv", b"a\n\xff\n"), ("csv", b"\xffa\n1\n")],
)
def test_a_file_that_cannot_be_read_is_named(store: LandingStore, land: Land, format: str, body: str | bytes) -> None:
    with pytest.raises(LandingError, match=rf"part-00001\.{format}: cannot be read: .*"):
        read(store, land(format, body), a="text")


def test_wrong_declarations_are_refused(store: LandingStore, land: Land) -> None:
    manifest = land("csv", "a\n1\n")
    with pytest.raises(ValueError, match="type 'int' is not one of bigint, double, text"):
        read(store, manifest, a="int")
    with pytest.raises(ValueError, match="new_columns 'keep' is not one of evolve"):
        read(store, manifest, "keep", a="bigint")
    with pytest.raises(LandingError, match="holds JSON documents, not rows"):
        read(store, land("json", "{}"), a="bigint")


_OPEN = """
import sys
import boto3
from include.landing import LandingStore

endpoint, key, secret, bucket, uri = sys.argv[1:]
store = LandingStore(boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret,
    region_name="us-east-1"), bucket)
manifest = store.read(uri)
"""
_MEASURE = """
import resource
from include.landing.profile import profile
from include.landing.records import iter_batches

(small,) = store.landings("tests", "things", "small")
def rows(manifest):
    assert profile(store, manifest)["fault"].isna().all()
    return sum(b.num_rows for b in iter_batches(store, manifest, fields={"i0": "bigint"}, new_columns="evolve"))
rows(small)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(rows(manifest), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
_ENCODE = """
from pgpq import ArrowToPostgresBinaryEncoder
import include.pipeline.steps
from include.landing.records import iter_batches

types = dict(n="bigint", d="double", t="text", at="timestamp", day="date")
batches = iter_batches(store, manifest, fields=types, new_columns="evolve")
encoder = ArrowToPostgresBinaryEncoder(batches.schema)
sent = encoder.write_header() + b"".join(map(encoder.write_batch, batches)) + encoder.finish()
print(sent.startswith(b"PGCOPY"), *sorted({"pandas", "openpyxl", "adbc_driver_postgresql"} & sys.modules.keys()))
"""


def apart(script: str, s3: S3, manifest: Manifest) -> list[str]:
    """The words that a script prints, run by a Python of its own on a landing."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _OPEN + script,
            *(s3.endpoint_url, s3.access_key, s3.secret_key, s3.bucket),
            manifest.uri,
        ],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


def test_who_loads_parquet_imports_neither_pandas_nor_what_others_need(s3: S3, land: Land) -> None:
    """50 MB and most of a second: pyarrow imports pandas by itself, for pa.scalar and pa.array."""
    moment = datetime(2024, 1, 31, 8, 30)
    manifest = land("parquet", parquet(n=[1.0], d=[1.5], t=["x"], at=[moment], day=[date(2024, 1, 31)], new=[True]))
    assert apart(_ENCODE, s3, manifest) == ["True"]


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_memory_stays_flat_however_many_rows(
    s3: S3, store: LandingStore, land: Land, tmp_path: Path, format: str
) -> None:
    """The look and the read of ten times the rows may not take 20 MB more; one row group held takes 40."""

    def file(rows: int) -> Path:
        path = tmp_path / f"{rows}.{format}"
        random = np.random.default_rng(7)
        table = pa.table({f"i{number}": random.integers(0, 2**62, rows) for number in range(20)})
        if format == "parquet":
            pq.write_table(table, path, row_group_size=1_000_000, use_dictionary=False)
        else:
            pacsv.write_csv(table, path)
        return path

    many = 1_000_000 if format == "parquet" else 120_000
    land(format, pieces(file(many // 10)), partition="small")
    manifest = land(format, pieces(file(many)), partition="large")
    rows, grown_megabytes = map(int, apart(_MEASURE, s3, manifest))
    assert rows == many
    assert grown_megabytes < 20


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")
