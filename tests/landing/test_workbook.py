"""Spreadsheets: cells as they are stored, one sheet, and nothing that could be wrong in silence."""

import datetime as dt
import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.landing import LandingError, LandingStore, Manifest, workbook
from include.landing.profile import profile
from include.landing.records import iter_batches
from tests.landing.conftest import Land

PROJECT = Path(__file__).parents[2]
Cells = Sequence[Sequence[Any]]


def xlsx(*rows: Sequence[Any], **sheets: Cells) -> bytes:
    """A workbook of one sheet of rows, or of named sheets."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title, content in (sheets or {"Sheet1": rows}).items():
        sheet = book.create_sheet(title)
        for row in content:
            sheet.append(list(row))
    return saved(book)


def saved(book: openpyxl.Workbook) -> bytes:
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


def changed(body: bytes, name: str, change: Callable[[str], str]) -> bytes:
    """A workbook with one of its files rewritten, as other programs would write it."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            content = old.read(member)
            new.writestr(member, change(content.decode()).encode() if member.filename.endswith(name) else content)
    return sink.getvalue()


_SHARED = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"


def shared(body: bytes, more: str = "") -> bytes:
    """A workbook whose texts lie in a list of their own, as Excel has them, with more text after that list."""
    texts: list[str] = []

    def place(match: re.Match[str]) -> str:
        texts.append(match[1])
        return f't="s"><v>{len(texts) - 1}</v></c>'

    body = changed(body, "sheet1.xml", lambda text: re.sub(r't="inlineStr"><is>(.*?)</is></c>', place, text))
    override = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{_SHARED}"/></Types>'
    sink = io.BytesIO(changed(body, "[Content_Types].xml", lambda text: text.replace("</Types>", override)))
    with zipfile.ZipFile(sink, "a", zipfile.ZIP_DEFLATED) as archive:
        items = "".join(f"<si>{text}</si>" for text in texts)
        archive.writestr(
            "xl/sharedStrings.xml",
            f'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{items}</sst>{more}',
        )
    return sink.getvalue()


def read(store: LandingStore, manifest: Manifest, sheet: str | None = None, **fields: str) -> list[dict[str, Any]]:
    table = iter_batches(store, manifest, fields=fields, new_columns="evolve", sheet=sheet).read_all()
    return list(table.drop_columns(["_landing_id", "_row"]).to_pylist())


def fault_of(store: LandingStore, manifest: Manifest, sheet: str | None = None) -> str:
    """The one fault that the gate and the loader both see."""
    fault = str(profile(store, manifest, sheet=sheet)["fault"][0])
    with pytest.raises(LandingError, match=re.escape(fault[:100])):
        read(store, manifest, sheet)
    return fault


def test_typed_cells_become_their_declared_types(store: LandingStore, land: Land) -> None:
    body = xlsx(
        ["Id", "Share", "Name", "Day", "At", "Open"],
        [1, 0.1, "a", dt.date(2024, 1, 31), dt.datetime(2024, 1, 31, 8, 30, 15), True],
        ["2", "1e3", 7, "2024-02-01", "2024-02-01T09:00:00", "FALSE"],
        [None, None, None, None, None, None],
        [3.0, 2, 2.5, None, dt.datetime(2024, 2, 2), 0],
    )
    rows = read(
        store, land("xlsx", body), id="bigint", share="double", name="text", day="date", at="timestamp", open="boolean"
    )
    assert rows == [
        {"id": 1, "share": 0.1, "name": "a", "day": dt.date(2024, 1, 31), "at": dt.datetime(2024, 1, 31, 8, 30, 15),
         "open": True},
        {"id": 2, "share": 1000.0, "name": "7", "day": dt.date(2024, 2, 1), "at": dt.datetime(2024, 2, 1, 9),
         "open": False},
        {"id": 3, "share": 2.0, "name": "2.5", "day": None, "at": dt.datetime(2024, 2, 2), "open": False},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "kind"),
    [(45000, "timestamp"), (45000, "date"), (2.5, "bigint"), (True, "bigint"), (2, "boolean"), ("1,234.5", "double"),
     (dt.datetime(2024, 1, 1, 8), "date"), (dt.datetime(2024, 1, 1), "double"), (dt.time(8, 30), "timestamp")],
)  # fmt: skip
def test_a_cell_of_another_type_is_named_by_its_row_in_the_sheet(
    store: LandingStore, land: Land, value: object, kind: str
) -> None:
    manifest = land("xlsx", xlsx(["a"], [None], [value]))
    with pytest.raises(LandingError, match=r"part-00001\.xlsx: column 'a' is declared .* row 0 \(from 0; line 3\)"):
        read(store, manifest, a=kind)


def test_the_first_sheet_is_read_unless_another_is_named(store: LandingStore, land: Land) -> None:
    manifest = land("xlsx", xlsx(first=[["a"], [1]], second=[["a"], [2]]))
    assert read(store, manifest, a="bigint") == [{"a": 1}]
    assert read(store, manifest, "second", a="bigint") == [{"a": 2}]
    assert profile(store, manifest, sheet="second")["records"].tolist() == [1]
    assert fault_of(store, manifest, "third") == "there is no sheet 'third' in the workbook: it has 'first', 'second'"


