"""Files as they are out there: each is loaded with exactly its values, or refused by name; never silently wrong."""

import csv
import datetime as dt
import gzip
import io
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.landing import LandingError, LandingStore, Manifest
from include.landing import store as store_module
from include.landing.delimited import CsvOptions
from include.landing.profile import parse_json, profile
from include.landing.records import iter_batches
from tests.landing.conftest import Land, pieces

SEMICOLON = CsvOptions(delimiter=";")


def rows(store: LandingStore, manifest: Manifest, options: CsvOptions = CsvOptions(), /, **fields: str) -> pa.Table:  # noqa: B008 - it is frozen
    frame = profile(store, manifest, csv_options=options)
    table = iter_batches(store, manifest, fields=fields, new_columns="evolve", csv_options=options).read_all()
    assert frame["fault"].isna().all()
    assert frame["records"].sum() == table.num_rows
    return table


def fault_of(store: LandingStore, manifest: Manifest, options: CsvOptions | None = None) -> str:
    """The one fault that the gate and the loader both see."""
    fault = str(profile(store, manifest, csv_options=options or CsvOptions())["fault"][0])
    with pytest.raises(LandingError, match=re.escape(fault[:80])):
        iter_batches(store, manifest, fields={}, new_columns="evolve", csv_options=options or CsvOptions()).read_all()
    return fault


YELLOW = {
    "vendor_id": "bigint", "pickup_datetime": "timestamp", "dropoff_datetime": "timestamp",
    "passenger_count": "bigint", "trip_distance": "double", "rate_code_id": "bigint", "store_and_fwd_flag": "text",
    "pickup_location_id": "bigint", "dropoff_location_id": "bigint", "payment_type": "bigint", "fare_amount": "double",
    "extra": "double", "mta_tax": "double", "tip_amount": "double", "tolls_amount": "double",
    "improvement_surcharge": "double", "total_amount": "double", "congestion_surcharge": "double",
}  # fmt: skip
SESSIONS = {"accessed_at": "timestamp"} | dict.fromkeys(
    ("session_duration", "download_speed", "upload_speed", "consumed_traffic"), "bigint"
)
_PYTHON: dict[str, Callable[[str], Any]] = {
    "bigint": lambda text: int(float(text)),
    "double": float,
    "timestamp": dt.datetime.fromisoformat,
}


def same_as_python_reads(file: Path, table: pa.Table, fields: dict[str, str]) -> None:
    with file.open(newline="") as text:
        header, *lines = csv.reader(text)
    columns = dict(zip(map(str.lower, header), zip(*lines, strict=True), strict=True))
    assert set(columns) == set(table.column_names) - {"_landing_id", "_row"}
    for name, texts in columns.items():
        convert = _PYTHON.get(fields.get(name, "text"))
        expected = list(texts) if convert is None else [convert(text) if text else None for text in texts]
        assert table[name].to_pylist() == expected, name


def test_every_real_yellow_month_is_read_value_by_value_as_python_reads_it(
    store: LandingStore, land: Land, real_data: Path
) -> None:
    months = sorted((real_data / "taxi" / "ge").glob("*.csv"))
    assert len(months) == 15
    table = rows(store, land("csv", *map(pieces, months)), **YELLOW)
    assert table.num_rows == 150_000
    assert table["_row"].to_pylist() == list(range(150_000))
    for number, month in enumerate(months):
        same_as_python_reads(month, table.slice(number * 10_000, 10_000), YELLOW)


@pytest.mark.parametrize("name", ["romanmurzac_batch_2024-09-15.csv", "sonick19_batch_2025-04-03.csv"])
def test_every_real_batch_of_sessions_is_read_value_by_value_as_python_reads_it(
    store: LandingStore, land: Land, real_data: Path, name: str
) -> None:
    file = real_data / "driven" / name
    same_as_python_reads(file, rows(store, land("csv", pieces(file)), **SESSIONS), SESSIONS)


def test_columns_that_one_file_of_a_drop_has_more_than_others_are_null_in_those(
    store: LandingStore, land: Land, real_data: Path
) -> None:
    first, second = sorted((real_data / "driven").glob("*.csv"))
    header, *lines = second.read_text().splitlines()
    wider = "\r\n".join([f"Is_Current,{header}", *(f"true,{line}" for line in lines)])
    table = rows(store, land("csv", pieces(first), wider), **SESSIONS)
    assert (len(lines), table.num_rows) == (486, 189 + 486)
    assert table["is_current"].to_pylist() == [None] * 189 + ["true"] * 486


