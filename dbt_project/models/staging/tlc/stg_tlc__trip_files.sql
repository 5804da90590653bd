with

source as (

    select * from {{ source('tlc', 'landings') }}

),

-- the landings whose rows are in raw: a later landing of the same month has not taken their place
held as (

    select
        landing_id,
        case entity when 'yellow_trips' then 'yellow' else 'green' end as service,
        case entity when 'yellow_trips' then 1 else 2 end as service_number,
        cast("partition" || '-01' as date) as source_month,
        cast(replace("partition", '-', '') as bigint) as month_number,
        loaded_at
    from source
    where
        source = 'tlc'
        and entity in ('yellow_trips', 'green_trips')
        and loaded_at is not null
        and superseded_by is null

),

renamed as (

    select
        service,
        source_month,
        (month_number * 10 + service_number) * 1000000000 as first_trip_key,
        loaded_at,
        landing_id as _landing_id
    from held

)

select * from renamed
