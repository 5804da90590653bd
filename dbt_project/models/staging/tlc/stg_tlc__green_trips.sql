-- without CTEs: from a view that has some, Postgres converts all amounts of all rows before it joins them
select
    -- codes, as recorded
    vendorid as vendor_id,
    ratecodeid as rate_code_id,
    payment_type as payment_type_id,
    pulocationid as pickup_location_id,
    dolocationid as dropoff_location_id,
    trip_type as trip_type_id,

    -- times, New York's clock
    lpep_pickup_datetime as pickup_at,
    lpep_dropoff_datetime as dropoff_at,

    -- measures
    passenger_count,
    {{ two_decimals('trip_distance') }} as trip_distance_miles,

    -- amounts
    {{ usd('fare_amount') }} as fare_amount_usd,
    {{ usd('extra') }} as extra_amount_usd,
    {{ usd('mta_tax') }} as mta_tax_usd,
    {{ usd('tip_amount') }} as tip_amount_usd,
    {{ usd('tolls_amount') }} as tolls_amount_usd,
    {{ usd('improvement_surcharge') }} as improvement_surcharge_usd,
    {{ usd('congestion_surcharge') }} as congestion_surcharge_usd,
    {{ usd('cbd_congestion_fee') }} as cbd_congestion_fee_usd,
    {{ usd('ehail_fee') }} as ehail_fee_usd,
    {{ usd('total_amount') }} as total_amount_usd,

    -- flags
    case store_and_fwd_flag when 'Y' then true when 'N' then false end as is_store_and_forward,

    -- lineage
    _landing_id,
    _row,
    _loaded_at
from {{ source('tlc', 'green_trips') }}
