"""Broadband: sessions of the API and of files become persons with versions, a fact, and departments' marts."""

import csv
import itertools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from include.gates import check_tables, load_gates
from include.gates.rules import LayerName
from include.pipeline.model import SOURCES
from include.warehouse.publish import marts, publish
from tests.dbt.project import DbtError, Project

DRIVEN = ("tag:driven",)
MARTS = ("path:models/marts/broadband",)
MEASURES = ("session_duration", "download_speed", "upload_speed", "consumed_traffic")
BATCHES = ("romanmurzac_batch_2024-09-15.csv", "sonick19_batch_2025-04-03.csv")
SESSIONS = 189 + 486
# the source's columns, as the marts call them
PII_DATA = (
    "person_name", "user_name", "email", "personal_number", "birth_date", "address", "phone", "mac_address",
    "ip_address", "iban", "accessed_at::text", "session_duration_seconds::text", "download_speed_mbps::text",
    "upload_speed_mbps::text", "consumed_traffic_kilobytes::text", "unique_id",
)  # fmt: skip
_partitions = itertools.count(1)


def session(personal_number: str, accessed_at: str, **other: str | int | None) -> dict[str, Any]:
    """A session as the API serves it, of an hour, except for what is said otherwise; its id follows from it."""
    plain: dict[str, Any] = {
        "person_name": "Ștefania Pop",
        "user_name": "ștefaniapop",
        "email": "stefania@post.ro",
        "personal_number": personal_number,
        "birth_date": "1961-08-30",
        "address": "Strada Unu",
        "phone": "0786 645 539",
        "mac_address": "38:f9:7c:b3:d5:88",
        "ip_address": "63.138.125.200",
        "iban": "RO16EZML5644748904109718",
        "accessed_at": accessed_at,
        "session_duration": 3600,
        "download_speed": 100,
        "upload_speed": 50,
        "consumed_traffic": 1000,
        "unique_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{personal_number}/{accessed_at}")),
    }
    return plain | other


def land(project: Project, *sessions: Mapping[str, Any]) -> int:
    """Land and load sessions as a day of the API, and build that, without the tests."""
    landing_id = project.load_records("driven", "sessions", f"day-{next(_partitions)}", sessions)
    build(project, landing_id)
    return landing_id


def build(project: Project, landing_id: int) -> None:
    """Build the marts of a landing, without the tests."""
    project.dbt("run", "--select", *MARTS, landing_ids=[landing_id])


MOVER, LATE, CORRECTED, GIVEN, TAKEN, STAYER, NASTY, LOST, FOUND = (str(10**12 + number) for number in range(9))
TEXT = "“Ana” \\ \"q\" 'q'\r\n\t\u202e\u0645\u0631\u062d\u0628\u0627 👩‍👩‍👧 {{ x }} %s ' or 1=1 --"
TEXTS = ("person_name", "user_name", "email", "birth_date", "address", "phone", "mac_address", "ip_address", "iban")
WRONG = session(CORRECTED, "2026-11-02T08:00:00", address="Strda Unu")
PASSED_ON = session(GIVEN, "2026-11-02T08:00:00", address="Strada Doi")
DAYS = (
    [
        session(MOVER, "2026-11-01T08:00:00"),
        session(MOVER, "2026-11-02T08:00:00"),
        session(LATE, "2026-11-01T08:00:00"),
        session(LATE, "2026-11-05T08:00:00"),
        session(LATE, "2026-11-09T08:00:00", address="Strada Trei"),
        session(CORRECTED, "2026-11-01T08:00:00"),
        WRONG,
        session(GIVEN, "2026-11-01T08:00:00"),
        PASSED_ON,
        session(LOST, "2026-11-01T08:00:00"),
        session(STAYER, "2026-11-01T08:00:00", download_speed=750, upload_speed=40, consumed_traffic=166472),
        session(NASTY, "2026-11-01T08:00:00", **dict.fromkeys(TEXTS, TEXT)),
    ],
    [
        session(MOVER, "2026-11-03T08:00:00", address="Strada Doi"),
        # late, between two sessions of one version: it parts them
        session(LATE, "2026-11-03T08:00:00", address="Strada Doi"),
        WRONG | {"address": "Strada Unu"},
        PASSED_ON | {"personal_number": TAKEN},
        session(LOST, "2026-11-01T08:00:00") | {"personal_number": FOUND},
    ],
    [
        session(MOVER, "2026-11-05T08:00:00", address="Strada Trei"),
        # late, before the first: the version begins earlier
        session(LATE, "2026-10-31T08:00:00"),
    ],
)


