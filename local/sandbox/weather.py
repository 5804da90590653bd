"""Plausible weather: a plain model of a place's climate, season, time of day and passing fronts.

A state follows from the place and the hour alone, so the same call in the same hour gives the same answer anywhere.
"""

import hashlib
import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

HOUR = 3600
_FRONT_HOURS = 18
"""Hours between two points of the noise that stands for passing highs and lows."""


@dataclass(frozen=True)
class Place:
    """Somewhere to have weather.

    Attributes:
        id: City id, 0 for a place without one.
        name: City name, empty for a place without one.
        country: ISO 3166 code, None at sea.
        lat: Degrees north.
        lon: Degrees east.
        elevation_m: Metres above the sea.
        timezone: Name in the IANA database, None for the zone of the longitude.
    """

    id: int
    name: str
    country: str | None
    lat: float
    lon: float
    elevation_m: float
    timezone: str | None


@dataclass(frozen=True)
class Condition:
    """A weather condition of https://openweathermap.org/weather-conditions."""

    id: int
    main: str
    description: str
    icon: str


CLEAR = Condition(800, "Clear", "clear sky", "01")
CLOUDS = (
    (25, Condition(801, "Clouds", "few clouds", "02")),
    (51, Condition(802, "Clouds", "scattered clouds", "03")),
    (85, Condition(803, "Clouds", "broken clouds", "04")),
    (101, Condition(804, "Clouds", "overcast clouds", "04")),
)
"""By the cloud cover, in percent, that they stay under."""

MIST, FOG = Condition(701, "Mist", "mist", "50"), Condition(741, "Fog", "fog", "50")
RAIN = (
    (0.5, Condition(500, "Rain", "light rain", "10")),
    (4.0, Condition(501, "Rain", "moderate rain", "10")),
    (math.inf, Condition(502, "Rain", "heavy intensity rain", "10")),
)
"""By the millimetres an hour that they stay under."""

SNOW = (
    (0.6, Condition(600, "Snow", "light snow", "13")),
    (2.0, Condition(601, "Snow", "snow", "13")),
    (math.inf, Condition(602, "Snow", "heavy snow", "13")),
)
THUNDER = Condition(201, "Thunderstorm", "thunderstorm with rain", "11")


