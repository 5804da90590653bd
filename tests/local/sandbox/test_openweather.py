"""The stand-in for OpenWeather's current weather."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyowm
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyowm.commons.exceptions import NotFoundError, UnauthorizedError
from pyowm.commons.http_client import HttpClient
from pyowm.weatherapi30.weather_manager import WeatherManager

from local.sandbox.data import read_payloads
from local.sandbox.openweather import _table, _utc_offset
from local.sandbox.weather import observe, sun_times
from tests.local.sandbox.conftest import HOUR, KEY, Sandbox

INVALID_KEY = {
    "cod": 401,
    "message": "Invalid API key. Please see https://openweathermap.org/faq#error401 for more info.",
}

REQUIRED: dict[str, dict[str, Any] | Any] = {
    "coord": {"lon": (int, float), "lat": (int, float)},
    "weather": list,
    "base": str,
    "main": {
        "temp": (int, float),
        "feels_like": (int, float),
        "temp_min": (int, float),
        "temp_max": (int, float),
        "pressure": int,
        "humidity": int,
    },
    "wind": {"speed": (int, float), "deg": int},
    "clouds": {"all": int},
    "dt": int,
    "sys": {"country": str, "sunrise": int, "sunset": int},
    "timezone": int,
    "id": int,
    "name": str,
    "cod": int,
}
OPTIONAL = {
    "": {"visibility", "rain", "snow"},
    "main": {"sea_level", "grnd_level"},
    "wind": {"gust"},
    "sys": {"type", "id"},
}


@pytest.fixture(scope="module")
def year() -> list[dict[str, Any]]:
    """Payloads of every city of the table, every 30 days of a year, at four times of the day."""
    places = [city.place for city in _table() if city.place is not None]
    hours = [HOUR + day * 86_400 + hour * 3600 for day in range(0, 360, 30) for hour in (0, 6, 12, 18)]
    return [observe(place, hour, _utc_offset(place, hour)) for place in places for hour in hours]


def test_a_city_is_answered_with_the_documented_payload(sandbox: Sandbox) -> None:
    answer = sandbox.weather(q="London")

    payload = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert (payload["id"], payload["name"], payload["cod"], payload["dt"]) == (2643743, "London", 200, HOUR)
    assert payload["sys"]["country"] == "GB"
    for group, kind in REQUIRED.items():
        if isinstance(kind, dict):
            assert all(isinstance(payload[group][name], kinds) for name, kinds in kind.items())
            assert set(payload[group]) - set(kind) <= OPTIONAL.get(group, set())
        else:
            assert isinstance(payload[group], kind)
    assert set(payload) - set(REQUIRED) <= OPTIONAL[""]
    assert set(payload["weather"][0]) == {"id", "main", "description", "icon"}


@pytest.mark.parametrize(
    "query",
    [
        {"q": "lOnDoN"},
        {"q": " London , gb "},
        {"id": "2643743"},
        {"lat": "51.51", "lon": "-0.13"},
        {"q": "London", "lang": "de"},
        {"q": "London", "units": "standard"},
    ],
)
def test_a_city_is_found_by_name_in_any_case_by_country_by_id_and_by_place(
    sandbox: Sandbox, query: dict[str, str]
) -> None:
    assert sandbox.weather(**query).text == sandbox.weather(q="London").text


def test_accents_in_a_name_may_be_left_out(sandbox: Sandbox) -> None:
    assert sandbox.weather(q="Sao Paulo").json()["name"] == "São Paulo"


def test_a_place_without_a_city_has_weather_and_no_name(sandbox: Sandbox) -> None:
    payload = sandbox.weather(lat="-45.5", lon="-120").json()

    assert (payload["id"], payload["name"], payload["timezone"]) == (0, "", -8 * 3600)
    assert "country" not in payload["sys"]


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ({"q": "Atlantis"}, 404, {"cod": "404", "message": "city not found"}),
        ({"q": "London,FR"}, 404, {"cod": "404", "message": "city not found"}),
        ({"id": "1"}, 404, {"cod": "404", "message": "city not found"}),
        ({}, 400, {"cod": "400", "message": "Nothing to geocode"}),
        ({"q": ""}, 400, {"cod": "400", "message": "Nothing to geocode"}),
        ({"lat": "91", "lon": "0"}, 400, {"cod": "400", "message": "wrong latitude"}),
        ({"lat": "1"}, 400, {"cod": "400", "message": "wrong longitude"}),
        ({"lat": "1", "lon": "nan"}, 400, {"cod": "400", "message": "wrong longitude"}),
    ],
)
def test_what_cannot_be_found_is_refused_with_cod_as_text(
    sandbox: Sandbox, query: dict[str, str], status: int, body: dict[str, str]
) -> None:
    answer = sandbox.weather(**query)

    assert (answer.status_code, answer.json()) == (status, body)


@pytest.mark.parametrize("key", ["", "wrong", "0123456789abcdef0123456789abcdeg", KEY + "0"])
def test_a_key_that_is_no_key_is_refused_with_cod_as_a_number(sandbox: Sandbox, key: str) -> None:
    answer = sandbox.weather(key, q="London")

    assert (answer.status_code, answer.json()) == (401, INVALID_KEY)


def test_a_missing_key_is_refused(sandbox: Sandbox) -> None:
    assert sandbox.get("/data/2.5/weather", params={"q": "London"}).json() == INVALID_KEY


def test_only_the_keys_that_are_set_are_accepted_and_each_has_its_own_quota(start: Callable[..., Sandbox]) -> None:
    sandbox = start(SANDBOX_OPENWEATHER_KEY="first-key,second-key", SANDBOX_OPENWEATHER_CALLS_PER_MINUTE="2")

    statuses = [sandbox.weather("first-key", q=q).status_code for q in ("London", "Atlantis", "Paris")]
    refused = sandbox.weather("first-key", q="London")

    assert sandbox.weather(KEY, q="London").status_code == 401
    assert statuses == [200, 404, 429]
    assert refused.json()["cod"] == 429
    assert "exceeding of requests limitation" in refused.json()["message"]
    assert not {name for name in refused.headers if "limit" in name.lower() or "retry" in name.lower()}
    assert sandbox.weather("second-key", q="London").status_code == 200


def test_units_convert_temperatures_and_wind_and_nothing_else(sandbox: Sandbox) -> None:
    standard, metric, imperial = (
        sandbox.weather(q="Oslo", units=units).json() for units in ("standard", "metric", "imperial")
    )

    kelvin, speed = standard["main"]["temp"], standard["wind"]["speed"]
    assert metric["main"]["temp"] == pytest.approx(kelvin - 273.15, abs=0.006)
    assert imperial["main"]["temp"] == pytest.approx((kelvin - 273.15) * 9 / 5 + 32, abs=0.006)
    assert metric["wind"]["speed"] == speed
    assert imperial["wind"]["speed"] == pytest.approx(speed * 2.23694, abs=0.01)
    for converted in (metric, imperial):
        assert converted["main"]["pressure"] == standard["main"]["pressure"]
        assert {k: v for k, v in converted.items() if k not in {"main", "wind"}} == {
            k: v for k, v in standard.items() if k not in {"main", "wind"}
        }


def test_the_same_hour_gives_the_same_body_and_the_next_hour_another(
    sandbox: Sandbox, start: Callable[..., Sandbox]
) -> None:
    at_1305 = sandbox.weather(q="Tokyo").text
    at_1359, at_1400 = (
        start(SANDBOX_NOW=now).weather(q="Tokyo").text for now in ("2026-11-21T14:59:59+01:00", "2026-11-21T14:00:00")
    )

    assert at_1305 == at_1359
    assert json.loads(at_1400)["dt"] == json.loads(at_1305)["dt"] + 3600
    assert json.loads(at_1400)["main"]["temp"] != json.loads(at_1305)["main"]["temp"]


def test_optional_fields_come_about_as_often_as_in_real_payloads(year: list[dict[str, Any]]) -> None:
    def share(holds: Callable[[dict[str, Any]], bool]) -> float:
        return sum(map(holds, year)) / len(year)

    # In 186 real payloads: gust 45 %, rain 18 %, sys.type 79 %.
    assert share(lambda p: "gust" in p["wind"]) == pytest.approx(0.45, abs=0.03)
    assert share(lambda p: "type" in p["sys"]) == pytest.approx(0.79, abs=0.03)
    assert 0.1 < share(lambda p: "rain" in p or "snow" in p) < 0.25
    assert 0.9 < share(lambda p: "visibility" in p) < 1
    assert 0.9 < share(lambda p: "sea_level" in p["main"]) < 1
    assert share(lambda p: isinstance(p["main"]["temp"], int)) > 0.002
    assert {p["weather"][0]["main"] for p in year} >= {"Clear", "Clouds", "Rain", "Snow", "Mist"}


def test_the_weather_obeys_plain_physics(year: list[dict[str, Any]]) -> None:
    for payload in year:
        main, wind, sun = payload["main"], payload["wind"], payload["sys"]
        assert 200 < main["temp_min"] <= main["temp"] <= main["temp_max"] < 325
        assert 0 <= main["humidity"] <= 100
        assert 950 < main["pressure"] < 1070
        assert wind["speed"] >= 0 <= wind["deg"] < 360
        assert wind.get("gust", 99) > wind["speed"] or wind["speed"] < 0.1
        assert 0 <= payload["clouds"]["all"] <= 100
        assert payload.get("visibility", 0) <= 10_000
        assert ("rain" in payload or "snow" in payload) == (
            payload["weather"][0]["main"] in {"Rain", "Snow", "Thunderstorm"}
        )
        assert not ("snow" in payload and main["temp"] > 275)
        is_day = sun["sunrise"] <= payload["dt"] < sun["sunset"]
        assert payload["weather"][0]["icon"].endswith("d" if is_day else "n")


def test_summer_is_warmer_than_winter_and_the_afternoon_than_the_night() -> None:
    cities = {city.name: city.place for city in _table() if city.place}

    def mean(name: str, hours: Iterator[int] | range) -> float:
        place = cities[name]
        kelvin: list[float] = [observe(place, hour, _utc_offset(place, hour))["main"]["temp"] for hour in hours]
        return sum(kelvin) / len(kelvin)

    day = 86_400
    january, july = 1767225600, 1782864000
    for northern in ("London", "Moscow", "New York"):
        assert mean(northern, range(july, july + 30 * day, day)) > 8 + mean(
            northern, range(january, january + 30 * day, day)
        )
    assert mean("Sydney", range(january, january + 30 * day, day)) > 5 + mean(
        "Sydney", range(july, july + 30 * day, day)
    )
    afternoon, night = (range(july + at * 3600, july + 30 * day, day) for at in (14, 3))
    assert mean("London", afternoon) > 3 + mean("London", night)


def test_sunrise_and_sunset_agree_with_the_documented_example_within_three_minutes() -> None:
    # https://openweathermap.org/current, London on 2017-01-30.
    sunrise, sunset = sun_times(51.51, -0.13, 1485789600 // 86_400, 0)

    assert sunrise == pytest.approx(1485762037, abs=180)
    assert sunset == pytest.approx(1485794875, abs=180)


def test_the_polar_night_has_neither_sunrise_nor_sunset(sandbox: Sandbox) -> None:
    sun = sandbox.weather(q="Longyearbyen").json()["sys"]

    assert (sun["sunrise"], sun["sunset"]) == (0, 0)


def manager_of(sandbox: Sandbox, key: str) -> WeatherManager:
    """Pyowm's own weather client, sent to the sandbox."""
    config = pyowm.utils.config.get_default_config()
    config["connection"]["use_ssl"] = False
    manager = pyowm.OWM(key, config).weather_manager()
    root = sandbox.url.removeprefix("http://") + "/data/2.5"
    manager.http_client = HttpClient(key, config, root, admits_subdomains=False)
    return manager


