{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['city_id', 'observed_at'],
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}, {'columns': ['observed_at']}],
        dist='city_id',
        sort='observed_at',
    )
}}

with

observations as (

    select * from {{ ref('stg_openweather__observations') }}
    where {{ landing_filter() }}

),

cities as (

    select * from {{ ref('dim_city') }}

),

dates as (

    select * from {{ ref('dim_date') }}

),

local_times as (

    select
        *,
        {{ local_time('observed_at', 'utc_offset_seconds') }} as observed_at_local,
        {{ local_time('sunrise_at', 'utc_offset_seconds') }} as sunrise_at_local,
        {{ local_time('sunset_at', 'utc_offset_seconds') }} as sunset_at_local
    from observations

),

final as (

    select
        -- what and when
        cities.city_id,
        observations.observed_at,
        observations.observed_at_local,
        observations.utc_offset_seconds,
        coalesce(dates.date_key, -1) as local_date_key,

        -- condition
        observations.condition_id,
        observations.condition_group,
        observations.condition_description,

        -- measures
        {{ kelvin_to_celsius('observations.temperature_kelvin') }} as temperature_celsius,
        {{ kelvin_to_fahrenheit('observations.temperature_kelvin') }} as temperature_fahrenheit,
        {{ kelvin_to_celsius('observations.feels_like_kelvin') }} as feels_like_celsius,
        {{ kelvin_to_fahrenheit('observations.feels_like_kelvin') }} as feels_like_fahrenheit,
        {{ kelvin_to_celsius('observations.temperature_min_kelvin') }} as temperature_min_celsius,
        {{ kelvin_to_fahrenheit('observations.temperature_min_kelvin') }} as temperature_min_fahrenheit,
        {{ kelvin_to_celsius('observations.temperature_max_kelvin') }} as temperature_max_celsius,
        {{ kelvin_to_fahrenheit('observations.temperature_max_kelvin') }} as temperature_max_fahrenheit,
        observations.pressure_hpa,
        observations.sea_level_pressure_hpa,
        observations.ground_level_pressure_hpa,
        observations.humidity_percent,
        observations.visibility_meters,
        observations.wind_speed_mps,
        observations.wind_direction_degrees,
        observations.wind_gust_mps,
        observations.clouds_percent,
        observations.rain_1h_mm,
        observations.rain_3h_mm,
        observations.snow_1h_mm,
        observations.snow_3h_mm,

        -- sun
        observations.sunrise_at,
        observations.sunset_at,
        observations.sunrise_at_local,
        observations.sunset_at_local,

        -- lineage
        observations._landing_id,
        observations._row,
        observations._loaded_at
    from local_times as observations
    -- an observation whose city is not in dim_city has no city_id then, which the contract refuses
    left join cities on observations.city_id = cities.city_id
    left join dates on cast(observations.observed_at_local as date) = dates.date_day

)

select * from final
