"""OpenWeather's current weather, `GET /data/2.5/weather`: https://openweathermap.org/current.

Stands in for `https://api.openweathermap.org`. Errors carry the real bodies, in which `cod` is a number for 401 and 429
and text for 400 and 404. A real payload under `--data` comes before a synthetic one.
"""

import csv
import json
import math
import re
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from local.sandbox.data import DataError, Payload, read_payloads
from local.sandbox.settings import Settings
from local.sandbox.weather import HOUR, Place, observe

NAME = "openweather"
_CITIES = Path(__file__).with_name("cities.csv")
_ANY_KEY = re.compile(r"[0-9a-fA-F]{32}")
_NEAR_DEGREES = 0.05
"""A coordinate so near to a known city is that city."""

INVALID_KEY = (
    401,
    {"cod": 401, "message": "Invalid API key. Please see https://openweathermap.org/faq#error401 for more info."},
)
QUOTA_SPENT = (
    429,
    {
        "cod": 429,
        "message": "Your account is temporary blocked due to exceeding of requests limitation of your subscription "
        "type. Please choose the proper subscription https://openweathermap.org/price",
    },
)
NOTHING_TO_GEOCODE = (400, {"cod": "400", "message": "Nothing to geocode"})
CITY_NOT_FOUND = (404, {"cod": "404", "message": "city not found"})

_CONVERSIONS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "metric": (lambda kelvin: kelvin - 273.15, lambda metres: metres),
    "imperial": (lambda kelvin: (kelvin - 273.15) * 9 / 5 + 32, lambda metres: metres / 0.44704),
}
"""Of temperatures (from K) and speeds (from m/s), by the request's units."""


_PARAMETERS = [
    {"name": name, "in": "query", "description": description, "schema": {"type": "string"}}
    for name, description in (
        ("q", "City name, with a country code or without: London or London,GB."),
        ("id", "City id, such as 2643743."),
        ("lat", "Degrees north, with lon."),
        ("lon", "Degrees east, with lat."),
        ("appid", "The API key."),
        ("units", "standard (K, m/s; the default), metric (degC, m/s) or imperial (degF, mph)."),
    )
]


@dataclass(frozen=True)
class _Known:
    """What there is to find a place by: one real payload, or one city of the table."""

    id: int
    name: str
    country: str | None
    lat: float
    lon: float
    payload: Payload | None
    place: Place | None


def router(settings: Settings) -> APIRouter:
    """The routes of the API.

    Raises:
        DataError: A payload under `--data` that lacks what it is found by.
    """
    routes = APIRouter(tags=[NAME])
    known = [*_real(settings.data / NAME if settings.data else None), *_table()]
    quota = _Quota(settings.openweather_calls_per_minute)
    keys = settings.openweather_key
    accepted = {key.strip() for key in keys.get_secret_value().split(",")} if keys else None

    @routes.get("/data/2.5/weather", openapi_extra={"parameters": _PARAMETERS})
    async def current_weather(request: Request) -> Response:
        """Current weather of one place; `lang` is ignored."""
        # The real API takes parameter names in any case, and its clients send APPID.
        asked = {name.lower(): value.strip() for name, value in request.query_params.items()}
        key = asked.get("appid", "")
        if key not in accepted if accepted is not None else not _ANY_KEY.fullmatch(key):
            return _answer(*INVALID_KEY)
        if not quota.take(key):
            return _answer(*QUOTA_SPENT)
        found = _find(known, asked)
        if isinstance(found, tuple):
            return _answer(*found)
        return _served(found, asked.get("units", "standard").lower(), settings.clock())

    return routes


# --- finding the place ------------------------------------------------------------------------------------------------


def _find(known: list[_Known], asked: dict[str, str]) -> _Known | tuple[int, dict[str, Any]]:
    """The place that a request names, or the error that it deserves."""
    if asked.get("id"):
        if not asked["id"].isdecimal():
            return 400, {"cod": "400", "message": "Invalid ID"}
        return next((city for city in known if city.id == int(asked["id"])), CITY_NOT_FOUND)
    if asked.get("lat") or asked.get("lon"):
        lat, lon = _degrees(asked.get("lat", ""), 90), _degrees(asked.get("lon", ""), 180)
        if lat is None or lon is None:
            return 400, {"cod": "400", "message": "wrong latitude" if lat is None else "wrong longitude"}
        return _nearest(known, lat, lon)
    if not asked.get("q"):
        return NOTHING_TO_GEOCODE
    name, *rest = (_plain(part) for part in asked["q"].split(","))
    whole = _plain(asked["q"])
    for city in known:
        in_country = not rest or _plain(city.country or "") == rest[-1]
        if _plain(city.name) == whole or (_plain(city.name) == name and in_country):
            return city
    return CITY_NOT_FOUND


