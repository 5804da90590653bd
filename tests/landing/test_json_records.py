"""Records are cut out of documents byte for byte."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.landing.json_records import iter_records
from include.landing.manifest import LandingError


@pytest.mark.parametrize(
    ("document", "path", "records"),
    [
        (b'{"a": 1}', "", [b'{"a": 1}']),
        (b' [ {"a" : 1 } ,{}]\n', "", [b'{"a" : 1 }', b"{}"]),
        (b"[]", "", []),
        (b'{"m": {"data": [{}]}, "data" :\t[ {"n": 1e999}, {"n": -0.10} ] }', "data",
         [b'{"n": 1e999}', b'{"n": -0.10}']),
        (b'{"a": {"b": [{"c": []}]}}', "a.b", [b'{"c": []}']),
        (b'{"data": {"id": "1"}}', "data", [b'{"id": "1"}']),
        (b'{"meta": {"result_count": 0}}', "data", []),
        (b'{"data": null}', "data", []),
        (b'{"data": []}', "data", []),
        (b'{"a": [1, 2]}', "a.b", []),
        (b'{"d\\u0061ta": [{"a": "\\ud83d\\ude00"}]}', "data", [b'{"a": "\\ud83d\\ude00"}']),
        (b'{"data": [{"a": "\\u0000 \xc3\xbc"}]}', "data", [b'{"a": "\\u0000 \xc3\xbc"}']),
        (b'{"data": [{"n": %s}]}' % (b"7" * 5000), "data", [b'{"n": %s}' % (b"7" * 5000)]),
    ],
)  # fmt: skip
def test_each_record_is_its_own_bytes(document: bytes, path: str, records: list[bytes]) -> None:
    assert list(iter_records(document, path.split(".") if path else ())) == records


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b'{"data"', b'{"data": [', b'{"data": [{}', b'{"data": [{} {}]}', b'{"data" [{}]}', b'{data: []}',
     b'{"data": [{"a": "\xff"}]}', b"<html>", b'{"data": [{,}]}', b'{"data": ' + b"[" * 100_000],
)  # fmt: skip
def test_what_is_not_json_is_refused(document: bytes) -> None:
    with pytest.raises(LandingError, match="a document is not JSON"):
        list(iter_records(document, ["data"]))


@pytest.mark.parametrize(
    "document",
    [b'{"a": "\xff"}', b'{"a": 01}', b'{"a": "\n"}', b'{"a": tru}', b'{"a": 1,}', b'{"a" 1}', b'{"\xc3": 1}',
     b'{"a": [}'],
)  # fmt: skip
def test_what_is_no_object_from_end_to_end_is_refused_too(document: bytes) -> None:
    with pytest.raises(LandingError, match="a document is not JSON"):
        list(iter_records(document))


@pytest.mark.parametrize("document", [b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}"])
def test_what_python_reads_is_a_record_though_others_do_not(document: bytes) -> None:
    assert list(iter_records(document)) == [document]


@pytest.mark.parametrize("document", [b'{"data": [1]}', b'{"data": "text"}', b'{"data": [{}, null]}'])
def test_a_record_that_is_no_object_is_refused(document: bytes) -> None:
    with pytest.raises(LandingError, match="a record is no JSON object but"):
        list(iter_records(document, ["data"]))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    records=st.lists(st.dictionaries(st.text(), _VALUES, max_size=4), max_size=6),
    before=st.dictionaries(st.text().filter(lambda name: name != "x"), _VALUES, max_size=3),
    behind=st.dictionaries(st.text().filter(lambda name: name != "y"), _VALUES, max_size=2),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
)
def test_whatever_stands_around_them_records_come_whole(
    records: list[dict[str, object]],
    before: dict[str, object],
    behind: dict[str, object],
    indent: int | None,
    ascii_only: bool,
) -> None:
    document = json.dumps({**before, "x": {"y": records, **behind}}, indent=indent, ensure_ascii=ascii_only)
    try:
        found = list(iter_records(document.encode(), ["x", "y"]))
    except UnicodeEncodeError:
        return  # half a surrogate pair, written out: no UTF-8
    assert [json.loads(one) for one in found] == records
    assert all(one.decode() in document for one in found)
    assert [[one] for one in found] == [list(iter_records(one)) for one in found]
