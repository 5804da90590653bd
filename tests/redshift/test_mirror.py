"""Published marts in Redshift, through the front: what has changed, all of a run at once, whatever stops on the way."""

import pytest

from include.parquet import Bucket
from include.pipeline.mirror import Mirror, mirror_marts
from include.warehouse import mirror
from include.warehouse.marts import Mart, SliceBy
from include.warehouse.mirror import MirrorError
from tests.conftest import S3, Warehouse
from tests.landings import book
from tests.redshift.conftest import ADMIN, PASSWORD, ROLE, Redshift
from tests.warehouse.shop import ask, forget, move

TRIP = Mart("trip", ("trip_id",), replace_by=("service", "month"), slice_by=(SliceBy("service"), SliceBy("month")))
VISIT = Mart("visit", ("visit_id",), slice_by=(SliceBy("seen_at", "month"),))
PERSON = Mart("person", ("person_id",), personal={"email": "email", "born_on": "birth_date"})
MARTS = [TRIP, VISIT, PERSON]


@pytest.fixture(autouse=True)
def built(warehouse: Warehouse, redshift: Redshift) -> None:
    """Marts with a few rows, and an empty Redshift."""
    forget(warehouse, "trip", "visit", "person")
    ask(warehouse, "truncate ops.export_mark, ops.publication", warehouse.server.superuser)
    redshift.run("drop schema if exists analytics cascade", "drop schema if exists ops cascade")
    ask(
        warehouse,
        """
        create table marts.trip (trip_id bigint primary key, service text, month date, usd numeric(12, 2),
            is_paid boolean, _landing_id bigint);
        create table marts.visit (visit_id integer primary key, seen_at timestamptz, share double precision,
            place jsonb, _landing_id bigint);
        create table marts.person (person_id bigint primary key, email text, born_on date, _landing_id bigint);
        """,
    )


@pytest.fixture
def to(warehouse: Warehouse, redshift: Redshift, s3: S3) -> Mirror:
    """The way there."""
    own = mirror.Redshift(redshift.host, redshift.port, redshift.dbname, ADMIN, PASSWORD, ROLE, ssl=False)
    return Mirror(Bucket(s3.client, s3.bucket), own, warehouse.dsn("sluice_reporter"))


def publish(warehouse: Warehouse, **rows: list[str]) -> None:
    """Build rows of marts (mart -> SQL values without the landing), and publish them."""
    landing_id = book(warehouse.dsn("sluice_loader"))
    for name, values in rows.items():
        listed = ", ".join(f"({one}, {landing_id})" for one in values)
        (key,) = next(mart.key for mart in MARTS if mart.name == name)
        ask(warehouse, f"delete from marts.{name} where {key} in (select k from (values {listed}) as v(k))")
        ask(warehouse, f"insert into marts.{name} values {listed}")
    move(warehouse, MARTS, landing_id)


def expect_equal(warehouse: Warehouse, redshift: Redshift) -> None:
    """Each mart: Redshift holds what an analyst sees."""
    for mart in MARTS:
        columns = [name for (name,) in ask(
            warehouse, f"select attname from pg_attribute where attrelid = 'analytics.{mart.name}'::regclass "
            "and attnum > 0 and not attisdropped order by attnum", "analyst",
        )]  # fmt: skip
        listed = ", ".join(columns)
        here = ", ".join({"seen_at": "seen_at at time zone 'UTC'", "place": "place::text"}.get(c, c) for c in columns)
        seen = ask(warehouse, f"select {here} from analytics.{mart.name} order by 1", "analyst")
        assert redshift.run(f"select {listed} from analytics.{mart.name} order by 1") == seen, mart.name
        assert seen


def start(warehouse: Warehouse) -> None:
    publish(
        warehouse,
        trip=["1, 'green', date '2024-01-01', 10.50, true", "2, 'yellow', date '2024-01-01', null, null"],
        visit=["1, '2024-01-31 23:59:59.999999Z', 0.1, '{\"a\": 1}'", "2, '2024-02-01 00:30+01', null, null",
               "3, null, 1, null"],
        person=["1, 'ada.lovelace@example.org', date '1815-12-10'"],
    )  # fmt: skip


def test_redshift_holds_what_an_analyst_sees(warehouse: Warehouse, redshift: Redshift, to: Mirror, s3: S3) -> None:
    """Masked; nothing is left in between, and a second time there is nothing to do."""
    start(warehouse)
    assert mirror_marts(to, "shop", MARTS) == {"trip": 2, "visit": 3, "person": 1}
    expect_equal(warehouse, redshift)
    assert redshift.run("select email from analytics.person") == [("ada.l*****",)]
    assert mirror_marts(to, "shop", MARTS) == {}
    assert s3.client.list_objects_v2(Bucket=s3.bucket).get("KeyCount") == 0


def test_what_has_changed_is_copied_and_no_more(warehouse: Warehouse, redshift: Redshift, to: Mirror) -> None:
    """A correction, a row that moves to another slice, a slice without rows."""
    start(warehouse)
    mirror_marts(to, "shop", MARTS)
    publish(warehouse, trip=["1, 'green', date '2024-01-01', 11, false"], visit=["2, '2024-03-01Z', 2, null"])
    assert mirror_marts(to, "shop", MARTS) == {"trip": 1, "visit": 2, "person": 0}
    expect_equal(warehouse, redshift)
    publish(warehouse, visit=["3, '2024-03-02Z', 2, null"])
    mirror_marts(to, "shop", MARTS)
    expect_equal(warehouse, redshift)


def test_a_change_of_shape_is_followed(warehouse: Warehouse, redshift: Redshift, to: Mirror) -> None:
    """A new column, one that goes, one of another type."""
    start(warehouse)
    mirror_marts(to, "shop", MARTS)
    ask(
        warehouse,
        "alter table marts.trip add column tip_usd numeric(6, 2), drop column is_paid, alter column usd type text",
    )
    publish(warehouse)
    assert mirror_marts(to, "shop", MARTS)["trip"] == 2
    expect_equal(warehouse, redshift)


def test_a_copy_that_fails_has_changed_nothing_and_the_next_makes_up_for_it(
    warehouse: Warehouse, redshift: Redshift, to: Mirror, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the last of the marts: the others' rows are not there either."""
    start(warehouse)
    mirror_marts(to, "shop", MARTS)
    before = redshift.run("select * from analytics.trip order by 1")
    take = mirror.Session.take

    def fails(self: mirror.Session, one: mirror.Copied) -> None:
        take(self, one)
        if one.name == "visit":
            self._run("select 1 / 0")

    monkeypatch.setattr(mirror.Session, "take", fails)
    publish(warehouse, trip=["1, 'green', date '2024-01-01', 11, false"])
    with pytest.raises(MirrorError, match=r"refused it: division by zero; nothing was copied, and the next run makes"):
        mirror_marts(to, "shop", MARTS)
    assert redshift.run("select * from analytics.trip order by 1") == before
    assert s3.client.list_objects_v2(Bucket=s3.bucket).get("KeyCount") == 0
    monkeypatch.undo()
    publish(warehouse, trip=["2, 'yellow', date '2024-01-01', 7, true"])
    assert mirror_marts(to, "shop", MARTS)["trip"] == 2
    expect_equal(warehouse, redshift)


def test_a_table_that_was_dropped_comes_back_whole(warehouse: Warehouse, redshift: Redshift, to: Mirror) -> None:
    start(warehouse)
    mirror_marts(to, "shop", MARTS)
    redshift.run("drop table analytics.trip")
    assert mirror_marts(to, "shop", MARTS) == {"trip": 2}
    expect_equal(warehouse, redshift)