@pytest.fixture(scope="module")
def days(project: Project) -> Sequence[int]:
    """Three days, each landed, built and published, the first with the tests of the models; their landings."""
    first = project.load_records("driven", "sessions", "first", DAYS[0])
    project.build([first], DRIVEN, unit_tests=True)
    publish_landing(project, first)
    ids = [first]
    for sessions in DAYS[1:]:
        ids.append(land(project, *sessions))
        publish_landing(project, ids[-1])
    return ids


def publish_landing(project: Project, landing_id: int) -> None:
    """Publish what a landing has changed, as the pipeline does."""
    publish(
        project.warehouse.dsn("sluice_publisher"),
        marts(project.target / "manifest.json", "driven"),
        source="driven",
        dag_run_id="test",
        landing_ids=[landing_id],
    )


def versions(project: Project, person: str) -> Sequence[tuple[Any, ...]]:
    """Address, beginning and end (month-day), whether current; of each version of a person, in time."""
    return project.rows(
        "select address, to_char(valid_from_at, 'MM-DD'), to_char(valid_to_at, 'MM-DD'), is_current "
        "from marts.dim_person where personal_number = %s order by valid_from_at",
        person,
    )


def addresses_of_sessions(project: Project, person: str) -> Sequence[tuple[Any, ...]]:
    """Day of each session of a person, and the address of the version that the fact gives it."""
    return project.rows(
        "select to_char(accessed_at, 'MM-DD'), address from marts.fact_network_usage "
        "join marts.dim_person using (person_key) where personal_number = %s order by accessed_at",
        person,
    )


def contents(project: Project, *tables: str) -> Sequence[tuple[Any, ...]]:
    """All that these marts say of persons with sessions, but for which landing has said it last and where."""
    statements = (
        f"select '{table}', (to_jsonb(t) - '_landing_id' - '_row')::text from marts.{table} as t "
        "where coalesce(to_jsonb(t) ->> 'sessions', '') <> '0'"
        for table in tables
    )
    return project.rows(" union all ".join(statements) + " order by 1, 2")


def test_an_address_that_changes_twice_leaves_three_versions_without_a_gap(
    project: Project, days: Sequence[int]
) -> None:
    assert versions(project, MOVER) == [
        ("Strada Unu", "11-01", "11-03", False),
        ("Strada Doi", "11-03", "11-05", False),
        ("Strada Trei", "11-05", None, True),
    ]
    assert addresses_of_sessions(project, MOVER) == [
        ("11-01", "Strada Unu"),
        ("11-02", "Strada Unu"),
        ("11-03", "Strada Doi"),
        ("11-05", "Strada Trei"),
    ]


def test_readers_see_what_the_marts_hold(project: Project, days: Sequence[int]) -> None:
    for (table,) in project.rows("select table_name from information_schema.tables where table_schema = 'marts'"):
        held, published = (
            project.rows(f"select t::text from {schema}.{table} as t order by 1") for schema in ("marts", "analytics")
        )
        assert held == published, table


def test_what_a_mask_shows_is_what_non_pii_data_holds(project: Project, days: Sequence[int]) -> None:
    """One rule in two places: the masks of `include/warehouse/masks.py` and dbt's macros."""
    with closing(psycopg2.connect(project.warehouse.dsn("analyst"))) as connection, connection.cursor() as cursor:
        shown = []
        for table in ("pii_data", "non_pii_data"):
            cursor.execute(f"select t::text from analytics.{table} as t order by unique_id")
            shown.append(cursor.fetchall())
    assert shown[0] == shown[1]
    assert len(shown[0]) > len(days)


