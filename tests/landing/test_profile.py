"""The look at a landing: what the gate is told of good, malformed and foreign payloads."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.landing import LandingStore, Manifest
from include.landing.profile import parse_json, profile
from tests.landing.conftest import Land, pieces

ACCESS_DENIED = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)


def look(store: LandingStore, manifest: Manifest, required: str = "", optional: str = "") -> Any:  # noqa: ANN401 - a row, whose columns are attributes
    frame = profile(store, manifest, required=required.split(), optional=optional.split())
    assert len(frame) == 1
    return frame.iloc[0]


def parquet(rows: int = 1000, groups: int = 4, names: str = "VendorID Airport_fee") -> bytes:
    table = pa.table({name: pa.array(range(rows)) for name in names.split()})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=rows // groups, use_dictionary=False, compression="snappy")
    return sink.getvalue()


def test_a_real_month_is_looked_at_without_fault(store: LandingStore, land: Land, real_data: Path) -> None:
    manifest = land("parquet", pieces(real_data / "taxi" / "parquet" / "green_tripdata_2024-01.parquet"))
    seen = look(store, manifest, "vendorid total_amount", "cbd_congestion_fee")
    assert (seen.part, seen.records, seen.fault, seen.missing_columns) == ("part-00001.parquet", 56_551, None, None)
    assert seen.bytes == manifest.bytes
    assert "trip_type" in str(seen.new_columns)
    assert "VendorID" not in str(seen.new_columns)


def test_columns_are_compared_without_regard_to_case(store: LandingStore, land: Land) -> None:
    seen = look(store, land("parquet", parquet()), "vendorid", "airport_fee")
    assert (seen.missing_columns, seen.new_columns) == (None, None)


def test_columns_gone_and_columns_new_are_named(store: LandingStore, land: Land) -> None:
    for manifest in (land("parquet", parquet()), land("csv", "VendorID,Airport_fee\n1,2\n")):
        seen = look(store, manifest, "vendorid trip_id fare", "tip")
        assert (seen.missing_columns, seen.new_columns, seen.fault) == ("trip_id, fare", "Airport_fee", None)


def test_where_nothing_is_declared_no_column_is_missing_or_new(store: LandingStore, land: Land) -> None:
    seen = look(store, land("parquet", parquet()))
    assert (seen.missing_columns, seen.new_columns, seen.fault) == (None, None, None)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (ACCESS_DENIED, 'not a Parquet file: it begins with "<?xml version="1.0" encoding="UTF-8"?> <Error><Code>Acc'),
        ("", "not a Parquet file: it is empty"),
        (parquet()[:-100], "truncated Parquet file: it ends after "),
        (b"PAR1", "truncated Parquet file: it ends after 4 bytes"),
        (parquet()[:-60] + b"\xff" * 40 + parquet()[-20:], "damaged Parquet file: its footer cannot be read"),
        (parquet()[:500] + parquet()[700:], "damaged Parquet file: its rows cannot be read"),
        (parquet()[:500] + bytes(200) + parquet()[700:], "damaged Parquet file: its rows cannot be read"),
        (parquet(names="fee Fee"), "columns of the same name but for case: 'fee'"),
    ],
    ids=["xml", "empty", "truncated", "magic alone", "footer", "hole", "zeros", "twice"],
)  # fmt: skip
def test_a_malformed_parquet_file_is_told_in_one_sentence(
    store: LandingStore, land: Land, body: str | bytes, fault: str
) -> None:
    seen = look(store, land("parquet", body))
    assert str(seen.fault).startswith(fault)
    assert "\n" not in str(seen.fault)


def test_a_parquet_file_cut_anywhere_is_a_fault(store: LandingStore, land: Land) -> None:
    whole = parquet()
    cuts = range(0, len(whole), len(whole) // 12)
    frame = profile(store, land("parquet", *(whole[:cut] for cut in cuts)))
    assert frame["fault"].notna().all()


def test_the_parquet_test_files_of_others_are_told_good_from_bad(
    store: LandingStore, land: Land, real_data: Path
) -> None:
    good = sorted((real_data / "nasty" / "parquet-testing" / "data").glob("*.parquet"))
    assert good
    assert profile(store, land("parquet", *map(pieces, good)))["fault"].isna().all()
    bad = real_data / "nasty" / "parquet-testing" / "bad_data"
    for name in ("ARROW-GH-47662.parquet", "ARROW-RS-GH-6229-LEVELS.parquet"):
        assert str(look(store, land("parquet", pieces(bad / name))).fault).startswith("damaged Parquet file")


def test_the_zones_are_265_rows_in_every_known_edition(store: LandingStore, land: Land, real_data: Path) -> None:
    editions = sorted((real_data / "zones").glob("*.csv"))
    frame = profile(store, land("csv", *map(pieces, editions)), required=["LocationID", "Borough", "Zone"])
    assert frame["fault"].isna().all()
    assert frame["records"].tolist() == [265] * len(editions)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("", "empty file"),
        ("\n\n", "empty file: it has not even a header"),
        ("a,b\n1,2\n3\n", "line 3: 1 fields, where the header has 2"),
        ('a,b\n"1\n1",2\n3,4,5\n', "line 4: 3 fields, where the header has 2"),
        ('a,b\n1,"2\n3,4\n', "line 2: a quote is opened here and never closed"),
        ('a,b\n1,"2"x\n', "line 2: ',' expected after '\"'"),
        (
            b"a,b\n1,2\n3,\xff\n",
            "line 3: byte 0xff, byte 10 (from 0) of the file, is not utf-8: declare the file's encoding",
        ),
        ("a,b\n1,\0\n", "line 2: a NUL character, which no text column can hold"),
        ("a,b\n1," + "x" * 17_000_000 + "\n", "line 2: longer than 16777216 characters"),
        ("a,A\n1,2\n", "columns of the same name but for case: 'a'"),
        (ACCESS_DENIED, 'not the CSV file expected: it begins with "<?xml version="1.0"'),
        ('{"message": "no"}', "not the CSV file expected: it begins with"),
    ],
)
def test_a_malformed_csv_file_is_told_in_one_sentence(
    store: LandingStore, land: Land, body: str | bytes, fault: str
) -> None:
    assert str(look(store, land("csv", body), "a").fault).startswith(fault)


@pytest.mark.parametrize("body", ["a,b\n", "a,b", "\ufeffA,b\r\n1,2\r\n\r\n3,4", 'a,b\n"1\r\n1","2,""2"""\nNA,\n'])
def test_odd_but_good_csv_files_have_no_fault(store: LandingStore, land: Land, body: str) -> None:
    seen = look(store, land("csv", body), "a b")
    assert (seen.fault, seen.missing_columns, seen.new_columns) == (None, None, None)


