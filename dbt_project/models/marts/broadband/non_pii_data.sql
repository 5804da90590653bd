{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='unique_id',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}, {'columns': ['accessed_at']}],
        dist='unique_id',
        sort='accessed_at',
    )
}}

with

sessions as (

    select * from {{ ref('int_driven_sessions') }}
    where {{ landing_filter() }}

),

final as (

    select
        -- what it is
        unique_id,
        accessed_at,

        -- subscriber
        {{ masked() }} as person_name,
        {{ masked_after_five('user_name') }} as user_name,
        {{ masked_after_five('email') }} as email,
        {{ masked() }} as personal_number,
        {{ masked() }} as birth_date,
        {{ masked() }} as address,
        {{ masked() }} as phone,

        -- device and bank account
        {{ masked_after_five('mac_address') }} as mac_address,
        {{ masked_after_five('ip_address') }} as ip_address,
        {{ masked_after_five('iban') }} as iban,

        -- measures
        session_duration_seconds,
        download_speed_mbps,
        upload_speed_mbps,
        consumed_traffic_kilobytes,

        -- lineage
        _landing_id,
        _row
    from sessions

)

select * from final
