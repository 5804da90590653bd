"""Personal columns: masks for all but those who may see them, whatever is asked; and marts that gain or lose them."""

from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest

from include.warehouse.masks import MASKS
from include.warehouse.publish import Mart, PublishError, publish
from tests.conftest import Warehouse
from tests.warehouse.shop import ask, forget, move

Book = Callable[..., int]

KINDS = {"person_name": "name", "email": "email", "born": "birth_date", "shoe": "shoe_size", "tags": "name"}
PERSON = Mart("dim_person", ("person_key",), personal=KINDS)
PLAIN = Mart("dim_person", ("person_key",))
MASKED_READERS = ("analyst", "operator", "sluice_reporter")
ADA = ("k1", "Ada Lovelace", "ada@example.org", "1815-12-10", "38", ["countess"])
MASKED_ADA = ("k1", "*****", "ada@e*****", None, "*****", None)
SHOWN = "select person_key, person_name, email, born::text, shoe, tags from analytics.dim_person order by 1"
ROWS = 5_000


@pytest.fixture
def landing(warehouse: Warehouse, book: Book) -> Iterator[int]:
    """The landing of a mart with one row, Ada's, and nothing published."""
    forget(warehouse, "dim_person")
    landing_id = book()
    ask(
        warehouse,
        "create table marts.dim_person (person_key text primary key, person_name text, email varchar(40), born date, "
        "shoe text, tags text[], _landing_id bigint); insert into marts.dim_person values "
        f"('k1', 'Ada Lovelace', 'ada@example.org', '1815-12-10', '38', '{{countess}}', {landing_id})",
    )
    yield landing_id
    forget(warehouse, "dim_person")


@pytest.fixture
def many(warehouse: Warehouse, landing: int) -> int:
    """The same with thousands of rows, published, and Postgres knows their statistics."""
    ask(
        warehouse,
        "insert into marts.dim_person select 'n' || i, 'Ada Lovelace', 'user' || i || '@example.org', '1990-01-01', "
        f"'39', null, {landing} from generate_series(1, {ROWS}) as i",
    )
    move(warehouse, [PERSON], landing)
    ask(warehouse, "analyze personal.dim_person", "sluice_publisher")
    return landing


def plan(warehouse: Warehouse, role: str, query: str) -> str:
    return "\n".join(line for (line,) in ask(warehouse, f"explain {query}", role))


def estimate(warehouse: Warehouse, role: str, query: str) -> int:
    ((found,),) = ask(warehouse, f"explain (format json) {query}", role)
    return int(found[0]["Plan"]["Plan Rows"])


def place(warehouse: Warehouse) -> dict[str, str]:
    """Schema -> kind of what is there of dim_person."""
    return dict(
        ask(
            warehouse,
            "select relnamespace::regnamespace::text, relkind::text from pg_class where relname = 'dim_person' "
            "and relnamespace <> 'marts'::regnamespace",
            warehouse.server.superuser,
        )
    )


def test_readers_see_masks_and_those_who_may_see_clear_values(warehouse: Warehouse, landing: int) -> None:
    move(warehouse, [PERSON], landing)
    for role in MASKED_READERS:
        assert ask(warehouse, SHOWN, role) == [MASKED_ADA]
        assert ask(warehouse, "select * from analytics.dim_person", role) == [(*MASKED_ADA, landing)]
    assert ask(warehouse, SHOWN, "pii_reader") == [ADA]


def test_who_is_made_a_member_of_pii_reader_sees_clear_values_until_it_is_taken_back(
    warehouse: Warehouse, landing: int
) -> None:
    move(warehouse, [PERSON], landing)
    superuser = warehouse.server.superuser
    ask(warehouse, "create role grace login in role analyst", superuser)
    as_grace = f"set session authorization grace; {SHOWN}"
    try:
        assert ask(warehouse, as_grace, superuser) == [MASKED_ADA]
        ask(warehouse, "grant pii_reader to grace", superuser)
        assert ask(warehouse, as_grace, superuser) == [ADA]
        ask(warehouse, "revoke pii_reader from grace", superuser)
        assert ask(warehouse, as_grace, superuser) == [MASKED_ADA]
    finally:
        ask(warehouse, "drop role grace", superuser)


def test_a_mask_does_not_say_whether_there_is_a_value_nor_how_long_it_is(warehouse: Warehouse, landing: int) -> None:
    ask(
        warehouse,
        f"insert into marts.dim_person values ('k2', null, null, null, null, null, {landing}), "
        f"('k3', '', '', null, 'a much longer text', null, {landing})",
    )
    move(warehouse, [PERSON], landing)
    masks = "select distinct person_name, born, shoe, tags from analytics.dim_person"
    assert ask(warehouse, masks, "analyst") == [("*****", None, "*****", None)]
    emails = "select email from analytics.dim_person order by person_key"
    assert ask(warehouse, emails, "analyst") == [("ada@e*****",), ("*****",), ("*****",)]


