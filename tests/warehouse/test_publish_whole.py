"""A publish is seen as a whole or not at all: by who reads meanwhile, after a fault, after a kill; and it corrects."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from include.warehouse.fence import Fence, Superseded
from include.warehouse.publish import Mart, PublishError, publish
from tests.conftest import Warehouse
from tests.waiting import wait_until
from tests.warehouse.shop import ask, forget, move

Book = Callable[..., int]

PROJECT = Path(__file__).resolve().parents[2]
FACT = Mart("fact_sale", ("sale_id",), replace_by=("month",))
CITY = Mart("dim_city", ("city_id",), personal={"mayor": "name"})
OPEN_CITY = Mart("dim_city", ("city_id",))
PUBLISH = """
import sys
from include.warehouse.publish import publish
from tests.warehouse.test_publish_whole import CITY, FACT

publish(sys.argv[1], [CITY, FACT], source="shop", dag_run_id="killed", landing_ids=[int(sys.argv[2])])
"""
ROWS, PUBLISHES, LEAST_POLLS_A_SECOND = 200, 50, 20


@pytest.fixture(autouse=True)
def built(warehouse: Warehouse, book: Book) -> Iterator[int]:
    """Two marts, the second with a personal column, published in version 0; the landing of their rows."""
    forget(warehouse, "fact_sale", "dim_city")
    landing = book()
    ask(
        warehouse,
        "create table marts.fact_sale (sale_id bigint primary key, month text, version int, _landing_id bigint); "
        "create table marts.dim_city (city_id bigint primary key, mayor text, version int, _landing_id bigint);"
        f"insert into marts.fact_sale select i, 'm' || i % 4, 0, {landing} from generate_series(1, {ROWS}) as i; "
        f"insert into marts.dim_city select i, 'Ada', 0, {landing} from generate_series(1, {ROWS}) as i",
    )
    move(warehouse, [CITY, FACT], landing)
    yield landing
    forget(warehouse, "fact_sale", "dim_city")


def build(warehouse: Warehouse, version: int, landing: int) -> None:
    """All rows of both marts become the next version, of a landing."""
    ask(
        warehouse,
        ";".join(
            f"update marts.{table} set version = {version}, _landing_id = {landing}"
            for table in ("fact_sale", "dim_city")
        ),
    )


def state(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """Hashes of all that a publish may change: published tables, their columns, bookkeeping."""
    superuser = warehouse.server.superuser
    published = "relnamespace in ('analytics'::regnamespace, 'personal'::regnamespace) and relkind in ('r', 'v')"
    tables = ask(warehouse, f"select oid::regclass::text from pg_class where {published} order by 1", superuser)
    hashed = "select '{0}', md5(string_agg(t::text, ',' order by t::text)) from {0} as t"
    contents = [hashed.format(table) for (table,) in [*tables, ("ops.publication",), ("ops.landing",)]]
    columns = (
        "select 'columns', md5(string_agg(attrelid || attname || atttypid, ',' order by attrelid, attnum)) "
        f"from pg_attribute where attrelid in (select oid from pg_class where {published})"
    )
    return ask(warehouse, " union all ".join([*contents, columns]), superuser)


@contextmanager
def poller(warehouse: Warehouse) -> Iterator[Callable[[], dict[str, Any]]]:
    """A process that reads both tables all the time; the call ends it and gives what it saw."""
    command = [sys.executable, str(PROJECT / "tests" / "warehouse" / "poll.py"), warehouse.dsn("analyst")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def end() -> dict[str, Any]:
            told: dict[str, Any] = json.loads(process.communicate()[0])
            return told

        yield end


def test_a_reader_never_sees_two_publishes_at_once(warehouse: Warehouse, book: Book) -> None:
    with poller(warehouse) as end:
        for version in range(1, PUBLISHES + 1):
            landing = book(partition=f"p{version}")
            build(warehouse, version, landing)
            if version == PUBLISHES // 4:  # a new column, in both
                for table in ("fact_sale", "dim_city"):
                    ask(warehouse, f"alter table marts.{table} add column note text")
            # and a mart that moves out from behind its mask, and back again
            is_open = PUBLISHES // 3 < version < PUBLISHES // 2
            move(warehouse, [OPEN_CITY if is_open else CITY, FACT], landing)
        told = end()
    assert told["mixes"] == 0, told
    assert told["versions"] > PUBLISHES // 2, told
    assert told["polls"] / told["seconds"] >= LEAST_POLLS_A_SECOND, told


def test_a_change_of_shape_waits_for_readers_and_is_given_up_with_a_name(
    warehouse: Warehouse, book: Book, built: int
) -> None:
    ask(warehouse, "alter table marts.dim_city add column note text; alter table marts.fact_sale add column note text")
    before, dsn = state(warehouse), warehouse.dsn("sluice_publisher")
    with closing(psycopg2.connect(warehouse.dsn("analyst"))) as reader, reader.cursor() as cursor:
        cursor.execute("select count(*) from analytics.dim_city")
        with pytest.raises(PublishError, match=r"personal\.dim_city, .*read by others for 1 seconds; nothing was pub"):
            publish(dsn, [CITY, FACT], source="shop", dag_run_id="r", landing_ids=[built], patience_seconds=1)
        assert state(warehouse) == before
        cursor.execute("select count(*) from analytics.fact_sale")  # and nobody was kept from reading
    publish(dsn, [CITY, FACT], source="shop", dag_run_id="r", landing_ids=[built], patience_seconds=1)
    assert state(warehouse) != before


def test_that_reader_catches_a_publish_in_two_transactions(warehouse: Warehouse, book: Book) -> None:
    with poller(warehouse) as end:
        for version in range(1, PUBLISHES + 1):
            landing = book(partition=f"p{version}")
            build(warehouse, version, landing)
            move(warehouse, [CITY], landing)
            move(warehouse, [FACT], landing)
        told = end()
    assert told["mixes"] > 0, told


def waiting_for(warehouse: Warehouse, table: str) -> Sequence[int]:
    """Processes of the publisher that wait for a lock on a table."""
    rows = ask(
        warehouse,
        "select pid from pg_locks inner join pg_stat_activity using (pid) where not granted "
        f"and relation = '{table}'::regclass and usename = 'sluice_publisher'",
        warehouse.server.superuser,
    )
    return [pid for (pid,) in rows]


@pytest.mark.parametrize("first", [CITY, OPEN_CITY], ids=["rows", "rows and a move to another schema"])
def test_a_publish_killed_in_its_middle_leaves_the_last_good_state_and_the_next_one_publishes_all(
    warehouse: Warehouse, book: Book, built: int, first: Mart
) -> None:
    move(warehouse, [first, FACT], built)
    landing = book(partition="p-killed")
    build(warehouse, 1, landing)
    ask(warehouse, "alter table marts.dim_city add column note text")
    before = state(warehouse)
    command = [sys.executable, "-c", PUBLISH, warehouse.dsn("sluice_publisher"), str(landing)]
    with closing(psycopg2.connect(warehouse.dsn("sluice_publisher"))) as holder, holder.cursor() as cursor:
        cursor.execute("lock table analytics.fact_sale in access exclusive mode")
        with subprocess.Popen(command, cwd=PROJECT) as victim:
            # dim_city has been altered and written, fact_sale not yet
            wait_until(
                lambda: bool(waiting_for(warehouse, "analytics.fact_sale")), "the publish waits for the second model"
            )
            victim.kill()
        assert victim.returncode == -signal.SIGKILL
    assert state(warehouse) == before
    assert subprocess.run(command, cwd=PROJECT, check=False).returncode == 0
    versions = "select distinct fact_sale.version, dim_city.version from analytics.fact_sale, analytics.dim_city"
    assert ask(warehouse, versions, "analyst") == [(1, 1)]
    booked = f"select count(*), sum(rows_inserted)::int from ops.publication where landing_ids = '{{{landing}}}'"
    assert ask(warehouse, booked, "operator") == [(2, 2 * ROWS)]


def test_a_fault_in_the_last_model_leaves_the_first_as_it_was(warehouse: Warehouse, book: Book) -> None:
    landing = book()
    build(warehouse, 1, landing)
    ask(warehouse, "alter table marts.dim_city add column note text")
    ask(warehouse, "alter table analytics.fact_sale add check (version < 1)", "sluice_publisher")
    before = state(warehouse)
    with pytest.raises(PublishError, match=r"shop: nothing was published: .*fact_sale.* violates check constraint"):
        move(warehouse, [CITY, FACT], landing)
    assert state(warehouse) == before


def test_a_try_that_a_later_one_has_taken_over_from_publishes_nothing(warehouse: Warehouse, book: Book) -> None:
    landing, dsn = book(), warehouse.dsn("sluice_publisher")
    build(warehouse, 1, landing)
    first, second = Fence("shop/r/publish", 1), Fence("shop/r/publish", 2)
    first.enter(dsn)
    second.enter(dsn)
    before = state(warehouse)
    with pytest.raises(Superseded, match="a later try has taken over"):
        publish(dsn, [CITY, FACT], source="shop", dag_run_id="r", landing_ids=[landing], fence=first)
    assert state(warehouse) == before
    publish(dsn, [CITY, FACT], source="shop", dag_run_id="r", landing_ids=[landing], fence=second)
    assert state(warehouse) != before


def test_a_run_without_its_turn_publishes_nothing(warehouse: Warehouse, book: Book) -> None:
    landing, dsn = book(), warehouse.dsn("sluice_publisher")
    build(warehouse, 1, landing)
    before = state(warehouse)

    def not_my_turn(session: object) -> None:
        raise LookupError("another's turn")

    with pytest.raises(LookupError):
        publish(dsn, [CITY, FACT], source="shop", dag_run_id="r", landing_ids=[landing], turn=not_my_turn)
    assert state(warehouse) == before


def test_a_publication_says_what_when_and_from_which_landings(warehouse: Warehouse, book: Book) -> None:
    landings = [book(partition="a"), book(partition="b")]
    build(warehouse, 1, landings[1])
    move(warehouse, [CITY, FACT], *landings)
    booked = (
        "select source, dag_run_id, model, landing_ids, rows_deleted::int, rows_inserted::int, "
        "published_at > now() - interval '1 minute' from ops.publication order by publication_id desc limit 2"
    )
    assert ask(warehouse, booked, "operator") == [
        ("shop", "test", "fact_sale", landings, ROWS, ROWS, True),
        ("shop", "test", "dim_city", landings, 0, ROWS, True),
    ]
    when = f"select count(distinct published_at) from ops.landing where landing_id in ({landings[0]}, {landings[1]})"
    assert ask(warehouse, when, "operator") == [(1,)]


def test_a_late_correction_replaces_what_it_corrects(warehouse: Warehouse, book: Book) -> None:
    landing = book(partition="late")
    ask(
        warehouse,
        # of month m1 nothing is left but one sale; another has moved to m2; a city has another mayor
        "delete from marts.fact_sale where month = 'm1' and sale_id not in (1, 5); "
        f"update marts.fact_sale set version = 7, _landing_id = {landing} where sale_id = 1; "
        f"update marts.fact_sale set month = 'm2', _landing_id = {landing} where month = 'm2' or sale_id = 5; "
        f"update marts.dim_city set mayor = 'Bo', _landing_id = {landing} where city_id = 3",
    )
    done = move(warehouse, [CITY, FACT], landing)
    quarter = ROWS // 4
    assert (done["fact_sale"].rows_deleted, done["fact_sale"].rows_inserted) == (2 * quarter, quarter + 2)
    assert (done["dim_city"].rows_deleted, done["dim_city"].rows_inserted) == (0, 1)
    for table, key in (("fact_sale", "sale_id"), ("dim_city", "city_id")):
        held = ask(warehouse, f"select * from marts.{table} order by {key}")
        assert ask(warehouse, f"select * from analytics.{table} order by {key}", "pii_reader") == held
    moved = "select month, version from analytics.fact_sale where month = 'm1' or sale_id = 5 order by 1"
    assert ask(warehouse, moved, "analyst") == [("m1", 7), ("m2", 0)]