def test_empty_rows_and_formatted_ones_far_below_are_no_rows(store: LandingStore, land: Land) -> None:
    book = openpyxl.load_workbook(io.BytesIO(xlsx([None], ["a", "b"], [1, 2], [None], [3, None])))
    book.worksheets[0].row_dimensions[1_000_000].height = 20
    manifest = land("xlsx", saved(book))
    assert read(store, manifest, a="bigint", b="bigint") == [{"a": 1, "b": 2}, {"a": 3, "b": None}]
    assert profile(store, manifest)["records"].tolist() == [2]


def test_all_rows_are_read_whatever_size_the_sheet_says_it_has(store: LandingStore, land: Land) -> None:
    body = changed(
        xlsx(["a", "b"], [1, 2], [3, 4]),
        "sheet1.xml",
        lambda text: re.sub(r'<dimension ref="[^"]+"', '<dimension ref="A1:A2"', text),
    )
    assert read(store, land("xlsx", body), a="bigint", b="bigint") == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_a_formula_counts_by_the_value_calculated_last_and_without_one_it_is_refused(
    store: LandingStore, land: Land
) -> None:
    body = xlsx(["a", "b"], [1, "=A2*2"])
    assert fault_of(store, land("xlsx", body)) == (
        "line 2: cell B2 holds a formula without a value: have the workbook calculated and saved"
    )
    calculated = changed(body, "sheet1.xml", lambda text: re.sub(r"<v\s*/>|<v></v>", "<v>2</v>", text))
    assert read(store, land("xlsx", calculated), a="bigint", b="bigint") == [{"a": 1, "b": 2}]


@pytest.mark.parametrize("error", ["#REF!", "#DIV/0!", "#N/A", "#VALUE!"])
def test_a_cell_that_holds_an_error_is_refused_but_not_a_text_that_looks_like_one(
    store: LandingStore, land: Land, error: str
) -> None:
    body = xlsx(["a", "b"], ["x", error])
    assert fault_of(store, land("xlsx", body)) == f"line 2: cell B2 holds the error {error}: have the sheet corrected"
    text = changed(body, "sheet1.xml", lambda sheet: sheet.replace('t="e"', 't="str"'))
    assert read(store, land("xlsx", text), a="text") == [{"a": "x", "b": error}]


def test_a_date_out_of_range_is_an_error(store: LandingStore, land: Land) -> None:
    body = changed(
        xlsx(["a"], [dt.date(2024, 1, 31)]), "sheet1.xml", lambda text: text.replace("<v>45322</v>", "<v>9e9</v>")
    )
    assert "cell A2 holds the error" in fault_of(store, land("xlsx", body))


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (xlsx(["a", "b"], [1, 2, 3]), "line 2: cell C2 holds a value, and the header has no name for its column"),
        (xlsx(["a", None, "c"], [1, 2, 3]), "line 2: column 2 holds a value, and the header has no name for it"),
        (xlsx(["a", " A"], [1, 2]), "columns of the same name but for case: 'a'"),
        (xlsx(["a", "_row"], [1, 2]), "column '_row' has a name of Sluice's own"),
        (xlsx([None]), "empty file: it has not even a header"),
        (b"", "not an xlsx workbook"),
        (b"<html>", "not an xlsx workbook: it does not begin as one"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "not an xlsx workbook: it is of the old format xls"),
        (xlsx(["a"], [1])[:-30], "damaged xlsx workbook"),
        (b"PK\x03\x04" + bytes(100), "damaged xlsx workbook"),
        (changed(xlsx(["a"], [1]), "sheet1.xml", lambda text: text[:-40]), "damaged xlsx workbook: ParseError"),
        (changed(shared(xlsx(["a"])), "sheet1.xml", lambda text: text.replace("<v>0<", "<v>9<")),
         "line 1: damaged xlsx workbook: a cell cannot be read (IndexError)"),
        (changed(xlsx(["a"], [7]), "sheet1.xml", lambda text: text.replace("<v>7<", "<v>Ana<")),
         "line 2: damaged xlsx workbook: a cell cannot be read (ValueError)"),
        (changed(xlsx(["a"]), "workbook.xml", lambda text: text.replace("<sheets>", "<")), "damaged xlsx workbook"),
    ],
)  # fmt: skip
def test_what_is_no_sheet_of_rows_is_told_alike_by_the_gate_and_the_loader(
    store: LandingStore, land: Land, body: bytes, fault: str
) -> None:
    assert fault_of(store, land("xlsx", body)).startswith(fault)


def test_columns_of_nothing_need_no_name(store: LandingStore, land: Land) -> None:
    assert read(store, land("xlsx", xlsx([None, "a", "", "b"], [None, 1, None, 2])), a="bigint", b="bigint") == [
        {"a": 1, "b": 2}
    ]


