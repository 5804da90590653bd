"""Broadband: sessions of the API and of files become persons with versions, a fact, and departments' marts."""

import csv
import itertools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

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
_people = itertools.count(1_000_000_000_001)


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


@pytest.fixture(scope="module")
def broadband(project: Project) -> Project:
    """The models, built of nothing yet."""
    project.build((), DRIVEN, unit_tests=True)
    return project


@pytest.fixture
def person() -> str:
    """A personal number that no other test has."""
    return str(next(_people))


def land(project: Project, *sessions: Mapping[str, Any]) -> int:
    """Land and load sessions as a day of the API, and build that, without the tests."""
    landing_id = project.load_records("driven", "sessions", f"day-{next(_partitions)}", sessions)
    project.dbt("run", "--select", *MARTS, landing_ids=[landing_id])
    return landing_id


def versions(project: Project, person: str) -> Sequence[tuple[Any, ...]]:
    """Address, first and last day, whether current; of each version of a person, in time."""
    return project.rows(
        "select address, to_char(valid_from_at, 'DD HH24:MI'), to_char(valid_to_at, 'DD HH24:MI'), is_current "
        "from marts.dim_person where personal_number = %s order by valid_from_at",
        person,
    )


def addresses_of_sessions(project: Project, person: str) -> Sequence[tuple[Any, ...]]:
    """Day and hour of each session of a person, and the address of the version that the fact gives it."""
    return project.rows(
        "select to_char(accessed_at, 'DD HH24:MI'), address from marts.fact_network_usage "
        "join marts.dim_person using (person_key) where personal_number = %s order by accessed_at",
        person,
    )


def test_an_address_that_changes_twice_leaves_three_versions_without_a_gap(broadband: Project, person: str) -> None:
    land(broadband, session(person, "2026-11-01T08:00:00"), session(person, "2026-11-02T08:00:00"))
    land(broadband, session(person, "2026-11-03T08:00:00", address="Strada Doi"))
    last = land(broadband, session(person, "2026-11-05T08:00:00", address="Strada Trei"))
    assert versions(broadband, person) == [
        ("Strada Unu", "01 08:00", "03 08:00", False),
        ("Strada Doi", "03 08:00", "05 08:00", False),
        ("Strada Trei", "05 08:00", None, True),
    ]
    # so that publish, which moves whole persons by the run's landing, takes all versions along
    assert broadband.rows(
        "select distinct _landing_id = %s from marts.dim_person where personal_number = %s", last, person
    ) == [(True,)]
    assert addresses_of_sessions(broadband, person) == [
        ("01 08:00", "Strada Unu"),
        ("02 08:00", "Strada Unu"),
        ("03 08:00", "Strada Doi"),
        ("05 08:00", "Strada Trei"),
    ]
    before = broadband.fingerprint()
    broadband.build([last], MARTS)
    assert broadband.fingerprint() == before


def test_the_same_sessions_landed_again_add_nothing(broadband: Project, person: str) -> None:
    served = [
        session(person, "2026-11-01T08:00:00"),
        session(person, "2026-11-02T08:00:00", address="Strada Doi"),
    ]
    land(broadband, *served)
    tables = ("dim_person", "dim_address", "dim_finance", "fact_network_usage", "payment_data", "subscriber_activity")
    contents = {
        table: f"select to_jsonb(t) - '_landing_id' - '_row' from marts.{table} as t order by t::text"
        for table in tables
    }
    before = {table: broadband.rows(statement) for table, statement in contents.items()}
    land(broadband, *served)
    after = {table: broadband.rows(statement) for table, statement in contents.items()}
    assert {table: sorted(map(str, rows)) for table, rows in after.items()} == {
        table: sorted(map(str, rows)) for table, rows in before.items()
    }