@pytest.mark.parametrize("name", ["raw_taxis.csv", "taxis.csv"])
def test_other_real_trips_are_read_as_texts(store: LandingStore, land: Land, real_data: Path, name: str) -> None:
    file = real_data / "taxi" / "seaborn" / name
    same_as_python_reads(file, rows(store, land("csv", pieces(file))), {})


# Each file: its fault, or None where it is read as Arrow reads it.
PARQUET = {
    "data/datapage_v2.snappy.parquet": None,
    "data/int32_decimal.parquet": None,
    "data/int96_from_spark.parquet": None,
    "data/nested_maps.snappy.parquet": None,
    "data/nonnullable.impala.parquet": None,
    "data/nullable.impala.parquet": None,
    "data/page_v2_empty_compressed.parquet": None,
    "bad_data/ARROW-GH-43605.parquet": None,  # bad for readers that cannot read an index of no bits; this one can
    "bad_data/ARROW-GH-47662.parquet": "damaged Parquet file: its rows cannot be read",
    "bad_data/ARROW-RS-GH-6229-LEVELS.parquet": "damaged Parquet file: its rows cannot be read",
}


def test_every_parquet_test_file_is_read_as_arrow_reads_it_or_refused(
    store: LandingStore, land: Land, real_data: Path
) -> None:
    folder = real_data / "nasty" / "parquet-testing"
    assert {f"{file.parent.name}/{file.name}" for file in folder.glob("*/*.parquet")} == set(PARQUET)
    for name, fault in PARQUET.items():
        manifest = land("parquet", pieces(folder / name))
        if fault is None:
            table = rows(store, manifest)
            expected = pq.read_table(folder / name, coerce_int96_timestamp_unit="us")
            for column in expected.column_names:
                assert plain(table[column.lower()]) == plain(expected[column]), (name, column)
        else:
            assert str(profile(store, manifest)["fault"][0]).startswith(fault)
            with pytest.raises(LandingError, match=r"part-00001\.parquet: cannot be read"):
                iter_batches(store, manifest, fields={}, new_columns="evolve").read_all()


def plain(column: pa.ChunkedArray) -> list[Any]:
    """Values that compare: nested ones as the JSON text they become, timestamps as integers, decimals as doubles."""
    if pa.types.is_nested(column.type):
        return [value if value is None else json.dumps(value, default=str) for value in column.to_pylist()]
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]
    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64()).to_pylist()  # type: ignore[no-any-return]
    return column.to_pylist()  # type: ignore[no-any-return]


# What JSONTestSuite leaves to the reader, and what this one does: numbers stay text, so none is too large; a file of
# JSON may begin with a byte order mark; what is not UTF-8 is refused.
REFUSED = {
    "i_string_UTF-8_invalid_sequence.json", "i_string_not_in_unicode_range.json",
    "i_string_overlong_sequence_6_bytes.json", "i_string_truncated-utf-8.json", "i_string_utf16LE_no_BOM.json",
    "string_1_invalid_codepoint.json", "string_2_invalid_codepoints.json", "string_3_invalid_codepoints.json",
}  # fmt: skip


def test_every_json_test_file_is_given_byte_for_byte_or_refused_by_the_gate(
    store: LandingStore, real_data: Path
) -> None:
    files = sorted((real_data / "nasty" / "JSONTestSuite").glob("test_*/*.json"))
    assert len(files) > 160
    with store.begin(source="s", entity="e", partition="all", run_id="r", format="json") as writer:
        for file in files:
            writer.add_document(file.read_bytes(), origin=file.as_uri(), origin_etag="1")
        manifest = writer.commit({})
    assert [part.origin for part in manifest.parts] == [file.as_uri() for file in files]
    frame = profile(store, manifest)
    for file, part, fault in zip(files, manifest.parts, frame["fault"], strict=True):
        (document,) = store.iter_documents(manifest, part)
        body = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
        assert document == body.replace(b"\n", b"\t").replace(b"\r", b"\t")
        is_json = not file.name.startswith("n_") and file.name not in REFUSED
        assert ("is not JSON" not in str(fault)) == is_json, (file.name, fault)
        if is_json:
            found = parse_json(document)
            records = found if isinstance(found, list) else [found]
            assert (fault is None) == all(isinstance(record, dict) for record in records), (file.name, fault)


