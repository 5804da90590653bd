"""The subjects of the report, as data: which published tables they need and which aggregates they show.

A query reads few columns and gives few rows; none of them names a person, an address or an account. What bounds it is
`_landing_id` (the time of the landing, indexed) or the primary key, so that it costs the same in later years.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DAYS = 31
"""how many days a chart goes back"""


@dataclass(frozen=True)
class Measure:
    """A column of a subject's days: its newest value is a key figure, and the days a chart where it has a title."""

    column: str
    label: str
    unit: str = ""
    chart: str = ""


@dataclass(frozen=True)
class Groups:
    """A chart by name: the query gives label, value and, for ranges, low and high; at most 20 rows."""

    sql: str
    title: str
    unit: str
    kind: Literal["bars", "ranges"]


@dataclass(frozen=True)
class Subject:
    """One section of the report.

    Attributes:
        name: Short name.
        title: Heading.
        source: The source that publishes it.
        tables: Of the schema analytics; while one is not there, the subject is missing.
        days: Query of a row a day (`day` and the measures' columns), oldest first.
        measures: What of the days is shown.
        groups: A chart by name.
        figures: Query of further key figures: label, value, unit, note.
    """

    name: str
    title: str
    source: str
    tables: tuple[str, ...]
    days: str = ""
    measures: tuple[Measure, ...] = ()
    groups: Groups | None = None
    figures: str = ""


# A file of a month has a few trips of other days: days with less than a hundredth of the busiest day's trips are such.
_TAXI_DAYS = """
with newest as (
    select trip_date as day, sum(trips) as trips, sum(revenue_usd) as revenue_usd, sum(distance_miles) as distance_miles
    from analytics.taxi_daily where trip_date <= %(today)s
    group by trip_date order by trip_date desc limit %(three_times_the_days)s
),
busy as (
    select * from newest where trips * 100 >= (select max(trips) from newest)
    order by day desc limit %(days)s
)
select day, trips, revenue_usd, revenue_usd / nullif(trips, 0) as revenue_per_trip_usd from busy order by day
"""

_TEMPERATURES = """
with seen as (
    select
        city_id, temperature_celsius, row_number() over (partition by city_id order by observed_at desc) as place
    from analytics.fact_weather_observation
    where
        _landing_id >= %(landed_since)s and observed_at >= %(since)s and observed_at < %(until)s
        and temperature_celsius is not null
),
newest as (
    select
        city_id, max(case when place = 1 then temperature_celsius end) as value,
        min(temperature_celsius) as low, max(temperature_celsius) as high
    from seen group by city_id
)
select city_name as label, value, low, high
from newest inner join analytics.dim_city using (city_id) order by value desc, city_name limit 20
"""
_WEATHER_FIGURES = """
with observed as (
    select city_id, city_name, temperature_celsius
    from analytics.fact_weather_observation inner join analytics.dim_city using (city_id)
    where
        fact_weather_observation._landing_id >= %(landed_since)s
        and observed_at >= %(since)s and observed_at < %(until)s
)
(
    select 'Highest' as label, temperature_celsius as value, '°C' as unit, city_name as note
    from observed where temperature_celsius is not null order by 2 desc, city_name limit 1
)
union all (
    select 'Lowest', temperature_celsius, '°C', city_name
    from observed where temperature_celsius is not null order by 2, city_name limit 1
)
union all
select 'Observations', count(*), '', cast(count(distinct city_id) as varchar(20)) || ' cities, 24 hours' from observed
"""

_BROADBAND_DAYS = """
with usage as (
    select
        accessed_at::date as day, count(*) as sessions, sum(consumed_traffic_kilobytes) / 1e6 as traffic_gb,
        avg(download_speed_mbps) as download_mbps
    from analytics.fact_network_usage
    where _landing_id >= %(landed_since)s and accessed_at < %(whole_days_before)s
    group by 1 order by 1 desc limit %(days)s
),
payments as (
    select accessed_at::date as day, sum(payment_amount) as payments
    from analytics.payment_data
    where
        _landing_id >= %(landed_since)s and accessed_at < %(whole_days_before)s
        and accessed_at >= (select min(day) from usage)
    group by 1
)
select day, sessions, traffic_gb, download_mbps, payments from usage left join payments using (day) order by day
"""

