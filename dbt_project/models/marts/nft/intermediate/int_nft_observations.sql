{{ config(contract={'enforced': false}) }}

with

nfts as (

    select * from {{ ref('stg_opensea__nfts') }}

),

assets as (

    select * from {{ ref('stg_opensea__v1_assets') }}

),

united as (

    select
        nft_key,
        contract_address,
        identifier,
        collection_id,
        token_standard,
        nft_name,
        description,
        traits,
        estimated_value_usd,
        upstream_updated_at,
        is_disabled,
        is_nsfw,
        image_url,
        display_image_url,
        animation_url,
        metadata_url,
        opensea_url,
        2 as api_version,
        _landing_id
    from nfts
    union all
    select
        nft_key,
        contract_address,
        identifier,
        collection_id,
        token_standard,
        nft_name,
        description,
        traits,
        cast(null as numeric(24, 8)) as estimated_value_usd,
        cast(null as timestamp with time zone) as upstream_updated_at,
        cast(null as boolean) as is_disabled,
        cast(null as boolean) as is_nsfw,
        image_url,
        display_image_url,
        animation_url,
        metadata_url,
        opensea_url,
        1 as api_version,
        _landing_id
    from assets

)

select * from united
