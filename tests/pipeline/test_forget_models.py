"""Erasure of a person out of dbt's models and readers' tables: versions, corrections, sums, and a replay afterwards."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from include.landing import LandingStore
from include.pipeline import steps
from include.pipeline.erasure import Outcome, forget
from include.pipeline.model import load_source
from include.pipeline.rebuild import DbtProject
from include.warehouse.bootstrap import ROLES, bootstrap
from include.warehouse.publish import marts, publish
from local import s3 as seaweed
from local import stack
from tests.conftest import Warehouse
from tests.dbt.project import PROJECT as DBT
from tests.dbt.project import Project
from tests.pipeline.test_forget import (
    GIVER,
    LONGER,
    PERSON,
    SHARER,
    TAKER,
    Stage,
    as_landing,
    every_manifest,
    holds_person,
    of_other,
    of_person,
)

TABLES = (
    "dim_person",
    "dim_address",
    "dim_finance",
    "fact_network_usage",
    "payment_data",
    "technical_data",
    "non_pii_data",
    "pii_data",
    "subscriber_activity",
)
GIVEN = of_other(GIVER, "2026-11-01T12:00:00")
TAKEN = of_person("2026-11-01T13:00:00")


@dataclass(frozen=True)
class Case:
    """What was there, and what there is.

    Attributes:
        stage: Landings and rows.
        before: mart -> rows by their key, as readers had them.
        after: The same after the erasure.
        staged: Rows of int_driven_sessions after it.
        outcome: The erasure's.
    """

    stage: Stage
    project: Project
    before: Mapping[str, Sequence[Mapping[str, Any]]]
    after: Mapping[str, Sequence[Mapping[str, Any]]]
    outcome: Outcome


@pytest.fixture(scope="module")
def project(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(warehouse, tmp_path_factory.mktemp("dbt"))
    made.create_raw()
    return made


@pytest.fixture(scope="module")
def lake(s3_server: stack.Store) -> Iterator[LandingStore]:
    """A bucket for the module."""
    client = seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    client.create_bucket(Bucket="forget-models")
    yield LandingStore(client, "forget-models")
    for entry in client.list_objects_v2(Bucket="forget-models").get("Contents", []):
        client.delete_object(Bucket="forget-models", Key=entry["Key"])
    client.delete_bucket(Bucket="forget-models")


def go(stage: Stage, project: Project, *landed: steps.Landing) -> None:
    """Load, build and publish landings, as a run does."""
    stage.load(*landed)
    ids = [landing["landing_id"] for landing in landed]
    project.build(ids, ["path:models/staging/driven", "path:models/marts,tag:driven"])
    show(stage, project, ids)


def show(stage: Stage, project: Project, ids: Sequence[int]) -> None:
    publish(
        stage.warehouse.dsn("sluice_publisher"),
        marts(project.target / "manifest.json", "driven"),
        source="driven",
        dag_run_id="test",
        landing_ids=ids,
    )


def dbt_of(project: Project) -> DbtProject:
    return DbtProject(DBT, project.target, project._connection())


def published(stage: Stage, project: Project) -> dict[str, list[dict[str, Any]]]:
    """Mart -> its rows in the order of their keys."""
    found = {}
    for table in TABLES:
        ((place,),) = project.rows(
            "select coalesce(to_regclass(%s), to_regclass(%s))::text", f"personal.{table}", f"analytics.{table}"
        )
        found[table] = project.records(f"select * from {place} order by 1, 2")
    return found


@pytest.fixture(scope="module")
def case(warehouse: Warehouse, lake: LandingStore, project: Project) -> Case:
    """Three days and a file, then the erasure."""
    stage = Stage(warehouse, lake, load_source("driven"))
    go(
        stage,
        project,
        stage.land(
            [
                of_person("2026-11-01T08:00:00"),
                of_person("2026-11-02T08:00:00", address="Strada Doi"),
                of_other(LONGER, "2026-11-01T08:00:00", download_speed=300),
            ],
            [of_other(SHARER, "2026-11-01T09:00:00"), GIVEN, TAKEN],
        ),
    )
    go(
        stage,
        project,
        stage.land(
            [
                of_person("2026-11-01T20:00:00", consumed_traffic=77),  # late: it parts nothing, and moves nothing
                of_person("2026-11-02T08:00:00", address="Strada Doi", consumed_traffic=5),  # corrected
                GIVEN | of_person("2026-11-01T12:00:00") | {"unique_id": GIVEN["unique_id"]},
                TAKEN | of_other(TAKER, "2026-11-01T13:00:00") | {"unique_id": TAKEN["unique_id"]},
            ]
        ),
    )
    stage.drop("batch", of_person("2026-11-03T08:00:00"), of_other(LONGER, "2026-11-03T08:00:00"))
    go(stage, project, stage.land_files())
    go(stage, project, stage.land([of_other(SHARER, "2026-11-04T09:00:00")]))
    # a day that a gate stopped: loaded, and not published
    stage.load(stage.land([of_person("2026-11-05T08:00:00"), of_other(SHARER, "2026-11-05T08:00:00")]))
    before = published(stage, project)
    outcome = forget(stage.source, PERSON, stage.access(dbt_of(project)))
    return Case(stage, project, before, published(stage, project), outcome)


def test_nothing_of_the_person_is_left_in_any_table(case: Case) -> None:
    assert case.outcome.left == {}
    assert case.outcome.places > 200
    everything = case.stage.everything()
    assert not holds_person(str(everything))
    ((former,),) = case.project.rows("select md5(length(%s) || ':' || %s)", PERSON, PERSON)
    assert former not in str(everything)


def test_everybody_elses_rows_are_as_they_were(case: Case) -> None:
    for table in TABLES:
        mine = {id(row) for row in case.before[table] if is_persons(case, row)}
        others = [row for row in case.before[table] if id(row) not in mine]
        assert others
        left = [row for row in case.after[table] if row in others]
        assert left == others, table


def is_persons(case: Case, row: Mapping[str, Any]) -> bool:
    """Whether a row, from before, is of the person: by its own columns, or as one of the person's sessions."""
    sessions = {one["unique_id"] for one in case.before["pii_data"] if one["personal_number"] == PERSON}
    ((former,),) = case.project.rows("select md5(length(%s) || ':' || %s)", PERSON, PERSON)
    return row.get("personal_number") == PERSON or row.get("person_id") == former or row.get("unique_id") in sessions