def _nearest(known: list[_Known], lat: float, lon: float) -> _Known:
    """A known city at the coordinate, or a nameless place there: the real API has weather for every point."""
    for city in known:
        if abs(city.lat - lat) < _NEAR_DEGREES and abs(city.lon - lon) < _NEAR_DEGREES:
            return city
    place = Place(id=0, name="", country=None, lat=lat, lon=lon, elevation_m=0, timezone=None)
    return _Known(id=0, name="", country=None, lat=lat, lon=lon, payload=None, place=place)


def _degrees(text: str, limit: float) -> float | None:
    try:
        degrees = float(text)
    except ValueError:
        return None
    return degrees if abs(degrees) <= limit else None


def _plain(text: str) -> str:
    """For comparison: without case, accents and outer blanks."""
    split = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(char for char in split if not unicodedata.combining(char))


def _table() -> Iterable[_Known]:
    with _CITIES.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            lat, lon, elevation = (float(row[name]) for name in ("lat", "lon", "elevation_m"))
            place = Place(int(row["id"]), row["name"], row["country"], lat, lon, elevation, row["timezone"])
            yield _Known(place.id, place.name, place.country, lat, lon, payload=None, place=place)


class _Coordinate(BaseModel):
    lat: float
    lon: float


class _Country(BaseModel):
    country: str | None = None


class _Label(BaseModel):
    """What a real payload is found by; the rest of it is not looked at."""

    model_config = ConfigDict(strict=True)

    name: str
    dt: int
    id: int = 0
    coord: _Coordinate = _Coordinate(lat=math.nan, lon=math.nan)
    sys: _Country = _Country()


def _real(folder: Path | None) -> list[_Known]:
    """Real payloads, newest first, so that the first found is the newest of its name."""
    labelled = [(_label(payload), payload) for payload in read_payloads(folder)] if folder is not None else []
    labelled.sort(key=lambda pair: pair[0].dt, reverse=True)
    return [
        _Known(label.id, label.name, label.sys.country, label.coord.lat, label.coord.lon, payload=payload, place=None)
        for label, payload in labelled
    ]


def _label(payload: Payload) -> _Label:
    try:
        return _Label.model_validate(payload.value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        fault = f"cannot be found by its {field} ({first['msg']})"
        raise DataError(f"{payload.origin} {fault}; mend it or take it out of --data") from error


# --- answering --------------------------------------------------------------------------------------------------------


def _served(found: _Known, units: str, now: datetime) -> Response:
    if found.payload is not None:
        if units not in _CONVERSIONS:
            # The file's own text: no digit of a real payload changes on its way.
            return Response(found.payload.text, media_type="application/json; charset=utf-8")
        return _answer(200, _converted(found.payload.value, units))
    if found.place is None:
        raise AssertionError(f"{found.name} has neither a payload nor a place")
    hour = int(now.timestamp()) // HOUR * HOUR
    return _answer(200, _converted(observe(found.place, hour, _utc_offset(found.place, hour)), units))


def _answer(status: int, body: dict[str, Any]) -> Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, media_type="application/json; charset=utf-8")


def _converted(payload: dict[str, Any], units: str) -> dict[str, Any]:
    """The payload in the asked units; a real one is taken to be in standard units."""
    if units not in _CONVERSIONS:
        return payload
    temperature, speed = _CONVERSIONS[units]
    by_field = dict.fromkeys(("temp", "feels_like", "temp_min", "temp_max"), temperature) | dict.fromkeys(
        ("speed", "gust"), speed
    )
    return payload | {
        group: {k: round(by_field[k](v), 2) if k in by_field else v for k, v in payload[group].items()}
        for group in ("main", "wind")
        if isinstance(payload.get(group), dict)
    }


def _utc_offset(place: Place, hour: int) -> int:
    if place.timezone is None:
        return round(place.lon / 15) * HOUR
    offset = datetime.fromtimestamp(hour, UTC).astimezone(ZoneInfo(place.timezone)).utcoffset()
    return int(offset.total_seconds()) if offset else 0


class _Quota:
    """Calls of each key in the last minute; state is one queue of times a key."""

    def __init__(self, calls_per_minute: int) -> None:
        self._limit = calls_per_minute
        self._calls: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> bool:
        """Whether the key may call now; a refused call does not count."""
        with self._lock:
            now = time.monotonic()
            calls = self._calls.setdefault(key, deque())
            while calls and calls[0] <= now - 60:
                calls.popleft()
            if len(calls) >= self._limit:
                return False
            calls.append(now)
            return True
