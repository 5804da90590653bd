"""All models of all five sources on Redshift, and that they hold what they hold on PostgreSQL."""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redshift_connector.error import ProgrammingError

from include.gates import Verdict
from include.gates.rules import OnFailure
from include.gates.verdict import Result
from include.landing import LandingStore
from include.pipeline.model import source_names
from include.pipeline.verdicts import keep
from include.report import collect
from include.report.expect import Expected
from include.report.facts import SubjectFacts
from include.warehouse.quarantine import Held, hold
from include.warehouse.redshift.bootstrap import USERS, bootstrap
from include.warehouse.session import open_session
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


def _result(table: str, *, success: bool = True, on_failure: OnFailure = OnFailure.FAIL) -> Result:
    return Result(table, "expect_rows", None, {}, on_failure, success, 1, 0, None, f"{table}: it is not met")


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


@pytest.fixture(scope="module")
def reported(both: Both, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Both published, with verdicts and two rows in quarantine; the report's URI of each."""
    both.publish()
    rule = {"layer": "staging", "rule": "expect_rows", "column": None, "message": "it is no row"}
    verdicts = [
        ("driven", "first", [_result("a", success=False), _result("b", success=False, on_failure=OnFailure.WARN)]),
        ("driven", "first", [_result("a"), _result("b", success=False, on_failure=OnFailure.WARN)]),  # tried again
        ("x", "second", [_result(f"{number}", success=False) for number in range(7)]),
    ]
    for warehouse in (both.way.warehouse, both.redshift):
        for source, run, results in verdicts:
            keep(
                warehouse.dsn("sluice_gate"), Verdict(tuple(results)), source=source, layer="staging", dag_run_id=run,
                landing_ids=both.landings(source)[-1:], docs_uri=tmp_path_factory.mktemp("docs").as_uri(),
            )  # fmt: skip
        landing_id = both.landings("opensea")[-1]
        held = [Held(10_000 + number, None, "no JSON", None, [rule]) for number in range(2)]
        with open_session(warehouse.dsn("sluice_loader"), writes=True) as session:
            hold(session, "opensea__nfts", landing_id, held, dag_run_id="first")
    return both.way.warehouse.dsn("sluice_reporter"), both.redshift.dsn("sluice_reporter")


def test_the_daily_report_says_of_sources_on_redshift_what_it_says_on_postgres(reported: tuple[str, str]) -> None:
    now = datetime.now(UTC)
    expected = [Expected(name, name, is_due=True, warn_after_hours=3) for name in (*source_names(), "idle")]
    ours, theirs = (collect(dsn, day=now.date(), sources=expected, now=now) for dsn in reported)
    told = {one.name: one for one in ours.sources}
    # each warehouse has published at its own time
    apart = {"seconds": True}
    assert [one.model_dump(exclude=apart) for one in theirs.sources] == [
        one.model_dump(exclude=apart) for one in ours.sources
    ]
    assert all(one.seconds > 0 for one in theirs.sources if one.name != "idle")
    assert (told["driven"].gates_passed, told["driven"].gates_warned, told["driven"].gates_failed) == (1, 1, 0)
    assert told["driven"].findings == ["b: it is not met"]
    assert (told["x"].state, told["x"].gates_failed, len(told["x"].findings)) == ("fail", 7, 5)
    assert (told["opensea"].state, told["opensea"].quarantined) == ("warn", 2)
    assert (told["idle"].state, told["idle"].landed) == ("missing", 0)
    assert min(told[name].published for name in source_names()) > 0


def test_the_daily_report_says_of_subjects_on_redshift_what_it_says_on_postgres(reported: tuple[str, str]) -> None:
    ours, theirs = (collect(dsn, day=SECOND.date(), sources=[], now=SECOND) for dsn in reported)
    assert _rounded(theirs.subjects) == _rounded(ours.subjects)
    assert all(one.figures and not one.missing for one in ours.subjects)
    assert sum(len(one.charts) for one in ours.subjects) >= 8


def _rounded(subjects: Sequence[SubjectFacts]) -> object:
    """Every figure and point, as far as two engines' floats are the same."""
    told = json.dumps([one.model_dump(mode="json") for one in subjects])
    return json.loads(told, parse_float=lambda number: float(f"{float(number):.9g}"))


def test_the_report_s_user_sees_nothing_of_what_is_held_but_how_many(both: Both, reported: tuple[str, str]) -> None:
    count = "select count(_landing_id) from quarantine.opensea__nfts"
    assert both.redshift.ask(count, user="sluice_reporter") == [(2,)]
    with pytest.raises(ProgrammingError, match="permission denied"):
        both.redshift.ask("select record from quarantine.opensea__nfts", user="sluice_reporter")


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