def ndjson(store: LandingStore, body: bytes, extension: str = "ndjson") -> Manifest:
    with store.begin(source="s", entity="e", partition="all", run_id="r", format="ndjson") as writer:
        writer.add_file([body[:7], body[7:]], extension, origin="s3://drop/x.ndjson", origin_etag="abc")
        return writer.commit({})


LINES = b'{"a": "\xc3\xbc"}\r\n\r\n  \n{"a": "\\n"}\n{"a": 3}'
DOCUMENTS = [b'{"a": "\xc3\xbc"}', b'{"a": "\\n"}', b'{"a": 3}']


@pytest.mark.parametrize(
    "body",
    [
        LINES,
        b"\xef\xbb\xbf" + LINES + b"\n",
        gzip.compress(LINES, mtime=0),
        gzip.compress(LINES[:20], mtime=0) + gzip.compress(LINES[20:], mtime=0) + bytes(512),
    ],
    ids=["plain", "mark", "gzip", "members"],
)
def test_the_lines_of_an_ndjson_file_are_its_documents(store: LandingStore, body: bytes) -> None:
    manifest = ndjson(store, body)
    assert list(store.iter_documents(manifest)) == DOCUMENTS
    frame = profile(store, manifest, required=["a"])
    assert (frame["fault"][0], frame["records"][0], frame["missing_columns"][0]) == (None, 3, None)
    assert (manifest.parts[0].origin, manifest.parts[0].origin_etag) == ("s3://drop/x.ndjson", "abc")
    assert store.read(manifest.uri) == manifest
    with store.open_part(manifest, manifest.parts[0]) as file:
        assert file.read() == body


def test_a_faulty_line_of_an_ndjson_file_is_named_by_its_number_in_the_file(store: LandingStore) -> None:
    manifest = ndjson(store, b'{"a": 1}\n\n{"a": NaN}\n{"a": 2}\n')
    assert profile(store, manifest)["fault"][0] == "line 3 is not JSON: NaN is no JSON number"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (gzip.compress(LINES * 50, mtime=0)[:-12], "truncated gzip file"),
        (gzip.compress(LINES, mtime=0)[:-6] + b"123456", "damaged gzip file"),
        (b"[1,\n2]", "line 1 is not JSON"),
    ],
)
def test_a_damaged_ndjson_file_is_a_fault(store: LandingStore, body: bytes, fault: str) -> None:
    assert fault in str(profile(store, ndjson(store, body))["fault"][0])


def test_a_document_that_never_ends_is_refused(store: LandingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_LINE_BYTES", 2_000_000)
    manifest = ndjson(store, gzip.compress(b" " * 5_000_000, mtime=0))
    assert "a document longer than 2000000 bytes" in str(profile(store, manifest)["fault"][0])


def test_json_documents_are_no_rows(store: LandingStore) -> None:
    with pytest.raises(LandingError, match="holds JSON documents, not rows"):
        iter_batches(store, ndjson(store, LINES), fields={}, new_columns="evolve")


TEXT = 'Name, Größe ,naïve\r"a ""b""\r\nc",1,ä€\n\r\nx"y,2,"é"'
TABLE = [{"name": 'a "b"\r\nc', "größe": 1, "naïve": "ä€"}, {"name": 'x"y', "größe": 2, "naïve": "é"}]


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (TEXT.encode(), CsvOptions()),
        (TEXT.encode("utf-8-sig"), CsvOptions()),
        (TEXT.encode("utf-16"), CsvOptions()),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), CsvOptions(encoding="cp1252")),
        (TEXT.encode("utf-8-sig"), CsvOptions(encoding="latin-1")),
        (TEXT.encode("utf-16-le"), CsvOptions(encoding="utf-16-le")),
        (TEXT.encode("cp1252"), CsvOptions(encoding="cp1252")),
        (TEXT.replace(",", ";").encode(), SEMICOLON),
        (TEXT.replace(",", "\t").replace('"', "'").replace("x'y", 'x"y').replace("a ''b''", 'a "b"').encode(),
         CsvOptions(delimiter="\t", quote="'")),
    ],
    ids=["utf-8", "mark", "utf-16", "be", "mark says it", "le", "cp1252", "semicolon", "tab"],
)  # fmt: skip
def test_encodings_delimiters_and_ends_of_lines_make_no_difference(
    store: LandingStore, land: Land, body: bytes, options: CsvOptions
) -> None:
    table = rows(store, land("csv", body), options, name="text", größe="bigint", naïve="text")
    assert table.drop_columns(["_landing_id", "_row"]).to_pylist() == TABLE


