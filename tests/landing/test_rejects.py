"""Rows that cannot be read: each is told with its place, what stood there and why, and the others keep their places."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.landing import LandingError, LandingStore, Manifest
from include.landing.json_records import landed_records
from include.landing.profile import profile
from include.landing.records import iter_batches
from include.landing.rejects import PartRows, Reject
from include.landing.tables import Unreadable
from tests.landing.conftest import Land, pieces
from tests.landing.test_records import parquet
from tests.landing.test_torture import YELLOW
from tests.landing.test_workbook import xlsx


def read(
    store: LandingStore, manifest: Manifest, pii: Collection[str] = (), **fields: str
) -> tuple[list[dict[str, Any]], list[Reject]]:
    """The rows that could be read (without the landing's id), and the others."""
    rejects: list[Reject] = []
    table = iter_batches(
        store, manifest, fields=fields, new_columns="discard", pii=pii, reject=rejects.append, batch_rows=4
    ).read_all()
    return table.drop_columns(["_landing_id"]).to_pylist(), rejects


def test_all_bad_values_of_a_batch_are_told_and_the_other_rows_keep_their_places(
    store: LandingStore, land: Land
) -> None:
    manifest = land(
        "csv", "n,at,t\n1,2024-01-01,a\nx,2024-01-02,b\n3,never,c\n4,2024-01-04,d\ny,soon,e\n6,2024-01-06,f\n"
    )
    rows, rejects = read(store, manifest, n="bigint", at="date", t="text")
    assert [(row["n"], row["t"], row["_row"]) for row in rows] == [(1, "a", 0), (4, "d", 3), (6, "f", 5)]
    assert [one.row for one in rejects] == [1, 2, 4]
    assert [json.loads(one.payload or "") for one in rejects] == [
        {"n": "x", "at": "2024-01-02", "t": "b"},
        {"n": "3", "at": "never", "t": "c"},
        {"n": "y", "at": "soon", "t": "e"},
    ]
    assert [[fault.column for fault in one.faults] for one in rejects] == [["n"], ["at"], ["n", "at"]]
    assert rejects[0].faults[0].message.startswith("line 3: column 'n' is declared bigint and holds 'x', which is not")
    assert [one.record for one in rejects] == [None] * 3


def test_without_a_collector_the_first_of_them_ends_the_read(store: LandingStore, land: Land) -> None:
    for body, fault in (("n\n1\nx\ny\n", r"row 1 \(from 0; line 3\) holds 'x'"), ("n,m\n1,2\n3\n", "line 3: 1 fields")):
        with pytest.raises(LandingError, match=fault):
            iter_batches(store, land("csv", body), fields={"n": "bigint"}, new_columns="discard").read_all()


def test_lines_with_too_many_or_too_few_fields_are_told_as_they_stand(store: LandingStore, land: Land) -> None:
    manifest = land("csv", 'a,b\r\n1,"x"\r\n2\r\n3,y,\r\n\r\n4,"z" z\r\n5,ü\r\n')
    rows, rejects = read(store, manifest, a="bigint", b="text")
    assert [(row["a"], row["b"], row["_row"]) for row in rows] == [(1, "x", 0), (5, "ü", 4)]
    assert [(one.row, one.record, one.faults[0].message) for one in rejects] == [
        (1, "2", "line 3: 1 fields, where the header has 2"),
        (2, "3,y,", "line 4: 3 fields, where the header has 2"),
        (3, '4,"z" z', "line 6: ',' expected after '\"'"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        'a,b\n1,"x\ny",z\n2,x\n',  # of two lines: the quote may stand in the wrong place
        "a,b\n1,x\n2",  # the file may be cut off
        'a,b\n1,x\n2,"y\n',
        b"a,b\n1,x\n2,\xff\n",
        "a,b\n1,\0\n",
        "",
    ],
)
def test_what_may_be_a_fault_of_the_whole_file_refuses_it(store: LandingStore, land: Land, body: str | bytes) -> None:
    manifest = land("csv", body)
    with pytest.raises(LandingError, match="cannot be read"):
        read(store, manifest, a="bigint", b="text")
    assert profile(store, manifest, quarantine_at_most=1.0)["fault"].notna().all()


def test_a_value_below_no_header_is_told(store: LandingStore, land: Land) -> None:
    rows, rejects = read(store, land("csv", "a,\n1,\n2,x\n3,\n"), a="bigint")
    assert [row["_row"] for row in rows] == [0, 2]
    assert (rejects[0].row, rejects[0].record) == (1, '["2", "x"]')


def test_cells_with_errors_and_wrong_types_are_told_by_their_row_of_the_sheet(store: LandingStore, land: Land) -> None:
    body = xlsx(["n", "t"], [1, "a"], ["#N/A", "b"], ["x", "c"], [4, "d", "e"], [5, "f"])
    rows, rejects = read(store, land("xlsx", body), n="bigint", t="text")
    assert [(row["n"], row["_row"]) for row in rows] == [(1, 0), (5, 4)]
    assert [(one.row, one.record or one.payload) for one in rejects] == [
        (1, '{"A": "#N/A", "B": "b"}'),
        (2, '{"n": "x", "t": "c"}'),
        (3, '{"A": "4", "B": "d", "C": "e"}'),
    ]
    assert rejects[0].faults[0].message == "line 3: cell A3 holds the error #N/A: have the sheet corrected"


@pytest.mark.parametrize(
    ("values", "kind", "bad"),
    [
        ([1.0, 0.5, float("nan"), 2.0, 1e300], "bigint", {1: 0.5, 2: "nan", 4: 1e300}),
        (["1", None, "one", "2"], "double", {2: "one"}),
        ([b"a", b"\xff", b"b\0"], "text", {1: "\\xff", 2: "b\0"}),
        ([0, 1, 2, None], "boolean", {2: 2}),
        (["2024-01-01T00:00:00Z", "x", "2024-01-01T00:00", None], "timestamp", {1: "x", 2: "2024-01-01T00:00"}),
        (["x", "2024-01-01T00:00:00Z", None, "2024-01-02T00:00:00Z"], "timestamp", {0: "x"}),
    ],
)  # fmt: skip
def test_values_of_parquet_that_are_not_of_their_type_are_told(
    store: LandingStore, land: Land, values: list[Any], kind: str, bad: dict[int, object]
) -> None:
    rows, rejects = read(
        store, land("parquet", parquet(it=values, other=list(range(len(values))))), it=kind, other="bigint"
    )
    assert {one.row: json.loads(one.payload or "")["it"] for one in rejects} == bad
    assert [row["_row"] for row in rows] == [row for row in range(len(values)) if row not in bad]
    assert [row["other"] for row in rows] == [row["_row"] for row in rows]


def test_a_personal_value_stands_in_what_is_held_and_in_no_message(store: LandingStore, land: Land) -> None:
    _, rejects = read(store, land("csv", "iban,n\nDE00 secret,x\n"), iban="bigint", n="bigint", pii=("iban",))
    messages = [fault.message for fault in rejects[0].faults]
    assert "secret" not in "".join(messages)
    assert "'x'" not in messages[1]  # no column's: in a row whose columns have moved the account stands in another
    assert json.loads(rejects[0].payload or "") == {"iban": "DE00 secret", "n": "x"}


def test_each_part_is_told_with_its_rows_rejected_ones_included(store: LandingStore, land: Land) -> None:
    manifest = land("csv", "n\n1\nx\n3,3\n4\n", "n\n", "n\n5\n")
    parts: list[PartRows] = []
    iter_batches(
        store, manifest, fields={"n": "bigint"}, new_columns="freeze", reject=lambda _: None, part_read=parts.append
    ).read_all()
    assert [(one.part, one.uri, one.first_row, one.row_count) for one in parts] == [
        ("part-00001.csv", f"{manifest.uri}part-00001.csv", 0, 4),
        ("part-00002.csv", f"{manifest.uri}part-00002.csv", 4, 0),
        ("part-00003.csv", f"{manifest.uri}part-00003.csv", 4, 1),
    ]


def test_nested_values_are_held_as_json(store: LandingStore, land: Land) -> None:
    _, rejects = read(
        store, land("parquet", parquet(n=["x"], deep=[[{"a": float("nan"), "b": b"c"}]])), n="bigint", deep="text"
    )
    assert json.loads(rejects[0].payload or "") == {"n": "x", "deep": [{"a": "NaN", "b": "b'c'"}]}


def test_a_column_of_another_type_altogether_ends_the_read(store: LandingStore, land: Land) -> None:
    manifest = land("csv", "n\n" + "x\n" * 5_001)
    reader = iter_batches(store, manifest, fields={"n": "bigint"}, new_columns="freeze", reject=lambda _: None)
    with pytest.raises(LandingError, match="5000 values of 5001 rows are not of their type; the first: line 2: column"):
        reader.read_all()


def test_whoever_takes_the_rejects_can_end_the_read(store: LandingStore, land: Land) -> None:
    class EnoughError(Exception):
        pass

    def reject(_: Reject) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        iter_batches(
            store, land("csv", "n\nx\n"), fields={"n": "bigint"}, new_columns="freeze", reject=reject
        ).read_all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["1", "", "x", "1,2", '"2"', '"2" 2', " 3 "]), max_size=40),
    st.sampled_from(["\n", "\r\n"]),
)
def test_every_line_is_read_or_told_once_and_the_gate_counts_the_same(
    store: LandingStore, land: Land, lines: list[str], ending: str
) -> None:
    lines = [line for line in lines if line]
    manifest = land("csv", ending.join(["n", *lines, ""]))
    rows, rejects = read(store, manifest, n="bigint")
    places = sorted([row["_row"] for row in rows] + [one.row for one in rejects])
    assert places == list(range(len(lines)))
    assert {one.row for one in rejects} == {n for n, line in enumerate(lines) if line in ("x", "1,2", '"2" 2')}
    frame = profile(store, manifest, quarantine_at_most=1.0)
    assert (frame["records"][0], frame["fault"][0]) == (len(lines), None)