def test_a_late_session_is_put_in_its_place(broadband: Project, person: str) -> None:
    land(
        broadband,
        session(person, "2026-11-01T08:00:00"),
        session(person, "2026-11-05T08:00:00"),
        session(person, "2026-11-09T08:00:00", address="Strada Trei"),
    )
    # between two sessions of one version: it parts them
    late = land(broadband, session(person, "2026-11-03T08:00:00", address="Strada Doi"))
    assert versions(broadband, person) == [
        ("Strada Unu", "01 08:00", "03 08:00", False),
        ("Strada Doi", "03 08:00", "05 08:00", False),
        ("Strada Unu", "05 08:00", "09 08:00", False),
        ("Strada Trei", "09 08:00", None, True),
    ]
    # the session of the 5th begins a version now, so that its row of the fact is written again, for publish to move
    assert broadband.rows(
        "select to_char(accessed_at, 'DD'), person_key = unique_id from marts.fact_network_usage "
        "where _landing_id = %s order by 1",
        late,
    ) == [("03", True), ("05", True)]
    # before the first: the version begins earlier
    land(broadband, session(person, "2026-10-31T08:00:00"))
    assert versions(broadband, person)[0] == ("Strada Unu", "31 08:00", "03 08:00", False)
    assert [address for _, address in addresses_of_sessions(broadband, person)] == [
        "Strada Unu", "Strada Unu", "Strada Doi", "Strada Unu", "Strada Trei",
    ]  # fmt: skip
    assert len(versions(broadband, person)) == 4


def test_a_corrected_session_takes_its_version_back(broadband: Project, person: str) -> None:
    first, wrong = session(person, "2026-11-01T08:00:00"), session(person, "2026-11-02T08:00:00", address="Strda Unu")
    land(broadband, first, wrong)
    assert len(versions(broadband, person)) == 2
    land(broadband, wrong | {"address": "Strada Unu"})
    assert versions(broadband, person) == [("Strada Unu", "01 08:00", None, True)]
    assert [address for _, address in addresses_of_sessions(broadband, person)] == ["Strada Unu", "Strada Unu"]


def test_a_session_that_changes_hands_leaves_the_first_person(broadband: Project, person: str) -> None:
    other = str(next(_people))
    first, second = session(person, "2026-11-01T08:00:00"), session(person, "2026-11-02T08:00:00", address="Strada Doi")
    land(broadband, first, second)
    land(broadband, second | {"personal_number": other})
    assert versions(broadband, person) == [("Strada Unu", "01 08:00", None, True)]
    assert versions(broadband, other) == [("Strada Doi", "02 08:00", None, True)]
    assert broadband.rows(
        "select personal_number, sessions from marts.subscriber_activity join marts.dim_person using (person_key) "
        "where personal_number in (%s, %s) order by 1",
        person,
        other,
    ) == [(person, 1), (other, 1)]


def test_an_older_landing_built_again_does_not_undo_a_newer_one(broadband: Project, person: str) -> None:
    served = session(person, "2026-11-01T08:00:00")
    file = [served | {"accessed_at": datetime.fromisoformat("2026-11-01T08:00:00"), "download_speed": 1}]
    old = broadband.load_rows("session_files", "old", file, source="driven")
    broadband.dbt("run", "--select", *MARTS, landing_ids=[old])
    land(broadband, served)
    before = broadband.fingerprint()
    broadband.dbt("run", "--select", *MARTS, landing_ids=[old])
    assert broadband.fingerprint() == before
    assert broadband.rows(
        "select download_speed_mbps from marts.pii_data where unique_id = %s", served["unique_id"]
    ) == [(100,)]


def test_only_persons_of_the_run_are_built_anew(broadband: Project, person: str) -> None:
    land(broadband, session(person, "2026-11-01T08:00:00"))
    others = "select md5(string_agg(xmin::text || ctid::text, ',' order by ctid)) from marts.{} where {}"
    mine = "select person_id from marts.dim_person where personal_number = %s"
    statements = [
        others.format("dim_person", "personal_number <> %s"),
        others.format("subscriber_activity", f"person_id not in ({mine})"),
    ]
    before = [broadband.rows(statement, person) for statement in statements]
    land(broadband, session(person, "2026-11-02T08:00:00", address="Strada Doi"))
    assert [broadband.rows(statement, person) for statement in statements] == before


