{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='person_id',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}],
        dist='person_id',
        sort='person_id',
    )
}}

with

sessions as (

    select * from {{ ref('int_driven_sessions') }}

),

persons as (

    select * from {{ ref('dim_person') }}
    where is_current

),

touched as (

    {{ touched_persons('sessions') }}

),

-- left join: whose only session has turned out to be another's is left with none
totals as (

    select
        touched.person_id,
        max(touched._landing_id) as _landing_id,
        max(sessions.accessed_at) as last_accessed_at,
        count(sessions.unique_id) as sessions,
        coalesce(sum(sessions.session_duration_seconds), 0) as duration_seconds,
        coalesce(sum(sessions.download_speed_mbps + sessions.upload_speed_mbps), 0) as total_bandwidth_mbps,
        coalesce(sum(sessions.consumed_traffic_kilobytes), 0) as consumed_traffic_kilobytes
    from touched
    left join sessions on touched.person_id = sessions.person_id
    group by touched.person_id

),

-- by text: a birth date that is none must not stop the run
aged as (

    select
        totals.*,
        persons.person_key,
        case
            when persons.birth_date ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'
                then
                    cast(extract(year from totals.last_accessed_at) as integer)
                    - cast(left(persons.birth_date, 4) as integer)
                    - case
                        when to_char(totals.last_accessed_at, 'MM-DD') < right(persons.birth_date, 5) then 1
                        else 0
                    end
        end as age_years
    from totals
    left join persons on totals.person_id = persons.person_id

),

final as (

    select
        -- who
        person_id,
        person_key,
        case
            when age_years < 0 or age_years is null then 'unknown'
            when age_years < 18 then 'under 18'
            when age_years < 25 then '18 to 24'
            when age_years < 35 then '25 to 34'
            when age_years < 45 then '35 to 44'
            when age_years < 55 then '45 to 54'
            when age_years < 65 then '55 to 64'
            else '65 and over'
        end as age_group,

        -- what
        last_accessed_at,
        sessions,
        cast(duration_seconds / 60.0 as numeric(14, 1)) as session_duration_minutes,
        cast(total_bandwidth_mbps as bigint) as total_bandwidth_mbps,
        cast(consumed_traffic_kilobytes as bigint) as consumed_traffic_kilobytes,
        case
            when duration_seconds > 120 * 60 then 'active'
            when duration_seconds >= 30 * 60 then 'moderate'
            else 'less active'
        end as activity_level,

        -- lineage
        _landing_id
    from aged

)

select * from final