def test_csv_spectrum_has_no_fault_and_as_many_rows_as_it_says(
    store: LandingStore, land: Land, real_data: Path
) -> None:
    files = sorted((real_data / "nasty" / "csv-spectrum" / "csvs").glob("*.csv"))
    frame = profile(store, land("csv", *map(pieces, files)))
    said = [json.loads((file.parents[1] / "json" / f"{file.stem}.json").read_text()) for file in files]
    expected = [len(rows) if isinstance(rows, list) else 1 for rows in said]
    assert frame["fault"].isna().all()
    assert frame["records"].tolist() == expected


def test_real_payloads_are_objects_with_their_members(store: LandingStore, land: Land, real_data: Path) -> None:
    documents = json.loads((real_data / "weather" / "owm_current_186_cities.json").read_text())
    bodies = [json.dumps(document) for document in documents]
    seen = look(store, land("json", *bodies), "id dt main", "rain snow visibility")
    assert (seen.records, seen.fault, seen.missing_columns) == (186, None, None)
    assert "coord" in str(seen.new_columns)


def test_a_member_is_missing_when_one_document_lacks_it_and_new_when_one_has_it(
    store: LandingStore, land: Land
) -> None:
    seen = look(store, land("json", '{"id": 1, "dt": 2}', '{"id": 1, "Dt": 2}'), "id dt")
    assert (seen.missing_columns, seen.new_columns, seen.fault) == ("dt", "Dt", None)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (ACCESS_DENIED, "line 2 is not JSON: Expecting value"),
        ("", "line 2 is not JSON: Expecting value"),
        ('{"temp": NaN}', "line 2 is not JSON: NaN is no JSON number"),
        ('\ufeff{"a": 1}', "line 2 is not JSON: Unexpected UTF-8 BOM"),
        ("[1]", 'line 2 is not an object, or has a record that is none: it begins with "[1]"'),
        ("[" * 100_000, "line 2 is not JSON: it is nested too deeply"),
    ],
)
def test_a_document_that_is_none_is_told_with_its_line(store: LandingStore, land: Land, body: str, fault: str) -> None:
    seen = look(store, land("json", '{"id": 1}', body, '{"id": 2}'))
    assert str(seen.fault).startswith(fault)
    assert seen.records == 3


