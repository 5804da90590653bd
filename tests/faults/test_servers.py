"""Postgres or S3 dies in the middle of a step: the step fails with one message, and a rerun repairs all."""

import json
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from include.landing import LandingError, LandingStore
from include.warehouse.bootstrap import ROLES, bootstrap
from include.warehouse.load import create_table, load_batches, load_documents
from include.warehouse.publish import Mart, PublishError, publish
from include.warehouse.raw import LoadError, RawTable
from local import postgres as postgresql
from tests.conftest import Warehouse
from tests.faults.page import Ledger
from tests.faults.proxy import NotReached, Proxy, Stall, Where
from tests.faults.servers import S3, Postgres, client_of, is_one_clear_message, rows
from tests.landings import book
from tests.waiting import wait_until

FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT
WORDS = {FAST: "stopped", IMMEDIATE: "killed"}
ROWS = 60_000
PUBLISHED = (Mart("dim_city", ("city_id",)), Mart("fact_sale", ("sale_key",)))


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A folder that PostgreSQL's user may pass through."""
    made = Path(tempfile.mkdtemp(prefix="sluice-faults-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def postgres(directory: Path) -> Iterator[Postgres]:
    made = Postgres(directory, "PostgreSQL")
    made.start()
    yield made
    if made.started:
        made.stop(IMMEDIATE)


@pytest.fixture(scope="module")
def warehouse(postgres: Postgres) -> Warehouse:
    made = Warehouse(postgres.server, "warehouse")
    postgresql.create_database(
        postgres.server, "warehouse", owner="sluice_owner", password=made.password("sluice_owner")
    )
    with closing(postgres.server.connect("warehouse")) as connection:
        bootstrap(connection, {role: made.password(role) for role in ROLES})
    return made


@pytest.fixture(scope="module")
def s3(directory: Path) -> Iterator[S3]:
    made = S3(directory, "SeaweedFS")
    made.start()
    yield made
    if made.started:
        made.stop(signal.SIGKILL)


COPY = rb"(?i)copy .{1,2000}from stdin"
MOMENTS = {"before the booking": rb"(?i)update ops\.landing set loaded_at", "before the commit": rb"(?i)commit"}


def in_the_middle(do: Callable[[], None]) -> Callable[[int], None]:
    """Something that is done once, when row 40,000 has been given."""

    def at(row: int) -> None:
        if row == 40_000:
            do()

    return at


def raw_table(kind: str, name: str) -> RawTable:
    """A raw table of each kind."""
    return {
        "append": RawTable(name, "append"),
        "replace": RawTable(name, "replace"),
        "upsert": RawTable(name, "upsert", keys=("id",)),
        "files": RawTable(name, "replace", {"id": "bigint", "usd": "bigint"}),
    }[kind]


def held_of(warehouse: Warehouse, table: RawTable, landing_id: int) -> tuple[Any, ...]:
    """Rows of the table, distinct ones, their sum, and what the landing is booked with."""
    usd = "(payload ->> 'usd')::bigint" if table.columns is None else "usd"
    ((*found,),) = rows(
        warehouse,
        f"select count(*), count(distinct _row), coalesce(sum({usd}), 0)::bigint, "
        f"(select loaded_rows from ops.landing where landing_id = {landing_id}) from raw.{table.name}",
    )
    return tuple(found)


def begin(do: Callable[[], object]) -> Future[Exception | None]:
    """Do it in a thread; its fault, or None."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(fault_of, do)
    pool.shutdown(wait=False)
    return future


def until_it_stalls(stall: Stall, work: Future[Exception | None]) -> None:
    """Wait until what is under way comes to its point.

    Raises:
        NotReached: It ended before; the message says of what.
    """
    wait_until(lambda: stall.is_reached(0) or work.done(), "it stalls, or has ended", seconds=120)
    if not stall.is_reached(0):
        raise NotReached(f"ended before its point: {work.result()!r}")


@contextmanager
def through(postgres: Postgres) -> Iterator[tuple[Proxy, Callable[[Warehouse], Warehouse]]]:
    """A proxy before the server, and the warehouse as it is reached through it."""
    proxy = Proxy(postgres.port)
    try:
        yield proxy, lambda warehouse: replace(warehouse, server=replace(warehouse.server, port=proxy.port))
    finally:
        proxy.close()


def load(warehouse: Warehouse, table: RawTable, landing_id: int, at: Callable[[int], None]) -> int:
    """Load 60,000 rows, of JSON or of columns."""
    if table.columns is None:

        def records() -> Iterator[tuple[bytes, None]]:
            for row in range(ROWS):
                at(row)
                yield json.dumps({"id": row, "usd": 2 * row}).encode(), None

        return load_documents(warehouse.dsn("sluice_loader"), table, landing_id, records())
    schema = pa.schema([("id", pa.int64()), ("usd", pa.int64()), ("_landing_id", pa.int64()), ("_row", pa.int64())])

    def batches() -> Iterator[pa.RecordBatch]:
        for first in range(0, ROWS, 10_000):
            at(first)
            numbers = list(range(first, first + 10_000))
            yield pa.record_batch([numbers, [2 * one for one in numbers], [landing_id] * 10_000, numbers], schema)

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    return load_batches(warehouse.dsn("sluice_loader"), table, landing_id, reader)


@pytest.mark.parametrize("how", [FAST, IMMEDIATE], ids=WORDS.values())
@pytest.mark.parametrize("kind", ["append", "replace", "upsert", "files"])
def test_a_load_that_loses_its_server_leaves_nothing_and_the_next_one_all_of_it_once(
    warehouse: Warehouse, postgres: Postgres, ledger: Ledger, how: signal.Signals, kind: str
) -> None:
    name = f"shop__{kind}_{WORDS[how]}"
    table = raw_table(kind, name)
    create_table(warehouse.dsn("sluice_loader"), table)
    landing_id = book(warehouse.dsn("sluice_loader"), name, records=ROWS)
    with pytest.raises(LoadError) as refusal:
        load(warehouse, table, landing_id, in_the_middle(lambda: postgres.stop(how)))
    assert is_one_clear_message(refusal.value, f"raw.{name}", str(landing_id))
    postgres.start()
    assert held_of(warehouse, table, landing_id) == (0, 0, 0, None)
    assert load(warehouse, table, landing_id, lambda _: None) == ROWS
    assert held_of(warehouse, table, landing_id) == (ROWS, ROWS, ROWS * (ROWS - 1), ROWS)
    strangers = "from pg_class where relnamespace = 'raw'::regnamespace and relkind = 'r' and not relispartition"
    left = rows(warehouse, f"select relname::text {strangers} and relname like '{name}\\_%'")
    assert left == []
    ledger.note("server", f"Postgres is {WORDS[how]} during a load")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", ["append", "upsert", "files"])
def test_a_load_that_loses_its_server_behind_the_copy_leaves_nothing_and_the_next_one_all_of_it_once(
    warehouse: Warehouse, postgres: Postgres, kind: str, moment: str
) -> None:
    table = raw_table(kind, f"shop__{kind}_{list(MOMENTS).index(moment)}")
    create_table(warehouse.dsn("sluice_loader"), table)
    landing_id = book(warehouse.dsn("sluice_loader"), table.name, records=ROWS)
    seen = [COPY, *MOMENTS.values()] if moment == "before the commit" else [COPY, MOMENTS[moment]]
    with through(postgres) as (proxy, lead), proxy.stall(Where(seen, "request")) as stall:
        faults = begin(lambda: load(lead(warehouse), table, landing_id, lambda _: None))
        until_it_stalls(stall, faults)
        postgres.stop(IMMEDIATE)
    assert isinstance(faults.result(120), LoadError)
    postgres.start()
    assert held_of(warehouse, table, landing_id) == (0, 0, 0, None)
    assert load(warehouse, table, landing_id, lambda _: None) == ROWS
    assert held_of(warehouse, table, landing_id) == (ROWS, ROWS, ROWS * (ROWS - 1), ROWS)


@pytest.mark.parametrize("kind", ["append", "replace", "upsert", "files"])
def test_a_landing_that_is_loaded_twice_is_there_once(warehouse: Warehouse, kind: str) -> None:
    table = raw_table(kind, f"shop__{kind}_twice")
    create_table(warehouse.dsn("sluice_loader"), table)
    landing_id = book(warehouse.dsn("sluice_loader"), table.name, records=ROWS)
    for _ in range(2):
        assert load(warehouse, table, landing_id, lambda _: None) == ROWS
    assert held_of(warehouse, table, landing_id) == (ROWS, ROWS, ROWS * (ROWS - 1), ROWS)


def test_two_loads_of_one_partition_go_one_after_the_other(warehouse: Warehouse, postgres: Postgres) -> None:
    table = RawTable("shop__month", "replace")
    create_table(warehouse.dsn("sluice_loader"), table)
    older, newer = (book(warehouse.dsn("sluice_loader"), table.name, records=ROWS) for _ in range(2))
    waits = "select count(*) from pg_locks where not granted"
    with (
        through(postgres) as (proxy, lead),
        proxy.stall(Where([COPY, MOMENTS["before the booking"]], "request")) as stall,
    ):
        first = begin(lambda: load(lead(warehouse), table, older, lambda _: None))
        until_it_stalls(stall, first)
        second = begin(lambda: load(warehouse, table, newer, lambda _: None))
        wait_until(lambda: second.done() or rows(warehouse, waits) != [(0,)], "the second load waits", seconds=120)
        stall.release()
        assert (first.result(120), second.result(120)) == (None, None)
    there = rows(warehouse, "select _landing_id, count(*) from raw.shop__month group by 1")
    assert there == [(newer, ROWS)]
    replaced = f"select superseded_by from ops.landing where landing_id = {older}"
    assert rows(warehouse, replaced) == [(newer,)]


@pytest.mark.parametrize("how", [FAST, IMMEDIATE], ids=WORDS.values())
def test_a_publish_that_loses_its_server_leaves_the_last_good_state(
    warehouse: Warehouse, postgres: Postgres, ledger: Ledger, how: signal.Signals
) -> None:
    first, second = (book(warehouse.dsn("sluice_loader"), "city", records=ROWS) for _ in range(2))
    rows(
        warehouse,
        "set role sluice_publisher; drop table if exists analytics.dim_city, analytics.fact_sale; "
        "set role sluice_transformer; drop table if exists marts.dim_city, marts.fact_sale; "
        "create table marts.dim_city (city_id bigint primary key, name text, _landing_id bigint); "
        "create table marts.fact_sale (sale_key bigint primary key, usd bigint, _landing_id bigint); "
        f"insert into marts.dim_city values (1, 'Oslo', {first}); "
        f"insert into marts.fact_sale values (1, 10, {first}); reset role",
    )
    publish_to(warehouse.dsn("sluice_publisher"), [first])
    rows(
        warehouse,
        f"insert into marts.dim_city values (2, 'Lima', {second}); update marts.dim_city set name = 'Christiania', "
        f"_landing_id = {second} where city_id = 1; insert into marts.fact_sale values (2, 20, {second})",
    )
    good = seen(warehouse)
    # one mart is moved, the other is not yet
    with (
        through(postgres) as (proxy, lead),
        proxy.stall(Where([rb'insert into analytics\."?fact_sale'], "request")) as stall,
    ):
        publisher = begin(lambda: publish_to(lead(warehouse).dsn("sluice_publisher"), [second]))
        until_it_stalls(stall, publisher)
        assert seen(warehouse) == good
        postgres.stop(how)
    fault = publisher.result(120)
    assert isinstance(fault, PublishError)
    assert is_one_clear_message(fault, "shop: nothing was published")
    postgres.start()
    assert seen(warehouse) == good
    assert rows(warehouse, f"select published_at from ops.landing where landing_id = {second}") == [(None,)]
    publish_to(warehouse.dsn("sluice_publisher"), [second])
    assert seen(warehouse) == [(1, "Christiania", 10), (2, "Lima", 20)]
    moved = f"select model from ops.publication where landing_ids = array[{second}]::bigint[] order by 1"
    assert rows(warehouse, moved) == [("dim_city",), ("fact_sale",)]
    ledger.note("server", f"Postgres is {WORDS[how]} during a publish")


def publish_to(dsn: str, landing_ids: Sequence[int]) -> None:
    publish(dsn, PUBLISHED, source="shop", dag_run_id="test", landing_ids=landing_ids)


def seen(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """What readers see, the two marts side by side."""
    return rows(
        warehouse,
        "select coalesce(city_id, sale_key), name, usd from analytics.dim_city "
        "full join analytics.fact_sale on city_id = sale_key order by 1",
    )


def fault_of(do: Callable[[], object]) -> Exception | None:
    try:
        do()
    except Exception as fault:
        return fault
    return None


def test_s3_that_is_killed_during_an_upload_leaves_no_landing_and_the_next_one_is_whole(s3: S3, ledger: Ledger) -> None:
    store = LandingStore(client_of(s3), s3.store.bucket)
    content = [bytes([number]) * 1_000_000 for number in range(30)]

    def chunks(do: Callable[[], None]) -> Iterator[bytes]:
        for number, chunk in enumerate(content):
            if number == 20:  # two pieces of the multipart upload are there
                do()
            yield chunk

    def land(do: Callable[[], None]) -> None:
        with store.begin(
            source="shop", entity="things", partition="2024-01", run_id="test", format="parquet"
        ) as writer:
            writer.add_file(chunks(do), "parquet")
            writer.commit({"method": "GET"})

    with pytest.raises((BotoCoreError, ClientError)) as refusal:
        land(lambda: s3.stop(signal.SIGKILL))
    assert re.search(r"connect|Connection", str(refusal.value))
    s3.start()
    store = LandingStore(client_of(s3), s3.store.bucket)
    assert list(store.landings("shop", "things")) == []
    land(lambda: None)
    (manifest,) = store.landings("shop", "things")
    with store.open_part(manifest, manifest.parts[0]) as part:
        assert part.read() == b"".join(content)
    ledger.note("server", "S3 is killed during an upload")


def test_an_upload_that_fails_leaves_nothing_in_s3(s3: S3) -> None:
    client = client_of(s3)
    store = LandingStore(client, s3.store.bucket)

    def broken() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 1_000_000
        raise LandingError("the transfer broke off")

    with (
        pytest.raises(LandingError, match="broke off"),
        store.begin(source="shop", entity="broken", partition="2024-01", run_id="test", format="parquet") as writer,
    ):
        writer.add_file(broken(), "parquet")
    assert client.list_objects_v2(Bucket=store.bucket, Prefix="landing/shop/broken/").get("KeyCount") == 0
    uploads = client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", [])
    assert [one["Key"] for one in uploads if "/broken/" in one["Key"]] == []
