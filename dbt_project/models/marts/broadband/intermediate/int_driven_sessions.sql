{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='unique_id',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}, {'columns': ['person_id']}],
        dist='person_id',
        sort='accessed_at',
    )
}}

with

from_api as (

    select * from {{ ref('stg_driven__sessions') }}
    where {{ landing_filter() }}

),

from_files as (

    select * from {{ ref('stg_driven__session_files') }}
    where {{ landing_filter() }}

),

landed as (

    select * from from_api
    union all
    select * from from_files

),

ranked as (

    select
        *,
        row_number() over (partition by unique_id order by _landing_id desc, _row desc) as newest_first
    from landed

),

keyed as (

    select
        *,
        {{ surrogate_key(['personal_number']) }} as person_id,
        {{ surrogate_key(['personal_number', 'address', 'mac_address', 'ip_address']) }} as address_key,
        {{ surrogate_key(['personal_number', 'iban']) }} as finance_key
    from ranked
    where newest_first = 1

),

-- what the model holds of these sessions from earlier landings
held as (

    select
        unique_id,
        person_id,
        {{ 'previous_person_id' if is_incremental() else 'cast(null as text) as previous_person_id' }},
        _landing_id
    {% if is_incremental() %}
    from {{ this }}
    {% else %}
    from keyed
    where false
    {% endif %}

),

final as (

    select
        -- what and when
        keyed.unique_id,
        keyed.accessed_at,

        -- keys
        keyed.person_id,
        case when held.person_id <> keyed.person_id then held.person_id else held.previous_person_id end
            as previous_person_id,
        keyed.address_key,
        keyed.finance_key,

        -- subscriber
        keyed.person_name,
        keyed.user_name,
        keyed.email,
        keyed.personal_number,
        keyed.birth_date,
        keyed.address,
        keyed.phone,

        -- device and bank account
        keyed.mac_address,
        keyed.ip_address,
        keyed.iban,

        -- measures
        keyed.session_duration_seconds,
        keyed.download_speed_mbps,
        keyed.upload_speed_mbps,
        keyed.consumed_traffic_kilobytes,

        -- lineage
        keyed._landing_id,
        keyed._row,
        keyed._loaded_at
    from keyed
    left join held on keyed.unique_id = held.unique_id
    -- a landing that is built late does not undo what a newer one has said
    where held.unique_id is null or held._landing_id <= keyed._landing_id

)

select * from final