def test_a_full_build_gives_what_the_days_gave(broadband: Project, person: str) -> None:
    land(broadband, session(person, "2026-11-05T08:00:00", address="Strada Doi"))
    land(broadband, session(person, "2026-11-01T08:00:00"), session(person, "2026-11-09T08:00:00"))
    # what landing a row is from may differ: a day says which run has changed it
    statement = (
        "select (to_jsonb(p) - '_landing_id')::text from marts.dim_person as p union all "
        "select (to_jsonb(f) - '_landing_id')::text from marts.fact_network_usage as f union all "
        "select (to_jsonb(a) - '_landing_id')::text from marts.subscriber_activity as a where a.sessions > 0 order by 1"
    )
    before = broadband.rows(statement)
    broadband.dbt("run", "--select", *MARTS, "--full-refresh")
    assert broadband.rows(statement) == before


def test_amounts_are_exact(broadband: Project, person: str) -> None:
    land(
        broadband,
        session(
            person, "2026-11-01T08:00:00", download_speed=750, upload_speed=40, consumed_traffic=166472,
            session_duration=31554,
        ),
        session(person, "2026-11-02T08:00:00", download_speed=1, upload_speed=0, consumed_traffic=1, session_duration=1),
    )  # fmt: skip
    assert broadband.rows(
        "select payment_amount from marts.payment_data join staging.int_driven_sessions using (unique_id) "
        "where personal_number = %s order by payment_amount desc",
        person,
    ) == [(Decimal("400.7756140073"),), (Decimal("1.5000000000"),)]


def test_texts_of_every_kind_arrive_byte_for_byte(broadband: Project, person: str) -> None:
    nasty = "“Ana” \\ \"q\" 'q'\r\n\t\u202e\u0645\u0631\u062d\u0628\u0627 👩‍👩‍👧 {{ x }} %s ' or 1=1 --"
    fields = (
        "person_name",
        "user_name",
        "email",
        "birth_date",
        "address",
        "phone",
        "mac_address",
        "ip_address",
        "iban",
    )
    served = session(person, "2026-11-01T08:00:00", **dict.fromkeys(fields, nasty))
    land(broadband, served)
    assert broadband.rows(
        f"select {', '.join(fields)} from marts.pii_data where unique_id = %s", served["unique_id"]
    ) == [(nasty,) * len(fields)]
    assert broadband.rows("select age_group from marts.subscriber_activity where age_group = 'unknown'") == [
        ("unknown",)
    ]


def test_a_session_lost_on_the_way_to_the_fact_fails_its_test(broadband: Project, person: str) -> None:
    landing_id = land(broadband, session(person, "2026-11-01T08:00:00"))
    broadband.rows("delete from marts.fact_network_usage where _landing_id = %s", landing_id)
    with pytest.raises(DbtError) as failure:
        broadband.dbt("test", "--select", "fact_network_usage", "--exclude", "test_type:unit", landing_ids=[landing_id])
    assert {name for name, node in failure.value.nodes.items() if node.status == "fail"} == {
        "every_session_is_in_the_fact"
    }
    # and the next run that touches the person heals it
    land(broadband, session(person, "2026-11-02T08:00:00"))
    assert len(addresses_of_sessions(broadband, person)) == 2


