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

exact as (

    select
        *,
        cast(session_duration_seconds as numeric(20, 10)) as duration,
        cast(download_speed_mbps as numeric(20, 10)) as download,
        cast(upload_speed_mbps as numeric(20, 10)) as upload,
        cast(consumed_traffic_kilobytes as numeric(20, 10)) as traffic
    from sessions

),

final as (

    select
        -- what it is
        unique_id,
        accessed_at,
        iban,

        -- measures
        session_duration_seconds,
        download_speed_mbps,
        upload_speed_mbps,
        consumed_traffic_kilobytes,

        -- bill
        cast((download + upload + 1) / 2 + traffic / (duration + 1) as numeric(20, 10)) as payment_amount,

        -- lineage
        _landing_id,
        _row
    from exact

)

select * from final
