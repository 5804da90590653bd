with

source as (

    select * from {{ source('tlc', 'zones') }}

),

renamed as (

    select
        locationid as location_id,
        zone as zone_name,
        borough,
        service_zone,
        _landing_id,
        _row,
        _loaded_at
    from source

)

select * from renamed
