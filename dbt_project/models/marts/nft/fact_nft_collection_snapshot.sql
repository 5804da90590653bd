{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='append_new_columns',
        pre_hook=["{{ delete_landed_days('stg_opensea__landings', 'stats') }}"],
        indexes=[{'columns': ['_landing_id']}, {'columns': ['snapshot_date']}],
        dist='collection_id',
        sort='snapshot_date',
    )
}}

with

stats as (

    select * from {{ ref('stg_opensea__stats') }}
    where {{ landing_filter() }}

),

landings as (

    select * from {{ ref('stg_opensea__landings') }}
    where {{ landing_filter() }}

),

collections as (

    select * from {{ ref('dim_nft_collection') }}

),

dates as (

    select * from {{ ref('dim_date') }}

),

final as (

    select
        -- what and when
        collections.collection_id,
        landings.snapshot_date,
        coalesce(dates.date_key, -1) as snapshot_date_key,

        -- now
        stats.owners,
        stats.floor_price_native,
        stats.market_cap_native,
        stats.currency_symbol,

        -- since the collection began
        stats.sales,
        stats.volume_native,
        stats.average_price_native,

        -- of late
        stats.one_day_sales,
        stats.one_day_volume_native,
        stats.seven_day_sales,
        stats.seven_day_volume_native,
        stats.thirty_day_sales,
        stats.thirty_day_volume_native,

        -- lineage
        stats._landing_id,
        stats._row,
        stats._loaded_at
    from stats
    inner join landings on stats._landing_id = landings._landing_id
    -- a collection that is not in dim_nft_collection has no id then, which the contract refuses
    left join collections on stats.collection_id = collections.collection_id
    left join dates on landings.snapshot_date = dates.date_day

)

select * from final
