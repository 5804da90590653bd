"""Synthetic months of taxi trips that look and misbehave as TLC's do.

A month is written row group by row group, so memory does not grow with its rows. Everything follows from (service,
month, rows): the same three give the same file. Rows run in pick-up time, as they roughly do in the real files, and the
rows without passenger count, rate code, flag and congestion surcharge come as one block at the end.

Formats: https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page and the data dictionaries that it links to.
"""

import calendar
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from local.sandbox.newyork import (
    HOUR_TRIPS,
    JFK,
    LOCAL_DRAWS,
    MANHATTAN,
    NEWARK,
    OUTSIDE_NYC,
    PART_OF_DAY,
    PASSENGERS,
    PAYMENTS,
    SPEED_BY_HOUR,
    UNEXPLAINED,
    VENDORS,
    WEEKDAY_TRIPS,
    ZONES,
    Bools,
    Floats,
    Ints,
    Service,
    prices,
)

Columns = dict[str, npt.NDArray[Any]]

ROW_GROUP = 65_536
FIRST_MONTH: dict[Service, str] = {"yellow": "2009-01", "green": "2013-08"}


@dataclass(frozen=True)
class Rates:
    """How often a service's quirks come, as shares of all rows unless said otherwise.

    Yellow: measured over 29.7 million rows of January to August 2026. Green: over the 56,551 rows of January 2024.
    """

    null_block: float
    unknown_rate_code: float
    reversal: float
    zero_distance: float
    zero_duration: float
    total_differs: float
    outside_month_per_million: float
    absurd_distance_per_million: float
    duplicates_per_million: float
    longest_miles: float


RATES: dict[Service, Rates] = {
    "yellow": Rates(
        null_block=0.26, unknown_rate_code=0.026, reversal=0.0054, zero_distance=0.032, zero_duration=0.0125,
        total_differs=0.37, outside_month_per_million=8.2, absurd_distance_per_million=25, duplicates_per_million=0.236,
        longest_miles=328_522.0,
    ),
    "green": Rates(
        null_block=0.0604, unknown_rate_code=0.00005, reversal=0.0033, zero_distance=0.0507, zero_duration=0.0013,
        total_differs=0.142, outside_month_per_million=35, absurd_distance_per_million=800,
        duplicates_per_million=0.236, longest_miles=201_421.68,
    ),
}  # fmt: skip
RARE_FROM_ROWS = 10_000
"""A file of at least so many rows shows each of the rarest quirks, however small their rate."""

DISTANT_YEARS = ("2001-01-01 00:04:12", "2008-12-31 23:11:40", "2002-12-31 22:59:39", "2009-01-01 00:01:25")
"""Pick-ups of meters that lost their clock, as found in the real files."""


def write_month(service: Service, month: str, rows: int, path: Path) -> None:
    """Write a synthetic month as Parquet.

    Args:
        service: yellow or green.
        month: Such as 2024-01.
        rows: Rows of the file, quirks included.
        path: The file to write; its folder exists.
    """
    plan = _plan(service, month, rows)
    with pq.ParquetWriter(path, plan.schema, compression="snappy") as writer:
        for start in range(0, rows, ROW_GROUP):
            columns = _group(plan, start, min(start + ROW_GROUP, rows))
            writer.write_table(pa.Table.from_arrays(list(_typed(plan, columns)), schema=plan.schema))


# --- one month's plan -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    service: Service
    month: str
    rows: int
    rates: Rates
    schema: pa.Schema
    named: dict[str, str]
    """Column of the file -> column of the generator."""
    first_second: int
    """Start of the month, seconds since 1970 on New York's clocks."""
    hour_edges: Floats
    """Share of the month's trips that begin before each hour of it, 0 to 1."""
    metered: int
    """Rows before the block of nulls."""
    outside: dict[int, int]
    """Row -> pick-up second, for pick-ups outside the month."""
    absurd: dict[int, float]
    """Row -> miles."""
    duplicates: frozenset[int]
    """Rows that repeat the row before them exactly."""