def test_more_faulty_documents_are_counted(store: LandingStore, land: Land) -> None:
    assert look(store, land("json", "1", "{}", "2", "x")).fault == (
        'line 1 is not an object, or has a record that is none: it begins with "1" (and 2 more of 4 lines)'
    )


def test_records_are_counted_and_known_where_they_stand(store: LandingStore, land: Land) -> None:
    landing = land("json", '{"data": [{"id": 1, "a": 2}, {"id": 2}], "b": 1}', '{"meta": 0}', '[{"id": 3}]')
    (seen,) = profile(store, landing, required=["id", "a"], records=["data"]).itertuples()
    assert (seen.records, seen.documents, seen.fault) == (2, 3, None)
    assert (seen.missing_columns, seen.new_columns) == ("a", None)


def test_the_json_test_suite_is_judged_as_it_judges_itself(real_data: Path) -> None:
    files = sorted((real_data / "nasty" / "JSONTestSuite" / "test_parsing").glob("[yn]_*.json"))
    assert len(files) > 100
    wrong = [file.name for file in files if _is_json(file.read_bytes()) != file.name.startswith("y_")]
    assert wrong == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON, st.sampled_from([None, 1]), st.booleans())
def test_whatever_a_json_writer_writes_is_json(document: object, indent: int | None, ascii_only: bool) -> None:
    try:
        text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 cannot write
        return
    assert _is_json(text)
    assert not _is_json(text + b"}")


def test_refusals_count_against_all_that_was_asked(store: LandingStore) -> None:
    with store.begin(source="s", entity="e", partition="all", run_id="r", format="json") as writer:
        for _ in range(3):
            writer.add_document(b"{}")
        writer.refuse({"q": "Atlantis"}, 404, "city not found")
        manifest = writer.commit({})
    seen = look(store, manifest)
    assert (seen.refused, seen.documents, seen.requests, seen.refused_share) == (1, 3, 4, 0.25)


def test_a_landing_of_nothing_is_a_faulty_row_and_not_an_empty_frame(store: LandingStore) -> None:
    with store.begin(source="s", entity="e", partition="all", run_id="r", format="json") as writer:
        writer.refuse({"q": "Atlantis"}, 404, "city not found")
        manifest = writer.commit({})
    seen = look(store, manifest, "id")
    assert (seen.part, seen.records, seen.refused_share) == ("(none)", 0, 1.0)
    assert seen.fault == "nothing was landed: the API refused all of 1 requests"


def test_a_part_changed_after_landing_is_a_fault_of_that_part_alone(store: LandingStore, land: Land) -> None:
    manifest = land("csv", "a\n1\n", "a\n2\n")
    key = manifest.uri.removeprefix(f"s3://{store.bucket}/") + manifest.parts[1].name
    store.client.put_object(Bucket=store.bucket, Key=key, Body=b"a\n3\n")
    frame = profile(store, manifest)
    assert frame["records"].tolist()[0] == 1
    assert frame["fault"].tolist()[0] is None
    assert "was changed after landing" in frame["fault"].tolist()[1]


def _is_json(text: bytes) -> bool:
    try:
        parse_json(text)
    except ValueError:
        return False
    return True
