"""Misbehaviour on demand and request counts."""

import base64
import time
from typing import Any

import pytest
import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError

from tests.local.sandbox.conftest import KEY, Sandbox

ZONES = "/misc/taxi_zone_lookup.csv"
ZONES_BYTES = 12_322


def statuses(sandbox: Sandbox, count: int, path: str = ZONES) -> list[int]:
    return [sandbox.get(path).status_code for _ in range(count)]


def test_a_status_is_answered_as_often_as_asked_and_then_no_more(sandbox: Sandbox) -> None:
    sandbox.break_with({"kind": "status", "path": "/misc/*", "code": 503, "body": "busy", "times": 2, "retry_after": 7})

    broken = sandbox.get(ZONES)

    assert (broken.status_code, broken.text, broken.headers["retry-after"]) == (503, "busy", "7")
    assert statuses(sandbox, 2) == [503, 200]


def test_a_json_body_is_sent_as_json_and_for_good(sandbox: Sandbox) -> None:
    sandbox.break_with({"kind": "status", "path": "*", "code": 429, "body": {"cod": 429}, "headers": {"x-left": "0"}})

    answer = sandbox.weather(q="London")

    assert (answer.status_code, answer.json(), answer.headers["x-left"]) == (429, {"cod": 429}, "0")
    assert answer.headers["content-type"] == "application/json"
    assert statuses(sandbox, 3) == [429, 429, 429]


def test_a_rule_breaks_only_the_queries_and_methods_that_it_names(sandbox: Sandbox) -> None:
    sandbox.break_with(
        {"kind": "status", "path": "/data/2.5/weather", "query": {"Q": "lima*"}, "code": 500},
        {"kind": "status", "path": ZONES, "method": "HEAD", "code": 502},
    )

    assert sandbox.weather(q="Lima,PE").status_code == 500
    assert sandbox.weather(q="London").status_code == 200
    assert requests.head(sandbox.url + ZONES, timeout=10).status_code == 502
    assert statuses(sandbox, 1) == [200]


def test_the_first_rule_that_matches_wins_and_when_used_up_the_next(sandbox: Sandbox) -> None:
    sandbox.break_with(
        {"kind": "status", "path": "/misc/*", "code": 500, "times": 1},
        {"kind": "status", "path": "/misc/*", "code": 501, "times": 1},
    )

    assert statuses(sandbox, 3) == [500, 501, 200]


def test_a_cut_transfer_declares_its_full_length_and_ends_early(sandbox: Sandbox) -> None:
    sandbox.break_with({"kind": "truncate", "path": ZONES, "share": 0.25, "times": 1})

    with sandbox.get(ZONES, stream=True) as answer:
        assert int(answer.headers["content-length"]) == ZONES_BYTES
        with pytest.raises((ChunkedEncodingError, ConnectionError), match=f"{ZONES_BYTES // 4} bytes read"):
            _ = answer.content
    assert len(sandbox.get(ZONES).content) == ZONES_BYTES


def test_a_short_body_can_look_complete(sandbox: Sandbox) -> None:
    whole = sandbox.get("/trip-data/green_tripdata_2024-01.parquet").content
    sandbox.break_with({"kind": "truncate", "path": "/trip-data/green_*", "share": 0.5, "complete": True})

    answer = sandbox.get("/trip-data/green_tripdata_2024-01.parquet")

    assert answer.status_code == 200
    assert answer.content == whole[: len(whole) // 2]


def test_a_body_is_replaced_with_status_200(sandbox: Sandbox) -> None:
    xml, raw = "<Error><Code>AccessDenied</Code></Error>", b"\x00\xff\x1f"
    sandbox.break_with(
        {"kind": "body", "path": ZONES, "text": xml, "times": 1},
        {
            "kind": "body",
            "path": ZONES,
            "base64": base64.b64encode(raw).decode(),
            "content_type": "text/csv",
            "times": 1,
        },
    )

    denied, bytes_ = sandbox.get(ZONES), sandbox.get(ZONES)

    assert (denied.status_code, denied.text, denied.headers["content-type"]) == (200, xml, "application/xml")
    assert (bytes_.status_code, bytes_.content) == (200, raw)


def test_an_api_that_is_down_closes_the_connection_without_an_answer(sandbox: Sandbox) -> None:
    sandbox.break_with({"kind": "down", "path": "/data/*", "times": 2})

    for _ in range(2):
        with pytest.raises(ConnectionError):
            sandbox.weather(q="London")
    assert sandbox.weather(q="London").status_code == 200
    assert sandbox.get("/healthz").status_code == 200


def test_a_slow_api_answers_late_and_holds_up_nobody_else(sandbox: Sandbox) -> None:
    sandbox.break_with(
        {"kind": "slow", "path": "/data/*", "seconds": 1.0, "times": 1}, {"kind": "slow", "path": ZONES, "seconds": 30}
    )

    started = time.monotonic()
    assert sandbox.weather(q="London").status_code == 200
    assert time.monotonic() - started >= 1.0
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(sandbox.url + ZONES, timeout=0.3)
    assert sandbox.weather(q="London").status_code == 200
    assert time.monotonic() - started < 20


def test_clearing_the_rules_ends_the_misbehaviour(sandbox: Sandbox) -> None:
    sandbox.break_with({"kind": "down", "path": "*"})
    assert [rule["kind"] for rule in sandbox.get("/_sandbox/faults").json()] == ["down"]

    requests.delete(f"{sandbox.url}/_sandbox/faults", timeout=10)

    assert sandbox.get("/_sandbox/faults").json() == []
    assert statuses(sandbox, 1) == [200]


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "explode", "path": "*"},
        {"kind": "status", "path": "*"},
        {"kind": "status", "path": "*", "code": 500, "tines": 1},
        {"kind": "body", "path": "*"},
        {"kind": "body", "path": "*", "base64": "not base64!"},
        {"kind": "truncate", "path": "*", "share": 1.5},
        {"kind": "down"},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_and_changes_nothing(sandbox: Sandbox, rule: dict[str, Any]) -> None:
    sandbox.break_with({"kind": "status", "path": ZONES, "code": 500})

    answer = requests.put(f"{sandbox.url}/_sandbox/faults", json=[rule], timeout=10)

    assert answer.status_code == 422
    assert statuses(sandbox, 1) == [500]


def test_requests_are_counted_by_path_method_and_query_broken_ones_too(sandbox: Sandbox) -> None:
    sandbox.weather(q="London")
    sandbox.weather(q="London", units="metric")
    sandbox.weather(q="London")
    requests.head(sandbox.url + ZONES, timeout=10)
    sandbox.break_with({"kind": "status", "path": ZONES, "code": 500})
    sandbox.get(ZONES)
    sandbox.get("/healthz")

    counts = sandbox.counts()

    assert counts["total"] == 5
    assert counts["paths"] == {"/data/2.5/weather": 3, ZONES: 2}
    assert {"method": "GET", "path": "/data/2.5/weather", "query": {"q": "London"}, "count": 2} in counts["requests"]
    assert {"method": "HEAD", "path": ZONES, "query": {}, "count": 1} in counts["requests"]


def test_counts_hold_no_key_and_start_again_at_zero(sandbox: Sandbox) -> None:
    sandbox.get("/data/2.5/weather", params={"q": "London", "APPID": KEY})

    assert KEY not in sandbox.get("/_sandbox/requests").text
    requests.delete(f"{sandbox.url}/_sandbox/requests", timeout=10)
    assert sandbox.counts() == {"total": 0, "paths": {}, "requests": []}