def test_a_late_session_is_put_in_its_place(project: Project, days: Sequence[int]) -> None:
    assert versions(project, LATE) == [
        ("Strada Unu", "10-31", "11-03", False),
        ("Strada Doi", "11-03", "11-05", False),
        ("Strada Unu", "11-05", "11-09", False),
        ("Strada Trei", "11-09", None, True),
    ]
    assert addresses_of_sessions(project, LATE) == [
        ("10-31", "Strada Unu"),
        ("11-01", "Strada Unu"),
        ("11-03", "Strada Doi"),
        ("11-05", "Strada Unu"),
        ("11-09", "Strada Trei"),
    ]


def test_a_session_that_a_late_one_gives_another_version_is_published_again(
    project: Project, days: Sequence[int]
) -> None:
    # publish moves what has the run's landing: of the 5th, the second day made the beginning of a version; of the 1st
    # the third day made it the end of one
    assert project.rows(
        "select to_char(fact.accessed_at, 'MM-DD'), fact._landing_id from marts.fact_network_usage as fact "
        "join marts.dim_person using (person_key) where personal_number = %s order by fact.accessed_at",
        LATE,
    ) == [("10-31", days[2]), ("11-01", days[2]), ("11-03", days[1]), ("11-05", days[1]), ("11-09", days[0])]


def test_a_corrected_session_takes_its_version_back(project: Project, days: Sequence[int]) -> None:
    assert versions(project, CORRECTED) == [("Strada Unu", "11-01", None, True)]
    assert addresses_of_sessions(project, CORRECTED) == [("11-01", "Strada Unu"), ("11-02", "Strada Unu")]


def test_a_session_that_changes_hands_leaves_the_first_person(project: Project, days: Sequence[int]) -> None:
    assert versions(project, GIVEN) == [("Strada Unu", "11-01", None, True)]
    assert versions(project, TAKEN) == [("Strada Doi", "11-02", None, True)]
    assert project.rows(
        "select personal_number, sessions from marts.subscriber_activity join marts.dim_person using (person_key) "
        "where personal_number in (%s, %s) order by 1",
        GIVEN,
        TAKEN,
    ) == [(GIVEN, 1), (TAKEN, 1)]


def test_a_person_whose_only_session_changes_hands_is_gone(project: Project, days: Sequence[int]) -> None:
    assert versions(project, LOST) == []
    assert versions(project, FOUND) == [("Strada Unu", "11-01", None, True)]
    assert project.rows("select sessions, person_key from marts.subscriber_activity where sessions = 0") == [(0, None)]


def test_persons_of_a_run_come_with_all_their_versions_and_others_stay_as_they_are(
    project: Project, days: Sequence[int]
) -> None:
    for table in ("dim_person", "subscriber_activity as activity join marts.dim_person as person using (person_key)"):
        column = "_landing_id" if table == "dim_person" else "activity._landing_id"
        assert project.rows(
            f"select personal_number, min({column}), max({column}) from marts.{table} group by 1 order by 1"
        ) == [
            (MOVER, days[2], days[2]),
            (LATE, days[2], days[2]),
            (CORRECTED, days[1], days[1]),
            (GIVEN, days[1], days[1]),
            (TAKEN, days[1], days[1]),
            (STAYER, days[0], days[0]),
            (NASTY, days[0], days[0]),
            (FOUND, days[1], days[1]),
        ], table


def test_amounts_are_exact(project: Project, days: Sequence[int]) -> None:
    assert project.rows(
        "select payment_amount from marts.payment_data where unique_id = %s",
        session(STAYER, "2026-11-01T08:00:00")["unique_id"],
    ) == [(Decimal("441.7293807276"),)]


def test_texts_of_every_kind_arrive_byte_for_byte(project: Project, days: Sequence[int]) -> None:
    assert project.rows(f"select {', '.join(TEXTS)} from marts.pii_data where personal_number = %s", NASTY) == [
        (TEXT,) * len(TEXTS)
    ]
    assert project.rows(
        "select age_group from marts.subscriber_activity join marts.dim_person using (person_key) "
        "where personal_number = %s",
        NASTY,
    ) == [("unknown",)]


def test_building_a_landing_again_changes_nothing(project: Project, days: Sequence[int]) -> None:
    before = project.fingerprint()
    build(project, days[2])
    assert project.fingerprint() == before


