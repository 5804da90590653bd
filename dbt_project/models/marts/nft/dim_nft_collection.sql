{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='collection_id',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}],
        dist='all',
        sort='collection_id',
    )
}}

with

collections as (

    select * from {{ ref('stg_opensea__collections') }}
    where {{ landing_filter() }}

),

assets as (

    select * from {{ ref('stg_opensea__v1_assets') }}
    where {{ landing_filter() }}

),

stats as (

    select * from {{ ref('stg_opensea__stats') }}
    where {{ landing_filter() }}

),

nfts as (

    select * from {{ ref('stg_opensea__nfts') }}
    where {{ landing_filter() }}

),

-- what says most about a collection comes first: its own details, then what the first version's assets say of theirs
described as (

    select
        collection_id,
        2 as api_version,
        collection_name,
        description,
        collection_category,
        blockchain,
        contract_address,
        owner_address,
        total_supply,
        created_date,
        safelist_status,
        is_disabled,
        is_nsfw,
        image_url,
        banner_image_url,
        opensea_url,
        project_url,
        discord_url,
        twitter_username,
        _landing_id,
        _row
    from collections
    union all
    select
        collection_id,
        1 as api_version,
        collection_name,
        collection_description as description,
        cast(null as text) as collection_category,
        cast(null as text) as blockchain,
        contract_address,
        cast(null as text) as owner_address,
        cast(null as numeric(38, 0)) as total_supply,
        collection_created_date as created_date,
        collection_safelist_status as safelist_status,
        cast(null as boolean) as is_disabled,
        cast(null as boolean) as is_nsfw,
        collection_image_url as image_url,
        collection_banner_image_url as banner_image_url,
        cast(null as text) as opensea_url,
        collection_project_url as project_url,
        collection_discord_url as discord_url,
        collection_twitter_username as twitter_username,
        _landing_id,
        _row
    from assets

),

-- and last that it has been mentioned, so that no NFT and no figure is without its collection
mentioned as (

    select
        collection_id,
        max(_landing_id) as _landing_id
    from nfts
    group by collection_id
    union all
    select
        collection_id,
        max(_landing_id) as _landing_id
    from stats
    group by collection_id

),

united as (

    select * from described
    union all
    select
        collection_id,
        0 as api_version,
        cast(null as text) as collection_name,
        cast(null as text) as description,
        cast(null as text) as collection_category,
        cast(null as text) as blockchain,
        cast(null as text) as contract_address,
        cast(null as text) as owner_address,
        cast(null as numeric(38, 0)) as total_supply,
        cast(null as date) as created_date,
        cast(null as text) as safelist_status,
        cast(null as boolean) as is_disabled,
        cast(null as boolean) as is_nsfw,
        cast(null as text) as image_url,
        cast(null as text) as banner_image_url,
        cast(null as text) as opensea_url,
        cast(null as text) as project_url,
        cast(null as text) as discord_url,
        cast(null as text) as twitter_username,
        _landing_id,
        cast(null as bigint) as _row
    from mentioned

),

ranked as (

    select
        *,
        row_number() over (
            partition by collection_id
            order by api_version desc, _landing_id desc, _row desc
        ) as best_first
    from united

),

final as (

    select
        collection_id,
        collection_name,
        description,
        collection_category,
        blockchain,
        contract_address,
        owner_address,
        total_supply,
        created_date,
        safelist_status,
        is_disabled,
        is_nsfw,
        image_url,
        banner_image_url,
        opensea_url,
        project_url,
        discord_url,
        twitter_username,
        api_version,
        _landing_id,
        _row
    from ranked
    where best_first = 1

)

select * from final
{% if is_incremental() %}
-- what says less than is known, and a day that is loaded late, undo nothing
where
    not exists (
        select 1
        from {{ this }} as held
        where
            held.collection_id = final.collection_id
            and (
                held.api_version > final.api_version
                or (held.api_version = final.api_version and held._landing_id > final._landing_id)
            )
    )
{% endif %}
