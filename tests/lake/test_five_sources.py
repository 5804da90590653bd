"""All sources' marts in the lake, as their readers have them; a person erased there; raw landings in the catalogue."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.lake import Catalogue
from include.landing import LandingStore
from include.parquet import Bucket
from include.pipeline.erasure import Access, forget
from include.pipeline.lake import Lake, export_marts, register_landings, sweep_marts
from include.pipeline.mirror import Mirror, mirror_marts
from include.pipeline.model import load_source, source_names
from include.pipeline.rebuild import DbtProject
from include.warehouse import mirror
from include.warehouse.marts import Mart
from include.warehouse.publish import marts
from local import s3 as seaweed
from local.stack import Store
from tests.conftest import S3, Warehouse
from tests.dbt.project import PROJECT as DBT
from tests.dbt.project import Project
from tests.lake import reader
from tests.lake.conftest import DATABASE
from tests.local.sandbox.conftest import NOW, running
from tests.redshift.conftest import ADMIN, PASSWORD, ROLE, Redshift, redshift, redshift_front
from tests.sources.way import Way
from tests.warehouse.shop import ask

__all__ = ["redshift", "redshift_front"]  # fixtures here too

REPOSITORY = DBT.parent
SMALL = {
    "SANDBOX_OPENWEATHER_KEY": "any",
    "SANDBOX_YELLOW_ROWS": "3000",
    "SANDBOX_GREEN_ROWS": "1000",
    "SANDBOX_DRIVEN_SESSIONS": "2000",
}


@pytest.fixture(scope="module")
def run_once(s3_server: Store, warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """Every source, run up to its readers."""
    client = seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    client.create_bucket(Bucket="lake-of-five")
    project = Project(warehouse, tmp_path_factory.mktemp("dbt"))
    project.create_raw()
    cache = str(tmp_path_factory.mktemp("sandbox-cache"))
    with running("--cache-dir", cache, SANDBOX_NOW=NOW, **SMALL) as sandbox:
        way = Way(sandbox.url, LandingStore(client, "lake-of-five"), warehouse, project, path="", unit_tests=False)
        for name in source_names():
            assert way.run(name), name
        yield way
    for key in reader.objects(S3(client, "lake-of-five", "", "", ""), ""):
        client.delete_object(Bucket="lake-of-five", Key=key)
    client.delete_bucket(Bucket="lake-of-five")


@pytest.fixture
def lake(run_once: Way, glue: Any) -> Lake:  # noqa: ANN401 - boto3's client
    """The bucket that they were landed in, with nothing exported yet, and a catalogue without tables."""
    store = run_once.store
    for key in reader.objects(S3(store.client, store.bucket, "", "", ""), "lake/"):
        store.client.delete_object(Bucket=store.bucket, Key=key)
    ask(run_once.warehouse, "truncate ops.export_mark", run_once.warehouse.server.superuser)
    return Lake(
        Bucket(store.client, store.bucket), Catalogue(glue, DATABASE), run_once.warehouse.dsn("sluice_reporter")
    )


def all_marts(way: Way) -> dict[str, Mart]:
    """Name -> mart, of all sources."""
    found = (marts(way.project.target / "manifest.json", tag=name) for name in source_names())
    return {mart.name: mart for of_source in found for mart in of_source}


def differences(way: Way, lake: Lake, mart: Mart, to: Path) -> list[str]:
    """Rows that are in the lake or at the analyst's alone."""
    s3 = S3(lake.bucket.client, lake.bucket.name, "", "", "")
    columns, rows = reader.read(lake.catalogue._client, s3, DATABASE, mart.name, to)
    keys = [by.name for by in mart.slice_by if by.grain]
    own = [column for column in columns if column not in keys]
    listed = ", ".join(f'"{column}"' for column in own)
    seen = ask(way.warehouse, f"set timezone = 'UTC'; select {listed} from analytics.{mart.name}", "analyst")
    assert len(rows) == len(seen) > 0, mart.name
    of_lake = sorted(repr([v for c, v in zip(columns, row, strict=True) if c in own]) for row in rows)
    of_analyst = sorted(repr([_plain(value) for value in row]) for row in seen)
    return [f"{mart.name}: {one}" for one in set(of_lake) ^ set(of_analyst)]


def _plain(value: object) -> object:
    at = getattr(value, "tzinfo", None)
    return value if at is None else value.replace(tzinfo=None)  # type: ignore[attr-defined]  # a datetime in UTC


def test_every_mart_of_every_source_is_in_the_lake_row_by_row(run_once: Way, lake: Lake, tmp_path: Path) -> None:
    """Values, nulls, masks; a second export has nothing to do."""
    found = all_marts(run_once)
    assert len(found) >= 24
    done = export_marts(lake, list(found.values()))
    assert set(done) == set(found)
    assert [one for mart in found.values() for one in differences(run_once, lake, mart, tmp_path)] == []
    assert export_marts(lake, list(found.values())) == {}
    zone = lake.catalogue.table("dim_zone")
    assert zone is not None
    shown = "\n".join(reader.ddl(DATABASE, zone)).replace(lake.bucket.name, "<bucket>")
    assert re.sub(r"/v\d{8}T\d+-\w{8}/", "/<version>/", shown) in (REPOSITORY / "docs" / "lake.md").read_text()


