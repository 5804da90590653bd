"""What New York's taxis look like: where and when they are hailed, how fast they go, what they charge.

Shares follow the measured files: green of January 2024 (56,551 rows), yellow of 2026, and TLC's fare rules
(https://www.nyc.gov/site/tlc/passengers/taxi-fare.page). They are plausible, not exact.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Service = Literal["yellow", "green"]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NEWARK, JFK, LAGUARDIA, UNKNOWN_ZONE, OUTSIDE_NYC, MANHATTAN = 1, 132, 138, 264, 265, 2
_BOROUGHS = {"EWR": 0, "Bronx": 1, "Manhattan": MANHATTAN, "Queens": 3, "Brooklyn": 4, "Staten Island": 5}
_CENTRES = ((-74.174, 40.690), (-73.88, 40.85), (-73.98, 40.76), (-73.82, 40.72), (-73.95, 40.65), (-74.15, 40.58))

# Shares of pick-ups in percent; zones that are not named share the rest by borough.
_YELLOW_PICKUPS = {
    132: 4.9, 161: 4.7, 237: 4.6, 236: 4.4, 162: 3.5, 186: 3.5, 142: 3.4, 230: 3.4, 138: 3.1, 170: 2.9, 163: 2.9,
    239: 2.8, 234: 2.7, 68: 2.6, 48: 2.6, 141: 2.4, 79: 2.3, 164: 2.2, 249: 2.2, 107: 2.1, 238: 2.0, 263: 2.0,
    229: 1.9, 140: 1.8, 100: 1.7, 231: 1.7, 90: 1.6, 43: 1.5, 113: 1.5, 246: 1.4, 50: 1.3, 137: 1.2, 262: 1.2,
    233: 1.1, 143: 1.1, 114: 1.1, 148: 1.0, 151: 0.9, 75: 0.8, 166: 0.6, 264: 0.7, 265: 0.15, 1: 0.02,
}  # fmt: skip
_GREEN_PICKUPS = {
    74: 21.5, 75: 15.0, 95: 5.2, 43: 4.9, 166: 4.7, 82: 4.6, 41: 4.6, 97: 3.4, 65: 2.9, 7: 2.7, 129: 2.5, 130: 2.4,
    244: 2.3, 42: 2.1, 260: 1.7, 134: 1.1, 66: 1.1, 83: 0.9, 33: 0.9, 116: 0.8, 24: 0.7, 92: 0.7, 223: 0.7, 193: 0.6,
    226: 0.4, 264: 0.1, 265: 0.05,
}  # fmt: skip
_GREEN_DROPOFFS = {
    75: 5.4, 74: 5.1, 236: 4.8, 238: 3.9, 41: 3.5, 166: 3.2, 42: 3.1, 263: 2.4, 95: 2.4, 239: 2.3, 138: 2.3, 151: 2.2,
    129: 2.1, 43: 1.7, 237: 1.7, 82: 1.4, 142: 1.4, 262: 1.4, 7: 1.4, 141: 1.4, 264: 0.3, 265: 0.4, 1: 0.05,
}  # fmt: skip
_REST_BY_BOROUGH: dict[str, tuple[float, ...]] = {  # EWR, Bronx, Manhattan, Queens, Brooklyn, Staten Island
    "yellow pickup": (0.0, 0.006, 0.25, 0.012, 0.02, 0.0005),
    "yellow dropoff": (0.1, 0.02, 0.4, 0.04, 0.06, 0.003),
    "green pickup": (0.0, 0.06, 0.02, 0.09, 0.09, 0.001),
    "green dropoff": (0.01, 0.25, 0.3, 0.3, 0.25, 0.01),
}
_NIGHTLIFE = (79, 148, 249, 114, 113, 48, 68, 90, 144, 145, 211, 232, 255, 256)
_BUSINESS = (161, 162, 163, 170, 186, 230, 100, 164, 234, 87, 88, 231, 237)
_HOMES = (236, 237, 238, 239, 141, 263, 262, 140, 151, 166, 24, 41, 42, 74, 75)
_NORTH_OF_60TH = (236, 237, 238, 239, 140, 141, 142, 143, 262, 263, 43, 151)

PART_OF_DAY: Ints = np.array([0] * 6 + [1] * 4 + [2] * 9 + [0] * 5)
_PARTS: tuple[dict[tuple[int, ...], float], ...] = (
    {_NIGHTLIFE: 2.6, _BUSINESS: 0.5},
    {_HOMES: 1.5, _NIGHTLIFE: 0.5},
    {_BUSINESS: 1.15},
)

# Trips by hour of the day, in percent or thereabouts.
_DAY = np.array([
    2.2, 1.4, 0.9, 0.6, 0.5, 0.6, 1.5, 2.9, 4.0, 4.3, 4.5, 4.8,
    5.2, 5.4, 5.8, 6.0, 6.1, 6.8, 7.2, 6.5, 5.9, 5.8, 5.2, 3.8,
])  # fmt: skip
_NIGHTS = np.array([
    5.2, 4.4, 3.5, 2.4, 1.5, 0.8, 0.9, 1.3, 2.0, 3.1, 4.1, 4.8,
    5.3, 5.5, 5.6, 5.6, 5.6, 5.8, 5.9, 5.5, 5.0, 5.0, 5.2, 5.3,
])  # fmt: skip
_GREEN = np.array([
    1.4, 1.0, 0.8, 0.6, 0.5, 0.5, 1.5, 4.2, 5.2, 5.5, 5.3, 5.3,
    5.3, 5.7, 6.4, 7.4, 7.8, 8.2, 7.8, 6.2, 4.6, 3.4, 2.7, 2.0,
])  # fmt: skip
HOUR_TRIPS: dict[Service, dict[str, Floats]] = {
    "yellow": {"week": _DAY / _DAY.sum(), "weekend": _NIGHTS / _NIGHTS.sum()},
    "green": {"week": _GREEN / _GREEN.sum(), "weekend": _NIGHTS / _NIGHTS.sum()},
}
LOCAL_DRAWS: dict[Service, int] = {"yellow": 0, "green": 4}
"""How often a drop-off in another borough is drawn again: green cabs stay near, yellow ones cross the rivers."""
WEEKDAY_TRIPS = (0.88, 0.98, 1.03, 1.08, 1.07, 1.08, 0.88)
SPEED_BY_HOUR: Floats = np.array(
    [15, 16, 17, 18, 18, 17, 14, 11, 9.5, 9, 9, 8.8, 8.7, 8.7, 8.6, 8.5, 8.6, 8.8, 9.5, 10.5, 11.5, 12, 13, 14]
)

PAYMENTS: dict[Service, dict[int, float]] = {
    "yellow": {1: 0.825, 2: 0.145, 3: 0.008, 4: 0.0219, 5: 0.0001},
    "green": {1: 0.690, 2: 0.299, 3: 0.0082, 4: 0.0024, 5: 0.0004},
}
VENDORS: dict[Service, dict[int, float]] = {"yellow": {1: 0.2, 2: 0.785, 7: 0.015}, "green": {1: 0.13, 2: 0.87}}
PASSENGERS = {1: 0.755, 2: 0.145, 3: 0.034, 4: 0.023, 5: 0.012, 6: 0.009, 0: 0.0215, 7: 0.0002, 8: 0.0002, 9: 0.0001}
UNEXPLAINED = {-2.5: 0.62, -1.0: 0.12, 2.5: 0.12, -0.75: 0.1, 1.75: 0.04}


def prices(month: str) -> dict[str, float]:
    """The tariff of a month, USD."""
    new = month >= "2023-01"
    return {
        "drop": 3.0 if new else 2.5,
        "unit": 0.7 if new else 0.5,
        "jfk": 70.0 if new else 52.0,
        "rush": 2.5 if new else 1.0,
        "night": 1.0 if new else 0.5,
        "improvement": 1.0 if new else 0.0 if month < "2015-01" else 0.3,
        "congestion_yellow": 2.5 if month >= "2019-02" else 0.0,
        "congestion_green": 2.75 if month >= "2019-02" else 0.0,
        "airport": 0.0 if month < "2021-01" else 1.75 if new else 1.25,
        "cbd": 0.75 if month >= "2025-01" else 0.0,
    }


@dataclass(frozen=True)
class _Zones:
    """The zone table as arrays; the first index of all is LocationID, of the weights the part of the day."""

    borough: Ints
    airport: Bools
    congestion: Bools
    cbd: Bools
    longitude: Floats
    latitude: Floats
    pickup: dict[Service, Floats]
    dropoff: dict[Service, Floats]


def _read_zones() -> _Zones:
    with Path(__file__).with_name("taxi_zone_lookup.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    borough = np.array([-1] + [_BOROUGHS.get(row["Borough"], -1) for row in rows])
    yellow_zone = np.array([False] + [row["service_zone"] == "Yellow Zone" for row in rows])
    number = np.arange(len(borough))
    # A spiral around the borough's centre gives each zone a point of its own.
    turn, centres = number * 2.4, np.array([*_CENTRES, (0.0, 0.0)])

    def cumulative(named: dict[int, float], rest: str) -> Floats:
        weights = np.array(
            [named.get(i, _REST_BY_BOROUGH[rest][borough[i]] if borough[i] >= 0 else 0.0) for i in number[1:]]
        )
        parts = []
        for part in _PARTS:
            scaled = weights.copy()
            for zones, factor in part.items():
                scaled[np.array(zones) - 1] *= factor
            parts.append(np.cumsum(scaled) / scaled.sum())
        stacked: Floats = np.array(parts)
        stacked[:, -1] = 1.0
        return stacked

    return _Zones(
        borough=borough,
        airport=np.isin(number, (NEWARK, JFK, LAGUARDIA)),
        congestion=yellow_zone,
        cbd=yellow_zone & ~np.isin(number, _NORTH_OF_60TH),
        longitude=centres[borough, 0] + 0.03 * np.cos(turn) * (borough >= 0),
        latitude=centres[borough, 1] + 0.03 * np.sin(turn) * (borough >= 0),
        pickup={
            "yellow": cumulative(_YELLOW_PICKUPS, "yellow pickup"),
            "green": cumulative(_GREEN_PICKUPS, "green pickup"),
        },
        dropoff={
            "yellow": cumulative({k: v for k, v in _YELLOW_PICKUPS.items() if k != NEWARK}, "yellow dropoff"),
            "green": cumulative(_GREEN_DROPOFFS, "green dropoff"),
        },
    )


ZONES = _read_zones()
