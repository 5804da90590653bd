"""A mart of another shape is published with its rows, in the same transaction, or refused with nothing changed."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from include.warehouse.publish import Mart, PublishError
from tests.conftest import Warehouse
from tests.warehouse.shop import ask, forget, move

Book = Callable[..., int]
Rows = list[tuple[Any, ...]]

SALE = Mart("fact_sale", ("sale_id",))
PRIVATE = Mart("fact_sale", ("sale_id",), personal={"buyer": "name"})
KIND = Mart("dim_kind", ("kind_id",), whole=True)
BOTH = pytest.mark.parametrize("mart", [SALE, PRIVATE], ids=["in analytics", "behind a mask"])


@pytest.fixture
def landing(warehouse: Warehouse, book: Book) -> Iterator[int]:
    """The landing of two rows in the mart; and a second mart that goes with it."""
    ask(warehouse, "drop schema if exists bi cascade", warehouse.server.superuser)
    forget(warehouse, "fact_sale", "dim_kind")
    landing_id = book()
    ask(
        warehouse,
        "create table marts.fact_sale (sale_id integer primary key, buyer text not null, usd numeric(8, 2), "
        "amount text, _landing_id bigint); create index on marts.fact_sale (_landing_id); "
        f"insert into marts.fact_sale values (1, 'Ada', 9.99, '10', {landing_id}), (2, 'Bo', 1.5, '011', {landing_id});"
        "create table marts.dim_kind (kind_id integer primary key, name text); "
        "insert into marts.dim_kind values (1, 'a')",
    )
    yield landing_id
    ask(warehouse, "drop schema if exists bi cascade", warehouse.server.superuser)
    forget(warehouse, "fact_sale", "dim_kind")


def columns(warehouse: Warehouse) -> dict[str, str]:
    """Column -> type of what readers ask."""
    return dict(
        ask(
            warehouse,
            "select attname::text, format_type(atttypid, atttypmod) from pg_attribute where attnum > 0 "
            "and attrelid = 'analytics.fact_sale'::regclass and not attisdropped",
            "analyst",
        )
    )


def shown(warehouse: Warehouse, selected: str = "*") -> Rows:
    return ask(warehouse, f"select {selected} from analytics.fact_sale order by sale_id", "pii_reader")


def state(warehouse: Warehouse) -> tuple[Any, ...]:
    """All that a publish could have changed."""
    booked = "select count(*), count(published_at) from ops.landing union all select count(*), 0 from ops.publication"
    return (
        columns(warehouse),
        shown(warehouse),
        ask(warehouse, "select * from analytics.dim_kind", "analyst"),
        ask(warehouse, booked, "sluice_publisher"),
    )


def refused(warehouse: Warehouse, message: str, mart: Mart, *landing_ids: int) -> None:
    """Nothing is published, of the models before it neither, and the fault is named."""
    ask(warehouse, "insert into marts.dim_kind values (2, 'b')")
    before = state(warehouse)
    with pytest.raises(PublishError, match=message):
        move(warehouse, [KIND, mart], *landing_ids)
    assert state(warehouse) == before


@BOTH
def test_a_new_column_is_published_with_the_rows_that_have_it(
    warehouse: Warehouse, landing: int, book: Book, mart: Mart
) -> None:
    move(warehouse, [mart], landing)
    second = book()
    ask(
        warehouse,
        "alter table marts.fact_sale add column city text; "
        f"insert into marts.fact_sale values (3, 'Cy', 1, '1', {second}, 'Oslo')",
    )
    assert move(warehouse, [mart], second)["fact_sale"].changes[0] == "new column city"
    assert shown(warehouse, "sale_id, city") == [(1, None), (2, None), (3, "Oslo")]


@BOTH
def test_a_column_that_the_mart_has_lost_goes(warehouse: Warehouse, landing: int, mart: Mart) -> None:
    move(warehouse, [mart], landing)
    ask(warehouse, "alter table marts.fact_sale drop column amount")
    assert "column amount dropped" in move(warehouse, [mart], landing)["fact_sale"].changes
    assert set(columns(warehouse)) == {"sale_id", "buyer", "usd", "_landing_id"}
    assert shown(warehouse, "sale_id, usd::float") == [(1, 9.99), (2, 1.5)]


@BOTH
@pytest.mark.parametrize(
    ("column", "kind", "values"),
    [
        ("sale_id", "bigint", [1, 2]),
        ("usd", "numeric(12,4)", ["9.9900", "1.5000"]),
        ("usd", "double precision", ["9.99", "1.5"]),
        ("usd", "text", ["9.99", "1.50"]),
        ("amount", "integer", [10, 11]),
        ("amount", "character varying(3)", ["10", "011"]),
    ],
)
def test_a_change_of_type_that_every_published_value_survives_is_made_in_place(
    warehouse: Warehouse, landing: int, book: Book, mart: Mart, column: str, kind: str, values: list[object]
) -> None:
    move(warehouse, [mart], landing)
    ask(warehouse, f"alter table marts.fact_sale alter column {column} type {kind} using {column}::{kind}")
    done = move(warehouse, [mart], book())["fact_sale"]  # a run without rows: what is published is changed as it is
    assert done.changes[0].startswith(f"{column}: ")
    assert (done.rows_deleted, done.rows_inserted) == (0, 0)
    assert columns(warehouse)[column] == kind
    shown_as = column if isinstance(values[0], int) else f"{column}::text"
    assert shown(warehouse, shown_as) == [(value,) for value in values]


@BOTH
@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        (
            "usd",
            "integer using usd::integer",
            r"usd is numeric\(8,2\), the mart's is integer, in which 2 published values",
        ),
        (
            "amount",
            "varchar(2) using left(amount, 2)",
            r"amount is text, .*character varying\(2\), in which 1 published",
        ),
        ("buyer", "integer using sale_id", r"buyer is text, .* integer, which published rows do not fit \(InvalidText"),
        ("usd", "date using null", r"usd is numeric\(8,2\), .* date, which published rows do not fit \(CannotCoerce"),
    ],
)
def test_a_change_of_type_that_would_lose_values_is_refused_unless_the_run_brings_all_rows(
    warehouse: Warehouse, landing: int, book: Book, mart: Mart, column: str, change: str, message: str
) -> None:
    move(warehouse, [KIND, mart], landing)
    other = book(partition="2024-02")
    ask(
        warehouse,
        f"insert into marts.fact_sale values (3, 'Cy', 7, '1', {other}); "
        f"alter table marts.fact_sale alter column {column} type {change}",
    )
    refused(warehouse, rf"fact_sale: {message}.*; nothing was published\. Run the DAG with from_landing", mart, other)
    done = move(warehouse, [mart], landing, other)["fact_sale"]
    assert done.changes[0].startswith(f"made anew: {column} is ")
    assert (done.rows_deleted, done.rows_inserted) == (2, 3)
    held = ask(warehouse, f"select sale_id, {column} from marts.fact_sale order by 1")
    assert shown(warehouse, f"sale_id, {column}") == held
    if mart is PRIVATE and column != "buyer":
        masks = ask(warehouse, "select distinct buyer from analytics.fact_sale", "analyst")
        assert masks == [("*****",)]


def test_a_small_table_without_landings_is_made_anew_at_once(warehouse: Warehouse, landing: int) -> None:
    ask(warehouse, "insert into marts.dim_kind values (2, 'b')")
    move(warehouse, [KIND])
    ask(warehouse, "alter table marts.dim_kind alter column name type integer using kind_id * 10")
    move(warehouse, [KIND])
    assert ask(warehouse, "select * from analytics.dim_kind order by 1", "analyst") == [(1, 10), (2, 20)]


@BOTH
def test_another_key_is_the_key_of_what_is_published(
    warehouse: Warehouse, landing: int, book: Book, mart: Mart
) -> None:
    move(warehouse, [mart], landing)
    again, second = Mart("fact_sale", ("sale_id", "buyer"), personal=mart.personal), book()
    ask(
        warehouse,
        "alter table marts.fact_sale drop constraint fact_sale_pkey, add primary key (sale_id, buyer); "
        f"insert into marts.fact_sale values (1, 'Cy', 5, '5', {second})",
    )
    assert move(warehouse, [again], second)["fact_sale"].changes == ("key (sale_id, buyer)",)
    assert shown(warehouse, "sale_id, buyer") == [(1, "Ada"), (1, "Cy"), (2, "Bo")]


@BOTH
def test_a_key_that_published_rows_break_is_refused_unless_the_run_brings_all_rows(
    warehouse: Warehouse, landing: int, book: Book, mart: Mart
) -> None:
    ask(warehouse, f"insert into marts.fact_sale values (3, 'Ada', 7, '1', {landing})")
    move(warehouse, [KIND, mart], landing)
    by_buyer, second = Mart("fact_sale", ("buyer",), personal=mart.personal), book()
    ask(
        warehouse,
        "delete from marts.fact_sale where sale_id = 3; "
        "alter table marts.fact_sale drop constraint fact_sale_pkey, add primary key (buyer)",
    )
    message = r"the key is now \(buyer\), which published rows do not fit \(UniqueViolation\), and 3 rows are not"
    refused(warehouse, message, by_buyer, second)
    assert move(warehouse, [by_buyer], landing)["fact_sale"].rows_inserted == 2
    assert shown(warehouse, "sale_id, buyer") == [(1, "Ada"), (2, "Bo")]


def test_what_the_mart_no_longer_needs_readers_may_miss(warehouse: Warehouse, landing: int, book: Book) -> None:
    move(warehouse, [SALE], landing)
    second = book()
    ask(
        warehouse,
        "alter table marts.fact_sale alter column buyer drop not null; "
        f"insert into marts.fact_sale values (3, null, 1, '1', {second})",
    )
    move(warehouse, [SALE], second)
    assert shown(warehouse, "buyer") == [("Ada",), ("Bo",), (None,)]


@pytest.mark.parametrize(
    ("mart", "after", "change", "message"),
    [
        (SALE, SALE, "drop column amount", "column amount goes"),
        (PRIVATE, PRIVATE, "drop column amount", "column amount goes"),
        (SALE, SALE, "alter column amount type varchar(9)", "amount changes its type"),
        (PRIVATE, PRIVATE, "alter column amount type varchar(9)", "amount changes its type"),
        (SALE, SALE, "alter column amount type date using null", "amount changes its type"),
        (SALE, PRIVATE, "add column city text", "it moves to the schema personal"),
        (PRIVATE, SALE, "add column city text", "it becomes a table in analytics"),
    ],
)
def test_a_view_of_a_user_that_needs_what_goes_is_named_and_nothing_is_changed(
    warehouse: Warehouse, landing: int, mart: Mart, after: Mart, change: str, message: str
) -> None:
    move(warehouse, [KIND, mart], landing)
    ask(
        warehouse,
        "create schema bi; create view bi.sales as select sale_id, amount from analytics.fact_sale",
        warehouse.server.superuser,
    )
    ask(warehouse, f"alter table marts.fact_sale {change}")
    refused(warehouse, rf"fact_sale: {message}, and view bi\.sales needs it.*Drop it, publish again", after, landing)
    ask(warehouse, "drop view bi.sales", warehouse.server.superuser)
    move(warehouse, [KIND, after], landing)


def test_a_view_of_a_user_that_needs_other_columns_goes_on(warehouse: Warehouse, landing: int) -> None:
    move(warehouse, [SALE], landing)
    ask(
        warehouse,
        "create schema bi; create view bi.sales as select sale_id, buyer from analytics.fact_sale",
        warehouse.server.superuser,
    )
    ask(warehouse, "alter table marts.fact_sale drop column amount, alter column usd type text, add column city text")
    move(warehouse, [SALE], landing)
    assert ask(warehouse, "select * from bi.sales order by 1", warehouse.server.superuser) == [(1, "Ada"), (2, "Bo")]


def test_what_was_changed_of_a_shape_is_booked(warehouse: Warehouse, landing: int) -> None:
    move(warehouse, [SALE], landing)
    ask(warehouse, "alter table marts.fact_sale drop column amount, alter column usd type text, add column city text")
    move(warehouse, [SALE], landing)
    booked = "select model, landing_ids, changes from ops.publication order by publication_id desc limit 1"
    changes = ["usd: numeric(8,2) to text", "column amount dropped", "new column city"]
    assert ask(warehouse, booked, "operator") == [("fact_sale", [landing], changes)]


def test_values_of_rows_are_in_no_message(warehouse: Warehouse, landing: int, book: Book) -> None:
    move(warehouse, [PRIVATE], landing)
    ask(warehouse, "alter table personal.fact_sale add check (buyer <> 'Secret Person')", "sluice_publisher")
    second = book()
    ask(warehouse, f"insert into marts.fact_sale values (9, 'Secret Person', 1, '1', {second})")
    with pytest.raises(PublishError, match=r"violates check constraint") as error:
        move(warehouse, [PRIVATE], second)
    assert "Secret" not in str(error.value)
    assert error.value.__suppress_context__
