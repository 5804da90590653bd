{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='person_id',
        pre_hook='{{ delete_versions_passed_on() }}',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}, {'columns': ['person_id']}],
        dist='person_id',
        sort=['person_id', 'valid_from_at'],
    )
}}

{%- set attributes = ['person_name', 'user_name', 'email', 'phone', 'birth_date', 'address'] %}

with

sessions as (

    select * from {{ ref('int_driven_sessions') }}

),

touched as (

    {{ touched_persons('sessions') }}

),

-- all sessions of the persons touched: one that comes late may part a version, move its beginning or join two.
-- Of sessions that begin in the same second the one with the greatest id says what holds from then on.
ranked as (

    select
        sessions.*,
        touched._landing_id as touched_landing_id,
        row_number() over (
            partition by sessions.person_id, sessions.accessed_at order by sessions.unique_id desc
        ) as last_first
    from touched
    inner join sessions on touched.person_id = sessions.person_id

),

known as (

    select
        *,
        {{ surrogate_key(attributes) }} as attributes_key
    from ranked
    where last_first = 1

),

compared as (

    select
        *,
        lag(attributes_key) over (partition by person_id order by accessed_at) as attributes_key_before
    from known

),

openings as (

    select
        *,
        lead(accessed_at) over (partition by person_id order by accessed_at) as next_accessed_at,
        row_number() over (partition by person_id order by accessed_at) as version_number
    from compared
    where attributes_key_before is null or attributes_key_before <> attributes_key

),

final as (

    select
        -- which person, when
        unique_id as person_key,
        person_id,
        cast(version_number as integer) as version_number,
        accessed_at as valid_from_at,
        next_accessed_at as valid_to_at,
        next_accessed_at is null as is_current,

        -- attributes
        personal_number,
        person_name,
        user_name,
        email,
        phone,
        birth_date,
        address,

        -- lineage
        touched_landing_id as _landing_id
    from openings

)

select * from final
