-- A day that this run has touched has what all the files have of it.
with

days as (

    select * from {{ ref('taxi_daily') }}
    where {{ run_filter() }}

),

by_file as (

    select
        trip_date,
        service,
        pickup_borough,
        sum(trips) as trips,
        sum(revenue_usd) as revenue_usd,
        sum(distance_miles) as distance_miles
    from {{ ref('int_taxi_daily_by_file') }}
    group by
        trip_date,
        service,
        pickup_borough

)

select
    days.trip_date,
    days.service,
    days.pickup_borough,
    days.trips,
    by_file.trips as trips_by_file
from days
left join by_file
    on
        days.trip_date = by_file.trip_date
        and days.service = by_file.service
        and days.pickup_borough = by_file.pickup_borough
where
    days.trips <> coalesce(by_file.trips, 0)
    or days.revenue_usd <> coalesce(by_file.revenue_usd, 0)
    or days.distance_miles <> coalesce(by_file.distance_miles, 0)