def test_every_kind_of_sources_md_has_its_mask() -> None:
    full = {"name", "personal_number", "birth_date", "address", "phone", "person_id"}
    five = {"user_name", "email", "mac_address", "ip_address", "iban"}
    assert {kind for kind, mask in MASKS.items() if mask == "full"} == full
    assert {kind for kind, mask in MASKS.items() if mask == "first five"} == five


@pytest.mark.parametrize("role", [*MASKED_READERS, "pii_reader", "sluice_gate", "sluice_loader", "sluice_transformer"])
def test_nobody_reads_around_the_mask(warehouse: Warehouse, landing: int, role: str) -> None:
    move(warehouse, [PERSON], landing)
    for around in (
        "select person_key from personal.dim_person",
        "copy personal.dim_person to stdout",
        "table personal.dim_person",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(warehouse, around, role)


def test_a_predicate_meets_the_mask(warehouse: Warehouse, many: int) -> None:
    for found in (
        "email = 'ada@example.org'",
        "email ~ 'example'",
        "person_name like 'Ada%'",
        "born < date '1900-01-01'",
        "born is not null",
        "shoe <> '*****'",
        "tags @> '{countess}'",
        "length(person_name) <> 5",
        "person_key = 'k1' and person_name > 'A'",
    ):
        query = f"select count(*) from analytics.dim_person where {found}"
        assert ask(warehouse, query, "analyst") == [(0,)], found
        assert ask(warehouse, query, "pii_reader") != [(0,)], found


def test_a_function_or_an_error_in_a_query_meets_the_mask(warehouse: Warehouse, landing: int) -> None:
    move(warehouse, [PERSON], landing)
    told = spied(warehouse, "analyst", "select count(*) from analytics.dim_person where pg_temp.spy(email)")
    assert told == ["ada@e*****"]
    for query in (
        "select email::int from analytics.dim_person",
        "select person_name::date from analytics.dim_person",
        "select 1 / (position('@' in email) - 4) from analytics.dim_person where shoe::int > 1",
    ):
        with pytest.raises(psycopg2.Error) as error:
            ask(warehouse, query, "analyst")
        assert not [part for part in ("Ada", "example.org", "38") if part in str(error.value)]


def test_statistics_meet_the_mask(warehouse: Warehouse, many: int) -> None:
    for role in (*MASKED_READERS, "pii_reader"):
        assert ask(warehouse, "select * from pg_stats where schemaname in ('personal', 'analytics')", role) == []
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(warehouse, "select * from pg_statistic", role)
    # the planner asks an operator of one's own about the commonest values that it knows of a column
    leaks = "select count(*) from analytics.dim_person where {} operator(pg_temp.<<<) 'z'"
    assert (
        len(
            spied(
                warehouse,
                "sluice_publisher",
                "explain select 1 from personal.dim_person where person_name operator(pg_temp.<<<) 'z'",
            )
        )
        > 0
    )
    for column in ("email", "person_name", "shoe"):
        told = spied(warehouse, "analyst", f"explain {leaks.format(column)}")
        assert told == [], column


def test_estimates_are_the_same_whatever_is_behind_the_mask(warehouse: Warehouse, many: int) -> None:
    table = "select 1 from analytics.dim_person"
    common, rare = (
        estimate(warehouse, "analyst", f"{table} where person_name = '{name}'") for name in ("Ada Lovelace", "Bo")
    )
    assert common == rare
    same, different = (
        estimate(warehouse, "analyst", f"select {column} from analytics.dim_person group by 1")
        for column in ("person_name", "email")
    )
    assert same == different
    # the same for a column that is clear: the estimates do tell
    assert estimate(warehouse, "analyst", "select person_key from analytics.dim_person group by 1") >= same


@pytest.mark.parametrize("role", ["analyst", "pii_reader"])
def test_a_row_asked_by_its_key_is_found_by_the_index(warehouse: Warehouse, many: int, role: str) -> None:
    for query in (
        "select * from analytics.dim_person where person_key = 'n77'",
        "select email from analytics.dim_person where person_key in ('n77', 'n78')",
    ):
        found = plan(warehouse, role, query)
        assert "dim_person_pkey" in found, found
        assert "Seq Scan" not in found, found


def spied(warehouse: Warehouse, role: str, query: str) -> list[str]:
    """What a cheap function and an operator of the asking role's own are given while a query is planned and run."""
    with closing(psycopg2.connect(warehouse.dsn(role))) as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            create function pg_temp.spy(a text) returns boolean language plpgsql cost 0.0000001 as
                $$ begin raise notice 'spied: %', a; return true; end $$;
            create function pg_temp.before(a text, b text) returns boolean language plpgsql as
                $$ begin raise notice 'spied: %', a; return a < b; end $$;
            create operator pg_temp.<<< (
                function = pg_temp.before, leftarg = text, rightarg = text, restrict = scalarltsel
            );
            """
        )
        cursor.execute(query)
        return [line.partition("spied: ")[2].strip() for line in connection.notices if "spied: " in line]


def test_a_mart_that_gains_its_first_personal_column_moves_with_the_publish(warehouse: Warehouse, landing: int) -> None:
    move(warehouse, [PLAIN], landing)
    assert place(warehouse) == {"analytics": "r"}
    assert ask(warehouse, SHOWN, "analyst") == [ADA]
    ask(
        warehouse,
        "create role bystander; grant select on analytics.dim_person to bystander",
        warehouse.server.superuser,
    )
    done = move(warehouse, [PERSON], landing)["dim_person"]
    assert done.changes == ("moved from analytics to personal",)
    assert place(warehouse) == {"personal": "r", "analytics": "v"}
    assert ask(warehouse, SHOWN, "analyst") == [MASKED_ADA]
    granted = "select count(*) from pg_class, aclexplode(relacl) where grantee <> relowner"
    assert ask(warehouse, f"{granted} and oid = 'personal.dim_person'::regclass", "sluice_publisher") == [(0,)]
    ask(warehouse, "drop role bystander", warehouse.server.superuser)


def test_a_mart_that_loses_its_last_personal_column_moves_back(warehouse: Warehouse, landing: int) -> None:
    move(warehouse, [PERSON], landing)
    done = move(warehouse, [PLAIN], landing)["dim_person"]
    assert done.changes == ("moved from personal to analytics",)
    assert place(warehouse) == {"analytics": "r"}
    assert [ask(warehouse, SHOWN, role) for role in MASKED_READERS] == [[ADA]] * 3


def test_a_move_that_fails_has_not_begun(warehouse: Warehouse, landing: int) -> None:
    move(warehouse, [PLAIN], landing)
    with pytest.raises(PublishError, match=r"marts\.nothing does not exist; nothing was published"):
        move(warehouse, [PERSON, Mart("nothing", ("id",))], landing)
    assert place(warehouse) == {"analytics": "r"}
    assert ask(warehouse, SHOWN, "analyst") == [ADA]


def test_a_warehouse_of_the_former_layout_is_carried_over_by_its_first_publish(
    warehouse: Warehouse, landing: int, book: Book
) -> None:
    ask(
        warehouse,
        "create table analytics.dim_person (like marts.dim_person including all); "
        f"insert into analytics.dim_person values ('k0', 'Earlier', 'early@example.org', null, null, null, {book()}); "
        "grant select (person_key, _landing_id) on analytics.dim_person to analyst, operator; "
        "grant select on analytics.dim_person to pii_reader",
        "sluice_publisher",
    )
    move(warehouse, [PERSON], landing)
    keys = "select person_key, email from analytics.dim_person order by 1"
    assert ask(warehouse, keys, "analyst") == [("k0", "early*****"), ("k1", "ada@e*****")]
    assert ask(warehouse, keys, "pii_reader") == [("k0", "early@example.org"), ("k1", "ada@example.org")]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(warehouse, "select person_key from personal.dim_person", "analyst")


def test_another_mask_takes_effect_with_the_next_publish(warehouse: Warehouse, landing: int) -> None:
    move(warehouse, [PERSON], landing)
    again = Mart("dim_person", ("person_key",), personal=KINDS | {"email": "name", "person_key": "user_name"})
    assert move(warehouse, [again], landing)["dim_person"].changes == ("masks",)
    assert ask(warehouse, "select person_key, email from analytics.dim_person", "analyst") == [("k1*****", "*****")]
    fewer = Mart("dim_person", ("person_key",), personal={"email": "email"})
    assert move(warehouse, [fewer], landing)["dim_person"].changes == ("masks",)
    assert ask(warehouse, "select born::text, email from analytics.dim_person", "analyst") == [
        ("1815-12-10", "ada@e*****")
    ]


def test_a_publish_that_changes_no_mask_does_not_wait_for_readers(warehouse: Warehouse, landing: int) -> None:
    move(warehouse, [PERSON], landing)
    with closing(psycopg2.connect(warehouse.dsn("analyst"))) as reader, reader.cursor() as cursor:
        cursor.execute(SHOWN)  # and its transaction stays open
        dsn = f"{warehouse.dsn('sluice_publisher')}?options=-c%20lock_timeout%3D2s"
        assert publish(dsn, [PERSON], source="shop", dag_run_id="r", landing_ids=[landing])[0].changes == ()
