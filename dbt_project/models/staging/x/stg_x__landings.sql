with

source as (

    select * from {{ source('x', 'landings') }}

),

loaded as (

    select
        landing_id as _landing_id,
        cast("partition" as date) as snapshot_date,
        fetched_at,
        loaded_at
    from source
    where
        source = 'x'
        and entity = 'posts'
        and loaded_at is not null

)

select * from loaded
