"""A warehouse with marts of its own: ask it as any role, publish what the marts hold."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg2

from include.warehouse.publish import Mart, Published, publish
from tests.conftest import Warehouse


def ask(warehouse: Warehouse, statement: str, role: str = "sluice_transformer") -> list[tuple[Any, ...]]:
    """What a role gets for a statement, which is committed."""
    with closing(psycopg2.connect(warehouse.dsn(role))) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def move(warehouse: Warehouse, models: Sequence[Mart], *landing_ids: int) -> dict[str, Published]:
    """Publish as the pipeline does; model -> what was done."""
    dsn = warehouse.dsn("sluice_publisher")
    done = publish(dsn, models, source="shop", dag_run_id="test", landing_ids=landing_ids)
    return {one.model: one for one in done}


def forget(warehouse: Warehouse, *names: str) -> None:
    """Drop marts and what was published of them."""
    for name in names:
        ask(warehouse, f"drop table if exists marts.{name}")
        for (kind,) in ask(
            warehouse,
            f"select relkind::text from pg_class where oid = to_regclass('analytics.{name}')",
            "sluice_publisher",
        ):
            ask(warehouse, f"drop {'view' if kind == 'v' else 'table'} analytics.{name} cascade", "sluice_publisher")
        ask(warehouse, f"drop table if exists personal.{name}", "sluice_publisher")
