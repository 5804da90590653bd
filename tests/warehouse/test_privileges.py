"""The privilege matrix: every role tried with every verb on every schema; each answer is as docs/roles.md says.

A table of `ops` or a grant that is new shows here as a difference, measured on the left: write it into the page.
"""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from include.warehouse.bootstrap import ROLES, bootstrap
from include.warehouse.publish import Mart
from tests.conftest import Warehouse
from tests.warehouse.shop import ask, move

PAGE = Path(__file__).resolve().parents[2] / "docs" / "roles.md"
OWNERS = {
    "raw": "sluice_loader",
    "quarantine": "sluice_loader",
    "staging": "sluice_transformer",
    "marts": "sluice_transformer",
    "analytics": "sluice_publisher",
    "personal": "sluice_publisher",
}
OF_TABLES = ("select", "insert", "update", "delete", "truncate", "references", "trigger", "alter", "drop", "grant")
OF_VIEWS = ("select", "insert", "update", "delete", "alter", "drop", "grant")
NOTHING = "\N{EN DASH}"


def table_under(heading: str) -> list[dict[str, str]]:
    """The last table of a part of the page: a row as heading -> cell, without backticks."""
    part = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = [one for one in part if one.startswith(f"{heading}\n")]
    *_, found = (block for block in text.split("\n\n") if block.lstrip().startswith("|"))
    lines = found.strip().splitlines()
    cells = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


SCHEMAS, BOOKKEEPING, FUNCTIONS, BECOMING = (
    table_under(heading) for heading in ("Schemas", "Bookkeeping", "Functions", "Becoming another role")
)


class Thing(NamedTuple):
    """A relation on which the roles are tried, and the column of the page that says what they may."""

    schema: str
    name: str
    told: str
    is_view: bool = False


THINGS = (
    *(Thing(schema, name, schema) for schema in OWNERS if schema != "analytics" for name in ("before", "after")),
    Thing("personal", "secret", "personal"),
    Thing("analytics", "before", "analytics: unpublished"),
    Thing("analytics", "after", "analytics: unpublished"),
    Thing("analytics", "open", "analytics: published"),
    Thing("analytics", "secret", "analytics: masked", is_view=True),
    Thing("public", "before", "public"),
    Thing("public", "after", "public"),
)


@pytest.fixture(scope="module", autouse=True)
def things(warehouse: Warehouse, postgres: object) -> None:
    """Tables of each owner from before bootstrap's grants and from after them, published marts among them."""
    superuser = warehouse.server.superuser
    for schema, owner in {**OWNERS, "public": superuser}.items():
        ask(warehouse, f"create table {schema}.before (a int, _landing_id bigint)", owner)
        ask(warehouse, f"revoke all on {schema}.before from {', '.join(set(ROLES) - {owner})}", owner)
    with closing(psycopg2.connect(warehouse.dsn(superuser))) as connection:
        bootstrap(connection, {role: warehouse.password(role) for role in ROLES})
    for schema, owner in {**OWNERS, "public": superuser}.items():
        ask(warehouse, f"create table {schema}.after (a int, _landing_id bigint)", owner)
    for mart in ("open", "secret"):
        ask(warehouse, f"create table marts.{mart} (a int primary key, name text, _landing_id bigint)")
    move(warehouse, [Mart("open", ("a",)), Mart("secret", ("a",), personal={"name": "name"})])


@contextmanager
def session(warehouse: Warehouse, role: str) -> Iterator[Cursor]:
    """A transaction of a role of which nothing stays."""
    with closing(psycopg2.connect(warehouse.dsn(role))) as connection, connection.cursor() as cursor:
        yield cursor
        connection.rollback()


def may(cursor: Cursor, statement: str) -> bool:
    """Try a statement and take it back; any fault but a lack of privilege comes after the privilege was seen."""
    cursor.execute("savepoint trial")
    try:
        cursor.execute(statement)
        return True
    except InsufficientPrivilege:
        return False
    except psycopg2.Error:
        return True
    finally:
        cursor.execute("rollback to savepoint trial")


def holds(cursor: Cursor, oid: int, privilege: str) -> bool:
    """Whether the role has a privilege that cannot be tried without a second object."""
    cursor.execute("select has_table_privilege(%s::oid, %s)", (oid, privilege))
    (found,) = cursor.fetchone() or (False,)
    return bool(found)


