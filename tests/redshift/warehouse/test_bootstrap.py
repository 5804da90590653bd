"""The bootstrap of a Redshift warehouse: twice changes nothing, and each user may do what its step needs."""

import pytest
from redshift_connector.error import ProgrammingError

from include.warehouse.redshift.bootstrap import USERS, bootstrap
from tests.redshift.warehouse.conftest import Warehouse


def test_once_more_changes_nothing(warehouse: Warehouse) -> None:
    query = "select table_schema, table_name, column_name, data_type from svv_columns order by 1, 2, ordinal_position"
    before = warehouse.ask(query)
    bootstrap(warehouse.dsn(), {user: warehouse.password(user) for user in USERS})
    assert warehouse.ask(query) == before
    assert ("ops", "landing", "request", "super") in before


@pytest.mark.parametrize(
    ("user", "statement"),
    [
        ("sluice_gate", "insert into ops.turn values ('shop', 'run', getdate())"),
        ("sluice_gate", "create table raw.mine (a bigint)"),
        ("sluice_transformer", "delete from ops.landing"),
        ("sluice_publisher", "create table marts.mine (a bigint)"),
        ("sluice_reporter", "select * from raw.shop__things"),
        ("sluice_loader", "create table analytics.mine (a bigint)"),
    ],
)
def test_user_may_not_do_anothers_work(warehouse: Warehouse, user: str, statement: str) -> None:
    warehouse.ask(
        "drop table if exists raw.shop__things", "create table raw.shop__things (a bigint)", user="sluice_loader"
    )
    with pytest.raises(ProgrammingError, match="permission denied"):
        warehouse.ask(statement, user=user)


def test_tables_to_come_are_read_by_the_next_step(warehouse: Warehouse) -> None:
    warehouse.ask(
        "drop table if exists raw.shop__things", "create table raw.shop__things (a bigint)", user="sluice_loader"
    )
    for user in ("sluice_transformer", "sluice_gate"):
        assert warehouse.ask("select count(*) from raw.shop__things", user=user) == [(0,)]


@pytest.mark.parametrize("password", ["short1A", "no-digit-Here", "no-capital-1", "with space 1A"])
def test_password_that_redshift_refuses_is_named(warehouse: Warehouse, password: str) -> None:
    passwords = {user: warehouse.password(user) for user in USERS} | {"sluice_gate": password}
    with pytest.raises(ValueError, match="that of sluice_gate must have 8 to 64 characters"):
        bootstrap(warehouse.dsn(), passwords)
