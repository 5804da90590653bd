"""Fetch, land and load, step by step: against the sandbox, a real S3 server and a real warehouse."""

import io
import json
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.extract import ApiClient, KeyRefused
from include.landing import LandingError, LandingStore
from include.landing.json_records import landed_records
from include.pipeline import steps
from include.pipeline.model import Source, load_source
from include.pipeline.partition import PartitionRange, RunPartition, partition_of_run
from include.warehouse.publish import publish
from tests.conftest import S3, Warehouse
from tests.extract.conftest import Answer, Request, Server
from tests.pipeline.conftest import KEY
from tests.sources.way import api_of


class Bench:
    """What a test of a step needs: fetch and load with everything filled in."""

    def __init__(self, sandbox: str, s3: S3, warehouse: Warehouse) -> None:
        self.sandbox = sandbox
        self.store = LandingStore(s3.client, s3.bucket)
        self.s3 = s3
        self.warehouse = warehouse
        self.dsn = warehouse.dsn("sluice_loader")

    def source(self, name: str) -> Source:
        """A source under a name of its own, so that tests of one module do not meet in the warehouse."""
        return load_source(name).model_copy(update={"name": f"{name}_{self.s3.bucket.replace('-', '_')}"})

    def partition(self, source: Source, entity: str, asked: str | None = None) -> RunPartition:
        from datetime import UTC, datetime

        now = datetime(2026, 11, 21, 13, 5, tzinfo=UTC)
        return partition_of_run(
            source.partition_of(entity), asked=asked, logical_date=None, run_after=now, is_scheduled=False
        )

    def fetch(
        self, source: Source, entity: str, asked: str | None = None, key: str = KEY, **params: Sequence[str]
    ) -> steps.Landing:
        api = api_of(source, self.sandbox, key=key, retries=1)
        with ApiClient(api, first_wait_seconds=0.01, longest_wait_seconds=0.05) as client:
            return steps.fetch(
                source,
                entity,
                self.partition(source, entity, asked),
                {name: list(param.default) for name, param in source.params.items()} | params,
                client=client,
                store=self.store,
                dsn=self.dsn,
                run_id="manual__test",
            )

    def load(self, source: Source, landing: steps.Landing) -> int:
        return steps.load(source, landing["entity"], [landing], store=self.store, dsn=self.dsn)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            found = cursor.fetchall()
        connection.close()
        return found

    def objects(self) -> list[str]:
        listed = self.s3.client.list_objects_v2(Bucket=self.s3.bucket).get("Contents", [])
        return sorted(entry["Key"] for entry in listed)

    def break_api(self, **fault: object) -> None:
        body = json.dumps([fault]).encode()
        request = urllib.request.Request(  # noqa: S310 - the sandbox's own address
            f"{self.sandbox}/_sandbox/faults", data=body, method="PUT", headers={"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).close()  # noqa: S310

    def mend_api(self) -> None:
        request = urllib.request.Request(f"{self.sandbox}/_sandbox/faults", method="DELETE")  # noqa: S310
        urllib.request.urlopen(request).close()  # noqa: S310


@pytest.fixture
def bench(sandbox: str, s3: S3, warehouse: Warehouse) -> Iterator[Bench]:
    made = Bench(sandbox, s3, warehouse)
    yield made
    made.mend_api()


def test_a_month_of_trips_goes_from_the_api_to_raw(bench: Bench) -> None:
    source = bench.source("tlc")
    landing = bench.fetch(source, "green_trips", asked="2024-03-15")
    assert landing["partition"] == "2024-03"
    assert bench.load(source, landing) == 1000
    ((rows, landings, last),) = bench.rows(
        f"select count(*), count(distinct _landing_id), max(_row) from raw.{source.table('green_trips')}"
    )
    assert (rows, landings, last) == (1000, 1, 999)


def test_a_large_file_that_was_changed_in_s3_leaves_nothing_in_raw_though_all_of_it_can_be_read(bench: Bench) -> None:
    source, file = bench.source("tlc"), io.BytesIO()
    distances = pa.table({"trip_distance": np.random.default_rng(1).random(1_200_000)})
    pq.write_table(distances, file, compression="none", use_dictionary=False)
    about = {"source": source.name, "entity": "green_trips", "partition": "2024-03"}
    with bench.store.begin(**about, run_id="test", format="parquet") as writer:
        writer.add_file([file.getvalue()], "parquet")
        manifest = writer.commit({})
    steps.book(bench.dsn, manifest)
    landing = steps.Landing(landing_id=manifest.landing_id, entity="green_trips", partition="2024-03", uri=manifest.uri)
    changed = bytearray(file.getvalue())
    changed[5_000_000] ^= 1
    key = manifest.uri.removeprefix(f"s3://{bench.s3.bucket}/") + manifest.parts[0].name
    bench.s3.client.put_object(Bucket=bench.s3.bucket, Key=key, Body=bytes(changed))
    with pytest.raises(LandingError, match=r"its content has sha256 .* it was changed after landing"):
        bench.load(source, landing)
    count = f"select count(*) from raw.{source.table('green_trips')}"
    assert bench.rows(count) == [(0,)]
    bench.s3.client.put_object(Bucket=bench.s3.bucket, Key=key, Body=file.getvalue())
    assert bench.load(source, landing) == 1_200_000
    assert bench.rows(count) == [(1_200_000,)]


def test_zones_keep_their_texts(bench: Bench) -> None:
    source = bench.source("tlc")
    assert bench.load(source, bench.fetch(source, "zones")) == 265
    texts = bench.rows(
        f"select borough, zone, service_zone from raw.{source.table('zones')} where locationid in (264, 265) order by 2"
    )
    assert texts == [("Unknown", "NA", "N/A"), ("Unknown", "NV", "N/A")]


def test_cities_are_landed_in_one_object_and_loaded_by_key(bench: Bench) -> None:
    source = bench.source("openweather")
    landing = bench.fetch(source, "observations", city=[], cities=["Oslo", "Lima", "London"])
    assert landing["partition"] == "2026-11-21T13"
    assert [key.rsplit("/")[-1] for key in bench.objects()] == ["_manifest.json", "part-00001.ndjson.zst"]
    assert bench.load(source, landing) == 3
    names = bench.rows(f"select payload ->> 'name' from raw.{source.table('observations')} order by _row")
    assert names == [("Oslo",), ("Lima",), ("London",)]


def test_one_unknown_city_is_recorded_and_the_others_go_on(bench: Bench) -> None:
    source = bench.source("openweather")
    landing = bench.fetch(source, "observations", cities=["Oslo", "Atlantis", "Lima"])
    assert bench.load(source, landing) == 2
    refused = bench.rows(f"select refused from ops.landing where landing_id = {landing['landing_id']}")[0][0]
    assert [(one["params"], one["status"]) for one in refused] == [({"city": "Atlantis"}, 404)]
    assert "city not found" in refused[0]["message"]


@pytest.mark.parametrize("slow", [0, 7, 31])
def test_a_slow_answer_holds_up_no_request_but_its_own(slow: int, s3: S3, warehouse: Warehouse) -> None:
    """Whichever place it has among those that are asked together: another is asked while it is waited for."""
    behind, came = threading.Event(), []

    def answer(request: Request) -> Answer:
        (name,) = request.query["q"]
        if name == f"City {slow}":
            came.append(behind.wait(timeout=10))
        elif name == f"City {slow + 8}":
            behind.set()
        return Answer(body=json.dumps({"name": name}).encode())

    api = Server()
    api.answer = answer
    bench = Bench(api.url, s3, warehouse)
    names = [f"City {number}" for number in range(64)]
    landing = bench.fetch(bench.source("openweather"), "observations", cities=names)
    api.close()
    assert came == [True]
    landed = landed_records(bench.store, bench.store.read(landing["uri"]), ())
    assert [json.loads(record)["name"] for record, _ in landed if isinstance(record, bytes)] == names


def test_when_every_city_is_unknown_the_fetch_fails_and_lands_nothing(bench: Bench) -> None:
    with pytest.raises(steps.FetchError, match=r"knows none of what was asked for \(2 requests refused, .*Atlantis"):
        bench.fetch(bench.source("openweather"), "observations", cities=["Atlantis", "El Dorado"])
    assert bench.objects() == []


def test_a_wrong_key_names_the_connection_and_not_the_key(bench: Bench) -> None:
    wrong = "f" * 32
    with pytest.raises(KeyRefused, match=r"connection 'openweather': the API refused its key \(HTTP 401") as refusal:
        bench.fetch(bench.source("openweather"), "observations", key=wrong)
    assert wrong not in str(refusal.value)
    assert bench.objects() == []


def test_a_month_that_is_not_published_is_nothing_to_do(bench: Bench) -> None:
    with pytest.raises(
        steps.NothingToDo, match=r"2026-11 is not published: .*yellow_tripdata_2026-11.parquet answered HTTP 403"
    ):
        bench.fetch(bench.source("tlc"), "yellow_trips", asked="2026-11-01")
    assert bench.objects() == []


def test_a_service_that_the_run_does_not_ask_for_is_nothing_to_do(bench: Bench) -> None:
    with pytest.raises(steps.NothingToDo, match="this run's services are green"):
        bench.fetch(bench.source("tlc"), "yellow_trips", services=["green"])


def test_unchanged_content_is_fetched_in_vain_only_once_it_is_published(bench: Bench) -> None:
    source = bench.source("tlc")
    first = bench.fetch(source, "zones")
    assert bench.fetch(source, "zones") == first  # landed but not published: the run goes on from there
    bench.load(source, first)
    publish(
        bench.warehouse.dsn("sluice_publisher"), [], source="tlc", dag_run_id="r", landing_ids=[first["landing_id"]]
    )
    with pytest.raises(steps.NothingToDo, match=f"unchanged since landing {first['landing_id']}, published"):
        bench.fetch(source, "zones")
    assert len(bench.objects()) == 2


def test_a_run_from_landings_asks_no_api(bench: Bench) -> None:
    source = bench.source("openweather")
    landing = bench.fetch(source, "observations", cities=["Oslo"])
    bench.break_api(path="/data/*", kind="status", code=500)
    params = {"cities": ["Oslo"]}
    partition = bench.partition(source, "observations").label
    again = steps.fetched_before(
        source, "observations", PartitionRange(partition, partition), params, store=bench.store, dsn=bench.dsn
    )
    assert again == [landing]


def test_a_run_from_landings_that_are_not_there_is_nothing_to_do(bench: Bench) -> None:
    source = bench.source("tlc")
    month = PartitionRange("2020-01", "2020-01")
    with pytest.raises(steps.NothingToDo, match="there is no landing in S3"):
        steps.fetched_before(source, "green_trips", month, {"services": ["green"]}, store=bench.store, dsn=bench.dsn)


def test_a_table_is_made_even_when_the_run_landed_nothing_of_it(bench: Bench) -> None:
    source = bench.source("tlc")
    with pytest.raises(steps.NothingToDo, match="this run landed nothing of it"):
        steps.load(source, "yellow_trips", [], store=bench.store, dsn=bench.dsn)
    assert bench.rows(f"select count(*) from raw.{source.table('yellow_trips')}") == [(0,)]


def test_lookups_alone_are_no_reason_to_go_on() -> None:
    source = load_source("tlc")
    zones = steps.Landing(landing_id=1, entity="zones", partition="all", uri="")
    trips = steps.Landing(landing_id=2, entity="green_trips", partition="2024-01", uri="")
    assert steps.only_lookups(source, [])
    assert steps.only_lookups(source, [zones])
    assert not steps.only_lookups(source, [zones, trips])


def test_an_api_that_is_down_for_a_while_is_asked_again(bench: Bench) -> None:
    bench.break_api(path="/misc/*", kind="status", code=503, times=1)
    source = bench.source("tlc")
    assert bench.load(source, bench.fetch(source, "zones")) == 265
