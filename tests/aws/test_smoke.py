"""A real account does what the tests' stand-ins do: the bucket, the queue, the catalogue and the warehouse as deployed.

It runs with Airflow's own connections and variables (docs/deploy-aws.md, "Try it"), makes what it needs under names
that begin with `smoke`, and takes it away again.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from include.lake import Catalogue
from include.lake.catalogue import PARQUET, Column, Table
from include.landing import LandingStore
from include.objects import Upload, delete_for_good
from include.pipeline import connections, steps
from include.pipeline.model import Source, load_source
from include.warehouse.session import open_session
from tests.redshift.warehouse.bench import documents, trips

MEGABYTE = 1024 * 1024


def setting(name: str, what: str) -> str:
    """A variable of the deployment; without it the test is skipped, and says so."""
    value = os.environ.get(name)
    if not value:
        pytest.skip(f"{name} is not set, so {what} is not tried")
    return value


@pytest.fixture
def name() -> str:
    """Of all that a test makes."""
    return f"smoke_{datetime.now(UTC):%Y%m%d%H%M%S}_{uuid.uuid4().hex[:6]}"


@pytest.fixture
def store(name: str) -> Iterator[LandingStore]:
    """The deployment's bucket; what a test has put into it is gone afterwards, with all its versions."""
    setting("SLUICE_BUCKET", "the bucket")
    made = connections.landing_store()
    yield made
    for prefix in (f"landing/{name}/", f"{name}/", f"scratch/redshift/{name}"):
        for page in made.client.get_paginator("list_objects_v2").paginate(Bucket=made.bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                delete_for_good(made.client, made.bucket, entry["Key"])


def test_a_landing_is_there_once_and_each_try_has_a_folder_of_its_own(store: LandingStore, name: str) -> None:
    """What S3 has to grant for it: a conditional write, and a listing that shows what was written."""
    about: dict[str, Any] = {
        "source": name,
        "entity": "things",
        "partition": "all",
        "run_id": "smoke",
        "format": "json",
    }
    with store.begin(**about) as first, store.begin(**about) as second:
        first.add_document(b'{"by": "first"}')
        second.add_document(b'{"by": "second"}')
        landed = second.commit({})
        assert landed.uri.endswith("run=smoke.2/")
    assert [one.uri for one in store.landings(name, "things")] == [landed.uri]
    assert list(store.iter_documents(landed)) == [b'{"by": "second"}']


def test_an_object_of_many_pieces_arrives_whole(store: LandingStore, name: str) -> None:
    content = os.urandom(20 * MEGABYTE)
    upload = Upload(store.client, store.bucket, f"{name}/", "pieces")
    for start in range(0, len(content), MEGABYTE):
        upload.write(content[start : start + MEGABYTE])
    upload.finish()
    body = store.client.get_object(Bucket=store.bucket, Key=f"{name}/pieces")["Body"]
    assert hashlib.sha256(body.read()).digest() == hashlib.sha256(content).digest()


def test_the_queue_of_dropped_files_may_be_read() -> None:
    """Without taking a message away: it stays visible to the triggerer."""
    from airflow.providers.amazon.aws.hooks.sqs import SqsHook

    queue = setting("SLUICE_DROP_QUEUE", "the queue of dropped files")
    client: Any = SqsHook(aws_conn_id=connections.S3).get_conn()
    told = client.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert int(told["ApproximateNumberOfMessages"]) >= 0
    client.receive_message(QueueUrl=queue, MaxNumberOfMessages=1, VisibilityTimeout=0, WaitTimeSeconds=0)


def test_the_catalogue_takes_a_table_and_moves_its_partitions(name: str) -> None:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    database = setting("SLUICE_LAKE_DATABASE", "the catalogue")
    bucket = setting("SLUICE_BUCKET", "the catalogue")
    glue: Any = AwsBaseHook(aws_conn_id=connections.S3, client_type="glue").get_conn()
    catalogue, root = Catalogue(glue, database), f"s3://{bucket}/{name}/"
    table = Table(name, "a smoke test's", [Column("n", "bigint")], [Column("day", "string")], root, PARQUET)
    try:
        catalogue.put(table)
        catalogue.put_partitions(table, {("a",): f"{root}a/v1/", ("b",): f"{root}b/v1/"}, set())
        catalogue.put_partitions(table, {("a",): f"{root}a/v2/"}, {("a",)})
        assert catalogue.partitions(name) == {("a",): f"{root}a/v2/", ("b",): f"{root}b/v1/"}
        catalogue.drop_partitions(name, [("b",)])
        assert set(catalogue.partitions(name)) == {("a",)}
    finally:
        if catalogue.table(name):
            glue.delete_table(DatabaseName=database, Name=name)
    assert catalogue.table(name) is None


def test_the_warehouse_loads_a_file_and_documents_and_a_reload_changes_nothing(store: LandingStore, name: str) -> None:
    """As `sluice_loader`; its rows go, a line a landing stays in `ops.landing`."""
    dsn = connections.warehouse_dsn(connections.LOADER)
    for of, entity, fill, rows in (
        ("tlc", "green_trips", trips(500), 500),
        ("openweather", "observations", documents({"id": 1, "dt": 10}, {"id": 2, "dt": 10}), 2),
    ):
        source: Source = load_source(of).model_copy(update={"name": name})
        format = source.entities[entity].format
        with store.begin(source=name, entity=entity, partition="2024-01", run_id="smoke", format=format) as writer:
            fill(writer)
            manifest = writer.commit({"is_whole": True})
        steps.book(dsn, manifest)
        landing = steps.Landing(landing_id=manifest.landing_id, entity=entity, partition="2024-01", uri=manifest.uri)
        table = f'raw."{source.table(entity)}"'
        try:
            for _ in range(2):
                assert steps.load(source, entity, [landing], store=store, dsn=dsn) == rows
                with open_session(dsn) as session:
                    assert session.execute(f"select count(*), count(distinct _row) from {table}") == [(rows, rows)]
        finally:
            with open_session(dsn, writes=True) as session:
                session.execute(f"drop table if exists {table}")
