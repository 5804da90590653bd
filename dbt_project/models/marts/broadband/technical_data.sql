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

        -- line
        address,
        mac_address,
        ip_address,

        -- measures
        download_speed_mbps,
        upload_speed_mbps,
        cast(session_duration_seconds / 60.0 as numeric(10, 1)) as session_duration_minutes,

        -- verdict
        coalesce(
            download_speed_mbps < {{ var('broadband_least_download_mbps') }}
            or upload_speed_mbps < {{ var('broadband_least_upload_mbps') }}
            or session_duration_seconds < {{ var('broadband_least_session_seconds') }},
            false
        ) as has_technical_issue,

        -- lineage
        _landing_id,
        _row
    from sessions

)

select * from final
