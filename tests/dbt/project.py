"""The dbt project over a warehouse of its own: load raw with the product's loader, run the real dbt, ask the tables."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

from include.pipeline.model import load_source, source_names
from include.pipeline.rebuild import environment
from include.pipeline.steps import raw_table
from include.warehouse.load import RawTable, create_table, load_batches, load_documents
from tests.conftest import Warehouse
from tests.landings import book
from tests.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"

_SOURCES = {name: load_source(name) for name in source_names()}
_parsed: list[tuple[Manifest, bytes]] = []
_FEW_ROWS = 10


@dataclass(frozen=True)
class Node:
    """How one node of a dbt run went."""

    name: str
    status: str
    message: str
    seconds: float


class DbtError(Exception):
    """A dbt run failed: the message says why, `nodes` how each node went."""

    def __init__(self, message: str, nodes: dict[str, Node]) -> None:
        super().__init__(message)
        self.nodes = nodes


@dataclass(frozen=True)
class Project:
    """A warehouse with the raw tables of all sources, and dbt on it."""

    warehouse: Warehouse
    target: Path

    def create_raw(self) -> None:
        """Make the raw tables, empty, as the pipeline does before dbt runs."""
        for source in _SOURCES.values():
            for entity in source.entities:
                create_table(self.warehouse.dsn("sluice_loader"), _table(source.name, entity))

    def load_rows(
        self, entity: str, partition: str, rows: pa.Table | Sequence[Mapping[str, Any]], *, source: str = "tlc"
    ) -> int:
        """Land and load rows of a file; declared columns that are not given are null. Returns the landing's id."""
        table = _table(source, entity)
        landing_id = self._book(source, entity, partition)
        given = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows))
        given = given.rename_columns([name.lower() for name in given.column_names])
        types = {"bigint": pa.int64(), "double": pa.float64(), "text": pa.string(), "timestamp": pa.timestamp("us")}
        columns = {
            name: pc.cast(given[name], types[kind])
            if name in given.column_names
            else pa.nulls(given.num_rows, types[kind])
            for name, kind in (table.columns or {}).items()
        }
        # what source.yml does not declare goes along, as it does with new_columns: evolve
        columns |= {name: given[name] for name in given.column_names if name not in columns}
        columns["_landing_id"] = pa.array([landing_id] * given.num_rows, pa.int64())
        columns["_row"] = pa.array(range(given.num_rows), pa.int64())
        load_batches(self.warehouse.dsn("sluice_loader"), table, landing_id, pa.table(columns).to_reader())
        return landing_id

    def load_payloads(self, partition: str, payloads: Sequence[Mapping[str, Any]]) -> int:
        """Land and load payloads of `openweather`. Returns the landing's id."""
        landing_id = self._book("openweather", "observations", partition)
        table = raw_table(_SOURCES["openweather"], "observations")
        documents = [(json.dumps(payload).encode(), None) for payload in payloads]
        load_documents(self.warehouse.dsn("sluice_loader"), table, landing_id, documents)
        return landing_id

    def load_records(
        self,
        source: str,
        entity: str,
        partition: str,
        records: Sequence[Mapping[str, Any]],
        request: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
    ) -> int:
        """Land and load JSON records of any source, all of one request or each of its own. Returns the landing's id."""
        landing_id = self._book(source, entity, partition)
        asked = [request or {}] * len(records) if request is None or isinstance(request, Mapping) else request
        documents = [
            (json.dumps(record, ensure_ascii=False).encode(), json.dumps(one).encode())
            for record, one in zip(records, asked, strict=True)
        ]
        load_documents(self.warehouse.dsn("sluice_loader"), _table(source, entity), landing_id, documents)
        return landing_id

    def dbt(self, *arguments: str, landing_ids: Sequence[int] = ()) -> dict[str, Node]:
        """Run dbt as the pipeline does; node name -> how it went.

        Raises:
            DbtError: dbt failed.
        """
        selected = ["--vars", json.dumps({"landing_ids": ",".join(map(str, landing_ids))})] if landing_ids else []
        with environment(self._connection()):
            result = dbtRunner(manifest=self._manifest()).invoke([*arguments, *selected, *self._places()])
        found = getattr(result.result, "results", None) or []
        nodes = {
            one.node.name: Node(one.node.name, str(one.status), one.message or "", one.execution_time) for one in found
        }
        faults = [f"{node.name}: {node.message}" for node in nodes.values() if node.status in ("error", "fail")]
        if not result.success:
            raise DbtError(f"dbt {arguments[0]}: {result.exception or faults}", nodes)
        return nodes

    def _manifest(self) -> Manifest:
        """The project parsed, once a session, as a warm worker holds it: with other vars dbt would parse it anew.

        All warehouses have one name and one server, so what was parsed for one fits the next.
        """
        if not _parsed:
            parsed = dbtRunner().invoke(["parse", *self._places()])
            if not parsed.success:
                raise DbtError(f"dbt parse: {parsed.exception}", {})
            assert isinstance(parsed.result, Manifest)
            _parsed.append((parsed.result, (self.target / "manifest.json").read_bytes()))
        manifest, written = _parsed[0]
        if not (self.target / "manifest.json").exists():
            (self.target / "manifest.json").write_bytes(written)
        copy: Manifest = manifest.deepcopy()
        return copy

    def _places(self) -> list[str]:
        return [
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(self.target)),
            *("--log-path", str(self.target), "--quiet", "--no-use-colors"),
        ]

    def build(self, landing_ids: Sequence[int] = (), select: Sequence[str] = (), *, unit_tests: bool = False) -> None:
        """Build models with their tests, everything or what is selected."""
        chosen = ["--select", *select] if select else []
        left_out = [] if unit_tests else ["--exclude-resource-type", "unit_test"]
        self.dbt("build", *chosen, *left_out, landing_ids=landing_ids)

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What a query as the server's superuser gives."""
        return self._ask(statement, parameters)[1]

    def records(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """The same, each row as column -> value."""
        names, rows = self._ask(statement, parameters)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def rows_read(self, relations: str) -> dict[str, tuple[int, int]]:
        """Table -> rows read by scans of all of it, rows read by index, since the server started.

        A backend tells what it has read when it ends, which it does after its client has gone: so that is waited for.

        Args:
            relations: regular expression of `schema.table`.
        """
        others = (
            "select from pg_stat_activity where datname = current_database() and backend_type = 'client backend' "
            "and pid <> pg_backend_pid()"
        )
        wait_until(lambda: not self.rows(others), "every other session of the warehouse has ended")
        return {
            table: (whole, by_index)
            for table, whole, by_index in self.rows(
                "select relname, seq_tup_read, coalesce(idx_tup_fetch, 0) from pg_stat_user_tables "
                "where schemaname || '.' || relname ~ %s",
                relations,
            )
        }

    def scanned(self, relations: str, since: Mapping[str, int] | None = None) -> dict[str, int]:
        """Table -> rows read by scans of all of it, less what had been read before; a few rows are not counted.

        Postgres may look at a row to see that there is nothing to join it with, and read a table of two as a whole.
        """
        read = {table: whole - (since or {}).get(table, 0) for table, (whole, _) in self.rows_read(relations).items()}
        return {table: rows for table, rows in read.items() if rows > _FEW_ROWS}

    def fingerprint(self) -> dict[str, str]:
        """Table of `marts` -> hash of its rows, whatever their order."""
        tables = self.rows("select table_name from information_schema.tables where table_schema = 'marts' order by 1")
        return {
            table: hashlib.sha256(
                repr(self.rows(f'select t::text from marts."{table}" as t order by 1')).encode()
            ).hexdigest()
            for (table,) in tables
        }

    def _ask(self, statement: str, parameters: Sequence[object]) -> tuple[list[str], list[tuple[Any, ...]]]:
        with (
            closing(psycopg2.connect(self.warehouse.server.dsn(self.warehouse.dbname))) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, parameters or None)
            names = [column.name for column in cursor.description or ()]
            return names, list(cursor.fetchall()) if names else []

    def _book(self, source: str, entity: str, partition: str) -> int:
        dsn = self.warehouse.dsn("sluice_loader")
        return book(dsn, entity, partition, source=source, fetched_at=datetime.now(UTC))

    def _connection(self) -> dict[str, str]:
        return {
            "SLUICE_DBT_HOST": self.warehouse.host,
            "SLUICE_DBT_PORT": str(self.warehouse.port),
            "SLUICE_DBT_USER": "sluice_transformer",
            "SLUICE_DBT_PASSWORD": self.warehouse.password("sluice_transformer"),
            "SLUICE_DBT_DBNAME": self.warehouse.dbname,
        }


def _table(source: str, entity: str) -> RawTable:
    return raw_table(_SOURCES[source], entity)
