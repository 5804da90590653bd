{{ config(materialized='table', dist='all', sort='vendor_key') }}

with

codes as (

    select * from {{ ref('tlc_codes') }}

),

final as (

    select
        code as vendor_key,
        code_name as vendor_name,
        code >= 0 as is_listed
    from codes
    where code_list = 'vendor'

)

select * from final
