"""Publishing: all models of a run in one step, what changed and no more, never half."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from include.warehouse.publish import Mart, PublishError, marts, publish
from tests.conftest import Warehouse

Book = Callable[..., int]

FACT = Mart("fact_sale", ("sale_key",), replace_by=("month",))
CITY = Mart("dim_city", ("city_id",))
KIND = Mart("dim_kind", ("kind_id",), whole=True)


def run(warehouse: Warehouse, statement: str, role: str = "sluice_transformer") -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(warehouse.dsn(role))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def seen(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    return run(warehouse, query, role="analyst")


@pytest.fixture(autouse=True)
def built(warehouse: Warehouse) -> None:
    run(
        warehouse,
        "drop table if exists analytics.fact_sale, analytics.dim_city, analytics.dim_kind",
        "sluice_publisher",
    )
    run(
        warehouse,
        """
        drop table if exists marts.fact_sale, marts.dim_city, marts.dim_kind;
        create table marts.fact_sale (sale_key bigint primary key, month text, usd numeric(8, 2), _landing_id bigint);
        create table marts.dim_city (city_id bigint primary key, name text not null, _landing_id bigint);
        create table marts.dim_kind (kind_id bigint primary key, name text);
        insert into marts.dim_kind values (1, 'one'), (2, 'two');
        """,
    )


def publish_all(warehouse: Warehouse, *landing_ids: int) -> dict[str, tuple[int, int]]:
    done = publish(
        warehouse.dsn("sluice_publisher"), [CITY, FACT, KIND], source="shop", dag_run_id="test", landing_ids=landing_ids
    )
    return {one.model: (one.rows_deleted, one.rows_inserted) for one in done}


def test_only_the_rows_of_the_run_are_published(warehouse: Warehouse, book: Book) -> None:
    passed, other = book(), book()
    run(warehouse, f"insert into marts.fact_sale values (1, '2024-01', 9.99, {passed}), (2, '2024-02', 1, {other})")
    assert publish_all(warehouse, passed)["fact_sale"] == (0, 1)
    assert seen(warehouse, "select sale_key, usd::text from analytics.fact_sale") == [(1, "9.99")]
    published = run(
        warehouse, f"select landing_id from ops.landing where published_at is not null and landing_id >= {passed}"
    )
    assert published == [(passed,)]


def test_a_slice_is_replaced_with_what_the_mart_has_now(warehouse: Warehouse, book: Book) -> None:
    first, other, again = book(), book(), book()
    run(
        warehouse,
        f"insert into marts.fact_sale values (1, '2024-01', 1, {first}), (2, '2024-01', 2, {first}), "
        f"(3, '2024-02', 3, {other})",
    )
    publish_all(warehouse, first, other)
    run(
        warehouse,
        "delete from marts.fact_sale where month = '2024-01'; "
        f"insert into marts.fact_sale values (2, '2024-01', 20, {again})",
    )
    assert publish_all(warehouse, again)["fact_sale"] == (2, 1)
    assert seen(warehouse, "select sale_key, usd::int from analytics.fact_sale order by 1") == [(2, 20), (3, 3)]


def test_an_upserted_row_takes_the_place_of_the_one_with_its_key(warehouse: Warehouse, book: Book) -> None:
    first, second = book(), book()
    run(warehouse, f"insert into marts.dim_city values (1, 'Oslo', {first}), (2, 'Lima', {first})")
    publish_all(warehouse, first)
    run(warehouse, f"update marts.dim_city set name = 'Christiania', _landing_id = {second} where city_id = 1")
    assert publish_all(warehouse, second)["dim_city"] == (0, 1)
    assert seen(warehouse, "select name from analytics.dim_city order by city_id") == [("Christiania",), ("Lima",)]


def test_a_whole_table_is_made_equal(warehouse: Warehouse) -> None:
    assert publish_all(warehouse)["dim_kind"] == (0, 2)
    run(
        warehouse,
        "delete from marts.dim_kind where kind_id = 1; update marts.dim_kind set name = 'zwei'; "
        "insert into marts.dim_kind values (3, null)",
    )
    assert publish_all(warehouse)["dim_kind"] == (1, 2)
    assert publish_all(warehouse)["dim_kind"] == (0, 0)
    assert seen(warehouse, "select * from analytics.dim_kind order by 1") == [(2, "zwei"), (3, None)]


def test_publishing_twice_changes_nothing(warehouse: Warehouse, book: Book) -> None:
    landing = book()
    run(
        warehouse,
        f"insert into marts.fact_sale values (1, '2024-01', 1, {landing}); "
        f"insert into marts.dim_city values (1, 'Oslo', {landing})",
    )
    publish_all(warehouse, landing)
    before = seen(warehouse, "select f, c from analytics.fact_sale as f, analytics.dim_city as c")
    publish_all(warehouse, landing)
    assert seen(warehouse, "select f, c from analytics.fact_sale as f, analytics.dim_city as c") == before


def test_when_one_model_fails_none_is_published(warehouse: Warehouse, book: Book) -> None:
    landing = book()
    run(warehouse, f"insert into marts.dim_city values (1, 'Oslo', {landing}); drop table marts.fact_sale")
    with pytest.raises(PublishError, match=r"marts\.fact_sale does not exist; nothing was published"):
        publish_all(warehouse, landing)
    assert seen(warehouse, "select to_regclass('analytics.dim_city')") == [(None,)]
    assert run(warehouse, f"select published_at from ops.landing where landing_id = {landing}") == [(None,)]


def test_a_column_that_the_mart_gained_is_published_with_its_rows(warehouse: Warehouse, book: Book) -> None:
    first, second = book(), book()
    run(warehouse, f"insert into marts.dim_city values (1, 'Oslo', {first})")
    publish_all(warehouse, first)
    run(
        warehouse,
        "alter table marts.dim_city add column country text; "
        f"insert into marts.dim_city values (2, 'Lima', {second}, 'PE')",
    )
    publish_all(warehouse, second)
    assert seen(warehouse, "select city_id, country from analytics.dim_city order by 1") == [(1, None), (2, "PE")]


def test_a_reader_never_sees_a_half_published_run(warehouse: Warehouse, book: Book) -> None:
    publish_all(warehouse)
    stop, seen_pairs = threading.Event(), set()

    def poll() -> None:
        connection = psycopg2.connect(warehouse.dsn("analyst"))
        connection.set_session(isolation_level="REPEATABLE READ", autocommit=False)
        while not stop.is_set():
            with connection, connection.cursor() as cursor:
                cursor.execute("select count(*) from analytics.fact_sale")
                facts = cursor.fetchone()
                cursor.execute("select count(*) from analytics.dim_city")
                seen_pairs.add((facts, cursor.fetchone()))
        connection.close()

    reader = threading.Thread(target=poll)
    reader.start()
    for number in range(1, 6):
        landing = book(partition=f"p{number}")
        run(
            warehouse,
            f"insert into marts.fact_sale values ({number}, 'm{number}', 1, {landing}); "
            f"insert into marts.dim_city values ({number}, 'c', {landing})",
        )
        publish_all(warehouse, landing)
    stop.set()
    reader.join()
    assert all(facts == cities for facts, cities in seen_pairs)
    assert len(seen_pairs) > 1


def test_a_month_published_again_reads_no_other_month(warehouse: Warehouse, book: Book) -> None:
    months, rows = range(48), 500
    first = [book(partition=f"p{month}") for month in months]
    run(
        warehouse,
        "alter table marts.fact_sale add column service text not null default 'yellow'; "
        "create index on marts.fact_sale (_landing_id); create index on marts.fact_sale (service, month);"
        + ";".join(
            f"insert into marts.fact_sale select {month * rows} + i, 'm{month}', 1, {landing} "
            f"from generate_series(1, {rows}) as i"
            for month, landing in zip(months, first, strict=True)
        ),
    )
    fact = Mart("fact_sale", ("sale_key",), replace_by=("service", "month"))

    def publish_fact(*landing_ids: int) -> list[tuple[int, int]]:
        done = publish(
            warehouse.dsn("sluice_publisher"), [fact], source="shop", dag_run_id="test", landing_ids=landing_ids
        )
        return [(one.rows_deleted, one.rows_inserted) for one in done]

    publish_fact(*first)
    run(warehouse, "analyze", "sluice_publisher")
    again = book(partition="p7")
    run(warehouse, f"update marts.fact_sale set _landing_id = {again} where month = 'm7'; analyze marts.fact_sale")
    before = rows_read(warehouse)
    assert publish_fact(again) == [(rows, rows)]
    after = rows_read(warehouse)
    whole, by_index = (now - then for now, then in zip(after, before, strict=True))
    assert whole == 0
    # the month of the mart to find its slice and to copy it, and the month of analytics to delete it
    assert 0 < by_index <= 5 * rows


def test_a_slice_that_has_lost_its_last_row_goes_when_another_mart_names_it(warehouse: Warehouse, book: Book) -> None:
    tour = Mart("dim_tour", ("first_sale",), replace_by=("guide",), also=("fact_sale", "sale_key", "first_sale"))
    first, again = book(), book()
    make = "create table marts.dim_tour (first_sale bigint primary key, guide text, _landing_id bigint not null)"
    run(warehouse, make)
    run(warehouse, f"insert into marts.fact_sale select n, '2024-01', 1, {first} from generate_series(1, 3) as n")
    run(warehouse, f"insert into marts.dim_tour values (1, 'ada', {first}), (2, 'bob', {first}), (3, 'eve', {first})")

    def publish_tour(landing: int) -> None:
        publish(warehouse.dsn("sluice_publisher"), [tour], source="shop", dag_run_id="test", landing_ids=[landing])

    publish_tour(first)
    # the one sale of bob turns out to belong to the tour of ada
    run(warehouse, f"update marts.fact_sale set _landing_id = {again} where sale_key = 2")
    run(warehouse, "delete from marts.dim_tour where first_sale = 2")
    run(warehouse, f"update marts.dim_tour set _landing_id = {again} where guide = 'ada'")
    publish_tour(again)
    assert seen(warehouse, "select guide from analytics.dim_tour order by 1") == [("ada",), ("eve",)]


def rows_read(warehouse: Warehouse) -> tuple[int, int]:
    """Rows of fact_sale that were read by scans of the whole table, and by index, in marts and analytics together."""
    ((whole, by_index),) = run(
        warehouse,
        "select pg_stat_force_next_flush(); select sum(seq_tup_read)::int, sum(idx_tup_fetch)::int "
        "from pg_stat_user_tables where relname = 'fact_sale'",
        warehouse.server.superuser,
    )
    return whole, by_index


def node(name: str, meta: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "resource_type": "model", "name": name, "tags": ["shop"], "config": {"meta": meta}, "constraints": [],
        "columns": {"id": {"name": "id", "constraints": [{"type": "primary_key"}]}},
        "original_file_path": f"models/marts/{name}.sql",
    } | more  # fmt: skip


def manifest(folder: Path, *nodes: dict[str, Any]) -> Path:
    path = folder / "manifest.json"
    path.write_text(json.dumps({"nodes": {one["name"]: one for one in nodes}}))
    return path


def test_what_is_published_is_read_from_the_models_own_yml(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        node("fact_sale", {"publish": {"replace_by": ["month"]}}),
        node("fact_tour", {"publish": {"replace_by": ["month"], "also": {"fact_sale": {"sale_id": "id"}}}}),
        node("dim_city", {"publish": {"mode": "upsert"}}),
        node(
            "dim_kind",
            {"publish": {"mode": "whole"}},
            columns={},
            constraints=[{"type": "primary_key", "columns": ["a", "b"]}],
        ),
        node("int_step", {}),
        node("dim_other", {"publish": {"mode": "whole"}}, tags=["other"]),
    )
    assert marts(path, tag="shop") == [
        Mart("dim_city", ("id",)),
        Mart("dim_kind", ("a", "b"), whole=True),
        Mart("fact_sale", ("id",), replace_by=("month",)),
        Mart("fact_tour", ("id",), replace_by=("month",), also=("fact_sale", "sale_id", "id")),
    ]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (node("m", {"publish": {"mode": "upsret"}}), r"m\.sql: meta\.publish .*upsret.* is not one of"),
        (
            node("m", {"publish": {"replace_by": ["a"], "also": {"n": ["b"]}}}),
            r"m\.sql: meta\.publish .* is not one of",
        ),
        (
            node("m", {"publish": {"replace_by": ["a"], "aslo": {"n": ["b"]}}}),
            r"m\.sql: meta\.publish .*aslo.* is not one",
        ),
        (node("m", {"publish": {"mode": "upsert"}}, columns={}), r"m\.sql: give the model one primary_key"),
    ],
)
def test_a_model_that_cannot_be_published_is_named(tmp_path: Path, broken: dict[str, Any], message: str) -> None:
    with pytest.raises(PublishError, match=message):
        marts(manifest(tmp_path, broken), tag="shop")


def test_a_model_says_which_columns_are_personal(tmp_path: Path) -> None:
    node = {
        "resource_type": "model",
        "name": "dim_person",
        "original_file_path": "models/dim_person.sql",
        "tags": ["shop"],
        "config": {"meta": {"publish": {"mode": "upsert"}}},
        "constraints": [{"type": "primary_key", "columns": ["id"]}],
        "columns": {
            "id": {"name": "id", "meta": {}},
            "email": {"name": "email", "meta": {"pii": "email"}},
        },
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": {"model.shop.dim_person": node}}))
    (mart,) = marts(tmp_path / "manifest.json", tag="shop")
    assert mart.personal == {"email": "email"}