def test_a_few_wrong_values_in_a_real_month_are_the_only_ones_left_out(
    store: LandingStore, land: Land, real_data: Path
) -> None:
    month = real_data / "taxi" / "ge" / "yellow_tripdata_sample_2019-01.csv"
    header, *lines = month.read_text().splitlines()
    broken = {17: ("2019-", "20l9-"), 4_321: (",1,", ",one,"), 9_999: (",", ";")}
    for row, (old, new) in broken.items():
        lines[row] = lines[row].replace(old, new, 1)
    spoilt = land("csv", "\n".join([header, *lines, ""]))
    rows, rejects = read(store, spoilt, **YELLOW)
    assert [one.row for one in rejects] == list(broken)
    whole, none = read(store, land("csv", pieces(month)), **YELLOW)
    assert none == []
    is_the_rest = rows == [row for row in whole if row["_row"] not in broken]  # whose difference takes minutes to show
    assert is_the_rest
    assert rejects[2].record == lines[9_999]


@pytest.mark.parametrize(("at_most", "is_refused"), [(0.0, True), (0.1, True), (0.5, False)])
def test_the_gate_of_the_landing_lets_pass_what_the_load_will_hold(
    store: LandingStore, land: Land, at_most: float, is_refused: bool
) -> None:
    for format, bodies in {
        "csv": ["n\n1\n1,2\n", "n\n1\n2\n"],
        "ndjson": ['{"n": 1}\n{"n": \n', '[1]\n{"n": 1}\n'],
    }.items():
        frame = profile(store, land(format, *bodies), quarantine_at_most=at_most)
        assert frame["fault"].notna().any() == is_refused, format
        if not is_refused:
            assert frame["records"].tolist() == [2, 2]


