"""The stand-in for the operator's usage API."""

import csv
import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from local.sandbox.data import DataError
from local.sandbox.driven import COLUMNS, router
from local.sandbox.settings import Settings
from local.sandbox.usage import SUBSCRIBERS, moves_of
from tests.local.sandbox.conftest import KEY, NOW, Sandbox

RANGES = {
    "session_duration": (0, 36_000),
    "download_speed": (0, 1_000),
    "upload_speed": (0, 800),
    "consumed_traffic": (0, 2_000_000),
}


def asked(sandbox: Sandbox, **query: object) -> requests.Response:
    params = {name: str(value) for name, value in query.items()}
    return sandbox.get("/driven/v1/sessions", params=params, headers={"x-api-key": KEY})


def every(sandbox: Sandbox, per_page: int = 5_000, **query: object) -> list[dict[str, Any]]:
    """The records of all pages."""
    found: list[dict[str, Any]] = []
    for page in itertools.count(1):
        answer = asked(sandbox, page=page, per_page=per_page, **query).json()
        found += answer["data"]
        if page >= answer["total_pages"]:
            assert len(found) == answer["total"]
            return found
    raise AssertionError


@pytest.fixture(scope="module")
def everything(shared_sandbox: Sandbox) -> list[dict[str, Any]]:
    """What a first load gets."""
    return every(shared_sandbox)


def test_a_record_has_the_sixteen_columns_with_their_types(everything: list[dict[str, Any]]) -> None:
    assert all(tuple(record) == COLUMNS for record in everything)
    for name, (least, most) in RANGES.items():
        values = [record[name] for record in everything]
        assert all(type(value) is int for value in values)
        assert least <= min(values) < least + most / 100
        assert most - most / 100 < max(values) <= most
    texts = [name for name in COLUMNS if name not in RANGES]
    assert all(isinstance(record[name], str) and record[name] for record in everything for name in texts)
    assert {len(record["accessed_at"]) for record in everything} == {len("2026-11-20T13:05:09")}


def test_a_first_load_is_100_000_sessions_and_a_day_brings_up_to_1_000(everything: list[dict[str, Any]]) -> None:
    by_day: dict[str, int] = defaultdict(int)
    for record in everything:
        by_day[record["accessed_at"][:10]] += 1

    assert len(everything) == 100_000
    assert max(by_day) == "2026-11-20"
    assert all(800 <= count <= 1_000 for day, count in by_day.items() if day != min(by_day))


def test_records_are_in_order_and_none_comes_twice(everything: list[dict[str, Any]]) -> None:
    order = [(record["accessed_at"], record["unique_id"]) for record in everything]

    assert order == sorted(order)
    assert len({id_ for _, id_ in order}) == len(order)
    assert len({at for at, _ in order}) < len(order), "sessions that start in one second are what the second key is for"


def test_a_subscriber_stays_the_same_but_for_the_address(everything: list[dict[str, Any]]) -> None:
    fixed = [name for name in COLUMNS[:10] if name != "address"]
    people = {tuple(record[name] for name in fixed) for record in everything}

    assert len(people) <= SUBSCRIBERS
    for name in ("user_name", "email", "personal_number", "mac_address", "iban"):
        assert len({person[fixed.index(name)] for person in people}) == len(people), name


def test_some_subscribers_move_twice_at_known_days(everything: list[dict[str, Any]]) -> None:
    seen: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for record in everything:
        seen[record["user_name"]].append((record["accessed_at"], record["address"]))
    changes = {
        user: [after[0][:10] for before, after in itertools.pairwise(visits) if before[1] != after[1]]
        for user, visits in seen.items()
    }
    moved = [user for user, days in changes.items() if days]
    twice = [user for user, days in changes.items() if len(days) >= 2]

    assert len(seen) / 20 < len(moved) < len(seen) / 8
    assert len(twice) > 50
    known = [moves_of(number, date(2026, 8, 1), date(2026, 11, 20)) for number in range(SUBSCRIBERS)]
    assert sum(1 for days in known if len(days) >= 2) >= len(twice)
    assert {day.isoformat() for days in known for day in days} & set(itertools.chain(*changes.values()))


def test_a_time_range_takes_its_start_and_leaves_its_end(sandbox: Sandbox, everything: list[dict[str, Any]]) -> None:
    start, end = everything[-1500]["accessed_at"], everything[-700]["accessed_at"]

    found = every(sandbox, accessed_from=start, accessed_to=end)

    assert found == [record for record in everything if start <= record["accessed_at"] < end]
    assert asked(sandbox, accessed_from=f"{start}Z", accessed_to=f"{end}+00:00").json()["total"] == len(found)
    assert asked(sandbox, accessed_from=end, accessed_to=start).json()["data"] == []
    assert asked(sandbox, accessed_from="2026-11-20").json()["total"] == len(every(sandbox, accessed_from="2026-11-20"))


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 10])
def test_at_every_edge_of_a_page_each_session_is_served_once(start: Callable[..., Sandbox], count: int) -> None:
    sandbox = start(SANDBOX_NOW=NOW, SANDBOX_DRIVEN_SESSIONS=str(count))

    records = every(sandbox, per_page=5)

    answer = asked(sandbox, per_page=5).json()
    assert (answer["total"], answer["total_pages"]) == (count, -(-count // 5))
    assert len({record["unique_id"] for record in records}) == len(records) == count
    beyond = asked(sandbox, per_page=5, page=4).json()
    assert (beyond["data"], beyond["page"], beyond["total"]) == ([], 4, count)


def test_a_page_has_1_000_records_unless_told_otherwise(sandbox: Sandbox) -> None:
    answer = asked(sandbox).json()

    assert (len(answer["data"]), answer["page"], answer["per_page"], answer["total_pages"]) == (1_000, 1, 1_000, 100)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"per_page": 5_001}, "per_page 5001 is more than 5000"),
        ({"per_page": 0}, "per_page '0' is not a whole number from 1 on"),
        ({"page": "-1"}, "page '-1' is not a whole number from 1 on"),
        ({"page": "two"}, "page 'two' is not a whole number from 1 on"),
        ({"page": "9" * 30}, f"page '{'9' * 30}' is not a whole number from 1 on"),
        ({"accessed_from": "yesterday"}, "accessed_from 'yesterday' is not an ISO time such as 2026-11-20T13:05:09"),
        ({"accessed_to": "2026-13-01"}, "accessed_to '2026-13-01' is not an ISO time such as 2026-11-20T13:05:09"),
    ],
)
def test_a_wrong_parameter_is_named(sandbox: Sandbox, query: dict[str, object], error: str) -> None:
    answer = asked(sandbox, **query)

    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_a_missing_or_unknown_key_is_refused(sandbox: Sandbox, start: Callable[..., Sandbox]) -> None:
    strict = start(SANDBOX_DRIVEN_KEY=f"one, {KEY}", SANDBOX_DRIVEN_SESSIONS="1", SANDBOX_NOW=NOW)
    refusal = {"error": "x-api-key is missing or not known"}

    missing = sandbox.get("/driven/v1/sessions")
    assert (missing.status_code, missing.json()) == (401, refusal)
    unknown = strict.get("/driven/v1/sessions", headers={"x-api-key": "two"})
    assert (unknown.status_code, unknown.json()) == (401, refusal)
    assert asked(strict).status_code == 200


