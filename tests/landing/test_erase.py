"""One person's records become anonymous, and not a byte of anybody else's changes, in every format."""

import gzip
import io
import json
from collections.abc import Mapping
from dataclasses import replace

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.landing import LandingError
from include.landing.delimited import CsvOptions
from include.landing.erase import Erasing, Shape, read, rewrite
from include.landing.needles import Needles

PERSON, OTHER, LONGER = "1960101223344", "2960101223344", "19601012233445"
PSEUDONYM = "erased-0123456789abcdef0123456789abcdef"
SHAPE = Shape("json", "number", {"number": True, "name": True, "born": False}, records=("data",))
ERASING = Erasing(frozenset({PERSON, PSEUDONYM}), PSEUDONYM, Needles({"Ana Pop"}))


def rewritten(content: bytes, shape: Shape, erasing: Erasing = ERASING) -> tuple[bytes, int]:
    target = io.BytesIO()
    count = rewrite(io.BytesIO(content), target, shape, erasing)
    return target.getvalue(), count


def test_in_a_page_of_json_all_but_the_persons_values_stays_byte_for_byte() -> None:
    page = (
        b'{ "page":1,\t"data" :[{"number":"%(other)b","name":"Ana Pop", "x":1.50},'
        b'{"x": 1e0 , "name":"Ana \\u0050op","number" : "%(person)b","born":"1960-10-12","u\\u0041":"\\/"} ,'
        b'{"number":"%(longer)b","name":"Ana Pop"}],"end":[ ]}\n{"data": [{"number": %(person)b}, {"number": null}]}\n'
    ) % {b"person": PERSON.encode(), b"other": OTHER.encode(), b"longer": LONGER.encode()}
    made, count = rewritten(page, SHAPE)
    assert count == 2
    assert made == (
        b'{ "page":1,\t"data" :[{"number":"%(other)b","name":"Ana Pop", "x":1.50},'
        b'{"x": 1e0 , "name":"erased","number" : "%(person)b","born":null,"u\\u0041":"\\/"} ,'
        b'{"number":"%(longer)b","name":"Ana Pop"}],"end":[ ]}\n'
        b'{"data": [{"number": "%(person)b"}, {"number": null}]}\n'
    ) % {b"person": PSEUDONYM.encode(), b"other": OTHER.encode(), b"longer": LONGER.encode()}


@given(
    st.lists(st.sampled_from([PERSON, OTHER, LONGER, f" {PERSON} ", "", "x"])), st.sampled_from(["\n", "\r\n", "\r"])
)
def test_in_csv_the_lines_of_others_stay_as_they_are(numbers: list[str], end: str) -> None:
    shape = replace(SHAPE, format="csv")
    lines = [f'"Number";name;born;"z ""z"""{end}'.replace(";", ",")]
    lines += [f'{number},"a{end}""b""",1960-10-12,7{end}' for number in numbers]
    made, count = rewritten("".join(lines).encode(), shape)
    expected = [
        f"{PSEUDONYM},erased,,7{end}" if number.strip() == PERSON else line
        for number, line in zip(["", *numbers], lines, strict=True)
    ]
    assert made.decode() == "".join(expected)
    assert count == sum(number.strip() == PERSON for number in numbers)
    assert rewritten(made, shape) == (made, 0)  # what is erased stays as it is