def observe(place: Place, hour: int, utc_offset: int) -> dict[str, Any]:
    """The current-weather payload of a place, in standard units (K, m/s, mm, hPa, m).

    Args:
        place: Where.
        hour: The hour's first second, since 1970, UTC; it becomes `dt`.
        utc_offset: Shift of local time from UTC, seconds.

    Returns:
        A payload as https://openweathermap.org/current describes it; optional fields are there about as often as in
        real payloads.
    """
    dice = random.Random(_seed(place, "hour", hour))  # noqa: S311 - weather, not a secret
    local = hour + utc_offset
    sunrise, sunset = sun_times(place.lat, place.lon, local // 86_400, utc_offset)
    is_day = sunrise <= hour < sunset

    wet = _front(place, "moisture", hour)
    pressure = 1013 - 9 * wet + 4 * _front(place, "pressure", hour)
    cover = round(100 / (1 + math.exp(-2.2 * (wet + 0.2 * _front(place, "cloud", hour, hours=5)))))
    celsius = _temperature(place, hour, local) - 2.0 * (cover / 100 if is_day else -cover / 150)
    humidity = round(min(max(70 + 16 * wet - 1.6 * _diurnal(local) * _swing(place), 15), 100))
    wind = abs(3.4 + 1.9 * _front(place, "wind", hour, hours=7) + 0.5 * _diurnal(local))
    millimetres = max(0.0, (wet - 0.95) * 1.6 + 0.4 * dice.random()) if wet > 0.95 else 0.0
    snows = celsius < 1.2

    condition, visibility = _condition(cover, humidity, millimetres, celsius, snows, dice)
    precipitation = {"snow" if snows else "rain": {"1h": _number(max(millimetres, 0.1))}} if millimetres > 0 else {}
    spread = abs(dice.gauss(0, 0.6))
    sea_level = round(pressure)
    ground_level = round(pressure * (1 - 2.25577e-5 * place.elevation_m) ** 5.25588)
    return {
        "coord": {"lon": _number(place.lon, 4), "lat": _number(place.lat, 4)},
        "weather": [{"id": condition.id, "main": condition.main, "description": condition.description,
                     "icon": condition.icon + ("d" if is_day else "n")}],
        "base": "stations",
        "main": {
            "temp": _kelvin(celsius),
            "feels_like": _kelvin(_feels_like(celsius, humidity, wind)),
            "temp_min": _kelvin(celsius - spread),
            "temp_max": _kelvin(celsius + spread),
            "pressure": sea_level,
            "humidity": humidity,
            **({"sea_level": sea_level, "grnd_level": ground_level} if dice.random() < 0.95 else {}),
        },
        **({"visibility": visibility} if dice.random() < 0.97 else {}),
        "wind": {
            "speed": _number(wind),
            "deg": round(180 + 150 * _front(place, "direction", hour)) % 360,
            **({"gust": _number(wind * (1.3 + 0.6 * dice.random()))} if dice.random() < 0.45 else {}),
        },
        **precipitation,
        "clouds": {"all": cover},
        "dt": hour,
        "sys": {
            **({"type": 2, "id": _seed(place, "station") % 2_000_000 + 1000} if dice.random() < 0.79 else {}),
            **({"country": place.country} if place.country else {}),
            "sunrise": sunrise,
            "sunset": sunset,
        },
        "timezone": utc_offset,
        "id": place.id,
        "name": place.name,
        "cod": 200,
    }  # fmt: skip


def sun_times(lat: float, lon: float, local_day: int, utc_offset: int) -> tuple[int, int]:
    """Sunrise and sunset of a local day, in seconds since 1970, UTC; 0 and 0 when the sun does not rise or set.

    The sunrise equation, within a few minutes of an almanac: https://en.wikipedia.org/wiki/Sunrise_equation.

    Args:
        lat: Degrees north.
        lon: Degrees east.
        local_day: Days since 1970 on the place's calendar.
        utc_offset: Shift of local time from UTC, seconds.
    """
    # The solar noon nearest to the local day's middle.
    noon = local_day * 86_400 + 43_200 - utc_offset
    days = round(noon / 86_400 + lon / 360 - 0.5) + 0.5 - lon / 360 - 10_957.5
    anomaly = math.radians((357.5291 + 0.98560028 * days) % 360)
    centre = 1.9148 * math.sin(anomaly) + 0.02 * math.sin(2 * anomaly) + 0.0003 * math.sin(3 * anomaly)
    ecliptic = math.radians((math.degrees(anomaly) + centre + 180 + 102.9372) % 360)
    transit = days + 0.0053 * math.sin(anomaly) - 0.0069 * math.sin(2 * ecliptic)
    declination = math.asin(math.sin(ecliptic) * math.sin(math.radians(23.4397)))
    cosine = (math.sin(math.radians(-0.833)) - math.sin(math.radians(lat)) * math.sin(declination)) / (
        math.cos(math.radians(lat)) * math.cos(declination)
    )
    if not -1 < cosine < 1:
        return 0, 0
    half = math.degrees(math.acos(cosine)) / 360
    epoch = datetime(2000, 1, 1, 12, tzinfo=UTC)
    rise, fall = (epoch + timedelta(days=transit + side * half) for side in (-1, 1))
    return round(rise.timestamp()), round(fall.timestamp())


def _temperature(place: Place, hour: int, local: int) -> float:
    """Degrees Celsius: by latitude, height, season (the other way round in the south), time of day and fronts."""
    year_share = (hour / 86_400 / 365.2425 + 10 / 365.2425) % 1
    season = -math.cos(2 * math.pi * (year_share - 0.077)) * math.copysign(min(abs(place.lat) * 0.2, 12), place.lat)
    yearly = 28 - 0.0065 * place.lat**2 - 0.0055 * place.elevation_m
    return (
        yearly
        + season
        + _swing(place) * _diurnal(local)
        + 3.2 * min(abs(place.lat) / 35, 1) * _front(place, "air", hour, hours=30)
    )


def _swing(place: Place) -> float:
    """Half the difference between a day's warmest and coldest hour, degrees: less near the poles."""
    return 4.2 * math.cos(math.radians(min(abs(place.lat), 75)))


def _diurnal(local: int) -> float:
    """-1 to 1, highest at three in the afternoon."""
    return math.cos(2 * math.pi * ((local % 86_400) / HOUR - 15) / 24)


def _front(place: Place, what: str, hour: int, hours: int = _FRONT_HOURS) -> float:
    """Smooth noise of mean 0 and deviation near 1, drawn every few hours and eased in between."""
    step, into = divmod(hour, hours * HOUR)
    share = into / (hours * HOUR)
    eased = share * share * (3 - 2 * share)
    before, after = (random.Random(_seed(place, what, step + i)).gauss(0, 1.15) for i in (0, 1))  # noqa: S311 - weather
    return before + (after - before) * eased


def _condition(
    cover: int, humidity: int, millimetres: float, celsius: float, snows: bool, dice: random.Random
) -> tuple[Condition, int]:
    """What the sky does, and how far one sees, in metres."""
    if millimetres > 0:
        if not snows and millimetres > 1.2 and celsius > 18 and dice.random() < 0.4:
            return THUNDER, 8000
        condition = next(found for limit, found in (SNOW if snows else RAIN) if millimetres < limit)
        return condition, 10_000 if millimetres < 0.4 else int(max(10_000 - 2500 * millimetres, 800)) // 100 * 100
    if humidity > 80 and dice.random() < 0.3:
        return (FOG, 600) if humidity > 92 else (MIST, 4500)
    if cover < 11:
        return CLEAR, 10_000
    return next(found for limit, found in CLOUDS if cover < limit), 10_000


def _feels_like(celsius: float, humidity: int, wind: float) -> float:
    """Steadman's apparent temperature: https://www.bom.gov.au/info/thermal_stress/."""
    vapour = humidity / 100 * 6.105 * math.exp(17.27 * celsius / (237.7 + celsius))
    return celsius + 0.33 * vapour - 0.7 * wind - 4


def _kelvin(celsius: float) -> float | int:
    return _number(celsius + 273.15)


def _number(value: float, digits: int = 2) -> float | int:
    """A number as the real API writes it: whole ones without a decimal point, so that their JSON type varies."""
    rounded = round(value, digits)
    return int(rounded) if rounded == int(rounded) else rounded


def _seed(place: Place, *parts: object) -> int:
    text = "|".join(map(str, (place.id, place.lat, place.lon, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
