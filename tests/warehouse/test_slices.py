"""What a publish books of the slices that it has changed: all of them, and no more."""

from collections.abc import Callable
from typing import Any

import pytest

from include.warehouse.marts import Mart, SliceBy
from include.warehouse.session import psycopg_session
from include.warehouse.slices import all_slices, condition
from tests.conftest import Warehouse
from tests.warehouse.shop import ask, forget, move

Book = Callable[..., int]

SALE = Mart("sale", ("sale_key",), slice_by=(SliceBy("sold_at", "month"),))
STOCK = Mart("stock", ("item", "shop"), replace_by=("shop",), slice_by=(SliceBy("shop"), SliceBy("counted_on")))


@pytest.fixture(autouse=True)
def built(warehouse: Warehouse) -> None:
    """Marts with nothing in them."""
    forget(warehouse, "sale", "stock")
    ask(
        warehouse,
        "create table marts.sale (sale_key bigint primary key, sold_at timestamptz, _landing_id bigint);"
        "create table marts.stock (item text, shop text, counted_on date, _landing_id bigint, "
        "primary key (item, shop))",
    )


def publish(warehouse: Warehouse, mart: Mart, landing_id: int, *rows: str) -> dict[str, Any] | None:
    """Build rows, publish them; what was booked of their slices."""
    values = ", ".join(f"({row}, {landing_id})" for row in rows)
    key = ", ".join(mart.key)
    if rows:
        updates = ", ".join(
            f"{name} = excluded.{name}" for name in ("_landing_id", *(by.column for by in mart.slice_by))
        )
        ask(warehouse, f"insert into marts.{mart.name} values {values} on conflict ({key}) do update set {updates}")
    move(warehouse, [mart], landing_id)
    ((slices,),) = ask(
        warehouse, "select slices from ops.publication order by publication_id desc limit 1", "sluice_publisher"
    )
    booked: dict[str, Any] | None = slices
    return booked


def changed(warehouse: Warehouse, mart: Mart, landing_id: int, *rows: str) -> list[list[str | None]]:
    """The slices that were booked."""
    booked = publish(warehouse, mart, landing_id, *rows)
    assert booked is not None
    return list(booked["slices"])


def test_upsert_books_the_slices_that_rows_came_to_and_those_they_have_left(warehouse: Warehouse, book: Book) -> None:
    first = publish(warehouse, SALE, book(), "1, '2024-01-31 23:30Z'", "2, '2024-02-01 00:30+01'", "3, null")
    assert first == {"by": ["sold_at_month"], "slices": [[None], ["2024-01"]]}
    assert changed(warehouse, SALE, book(), "2, '2024-03-01Z'") == [["2024-01"], ["2024-03"]]
    assert changed(warehouse, SALE, book()) == []


def test_replacing_books_what_was_deleted_too(warehouse: Warehouse, book: Book) -> None:
    publish(warehouse, STOCK, book(), "'nut', 'east', '2024-01-01'", "'nut', 'west', '2024-01-01'")
    booked = publish(warehouse, STOCK, book(), "'nut', 'east', '2024-01-02'")
    assert booked == {"by": ["shop", "counted_on"], "slices": [["east", "2024-01-01"], ["east", "2024-01-02"]]}


def test_a_change_of_shape_books_all(warehouse: Warehouse, book: Book) -> None:
    publish(warehouse, SALE, book(), "1, '2024-01-01Z'")
    ask(warehouse, "alter table marts.sale add column usd numeric(8, 2)")
    move(warehouse, [SALE], book())
    assert ask(
        warehouse,
        "select changes, slices from ops.publication order by publication_id desc limit 1",
        "sluice_publisher",
    ) == [(["new column usd"], None)]


def test_a_key_that_replacing_takes_from_another_slice_books_all(warehouse: Warehouse, book: Book) -> None:
    moving = Mart("sale", ("sale_key",), replace_by=("sold_at",), slice_by=(SliceBy("sold_at", "month"),))
    publish(warehouse, moving, book(), "1, '2024-01-01Z'")
    assert publish(warehouse, moving, book(), "1, '2024-02-01Z'") is None


def test_slices_part_the_mart(warehouse: Warehouse, book: Book) -> None:
    """Each row is in one, by the condition as by the name, whatever time zone the session has."""
    times = ("'2024-01-31 23:59:59.999999Z'", "'2024-02-01Z'", "'2023-12-31 23:30-01'", "null")
    publish(warehouse, SALE, book(), *(f"{number}, {at}" for number, at in enumerate(times)))
    with psycopg_session(warehouse.dsn("sluice_publisher")) as session:
        session.execute("set local timezone = 'Asia/Tokyo'")
        found = all_slices(session, "analytics.sale", SALE)
        conditions = [condition(session, "analytics.sale", SALE, one) for one in found]
        keys = [session.execute(f"select sale_key from analytics.sale where {one} order by 1") for one in conditions]
    assert found == [(None,), ("2024-01",), ("2024-02",)]
    assert keys == [[(3,)], [(0,), (2,)], [(1,)]]
