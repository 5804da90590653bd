with

source as (

    select * from {{ source('openweather', 'observations') }}

),

renamed as (

    select
        -- what and when
        {{ json_number('payload', ['id'], 'bigint') }} as city_id,
        {{ epoch_to_timestamp(json_number('payload', ['dt'], 'bigint')) }} as observed_at,

        -- city
        {{ json_text('payload', ['name']) }} as city_name,
        {{ json_text('payload', ['sys', 'country']) }} as country_code,
        {{ json_number('payload', ['coord', 'lat'], 'numeric(8, 5)') }} as latitude_degrees,
        {{ json_number('payload', ['coord', 'lon'], 'numeric(8, 5)') }} as longitude_degrees,
        {{ json_number('payload', ['timezone'], 'integer') }} as utc_offset_seconds,

        -- condition: the first is the one that OpenWeather calls primary
        {{ json_number('payload', ['weather', 0, 'id'], 'integer') }} as condition_id,
        {{ json_text('payload', ['weather', 0, 'main']) }} as condition_group,
        {{ json_text('payload', ['weather', 0, 'description']) }} as condition_description,

        -- measures
        {{ json_number('payload', ['main', 'temp']) }} as temperature_kelvin,
        {{ json_number('payload', ['main', 'feels_like']) }} as feels_like_kelvin,
        {{ json_number('payload', ['main', 'temp_min']) }} as temperature_min_kelvin,
        {{ json_number('payload', ['main', 'temp_max']) }} as temperature_max_kelvin,
        {{ json_number('payload', ['main', 'pressure']) }} as pressure_hpa,
        {{ json_number('payload', ['main', 'sea_level']) }} as sea_level_pressure_hpa,
        {{ json_number('payload', ['main', 'grnd_level']) }} as ground_level_pressure_hpa,
        {{ json_number('payload', ['main', 'humidity']) }} as humidity_percent,
        {{ json_number('payload', ['visibility'], 'integer') }} as visibility_meters,
        {{ json_number('payload', ['wind', 'speed']) }} as wind_speed_mps,
        {{ json_number('payload', ['wind', 'deg']) }} as wind_direction_degrees,
        {{ json_number('payload', ['wind', 'gust']) }} as wind_gust_mps,
        {{ json_number('payload', ['clouds', 'all']) }} as clouds_percent,
        {{ json_number('payload', ['rain', '1h']) }} as rain_1h_mm,
        {{ json_number('payload', ['rain', '3h']) }} as rain_3h_mm,
        {{ json_number('payload', ['snow', '1h']) }} as snow_1h_mm,
        {{ json_number('payload', ['snow', '3h']) }} as snow_3h_mm,

        -- sun
        {{ epoch_to_timestamp(json_number('payload', ['sys', 'sunrise'], 'bigint')) }} as sunrise_at,
        {{ epoch_to_timestamp(json_number('payload', ['sys', 'sunset'], 'bigint')) }} as sunset_at,

        -- lineage
        _landing_id,
        _row,
        _loaded_at
    from source

)

select * from renamed