def test_a_gap_between_versions_fails_its_test(broadband: Project, person: str) -> None:
    landing_id = land(
        broadband, session(person, "2026-11-01T08:00:00"), session(person, "2026-11-02T08:00:00", address="Strada Doi")
    )
    broadband.rows(
        "update marts.dim_person set valid_to_at = valid_to_at - interval '1 hour' "
        "where personal_number = %s and not is_current",
        person,
    )
    with pytest.raises(DbtError) as failure:
        broadband.dbt("test", "--select", "dim_person", "--exclude", "test_type:unit", landing_ids=[landing_id])
    assert {name for name, node in failure.value.nodes.items() if node.status == "fail"} == {
        "every_version_of_a_person_begins_where_the_one_before_ends"
    }


# --- real batches -----------------------------------------------------------------------------------------------------


def batch(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV batch, as text."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


@pytest.fixture(scope="module")
def real(project: Project, real_data: Path) -> Project:
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
    return project


def in_batches(project: Project, statement: str) -> Sequence[tuple[Any, ...]]:
    """Rows about the sessions of the two real batches: `{sessions}` stands for their ids."""
    ids = "select unique_id from raw.driven__session_files where accessed_at < '2026-01-01'"
    return project.rows(statement.replace("{sessions}", ids))


def test_every_real_session_arrives_with_all_sixteen_columns(real: Project, real_data: Path) -> None:
    served = sorted(tuple(row.values()) for name in BATCHES for row in batch(real_data / "driven" / name))
    found = in_batches(real, f"select {', '.join(PII_DATA)} from marts.pii_data where unique_id in ({{sessions}})")
    assert len(served) == SESSIONS
    assert sorted(found) == served


def test_every_real_session_is_of_a_person_an_address_and_an_account(real: Project) -> None:
    # one time of access a batch: that all begin in the same second makes nobody another's version
    assert in_batches(
        real,
        "select count(*), count(distinct accessed_at), count(distinct person_key), count(distinct address_key), "
        "count(distinct finance_key), count(*) filter (where is_current), min(accessed_date_key), max(version_number) "
        "from marts.fact_network_usage join marts.dim_person using (person_key) where unique_id in ({sessions})",
    ) == [(SESSIONS, 2, SESSIONS, SESSIONS, SESSIONS, SESSIONS, 20240914, 1)]


def test_every_real_bill_is_the_formulas(real: Project) -> None:
    bills = in_batches(
        real,
        "select download_speed_mbps, upload_speed_mbps, consumed_traffic_kilobytes, session_duration_seconds, "
        "payment_amount from marts.payment_data where unique_id in ({sessions})",
    )
    assert len(bills) == SESSIONS
    for download, upload, traffic, seconds, amount in bills:
        expected = Decimal(download + upload + 1) / 2 + Decimal(traffic) / (seconds + 1)
        assert abs(amount - expected) <= Decimal("0.00000000005")


def test_nothing_of_a_real_person_is_left_but_the_first_five_characters(real: Project) -> None:
    shown = ("user_name", "email", "mac_address", "ip_address", "iban")
    hidden = ("person_name", "personal_number", "birth_date", "address", "phone")
    wrong = " or ".join(
        [f"masked.{name} <> left(clear.{name}, 5) || '*****'" for name in shown]
        + [f"masked.{name} <> '*****'" for name in hidden]
    )
    assert in_batches(
        real,
        f"select count(*), count(*) filter (where {wrong}) from marts.non_pii_data as masked "
        "join marts.pii_data as clear using (unique_id) where unique_id in ({sessions})",
    ) == [(SESSIONS, 0)]


def test_real_issues_and_activity_add_up(real: Project, real_data: Path) -> None:
    rows = [row for name in BATCHES for row in batch(real_data / "driven" / name)]
    issues = sum(
        int(row["download_speed"]) < 50 or int(row["upload_speed"]) < 30 or int(row["session_duration"]) < 60
        for row in rows
    )
    assert issues > 0
    assert in_batches(
        real,
        "select count(*) filter (where has_technical_issue) from marts.technical_data where unique_id in ({sessions})",
    ) == [(issues,)]
    active = sum(int(row["session_duration"]) > 7200 for row in rows)
    assert in_batches(
        real,
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
