"""All models of all five sources on Redshift, and that they hold what they hold on PostgreSQL."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.landing import LandingStore
from include.warehouse.redshift.bootstrap import USERS, bootstrap
from local import s3 as seaweed
from local import stack
from local.stack import Store
from tests.conftest import S3, Warehouse
from tests.dbt.project import Project
from tests.local.sandbox.conftest import Sandbox, running
from tests.redshift.both import Both, compare
from tests.redshift.conftest import database
from tests.redshift.front import front
from tests.redshift.front.dialect import refusals, statements
from tests.redshift.parity import PAGE, page, tables
from tests.redshift.warehouse.conftest import Warehouse as RedshiftWarehouse
from tests.sources.way import Way

FIRST = datetime(2026, 11, 20, 13, 5, tzinfo=UTC)
SECOND = datetime(2026, 11, 21, 13, 5, tzinfo=UTC)
BUCKET = "both-warehouses"
NO_TESTS = ("--exclude-resource-type", "unit_test", "--exclude-resource-type", "test")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(
        "--cache-dir", str(tmp_path_factory.mktemp("cache")),
        SANDBOX_NOW=FIRST.strftime("%Y-%m-%dT%H:%M:%SZ"), SANDBOX_YELLOW_ROWS="1500", SANDBOX_GREEN_ROWS="500",
        SANDBOX_DRIVEN_SESSIONS="300", SANDBOX_DRIVEN_SESSIONS_A_DAY="30",
    ) as served:  # fmt: skip
        yield served


@pytest.fixture(scope="module")
def other(s3_server: Store, stack_directory: Path) -> Iterator[RedshiftWarehouse]:
    """Redshift on a server of its own: users are a server's, and those of both warehouses have the same names."""
    client = seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    with stack.postgres(stack_directory / "redshift") as server, front(server, client) as running:
        made = RedshiftWarehouse(database(running, server))
        bootstrap(made.dsn(), {user: made.password(user) for user in USERS})
        yield made


@pytest.fixture(scope="module")
def both(
    sandbox: Sandbox,
    s3_server: Store,
    warehouse: Warehouse,
    other: RedshiftWarehouse,
    tmp_path_factory: pytest.TempPathFactory,
) -> Both:
    """Two days of the five sources, landed and built day by day on both engines."""
    client = seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    client.create_bucket(Bucket=BUCKET)
    s3 = S3(client, BUCKET, s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    project = Project(warehouse, tmp_path_factory.mktemp("dbt"))
    way = Way(sandbox.url, LandingStore(client, BUCKET), warehouse, project)
    made = Both(way, other, s3, tmp_path_factory.mktemp("redshift"))
    made.create_raw()
    made.drop()
    made.land(sandbox, FIRST)
    project.dbt("build", *NO_TESTS)
    made.build("--exclude-resource-type", "unit_test")
    later = made.land(sandbox, SECOND)
    project.dbt("build", *NO_TESTS, landing_ids=later)
    made.build(*NO_TESTS, landing_ids=later)
    return made


def test_every_table_holds_on_redshift_what_it_holds_on_postgres(both: Both) -> None:
    compared = compare(both)
    if os.environ.get("SLUICE_REDRAW"):
        PAGE.write_text(page(compared), encoding="utf-8")
    assert {one.table: one.differences for one in compared if one.differences} == {}
    # what is empty is equal to anything
    assert [one.table for one in compared if not one.rows] == []
    assert dict.fromkeys((one.table for one in compared), "none") == tables(PAGE.read_text(encoding="utf-8"))


def test_no_statement_for_redshift_has_what_redshift_has_not(both: Both) -> None:
    written = [*both.target.glob("compiled/**/*.sql"), *both.target.glob("run/**/*.sql")]
    assert len(written) > 200
    assert [
        f"{file.name}: {one.name}"
        for file in written
        for statement in statements(file.read_text(encoding="utf-8"))
        for one in refusals(statement)
    ] == []


def test_every_mart_lies_as_its_config_says(both: Both) -> None:
    nodes = json.loads((both.target / "manifest.json").read_bytes())["nodes"].values()
    configs = {
        node["name"]: node["config"]
        for node in nodes
        if node["resource_type"] == "model" and node["config"]["materialized"] in ("table", "incremental")
    }
    laid = {
        name: (style, key)
        for name, style, key in both.redshift.ask(
            "select \"table\", diststyle, sortkey1 from svv_table_info where schema in ('marts', 'staging')"
        )
    }
    assert len(configs) > 20
    for name, config in configs.items():
        dist, sort = config["dist"], config["sort"]
        style = dist.upper() if dist in ("all", "even") else f"KEY({dist})"
        assert laid[name] == (style, sort if isinstance(sort, str) else sort[0]), name


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("update marts.dim_vendor set vendor_name = 'Another' where vendor_key = -1", "vendor_name: "),
        ("update marts.dim_nft set image_url = null", "image_url: "),
        (
            "delete from marts.dim_city where city_id in (select max(city_id) from marts.dim_city)",
            " rows, on Redshift ",
        ),
    ],
)
def test_a_difference_is_found(both: Both, change: str, difference: str) -> None:
    both.redshift.ask(change)
    assert difference in str([one.differences for one in compare(both)])
