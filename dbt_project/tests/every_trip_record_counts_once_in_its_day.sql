-- Trips, reversals and duplicates of a file's days add up to the file's records; what a file no longer has is 0.
with

counted as (

    select
        _landing_id,
        sum(trips + reversals + duplicates) as records
    from {{ ref('int_taxi_daily_by_file') }}
    where {{ run_filter() }}
    group by _landing_id

),

recorded as (

    select
        _landing_id,
        count(*) as records
    from {{ ref('fact_taxi_trip') }}
    where {{ run_filter() }}
    group by _landing_id

)

select
    counted._landing_id as counted_landing_id,
    recorded._landing_id as recorded_landing_id,
    counted.records as counted_records,
    recorded.records as recorded_records
from counted
full outer join recorded on counted._landing_id = recorded._landing_id
where coalesce(counted.records, 0) <> coalesce(recorded.records, 0)
