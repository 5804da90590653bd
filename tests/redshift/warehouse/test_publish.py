"""Publishing on Redshift: slices, upserts and whole tables, at once or not at all; shapes that change; masks."""

from collections.abc import Callable

import pytest

from include.warehouse.marts import Mart, PublishError
from include.warehouse.publish import Published, publish
from tests.redshift.warehouse.conftest import Warehouse

TRIPS = Mart("trips", ("trip",), replace_by=("month",))
PEOPLE = Mart("people", ("person",), personal={"name": "name", "email": "email", "born": "birth_date"})


def build(warehouse: Warehouse, name: str, columns: str, *rows: str) -> None:
    """A mart as dbt makes it."""
    insert = [f"insert into marts.{name} values {', '.join(rows)}"] if rows else []
    warehouse.ask(
        f"drop table if exists marts.{name}",
        f"create table marts.{name} ({columns})",
        *insert,
        user="sluice_transformer",
    )


@pytest.fixture
def clean(warehouse: Warehouse) -> None:
    for schema, name, kind in warehouse.ask(
        "select table_schema, table_name, table_type from svv_tables where table_schema in ('analytics', 'personal')"
    ):
        warehouse.ask(f"drop {'view' if kind == 'VIEW' else 'table'} if exists {schema}.{name} cascade")


def move(warehouse: Warehouse, *models: Mart, ids: tuple[int, ...] = (1,)) -> list[Published]:
    return publish(warehouse.dsn("sluice_publisher"), models, source="shop", dag_run_id="test", landing_ids=ids)


COLUMNS = "trip bigint not null, month varchar(7), fare integer, _landing_id bigint"


@pytest.mark.usefixtures("clean")
def test_slices_are_replaced_and_other_months_stay(warehouse: Warehouse) -> None:
    build(
        warehouse,
        "trips",
        f"{COLUMNS}) distkey (trip) sortkey (month",
        "(1, 'jan', 5, 1)",
        "(2, 'jan', 6, 1)",
        "(3, 'feb', 7, 1)",
    )
    assert move(warehouse, TRIPS) == [Published("trips", 0, 3)]
    build(warehouse, "trips", COLUMNS, "(1, 'jan', 50, 2)", "(9, 'feb', 1, 1)")
    assert move(warehouse, TRIPS, ids=(2,)) == [Published("trips", 2, 1)]
    assert warehouse.ask("select trip, fare from analytics.trips order by 1") == [(1, 50), (3, 7)]
    assert warehouse.ask(
        "select diststyle, sortkey1 from svv_table_info where \"table\" = 'trips' and schema = 'analytics'"
    ) == [("KEY(trip)", "month")]


@pytest.mark.usefixtures("clean")
def test_a_whole_table_is_made_equal_and_says_what_changed(warehouse: Warehouse) -> None:
    zones = Mart("zones", ("zone",), whole=True)
    build(warehouse, "zones", "zone bigint not null, name varchar(20)", "(1, 'a')", "(2, null)", "(3, 'c')")
    move(warehouse, zones)
    build(warehouse, "zones", "zone bigint not null, name varchar(20)", "(1, 'a')", "(2, 'b')")
    assert move(warehouse, zones) == [Published("zones", 1, 1)]
    assert warehouse.ask("select * from analytics.zones order by 1") == [(1, "a"), (2, "b")]


@pytest.mark.usefixtures("clean")
def test_a_key_that_is_brought_twice_publishes_nothing_of_any_mart(
    warehouse: Warehouse, book: Callable[..., int]
) -> None:
    landing = book()
    build(warehouse, "trips", COLUMNS, f"(1, 'jan', 5, {landing})")
    build(warehouse, "zones", "zone bigint, _landing_id bigint", f"(1, {landing})", f"(1, {landing})")
    with pytest.raises(PublishError, match=r"marts.zones: 1 keys \(zone\) are there more than once"):
        move(warehouse, TRIPS, Mart("zones", ("zone",)), ids=(landing,))
    assert warehouse.ask("select count(*) from svv_tables where table_schema = 'analytics'") == [(0,)]
    assert warehouse.ask(f"select published_at from ops.landing where landing_id = {landing}") == [(None,)]
    move(warehouse, TRIPS, ids=(landing,))
    assert warehouse.ask(f"select published_at is not null from ops.landing where landing_id = {landing}") == [(True,)]


@pytest.mark.usefixtures("clean")
def test_a_changed_shape_keeps_what_fits_and_refuses_what_does_not(warehouse: Warehouse) -> None:
    build(warehouse, "trips", COLUMNS, "(1, 'jan', 5, 1)")
    move(warehouse, TRIPS)
    wider = "trip bigint not null, month varchar(7), fare bigint, note varchar(9), _landing_id bigint"
    build(warehouse, "trips", wider, "(2, 'feb', 6, 'x', 2)")
    ((published),) = move(warehouse, TRIPS, ids=(2,))
    assert published.changes == ("new column note", "fare: integer to bigint")
    assert warehouse.ask("select trip, fare, note from analytics.trips order by 1") == [(1, 5, None), (2, 6, "x")]
    narrow = "trip bigint not null, month varchar(1), fare bigint, note varchar(9), _landing_id bigint"
    build(warehouse, "trips", narrow, "(2, 'f', 6, 'x', 2)")
    with pytest.raises(
        PublishError, match=r"month is character varying.*2 published values would not be the same, and 1"
    ):
        move(warehouse, TRIPS, ids=(2,))
    assert warehouse.ask("select trip, month from analytics.trips order by 1") == [(1, "jan"), (2, "feb")]
    build(warehouse, "trips", narrow, "(1, 'j', 5, 'x', 2)", "(2, 'f', 6, 'x', 2)")
    ((published),) = move(warehouse, TRIPS, ids=(1, 2))
    assert (published.rows_deleted, published.rows_inserted) == (2, 2)


@pytest.mark.usefixtures("clean")
def test_personal_columns_are_masked_for_all_but_users_in_pii_reader(warehouse: Warehouse) -> None:
    columns = "person bigint not null, name varchar(20), email varchar(20), born date, _landing_id bigint"
    build(warehouse, "people", columns, "(1, 'Ada', 'ada@example.org', '1815-12-10', 1)")
    move(warehouse, PEOPLE)
    assert move(warehouse, PEOPLE)[0].changes == ()
    query = "select person, name, email, born::varchar(10) from analytics.people"
    assert warehouse.ask(query, user="sluice_reporter") == [(1, "*****", "ada@e*****", None)]
    warehouse.ask("insert into ops.pii_reader values ('sluice_reporter')")
    try:
        assert warehouse.ask(query, user="sluice_reporter") == [(1, "Ada", "ada@example.org", "1815-12-10")]
    finally:
        warehouse.ask("delete from ops.pii_reader")
    with pytest.raises(Exception, match="permission denied"):
        warehouse.ask("select * from personal.people", user="sluice_reporter")


@pytest.mark.usefixtures("clean")
def test_a_mart_moves_behind_its_masks_with_its_first_personal_column(warehouse: Warehouse) -> None:
    build(warehouse, "people", "person bigint not null, name varchar(20), _landing_id bigint", "(1, 'Ada', 1)")
    move(warehouse, Mart("people", ("person",)))
    ((moved),) = move(warehouse, Mart("people", ("person",), personal={"name": "name"}), ids=(2,))
    assert moved.changes == ("moved from analytics to personal",)
    assert warehouse.ask("select name from analytics.people", user="sluice_reporter") == [("*****",)]
    assert warehouse.ask("select name from personal.people") == [("Ada",)]
