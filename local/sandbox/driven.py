"""The usage API of a fibre operator, `GET /driven/v1/sessions`: one record a subscriber's session.

No public service stands behind it: shape and columns are those of the batches that the operator's generator writes,
and paging is the plainest there is (pages with a number, and how many there are).

A day's sessions come out on the next day at midnight UTC; until the next midnight nothing changes, so that pages fit
together. The API holds the newest `SANDBOX_DRIVEN_SESSIONS`; older ones are gone. Real batches under `--data` are
served besides, in their place in the order of time.
"""

import csv
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
from fastapi import APIRouter, Request, Response

from local.sandbox.access import is_accepted
from local.sandbox.data import DataError
from local.sandbox.settings import Settings
from local.sandbox.usage import (
    LATEST_DAYS,
    MEASURES,
    SECONDS_A_DAY,
    SESSION,
    Sessions,
    Subscribers,
    in_order,
    sessions_of,
)

NAME = "driven"
COLUMNS = (
    *("person_name", "user_name", "email", "personal_number", "birth_date", "address", "phone", "mac_address"),
    *("ip_address", "iban", "accessed_at", *MEASURES, "unique_id"),
)
MOST_A_PAGE = 5_000
USUAL_PAGE = 1_000
_REAL = -1
"""The number of no subscriber: that of a real session."""
_PARAMETERS = [
    {"name": name, "in": "query", "description": description, "schema": {"type": kind}}
    for name, kind, description in (
        ("page", "integer", "Page, from 1 on."),
        ("per_page", "integer", f"Records a page, at most {MOST_A_PAGE} (default {USUAL_PAGE})."),
        ("accessed_from", "string", "Sessions from this time on: 2026-11-20 or 2026-11-20T13:05:09, UTC."),
        ("accessed_to", "string", "Sessions before this time."),
    )
] + [{"name": "x-api-key", "in": "header", "description": "The API key.", "schema": {"type": "string"}}]


def router(settings: Settings) -> APIRouter:
    """The routes of the API.

    Raises:
        DataError: A batch under `--data` that lacks a column or has a value that is none.
    """
    routes = APIRouter(tags=[NAME])
    store = _Store(settings, _real(settings.data / NAME if settings.data else None))

    # A plain function: FastAPI runs it on its threads, so that making sessions does not stop the others' answers.
    @routes.get("/driven/v1/sessions", openapi_extra={"parameters": _PARAMETERS})
    def sessions(request: Request) -> Response:
        """Sessions in the order of accessed_at and unique_id."""
        if not is_accepted(request.headers.get("x-api-key"), settings.driven_key):
            return _answer(401, {"error": "x-api-key is missing or not known"})
        try:
            page = _whole(request, "page", 1, None)
            per_page = _whole(request, "per_page", USUAL_PAGE, MOST_A_PAGE)
            start, end = _time(request, "accessed_from"), _time(request, "accessed_to")
        except ValueError as error:
            return _answer(400, {"error": str(error)})
        held = store.held(settings.clock().date())
        low = 0 if start is None else int(np.searchsorted(held["accessed_at"], start))
        high = len(held) if end is None else int(np.searchsorted(held["accessed_at"], end))
        total = max(high - low, 0)
        first = low + (page - 1) * per_page
        records = ",".join(store.records(held[first : min(first + per_page, high)]))
        pages = -(-total // per_page)
        text = f'{{"data":[{records}],"page":{page},"per_page":{per_page},"total_pages":{pages},"total":{total}}}'
        return Response(text, media_type="application/json")

    return routes


def _answer(status: int, body: dict[str, str]) -> Response:
    return Response(_json(body), status, media_type="application/json")


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _whole(request: Request, name: str, default: int, most: int | None) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        raise ValueError(f"{name} '{text[:40]}' is not a whole number from 1 on")
    if most is not None and int(text) > most:
        raise ValueError(f"{name} {text} is more than {most}")
    return int(text)


def _time(request: Request, name: str) -> float | None:
    """A parameter's time in seconds since 1970."""
    text = request.query_params.get(name, "")
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} '{text[:40]}' is not an ISO time such as 2026-11-20T13:05:09") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