def test_sessions_landed_again_add_nothing(project: Project, days: Sequence[int]) -> None:
    tables = ("dim_person", "dim_address", "dim_finance", "fact_network_usage", "payment_data", "subscriber_activity")
    before = contents(project, *tables)
    land(project, *DAYS[1], *DAYS[2])
    assert contents(project, *tables) == before


def test_an_older_landing_built_again_does_not_undo_a_newer_one(project: Project, days: Sequence[int]) -> None:
    served = session(STAYER, "2026-11-02T08:00:00")
    row = served | {"accessed_at": datetime.fromisoformat(served["accessed_at"]), "download_speed": 1}
    old = project.load_rows("session_files", "old", [row], source="driven")
    build(project, old)
    land(project, served)
    before = project.fingerprint()
    build(project, old)
    assert project.fingerprint() == before
    assert project.rows("select download_speed_mbps from marts.pii_data where unique_id = %s", served["unique_id"]) == [
        (100,)
    ]


def test_a_full_build_gives_what_the_days_gave(project: Project, days: Sequence[int]) -> None:
    # dim_address has more after the days: an address that was corrected is still there, and no session joins it
    tables = ("dim_person", "fact_network_usage", "payment_data", "subscriber_activity")
    before = contents(project, *tables)
    project.dbt("run", "--select", *MARTS, "--full-refresh")
    assert contents(project, *tables) == before


def test_a_session_lost_and_a_gap_between_versions_fail_their_tests(project: Project, days: Sequence[int]) -> None:
    lost = session(STAYER, "2026-11-01T08:00:00")["unique_id"]
    project.rows("delete from marts.fact_network_usage where unique_id = %s", lost)
    project.rows(
        "update marts.dim_person set valid_to_at = valid_to_at - interval '1 hour' "
        "where personal_number = %s and not is_current",
        MOVER,
    )
    with pytest.raises(DbtError) as failure:
        project.dbt("test", "--select", "fact_network_usage", "dim_person", "--exclude", "test_type:unit")
    assert {name for name, node in failure.value.nodes.items() if node.status == "fail"} == {
        "every_session_is_in_the_fact",
        "every_version_of_a_person_begins_where_the_one_before_ends",
    }
    # the next run that touches the persons heals both
    land(project, session(STAYER, "2026-11-03T08:00:00"), session(MOVER, "2026-11-06T08:00:00", address="Strada Trei"))
    assert {"11-01", "11-03"} <= {day for day, _ in addresses_of_sessions(project, STAYER)}
    assert versions(project, MOVER)[0] == ("Strada Unu", "11-01", "11-03", False)


# --- real batches -----------------------------------------------------------------------------------------------------


