{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='city_id',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}],
        dist='all',
        sort='city_id',
    )
}}

with

observations as (

    select * from {{ ref('stg_openweather__observations') }}
    where {{ landing_filter() }}

),

ranked as (

    select
        *,
        row_number() over (partition by city_id order by observed_at desc, _landing_id desc, _row desc) as newest_first
    from observations

),

final as (

    select
        city_id,
        city_name,
        country_code,
        latitude_degrees,
        longitude_degrees,
        utc_offset_seconds,
        observed_at as last_observed_at,
        _landing_id,
        _row
    from ranked
    where newest_first = 1

)

select * from final
{% if is_incremental() %}
-- an hour that is loaded late does not undo what a newer one has said
where
    not exists (
        select 1
        from {{ this }} as held
        where held.city_id = final.city_id and held.last_observed_at > final.last_observed_at
    )
{% endif %}