# --- what there is on a day -------------------------------------------------------------------------------------------


class _Store:
    """The sessions of a day and their texts; state is those of the last day asked for, since most requests want it."""

    def __init__(self, settings: Settings, real: "_Real") -> None:
        self._settings = settings
        self._real = real
        self._subscribers: Subscribers | None = None
        self._kept: tuple[date, Sessions] | None = None
        self._lock = threading.Lock()
        self._person = lru_cache(maxsize=None)(self._describe)

    def held(self, today: date) -> Sessions:
        """What the API holds on a day."""
        with self._lock:
            if self._kept is None or self._kept[0] != today:
                self._kept = today, self._make(today)
            return self._kept[1]

    def records(self, sessions: Sessions) -> Iterator[str]:
        """The JSON of each session."""
        for id_, accessed, subscriber, home, duration, download, upload, traffic, _ in sessions.tolist():
            if subscriber == _REAL:
                yield self._real.texts[home]
                continue
            yield (
                f'{self._person(subscriber, home)},"accessed_at":"{_iso(accessed)}","session_duration":{duration},'
                f'"download_speed":{download},"upload_speed":{upload},"consumed_traffic":{traffic},'
                f'"unique_id":"{id_.decode()}"}}'
            )

    def _make(self, today: date) -> Sessions:
        wanted, most = self._settings.driven_sessions, self._settings.driven_sessions_a_day
        days: list[Sessions] = []
        found = back = 0
        # Late sessions are few, but of the newest days some are always missing.
        while wanted and (found < wanted or back <= LATEST_DAYS):
            back += 1
            day = sessions_of(today - timedelta(days=back), most)
            days.insert(0, day[day["delay"] < back])
            found += len(days[0])
        made = np.concatenate([np.empty(0, SESSION), *days])[max(found - wanted, 0) :]
        return in_order(np.concatenate([self._real.sessions, made])) if self._real.texts else made

    def _describe(self, subscriber: int, home: int) -> str:
        """The first part of a record, up to the account."""
        with self._lock:
            if self._subscribers is None:
                self._subscribers = Subscribers(self._settings.cache_dir)
        known = {**self._subscribers.people[subscriber], "address": self._subscribers.address_of(subscriber, home)}
        return _json({name: known[name] for name in COLUMNS if name in known})[:-1]


def _iso(seconds: int) -> str:
    day, rest = divmod(seconds, SECONDS_A_DAY)
    return f"{_iso_day(day)}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


@lru_cache(maxsize=4_096)
def _iso_day(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


# --- real batches -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Real:
    """The rows of real batches.

    Attributes:
        sessions: What they are put in order by; the subscriber is `_REAL`, the home the place in `texts`.
        texts: Their JSON.
    """

    sessions: Sessions
    texts: list[str]


def _real(folder: Path | None) -> _Real:
    """The rows of the folder's `*.csv` files, columns beyond the 16 included."""
    texts: list[str] = []
    ids: list[bytes] = []
    times: list[int] = []
    for path in sorted(folder.glob("*.csv")) if folder is not None else ():
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise DataError(f"{path} has no column {', '.join(missing)}; mend it or take it out of --data")
            for row in rows:
                try:
                    accessed = datetime.fromisoformat(row["accessed_at"]).replace(tzinfo=UTC, microsecond=0)
                    measures = {name: int(row[name]) for name in MEASURES}
                except (TypeError, ValueError) as error:
                    fault = f"{path}, line {rows.line_num} is no session ({error})"
                    raise DataError(f"{fault}; mend it or take it out of --data") from error
                record = {**row, "accessed_at": f"{accessed:%Y-%m-%dT%H:%M:%S}", **measures}
                texts.append(_json(record))
                ids.append(row["unique_id"].encode())
                times.append(int(accessed.timestamp()))
    sessions = np.zeros(len(texts), SESSION)
    sessions["unique_id"], sessions["accessed_at"] = ids, times
    sessions["subscriber"], sessions["home"] = _REAL, np.arange(len(texts))
    return _Real(sessions, texts)
