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
