"""X's API v2, as much of it as timelines need: https://docs.x.com/x-api.

Stands in for `https://api.x.com`: users by name and by id, and the posts of a user. As with the real one, only the
fields that are asked for are served, an unknown user is answered with 200, `errors` and no `data`, an empty page has no
`data`, and a spent quota with 429 and `x-rate-limit-reset`, but no Retry-After. Real users and posts under `--data` are
served besides the synthetic ones.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from fastapi import APIRouter, Request, Response

from local.sandbox.access import Quota, is_accepted
from local.sandbox.data import DataError, read_payloads
from local.sandbox.posts import USUAL_FIELDS, Account, Post
from local.sandbox.settings import Settings

NAME = "x"
PROBLEM = "https://api.twitter.com/2/problems/"
LEAST_A_PAGE, USUAL_PAGE, MOST_A_PAGE = 5, 10, 100
MOST_USERS = 100
USERNAME = re.compile(r"[A-Za-z0-9_]{1,15}")
ID = re.compile(r"[0-9]{1,19}")
USER_FIELDS = (
    *("affiliation", "connection_status", "created_at", "description", "entities", "id", "is_identity_verified"),
    *("location", "most_recent_tweet_id", "name", "parody", "pinned_tweet_id", "profile_banner_url"),
    *("profile_image_url", "protected", "public_metrics", "receives_your_dm", "subscription", "subscription_type"),
    *("url", "username", "verified", "verified_followers_count", "verified_type", "withheld"),
)
TWEET_FIELDS = (
    *("article", "attachments", "author_id", "card_uri", "community_id", "context_annotations", "conversation_id"),
    *("created_at", "display_text_range", "edit_controls", "edit_history_tweet_ids", "entities", "geo", "id"),
    *("in_reply_to_user_id", "lang", "media_metadata", "non_public_metrics", "note_tweet", "organic_metrics"),
    *("possibly_sensitive", "promoted_metrics", "public_metrics", "referenced_tweets", "reply_settings", "scopes"),
    *("source", "suggested_source_links", "text", "withheld"),
)
EXCLUDE = ("replies", "retweets")
_REFERENCE = {"replies": "replied_to", "retweets": "retweeted"}
_OF_USERS = ("expansions", "tweet.fields", "user.fields")
_OF_POSTS = (
    *("end_time", "exclude", "expansions", "max_results", "media.fields", "pagination_token", "place.fields"),
    *("poll.fields", "since_id", "start_time", "tweet.fields", "until_id", "user.fields"),
)


class _Refusal(Exception):  # noqa: N818 - an answer, not a fault of ours
    """What a request deserves instead of data."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(body.get("title"))
        self.status = status
        self.body = body