def _plan(service: Service, month: str, rows: int) -> _Plan:
    year, number = (int(part) for part in month.split("-"))
    rates = RATES[service]
    first = _seconds(datetime(year, number, 1))
    days = calendar.monthrange(year, number)[1]
    weekdays = (np.arange(days) + calendar.weekday(year, number, 1)) % 7
    weights = np.concatenate(
        [WEEKDAY_TRIPS[day] * HOUR_TRIPS[service]["weekend" if day >= 5 else "week"] for day in weekdays]
    )
    metered = rows - round(rows * rates.null_block)
    rng = np.random.default_rng(_seed(service, month, rows, "rare rows"))
    at_outside = _places(rows, rates.outside_month_per_million, at_least=2)
    last = first + days * 86_400
    near = (first - 3 * 3600, last + 2 * 3600)
    outside = {
        row: _seconds(datetime.fromisoformat(DISTANT_YEARS[i // 2 % len(DISTANT_YEARS)])) + int(rng.random() * 3600)
        if i % 2 == 0
        else near[i // 2 % 2] + int(rng.random() * 1800)
        for i, row in enumerate(at_outside)
    }
    at_absurd = [row + 1 for row in _places(rows, rates.absurd_distance_per_million, at_least=1)]
    absurd = {row: round(float(1000 * (rates.longest_miles / 1000) ** rng.random()), 2) for row in at_absurd}
    duplicates = frozenset(row + 3 for row in _places(rows, rates.duplicates_per_million, at_least=1))
    schema, named = _schema(service, month)
    return _Plan(
        service=service, month=month, rows=rows, rates=rates, schema=schema, named=named, first_second=first,
        hour_edges=np.concatenate([[0.0], np.cumsum(weights) / weights.sum()]), metered=metered,
        outside=outside, absurd=absurd, duplicates=duplicates,
    )  # fmt: skip


def _places(rows: int, per_million: float, at_least: int) -> list[int]:
    """Rows for a rare quirk, spread evenly, and off the edges of row groups, so that their neighbours are in them."""
    count = max(round(rows * per_million / 1e6), at_least if rows >= RARE_FROM_ROWS else 0)
    spread = [int((i + 0.5) * rows / count) for i in range(count)]
    return [
        max(min(row, row // ROW_GROUP * ROW_GROUP + ROW_GROUP - 8, rows - 8), row // ROW_GROUP * ROW_GROUP + 8)
        for row in spread
    ]


# --- rows -------------------------------------------------------------------------------------------------------------


def _group(plan: _Plan, start: int, stop: int) -> Columns:
    """The rows [start, stop) as full columns; nulls are laid over them when they are typed."""
    rng = np.random.default_rng(_seed(plan.service, plan.month, plan.rows, str(start)))
    rates, count = plan.rates, stop - start
    row = np.arange(start, stop)
    in_block = row >= plan.metered
    main_share = max(1 - rates.null_block, 0.01)

    pickup = _pickup_seconds(plan, row, in_block, rng)
    hour, weekday = pickup % 86_400 // 3600, (pickup // 86_400 + 3) % 7
    pulocation = _zones(ZONES.pickup[plan.service], hour, rng)
    dolocation = _zones(ZONES.dropoff[plan.service], hour, rng)
    for _ in range(LOCAL_DRAWS[plan.service]):
        strays = ZONES.borough[dolocation] != ZONES.borough[pulocation]
        dolocation = np.where(strays, _zones(ZONES.dropoff[plan.service], hour, rng), dolocation)
    dolocation = np.where(rng.random(count) < 0.06, pulocation, dolocation)
    miles = _miles(pulocation, dolocation, rng)
    seconds = _duration_seconds(miles, hour, rng)

    reversal = ~in_block & (rng.random(count) < rates.reversal / main_share)
    reversal[0] = False
    reversal[1:] &= ~reversal[:-1]
    for special in (*plan.outside, *plan.absurd, *plan.duplicates):
        reversal[max(special - 1 - start, 0) : max(special + 2 - start, 0)] = False
    charge = np.append(reversal[1:], False)

    is_airport, in_congestion_zone, in_cbd = (
        lookup[pulocation] | lookup[dolocation] for lookup in (ZONES.airport, ZONES.congestion, ZONES.cbd)
    )
    rate_code = _rate_codes(plan, pulocation, dolocation, rng)
    payment = np.where(in_block, 0, _pick(rng, count, PAYMENTS[plan.service]))
    payment[charge] = np.where(rng.random(int(charge.sum())) < 0.74, 3, 4)
    vendor = _pick(rng, count, VENDORS[plan.service])

    tariff = prices(plan.month)
    fare = _fares(tariff, miles, seconds, rate_code, in_block, rng)
    rush = (hour >= 16) & (hour < 20) & (weekday < 5)
    night = (hour >= 20) | (hour < 6)
    extra = np.where(in_block, 0.0, np.select([rush, night], [tariff["rush"], tariff["night"]], 0.0))
    mta_tax = np.where(np.isin(rate_code, (3, 5)), 0.0, 0.5)
    congestion = np.where(in_congestion_zone, tariff["congestion_" + plan.service], 0.0)
    airport = np.where(ZONES.airport[pulocation] & ~in_block, tariff["airport"], 0.0)
    cbd = np.where(in_cbd, tariff["cbd"], 0.0)
    tolls = np.where(is_airport & (rng.random(count) < 0.42), 6.94, 0.0)
    tipped = np.where(in_block, rng.random(count) < 0.3, (payment == 1) & (rng.random(count) < 0.94)) & ~charge
    tip = np.where(tipped, np.round((fare + extra + congestion) * (0.15 + 0.15 * rng.random(count)), 2), 0.0)

    parts = np.round(fare + extra + mta_tax + tip + tolls + tariff["improvement"] + airport + cbd, 2)
    total = np.round(parts + np.where(in_block, 0.0, congestion), 2)
    total = np.round(total + _unexplained(plan, in_block, congestion, rng), 2)

    columns: Columns = {
        "vendor": np.where(in_block & (vendor == 1), 6, vendor),
        "pickup": pickup,
        "dropoff": pickup + seconds,
        "passengers": _pick(rng, count, PASSENGERS),
        "miles": miles,
        "rate_code": rate_code,
        "flag": np.where(rng.random(count) < 0.003, "Y", "N"),
        "pulocation": pulocation,
        "dolocation": dolocation,
        "payment": payment,
        "fare": fare,
        "extra": extra,
        "mta_tax": mta_tax,
        "tip": tip,
        "tolls": tolls,
        "improvement": np.full(count, tariff["improvement"]),
        "total": total,
        "congestion": congestion,
        "airport": airport,
        "cbd": cbd,
        # The column is known, its codes are not: these two are made up.
        "request_source": np.where(rng.random(count) < 0.3, "E-HAIL", "STREET"),
        "trip_type": np.where(rate_code == 5, 2, 1),
        "nothing": np.zeros(count),
        "in_block": in_block,
        **_coordinates("pickup", pulocation, rng),
        **_coordinates("dropoff", dolocation, rng),
    }
    _break_meters(plan, columns, row, rng)
    _reverse(columns, np.flatnonzero(reversal))
    for special in sorted(plan.duplicates):
        if start < special < stop:
            for column in columns.values():
                column[special - start] = column[special - start - 1]
    return columns


def _pickup_seconds(plan: _Plan, row: Ints, in_block: Bools, rng: np.random.Generator) -> Ints:
    """Times that run through the month, once for the metered rows and once more for the block."""
    of = np.where(in_block, plan.rows - plan.metered, plan.metered)
    place = (row - np.where(in_block, plan.metered, 0) + rng.random(len(row))) / np.maximum(of, 1)
    hours = np.interp(place, plan.hour_edges, np.arange(len(plan.hour_edges)))
    seconds = np.floor(hours * 3600).astype(np.int64) + plan.first_second
    for special, second in plan.outside.items():
        if row[0] <= special <= row[-1]:
            seconds[special - row[0]] = second
    return seconds


def _zones(by_part: Floats, hour: Ints, rng: np.random.Generator) -> Ints:
    """LocationIDs drawn from cumulative weights, one row of weights a part of the day."""
    part = PART_OF_DAY[hour]
    draw = rng.random(len(hour))
    found = np.zeros(len(hour), dtype=np.int64)
    for number, cumulative in enumerate(by_part):
        chosen = part == number
        found[chosen] = np.searchsorted(cumulative, draw[chosen], side="right") + 1
    return found


def _miles(pulocation: Ints, dolocation: Ints, rng: np.random.Generator) -> Floats:
    """Distances by where the zones lie: the same, an airport, both in Manhattan, in one borough, in two."""
    same = pulocation == dolocation
    boroughs = ZONES.borough[pulocation], ZONES.borough[dolocation]
    manhattan = (boroughs[0] == MANHATTAN) & (boroughs[1] == MANHATTAN)
    airport = ZONES.airport[pulocation] | ZONES.airport[dolocation]
    cases = [same, airport, manhattan, boroughs[0] == boroughs[1]]
    median = np.select(cases, [0.8, 12.0, 1.7, 2.2], 6.0)
    spread = np.select(cases, [0.5, 0.3, 0.6, 0.6], 0.45)
    drawn = median * np.exp(spread * rng.standard_normal(len(same)))
    rounded: Floats = np.round(np.clip(drawn, 0.01, 60.0), 2)
    return rounded


def _duration_seconds(miles: Floats, hour: Ints, rng: np.random.Generator) -> Ints:
    """Durations from a speed that rises at night and on long ways; one in a thousand runs on for nearly a day."""
    miles_an_hour = SPEED_BY_HOUR[hour] * (1 + np.clip(miles / 15, 0, 0.9))
    seconds = miles / miles_an_hour * 3600 * np.exp(0.25 * rng.standard_normal(len(miles))) + 45
    forgotten = rng.random(len(miles)) < 0.001
    whole: Ints = np.where(forgotten, 86_399 - np.floor(3000 * rng.random(len(miles))), np.ceil(seconds)).astype(
        np.int64
    )
    return whole


def _rate_codes(plan: _Plan, pulocation: Ints, dolocation: Ints, rng: np.random.Generator) -> Ints:
    count = len(pulocation)
    to_jfk = (pulocation == JFK) & (ZONES.borough[dolocation] == MANHATTAN) | (dolocation == JFK) & (
        ZONES.borough[pulocation] == MANHATTAN
    )
    negotiated = rng.random(count) < (0.035 if plan.service == "green" else 0.004)
    unknown = rng.random(count) < plan.rates.unknown_rate_code / max(1 - plan.rates.null_block, 0.01)
    beyond = (dolocation == OUTSIDE_NYC) & (rng.random(count) < 0.4)
    return np.select([unknown, to_jfk, dolocation == NEWARK, negotiated, beyond], [99, 2, 3, 5, 4], 1)


def _fares(
    tariff: dict[str, float], miles: Floats, seconds: Ints, rate_code: Ints, in_block: Bools, rng: np.random.Generator
) -> Floats:
    """Fares by the meter (a unit is a fifth of a mile or a minute at a standstill), flat to JFK, or agreed."""
    minutes = np.minimum(seconds, 7200) / 60
    units = np.round(5 * miles * 0.8 + minutes * 0.3)
    metered = tariff["drop"] + tariff["unit"] * units
    agreed = np.round(15 + 60 * rng.random(len(miles)))
    upfront = metered * np.exp(0.2 * rng.standard_normal(len(miles)))
    fares: Floats = np.round(
        np.select([in_block, rate_code == 2, rate_code == 5], [upfront, tariff["jfk"], agreed], metered), 2
    )
    return fares


def _coordinates(end: str, location: Ints, rng: np.random.Generator) -> Columns:
    """A point near the zone's, as the files of 2009 and 2010 have instead of it."""
    jitter = 0.01 * rng.random((2, len(location)))
    return {f"{end}_lon": ZONES.longitude[location] + jitter[0], f"{end}_lat": ZONES.latitude[location] + jitter[1]}


def _unexplained(plan: _Plan, in_block: Bools, congestion: Floats, rng: np.random.Generator) -> Floats:
    """What the total holds beyond its parts.

    In the block the surcharge is in the total but its column is null, so totals differ there; of the metered rows
    enough differ for the service's rate, by the amounts that vendors book twice or not at all.
    """
    count, rates = len(in_block), plan.rates
    every_block_row = plan.service == "yellow"
    in_block_share = 1.0 if every_block_row else 0.267
    share = (rates.total_differs - rates.null_block * in_block_share) / max(1 - rates.null_block, 0.01)
    hidden = np.where(congestion > 0, congestion, 0.5) * (rng.random(count) < in_block_share)
    return np.where(in_block, hidden, _pick(rng, count, UNEXPLAINED) * (rng.random(count) < share))


def _break_meters(plan: _Plan, columns: Columns, row: Ints, rng: np.random.Generator) -> None:
    """Zero and absurd distances, trips that end as they begin."""
    columns["miles"][rng.random(len(row)) < plan.rates.zero_distance] = 0.0
    stopped = rng.random(len(row)) < plan.rates.zero_duration
    columns["dropoff"][stopped] = columns["pickup"][stopped]
    for special, miles in plan.absurd.items():
        if row[0] <= special <= row[-1]:
            columns["miles"][special - row[0]] = miles


def _reverse(columns: Columns, reversals: npt.NDArray[np.intp]) -> None:
    """Turn each of the rows into the reversal of the charge before it: the same trip, every amount negated."""
    for name, column in columns.items():
        charge = column[reversals - 1]
        column[reversals] = -charge if name in AMOUNTS else charge


def _pick(rng: np.random.Generator, count: int, shares: dict[Any, float]) -> npt.NDArray[Any]:
    cumulative = np.cumsum(list(shares.values()))
    found = np.searchsorted(cumulative / cumulative[-1], rng.random(count), side="right")
    return np.array(list(shares))[found]


# --- columns as the file has them -------------------------------------------------------------------------------------

_INT32, _INT64, _DOUBLE, _TIME, _TEXT = pa.int32(), pa.int64(), pa.float64(), pa.timestamp("us"), pa.string()
_AMOUNT_COLUMNS = (
    ("fare_amount", "fare"),
    ("extra", "extra"),
    ("mta_tax", "mta_tax"),
    ("tip_amount", "tip"),
    ("tolls_amount", "tolls"),
)
AMOUNTS = frozenset(
    {"fare", "extra", "mta_tax", "tip", "tolls", "improvement", "total", "congestion", "airport", "cbd"}
)
_NULL_IN_BLOCK = frozenset({"passengers", "rate_code", "flag", "congestion", "airport"})
_NULL_IN_GREEN_BLOCK = frozenset({"payment", "trip_type"})


def _schema(service: Service, month: str) -> tuple[pa.Schema, dict[str, str]]:
    """Columns, types and generator columns of a month, with the drift of the real files."""
    if month < "2011-01":
        fields = _oldest_fields(month)
    elif service == "yellow":
        fields = _yellow_fields(month)
    else:
        fields = _green_fields(month)
    return pa.schema([(name, kind) for name, kind, _ in fields]), {name: column for name, _, column in fields}


_Fields = list[tuple[str, pa.DataType, str]]


def _yellow_fields(month: str) -> _Fields:
    new = month >= "2023-02"
    key, code, number = (_INT32, _INT64, _INT64) if new else (_INT64, _DOUBLE, _DOUBLE)
    return [
        ("VendorID", key, "vendor"),
        ("tpep_pickup_datetime", _TIME, "pickup"),
        ("tpep_dropoff_datetime", _TIME, "dropoff"),
        ("passenger_count", number, "passengers"),
        ("trip_distance", _DOUBLE, "miles"),
        ("RatecodeID", code, "rate_code"),
        ("store_and_fwd_flag", _TEXT, "flag"),
        ("PULocationID", key, "pulocation"),
        ("DOLocationID", key, "dolocation"),
        ("payment_type", _INT64, "payment"),
        *((name, _DOUBLE, column) for name, column in _AMOUNT_COLUMNS),
        ("improvement_surcharge", _DOUBLE, "improvement"),
        ("total_amount", _DOUBLE, "total"),
        ("congestion_surcharge", _DOUBLE, "congestion"),
        ("Airport_fee" if new else "airport_fee", _DOUBLE, "airport"),
        *([("cbd_congestion_fee", _DOUBLE, "cbd")] if month >= "2025-01" else []),
        *([("request_source", _TEXT, "request_source")] if month >= "2026-06" else []),
    ]


def _green_fields(month: str) -> _Fields:
    key = _INT32 if month >= "2023-02" else _INT64
    return [
        ("VendorID", key, "vendor"),
        ("lpep_pickup_datetime", _TIME, "pickup"),
        ("lpep_dropoff_datetime", _TIME, "dropoff"),
        ("store_and_fwd_flag", _TEXT, "flag"),
        ("RatecodeID", _DOUBLE, "rate_code"),
        ("PULocationID", key, "pulocation"),
        ("DOLocationID", key, "dolocation"),
        ("passenger_count", _DOUBLE, "passengers"),
        ("trip_distance", _DOUBLE, "miles"),
        *((name, _DOUBLE, column) for name, column in _AMOUNT_COLUMNS),
        ("ehail_fee", _DOUBLE, "nothing"),
        ("improvement_surcharge", _DOUBLE, "improvement"),
        ("total_amount", _DOUBLE, "total"),
        ("payment_type", _DOUBLE, "payment"),
        ("trip_type", _DOUBLE, "trip_type"),
        ("congestion_surcharge", _DOUBLE, "congestion"),
        *([("cbd_congestion_fee", _DOUBLE, "cbd")] if month >= "2025-01" else []),
    ]


def _oldest_fields(month: str) -> _Fields:
    """Yellow of 2009 and 2010: coordinates instead of zones, times and payments as text, other names each year."""
    nine = month < "2010-01"
    return [
        (name_2009 if nine else name_2010, kind, column)
        for name_2009, name_2010, kind, column in (
            ("vendor_name", "vendor_id", _TEXT, "vendor"),
            ("Trip_Pickup_DateTime", "pickup_datetime", _TEXT, "pickup"),
            ("Trip_Dropoff_DateTime", "dropoff_datetime", _TEXT, "dropoff"),
            ("Passenger_Count", "passenger_count", _INT64, "passengers"),
            ("Trip_Distance", "trip_distance", _DOUBLE, "miles"),
            ("Start_Lon", "pickup_longitude", _DOUBLE, "pickup_lon"),
            ("Start_Lat", "pickup_latitude", _DOUBLE, "pickup_lat"),
            ("Rate_Code", "rate_code", _DOUBLE if nine else _TEXT, "rate_code"),
            ("store_and_forward", "store_and_fwd_flag", _DOUBLE if nine else _TEXT, "nothing" if nine else "flag"),
            ("End_Lon", "dropoff_longitude", _DOUBLE, "dropoff_lon"),
            ("End_Lat", "dropoff_latitude", _DOUBLE, "dropoff_lat"),
            ("Payment_Type", "payment_type", _TEXT, "payment"),
            ("Fare_Amt", "fare_amount", _DOUBLE, "fare"),
            ("surcharge", "surcharge", _DOUBLE, "extra"),
            ("mta_tax", "mta_tax", _DOUBLE, "mta_tax"),
            ("Tip_Amt", "tip_amount", _DOUBLE, "tip"),
            ("Tolls_Amt", "tolls_amount", _DOUBLE, "tolls"),
            ("Total_Amt", "total_amount", _DOUBLE, "total"),
        )
    ]


def _typed(plan: _Plan, columns: Columns) -> Iterator[pa.Array]:
    """The file's columns in its types, with the nulls of the block and of amounts that did not exist yet."""
    for field in plan.schema:
        name = plan.named[field.name]
        values = columns[name]
        if name == "nothing" or _not_yet(name, plan.month):
            yield pa.nulls(len(values), field.type)
            continue
        null = name in _NULL_IN_BLOCK or (plan.service == "green" and name in _NULL_IN_GREEN_BLOCK)
        mask = columns["in_block"] if null else None
        if pa.types.is_string(field.type) and name in _AS_TEXT:
            values = _AS_TEXT[name](values)
        elif pa.types.is_timestamp(field.type):
            values = values * 1_000_000
        kind = pa.int64() if pa.types.is_timestamp(field.type) else field.type
        array = pa.array(values if pa.types.is_string(kind) else values.astype(kind.to_pandas_dtype()), kind, mask=mask)
        yield array.cast(field.type)


def _not_yet(name: str, month: str) -> bool:
    since = {"congestion": "2019-02", "airport": "2021-01", "improvement": "2015-01"}
    return month < since.get(name, "")


def _second_text(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    text: npt.NDArray[Any] = np.char.replace(np.datetime_as_string(values.astype("datetime64[s]")), "T", " ")
    return text


_AS_TEXT: dict[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    "pickup": _second_text,
    "dropoff": _second_text,
    "vendor": lambda values: np.where(values == 1, "CMT", "VTS"),
    "payment": lambda values: np.select(
        [values == 1, values == 3, values == 4], ["Credit", "No Charge", "Dispute"], "CASH"
    ),
    "rate_code": lambda values: values.astype(str),
}


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:8], "big")


def _seconds(moment: datetime) -> int:
    return calendar.timegm(moment.timetuple())
