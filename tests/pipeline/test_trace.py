"""From a row that readers have to the bytes that were served: over every format, through the real load."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.landing import LandingStore
from include.pipeline import steps, trace
from include.pipeline.model import load_source
from include.pipeline.partition import RunPartition
from local.trace import lines
from tests.conftest import S3, Warehouse

PROJECT = Path(__file__).resolve().parents[2]
DAY = RunPartition("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC))
PERSON = "Ană Pop"
SERVED = {
    "pages": [
        f'{{"items": [{{"id": 1, "person": "{PERSON}"}}, {{"id": 2}}]}}'.encode(),
        b'{"items": [{"id": 3,  "person": null}]}',
    ],
    "lines": [f'{{"id": 1}}\n{{"id": 2, "person": "{PERSON}"}}\n'.encode(), b'{"id": 3}\n'],
    "delimited": [f'id,person\r\n1,\r\n2,"{PERSON},\r\nof old"\r\n'.encode(), b"id,person\n3,x\n"],
    "columns": [[1, 2], [3]],
    "sheets": [[1, 2], [3]],
}
FORMATS = {"pages": "json", "lines": "ndjson", "delimited": "csv", "columns": "parquet", "sheets": "xlsx"}


def parquet(ids: list[int]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"id": ids, "person": [PERSON] * len(ids)}), file, row_group_size=1)
    return file.getvalue()


def workbook(ids: list[int]) -> bytes:
    book, file = openpyxl.Workbook(), io.BytesIO()
    assert book.active is not None
    book.active.append(["id", "person"])
    for number in ids:
        book.active.append([number, PERSON])
    book.save(file)
    return file.getvalue()


MADE: dict[str, list[bytes]] = SERVED | {  # type: ignore[assignment]
    "columns": [parquet(ids) for ids in ([1, 2], [3])],
    "sheets": [workbook(ids) for ids in ([1, 2], [3])],
}


class Bench:
    """A source of five entities, one a format; their raw tables as marts of one key."""

    def __init__(self, folder: Path, s3: S3, warehouse: Warehouse) -> None:
        self.sources, self.s3, self.warehouse = folder, s3, warehouse
        self.store = LandingStore(s3.client, s3.bucket)
        entities = "\n".join(
            f"  {name}: {{description: Things., files: '{name}/*', format: {format}, load: {{mode: append}}, "
            f"fields: {{id: bigint, person: {{type: text, pii: name}}}}{', records: items' * (format == 'json')}}}"
            for name, format in FORMATS.items()
        )
        (folder / "shop").mkdir(parents=True)
        (folder / "shop" / "source.yml").write_text(
            "description: A shop.\nowner: tests\nschedule: null\nconnection: shop\n"
            f"partition: {{grain: day}}\nentities:\n{entities}\n"
        )
        self.manifest = folder / "manifest.json"

    def publish(self, name: str) -> None:
        """Drop the files of an entity, land and load them, and make a mart of its rows."""
        source = load_source("shop", self.sources)
        dsn = self.warehouse.dsn("sluice_loader")
        for number, content in enumerate(MADE[name]):
            self.s3.client.put_object(Bucket=self.s3.bucket, Key=f"drop/shop/{name}/{number}", Body=content)
        landing = steps.fetch_files(source, name, DAY, {}, store=self.store, dsn=dsn, run_id="manual__1")
        assert steps.load(source, name, [landing], store=self.store, dsn=dsn) == 3
        identifier = "cast(payload ->> 'id' as bigint)" if FORMATS[name] in ("json", "ndjson") else "id"
        self.execute(
            f"create table analytics.{name} as select {identifier} as id, _landing_id, _row from raw.shop__{name}; "
            f"grant select on analytics.{name} to operator"
        )
        self.describe(name)

    def describe(self, name: str, key: tuple[str, ...] = ("id",), **meta: Any) -> None:  # noqa: ANN401
        """Write what dbt's manifest says of a mart."""
        node = {
            "resource_type": "model",
            "name": name,
            "tags": ["marts", "shop"],
            "original_file_path": f"models/{name}.sql",
            "config": {"meta": {"publish": {"mode": "upsert"}, **meta}},
            "constraints": [{"type": "primary_key", "columns": list(key)}],
            "columns": {},
        }
        self.manifest.write_text(json.dumps({"nodes": {name: node}}))

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.warehouse.server.dsn(self.warehouse.dbname))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def trace(self, mart: str, key: str, *, clear: bool = False) -> trace.Trace:
        operator = self.warehouse.dsn("operator")
        return trace.trace(operator, self.store, self.manifest, mart, key, clear=clear, sources=self.sources)


@pytest.fixture
def bench(tmp_path: Path, s3: S3, warehouse: Warehouse) -> Iterator[Bench]:
    made = Bench(tmp_path / "sources", s3, warehouse)
    yield made
    for name in (*FORMATS, "made"):
        made.execute(f"drop table if exists analytics.{name}; drop table if exists raw.shop__{name}")
    made.execute("truncate ops.landing cascade")


