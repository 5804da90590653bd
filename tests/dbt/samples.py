"""Small rows and payloads for tests, as the sources serve them."""

from datetime import datetime
from typing import Any


def trip(pickup_at: str, **other: float | None) -> dict[str, Any]:
    """A green trip of ten minutes, two miles and 10.50 dollars in Manhattan, except for what is said otherwise."""
    start = datetime.fromisoformat(pickup_at)
    return {
        "vendorid": 2,
        "lpep_pickup_datetime": start,
        "lpep_dropoff_datetime": start.replace(minute=(start.minute + 10) % 60),
        "passenger_count": 1,
        "trip_distance": 2.0,
        "ratecodeid": 1,
        "store_and_fwd_flag": "N",
        "pulocationid": 74,
        "dolocationid": 75,
        "payment_type": 1,
        "fare_amount": 10.5,
        "total_amount": 10.5,
    } | other


ZONES = [
    {"locationid": 74, "borough": "Manhattan", "zone": "East Harlem North", "service_zone": "Boro Zone"},
    {"locationid": 75, "borough": "Manhattan", "zone": "East Harlem South", "service_zone": "Boro Zone"},
    {"locationid": 138, "borough": "Queens", "zone": "LaGuardia Airport", "service_zone": "Airports"},
]


def payload(city_id: int, observed_at: int, temperature: float = 280.32) -> dict[str, Any]:
    """What OpenWeather says of a city at a time (epoch seconds)."""
    return {
        "coord": {"lon": -0.13, "lat": 51.51},
        "weather": [{"id": 300, "main": "Drizzle", "description": "light intensity drizzle", "icon": "09d"}],
        "main": {"temp": temperature, "pressure": 1012, "humidity": 81},
        "wind": {"speed": 4.1, "deg": 80},
        "clouds": {"all": 90},
        "dt": observed_at,
        "sys": {"country": "GB", "sunrise": 1485762037, "sunset": 1485794875},
        "timezone": 0,
        "id": city_id,
        "name": f"City {city_id}",
        "cod": 200,
    }
