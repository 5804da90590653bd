"""The stand-in for X's API v2, asked over plain HTTP and through tweepy."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
import tweepy
from requests.adapters import HTTPAdapter

from local.sandbox.data import DataError
from local.sandbox.posts import GROWS_HOURS, LONGEST, NAUGHTY, SNOWFLAKE_EPOCH_MS
from local.sandbox.settings import Settings
from local.sandbox.x import router
from tests.local.sandbox.conftest import KEY, NOW, Sandbox

SIZES = {"harbour_news": 230, "open_rivers": 120, "sluice_data": 40}
METRICS = {"retweet_count", "reply_count", "like_count", "quote_count", "bookmark_count", "impression_count"}
TWITTER = "https://api.twitter.com"


class Elsewhere(HTTPAdapter):
    """Sends what is meant for X to a sandbox."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:  # noqa: ANN401
        assert request.url is not None
        request.url = request.url.replace(TWITTER, self._url, 1)
        return super().send(request, *args, **more)


def client(sandbox: Sandbox, key: str = KEY, *, wait: bool = False) -> tweepy.Client:
    """Tweepy as it is, but for the host."""
    made = tweepy.Client(key, wait_on_rate_limit=wait)
    made.session.trust_env = False
    made.session.mount(TWITTER, Elsewhere(sandbox.url))
    return made


def get(sandbox: Sandbox, path: str, **query: object) -> requests.Response:
    """GET with a token; `__` in a parameter's name stands for its dot."""
    params = {name.replace("__", "."): str(value) for name, value in query.items()}
    return sandbox.get(f"/2/{path}", params=params, headers={"authorization": f"Bearer {KEY}"})


def user_id(sandbox: Sandbox, username: str) -> str:
    found: str = get(sandbox, f"users/by/username/{username}").json()["data"]["id"]
    return found


def timeline(sandbox: Sandbox, username: str, **query: object) -> list[list[dict[str, Any]]]:
    """The posts of a user, page by page to the last."""
    path = f"users/{user_id(sandbox, username)}/tweets"
    found: list[list[dict[str, Any]]] = []
    asked: dict[str, object] = {"max_results": 100, **query}
    while True:
        answer = get(sandbox, path, **asked).json()
        assert answer["meta"]["result_count"] == len(answer.get("data", []))
        found.append(answer.get("data", []))
        if "next_token" not in answer["meta"]:
            return found
        asked["pagination_token"] = answer["meta"]["next_token"]


def posts(sandbox: Sandbox, username: str, **query: object) -> list[dict[str, Any]]:
    return [post for page in timeline(sandbox, username, **query) for post in page]


# --- through tweepy ---------------------------------------------------------------------------------------------------


def test_tweepy_looks_up_users(sandbox: Sandbox) -> None:
    one = client(sandbox).get_user(username="Harbour_News", user_fields=["created_at", "public_metrics"])
    two = client(sandbox).get_users(usernames=["open_rivers", "sluice_data"], user_fields=["verified"])
    again = client(sandbox).get_user(id=one.data.id)

    assert (one.data.username, one.data.name, one.errors) == ("harbour_news", "Harbour News", [])
    assert one.data.created_at > datetime(2016, 1, 1, tzinfo=UTC)
    assert one.data.public_metrics["followers_count"] > 0
    assert [user.username for user in two.data] == ["open_rivers", "sluice_data"]
    assert again.data.username == "harbour_news"
    assert [user.id for user in client(sandbox).get_users(ids=[user.id for user in two.data]).data] == [
        user.id for user in two.data
    ]


def test_tweepy_pages_through_a_timeline_and_back(sandbox: Sandbox) -> None:
    api = client(sandbox)
    user = int(user_id(sandbox, "harbour_news"))

    pages = list(tweepy.Paginator(api.get_users_tweets, user, max_results=100))
    flat = list(tweepy.Paginator(api.get_users_tweets, user, max_results=50).flatten())
    last_token = pages[1].meta["next_token"]
    back = list(reversed(tweepy.Paginator(api.get_users_tweets, user, max_results=100)))
    up = api.get_users_tweets(user, max_results=100, pagination_token=pages[2].meta["previous_token"])

    assert [page.meta["result_count"] for page in pages] == [100, 100, 30]
    assert [post.id for page in pages for post in page.data] == [post.id for post in flat]
    assert [post.id for post in up.data] == [post.id for post in pages[1].data]
    assert len(back) == 1, "there is nothing before the first page"
    assert last_token


