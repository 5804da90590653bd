"""Make an empty Redshift database a Sluice warehouse: users, roles, schemas, bookkeeping tables.

The steps of a run log in as users of their own. Who reads does so by a role (`analyst`, `operator`), which the
owner grants to people's users: `grant role analyst to ada`. Who may see personal data in the clear stands in
`ops.pii_reader`: `insert into ops.pii_reader values ('ada')`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from include.warehouse.redshift.quarantine import let_count, tables
from include.warehouse.redshift.sql import quoted, text
from include.warehouse.session import RedshiftSession, redshift_session

USERS = ("sluice_loader", "sluice_transformer", "sluice_gate", "sluice_publisher", "sluice_reporter")
ROLES = ("analyst", "operator")
_WITH_TEMPORARY_TABLES = ("sluice_loader", "sluice_transformer", "sluice_publisher")
_STATEMENTS = Path(__file__).with_name("bootstrap.sql")


def bootstrap(dsn: str, passwords: Mapping[str, str]) -> None:
    """Create or update users, roles, schemas, grants and the `ops` tables, in one transaction.

    Args:
        dsn: redshift:// URI of the database's owner, a superuser (or with the roles sys:secadmin and sys:dba).
        passwords: user -> password, one for each of `USERS`. Redshift wants 8 to 64 characters, among them a capital, a
            small letter and a digit (https://docs.aws.amazon.com/redshift/latest/dg/r_CREATE_USER.html).

    Raises:
        ValueError: a user has no password, or one that Redshift refuses; or one is given for an unknown user.
    """
    if wrong := set(USERS) ^ set(passwords):
        raise ValueError(f"passwords: {', '.join(sorted(wrong))}: give exactly one for each of {', '.join(USERS)}")
    for user, password in passwords.items():
        if not (
            8 <= len(password) <= 64
            and any(map(str.isupper, password))
            and any(map(str.islower, password))
            and any(map(str.isdigit, password))
            and not set(password) & set("'\"\\/@ ")
        ):
            raise ValueError(
                f"passwords: that of {user} must have 8 to 64 characters, among them a capital, a small letter and a "
                "digit, and none of ' \" \\ / @ and space; Redshift takes no other"
            )
    with redshift_session(dsn) as session:
        _users(session, passwords)
        for statement in statements():
            session.execute(statement)
        for table in tables(session):
            let_count(session, table)


def statements() -> list[str]:
    """The statements of bootstrap.sql, without its comments."""
    lines = [line for line in _STATEMENTS.read_text(encoding="utf-8").splitlines() if not line.startswith("--")]
    return [one.strip() for one in "\n".join(lines).split(";\n") if one.strip()]


def _users(session: RedshiftSession, passwords: Mapping[str, str]) -> None:
    there = {str(name) for (name,) in session.execute("select usename from pg_user")}
    for user, password in passwords.items():
        verb = "alter" if user in there else "create"
        session.execute(f"{verb} user {quoted(user)} password {text(password)}")
    there = {str(name) for (name,) in session.execute("select role_name from svv_roles")}
    for role in ROLES:
        if role not in there:
            session.execute(f"create role {quoted(role)}")
    ((database,),) = session.execute("select current_database()")
    session.execute(f"revoke temporary on database {quoted(database)} from public")
    session.execute(f"grant temporary on database {quoted(database)} to {', '.join(_WITH_TEMPORARY_TABLES)}")