def tried(cursor: Cursor, verb: str, relation: str, column: str, oid: int, *, is_view: bool = False) -> bool:
    """Whether the role of a session may do it."""
    kind = "view" if is_view else "table"
    match verb:
        case "references" | "trigger":
            return holds(cursor, oid, verb)
        case "grant":
            return any(
                holds(cursor, oid, f"{one} with grant option") for one in ("select", "insert", "update", "delete")
            )
    statements = {
        "select": f"select * from {relation} limit 0",
        "insert": f"insert into {relation} default values",
        "update": f"update {relation} set {column} = default where false",
        "delete": f"delete from {relation} where false",
        "truncate": f"truncate {relation}",
        "alter": f"alter {kind} {relation} rename to renamed",
        "drop": f"drop {kind} {relation}",
    }
    return may(cursor, statements[verb])


def oid_of(warehouse: Warehouse, relation: str) -> int:
    ((oid,),) = ask(warehouse, f"select '{relation}'::regclass::oid::int", warehouse.server.superuser)
    return int(oid)


def test_the_page_tells_of_every_role_and_every_table_of_ops(warehouse: Warehouse) -> None:
    assert [row["role"] for row in SCHEMAS] == list(ROLES)
    assert list(BOOKKEEPING[0]) == ["table", *ROLES]
    tables = ask(
        warehouse,
        "select relname::text from pg_class where relnamespace = 'ops'::regnamespace "
        "and relkind not in ('i', 'S', 't') order by 1",
        warehouse.server.superuser,
    )
    assert [row["table"] for row in BOOKKEEPING] == [name for (name,) in tables]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_in_each_schema_what_the_page_says(warehouse: Warehouse, role: str) -> None:
    (told,) = [row for row in SCHEMAS if row["role"] == role]
    for thing in THINGS:
        relation, verbs = f'{thing.schema}."{thing.name}"', OF_VIEWS if thing.is_view else OF_TABLES
        meant = {
            "own": {"usage", "create", *verbs},
            "read": {"usage", "select"},
            "use": {"usage"},
            NOTHING: set(),
        }[told[thing.told]]
        oid = oid_of(warehouse, relation)
        with session(warehouse, role) as cursor:
            found = {verb for verb in verbs if tried(cursor, verb, relation, "a", oid, is_view=thing.is_view)}
            found |= {"usage"} if may(cursor, f"select '{relation}'::regclass") else set()
            found |= {"create"} if may(cursor, f"create table {thing.schema}.made (a int)") else set()
        assert found == meant, f"{role} on {relation}"


@pytest.mark.parametrize("row", BOOKKEEPING, ids=lambda row: row["table"])
def test_a_role_may_do_with_a_table_of_ops_what_the_page_says(warehouse: Warehouse, row: dict[str, str]) -> None:
    relation = f"ops.{row['table']}"
    oid = oid_of(warehouse, relation)
    columns = [
        name
        for (name,) in ask(
            warehouse,
            f"select attname::text from pg_attribute where attrelid = {oid} and attnum > 0 and not attisdropped",
            warehouse.server.superuser,
        )
    ]
    measured = {"table": row["table"]}
    for role in ROLES:
        with session(warehouse, role) as cursor:
            measured[role] = ", ".join(said(cursor, relation, columns, oid)) or NOTHING
    assert measured == row


def said(cursor: Cursor, relation: str, columns: list[str], oid: int) -> Iterator[str]:
    """What a role may do with a table of ops, in the page's words."""
    for verb in OF_TABLES:
        if verb == "update":
            allowed = [one for one in columns if tried(cursor, verb, relation, f'"{one}"', oid)]
        elif verb == "select":
            allowed = [one for one in columns if may(cursor, f'select "{one}" from {relation} limit 0')]
        else:
            allowed = columns if tried(cursor, verb, relation, "", oid) else []
        if allowed == columns:
            yield verb
        elif allowed:
            yield f"{verb} ({', '.join(allowed)})" if len(allowed) < len(columns) / 2 else f"{verb} in part"


def test_a_function_of_ops_is_executed_by_those_whom_the_page_names(warehouse: Warehouse) -> None:
    functions = ask(
        warehouse,
        "select oid::int, proname::text, proowner::regrole::text, prosecdef, coalesce(proconfig, '{}') "
        "from pg_proc where pronamespace = 'ops'::regnamespace order by 2",
        warehouse.server.superuser,
    )
    assert [name for _, name, *_ in functions] == [row["function"] for row in FUNCTIONS]
    for (oid, name, owner, is_definer, settings), row in zip(functions, FUNCTIONS, strict=True):
        allowed = set()
        for role in ROLES:
            with session(warehouse, role) as cursor:
                cursor.execute("select has_function_privilege(%s::oid, 'execute')", (oid,))
                allowed |= {role} if (cursor.fetchone() or (False,))[0] else set()
        assert allowed == set(row["may be executed by"].split(", ")), name
        assert (owner if owner in ROLES else "who has bootstrapped") == row["runs as"], name
        # else a caller's temporary objects would be found first, and run as the owner
        assert not is_definer or "search_path=pg_catalog, pg_temp" in settings, name