def router(settings: Settings) -> APIRouter:
    """The routes of the API.

    Raises:
        DataError: A payload under `--data` with something in it that is neither a user nor a post.
    """
    routes = APIRouter(tags=[NAME])
    accounts = _accounts(settings)
    by_name = {account.username.lower(): account for account in accounts}
    by_id = {account.id: account for account in accounts}
    quota = Quota(settings.x_calls_per_window, settings.x_window_seconds)

    def answered(request: Request, allowed: Sequence[str], answer: Any) -> Response:  # noqa: ANN401 - a closure
        """What `answer(query)` says, or the refusal that it or the request deserves, with the rate limit's headers."""
        headers: dict[str, str] = {}
        try:
            token = _token(request)
            if not is_accepted(token, settings.x_key):
                raise _Refusal(401, _plain(401, "Unauthorized"))
            # A limit belongs to the token and the route, whoever the user in its path is.
            grant = quota.take((token, request.scope["route"].path))
            headers = {
                "x-rate-limit-limit": str(grant.limit),
                "x-rate-limit-remaining": str(grant.remaining),
                "x-rate-limit-reset": str(grant.reset),
            }
            if not grant.is_granted:
                raise _Refusal(429, _plain(429, "Too Many Requests"))
            query = dict(request.query_params)
            for name in query:
                if name not in allowed:
                    raise _invalid(name, query[name], f"The query parameter [{name}] is not one of {_listed(allowed)}")
            return _answer(200, answer(query), headers)
        except _Refusal as refusal:
            return _answer(refusal.status, refusal.body, headers)

    @routes.get("/2/users/by/username/{username}", openapi_extra={"parameters": _PARAMETERS["user"]})
    def user_by_name(username: str, request: Request) -> Response:
        """One user by name."""

        def answer(query: dict[str, str]) -> dict[str, Any]:
            _check_name("username", username)
            return _users([(username, by_name.get(username.lower()))], "username", query, settings.clock(), one=True)

        return answered(request, _OF_USERS, answer)

    @routes.get("/2/users/by", openapi_extra={"parameters": _PARAMETERS["user"]})
    def users_by_name(request: Request) -> Response:
        """Up to 100 users by name."""

        def answer(query: dict[str, str]) -> dict[str, Any]:
            names = _several(query, "usernames")
            for name in names:
                _check_name("usernames", name)
            return _users([(name, by_name.get(name.lower())) for name in names], "usernames", query, settings.clock())

        return answered(request, ("usernames", *_OF_USERS), answer)

    @routes.get("/2/users", openapi_extra={"parameters": _PARAMETERS["user"]})
    def users_by_id(request: Request) -> Response:
        """Up to 100 users by id."""

        def answer(query: dict[str, str]) -> dict[str, Any]:
            ids = _several(query, "ids")
            for one in ids:
                _check_id("ids", one)
            return _users([(one, by_id.get(one)) for one in ids], "ids", query, settings.clock())

        return answered(request, ("ids", *_OF_USERS), answer)

    @routes.get("/2/users/{id}", openapi_extra={"parameters": _PARAMETERS["user"]})
    def user_by_id(id: str, request: Request) -> Response:
        """One user by id."""

        def answer(query: dict[str, str]) -> dict[str, Any]:
            _check_id("id", id)
            return _users([(id, by_id.get(id))], "id", query, settings.clock(), one=True)

        return answered(request, _OF_USERS, answer)

    @routes.get("/2/users/{id}/tweets", openapi_extra={"parameters": _PARAMETERS["posts"]})
    def posts(id: str, request: Request) -> Response:
        """A user's posts, newest first."""

        def answer(query: dict[str, str]) -> dict[str, Any]:
            _check_id("id", id)
            if id not in by_id:
                return {"errors": [_not_found("id", id)]}
            return _page(by_id[id], query, settings.clock())

        return answered(request, _OF_POSTS, answer)

    return routes


def _parameters(*described: tuple[str, str]) -> list[dict[str, Any]]:
    shared = (("authorization", "Bearer and the token."),)
    return [
        {"name": name, "in": place, "description": description, "schema": {"type": "string"}}
        for place, pairs in (("query", described), ("header", shared))
        for name, description in pairs
    ]


_FIELDS = (("user.fields", "Fields of users beside id, name and username, with commas between them."),)
_PARAMETERS = {
    "user": _parameters(*_FIELDS),
    "posts": _parameters(
        ("max_results", f"Posts a page, {LEAST_A_PAGE} to {MOST_A_PAGE} (default {USUAL_PAGE})."),
        ("pagination_token", "next_token or previous_token of another page."),
        ("since_id", "Posts after this one."),
        ("until_id", "Posts before this one."),
        ("start_time", "Posts from this time on, 2026-11-20T00:00:00Z."),
        ("end_time", "Posts before this time."),
        ("exclude", "replies, retweets or both."),
        ("tweet.fields", "Fields of posts beside id, text and edit_history_tweet_ids."),
        ("expansions", "author_id for the user, in `includes`."),
        *_FIELDS,
    ),
}


def _token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _answer(status: int, body: dict[str, Any], headers: dict[str, str]) -> Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json; charset=utf-8")


# --- users ------------------------------------------------------------------------------------------------------------


def _users(
    found: list[tuple[str, Account | None]], parameter: str, query: dict[str, str], now: datetime, *, one: bool = False
) -> dict[str, Any]:
    fields = _fields(query, "user.fields", USER_FIELDS)
    _fields(query, "tweet.fields", TWEET_FIELDS)
    data = [_user(account, fields, now) for _, account in found if account is not None]
    errors = [_not_found(parameter, asked) for asked, account in found if account is None]
    body: dict[str, Any] = {}
    if data:
        body["data"] = data[0] if one else data
    if errors:
        body["errors"] = errors
    return body


def _user(account: Account, fields: set[str], now: datetime) -> dict[str, Any]:
    wanted = {"id", "name", "username"} | fields
    return {name: value for name, value in account.user(now).items() if name in wanted}


