"""Least privilege: each role can do its step, and nothing of another's."""

from contextlib import closing

import psycopg2
import pytest

from include.warehouse.bootstrap import ROLES, bootstrap
from include.warehouse.publish import Mart
from local.postgres import Server
from tests.conftest import Warehouse
from tests.warehouse.shop import ask, move

_TABLES = {
    "raw": "sluice_loader",
    "staging": "sluice_transformer",
    "marts": "sluice_transformer",
    "analytics": "sluice_publisher",
}


@pytest.fixture(scope="module", autouse=True)
def a_table_in_each_layer(warehouse: Warehouse) -> None:
    for schema, role in _TABLES.items():
        execute(warehouse, role, f"create table {schema}.one as select 1 as a")


def execute(warehouse: Warehouse, role: str, statement: str) -> None:
    connection = psycopg2.connect(warehouse.dsn(role))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def may(warehouse: Warehouse, role: str, statement: str) -> bool:
    try:
        execute(warehouse, role, statement)
    except psycopg2.errors.InsufficientPrivilege:
        return False
    return True


@pytest.mark.parametrize(
    ("schema", "readers"),
    [
        ("raw", {"sluice_loader", "sluice_transformer", "sluice_gate"}),
        ("staging", {"sluice_transformer", "sluice_gate"}),
        ("marts", {"sluice_transformer", "sluice_gate", "sluice_publisher"}),
        ("analytics", {"sluice_publisher"}),
    ],
)
def test_a_layer_made_later_is_read_by_those_who_need_it(warehouse: Warehouse, schema: str, readers: set[str]) -> None:
    assert {role for role in ROLES if may(warehouse, role, f"select * from {schema}.one")} == readers


@pytest.mark.parametrize("schema", ["raw", "staging", "marts", "analytics", "ops", "quarantine", "public"])
def test_only_the_owner_of_a_layer_writes_there(warehouse: Warehouse, schema: str) -> None:
    owners = {**_TABLES, "quarantine": "sluice_loader"}
    writers = {role for role in ROLES if may(warehouse, role, f"create table {schema}.made_by_{role} (a int)")}
    assert writers == ({owners[schema]} if schema in owners else set())


def test_nobody_may_rewrite_a_verdict(warehouse: Warehouse) -> None:
    assert not [role for role in ROLES if may(warehouse, role, "update ops.gate_result set success = true")]
    assert not [role for role in ROLES if may(warehouse, role, "delete from ops.gate_result")]


def test_an_analyst_sees_analytics_alone(warehouse: Warehouse) -> None:
    assert not may(warehouse, "analyst", "select * from ops.landing")
    assert not may(warehouse, "analyst", "select * from analytics.one")  # nor what nobody has published
    execute(warehouse, "sluice_publisher", "grant select on analytics.one to analyst")
    assert may(warehouse, "analyst", "select * from analytics.one")


def test_the_report_sees_how_many_rows_are_in_quarantine_but_not_the_rows(warehouse: Warehouse) -> None:
    execute(
        warehouse, "sluice_loader", "create table quarantine.rides as select 7::bigint as _landing_id, 'Ada' as payload"
    )
    assert not may(warehouse, "sluice_reporter", "select _landing_id from quarantine.rides")
    assert not may(warehouse, "analyst", "select * from ops.quarantined('{7}')")
    with closing(psycopg2.connect(warehouse.dsn("sluice_reporter"))) as connection, connection.cursor() as cursor:
        cursor.execute("select * from ops.quarantined('{7, 8}')")
        assert cursor.fetchall() == [(7, 1)]


def test_bootstrap_can_be_run_again(warehouse: Warehouse) -> None:
    passwords = {role: warehouse.password(role) for role in ROLES}
    connection = psycopg2.connect(warehouse.dsn(warehouse.server.superuser))
    bootstrap(connection, passwords)
    connection.close()
    assert may(warehouse, "analyst", "select * from analytics.one")


def test_a_role_without_a_password_is_named(warehouse: Warehouse) -> None:
    connection = psycopg2.connect(warehouse.dsn(warehouse.server.superuser))
    with pytest.raises(ValueError, match=r"passwords: analyst: give exactly one"):
        bootstrap(connection, {role: "x" for role in ROLES if role != "analyst"})
    connection.close()


@pytest.mark.parametrize(
    ("host", "password", "says"),
    [
        ("warehouse.example.com", "local-only-analyst", r"on warehouse\.example\.com; make one up"),
        ("10.1.2.3", "local-only-analyst", r"on 10\.1\.2\.3; make one up"),
        ("warehouse.example.com", "", "analyst has an empty one"),
        ("127.0.0.1", "", "analyst has an empty one"),
    ],
)
def test_a_default_password_is_refused_beyond_this_machine(
    warehouse: Warehouse, host: str, password: str, says: str
) -> None:
    dsn = warehouse.dsn(warehouse.server.superuser).replace(f"@{warehouse.host}:", f"@{host}:")
    connection = psycopg2.connect(dsn, hostaddr="127.0.0.1")  # whatever the name, it is this server
    with pytest.raises(ValueError, match=says):
        bootstrap(connection, dict.fromkeys(ROLES, "made-up") | {"analyst": password})
    connection.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "warehouse"])
def test_the_examples_passwords_are_taken_on_this_machine(warehouse: Warehouse, host: str) -> None:
    dsn = warehouse.dsn(warehouse.server.superuser).replace(f"@{warehouse.host}:", f"@{host}:")
    connection = psycopg2.connect(dsn, hostaddr="127.0.0.1")
    bootstrap(connection, {role: f"local-only-{role}" for role in ROLES})
    bootstrap(connection, {role: warehouse.password(role) for role in ROLES})
    connection.close()


def test_an_owner_who_is_no_superuser_bootstraps_twice_and_publishes(postgres: Server) -> None:
    """As on a managed server, where the most one gets is a role that may create roles."""
    database = "managed"
    with closing(psycopg2.connect(postgres.dsn("postgres"))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("create role managed_owner login createrole password 'managed'")
        cursor.execute(f"grant {', '.join(ROLES)} to managed_owner with admin true, inherit false, set false")
        cursor.execute(f"create database {database} owner managed_owner")
        try:
            made = Warehouse(postgres, database)
            for _ in range(2):
                with closing(psycopg2.connect(postgres.dsn(database, "managed_owner", "managed"))) as owner:
                    bootstrap(owner, {role: made.password(role) for role in ROLES})
            ask(made, "create table marts.one (a int primary key, b text); insert into marts.one values (1, 'clear')")
            move(made, [Mart("one", ("a",), whole=True, personal={"b": "name"})])
            assert ask(made, "select * from analytics.one", "analyst") == [(1, "*****")]
            assert ask(made, "select * from ops.quarantined('{1}')", "operator") == []
        finally:
            cursor.execute(f"drop database {database} with (force)")
            cursor.execute("drop owned by managed_owner")
            cursor.execute("drop role managed_owner")