def test_a_function_that_is_made_later_is_executed_by_its_owner_alone(warehouse: Warehouse) -> None:
    for schema, owner in OWNERS.items():
        made = f"create or replace function {schema}.later() returns int language sql as 'select 1'"
        ask(warehouse, made, owner)
        for role in set(ROLES) - {owner}:
            with session(warehouse, role) as cursor:
                assert not may(cursor, f"select {schema}.later()"), f"{role} in {schema}"
        ask(warehouse, f"drop function {schema}.later()", owner)


def test_a_role_becomes_no_other_but_as_the_page_says(warehouse: Warehouse) -> None:
    told = {(row["role"], other) for row in BECOMING for other in row["may set role to"].split(", ")}
    found = set()
    for role in ROLES:
        with session(warehouse, role) as cursor:
            others = [*ROLES, "sluice_owner", warehouse.server.superuser, "pg_read_all_data", "pg_monitor"]
            found |= {(role, other) for other in others if other != role and may(cursor, f"set local role {other}")}
    assert found == told


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "select rolpassword from pg_authid",
        "select * from pg_shadow",
        "select pg_read_file('PG_VERSION')",
        "select pg_ls_dir('.')",
        "select lo_import('/etc/passwd')",
        "copy (select 1) to 'sluice-privilege'",
        "copy (select 1) to program 'true'",
        "create role made",
        "create schema made",
        "alter role analyst superuser",
        "alter role postgres password 'x'",
        "grant pii_reader to analyst",
        "set session_replication_role = replica",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres'",
        "select pg_reload_conf()",
        "create function pg_temp.f() returns int language c as 'libc', 'getpid'",
    ],
)
def test_no_role_reaches_the_server_or_other_roles(warehouse: Warehouse, role: str, statement: str) -> None:
    with session(warehouse, role) as cursor:
        assert not may(cursor, statement)


def test_no_role_has_an_attribute_of_more_than_a_login(warehouse: Warehouse) -> None:
    attributes = ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls")
    names = ", ".join(f"'{role}'" for role in ROLES)
    assert ask(
        warehouse,
        f"select distinct {', '.join(attributes)} from pg_roles where rolname in ({names})",
        warehouse.server.superuser,
    ) == [(False,) * len(attributes)]


@pytest.mark.parametrize("statement", ["create database made", "alter system set log_statement = 'all'"])
@pytest.mark.parametrize("role", ROLES)
def test_no_role_makes_databases_or_sets_the_server(warehouse: Warehouse, role: str, statement: str) -> None:
    with closing(psycopg2.connect(warehouse.dsn(role))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        with pytest.raises(InsufficientPrivilege):
            cursor.execute(statement)


def test_no_role_sees_what_others_ask(warehouse: Warehouse) -> None:
    seen = set()
    for asking in ROLES:
        with session(warehouse, asking) as cursor:
            cursor.execute(f"select 'a question of {asking}'")
            for role in set(ROLES) - {asking}:
                asked = (
                    f"select 1 from pg_stat_activity where query like '%question of {asking}%' and usename = '{asking}'"
                )
                seen |= {(role, asking)} if ask(warehouse, asked, role) else set()
    assert seen == {("sluice_reporter", "analyst")}


def test_a_callers_own_catalogue_is_not_run_by_a_function_of_anothers_rights(warehouse: Warehouse) -> None:
    """A temporary view that is called pg_class would run its functions with the rights of the function's owner."""
    attack = """
        create function pg_temp.taken() returns oid language plpgsql as $$
            begin raise exception 'run as %', current_user; end $$;
        create temporary view pg_class as
            select pg_temp.taken() as oid, 'x'::name as relname, 0::oid as relnamespace, 'r'::"char" as relkind,
            false as relispartition;
    """
    with session(warehouse, "sluice_reporter") as cursor:
        cursor.execute(attack)
        cursor.execute("select * from ops.quarantined('{7}')")
        assert cursor.fetchall() == []