def test_pyowm_reads_the_sandbox_as_it_reads_openweather(sandbox: Sandbox) -> None:
    manager = manager_of(sandbox, KEY)

    observation = manager.weather_at_place("New York,US")

    assert (observation.location.id, observation.location.country) == (5128581, "US")
    assert observation.weather.reference_time() == HOUR
    assert -40 < observation.weather.temperature("celsius")["temp"] < 45
    assert observation.weather.sunrise_time() < observation.weather.sunset_time()
    assert manager.weather_at_id(2643743).location.name == "London"
    assert manager.weather_at_coords(35.69, 139.69).location.name == "Tokyo"


def test_pyowm_tells_the_sandboxs_errors_apart(sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundError):
        manager_of(sandbox, KEY).weather_at_place("Atlantis")
    with pytest.raises(UnauthorizedError):
        manager_of(sandbox, "not-a-key").weather_at_place("London")


# --- real payloads ----------------------------------------------------------------------------------------------------


def real_folder(tmp_path: Path, **texts: str) -> str:
    """A --data folder with these files in openweather/."""
    folder = tmp_path / "openweather"
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return str(tmp_path)


def test_a_real_payload_comes_first_and_keeps_every_digit(start: Callable[..., Sandbox], tmp_path: Path) -> None:
    text = (
        '{"coord":{"lon":-0.1257,"lat":51.5085},"main":{"temp":280.320,"pressure":1.012E3},"dt":1485789600,'
        '"sys":{"country":"GB"},"id":2643743,"name":"LONDON","cod":200}'
    )
    sandbox = start("--data", real_folder(tmp_path, one=text))

    assert sandbox.weather(q="london").text == text
    assert sandbox.weather(id="2643743").text == text
    assert sandbox.weather(lat="51.51", lon="-0.13").text == text
    assert sandbox.weather(q="London,GB", units="metric").json()["main"] == {"temp": 7.17, "pressure": 1012}
    assert sandbox.weather(q="Paris").json()["name"] == "Paris"