@pytest.mark.parametrize(
    ("body", "options", "fault"),
    [
        (b"a\n1\r\n\xe4\n", None, "line 3: byte 0xe4, byte 5 (from 0) of the file, is not utf-8"),
        (b"a\r1\r\n" + b"x" * 3_000_000 + b"\n\xe4", None, "line 4: byte 0xe4, byte 3000006 (from 0)"),
        (b"a\n" + ("ä" * 1000 + "\n").encode() * 600 + b"\xc3", None, "line 602: byte 0xc3, byte 1200602 (from 0)"),
        (b"a\n\x81\n", CsvOptions(encoding="cp1252"), "line 2: byte 0x81, byte 2 (from 0) of the file, is not cp1252"),
        ("a\nb\n".encode("utf-16-le"), None, "line 1: a NUL character"),
        (b"\xff\xfea\x00\n\x00\x00\xd8\n\x00", None, "line 2: byte 0x00, byte 6 (from 0) of the file, is not utf-16"),
        (b"a,b\n1,2,\n", None, "line 2: 3 fields, where the header has 2"),
        (b'a,b\n"1\n\n",2\n3\n', None, "line 5: 1 fields, where the header has 2"),
        (b'a\n"1\n2\n3', None, "line 2: a quote is opened here and never closed"),
        (b'a\n"1" \n', None, "line 2: ',' expected after '\"'"),
        (b"a,,c\n1,,3\n1,2,3\n", None, "line 3: column 2 holds a value, and the header has no name for it"),
        (b"a, A \n1,2\n", None, "columns of the same name but for case: 'a'"),
        (b"a,_loaded_at\n1,2\n", None, "column '_loaded_at' has a name of Sluice's own"),
        (b"", None, "empty file: it has not even a header"),
        (b"\xef\xbb\xbf\r\n", None, "empty file: it has not even a header"),
    ],
)  # fmt: skip
def test_a_csv_file_is_refused_alike_by_the_gate_and_the_loader(
    store: LandingStore, land: Land, body: bytes, options: CsvOptions | None, fault: str
) -> None:
    assert fault_of(store, land("csv", body), options).startswith(fault)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"encoding": "utf-99"}, "csv.encoding 'utf-99' is not one that Python knows"),
        ({"encoding": "rot13"}, "csv.encoding 'rot13' is not one"),
        ({"delimiter": ""}, "csv.delimiter '' is not one character"),
        ({"delimiter": "\n"}, "csv.delimiter '\\n' is not one character"),
        ({"quote": "''"}, "csv.quote \"''\" is not one character"),
        ({"delimiter": '"'}, "they must differ"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, str], fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        CsvOptions(**options)


def test_a_column_of_nothing_needs_no_name(store: LandingStore, land: Land) -> None:
    table = rows(store, land("csv", "a,b,\n1,2,\n3,4,\n"))
    assert table.select(["a", "b"]).to_pylist() == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert table.num_columns == 4


def test_headers_may_drift_in_case_order_and_white_space_between_the_files_of_a_drop(
    store: LandingStore, land: Land
) -> None:
    manifest = land("csv", "id,Fee\n1,0.5\n", "\ufeff FEE ;ID\n".replace(";", ",") + "1.5,2\n", "Id\n3\n")
    table = rows(store, manifest, id="bigint", fee="double")
    assert table.select(["id", "fee", "_row"]).to_pylist() == [
        {"id": 1, "fee": 0.5, "_row": 0},
        {"id": 2, "fee": 1.5, "_row": 1},
        {"id": 3, "fee": None, "_row": 2},
    ]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_file_with_none_of_the_declared_columns_is_refused_without_telling_its_own(
    store: LandingStore, land: Land, format: str
) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"Ana Pop": ["x"]}), sink)
    manifest = land(format, sink.getvalue() if format == "parquet" else "Ana Pop;7\nIon Pop;8\n")
    with pytest.raises(LandingError, match="has none of the columns name, age: its header is missing") as fault:
        iter_batches(store, manifest, fields={"name": "text", "age": "bigint"}, new_columns="evolve")
    assert "Ana" not in str(fault.value)


