"""A row's number leads to the bytes that were served, in every format."""

import gzip
import io
import json
from collections.abc import Callable, Iterable, Mapping

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.landing import LandingError, LandingStore, Manifest
from include.landing.delimited import CsvOptions
from include.landing.json_records import landed_records, masked
from include.landing.locate import Place, locate
from include.landing.manifest import Format
from include.landing.records import iter_batches
from tests.conftest import S3

PAGES = [
    '{"meta": {"data": [{}], "id": "ă€"}, "data": [{"id": 1, "name": "Ană"},\n  {"id": 2,  "name": "Bo"}]}'.encode(),
    b'{"data": []}',
    '{"data": [ {"id": 3, "name": "€"}, {"id": 4} ]}'.encode(),
]
CSV = 'id,name\r\n1,Ană\r\n\r\n2,"two\r\nlines"\r\n3,"a ""quote"""\r\n4,last'


def landed(
    s3: S3,
    format: Format,
    contents: Iterable[bytes],
    *,
    ending: str = "",
    values: Mapping[str, str] | None = None,
) -> Manifest:
    store = LandingStore(s3.client, s3.bucket)
    with store.begin(source="shop", entity="things", partition="all", run_id="r", format=format) as writer:
        for content in contents:
            if format == "json":
                writer.add_document(content, values=values)
            else:
                writer.add_file([content], ending or format, origin="s3://b/drop/x", origin_etag='"1"')
        return writer.commit({"method": "GET"})


def content_of(s3: S3, manifest: Manifest, place: Place) -> bytes:
    """The part as it is read by hand: got from S3, decompressed if it is compressed."""
    key = manifest.uri.removeprefix(f"s3://{s3.bucket}/") + place.part.name
    body = s3.client.get_object(Bucket=s3.bucket, Key=key)["Body"].read()
    if manifest.format == "json":
        return pa.CompressedInputStream(pa.BufferReader(body), "zstd").read()  # type: ignore[no-any-return]
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body


def bytes_at(s3: S3, manifest: Manifest, place: Place) -> bytes:
    offset, length = int(place.where["byte_offset"]), int(place.where["byte_length"])
    return content_of(s3, manifest, place)[offset : offset + length]


def test_a_record_of_a_paged_answer_is_found_by_document_and_bytes(s3: S3) -> None:
    manifest = landed(s3, "json", PAGES, values={"city": "Iași"})
    store = LandingStore(s3.client, s3.bucket)
    served = [record for record, _ in landed_records(store, manifest, ("data",))]
    assert len(served) == 4
    for row, record in enumerate(served):
        place = locate(store, manifest, row, records=("data",))
        assert bytes_at(s3, manifest, place) == record == place.record
        assert isinstance(record, bytes)
        assert json.loads(record)["id"] == row + 1
        assert place.where["document"] == (1, 1, 3, 3)[row]
        assert place.asked == {"city": "Iași"}


def test_the_request_that_a_document_answers_is_told(s3: S3) -> None:
    store = LandingStore(s3.client, s3.bucket)
    with store.begin(source="shop", entity="things", partition="all", run_id="r", format="json") as writer:
        for city in ("Oslo", "Oslo", "Lima"):
            writer.add_document(b'{"a": 1}', values={"city": city})
        manifest = writer.commit({})
    assert [locate(store, manifest, row).asked["city"] for row in range(3)] == ["Oslo", "Oslo", "Lima"]


def test_a_dropped_document_is_found_behind_its_byte_order_mark(s3: S3) -> None:
    store = LandingStore(s3.client, s3.bucket)
    with store.begin(source="shop", entity="things", partition="all", run_id="r", format="json") as writer:
        writer.add_document(b'[{"a": 1}]', origin="s3://b/drop/1.json", origin_etag='"1"')
        writer.add_document(b'\xef\xbb\xbf[{"a": 2},\r\n{"a": 3}]', origin="s3://b/drop/2.json", origin_etag='"2"')
        manifest = writer.commit({})
    place = locate(store, manifest, 2)
    assert (place.part.name, place.part.origin, place.part.origin_etag) == (
        "part-00002.ndjson.zst", "s3://b/drop/2.json", '"2"',
    )  # fmt: skip
    assert bytes_at(s3, manifest, place) == b'{"a": 3}'


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_line_of_a_file_is_found_by_number_and_bytes(s3: S3, pack: Callable[[bytes], bytes]) -> None:
    files = ['\ufeff{"a": "ă"} \n\n{"a": 2}\r\n'.encode(), b'{"a": 3}\n{"a": 4}']
    manifest = landed(s3, "ndjson", map(pack, files), ending="ndjson.gz" if pack is gzip.compress else "ndjson")
    store = LandingStore(s3.client, s3.bucket)
    served = [record for record, _ in landed_records(store, manifest)]
    found = [locate(store, manifest, row) for row in range(4)]
    assert [place.where["line"] for place in found] == [1, 3, 1, 2]
    assert [bytes_at(s3, manifest, place) for place in found] == served
    assert content_of(s3, manifest, found[2]).splitlines()[int(found[2].where["line"]) - 1] == b'{"a": 3}'