def batch(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV batch, as text."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


@pytest.fixture(scope="module")
def real(project: Project, real_data: Path) -> Sequence[int]:
    """Both real batches, each dropped as a file, the second with the column `is_current` that some batches have."""
    ids = []
    for number, name in enumerate(BATCHES):
        rows = [
            row
            | {measure: int(row[measure]) for measure in MEASURES}
            | {"accessed_at": datetime.fromisoformat(row["accessed_at"])}
            | ({"is_current": "true"} if number else {})
            for row in batch(real_data / "driven" / name)
        ]
        ids.append(project.load_rows("session_files", name, rows, source="driven"))
    project.build(ids, DRIVEN)
    return ids


def in_batches(project: Project, statement: str) -> Sequence[tuple[Any, ...]]:
    """Rows about the sessions of the two real batches: `{sessions}` stands for their ids."""
    ids = "select unique_id from raw.driven__session_files where accessed_at < '2026-01-01'"
    return project.rows(statement.replace("{sessions}", ids))


def test_every_real_session_arrives_with_all_sixteen_columns(
    project: Project, real: Sequence[int], real_data: Path
) -> None:
    served = sorted(tuple(row.values()) for name in BATCHES for row in batch(real_data / "driven" / name))
    found = in_batches(project, f"select {', '.join(PII_DATA)} from marts.pii_data where unique_id in ({{sessions}})")
    assert len(served) == SESSIONS
    assert sorted(found) == served


def test_every_real_session_is_of_a_person_an_address_and_an_account(project: Project, real: Sequence[int]) -> None:
    # one time of access a batch: that all begin in the same second makes nobody another's version
    assert in_batches(
        project,
        "select count(*), count(distinct accessed_at), count(distinct person_key), count(distinct address_key), "
        "count(distinct finance_key), count(*) filter (where is_current), min(accessed_date_key), max(version_number) "
        "from marts.fact_network_usage join marts.dim_person using (person_key) where unique_id in ({sessions})",
    ) == [(SESSIONS, 2, SESSIONS, SESSIONS, SESSIONS, SESSIONS, 20240914, 1)]


def test_every_real_bill_is_the_formulas(project: Project, real: Sequence[int]) -> None:
    bills = in_batches(
        project,
        "select download_speed_mbps, upload_speed_mbps, consumed_traffic_kilobytes, session_duration_seconds, "
        "payment_amount from marts.payment_data where unique_id in ({sessions})",
    )
    assert len(bills) == SESSIONS
    for download, upload, traffic, seconds, amount in bills:
        expected = Decimal(download + upload + 1) / 2 + Decimal(traffic) / (seconds + 1)
        assert abs(amount - expected) <= Decimal("0.00000000005")


def test_nothing_of_a_real_person_is_left_but_the_first_five_characters(project: Project, real: Sequence[int]) -> None:
    shown = ("user_name", "email", "mac_address", "ip_address", "iban")
    hidden = ("person_name", "personal_number", "birth_date", "address", "phone")
    wrong = " or ".join(
        [f"masked.{name} <> left(clear.{name}, 5) || '*****'" for name in shown]
        + [f"masked.{name} <> '*****'" for name in hidden]
    )
    assert in_batches(
        project,
        f"select count(*), count(*) filter (where {wrong}) from marts.non_pii_data as masked "
        "join marts.pii_data as clear using (unique_id) where unique_id in ({sessions})",
    ) == [(SESSIONS, 0)]


def test_real_issues_and_activity_add_up(project: Project, real: Sequence[int], real_data: Path) -> None:
    rows = [row for name in BATCHES for row in batch(real_data / "driven" / name)]
    issues = sum(
        int(row["download_speed"]) < 50 or int(row["upload_speed"]) < 30 or int(row["session_duration"]) < 60
        for row in rows
    )
    assert issues > 0
    assert in_batches(
        project,
        "select count(*) filter (where has_technical_issue) from marts.technical_data where unique_id in ({sessions})",
    ) == [(issues,)]
    active = sum(int(row["session_duration"]) > 7200 for row in rows)
    assert in_batches(
        project,
        "select count(*) filter (where activity_level = 'active'), count(*) filter (where age_group = 'unknown'), "
        "sum(activity.consumed_traffic_kilobytes), sum(total_bandwidth_mbps) "
        "from marts.subscriber_activity as activity join marts.dim_person as person using (person_key) "
        "where person_key in ({sessions})",
    ) == [
        (
            active,
            0,
            sum(int(row["consumed_traffic"]) for row in rows),
            sum(int(row["download_speed"]) + int(row["upload_speed"]) for row in rows),
        )
    ]


@pytest.mark.parametrize("layer", ["raw", "staging", "marts"])
def test_real_batches_pass_their_gates(project: Project, real: Sequence[int], layer: LayerName) -> None:
    verdict = check_tables(
        load_gates(SOURCES / "driven" / "gates.yml").layer(layer),
        url=project.warehouse.dsn("sluice_gate"),
        schema=layer,
        landing_ids=real,
        entities=["session_files"],
    )
    assert verdict.passed, [result for result in verdict.results if not result.success]
    assert len(verdict.results) >= 3


def test_a_session_without_a_number_fails_the_gate_of_raw(project: Project, days: Sequence[int]) -> None:
    bad = session(STAYER, "2026-11-20T08:00:00", download_speed="fast")
    landing_id = project.load_records("driven", "sessions", "bad", [bad])
    verdict = check_tables(
        load_gates(SOURCES / "driven" / "gates.yml").raw,
        url=project.warehouse.dsn("sluice_gate"),
        schema="raw",
        landing_ids=[landing_id],
        entities=["sessions"],
    )
    assert [result.table for result in verdict.failures] == ["driven__sessions"]
    assert "the four measures are whole numbers" in verdict.failures[0].message
