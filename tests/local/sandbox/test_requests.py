"""Whatever is asked of an API of the sandbox, it answers as an API does."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.local.sandbox.conftest import KEY, Sandbox

HEADERS = {"x-api-key": KEY, "authorization": f"Bearer {KEY}"}
ROUTES = {
    "/driven/v1/sessions": ("page", "per_page", "accessed_from", "accessed_to"),
    "/api/v2/collection/harbour-lights/nfts": ("limit", "next"),
    "/api/v2/collection/{}/nfts": ("limit",),
    "/api/v2/collections/{}": (),
    "/api/v2/collections/{}/stats": (),
    "/2/users/by/username/{}": ("user.fields",),
    "/2/users/by": ("usernames",),
    "/2/users": ("ids",),
    "/2/users/{}": ("user.fields",),
    "/2/users/{}/tweets": ("max_results", "since_id"),
    "/2/users/910710172680829184/tweets": (
        *("max_results", "pagination_token", "since_id", "until_id", "start_time", "end_time", "exclude"),
        *("tweet.fields", "expansions", "user.fields"),
    ),
}
SEGMENTS = st.text(st.characters(codec="utf-8", exclude_characters="/?#%\\"), min_size=1).filter(lambda s: s.strip("."))
VALUES = st.one_of(
    st.text(st.characters(codec="utf-8")),
    st.integers().map(str),
    st.integers(0, 300).map(str),
    st.datetimes().map(lambda at: at.isoformat(timespec="seconds") + "Z"),
    st.sampled_from(
        ["", "id", "replies", "٣", "1e3", "0x10", "9" * 400, "2026-02-30", "24:00", "%", "MDow", "a" * 3000]
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_request_breaks_an_api(sandbox: Sandbox, data: st.DataObject) -> None:
    path, names = data.draw(st.sampled_from(list(ROUTES.items())))
    query = data.draw(st.dictionaries(st.sampled_from(names or ("any",)), VALUES))

    answer = sandbox.get(path.format(data.draw(SEGMENTS)) if "{}" in path else path, params=query, headers=HEADERS)

    assert answer.status_code in (200, 400, 404), answer.text
    assert answer.headers["content-type"].startswith("application/json")
    body: dict[str, Any] = answer.json()
    if answer.status_code == 400:
        assert "error" in body or "errors" in body
    assert json.loads(answer.content.decode("utf-8")) == body


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    per_page=st.integers(1, 700),
    start=st.integers(0, 1440),
    minutes=st.integers(0, 900),
)
def test_pages_of_any_size_hold_each_session_of_a_range_once(
    sandbox: Sandbox, per_page: int, start: int, minutes: int
) -> None:
    def at(minute: int) -> str:
        return f"2026-11-{19 + minute // 1440}T{minute // 60 % 24:02}:{minute % 60:02}:00"

    query = {"accessed_from": at(start), "accessed_to": at(start + minutes), "per_page": str(per_page)}
    first = sandbox.get("/driven/v1/sessions", params=query, headers=HEADERS).json()
    numbers = range(2, min(first["total_pages"], 12) + 1)
    others = [{**query, "page": str(number)} for number in numbers]
    pages = [first, *(sandbox.get("/driven/v1/sessions", params=one, headers=HEADERS).json() for one in others)]

    found = [record for page in pages for record in page["data"]]
    assert all(at(start) <= record["accessed_at"] < at(start + minutes) for record in found)
    assert [len(page["data"]) for page in pages[:-1]] == [per_page] * (len(pages) - 1)
    assert len({record["unique_id"] for record in found}) == len(found)
    assert len(found) == min(pages[0]["total"], 12 * per_page)