def test_rows_that_a_function_made_of_a_record_lead_to_the_record(s3: S3) -> None:
    def twice(record: Mapping[str, object]) -> list[Mapping[str, object]]:
        return [record] * 2 if record["id"] != 3 else []

    manifest = landed(s3, "json", PAGES)
    store = LandingStore(s3.client, s3.bucket)
    found = [locate(store, manifest, row, records=("data",), transform=twice) for row in range(6)]
    assert [json.loads(place.record or b"")["id"] for place in found] == [1, 1, 2, 2, 4, 4]


def test_what_is_no_record_is_counted_as_the_load_counts_it(s3: S3) -> None:
    manifest = landed(s3, "ndjson", [b'{"a": 1}\nno JSON \n7\n{"a": 4}\n'])
    store = LandingStore(s3.client, s3.bucket)
    assert len(list(landed_records(store, manifest))) == 4
    for transform in (None, lambda record: [record]):
        found = [locate(store, manifest, row, transform=transform) for row in range(4)]
        assert [place.record for place in found] == [b'{"a": 1}', b"no JSON", b"7", b'{"a": 4}']


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1250"])
def test_a_row_of_csv_is_found_by_its_lines(s3: S3, encoding: str) -> None:
    manifest = landed(s3, "csv", [CSV.encode(encoding), CSV.encode(encoding)])
    store = LandingStore(s3.client, s3.bucket)
    options = CsvOptions(encoding=encoding)
    batches = iter_batches(
        store, manifest, fields={"id": "bigint", "name": "text"}, new_columns="freeze", csv_options=options
    )
    rows = batches.read_all().to_pylist()
    assert [row["_row"] for row in rows] == list(range(8))
    lines = CSV.split("\r\n")
    for row in rows:
        place = locate(store, manifest, row["_row"], csv_options=options)
        assert place.part.name == f"part-0000{1 + row['_row'] // 4}.csv"
        assert place.fields == {"id": str(row["id"]), "name": row["name"]}
        first, last = int(place.where["first_line"]), int(place.where["last_line"])
        served = "\r\n".join(lines[first - 1 : last])
        bare = "utf-16-le" if encoding == "utf-16" else encoding.removesuffix("-sig")
        assert (place.record or b"").decode(bare).rstrip("\r\n") == served
        assert (place.record or b"") in content_of(s3, manifest, place)
    assert locate(store, manifest, 1, csv_options=options).where == {"first_line": 4, "last_line": 5}


def test_a_row_of_parquet_is_found_by_file_and_row_group(s3: S3) -> None:
    contents = []
    for first in (0, 3000):
        file = io.BytesIO()
        pq.write_table(pa.table({"ID": range(first, first + 3000)}), file, row_group_size=1100)
        contents.append(file.getvalue())
    manifest = landed(s3, "parquet", contents)
    store = LandingStore(s3.client, s3.bucket)
    for row in (0, 1099, 1100, 2999, 3000, 5999):
        place = locate(store, manifest, row)
        file_rows = pq.ParquetFile(io.BytesIO(content_of(s3, manifest, place)))
        group = file_rows.read_row_group(int(place.where["row_group"])).to_pylist()
        assert str(group[int(place.where["row_in_group"])]["ID"]) == place.fields["ID"] == str(row)
        assert file_rows.read().to_pylist()[int(place.where["row"])]["ID"] == row


def test_a_row_of_a_workbook_is_found_by_sheet_and_row(s3: S3) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Notes"  # type: ignore[union-attr]
    sheet = book.create_sheet("Data")
    for row in (["id", "name"], [1, "a"], [], [2, "b"]):
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    manifest = landed(s3, "xlsx", [file.getvalue()])
    place = locate(LandingStore(s3.client, s3.bucket), manifest, 1, sheet="Data")
    assert place.where == {"sheet": "Data", "sheet_row": 4}
    read = openpyxl.load_workbook(io.BytesIO(content_of(s3, manifest, place)))["Data"]
    assert [str(cell.value) for cell in read[4]] == list(place.fields.values()) == ["2", "b"]


def test_the_part_that_is_booked_is_the_only_one_read(s3: S3) -> None:
    manifest = landed(s3, "ndjson", [b'{"a": 1}\n', b'{"a": 2}\n'])
    s3.client.delete_object(Bucket=s3.bucket, Key=manifest.uri.split("/", 3)[3] + "part-00001.ndjson")
    place = locate(LandingStore(s3.client, s3.bucket), manifest, 1, part=("part-00002.ndjson", 1))
    assert place.record == b'{"a": 2}'


@pytest.mark.parametrize(("row", "says"), [(4, "holds no row 4"), (-1, "_absent_since")])
def test_a_row_that_stands_nowhere_is_said_so(s3: S3, row: int, says: str) -> None:
    manifest = landed(s3, "json", PAGES)
    with pytest.raises(LandingError, match=says):
        locate(LandingStore(s3.client, s3.bucket), manifest, row, records=("data",))


def test_personal_members_are_masked_and_the_rest_stands_as_it_is() -> None:
    record = '{ "id":1.50, "name": "Ană \\" }", "address": {"street": "x"}, "note": "name"}'.encode()
    assert masked(record, {"name", "address"}) == b'{ "id":1.50, "name": "***", "address": "***", "note": "name"}'