def test_texts_that_a_workbook_keeps_in_a_list_are_read_from_it(store: LandingStore, land: Land) -> None:
    body = shared(xlsx(["a", "b"], ["x", " y_x000D_"], ["a, b", "007"]))
    manifest = land("xlsx", body)
    assert read(store, manifest, a="text") == [{"a": "x", "b": " y\r"}, {"a": "a, b", "b": "007"}]


def test_control_characters_are_what_the_standard_says(store: LandingStore, land: Land) -> None:
    body = xlsx(["a"], ["one_x000D_two _x005F_x000D_ ü 🚕\nline"])
    assert read(store, land("xlsx", body), a="text") == [{"a": "one\rtwo _x000D_ ü 🚕\nline"}]


def test_a_workbook_that_unpacks_to_more_than_the_limits_is_refused_before_it_is(
    store: LandingStore, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = shared(xlsx(["a"], ["x"]), " " * (129 * 1024 * 1024))
    assert len(bomb) < 300_000
    assert fault_of(store, land("xlsx", bomb)).startswith("its texts and styles would be 1352")
    monkeypatch.setattr(workbook, "_SHEET_BYTES", 300)
    assert fault_of(store, land("xlsx", xlsx(["a"], [1]))).startswith("a sheet would be ")


def test_a_row_that_never_ends_is_refused(store: LandingStore, land: Land) -> None:
    body = changed(xlsx(["a"], [1]), "sheet1.xml", lambda text: text.replace("<v>1</v>", "<v>" + "1" * 70_000_000))
    assert fault_of(store, land("xlsx", body)).startswith("a row of more than 67108864 bytes")


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="￾￿"), max_size=9)
# openpyxl writes no more than 16 digits of a number
_EIGHTHS = st.integers(-(10**9), 10**9).map(lambda number: number / 8)
_CELL = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | _EIGHTHS | _TEXT


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_CELL, min_size=2, max_size=2), max_size=6))
def test_whatever_a_workbook_holds_is_read_as_its_text(
    store: LandingStore, land: Land, rows: list[list[object]]
) -> None:
    def text(value: object) -> str | None:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # as openpyxl writes it
        return (str(value).lower() if isinstance(value, bool) else str(value)) if value not in (None, "") else None

    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    lines: list[list[Any]] = [["a", "b"], *rows]
    for number, row in enumerate(lines, start=1):
        for column, value in enumerate(row, start=1):
            cell: Any = sheet.cell(number, column)
            cell.value = None if value == "" else value
            cell.data_type = "s" if isinstance(value, str) else cell.data_type  # '=' begins no formula here
    got = [[row["a"], row["b"]] for row in read(store, land("xlsx", saved(book)), a="text", b="text")]
    expected = [[text(value) for value in row] for row in rows]
    assert got == [row for row in expected if any(row)]


def test_a_real_month_saved_as_xlsx_is_the_month(store: LandingStore, land: Land, real_data: Path) -> None:
    month = pd.read_csv(real_data / "taxi" / "ge" / "yellow_tripdata_sample_2019-07.csv", nrows=2_000)
    month["pickup_datetime"] = pd.to_datetime(month["pickup_datetime"])
    sink = io.BytesIO()
    month.to_excel(sink, index=False)
    manifest = land("xlsx", sink.getvalue())
    rows = read(
        store, manifest, pickup_datetime="timestamp", total_amount="double", passenger_count="bigint",
        store_and_fwd_flag="text",
    )  # fmt: skip
    assert [row["pickup_datetime"] for row in rows] == month["pickup_datetime"].dt.to_pydatetime().tolist()
    assert [row["total_amount"] for row in rows] == month["total_amount"].tolist()
    assert [row["passenger_count"] for row in rows] == month["passenger_count"].astype(object).where(
        month["passenger_count"].notna(), None
    ).tolist()


_MEASURE = """
import resource, sys
from include.landing.workbook import sheet_rows
def rows(path):
    with open(path, "rb") as file:
        return sum(1 for _ in sheet_rows(file, None))
rows(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(rows(sys.argv[2]), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_stays_flat_however_many_rows_a_sheet_has(tmp_path: Path) -> None:
    """Thirty times the rows may not take 8 MB more: rows that are kept, with their attributes, take 30."""
    for name, count in (("small", 1_000), ("large", 30_000)):
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet()
        for number in range(1, count + 1):
            sheet.append([number, number / 7, number % 2 == 0])
        body = changed(
            saved(book), "sheet1.xml", lambda text: re.sub(r"<row r=", '<row ht="20" customHeight="1" r=', text)
        )
        (tmp_path / name).write_bytes(body)
    out = subprocess.run(
        [sys.executable, "-c", _MEASURE, tmp_path / "small", tmp_path / "large"],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        check=True,
        capture_output=True,
        text=True,
    )
    rows, grown_megabytes = map(int, out.stdout.split())
    assert rows == 30_000
    assert grown_megabytes < 8
