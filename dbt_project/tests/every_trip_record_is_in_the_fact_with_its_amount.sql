-- The fact has as many records of each landing, and as much money, as staging has.

with

staged as (

    select
        _landing_id,
        total_amount_usd
    from {{ ref('stg_tlc__yellow_trips') }}
    union all
    select
        _landing_id,
        total_amount_usd
    from {{ ref('stg_tlc__green_trips') }}

),

expected as (

    select
        _landing_id,
        count(*) as records,
        sum(total_amount_usd) as amount_usd
    from staged
    where {{ run_filter() }}
    group by _landing_id

),

found as (

    select
        _landing_id,
        count(*) as records,
        sum(total_amount_usd) as amount_usd
    from {{ ref('fact_taxi_trip') }}
    where {{ run_filter() }}
    group by _landing_id

)

select
    expected._landing_id as expected_landing_id,
    found._landing_id as found_landing_id,
    expected.records as expected_records,
    found.records as found_records,
    expected.amount_usd as expected_amount_usd,
    found.amount_usd as found_amount_usd
from expected
full outer join found on expected._landing_id = found._landing_id
where
    expected.records is null
    or found.records is null
    or expected.records <> found.records
    or coalesce(expected.amount_usd, 0) <> coalesce(found.amount_usd, 0)
