{{ config(materialized='table', dist='all', sort='payment_type_key') }}

with

codes as (

    select * from {{ ref('tlc_codes') }}

),

final as (

    select
        code as payment_type_key,
        code_name as payment_type_name,
        code >= 0 as is_listed
    from codes
    where code_list = 'payment_type'

)

select * from final