_NFT_DAYS = """
select
    snapshot_date as day, count(*) as nfts, sum(estimated_value_usd) as value_usd
from analytics.fact_nft_snapshot
where _landing_id >= %(landed_since)s and snapshot_date <= %(today)s
group by snapshot_date order by snapshot_date
"""
_NFT_COLLECTIONS = """
with snapshots as (
    select collection_id, snapshot_date, estimated_value_usd
    from analytics.fact_nft_snapshot
    where _landing_id >= %(landed_since)s and snapshot_date <= %(today)s
),
worth as (
    select collection_id, sum(estimated_value_usd) as value
    from snapshots where snapshot_date = (select max(snapshot_date) from snapshots)
    group by collection_id
)
select coalesce(collection_name, collection_id) as label, value
from worth inner join analytics.dim_nft_collection using (collection_id)
where value is not null order by value desc, 1 limit 8
"""
_NFT_FIGURES = """
with newest as (
    select *, rank() over (order by snapshot_date desc) as age
    from analytics.fact_nft_collection_snapshot
    where _landing_id >= %(landed_since)s and snapshot_date <= %(today)s
)
select 'Sales' as label, sum(one_day_sales) as value, '' as unit, 'in one day' as note from newest where age = 1
"""

_POST_DAYS = """
with newest as (
    select
        (posted_at at time zone 'UTC')::date as day, count(*) as posts, sum(engagements) as engagements,
        sum(impressions) as impressions
    from analytics.fact_post
    where _landing_id >= %(landed_since)s and posted_at < %(whole_days_before)s
    group by 1 order by 1 desc limit %(days)s
)
select day, posts, engagements, impressions from newest order by day
"""
# the counts of a post are all since it was posted: what a day has added is the difference of two days' counts
_SOCIAL_FIGURES = """
with counts as (
    select post_id, snapshot_date, engagements, dense_rank() over (order by snapshot_date desc) as age
    from analytics.fact_post_engagement
    where _landing_id >= %(landed_since)s and snapshot_date <= %(today)s
)
select
    'Engagements gained' as label, sum(newer.engagements - older.engagements) as value, '' as unit,
    'by ' || cast(count(*) as varchar(20)) || ' posts since ' || cast(max(older.snapshot_date) as varchar(20)) as note
from counts as newer inner join counts as older using (post_id)
where newer.age = 1 and older.age = 2
having count(*) > 0
"""

SUBJECTS = (
    Subject(
        "taxi",
        "New York taxi",
        "tlc",
        tables=("taxi_daily",),
        days=_TAXI_DAYS,
        measures=(
            Measure("trips", "Trips", chart="Trips by day"),
            Measure("revenue_usd", "Revenue", "USD", chart="Revenue by day"),
            Measure("revenue_per_trip_usd", "Revenue a trip", "USD"),
        ),
    ),
    Subject(
        "weather",
        "Weather",
        "openweather",
        tables=("fact_weather_observation", "dim_city"),
        groups=Groups(_TEMPERATURES, "Temperature by city: now, and its range in 24 hours", "°C", "ranges"),
        figures=_WEATHER_FIGURES,
    ),
    Subject(
        "broadband",
        "Broadband",
        "driven",
        tables=("fact_network_usage", "payment_data"),
        days=_BROADBAND_DAYS,
        measures=(
            Measure("sessions", "Sessions"),
            Measure("traffic_gb", "Traffic", "GB", chart="Traffic by day"),
            Measure("payments", "Payments", chart="Payments by day"),
            Measure("download_mbps", "Average download", "Mbit/s"),
        ),
    ),
    Subject(
        "nft",
        "NFTs",
        "opensea",
        tables=("fact_nft_snapshot", "fact_nft_collection_snapshot", "dim_nft_collection"),
        days=_NFT_DAYS,
        measures=(
            Measure("nfts", "NFTs"),
            Measure("value_usd", "Estimated value", "USD", chart="Estimated value by day"),
        ),
        groups=Groups(_NFT_COLLECTIONS, "Estimated value by collection", "USD", "bars"),
        figures=_NFT_FIGURES,
    ),
    Subject(
        "social",
        "Posts on X",
        "x",
        tables=("fact_post", "fact_post_engagement"),
        days=_POST_DAYS,
        measures=(
            Measure("posts", "Posts", chart="Posts by day"),
            Measure("engagements", "Engagements", chart="Engagements by day of the post"),
            Measure("impressions", "Impressions"),
        ),
        figures=_SOCIAL_FIGURES,
    ),
)
