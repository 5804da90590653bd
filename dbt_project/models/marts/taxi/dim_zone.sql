{{ config(materialized='table', dist='all', sort='zone_key') }}

with

zones as (

    select * from {{ ref('stg_tlc__zones') }}

),

listed as (

    select
        cast(location_id as integer) as zone_key,
        zone_name,
        borough,
        service_zone,
        true as is_listed,
        _landing_id,
        _row
    from zones

),

-- so that every trip has a zone: one for trips without a location, one for locations that the list lacks
unlisted as (

    select
        -1 as zone_key,
        'Not recorded' as zone_name,
        'Not recorded' as borough,
        'Not recorded' as service_zone,
        false as is_listed,
        cast(null as bigint) as _landing_id,
        cast(null as bigint) as _row
    union all
    select
        -2 as zone_key,
        'Not in the zone list' as zone_name,
        'Not in the zone list' as borough,
        'Not in the zone list' as service_zone,
        false as is_listed,
        cast(null as bigint) as _landing_id,
        cast(null as bigint) as _row

),

final as (

    select * from listed
    union all
    select * from unlisted

)

select * from final