def test_a_new_column_whose_name_postgres_would_cut_is_refused(store: LandingStore, land: Land) -> None:
    manifest = land("csv", f"a,{'x' * 64}\n1,2\n")
    with pytest.raises(LandingError, match="is longer than the 63 bytes"):
        iter_batches(store, manifest, fields={"a": "text"}, new_columns="evolve")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("bigint", " 12 ", 12), ("bigint", "\u00a012\t", 12), ("bigint", "007", 7), ("bigint", "-0", 0),
        ("bigint", "+5", 5), ("bigint", "1e3", 1000), ("bigint", "12.0", 12), ("bigint", " ", None),
        ("bigint", "9223372036854775807", 2**63 - 1), ("double", "1e-3", 0.001), ("double", "-.5", -0.5),
        ("double", "0.1", 0.1), ("double", "", None), ("text", " 12 ", " 12 "), ("text", "", ""),
        ("timestamp", "2024-01-31", dt.datetime(2024, 1, 31)),
        ("timestamp", "2024-01-31 08:30", dt.datetime(2024, 1, 31, 8, 30)),
        ("timestamp", "2024-01-31T08:30:15.1234569", dt.datetime(2024, 1, 31, 8, 30, 15, 123456)),
        ("timestamp", "2024-01-31T08:30:15.5Z", dt.datetime(2024, 1, 31, 8, 30, 15, 500000)),
        ("timestamp", "2024-01-31T00:30:00+02:00", dt.datetime(2024, 1, 30, 22, 30)),
        ("timestamp", "2024-01-31 00:30:00-0230", dt.datetime(2024, 1, 31, 3)),
        ("date", "2024-02-29", dt.date(2024, 2, 29)), ("boolean", "TRUE", True), ("boolean", "0", False),
    ],
)  # fmt: skip
def test_a_field_becomes_its_type_by_rule(store: LandingStore, land: Land, kind: str, text: str, value: object) -> None:
    table = rows(store, land("csv", f'a,b\n"{text}",x\n'), a=kind)
    assert table["a"].to_pylist() == [value]


REFUSED_FIELDS = [
    ("bigint", "1,234"), ("bigint", "1.5"), ("bigint", "0x1F"), ("bigint", "1_000"), ("bigint", "١٢"),
    ("bigint", "9223372036854775808"), ("bigint", "1e400"), ("bigint", "NA"), ("bigint", "true"), ("bigint", "--1"),
    ("double", "1,234.5"), ("double", "1e400"), ("double", "nan"), ("double", "-inf"), ("double", "1,5"),
    ("double", "$5"), ("double", "5%"),
    ("timestamp", "31/01/2024"), ("timestamp", "01-02-2024"), ("timestamp", "2024-1-5"), ("timestamp", "20240131"),
    ("timestamp", "1704110400"), ("timestamp", "2024-02-30"), ("timestamp", "2024-01-31 24:00"),
    ("timestamp", "2024-01-31 08:30:00 CET"), ("timestamp", "Jan 31 2024"),
    ("date", "2023-02-29"), ("date", "2024-01-31 08:00"), ("date", "45000"), ("boolean", "yes"), ("boolean", "2"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), REFUSED_FIELDS)
def test_a_field_that_is_not_of_its_type_is_named_unless_it_is_personal(
    store: LandingStore, land: Land, kind: str, text: str
) -> None:
    manifest = land("csv", f'b,a\nx,\n\ny,"{text}"\n')
    with pytest.raises(LandingError) as fault:
        iter_batches(store, manifest, fields={"a": kind}, new_columns="discard").read_all()
    assert str(fault.value).startswith(
        f"{manifest.uri}part-00001.csv: column 'a' is declared {kind}, and its row 1 (from 0; line 4) holds {text!r}"
    )
    with pytest.raises(LandingError) as fault:
        iter_batches(store, manifest, fields={"a": kind}, new_columns="discard", pii={"a"}).read_all()
    assert "row 1 (from 0; line 4) holds ***, which is not one: correct" in str(fault.value)
    assert text not in str(fault.value).removeprefix(manifest.uri)


