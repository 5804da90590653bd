"""Make an empty database a Sluice warehouse: schemas, roles, bookkeeping tables.

Run as the database's owner, once at set-up and again after an upgrade (every statement is idempotent):

    SLUICE_ADMIN_DSN=postgresql://… SLUICE_PASSWORDS='{"sluice_loader": "…", …}' python -m include.warehouse.bootstrap

With redshift://… it is a Redshift database that is made one (docs/redshift.md), and the passwords are those of the five
users of the steps.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812

from include.warehouse.session import engine_of

ROLES = (
    "sluice_loader",
    "sluice_transformer",
    "sluice_gate",
    "sluice_publisher",
    "sluice_reporter",
    "analyst",
    "pii_reader",
    "operator",
)
_EXAMPLE = "local-only"
_STATEMENTS = Path(__file__).with_name("bootstrap.sql")


def bootstrap(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Create or update schemas, roles, grants and the `ops` tables, in one transaction.

    Args:
        connection: an open connection to the warehouse database as its owner (allowed to create roles).
        passwords: role name -> password, one for each of `ROLES`.

    Raises:
        ValueError: a role has no password, or a password is given for an unknown role; or, on another machine, one is
            an example's.
    """
    if wrong := set(ROLES) ^ set(passwords):
        raise ValueError(f"passwords: {', '.join(sorted(wrong))}: give exactly one for each of {', '.join(ROLES)}")
    if empty := sorted(role for role, password in passwords.items() if not password):
        raise ValueError(f"passwords: {empty[0]} has an empty one; make one up for each role")
    if not _is_local(connection.info.host) and any(word.startswith(_EXAMPLE) for word in passwords.values()):
        raise ValueError(
            f"passwords: those of .env.example ({_EXAMPLE}…) are for containers on this machine, and the warehouse is "
            f"on {connection.info.host}; make one up for each role"
        )
    with connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtext('sluice bootstrap'))")
        cursor.execute(_STATEMENTS.read_text(encoding="utf-8"))
        for role, password in passwords.items():
            cursor.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(password)))


def _is_local(host: str) -> bool:
    """Whether a host is this machine or a container beside: a socket, loopback, or a name without a domain."""
    return host.startswith(("/", "127.")) or host in ("", "::1") or not (set(".:") & set(host))


def main() -> int:
    """Bootstrap the database of SLUICE_ADMIN_DSN with the role passwords of SLUICE_PASSWORDS (a JSON object)."""
    try:
        dsn, passwords = os.environ["SLUICE_ADMIN_DSN"], json.loads(os.environ["SLUICE_PASSWORDS"])
        if engine_of(dsn) == "redshift":
            return _of_redshift(dsn, passwords)
        connection = psycopg2.connect(dsn)
        bootstrap(connection, passwords)
    except KeyError as missing:
        print(f"bootstrap: {missing.args[0]} is not set; see the head of {__file__}", file=sys.stderr)  # noqa: T201
        return 2
    except (ValueError, psycopg2.Error) as fault:
        print(f"bootstrap: {fault}", file=sys.stderr)  # noqa: T201
        return 1
    connection.close()
    return 0


def _of_redshift(dsn: str, passwords: Mapping[str, str]) -> int:
    from redshift_connector.error import Error

    from include.warehouse.redshift.bootstrap import bootstrap as bootstrap_redshift
    from include.warehouse.redshift.sql import said

    try:
        bootstrap_redshift(dsn, passwords)
    except Error as fault:
        print(f"bootstrap: {said(fault)}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
