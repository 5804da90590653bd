"""Each record arrives once: whatever is asked again, comes late, breaks off on any page, or was asked for in vain."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from include.extract import ApiError
from include.pipeline import steps
from include.pipeline.model import Source
from include.warehouse.fence import Fence, Superseded
from include.warehouse.session import psycopg_session
from tests.extract.conftest import Answer, Request
from tests.pipeline.test_increments import FILES, Shop, server, shop

__all__ = ["server", "shop"]  # fixtures

PER_PAGE = 2
ORDERS = {
    "request": {
        "path": "/orders",
        "paging": {"kind": "token", "parameter": "at", "next": "next"},
        "records": "data",
    },
    "cursor": {"field": "at", "type": "timestamp", "parameter": "since", "look_back": {"days": 2, "by": "at"}},
    "load": {"mode": "upsert", "keys": ["id"]},
}
MONDAY = [(number, f"2026-11-16T{number:02d}:00:00Z") for number in range(1, 6)]
TUESDAY = [(number, f"2026-11-17T{number:02d}:00:00Z") for number in range(6, 15)]


def serve(shop: Shop, orders: list[tuple[int, str]], *, breaks_on: int | None = None) -> None:
    """An API that gives what is not older than `since`, page by page; it breaks off on a page."""

    def answer(request: Request) -> Answer:
        asked = {name: values[0] for name, values in request.query.items()}
        found = [{"id": number, "at": at} for number, at in sorted(orders) if at >= asked.get("since", "")]
        first = int(asked.get("at", 0))
        if breaks_on is not None and first // PER_PAGE == breaks_on:
            return Answer(status=500)
        page: dict[str, Any] = {"data": found[first : first + PER_PAGE]}
        if first + PER_PAGE < len(found):
            page["next"] = str(first + PER_PAGE)
        return Answer(body=json.dumps(page).encode())

    shop.server.answer = answer


@pytest.fixture
def orders(shop: Shop) -> Source:
    return shop.source(orders=ORDERS)


@pytest.fixture
def run(shop: Shop, orders: Source) -> Callable[[str], int]:
    """Run the source for a day up to raw; the rows loaded."""

    def of_day(day: str) -> int:
        landing = shop.fetch(orders, "orders", day=day)
        loaded = shop.load(orders, landing)
        shop.publish(landing)
        return loaded

    return of_day


def held(shop: Shop) -> list[int]:
    return sorted(payload["id"] for (payload,) in shop.raw("orders"))


def marks(shop: Shop) -> list[tuple[Any, ...]]:
    with psycopg_session(shop.dsn) as session:
        return session.execute(
            "select day::text, value from ops.cursor_mark where source = %s order by 1", (shop.name,)
        )


def test_a_second_run_reads_nothing_new_and_changes_no_row(shop: Shop, run: Callable[[str], int]) -> None:
    serve(shop, MONDAY)
    assert run("2026-11-16") == 5
    rows, marked = shop.raw("orders", "*"), marks(shop)
    with pytest.raises(steps.NothingToDo, match="unchanged since landing"):
        run("2026-11-16")
    assert (shop.raw("orders", "*"), marks(shop)) == (rows, marked)


def test_a_cursor_in_the_far_future_brings_no_row_and_is_kept(shop: Shop, run: Callable[[str], int]) -> None:
    serve(shop, MONDAY)
    run("2026-11-16")
    with psycopg_session(shop.dsn) as session:
        session.execute(
            "update ops.cursor_mark set day = '2999-12-28', value = '2999-12-28T00:00:00Z' where source = %s",
            (shop.name,),
        )
    rows, marked = shop.raw("orders", "*"), marks(shop)
    serve(shop, MONDAY + TUESDAY)
    with pytest.raises(steps.NothingToDo, match="nothing new since the cursor"):
        run("2999-12-31")
    assert shop.asked("/orders")[-1] == {"since": "2999-12-28T00:00:00Z"}
    assert (shop.raw("orders", "*"), marks(shop)) == (rows, marked)


def test_a_run_that_breaks_off_on_any_page_is_made_up_for_and_asks_for_nothing_below_its_state(
    shop: Shop, run: Callable[[str], int]
) -> None:
    serve(shop, MONDAY)
    run("2026-11-16")
    rows, marked = shop.raw("orders", "*"), marks(shop)
    for page in range(5):
        serve(shop, MONDAY + TUESDAY, breaks_on=page)
        with pytest.raises((ApiError, steps.FetchError)):
            run("2026-11-19")
        assert (shop.raw("orders", "*"), marks(shop)) == (rows, marked)
    before = len(shop.asked("/orders"))
    serve(shop, MONDAY + TUESDAY)
    assert run("2026-11-19") == 10  # the last of Monday again, and all of Tuesday
    assert {asked["since"] for asked in shop.asked("/orders")[before:]} == {"2026-11-16T05:00:00Z"}
    assert held(shop) == list(range(1, 15))


def test_what_is_written_late_within_the_look_back_arrives_once(shop: Shop, run: Callable[[str], int]) -> None:
    serve(shop, MONDAY + TUESDAY)
    run("2026-11-17")
    late = (99, "2026-11-17T00:30:00Z")  # below the cursor, which stands at the end of Tuesday
    serve(shop, [*MONDAY, *TUESDAY, late])
    for day in ("2026-11-18", "2026-11-19"):
        run(day)
    assert held(shop) == [*range(1, 15), 99]


@pytest.mark.parametrize("entity", [{"request": {"path": "/things"}}, FILES], ids=["documents", "rows"])
def test_a_zombie_of_a_load_that_was_tried_again_commits_nothing(shop: Shop, entity: dict[str, Any]) -> None:
    source = shop.source(things=entity)
    shop.drop("sales/a.csv", b"id,town\n1,Oslo\n")
    shop.answers({"/things": lambda _: [{"id": 1}]})
    landing = shop.fetch(source, "things")
    zombie, again = (Fence(f"{shop.name}/run/load_things", number) for number in (1, 2))

    def load(fence: Fence) -> int:
        return steps.load(source, "things", [landing], store=shop.store, dsn=shop.dsn, fence=fence)

    zombie.enter(shop.dsn)
    again.enter(shop.dsn)
    with pytest.raises(Superseded, match="a later try has taken over"):
        load(zombie)
    assert shop.raw("things", "_row") == []
    assert load(again) == 1
    with pytest.raises(Superseded):
        load(zombie)
    assert shop.raw("things", "_row") == [(0,)]


def test_a_full_refresh_that_breaks_off_leaves_the_old_rows_readable_and_the_next_one_swaps(shop: Shop) -> None:
    source = shop.source(prices={"request": {"path": "/prices"}, "load": {"mode": "replace"}})
    shop.answers({"/prices": lambda _: [{"n": 1}, {"n": 2}]})
    shop.load(source, shop.fetch(source, "prices"))
    old = shop.raw("prices", "*")

    shop.answers({"/prices": lambda _: [{"n": 3}, {"n": 4}, {"n": 5}]})
    new = shop.fetch(source, "prices")
    key = new["uri"].removeprefix(f"s3://{shop.store.bucket}/") + "part-00001.ndjson.zst"
    whole = shop.s3.client.get_object(Bucket=shop.store.bucket, Key=key)["Body"].read()
    shop.s3.client.put_object(Bucket=shop.store.bucket, Key=key, Body=whole[: len(whole) // 2])
    with pytest.raises(Exception, match="changed after landing"):
        shop.load(source, new)
    assert shop.raw("prices", "*") == old

    shop.s3.client.put_object(Bucket=shop.store.bucket, Key=key, Body=whole)
    shop.load(source, new)
    assert [payload["n"] for (payload,) in shop.raw("prices")] == [3, 4, 5]
