{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=["{{ delete_landed_days('stg_opensea__landings', 'nfts') }}"],
        indexes=[{'columns': ['_landing_id']}, {'columns': ['snapshot_date']}],
        dist='nft_key',
        sort='snapshot_date',
    )
}}

with

nfts as (

    select * from {{ ref('stg_opensea__nfts') }}
    where {{ landing_filter() }}

),

landings as (

    select * from {{ ref('stg_opensea__landings') }}
    where {{ landing_filter() }}

),

members as (

    select * from {{ ref('dim_nft') }}

),

collections as (

    select * from {{ ref('dim_nft_collection') }}

),

dates as (

    select * from {{ ref('dim_date') }}

),

final as (

    select
        members.nft_key,
        landings.snapshot_date,
        coalesce(dates.date_key, -1) as snapshot_date_key,
        collections.collection_id,
        nfts.estimated_value_usd,
        nfts.is_disabled,
        nfts.is_nsfw,
        nfts.upstream_updated_at,
        nfts._landing_id,
        nfts._row,
        nfts._loaded_at
    from nfts
    inner join landings on nfts._landing_id = landings._landing_id
    -- an NFT that is not in dim_nft has no key then, which the contract refuses
    left join members on nfts.nft_key = members.nft_key
    left join collections on nfts.collection_id = collections.collection_id
    left join dates on landings.snapshot_date = dates.date_day

)

select * from final
