{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=['{{ join_by_hash() }}', '{{ delete_landed_months() }}'],
        indexes=[{'columns': ['_landing_id']}, {'columns': ['service', 'source_month']}],
        dist='even',
        sort=['source_month', 'pickup_at'],
    )
}}

{#- what makes two records of a file the same ride -#}
{%- set ride = [
    '_landing_id', 'pickup_at', 'dropoff_at', 'vendor_id', 'pickup_location_id', 'dropoff_location_id',
] | join(', ') %}

with

yellow_trips as (

    select * from {{ ref('stg_tlc__yellow_trips') }}
    where {{ landing_filter() }}

),

green_trips as (

    select * from {{ ref('stg_tlc__green_trips') }}
    where {{ landing_filter() }}

),

files as (

    select * from {{ ref('stg_tlc__trip_files') }}

),

pickup_zones as (

    select * from {{ ref('dim_zone') }}

),

dropoff_zones as (

    select * from {{ ref('dim_zone') }}

),

vendors as (

    select * from {{ ref('dim_vendor') }}

),

rate_codes as (

    select * from {{ ref('dim_rate_code') }}

),

payment_types as (

    select * from {{ ref('dim_payment_type') }}

),

pickup_dates as (

    select * from {{ ref('dim_date') }}

),

dropoff_dates as (

    select * from {{ ref('dim_date') }}

),

-- each service with the columns of both
yellow as {{ read_again() }} (

    select
        'yellow' as service,
        vendor_id,
        rate_code_id,
        payment_type_id,
        pickup_location_id,
        dropoff_location_id,
        cast(null as bigint) as trip_type_id,
        request_source,
        pickup_at,
        dropoff_at,
        passenger_count,
        trip_distance_miles,
        fare_amount_usd,
        extra_amount_usd,
        mta_tax_usd,
        tip_amount_usd,
        tolls_amount_usd,
        improvement_surcharge_usd,
        congestion_surcharge_usd,
        airport_fee_usd,
        cbd_congestion_fee_usd,
        cast(null as numeric(12, 2)) as ehail_fee_usd,
        total_amount_usd,
        is_store_and_forward,
        _landing_id,
        _row,
        _loaded_at
    from yellow_trips

),

green as {{ read_again() }} (

    select
        'green' as service,
        vendor_id,
        rate_code_id,
        payment_type_id,
        pickup_location_id,
        dropoff_location_id,
        trip_type_id,
        cast(null as text) as request_source,
        pickup_at,
        dropoff_at,
        passenger_count,
        trip_distance_miles,
        fare_amount_usd,
        extra_amount_usd,
        mta_tax_usd,
        tip_amount_usd,
        tolls_amount_usd,
        improvement_surcharge_usd,
        congestion_surcharge_usd,
        cast(null as numeric(12, 2)) as airport_fee_usd,
        cbd_congestion_fee_usd,
        ehail_fee_usd,
        total_amount_usd,
        is_store_and_forward,
        _landing_id,
        _row,
        _loaded_at
    from green_trips

),

trips as {{ read_again() }} (

    select * from yellow
    union all
    select * from green

),

-- rides that a file records more than once: few, so few rows need sorting for duplicates and reversals
repeated_rides as {{ read_once() }} (

    select
        {{ ride }}
    from trips
    group by {{ ride }}
    having count(*) > 1

),

-- each service by itself: before the union, the amounts of those few rows alone are converted
repeated_trips as (
    {% for service in ['yellow', 'green'] %}
    select {{ service }}.*
    from {{ service }}
    inner join repeated_rides
        on
            {{ service }}._landing_id = repeated_rides._landing_id
            and {{ service }}.pickup_at = repeated_rides.pickup_at
            and {{ service }}.dropoff_at = repeated_rides.dropoff_at
            and coalesce({{ service }}.vendor_id, -1) = coalesce(repeated_rides.vendor_id, -1)
            and coalesce({{ service }}.pickup_location_id, -1) = coalesce(repeated_rides.pickup_location_id, -1)
            and coalesce({{ service }}.dropoff_location_id, -1) = coalesce(repeated_rides.dropoff_location_id, -1)
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

repeats as (

    select
        *,
        row_number() over (
            partition by
                _landing_id,
                vendor_id,
                rate_code_id,
                payment_type_id,
                pickup_location_id,
                dropoff_location_id,
                trip_type_id,
                request_source,
                pickup_at,
                dropoff_at,
                passenger_count,
                trip_distance_miles,
                fare_amount_usd,
                extra_amount_usd,
                mta_tax_usd,
                tip_amount_usd,
                tolls_amount_usd,
                improvement_surcharge_usd,
                congestion_surcharge_usd,
                airport_fee_usd,
                cbd_congestion_fee_usd,
                ehail_fee_usd,
                total_amount_usd,
                is_store_and_forward
            order by _row
        ) as copy_number
    from repeated_trips

),

-- the n-th charge of an amount and the n-th reversal of it are a pair
matched as (

    select
        _landing_id,
        _row,
        copy_number,
        total_amount_usd,
        row_number() over (partition by {{ ride }}, total_amount_usd order by _row) as nth,
        sum(case when total_amount_usd > 0 then 1 else 0 end) over (
            partition by {{ ride }}, abs(total_amount_usd)
        ) as charges,
        sum(case when total_amount_usd < 0 then 1 else 0 end) over (
            partition by {{ ride }}, abs(total_amount_usd)
        ) as reversals
    from repeats

),

flagged as (

    select
        _landing_id,
        _row,
        copy_number > 1 as is_duplicate,
        total_amount_usd <> 0 and nth <= least(charges, reversals) as has_reversal_pair
    from matched

),

final as (

    select
        -- what it is
        files.first_trip_key + trips._row as trip_key,
        trips.service,
        files.source_month,

        -- dimensions
        {{ code_key('trips.vendor_id', 'vendors.vendor_key') }} as vendor_key,
        {{ code_key('trips.rate_code_id', 'rate_codes.rate_code_key') }} as rate_code_key,
        {{ code_key('trips.payment_type_id', 'payment_types.payment_type_key') }} as payment_type_key,
        {{ code_key('trips.pickup_location_id', 'pickup_zones.zone_key') }} as pickup_zone_key,
        {{ code_key('trips.dropoff_location_id', 'dropoff_zones.zone_key') }} as dropoff_zone_key,
        coalesce(pickup_dates.date_key, -1) as pickup_date_key,
        coalesce(dropoff_dates.date_key, -1) as dropoff_date_key,

        -- codes, as recorded
        trips.vendor_id,
        trips.rate_code_id,
        trips.payment_type_id,
        trips.pickup_location_id,
        trips.dropoff_location_id,
        trips.trip_type_id,
        trips.request_source,

        -- times, New York's clock
        trips.pickup_at,
        trips.dropoff_at,

        -- measures
        {{ seconds_between('trips.pickup_at', 'trips.dropoff_at') }} as trip_duration_seconds,
        trips.passenger_count,
        trips.trip_distance_miles,

        -- amounts
        trips.fare_amount_usd,
        trips.extra_amount_usd,
        trips.mta_tax_usd,
        trips.tip_amount_usd,
        trips.tolls_amount_usd,
        trips.improvement_surcharge_usd,
        trips.congestion_surcharge_usd,
        trips.airport_fee_usd,
        trips.cbd_congestion_fee_usd,
        trips.ehail_fee_usd,
        trips.total_amount_usd,

        -- flags: a quirk is kept and marked, never dropped
        trips.is_store_and_forward,
        coalesce(trips.total_amount_usd < 0, false) as is_reversal,
        coalesce(flagged.has_reversal_pair, false) as has_reversal_pair,
        coalesce(flagged.is_duplicate, false) as is_duplicate,
        trips.pickup_at < files.source_month or trips.pickup_at >= {{ dbt.dateadd('month', 1, 'files.source_month') }}
            as is_outside_source_month,
        coalesce(trips.trip_distance_miles = 0, false) as is_zero_distance,
        coalesce(
            trips.trip_distance_miles < 0
            or trips.trip_distance_miles > {{ var('taxi_implausible_distance_miles') }},
            false
        ) as is_distance_implausible,
        trips.dropoff_at = trips.pickup_at as is_zero_duration,
        trips.dropoff_at < trips.pickup_at as has_negative_duration,
        coalesce(
            trips.total_amount_usd
            <> coalesce(trips.fare_amount_usd, 0)
            + coalesce(trips.extra_amount_usd, 0)
            + coalesce(trips.mta_tax_usd, 0)
            + coalesce(trips.tip_amount_usd, 0)
            + coalesce(trips.tolls_amount_usd, 0)
            + coalesce(trips.improvement_surcharge_usd, 0)
            + coalesce(trips.congestion_surcharge_usd, 0)
            + coalesce(trips.airport_fee_usd, 0)
            + coalesce(trips.cbd_congestion_fee_usd, 0)
            + coalesce(trips.ehail_fee_usd, 0),
            false
        ) as is_total_mismatch,

        -- lineage
        trips._landing_id,
        trips._row,
        trips._loaded_at
    from trips
    -- left joins all: a trip that finds no match must fail the contract or get a placeholder, not vanish
    left join files on trips._landing_id = files._landing_id
    left join flagged on trips._landing_id = flagged._landing_id and trips._row = flagged._row
    left join vendors on trips.vendor_id = vendors.vendor_key
    left join rate_codes on trips.rate_code_id = rate_codes.rate_code_key
    left join payment_types on trips.payment_type_id = payment_types.payment_type_key
    left join pickup_zones on trips.pickup_location_id = pickup_zones.zone_key
    left join dropoff_zones on trips.dropoff_location_id = dropoff_zones.zone_key
    left join pickup_dates on cast(trips.pickup_at as date) = pickup_dates.date_day
    left join dropoff_dates on cast(trips.dropoff_at as date) = dropoff_dates.date_day

)

select * from final
