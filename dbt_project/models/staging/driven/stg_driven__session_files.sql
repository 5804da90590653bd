with

source as (

    select * from {{ source('driven', 'session_files') }}

),

-- a file may hold a session twice, and two files the same one: a landing's last record of it stands
ranked as (

    select
        *,
        row_number() over (partition by _landing_id, unique_id order by _row desc) as last_first
    from source

),

renamed as (

    select
        -- what and when
        unique_id,
        accessed_at,

        -- subscriber
        person_name,
        user_name,
        email,
        personal_number,
        birth_date,
        address,
        phone,

        -- device and bank account
        mac_address,
        ip_address,
        iban,

        -- measures
        cast(session_duration as integer) as session_duration_seconds,
        cast(download_speed as integer) as download_speed_mbps,
        cast(upload_speed as integer) as upload_speed_mbps,
        consumed_traffic as consumed_traffic_kilobytes,

        -- lineage
        _landing_id,
        _row,
        _loaded_at
    from ranked
    where last_first = 1

)

select * from renamed