@pytest.mark.parametrize(
    ("encoding", "mark"), [("cp1252", b""), ("utf-8-sig", b""), ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")]
)
def test_csv_keeps_its_encoding_mark_and_delimiter(encoding: str, mark: bytes) -> None:
    options = CsvOptions(encoding="cp1252", delimiter=";", quote="'")
    text = f"number;name\n{OTHER};'é;é'\n{PERSON};é\n"
    made, count = rewritten(mark + text.encode(encoding), replace(SHAPE, format="csv", csv_options=options))
    assert count == 1
    assert made == mark + f"number;name\n{OTHER};'é;é'\n{PSEUDONYM};erased\n".encode(encoding)


def test_text_that_is_no_record_loses_the_persons_values_and_nothing_else() -> None:
    torn = f"number,name\n{OTHER},Ana Pop\n{PERSON},Ana Pop,1,2\n{PERSON}5,Ana Pop,1,2\n"
    made, count = rewritten(torn.encode(), replace(SHAPE, format="csv"))
    assert (made.decode(), count) == (torn.replace(f"{PERSON},Ana Pop", f"{PSEUDONYM},erased"), 1)
    line = f'{{"number": "{PERSON}", "name": "Ana Pop"'
    made, count = rewritten(line.encode(), replace(SHAPE, format="ndjson", records=()))
    assert (made.decode(), count) == (line.replace(PERSON, PSEUDONYM).replace("Ana Pop", "erased"), 1)


def test_compressed_lines_are_compressed_again() -> None:
    lines = f'{{"number":"{OTHER}"}}\n{{"number":"{PERSON}"}}\n'
    made, count = rewritten(gzip.compress(lines.encode()), replace(SHAPE, format="ndjson", records=()))
    assert (gzip.decompress(made).decode(), count) == (lines.replace(PERSON, PSEUDONYM), 1)


def test_in_parquet_the_values_of_others_stay_and_a_number_may_be_who_it_is() -> None:
    columns: Mapping[str, list[object]] = {
        "Number": [int(PERSON), int(OTHER), None],
        "name": ["Ana Pop", "Ana Pop", None],
        "born": [1, 2, 3],
        "x": [1.5, None, float("inf")],
    }
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=2)
    made, count = rewritten(file.getvalue(), replace(SHAPE, format="parquet"))
    assert count == 1
    assert pq.read_table(io.BytesIO(made)).to_pydict() == {
        "Number": [PSEUDONYM, OTHER, None],
        "name": ["erased", "Ana Pop", None],
        "born": [None, 2, 3],
        "x": [1.5, None, float("inf")],
    }


def test_a_workbook_with_the_person_is_refused_and_one_without_stays() -> None:
    for number, is_refused in ((PERSON, True), (OTHER, False)):
        book, file = openpyxl.Workbook(), io.BytesIO()
        assert book.active is not None
        for row in (("number", "name"), (number, "Ana Pop")):
            book.active.append(row)
        book.save(file)
        shape = replace(SHAPE, format="xlsx")
        if is_refused:
            with pytest.raises(LandingError, match="does not write workbooks"):
                rewritten(file.getvalue(), shape)
        else:
            assert rewritten(file.getvalue(), shape) == (file.getvalue(), 0)


def test_all_text_is_read_to_search_in_also_what_no_record_holds() -> None:
    page = b'{"note": "' + PERSON.encode() + b'", "data": [{"number": "\\u0031", "more": ["a\\nAna Pop"]}]}\nno JSON\n'
    found = list(read(io.BytesIO(page), SHAPE))
    assert [one.personal for one in found if one.personal] == [{"number": "1"}]
    text = "\n".join(one.text for one in found)
    assert Needles({PERSON, "1", "Ana Pop", "no JSON"}).found(text) == {PERSON, "1", "Ana Pop", "no JSON"}


@pytest.mark.parametrize(
    ("text", "is_there"),
    [
        (PERSON, True),
        (f"x-{PERSON}.", True),
        (f"{PERSON}0", False),
        (f"0{PERSON}", False),
        (f"_{PERSON}", False),
        (f'"{PERSON}é"', False),
        ("", False),
    ],
)
def test_a_value_is_found_as_a_whole_word(text: str, is_there: bool) -> None:
    assert Needles({PERSON}).found(text) == ({PERSON} if is_there else set())


def test_a_value_of_several_words_ends_with_a_word() -> None:
    assert Needles({"Ana Pop"}).found("Ana Popescu, Mariana Pop") == set()
    assert Needles({"Ana Pop"}).found("by Ana Pop!") == {"Ana Pop"}


@given(st.text(st.sampled_from('ab "\\é+')), st.text(st.sampled_from('ab "\\é+')), st.text(st.sampled_from("ab.+ ")))
def test_values_of_every_kind_are_found_as_they_stand_and_as_json(value: str, before: str, behind: str) -> None:
    if any(one.isalnum() for one in value):
        for text in (f"{before} {value} {behind}", json.dumps({"x": value}), json.dumps([value], ensure_ascii=False)):
            assert value in Needles({value}).found(text)
        wiped, count = Needles({value}).wiped(f"{before} {value} {behind}".encode())
        assert count
        assert len(wiped) == len(f"{before} {value} {behind}".encode())
        assert not Needles({value}).found(wiped.decode())