def test_published_landings_are_registered_but_those_with_personal_data(run_once: Way, lake: Lake, glue: Any) -> None:  # noqa: ANN401 - boto3's client
    """Each where it lies, by what it covers and its id; a second time nothing is new."""
    done = {name: register_landings(lake, load_source(name)) for name in source_names()}
    assert done["driven"] == {}
    assert done["tlc"] == {"yellow_trips": 1, "green_trips": 1, "zones": 1}
    tables = {one["Name"] for one in glue.get_tables(DatabaseName=DATABASE)["TableList"]}
    assert tables == {f"landing_{name}__{entity}" for name, entities in done.items() for entity in entities}
    asked = "select landing_id, uri, entity from ops.landing where published_at is not null and source <> 'driven'"
    booked = {landing_id: uri for landing_id, uri, _ in run_once.rows(asked)}
    led = {
        int(one["Values"][1]): one["StorageDescriptor"]["Location"]
        for table in tables
        for one in glue.get_partitions(DatabaseName=DATABASE, TableName=table)["Partitions"]
    }
    assert led == booked
    assert {
        name: sum(again.values()) for name, again in ((n, register_landings(lake, load_source(n))) for n in done)
    } == dict.fromkeys(done, 0)
    trips = glue.get_table(DatabaseName=DATABASE, Name="landing_tlc__yellow_trips")["Table"]
    columns = {one["Name"]: one["Type"] for one in trips["StorageDescriptor"]["Columns"]}
    assert columns["tpep_pickup_datetime"] == "timestamp"
    weather = glue.get_table(DatabaseName=DATABASE, Name="landing_openweather__observations")["Table"]
    assert [one["Name"] for one in weather["StorageDescriptor"]["Columns"]] == ["document"]
    (uri,) = (uri for uri in led.values() if "/openweather/" in uri)
    (part,) = (key for key in reader.objects(S3(lake.bucket.client, lake.bucket.name, "", "", ""), lake.bucket.key(uri))
               if not key.rpartition("/")[2].startswith("_"))  # fmt: skip
    assert part.endswith(".ndjson.zst")
    body = lake.bucket.client.get_object(Bucket=lake.bucket.name, Key=part)["Body"].read()
    lines = pa.CompressedInputStream(pa.BufferReader(body), "zstd").read().splitlines()
    assert all(b"\x01" not in line and json.loads(line) for line in lines)  # a line is one column


def test_a_person_erased_is_erased_from_the_lake_and_the_mirror(
    run_once: Way,
    lake: Lake,
    redshift: Redshift,
    tmp_path: Path,
) -> None:
    """Slices that the person was in are the pseudonym's now, and no former version is left."""
    found = all_marts(run_once)
    export_marts(lake, list(found.values()))
    to = mirror.Redshift(redshift.host, redshift.port, redshift.dbname, ADMIN, PASSWORD, ROLE, ssl=False)
    mirrored = Mirror(lake.bucket, to, run_once.warehouse.dsn("sluice_reporter"))
    mirror_marts(mirrored, "driven", marts(run_once.project.target / "manifest.json", tag="driven"))
    ((person, session, at),) = run_once.rows(
        "select personal_number, unique_id, to_char(accessed_at, 'YYYY-MM') from personal.pii_data "
        "where personal_number ~ '^[0-9]{13}$' order by unique_id limit 1"
    )
    copied = f"select email, person_name from analytics.pii_data where unique_id = '{session}'"
    ((email, _),) = redshift.run(copied)
    assert not email.startswith("erase")
    s3 = S3(lake.bucket.client, lake.bucket.name, "", "", "")
    before = reader.objects(s3, "lake/")
    source = load_source("driven")
    warehouse = run_once.warehouse
    access = Access(
        LandingStore(lake.bucket.client, lake.bucket.name),
        warehouse.dsn("sluice_loader"),
        warehouse.dsn("sluice_transformer"),
        warehouse.dsn("sluice_publisher"),
        warehouse.dsn("sluice_gate"),
        dbt=DbtProject(DBT, run_once.project.target, run_once.project._connection()),
        lake=lake,
        mirror=mirrored,
    )
    outcome = forget(source, person, access)
    assert outcome.left == {}
    assert outcome.pseudonym is not None
    columns, rows = reader.read(lake.catalogue._client, s3, DATABASE, "pii_data", tmp_path)
    (own,) = (dict(zip(columns, row, strict=True)) for row in rows if row[columns.index("unique_id")] == session)
    assert (own["email"], own["person_name"], own["accessed_at_month"]) == ("erase*****", "*****", at)
    assert redshift.run(copied) == [("erase*****", "*****")]
    after = reader.objects(s3, "lake/")
    gone = {key for key in before if key not in after}
    assert {key.split("/")[1] for key in gone} >= {"pii_data", "dim_person", "payment_data"}
    current = {
        lake.bucket.key(uri)
        for mart in found
        for uri in reader.locations(lake.catalogue._client, DATABASE, mart).values()
    }
    assert {f"{key.rpartition('/')[0]}/" for key in after} == current
    assert [one for mart in found.values() for one in differences(run_once, lake, mart, tmp_path)] == []
    assert sweep_marts(lake, timedelta(0)) == 0