def test_times_with_an_offset_and_without_in_one_column_are_refused_wherever_they_stand(
    store: LandingStore, land: Land
) -> None:
    naive, zoned = "2024-01-31 08:00:00", "2024-01-31 08:00:00Z"
    for one, other in ((naive, zoned), (zoned, naive)):
        manifest = land(
            "csv", "a,b\n" + f"{one},\n" * 5 + ",\n2024-01-31,\n"[: 2 if one == zoned else None] + f"{other},\n"
        )
        for batch_rows in (2, 100):
            with pytest.raises(LandingError, match=r"column 'a' .* holds '" + other):
                iter_batches(
                    store, manifest, fields={"a": "timestamp"}, new_columns="discard", batch_rows=batch_rows
                ).read_all()


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (pa.array([1704110400]), "timestamp", "its unit and its beginning are unknown"),
        (pa.array([dt.datetime(2024, 1, 31)]), "bigint", "its unit and its beginning are unknown"),
        (pa.array([dt.timedelta(1)]), "bigint", "its unit and its beginning are unknown"),
        (pa.array([dt.datetime(2024, 1, 31, 8)]), "date", "time of day"),
        (pa.array([None, 0, 1, 2]), "boolean", "row 3 .*only 0 and 1 are booleans"),
        (pa.array(["a\0b"]), "text", "a NUL character"),
        (pa.array(["1", "0x1F"], pa.large_string()), "bigint", "row 1 .* decimal digits"),
        (pa.array(["1", "x"]).dictionary_encode(), "bigint", "row 1 "),
        (pa.array([b"ok", b"\xff"]), "text", "row 1 "),
    ],
)
def test_a_typed_value_is_not_taken_for_another(
    store: LandingStore, land: Land, values: pa.Array, kind: str, reason: str
) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"it": values}), sink)
    with pytest.raises(LandingError, match=reason):
        iter_batches(store, land("parquet", sink.getvalue()), fields={"it": kind}, new_columns="discard").read_all()


def test_what_the_gate_says_of_a_file_quotes_nothing_where_there_is_personal_data(
    store: LandingStore, land: Land
) -> None:
    manifest = land("csv", "Ana Pop,7\nIon Pop,8\n")
    quoting = profile(store, manifest, required=["name"])
    assert "Ana Pop" in str(quoting["fault"][0])
    seen = profile(store, manifest, required=["name"], pii=["name"])
    assert str(seen["fault"][0]).startswith("not the CSV file expected: its beginning is not shown")
    assert "Ana" not in seen.to_json()


def test_a_file_of_another_delimiter_is_told_how_to_be_read(store: LandingStore, land: Land) -> None:
    manifest = land("csv", "name;age\nAna;7\n")
    assert str(profile(store, manifest, required=["name"])["fault"][0]).endswith("csv: {delimiter: ';'}")
    assert profile(store, manifest, required=["name"], csv_options=SEMICOLON)["fault"][0] is None


_FIELD = st.text(
    st.sampled_from("ab ,;\"'\r\n\tüß€漢🚕\u2028\u00a0\x01") | st.characters(codec="utf-8", exclude_characters="\0"),
    max_size=12,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(_FIELD, min_size=2, max_size=2), max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([",", ";", "\t"]),
    st.integers(1, 5),
)
def test_whatever_a_csv_writer_writes_is_read_back_field_by_field(
    store: LandingStore,
    land: Land,
    lines: list[list[str]],
    ending: str,
    quoting: Literal[0, 1],
    encoding: str,
    delimiter: str,
    batch_rows: int,
) -> None:
    text = io.StringIO(newline="")
    if ending != "\r\n" and any("\r" in field or "\n" in field for line in lines for field in line):
        quoting = csv.QUOTE_ALL  # Python's writer takes only its own end of a line for one that needs quotes
    writer = csv.writer(text, lineterminator=ending, quoting=quoting, delimiter=delimiter)
    writer.writerows([["a", "b"], *lines])
    reader = iter_batches(
        store,
        land("csv", text.getvalue().encode(encoding)),
        fields={"a": "text", "b": "text"},
        new_columns="freeze",
        batch_rows=batch_rows,
        csv_options=CsvOptions(delimiter=delimiter),
    )
    batches = list(reader)
    assert all(batch.num_rows <= batch_rows for batch in batches)
    table = pa.Table.from_batches(batches, reader.schema)
    assert list(map(list, zip(table["a"].to_pylist(), table["b"].to_pylist(), strict=True))) == lines
    assert table["_row"].to_pylist() == list(itertools.islice(itertools.count(), len(lines)))