def test_tweepy_gets_what_is_newer_than_since_id(sandbox: Sandbox) -> None:
    api = client(sandbox)
    user = int(user_id(sandbox, "open_rivers"))
    known = api.get_users_tweets(user, max_results=10).data

    newer = api.get_users_tweets(user, since_id=known[4].id, tweet_fields=["created_at", "public_metrics"])
    none = api.get_users_tweets(user, since_id=known[0].id)

    assert [post.id for post in newer.data] == [post.id for post in known[:4]]
    assert all(post.created_at.tzinfo and post.public_metrics.keys() == METRICS for post in newer.data)
    assert (none.data, none.meta) == (None, {"result_count": 0})


def test_tweepy_waits_for_the_reset_of_a_spent_quota(start: Callable[..., Sandbox]) -> None:
    sandbox = start(SANDBOX_X_CALLS_PER_WINDOW="2", SANDBOX_X_WINDOW_SECONDS="2")
    user = int(user_id(sandbox, "harbour_news"))
    api = client(sandbox, wait=True)
    started = time.monotonic()

    found = list(tweepy.Paginator(api.get_users_tweets, user, max_results=50).flatten())

    assert len({post.id for post in found}) == 230
    assert time.monotonic() - started > 2
    for _ in range(2):
        client(sandbox).get_user(id=user)
    with pytest.raises(tweepy.TooManyRequests) as raised:
        client(sandbox).get_user(id=user)
    assert raised.value.api_messages == ["Too Many Requests"]


def test_tweepy_raises_what_it_raises_for_the_real_api(sandbox: Sandbox, start: Callable[..., Sandbox]) -> None:
    strict = start(SANDBOX_X_KEY="another")
    with pytest.raises(tweepy.Unauthorized):
        client(strict).get_user(username="harbour_news")
    with pytest.raises(tweepy.BadRequest, match="max_results"):
        client(sandbox).get_users_tweets(int(user_id(sandbox, "harbour_news")), max_results=4)
    nobody = client(sandbox).get_user(username="nobody")
    assert (nobody.data, nobody.errors[0]["title"]) == (None, "Not Found Error")
    sandbox.break_with({"kind": "status", "path": "/2/*", "code": 503, "times": 1})
    with pytest.raises(tweepy.TwitterServerError):
        client(sandbox).get_user(username="harbour_news")


# --- users ------------------------------------------------------------------------------------------------------------


def test_only_the_fields_asked_for_are_served(sandbox: Sandbox) -> None:
    user = get(sandbox, "users/by/username/sluice_data").json()
    path = f"users/{user['data']['id']}/tweets"

    assert set(user["data"]) == {"id", "name", "username"}
    more = get(sandbox, "users/by/username/sluice_data", user__fields="description,verified").json()["data"]
    assert set(more) == {"id", "name", "username", "description", "verified"}
    plain = get(sandbox, path).json()
    assert all(set(post) == {"id", "text", "edit_history_tweet_ids"} for post in plain["data"])
    assert plain["meta"]["result_count"] == 10
    full = get(sandbox, path, tweet__fields="created_at,lang", expansions="author_id", user__fields="verified").json()
    assert all({"created_at", "lang", "author_id"} < set(post) for post in full["data"])
    assert [set(one) for one in full["includes"]["users"]] == [{"id", "name", "username", "verified"}]


def test_an_unknown_user_is_answered_with_200_errors_and_no_data(sandbox: Sandbox) -> None:
    problem = "https://api.twitter.com/2/problems/resource-not-found"
    for path, parameter, value in (
        ("users/by/username/nobody", "username", "nobody"),
        ("users/12", "id", "12"),
        ("users/12/tweets", "id", "12"),
    ):
        answer = get(sandbox, path)
        assert answer.status_code == 200
        assert answer.json() == {
            "errors": [
                {
                    "value": value,
                    "detail": f"Could not find user with {parameter}: [{value}].",
                    "title": "Not Found Error",
                    "resource_type": "user",
                    "parameter": parameter,
                    "resource_id": value,
                    "type": problem,
                }
            ]
        }
    some = get(sandbox, "users/by", usernames="nobody,sluice_data").json()
    assert [user["username"] for user in some["data"]] == ["sluice_data"]
    assert [error["value"] for error in some["errors"]] == ["nobody"]