def test_the_persons_rows_are_the_pseudonyms_in_one_version(case: Case) -> None:
    pseudonym = case.outcome.pseudonym
    own = [row for row in case.after["dim_person"] if row["personal_number"] == pseudonym]
    assert [(row["version_number"], row["is_current"], row["address"], row["email"]) for row in own] == [
        (1, True, "erased", "erased")
    ]
    sessions = [row for row in case.after["pii_data"] if row["personal_number"] == pseudonym]
    assert len(sessions) == len([row for row in case.before["pii_data"] if row["personal_number"] == PERSON]) == 5
    assert {row["iban"] for row in sessions} == {"erased"}
    masked = {row["unique_id"]: row for row in case.after["non_pii_data"]}
    assert {masked[row["unique_id"]]["email"] for row in sessions} == {"erase*****"}
    of_person_id = [row for row in case.after["subscriber_activity"] if row["person_id"] == own[0]["person_id"]]
    assert [(row["sessions"], row["age_group"]) for row in of_person_id] == [(5, "unknown")]
    keys = {row["person_key"] for row in case.after["dim_person"]}
    assert all(row["person_key"] in keys for row in case.after["fact_network_usage"])


def test_sums_stay(case: Case) -> None:
    def sums(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Decimal, int, int, int]:
        return (
            sum((row["payment_amount"] for row in rows["payment_data"]), Decimal(0)),
            len(rows["payment_data"]),
            sum(row["consumed_traffic_kilobytes"] for row in rows["fact_network_usage"]),
            sum(row["consumed_traffic_kilobytes"] for row in rows["subscriber_activity"]),
        )

    assert sums(case.after) == sums(case.before)


def test_no_session_remembers_whose_it_was(case: Case) -> None:
    rows = case.project.rows(
        "select unique_id, previous_person_id from staging.int_driven_sessions where unique_id in (%s, %s)",
        GIVEN["unique_id"],
        TAKEN["unique_id"],
    )
    assert sorted(rows) == sorted([(GIVEN["unique_id"], None), (TAKEN["unique_id"], None)])


def test_what_no_gate_has_passed_is_not_published(case: Case) -> None:
    assert case.outcome.waiting == 1
    assert not [row for row in case.after["fact_network_usage"] if str(row["accessed_at"]).startswith("2026-11-05")]


def test_no_gate_takes_what_is_erased_for_a_fault(case: Case) -> None:
    failed = case.project.rows(
        "select table_name, column_name, rows_unexpected from ops.gate_result where dag_run_id ~ '^forget__' "
        "and not success and (on_failure <> 'warn' or column_name in ('personal_number', 'birth_date')) order by 1"
    )
    # of whom the number has a digit too many, one row each
    assert failed == [
        ("stg_driven__session_files", "personal_number", 1),
        ("stg_driven__sessions", "personal_number", 1),
    ]


def test_a_second_time_finds_nothing_and_a_replay_from_s3_gives_the_same(case: Case) -> None:
    stage, project = case.stage, case.project
    assert forget(stage.source, PERSON, stage.access(dbt_of(project))).is_nothing
    waiting = every_manifest(stage.store, "driven")[-1]
    go(stage, project, as_landing(waiting))  # the day that had to wait
    held = published(stage, project)
    for schema in ("raw", "staging", "marts", "personal", "analytics", "quarantine", "ops"):
        project.rows(f"drop schema {schema} cascade")
    server = stage.warehouse.server
    with closing(server.connect(stage.warehouse.dbname)) as connection:
        bootstrap(connection, {role: stage.warehouse.password(role) for role in ROLES})
    project.create_raw()
    manifests = every_manifest(stage.store, "driven")
    for manifest in manifests:
        steps.book(stage.dsn, manifest)
    go(stage, project, *map(as_landing, manifests))
    rebuilt = published(stage, project)
    for table in TABLES:
        left, right = ({repr(row) for row in plain(rows)} for rows in (rebuilt[table], held[table]))
        assert left <= right, table
        # what was once said stays in these two: nobody's any more, as sessions have passed on or were corrected
        assert left == right or table in ("dim_address", "dim_finance"), table


def plain(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows but for which landing has said them last and where, and those that no session is behind any more."""
    return [
        {name: value for name, value in row.items() if name not in ("_landing_id", "_row")}
        for row in rows
        if row.get("sessions") != 0
    ]
