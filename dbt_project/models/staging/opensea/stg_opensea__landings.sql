with

source as (

    select * from {{ source('opensea', 'landings') }}

),

-- the landings whose rows are in raw: a later landing of the same day has not taken their place
held as (

    select
        landing_id as _landing_id,
        entity,
        cast("partition" as date) as snapshot_date,
        loaded_at
    from source
    where
        source = 'opensea'
        and entity in ('collections', 'stats', 'nfts')
        and loaded_at is not null
        and superseded_by is null

)

select * from held
