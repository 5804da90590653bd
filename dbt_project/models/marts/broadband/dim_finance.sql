{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='finance_key',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}],
        dist='person_id',
        sort='finance_key',
    )
}}

with

sessions as (

    select * from {{ ref('int_driven_sessions') }}
    where {{ landing_filter() }}

),

final as (

    select
        finance_key,
        person_id,
        iban,
        max(_landing_id) as _landing_id
    from sessions
    group by
        finance_key,
        person_id,
        iban

)

select * from final
