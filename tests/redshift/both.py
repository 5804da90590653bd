"""The five sources on both engines: landed once, loaded into each, built by dbt on each."""

import csv
import io
import json
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
from dbt.cli.main import dbtRunner

from include.extract import ApiClient
from include.pipeline import steps
from include.pipeline.model import Source, load_source, source_names
from include.pipeline.partition import partition_of_run
from include.pipeline.rebuild import environment
from include.warehouse.load import create_table
from include.warehouse.publish import marts, publish
from tests.conftest import S3
from tests.dbt.project import PROJECT, DbtError, Node, Project
from tests.dbt.test_driven import session
from tests.local.sandbox.conftest import KEY, Sandbox
from tests.redshift.warehouse.conftest import Warehouse as RedshiftWarehouse
from tests.sources.way import Way, api_of


@dataclass(frozen=True)
class Both:
    """Two warehouses of the same landings.

    Attributes:
        way: The one on PostgreSQL, with all that lands and loads.
        redshift: The one on Redshift.
        s3: Where both find what was landed.
        target: Where dbt writes what it compiles for Redshift.
    """

    way: Way
    redshift: RedshiftWarehouse
    s3: S3
    target: Path

    @property
    def postgres(self) -> Project:
        """The project on PostgreSQL."""
        return self.way.project

    def land(self, sandbox: Sandbox, now: datetime) -> list[int]:
        """Land all five sources as of a moment and load them into both warehouses; the landings' ids."""
        sandbox.stop_clock(now.strftime("%Y-%m-%dT%H:%M:%SZ"))
        ids = []
        for source in map(load_source, source_names()):
            landed = self._fetch(source, now)
            ids += [landing["landing_id"] for landing in landed]
            for dsn in (self.way.warehouse.dsn("sluice_loader"), self.redshift.dsn("sluice_loader")):
                for landing in landed:
                    steps.book(dsn, self.way.store.read(landing["uri"]))
                    steps.load(source, landing["entity"], landed, store=self.way.store, dsn=dsn)
        return ids

    def create_raw(self) -> None:
        """Make the raw tables of both, empty."""
        self.postgres.create_raw()
        for source in map(load_source, source_names()):
            for entity in source.entities:
                create_table(self.redshift.dsn("sluice_loader"), steps.raw_table(source, entity))

    def drop(self) -> None:
        """Put files into the drop zone, of the sources that take some."""
        sessions = io.StringIO()
        rows = [
            session("1980101000001", "2026-11-19T08:00:00", address='Strada "Unu", 5', person_name="Ștefania Ünal"),
            session("1980101000001", "2026-11-20T08:00:00", birth_date="unknown", email=""),
            session("1990101000002", "2026-11-20T09:00:00", phone="x" * 300),
        ]
        writer = csv.DictWriter(sessions, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        assets = [
            {
                "token_id": str(number),
                "name": f"Old {number}",
                "asset_contract": {"address": f"0xAB{number:038}", "schema_name": "ERC721", "created_date": None},
                "collection": {"slug": "old-ones", "name": "Old ones", "created_date": "2021-05-06T07:08:09.123456"},
                "traits": [{"trait_type": "Size", "value": number, "display_type": None}] if number else [],
            }
            for number in range(3)
        ]
        for key, body in (
            ("driven/sessions/1.csv", sessions.getvalue()),
            ("opensea/v1/list.json", json.dumps({"assets": assets})),
            ("opensea/v1/one.json", json.dumps(assets[0] | {"token_id": "77"})),
        ):
            self.s3.client.put_object(Bucket=self.s3.bucket, Key=f"drop/{key}", Body=body.encode())

    def build(self, *arguments: str, landing_ids: Sequence[int] = ()) -> dict[str, Node]:
        """`dbt build` on Redshift; node -> how it went.

        Raises:
            DbtError: dbt failed.
        """
        selected = ["--vars", json.dumps({"landing_ids": ",".join(map(str, landing_ids))})] if landing_ids else []
        with environment(
            {
                "SLUICE_DBT_HOST": self.redshift.redshift.host,
                "SLUICE_DBT_PORT": str(self.redshift.redshift.port),
                "SLUICE_DBT_USER": "sluice_transformer",
                "SLUICE_DBT_PASSWORD": self.redshift.password("sluice_transformer"),
                "SLUICE_DBT_DBNAME": self.redshift.redshift.dbname,
                "SLUICE_DBT_SSLMODE": "disable",
            }
        ):
            result = dbtRunner().invoke(
                [
                    "build", *arguments, *selected, "--target", "redshift",
                    "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(self.target),
                    "--log-path", str(self.target), "--quiet", "--no-use-colors",
                ]
            )  # fmt: skip
        found = getattr(result.result, "results", None) or []
        nodes = {
            one.node.name: Node(one.node.name, str(one.status), one.message or "", one.execution_time) for one in found
        }
        faults = [f"{node.name}: {node.message}" for node in nodes.values() if node.status in ("error", "fail")]
        if not result.success:
            raise DbtError(f"dbt build: {result.exception or faults}", nodes)
        return nodes

    def publish(self) -> None:
        """Publish on both what is in marts, source by source, as of all landings."""
        places = (
            (self.way.warehouse.dsn("sluice_publisher"), self.postgres.target),
            (self.redshift.dsn("sluice_publisher"), self.target),
        )
        for name in source_names():
            for dsn, target in places:
                made = marts(target / "manifest.json", tag=name)
                publish(dsn, made, source=name, dag_run_id="test", landing_ids=self.landings(name))

    def landings(self, source: str) -> list[int]:
        """Ids of a source's landings that are loaded, oldest first."""
        rows = self.way.rows(
            f"select landing_id from ops.landing where source = '{source}' and loaded_at is not null order by 1"
        )
        return [int(landing_id) for (landing_id,) in rows]

    def _fetch(self, source: Source, now: datetime) -> list[steps.Landing]:
        """Land what there is of a source; the bookkeeping of what is new is PostgreSQL's."""
        params = {one: list(param.default) for one, param in source.params.items()}
        where: dict[str, Any] = {
            "store": self.way.store,
            "dsn": self.way.warehouse.dsn("sluice_loader"),
            "run_id": "test",
        }
        landed = []
        with ApiClient(api_of(source, self.way.sandbox, key=KEY, retries=1)) as client:
            for entity in source.entities:
                partition = partition_of_run(
                    source.partition_of(entity), asked=None, logical_date=None, run_after=now, is_scheduled=False
                )
                with suppress(steps.NothingToDo):
                    if source.entities[entity].files:
                        landed.append(steps.fetch_files(source, entity, partition, params, **where))
                    else:
                        landed.append(steps.fetch(source, entity, partition, params, client=client, **where))
        return landed


EXCEPTED = {
    "_loaded_at": "each warehouse has loaded a landing at its own time",
    "marts.fact_taxi_trip._row": "COPY tells no Parquet row's place in its file: rows are numbered by their values",
    "marts.fact_taxi_trip.trip_key": "it is made of `_row`",
}
"""Columns that are not compared, and why."""


@dataclass(frozen=True)
class Compared:
    """A table on both engines.

    Attributes:
        table: Its name with its schema.
        rows: Rows on PostgreSQL.
        columns: Columns that were compared.
        nulls: Values that are null on PostgreSQL.
        differences: What differs, at most three of them; empty where nothing does.
    """

    table: str
    rows: int
    columns: int
    nulls: int
    differences: tuple[str, ...]


def compare(both: Both) -> list[Compared]:
    """Every table that dbt has built, row by row and value by value; rows are in no order of their own."""
    tables = both.postgres.rows(
        "select table_schema, table_name from information_schema.tables "
        "where table_schema in ('marts', 'staging') and table_type = 'BASE TABLE' order by 1, 2"
    )
    with (
        closing(both.redshift.redshift.connect()) as redshift,
        closing(psycopg2.connect(both.postgres.warehouse.server.dsn(both.postgres.warehouse.dbname))) as postgres,
    ):
        return [_compared(f"{schema}.{name}", postgres, redshift) for schema, name in tables]


def _compared(table: str, postgres: Any, redshift: Any) -> Compared:  # noqa: ANN401 - drivers have no type in common
    names, ours = _rows(postgres, table)
    others, theirs = _rows(redshift, table)
    differences = [f"columns {names}, on Redshift {others}"] if names != others else []
    if len(ours) != len(theirs):
        differences.append(f"{len(ours)} rows, on Redshift {len(theirs)}")
    for one, other in zip(ours, theirs, strict=False):
        differences += [
            f"{name}: {left!r}, on Redshift {right!r}"
            for name, left, right in zip(names, one, other, strict=False)
            if left != right
        ]
    nulls = sum(value is None for row in ours for value in row)
    return Compared(table, len(ours), len(names), nulls, tuple(differences[:3]))


def _rows(connection: Any, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:  # noqa: ANN401 - as above
    with connection.cursor() as cursor:
        cursor.execute(f"select * from {table}")
        names = [column[0].decode() if isinstance(column[0], bytes) else column[0] for column in cursor.description]
        places = [
            place
            for place in sorted(range(len(names)), key=names.__getitem__)
            if names[place] not in EXCEPTED and f"{table}.{names[place]}" not in EXCEPTED
        ]
        rows = [tuple(_plain(row[place]) for place in places) for row in cursor.fetchall()]
    return [names[place] for place in places], sorted(rows, key=repr)


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    """A value in the words of neither driver: an instant in UTC, a number with the digits it is stored with."""
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value
