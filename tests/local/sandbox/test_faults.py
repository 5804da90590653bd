"""Misbehaviour on demand and request counts."""

import base64
import time
from typing import Any

import psutil
import pytest
import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError

from tests.local.sandbox.conftest import HOUR, KEY, Sandbox

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
    sandbox.break_with({"kind": "truncate", "path": ZONES, "keep": 0.25, "times": 1})

    with sandbox.get(ZONES, stream=True) as answer:
        assert int(answer.headers["content-length"]) == ZONES_BYTES
        with pytest.raises((ChunkedEncodingError, ConnectionError), match=f"{ZONES_BYTES // 4} bytes read"):
            _ = answer.content
    assert len(sandbox.get(ZONES).content) == ZONES_BYTES


def test_a_short_body_can_look_complete(sandbox: Sandbox) -> None:
    whole = sandbox.get("/trip-data/green_tripdata_2024-01.parquet").content
    sandbox.break_with({"kind": "truncate", "path": "/trip-data/green_*", "keep": 0.5, "complete": True})

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
        {"kind": "truncate", "path": "*", "keep": 1.5},
        {"kind": "down", "path": "*", "share": 0},
        {"kind": "edit", "path": "*", "rename": {"a": "b"}},
        {"kind": "down"},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_and_changes_nothing(sandbox: Sandbox, rule: dict[str, Any]) -> None:
    sandbox.break_with({"kind": "status", "path": ZONES, "code": 500})

    answer = requests.put(f"{sandbox.url}/_sandbox/faults", json=[rule], timeout=10)

    assert answer.status_code == 422
    assert statuses(sandbox, 1) == [500]


def test_a_share_of_the_requests_is_broken_the_same_ones_for_one_seed(sandbox: Sandbox) -> None:
    seen = []
    for seed in (7, 7, 8):
        sandbox.break_with({"kind": "status", "path": ZONES, "code": 503, "share": 0.3, "seed": seed})
        seen.append(statuses(sandbox, 100))

    assert seen[0] == seen[1] != seen[2]
    assert all(15 <= found.count(503) <= 45 and found.count(200) == 100 - found.count(503) for found in seen)


def test_a_rule_can_let_the_first_requests_pass(sandbox: Sandbox) -> None:
    sandbox.break_with({"kind": "status", "path": ZONES, "code": 503, "after": 2, "times": 1})

    assert statuses(sandbox, 4) == [200, 200, 503, 200]


def test_a_redirect_leads_to_a_foreign_host(sandbox: Sandbox) -> None:
    elsewhere = {"Location": "http://169.254.169.254/latest"}
    sandbox.break_with({"kind": "status", "path": ZONES, "code": 302, "headers": elsewhere})

    answer = requests.get(sandbox.url + ZONES, allow_redirects=False, timeout=10)

    assert (answer.status_code, answer.headers["location"]) == (302, elsewhere["Location"])


def test_an_endless_body_goes_on_until_the_client_hangs_up_and_no_longer(sandbox: Sandbox) -> None:
    process = psutil.Process(sandbox.pid)
    sandbox.break_with({"kind": "endless", "path": ZONES, "start": "[", "repeat": "1,", "content_type": "text/json"})

    with sandbox.get(ZONES, stream=True) as answer:
        assert "content-length" not in answer.headers
        pieces = answer.iter_content(1 << 20)
        assert next(pieces) + next(pieces)[:4] == b"[1,1,"
        read = 0
        while read < 100 << 20:
            read += len(next(pieces))
    assert process.memory_info().rss < 500 << 20
    # The answer is given up when the sandbox notices; from then on it does nothing.
    deadline = time.monotonic() + 20
    while process.cpu_percent(0.3) > 20:
        assert time.monotonic() < deadline


def sessions(sandbox: Sandbox, **query: str) -> requests.Response:
    return sandbox.get("/driven/v1/sessions", params=query, headers={"x-api-key": KEY})


def edit(sandbox: Sandbox, **change: object) -> None:
    sandbox.break_with({"kind": "edit", "path": "/driven/*", **change})


def test_an_edited_answer_has_a_changed_schema_and_a_length_that_is_true(sandbox: Sandbox) -> None:
    before = sessions(sandbox, per_page="3").json()["data"]
    edit(
        sandbox,
        records="data",
        rename={"download_speed": "download_mbps"},
        remove=["iban"],
        as_text=["upload_speed"],
        set={"plan": "gold", "router.firmware": 2},
    )

    answer = sessions(sandbox, per_page="3")

    assert int(answer.headers["content-length"]) == len(answer.content)
    for was, record in zip(before, answer.json()["data"], strict=True):
        gone = {"download_speed", "iban"}
        assert record == {k: v for k, v in was.items() if k not in gone} | {
            "download_mbps": was["download_speed"],
            "upload_speed": str(was["upload_speed"]),
            "plan": "gold",
            "router": {"firmware": 2},
        }


def test_records_come_twice_come_again_on_the_next_page_or_come_late(sandbox: Sandbox) -> None:
    def ids(page: str) -> list[str]:
        return [record["unique_id"] for record in sessions(sandbox, per_page="4", page=page).json()["data"]]

    first, second = ids("1"), ids("2")

    edit(sandbox, records="data", repeat_every=4)
    assert ids("1") == [*first, first[3]]
    edit(sandbox, records="data", carry=2)
    assert ids("1") + ids("2") == [*first, *first[2:], *second]
    edit(sandbox, records="data", drop_every=2, times=1)
    assert ids("1") == [first[0], first[2]]
    assert ids("1") == first


def test_a_next_link_can_lead_in_a_circle(sandbox: Sandbox) -> None:
    path = "/api/v2/collection/friendsies/nfts"
    sandbox.break_with({"kind": "edit", "path": path, "loop": "next"})

    links: list[str] = []
    for _ in range(4):
        query = {"limit": "200"} | ({"next": links[-1]} if links else {})
        links.append(sandbox.get(path, params=query, headers={"x-api-key": KEY}).json()["next"])

    assert len(set(links)) == 1


def test_the_answer_itself_and_its_content_type_can_be_changed(sandbox: Sandbox) -> None:
    edit(sandbox, put={"total_pages": 10**6, "links.next": "/more"}, content_type="text/html")

    answer = sessions(sandbox, per_page="1")

    assert answer.headers["content-type"] == "text/html"
    assert (answer.json()["total_pages"], answer.json()["links"]) == (10**6, {"next": "/more"})


def test_what_is_no_json_object_is_not_edited(sandbox: Sandbox) -> None:
    sandbox.break_with({"kind": "edit", "path": "*", "put": {"x": 1}})

    assert len(sandbox.get(ZONES).content) == ZONES_BYTES
    assert sandbox.get("/driven/v1/sessions").json() == {"error": "x-api-key is missing or not known"}


def test_the_clock_can_be_stopped_moved_and_set_back(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/_sandbox/clock"

    assert requests.put(url, json={"now": "2026-12-01T06:00"}, timeout=10).status_code == 204
    assert sandbox.get("/_sandbox/clock").json() == {"now": "2026-12-01T06:00:00Z"}
    assert sandbox.weather(q="London").json()["dt"] == HOUR + 9 * 86_400 + 17 * 3600
    assert requests.put(url, json={"now": "soon"}, timeout=10).status_code == 422
    requests.delete(url, timeout=10)
    assert sandbox.weather(q="London").json()["dt"] == HOUR


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