@pytest.mark.parametrize("name", FORMATS)
def test_every_row_leads_to_what_was_served(bench: Bench, name: str) -> None:
    bench.publish(name)
    for number in (1, 2, 3):
        found = bench.trace(f"analytics.{name}", str(number), clear=True)
        assert found.landing is not None
        assert found.place is not None
        part = 0 if number < 3 else 1
        served = MADE[name][part]
        dropped = f"drop/shop/{name}/{part}"
        where, landed = found.place.where, found.place.part
        assert landed.origin == f"s3://{bench.s3.bucket}/{dropped}"
        assert landed.origin_etag == bench.s3.client.head_object(Bucket=bench.s3.bucket, Key=dropped)["ETag"]
        match FORMATS[name]:
            case "json" | "ndjson":
                at = int(where["byte_offset"])
                assert served[at : at + int(where["byte_length"])].decode() == found.shown
                assert json.loads(found.shown)["id"] == number
            case "csv":
                kept = served.decode().splitlines(keepends=True)
                text = "".join(kept[int(where["first_line"]) - 1 : int(where["last_line"])])
                assert text.rstrip("\r\n") == found.shown
                assert found.shown.startswith(f"{number},")
            case "parquet":
                group = pq.ParquetFile(io.BytesIO(served)).read_row_group(int(where["row_group"])).to_pylist()
                assert group[int(where["row_in_group"])]["id"] == number
                assert json.loads(found.shown) == {"id": str(number), "person": PERSON}
            case "xlsx":
                sheet = openpyxl.load_workbook(io.BytesIO(served))[str(where["sheet"])]
                assert sheet[int(where["sheet_row"])][0].value == number
                assert json.loads(found.shown) == {"id": str(number), "person": PERSON}


@pytest.mark.parametrize("name", FORMATS)
def test_personal_values_are_masked_unless_asked_for(bench: Bench, name: str) -> None:
    bench.publish(name)
    masked, clear = (
        bench.trace(name, "2" if name in ("lines", "delimited") else "1", clear=one) for one in (False, True)
    )
    assert PERSON not in "\n".join(lines(masked, clear=False))
    assert "***" in masked.shown
    assert "masked: person" in "\n".join(lines(masked, clear=False))
    assert PERSON in "\n".join(lines(clear, clear=True))
    assert "in clear" in "\n".join(lines(clear, clear=True))


@pytest.mark.parametrize("name", FORMATS)
def test_one_query_gives_object_and_position(bench: Bench, name: str) -> None:
    bench.publish(name)
    found = bench.trace(name, "3")
    query = trace.PLACE_OF_ROW.format(mart=f"analytics.{name}", key="row_of_mart.id = 3")
    ((uri, part, object_uri, row, fetched_at, request, sha256),) = bench.execute(query)
    assert found.landing is not None
    assert found.place is not None
    assert (uri, fetched_at, request, sha256) == (
        found.landing.uri, found.landing.fetched_at, found.landing.request, found.landing.sha256,
    )  # fmt: skip
    assert (part, object_uri, row) == (found.place.part.name, uri + part, found.place.row)


def test_the_documented_query_is_the_one(bench: Bench) -> None:
    page = (PROJECT / "docs" / "how-a-row-travels.md").read_text()
    documented = trace.PLACE_OF_ROW.format(
        mart="analytics.fact_taxi_trip", key="row_of_mart.trip_key = 2024012000000000"
    )
    assert documented.strip() in page


def test_a_row_made_of_many_says_so_and_leads_on(bench: Bench) -> None:
    bench.publish("pages")
    bench.execute(
        "create table analytics.made as select 'all' as name, max(_landing_id) as _landing_id from analytics.pages; "
        "grant select on analytics.made to operator"
    )
    rows = "select id, _landing_id, _row from analytics.pages where %(name)s = 'all' order by id"
    bench.describe("made", ("name",), lineage={"rows": rows})
    found = bench.trace("made", "all")
    assert found.place is None
    assert found.landing is not None
    assert [row["_row"] for row in found.rows] == [0, 1, 2]
    assert found.rows_query is not None
    assert bench.execute(found.rows_query) == [tuple(row.values()) for row in found.rows]
    assert "made of several" in "\n".join(lines(found, clear=False))


def test_a_row_of_no_landing_says_why(bench: Bench) -> None:
    bench.execute(
        "create table analytics.made as select 1 as day, date '2026-01-01' as on_date; "
        "grant select on analytics.made to operator"
    )
    bench.describe("made", ("day", "on_date"), lineage={"none": "it is a calendar"})
    assert bench.trace("made", "1,2026-01-01").note == "it is a calendar"


@pytest.mark.parametrize(
    ("mart", "key", "says"),
    [
        ("nothing", "1", "no published mart 'nothing': choose one of pages"),
        ("pages", "99", "has no row of this key"),
        ("pages", "one", "the key is no bigint"),
    ],
)
def test_what_cannot_be_traced_is_said(bench: Bench, mart: str, key: str, says: str) -> None:
    bench.publish("pages")
    with pytest.raises(trace.TraceError, match=says):
        bench.trace(mart, key)


def test_every_value_of_a_key_is_asked_for(bench: Bench) -> None:
    bench.describe("made", ("day", "service"))
    with pytest.raises(trace.TraceError, match="its key is day, service, and 1 of 2 values were given"):
        bench.trace("made", "2026-01-01")
