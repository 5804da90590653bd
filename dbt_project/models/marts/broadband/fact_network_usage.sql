{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='unique_id',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}, {'columns': ['person_key']}, {'columns': ['accessed_at']}],
        dist='unique_id',
        sort='accessed_at',
    )
}}

with

sessions as (

    select * from {{ ref('int_driven_sessions') }}

),

persons as (

    select * from {{ ref('dim_person') }}

),

addresses as (

    select * from {{ ref('dim_address') }}

),

finances as (

    select * from {{ ref('dim_finance') }}

),

dates as (

    select * from {{ ref('dim_date') }}

),

touched as (

    {{ touched_persons('sessions') }}

),

-- all sessions of the persons touched: one that comes late may give earlier ones another version of the person
candidates as (

    select
        sessions.*,
        touched._landing_id as touched_landing_id,
        {{ landing_filter('sessions._landing_id') }} as is_of_this_run
    from touched
    inner join sessions on touched.person_id = sessions.person_id

),

-- left joins all: a session that finds no match must fail the contract, not vanish
final as (

    select
        -- what it is
        candidates.unique_id,

        -- dimensions
        persons.person_key,
        addresses.address_key,
        finances.finance_key,
        coalesce(dates.date_key, -1) as accessed_date_key,

        -- when
        candidates.accessed_at,

        -- measures
        candidates.session_duration_seconds,
        candidates.download_speed_mbps,
        candidates.upload_speed_mbps,
        candidates.consumed_traffic_kilobytes,

        -- lineage
        case when candidates.is_of_this_run then candidates._landing_id else candidates.touched_landing_id end
            as _landing_id
    from candidates
    left join persons
        on
            candidates.person_id = persons.person_id
            and candidates.accessed_at >= persons.valid_from_at
            and (persons.is_current or candidates.accessed_at < persons.valid_to_at)
    left join addresses on candidates.address_key = addresses.address_key
    left join finances on candidates.finance_key = finances.finance_key
    left join dates on cast(candidates.accessed_at as date) = dates.date_day
    {% if is_incremental() %}
    left join {{ this }} as held on candidates.unique_id = held.unique_id
    where candidates.is_of_this_run or held.unique_id is null or held.person_key <> persons.person_key
    {% endif %}

)

select * from final
