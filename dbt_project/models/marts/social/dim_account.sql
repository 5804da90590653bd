{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='account_id',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}],
        dist='all',
        sort='account_id',
    )
}}

with

accounts as (

    select * from {{ ref('stg_x__accounts') }}
    where {{ landing_filter() }}

),

final as (

    select
        account_id,
        username,
        account_name,
        description,
        account_location,
        url,
        profile_image_url,
        joined_at,
        is_verified,
        verified_type,
        is_protected,
        followers,
        follows,
        posts,
        listings,
        _landing_id,
        _row
    from accounts

)

select * from final