def test_a_record_with_nan_in_a_page_of_many_is_no_fault_of_the_page(store: LandingStore, land: Land) -> None:
    manifest = land("json", '{"data": [{"n": 1}, {"n": NaN}, {"n": 3}]}')
    assert profile(store, manifest, records=["data"], quarantine_at_most=0.5)["fault"][0] is None
    assert "NaN is no JSON number" in profile(store, manifest, records=["data"], quarantine_at_most=0.1)["fault"][0]
    cut = land("json", '{"data": [{"n": NaN}, {"n": 3}]')
    assert profile(store, cut, records=["data"], quarantine_at_most=1.0)["fault"].notna().all()


def test_lines_and_records_that_are_none_stand_in_their_places(store: LandingStore, land: Land) -> None:
    body = b'{"n": 1}\n{"n": \n\n[2, {"n": 3}]\n{"n": 4} {"n": 5}\n\xff\n'
    parts: list[tuple[str, str]] = []
    manifest = land("ndjson", body)
    found = [one for one, _ in landed_records(store, manifest, begin_part=lambda *part: parts.append(part))]
    assert [one if isinstance(one, bytes) else one.text for one in found] == [
        b'{"n": 1}', '{"n":', "2", b'{"n": 3}', '{"n": 4} {"n": 5}', "\\xff",
    ]  # fmt: skip
    faults = [one.fault for one in found if isinstance(one, Unreadable)]
    assert [re.split("[(:]", fault)[0].strip() for fault in faults] == [
        "is not JSON",
        "is no JSON object",
        *["is not JSON"] * 2,
    ]
    assert parts == [("part-00001.ndjson", f"{manifest.uri}part-00001.ndjson")]


def test_a_page_that_is_no_json_is_refused_whole(store: LandingStore, land: Land) -> None:
    with pytest.raises(LandingError, match="a document is not JSON"):
        list(landed_records(store, land("json", '[{"n": 1}, {"n": ]')))


def test_memory_of_arrow_holds_nothing_of_what_was_rejected(store: LandingStore, land: Land) -> None:
    before = pa.total_allocated_bytes()
    read(store, land("csv", "n\n" + "x\n" * 1_000), n="bigint")
    assert pa.total_allocated_bytes() - before < 1_000_000