def test_a_rerun_mints_nothing_new_whatever_is_kept_on_disk(start: Callable[..., Sandbox], tmp_path: Path) -> None:
    settings = {"SANDBOX_NOW": NOW, "SANDBOX_DRIVEN_SESSIONS": "3000"}
    first = start("--cache-dir", str(tmp_path / "one"), **settings)
    kept = asked(first, per_page=5_000).content

    again = start("--cache-dir", str(tmp_path / "one"), **settings)
    fresh = start("--cache-dir", str(tmp_path / "two"), **settings)

    assert asked(again, per_page=5_000).content == kept
    assert asked(fresh, per_page=5_000).content == kept


def test_nothing_changes_from_midnight_to_midnight(sandbox: Sandbox) -> None:
    answers = []
    for now in ("2026-11-21T00:00:00Z", "2026-11-21T23:59:59Z", "2026-11-22T00:00:00Z"):
        sandbox.stop_clock(now)
        answers.append(asked(sandbox, accessed_from="2026-11-19").content)

    assert answers[0] == answers[1] != answers[2]


def test_a_few_sessions_come_out_a_day_or_two_after_their_batch(sandbox: Sandbox) -> None:
    def held(today: date) -> dict[str, dict[str, Any]]:
        sandbox.stop_clock(f"{today}T06:00:00Z")
        return {record["unique_id"]: record for record in every(sandbox, accessed_from="2026-11-10")}

    days = [date(2026, 11, 21) + timedelta(days=n) for n in range(5)]
    states = [held(day) for day in days]

    for today, before, after in zip(days[1:], states, states[1:], strict=False):
        assert before.items() <= after.items(), "what was served once stays as it was"
        late = [
            after[id_] for id_ in after.keys() - before.keys() if after[id_]["accessed_at"] < f"{today - timedelta(1)}"
        ]
        assert 2 <= len(late) <= 10
        assert all(record["accessed_at"] >= f"{today - timedelta(3)}" for record in late)


def test_a_page_of_5_000_is_quick(sandbox: Sandbox) -> None:
    asked(sandbox, per_page=5_000)
    started = time.monotonic()

    for page in range(2, 7):
        assert len(asked(sandbox, per_page=5_000, page=page).content) > 2_000_000

    assert (time.monotonic() - started) / 5 < 0.5


def test_real_batches_are_served_in_their_place_in_time(start: Callable[..., Sandbox], real_data: Path) -> None:
    sandbox = start("--data", str(real_data), SANDBOX_NOW=NOW, SANDBOX_DRIVEN_SESSIONS="50")

    found = every(sandbox)

    rows = [
        row
        for path in sorted((real_data / "driven").glob("*.csv"))
        for row in csv.DictReader(path.open(encoding="utf-8", newline=""))
    ]
    assert len(found) == len(rows) + 50 == 189 + 486 + 50
    assert [r["accessed_at"] for r in found] == sorted(r["accessed_at"] for r in found)
    served = {record["unique_id"]: record for record in found}
    for row in rows:
        record = served[row["unique_id"]]
        assert record["accessed_at"] == row["accessed_at"].replace(" ", "T")
        assert {k: str(v) for k, v in record.items() if k != "accessed_at"} == {
            k: v for k, v in row.items() if k != "accessed_at"
        }


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("person_name,iban\nAna,RO1\n", r"batch\.csv has no column user_name, email"),
        (f"{','.join(COLUMNS)}\n{',' * 15}\n", r"batch\.csv, line 2 is no session"),
        (
            f"{','.join(COLUMNS)}\n{',' * 10}2026-11-20 10:00:00,1,fast,1,1,id\n",
            r"batch\.csv, line 2 is no session .*fast",
        ),
        (f"{','.join(COLUMNS)}\nAna\n", r"batch\.csv, line 2 is no session"),
    ],
)
def test_a_batch_that_is_none_is_named_at_the_start(tmp_path: Path, content: str, fault: str) -> None:
    (tmp_path / "driven").mkdir()
    (tmp_path / "driven" / "batch.csv").write_text(content)

    with pytest.raises(DataError, match=fault):
        router(Settings(data=tmp_path, cache_dir=tmp_path))