def _not_found(parameter: str, value: str) -> dict[str, str]:
    return {
        "value": value,
        "detail": f"Could not find user with {parameter}: [{value}].",
        "title": "Not Found Error",
        "resource_type": "user",
        "parameter": parameter,
        "resource_id": value,
        "type": PROBLEM + "resource-not-found",
    }


# --- posts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """What a pagination token stands for.

    Attributes:
        is_back: Whether the page is the one before (newer posts) instead of the one after.
        id: The post next to the page.
        at: When the first page was asked for, in seconds since 1970: later pages show the same timeline.
    """

    is_back: bool
    id: int
    at: int


def _page(account: Account, query: dict[str, str], now: datetime) -> dict[str, Any]:
    size = query.get("max_results", str(USUAL_PAGE))
    if not (size.isascii() and size.isdecimal() and LEAST_A_PAGE <= int(size[:9]) <= MOST_A_PAGE):
        fault = f"The `max_results` query parameter value [{size}] is not between {LEAST_A_PAGE} and {MOST_A_PAGE}"
        raise _invalid("max_results", size, fault)
    place = _place_of(account, query)
    at = now if place is None else datetime.fromtimestamp(place.at, UTC)
    wanted, fields = _filter(query), _fields(query, "tweet.fields", TWEET_FIELDS)
    user_fields = _fields(query, "user.fields", USER_FIELDS)
    matching = (post for post in account.timeline(at) if wanted(post, at))
    count = int(size)
    if place is not None and place.is_back:
        newer = [post for post in matching if post.id > place.id]
        found, more_after, more_before = newer[-count:], True, len(newer) > count
    else:
        rest = matching if place is None else (post for post in matching if post.id < place.id)
        found = list(islice(rest, count + 1))
        found, more_after, more_before = found[:count], len(found) > count, place is not None
    if not found:
        return {"meta": {"result_count": 0}}
    meta: dict[str, Any] = {
        "result_count": len(found),
        "newest_id": str(found[0].id),
        "oldest_id": str(found[-1].id),
    }
    if more_after:
        meta["next_token"] = _token_of(account, _Place(False, found[-1].id, int(at.timestamp())))
    if more_before:
        meta["previous_token"] = _token_of(account, _Place(True, found[0].id, int(at.timestamp())))
    served = {*USUAL_FIELDS, *fields}
    data = [{k: v for k, v in post.fields(now).items() if k in served} for post in found]
    body: dict[str, Any] = {"data": data, "meta": meta}
    if "author_id" in query.get("expansions", "").split(","):
        for post in data:
            post["author_id"] = account.id
        body["includes"] = {"users": [_user(account, user_fields, now)]}
    return body


def _filter(query: dict[str, str]) -> Any:  # noqa: ANN401 - a predicate of a post and a time
    since, until = (_id_of(query, name) for name in ("since_id", "until_id"))
    start, end = (_time_of(query, name) for name in ("start_time", "end_time"))
    without = {_REFERENCE[one] for one in _listed_in(query, "exclude", EXCLUDE)}

    def wanted(post: Post, now: datetime) -> bool:
        if not (since is None or post.id > since) or not (until is None or post.id < until):
            return False
        if start is None and end is None and not without:
            return True
        fields = post.fields(now)
        created = datetime.fromisoformat(fields["created_at"])
        if not (start is None or created >= start) or not (end is None or created < end):
            return False
        return not any(one["type"] in without for one in fields.get("referenced_tweets", ()))

    return wanted


def _token_of(account: Account, place: _Place) -> str:
    text = f"{'b' if place.is_back else 'n'}.{place.id}.{place.at}"
    return base64.b32hexencode(f"{text}.{_digest(account, text)}".encode()).decode().rstrip("=").lower()


def _place_of(account: Account, query: dict[str, str]) -> _Place | None:
    token = query.get("pagination_token")
    if not token:
        return None
    try:
        text = base64.b32hexdecode(token.upper() + "=" * (-len(token) % 8)).decode()
        place, _, digest = text.rpartition(".")
        if digest == _digest(account, place):
            way, post, at = place.split(".")
            return _Place(way == "b", int(post), int(at))
    except (binascii.Error, ValueError):
        pass
    fault = f"The `pagination_token` query parameter value [{token}] is not valid"
    raise _invalid("pagination_token", token, fault)


def _digest(account: Account, text: str) -> str:
    return hashlib.sha256(f"token/{account.id}/{text}".encode()).hexdigest()[:12]


# --- parameters and errors --------------------------------------------------------------------------------------------


def _fields(query: dict[str, str], name: str, allowed: tuple[str, ...]) -> set[str]:
    return set(_listed_in(query, name, allowed))


def _listed_in(query: dict[str, str], name: str, allowed: tuple[str, ...]) -> list[str]:
    given = [one for one in query.get(name, "").split(",") if one]
    for one in given:
        if one not in allowed:
            fault = f"The `{name}` query parameter value [{one}] is not one of {_listed(allowed)}"
            raise _invalid(name, query[name], fault)
    return given


def _several(query: dict[str, str], name: str) -> list[str]:
    given = [one for one in query.get(name, "").split(",") if one]
    if not given:
        raise _invalid(name, "", f"The `{name}` query parameter can not be empty")
    if len(given) > MOST_USERS:
        raise _invalid(name, query[name], f"The number of values in the `{name}` query parameter list is not valid")
    return given


def _check_name(parameter: str, name: str) -> None:
    if not USERNAME.fullmatch(name):
        fault = f"The `{parameter}` query parameter value [{name}] does not match ^{USERNAME.pattern}$"
        raise _invalid(parameter, name, fault)


def _check_id(parameter: str, value: str) -> None:
    if not ID.fullmatch(value):
        raise _invalid(parameter, value, f"The `{parameter}` query parameter value [{value}] is not valid")


def _id_of(query: dict[str, str], name: str) -> int | None:
    if name not in query:
        return None
    _check_id(name, query[name])
    return int(query[name])


def _time_of(query: dict[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,3})?Z", text, re.ASCII):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    raise _invalid(name, text, f"The `{name}` query parameter value [{text}] is not a valid RFC3339 timestamp")


def _invalid(parameter: str, value: str, message: str) -> _Refusal:
    body = {
        "errors": [{"parameters": {parameter: [value]}, "message": message}],
        "title": "Invalid Request",
        "detail": "One or more parameters to your request was invalid.",
        "type": PROBLEM + "invalid-request",
        "status": 400,
    }
    return _Refusal(400, body)


def _plain(status: int, title: str) -> dict[str, Any]:
    return {"title": title, "detail": title, "type": "about:blank", "status": status}


def _listed(names: Iterable[str]) -> str:
    return f"[{','.join(names)}]"


# --- accounts ---------------------------------------------------------------------------------------------------------


def _accounts(settings: Settings) -> list[Account]:
    """Those of the setting, and those of real payloads.

    A real post says whose it is in `author_id`. One that was recorded without belongs to the account that its file is
    named after, or else to the first of the setting.
    """
    users: dict[str, dict[str, Any]] = {}
    posts: list[tuple[str, dict[str, Any]]] = []
    folder = settings.data / NAME if settings.data else None
    for payload in read_payloads(folder) if folder is not None else ():
        data, includes = payload.value.get("data", []), payload.value.get("includes")
        included = includes.get("users", []) if isinstance(includes, dict) else []
        for one in [*(data if isinstance(data, list) else [data]), *included]:
            has_id = isinstance(one, dict) and isinstance(one.get("id"), str) and ID.fullmatch(one["id"]) is not None
            if has_id and isinstance(one.get("username"), str):
                users[one["username"].lower()] = one
            elif has_id and isinstance(one.get("text"), str):
                posts.append((payload.file.stem.lower(), one))
            else:
                fault = f"{payload.origin} has something in `data` that is neither a user nor a post"
                raise DataError(f"{fault}; mend it or take it out of --data")
    names = dict.fromkeys([*map(str.lower, settings.x_posts), *users])
    sizes = {name.lower(): size for name, size in settings.x_posts.items()}
    spelled = {name.lower(): name for name in settings.x_posts} | {k: v["username"] for k, v in users.items()}
    accounts = {name: Account(spelled[name], sizes.get(name, 0), users.get(name, {})) for name in names}
    by_id = {account.id: account for account in accounts.values()}
    for stem, post in posts:
        author = by_id.get(str(post.get("author_id"))) or accounts.get(stem) or next(iter(accounts.values()), None)
        if author is not None:
            # Recorded answers overlap; a timeline has each post once.
            author.real_posts[post["id"]] = post
    return list(accounts.values())
