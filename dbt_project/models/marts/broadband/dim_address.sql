{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='address_key',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}],
        dist='person_id',
        sort='address_key',
    )
}}

with

sessions as (

    select * from {{ ref('int_driven_sessions') }}
    where {{ landing_filter() }}

),

final as (

    select
        address_key,
        person_id,
        address,
        mac_address,
        ip_address,
        max(_landing_id) as _landing_id
    from sessions
    group by
        address_key,
        person_id,
        address,
        mac_address,
        ip_address

)

select * from final
