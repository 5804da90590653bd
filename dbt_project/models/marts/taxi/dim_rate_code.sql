{{ config(materialized='table', dist='all', sort='rate_code_key') }}

with

codes as (

    select * from {{ ref('tlc_codes') }}

),

final as (

    select
        code as rate_code_key,
        code_name as rate_code_name,
        code >= 0 as is_listed
    from codes
    where code_list = 'rate_code'

)

select * from final
