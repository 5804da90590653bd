{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['service', 'source_month', 'trip_date', 'pickup_borough'],
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}, {'columns': ['service', 'trip_date']}],
        dist='even',
        sort='trip_date',
    )
}}

with

trips as (

    select * from {{ ref('fact_taxi_trip') }}
    where {{ landing_filter() }}

),

zones as (

    select * from {{ ref('dim_zone') }}

),

files as (

    select * from {{ ref('stg_tlc__trip_files') }}
    where {{ landing_filter() }}

),

daily as (

    select
        trips.service,
        trips.source_month,
        cast(trips.pickup_at as date) as trip_date,
        zones.borough as pickup_borough,
        max(trips.pickup_date_key) as date_key,
        sum(case when trips.is_reversal or trips.is_duplicate then 0 else 1 end) as trips,
        sum(case when trips.is_reversal and not trips.is_duplicate then 1 else 0 end) as reversals,
        sum(case when trips.is_duplicate then 1 else 0 end) as duplicates,
        sum(case when trips.is_duplicate then 0 else coalesce(trips.total_amount_usd, 0) end) as revenue_usd,
        sum(
            case
                when trips.is_reversal or trips.is_duplicate or trips.is_distance_implausible then 0
                else coalesce(trips.trip_distance_miles, 0)
            end
        ) as distance_miles,
        max(trips._landing_id) as _landing_id
    from trips
    left join zones on trips.pickup_zone_key = zones.zone_key
    group by
        trips.service,
        trips.source_month,
        cast(trips.pickup_at as date),
        zones.borough

),

-- what the model holds of these files from earlier landings
held as (

    select
        service,
        source_month,
        trip_date,
        pickup_borough,
        date_key
    {% if is_incremental() %}
    from {{ this }}
    {% else %}
    from daily
    where false
    {% endif %}

),

-- what an earlier landing of the month had and this one has not: nothing is left of it
vanished as (

    select
        held.service,
        held.source_month,
        held.trip_date,
        held.pickup_borough,
        held.date_key,
        0 as trips,
        0 as reversals,
        0 as duplicates,
        0 as revenue_usd,
        0 as distance_miles,
        files._landing_id
    from held
    inner join files on held.service = files.service and held.source_month = files.source_month
    where
        not exists (
            select 1
            from daily
            where
                daily.service = held.service
                and daily.source_month = held.source_month
                and daily.trip_date = held.trip_date
                and daily.pickup_borough = held.pickup_borough
        )

),

united as (

    select * from daily
    union all
    select * from vanished

),

final as (

    select
        service,
        source_month,
        trip_date,
        pickup_borough,
        date_key,
        trips,
        reversals,
        duplicates,
        cast(revenue_usd as numeric(14, 2)) as revenue_usd,
        cast(distance_miles as numeric(14, 2)) as distance_miles,
        _landing_id
    from united

)

select * from final
