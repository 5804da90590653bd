{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['trip_date', 'service', 'pickup_borough'],
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}, {'columns': ['trip_date']}],
        dist='even',
        sort='trip_date',
    )
}}

with

by_file as (

    select * from {{ ref('int_taxi_daily_by_file') }}

),

-- what this run's files have changed, and by which landing
touched as (

    select
        trip_date,
        service,
        pickup_borough,
        max(_landing_id) as _landing_id
    from by_file
    where {{ landing_filter() }}
    group by
        trip_date,
        service,
        pickup_borough

),

-- a day's trips may come from the files of several months
final as (

    select
        touched.trip_date,
        touched.service,
        touched.pickup_borough,
        max(by_file.date_key) as date_key,
        cast(sum(by_file.trips) as bigint) as trips,
        cast(sum(by_file.reversals) as bigint) as reversals,
        cast(sum(by_file.duplicates) as bigint) as duplicates,
        cast(sum(by_file.revenue_usd) as numeric(14, 2)) as revenue_usd,
        cast(sum(by_file.distance_miles) as numeric(14, 2)) as distance_miles,
        max(touched._landing_id) as _landing_id
    from touched
    inner join by_file
        on
            touched.trip_date = by_file.trip_date
            and touched.service = by_file.service
            and touched.pickup_borough = by_file.pickup_borough
    group by
        touched.trip_date,
        touched.service,
        touched.pickup_borough

)

select * from final
