with

source as (

    select * from {{ source('driven', 'sessions') }}

),

renamed as (

    select
        -- what and when
        {{ json_text('payload', ['unique_id']) }} as unique_id,
        cast({{ json_text('payload', ['accessed_at']) }} as timestamp) as accessed_at,

        -- subscriber
        {{ json_text('payload', ['person_name']) }} as person_name,
        {{ json_text('payload', ['user_name']) }} as user_name,
        {{ json_text('payload', ['email']) }} as email,
        {{ json_text('payload', ['personal_number']) }} as personal_number,
        {{ json_text('payload', ['birth_date']) }} as birth_date,
        {{ json_text('payload', ['address']) }} as address,
        {{ json_text('payload', ['phone']) }} as phone,

        -- device and bank account
        {{ json_text('payload', ['mac_address']) }} as mac_address,
        {{ json_text('payload', ['ip_address']) }} as ip_address,
        {{ json_text('payload', ['iban']) }} as iban,

        -- measures
        {{ json_number('payload', ['session_duration'], 'integer') }} as session_duration_seconds,
        {{ json_number('payload', ['download_speed'], 'integer') }} as download_speed_mbps,
        {{ json_number('payload', ['upload_speed'], 'integer') }} as upload_speed_mbps,
        {{ json_number('payload', ['consumed_traffic'], 'bigint') }} as consumed_traffic_kilobytes,

        -- lineage
        _landing_id,
        _row,
        _loaded_at
    from source

)

select * from renamed