def test_of_several_real_payloads_of_a_name_the_newest_is_served(start: Callable[..., Sandbox], tmp_path: Path) -> None:
    older, newest, other = (
        json.dumps({"name": "Springfield", "dt": dt, "sys": {"country": country}})
        for dt, country in ((100, "US"), (300, "US"), (200, "CA"))
    )
    sandbox = start("--data", real_folder(tmp_path, a=f"[{older}, {newest}]", b=other))

    assert sandbox.weather(q="springfield").json()["dt"] == 300
    assert sandbox.weather(q="Springfield,CA").json()["dt"] == 200


def test_the_real_payloads_are_served_unchanged(start: Callable[..., Sandbox], real_data: Path) -> None:
    sandbox = start("--data", str(real_data))
    payloads = json.loads((real_data / "openweather" / "cities.json").read_text(encoding="utf-8"))

    served = [sandbox.weather(q=payload["name"]).json() for payload in payloads]

    assert len(served) == 186
    assert served == payloads


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    payloads=st.lists(
        st.dictionaries(
            st.text(max_size=5),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
                max_leaves=6,
            ),
            max_size=4,
        ),
        max_size=5,
    ),
    indent=st.none() | st.integers(0, 3),
    ascii_only=st.booleans(),
)
def test_every_payload_of_an_array_is_cut_out_exactly(
    tmp_path: Path, payloads: list[dict[str, Any]], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(payloads, indent=indent, ensure_ascii=ascii_only)
    (tmp_path / "some.json").write_text(f"\n {text} \n", encoding="utf-8", errors="surrogatepass")
    if any(0xD800 <= ord(char) < 0xE000 for char in text):
        return

    found = list(read_payloads(tmp_path))

    assert [payload.value for payload in found] == payloads
    assert [json.loads(payload.text) for payload in found] == payloads