@pytest.mark.parametrize(
    ("path", "query", "message"),
    [
        ("users/by/username/no-body", {}, "The `username` query parameter value [no-body] does not match"),
        ("users/by", {}, "The `usernames` query parameter can not be empty"),
        ("users/by", {"usernames": ",".join(["a"] * 101)}, "The number of values in the `usernames` query parameter"),
        ("users/me", {}, "The `id` query parameter value [me] is not valid"),
        ("users/{id}", {"user.fields": "shoe_size"}, "The `user.fields` query parameter value [shoe_size] is not one"),
        ("users/{id}/tweets", {"tweet.fields": "created"}, "The `tweet.fields` query parameter value [created] is"),
        ("users/{id}/tweets", {"max_results": "4"}, "The `max_results` query parameter value [4] is not between 5 and"),
        ("users/{id}/tweets", {"max_results": "101"}, "The `max_results` query parameter value [101] is not between"),
        ("users/{id}/tweets", {"since_id": "new"}, "The `since_id` query parameter value [new] is not valid"),
        ("users/{id}/tweets", {"start_time": "2026-11-20"}, "The `start_time` query parameter value [2026-11-20] is"),
        ("users/{id}/tweets", {"exclude": "ads"}, "The `exclude` query parameter value [ads] is not one of"),
        ("users/{id}/tweets", {"pagination_token": "b26v"}, "The `pagination_token` query parameter value [b26v] is"),
        ("users/{id}/tweets", {"page": "2"}, "The query parameter [page] is not one of"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_it_may_be(
    sandbox: Sandbox, path: str, query: dict[str, str], message: str
) -> None:
    answer = get(sandbox, path.format(id=user_id(sandbox, "sluice_data")), **query)

    problem = answer.json()
    assert (answer.status_code, problem["title"], problem["status"]) == (400, "Invalid Request", 400)
    assert problem["detail"] == "One or more parameters to your request was invalid."
    assert problem["errors"][0]["message"].startswith(message)


def test_a_token_of_another_timeline_is_not_valid(sandbox: Sandbox) -> None:
    one, other = (user_id(sandbox, name) for name in ("harbour_news", "open_rivers"))
    token = get(sandbox, f"users/{one}/tweets").json()["meta"]["next_token"]

    assert get(sandbox, f"users/{one}/tweets", pagination_token=token).status_code == 200
    assert get(sandbox, f"users/{other}/tweets", pagination_token=token).status_code == 400


def test_without_a_token_nothing_is_said(sandbox: Sandbox, start: Callable[..., Sandbox]) -> None:
    strict = start(SANDBOX_X_KEY=KEY)
    body = {"title": "Unauthorized", "detail": "Unauthorized", "type": "about:blank", "status": 401}

    for headers in ({}, {"authorization": KEY}, {"authorization": "Bearer other"}, {"x-api-key": KEY}):
        answer = strict.get("/2/users/by/username/harbour_news", headers=headers)
        assert (answer.status_code, answer.json()) == (401, body)
    assert sandbox.get("/2/users/by/username/harbour_news").status_code == 401


def test_a_spent_quota_is_429_with_a_reset_and_without_retry_after(start: Callable[..., Sandbox]) -> None:
    sandbox = start(SANDBOX_X_CALLS_PER_WINDOW="2")
    users = [user_id(sandbox, name) for name in ("harbour_news", "open_rivers")]

    answers = [get(sandbox, f"users/{user}/tweets") for user in [*users, users[0]]]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-rate-limit-remaining"] for answer in answers] == ["1", "0", "0"]
    assert {answer.headers["x-rate-limit-limit"] for answer in answers} == {"2"}
    assert all(800 < int(answer.headers["x-rate-limit-reset"]) - time.time() <= 901 for answer in answers)
    assert "retry-after" not in answers[-1].headers
    body = {"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank", "status": 429}
    assert answers[-1].json() == body


# --- posts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 10])
def test_at_every_edge_of_a_page_each_post_is_served_once(start: Callable[..., Sandbox], count: int) -> None:
    sandbox = start(SANDBOX_NOW=NOW, SANDBOX_X_POSTS=f"edge:{count}")

    pages = timeline(sandbox, "edge", max_results=5)

    assert [len(page) for page in pages] == ([5] * (count // 5) + [count % 5] * (count % 5 > 0) or [0])
    assert len({post["id"] for page in pages for post in page}) == count
    if not count:
        empty = get(sandbox, f"users/{user_id(sandbox, 'edge')}/tweets").json()
        assert empty == {"meta": {"result_count": 0}}


@pytest.mark.parametrize("username", SIZES)
def test_a_timeline_is_newest_first_and_its_ids_tell_the_time(sandbox: Sandbox, username: str) -> None:
    found = posts(sandbox, username, tweet__fields="created_at,author_id")

    ids = [int(post["id"]) for post in found]
    assert len(ids) == SIZES[username]
    assert ids == sorted(set(ids), reverse=True)
    assert max(ids) < 2**63
    for post in found:
        at = datetime.fromtimestamp(((int(post["id"]) >> 22) + SNOWFLAKE_EPOCH_MS) / 1000, UTC)
        assert post["created_at"] == f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
        assert post["edit_history_tweet_ids"][-1] == post["id"]
        assert post["author_id"] == user_id(sandbox, username)
    assert found[0]["created_at"] <= NOW


def test_times_and_ids_bound_a_timeline(sandbox: Sandbox) -> None:
    found = posts(sandbox, "open_rivers", tweet__fields="created_at")
    newer, older = found[10], found[50]

    between = posts(sandbox, "open_rivers", since_id=older["id"], until_id=newer["id"])
    assert [post["id"] for post in between] == [post["id"] for post in found[11:50]]
    start, end = older["created_at"], newer["created_at"]
    timed = posts(sandbox, "open_rivers", start_time=start, end_time=end)
    assert [post["id"] for post in timed] == [post["id"] for post in found[11:51]]
    whole = posts(sandbox, "open_rivers", start_time="2026-11-18T00:00:00Z", max_results=5)
    assert [post["id"] for post in whole] == [p["id"] for p in found if p["created_at"] >= "2026-11-18"]


def test_replies_and_retweets_can_be_left_out(sandbox: Sandbox) -> None:
    def kinds(**query: object) -> set[str]:
        found = posts(sandbox, "harbour_news", tweet__fields="referenced_tweets", **query)
        return {one["type"] for post in found for one in post.get("referenced_tweets", [{"type": "own"}])}

    assert kinds() == {"own", "quoted", "replied_to", "retweeted"}
    assert kinds(exclude="replies") == {"own", "quoted", "retweeted"}
    assert kinds(exclude="replies,retweets") == {"own", "quoted"}


def test_posts_that_come_while_a_client_pages_disturb_nothing(sandbox: Sandbox) -> None:
    path = f"users/{user_id(sandbox, 'harbour_news')}/tweets"
    before = [post["id"] for post in posts(sandbox, "harbour_news")]

    first = get(sandbox, path, max_results=100).json()
    sandbox.stop_clock("2026-11-24T00:00:00Z")
    found = first["data"]
    answer = first
    while "next_token" in answer["meta"]:
        answer = get(sandbox, path, max_results=100, pagination_token=answer["meta"]["next_token"]).json()
        found += answer["data"]

    assert [post["id"] for post in found] == before
    assert int(posts(sandbox, "harbour_news")[0]["id"]) > int(before[0])


def test_metrics_grow_for_two_days_and_then_stay(sandbox: Sandbox) -> None:
    at = datetime(2026, 11, 21, 13, 5, tzinfo=UTC)
    seen: dict[str, list[dict[str, int]]] = {}
    for hours in (0, 1, 24, GROWS_HOURS, GROWS_HOURS + 24):
        sandbox.stop_clock((at + timedelta(hours=hours)).isoformat())
        for post in posts(sandbox, "harbour_news", tweet__fields="public_metrics"):
            seen.setdefault(post["id"], []).append(post["public_metrics"])

    there = [states for states in seen.values() if len(states) == 5]
    assert len(there) > 200
    assert all(before[name] <= after[name] for s in there for before, after in pairwise(s) for name in METRICS)
    assert all(states[3] == states[4] for states in there)
    assert 3 <= sum(1 for states in there if states[0] != states[3]) <= 20
    assert all(set(states[0]) == METRICS for states in there)


def test_an_edited_post_has_a_new_id_and_both_in_its_history(sandbox: Sandbox) -> None:
    edited = [post for post in posts(sandbox, "harbour_news") if len(post["edit_history_tweet_ids"]) == 2]
    assert 8 <= len(edited) <= 20
    original, latest = edited[0]["edit_history_tweet_ids"]
    posted = datetime.fromtimestamp(((int(original) >> 22) + SNOWFLAKE_EPOCH_MS) / 1000, UTC)

    sandbox.stop_clock((posted + timedelta(minutes=1)).isoformat())
    newest = posts(sandbox, "harbour_news")[0]

    assert (newest["id"], newest["edit_history_tweet_ids"]) == (original, [original])
    assert newest["text"] == edited[0]["text"]
    assert int(latest) > int(original)


def test_texts_hold_newlines_emoji_right_to_left_script_and_naughty_strings(sandbox: Sandbox) -> None:
    found = {post["text"] for username in SIZES for post in posts(sandbox, username)}

    whole = "\x00".join(found)
    assert all(text in whole for text in NAUGHTY)
    assert any("\n" in text for text in found)
    assert "\U0001f469\u200d\U0001f469" in whole
    assert "\u202e" in whole


def test_a_post_of_25_000_characters_is_cut_in_text_and_whole_in_its_note(sandbox: Sandbox) -> None:
    for username in SIZES:
        notes = [p for p in posts(sandbox, username, tweet__fields="note_tweet") if "note_tweet" in p]
        assert any(len(post["note_tweet"]["text"]) == LONGEST for post in notes), username
        for post in notes:
            assert post["text"] == post["note_tweet"]["text"][:279] + "…"
    assert all(len(post["text"]) <= 280 for post in posts(sandbox, "harbour_news"))


def test_real_users_and_posts_are_served_besides(
    start: Callable[..., Sandbox], real_data: Path, tmp_path: Path
) -> None:
    recorded = json.loads((real_data / "x" / "open_rivers.json").read_text())["data"]
    sandbox = start("--data", str(real_data), SANDBOX_NOW=NOW)

    found = posts(sandbox, "open_rivers", tweet__fields="created_at,author_id,public_metrics")

    assert len(found) == 120 + len(recorded)
    served = {post["id"]: post for post in found}
    for post in recorded:
        assert served[post["id"]] | post == served[post["id"]]
        assert served[post["id"]]["created_at"].startswith("2022-")
    ids = [int(post["id"]) for post in found]
    assert ids == sorted(ids, reverse=True)


def test_a_real_user_has_the_posts_that_name_it_as_author(start: Callable[..., Sandbox], tmp_path: Path) -> None:
    user = {"id": "2244994945", "name": "Dev", "username": "TwitterDev", "verified": True}
    post = {"id": "1577730467436138524", "text": "whoa,\nit works", "author_id": "2244994945"}
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.json").write_text(
        json.dumps([{"data": [post]}, {"data": user}, {"meta": {}}, {"data": [post]}])
    )
    sandbox = start("--data", str(tmp_path), SANDBOX_NOW=NOW, SANDBOX_X_POSTS="edge:1")

    assert get(sandbox, "users/by/username/twitterdev", user__fields="verified").json() == {"data": user}
    assert [one["text"] for one in posts(sandbox, "TwitterDev")] == [post["text"]]
    assert len(posts(sandbox, "edge")) == 1


@pytest.mark.parametrize("content", ['{"data": [{"id": 3, "text": "x"}]}', '{"data": [{"id": "3"}]}', '{"data": 3}'])
def test_a_payload_with_something_else_is_named_at_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.json").write_text(content)

    with pytest.raises(
        DataError, match=r"a\.json, payload 1 has something in `data` that is neither a user nor a post"
    ):
        router(Settings(data=tmp_path, cache_dir=tmp_path))
