{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        dist='all',
        sort='date_day',
    )
}}

{%- set last_day = var('calendar_last_day') or (run_started_at.year + 2) ~ '-12-31' %}

with

holidays as (

    select * from {{ ref('us_federal_holidays') }}

),

days as (

    {{ dbt.date_spine(
        'day',
        "cast('" ~ var('calendar_first_day') ~ "' as date)",
        "cast('" ~ last_day ~ "' as date) + 1"
    ) }}

),

parts as (

    select
        cast(date_day as date) as date_day,
        {{ date_key('date_day') }} as date_key,
        cast(extract(year from date_day) as integer) as year_number,
        cast(extract(quarter from date_day) as integer) as quarter_number,
        cast(extract(month from date_day) as integer) as month_number,
        cast(extract(day from date_day) as integer) as day_of_month,
        cast(extract(week from date_day) as integer) as iso_week_number,
        -- 2000-01-03 was a Monday
        mod(mod(cast(date_day as date) - cast('2000-01-03' as date), 7) + 7, 7) + 1 as iso_day_of_week,
        cast(date_trunc('month', date_day) as date) as month_start_date,
        {{ dbt.last_day('date_day', 'month') }} as month_end_date
    from days

),

calendar as (

    select
        parts.date_key,
        parts.date_day,
        parts.year_number,
        parts.quarter_number,
        parts.month_number,
        trim(to_char(parts.date_day, 'Month')) as month_name,
        parts.day_of_month,
        parts.iso_week_number,
        parts.iso_day_of_week,
        trim(to_char(parts.date_day, 'Day')) as day_name,
        parts.month_start_date,
        parts.iso_day_of_week in (6, 7) as is_weekend,
        holidays.holiday_name is not null as is_us_federal_holiday,
        holidays.holiday_name as us_federal_holiday_name
    from parts
    left join holidays
        on
            parts.month_number = holidays.month_number
            and parts.year_number >= holidays.first_year
            and (
                parts.day_of_month = holidays.day_of_month
                or (
                    parts.iso_day_of_week = holidays.iso_day_of_week
                    and (
                        -- the third Monday is the one of the days 15 to 21
                        holidays.week_of_month = (parts.day_of_month + 6) / 7
                        or (holidays.week_of_month = -1 and parts.month_end_date - parts.date_day < 7)
                    )
                )
            )

),

unknown_day as (

    select
        -1 as date_key,
        cast(null as date) as date_day,
        cast(null as integer) as year_number,
        cast(null as integer) as quarter_number,
        cast(null as integer) as month_number,
        'Unknown' as month_name,
        cast(null as integer) as day_of_month,
        cast(null as integer) as iso_week_number,
        cast(null as integer) as iso_day_of_week,
        'Unknown' as day_name,
        cast(null as date) as month_start_date,
        false as is_weekend,
        false as is_us_federal_holiday,
        cast(null as text) as us_federal_holiday_name

),

members as (

    select * from calendar
    union all
    select * from unknown_day

)

select * from members
{% if is_incremental() %}
where
    not exists (
        select 1
        from {{ this }} as held
        where held.date_key = members.date_key
    )
{% endif %}
