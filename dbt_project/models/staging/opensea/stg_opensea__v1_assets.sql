with

source as (

    select * from {{ source('opensea', 'v1_assets') }}

),

documents as (

    select
        payload,
        {{ json_value('payload', ['assets']) }} as assets,
        _landing_id,
        _row,
        _loaded_at
    from source

),

listed as (

    {{ json_unnest('documents', ['_landing_id', '_row', '_loaded_at'], 'assets', 'asset', 'asset_number') }}

),

-- a document is a list of assets, or else an asset itself
assets as (

    select
        asset,
        asset_number,
        _landing_id,
        _row,
        _loaded_at
    from listed
    union all
    select
        payload as asset,
        1 as asset_number,
        _landing_id,
        _row,
        _loaded_at
    from documents
    where assets is null

),

renamed as (

    select
        -- which
        {{ nft_key(json_text('asset', ['asset_contract', 'address']), json_text('asset', ['token_id'])) }} as nft_key,
        {{ contract_address(json_text('asset', ['asset_contract', 'address'])) }} as contract_address,
        {{ json_text('asset', ['token_id']) }} as identifier,
        {{ json_text('asset', ['collection', 'slug']) }} as collection_id,
        lower({{ json_text('asset', ['asset_contract', 'schema_name']) }}) as token_standard,

        -- what
        {{ json_text('asset', ['name']) }} as nft_name,
        {{ json_text('asset', ['description']) }} as description,
        {{ json_value('asset', ['traits']) }} as traits,

        -- where to look: the second version's image_url is the one that the first calls the original
        coalesce(
            {{ json_text('asset', ['image_original_url']) }}, {{ json_text('asset', ['image_url']) }}
        ) as image_url,
        {{ json_text('asset', ['image_url']) }} as display_image_url,
        {{ json_text('asset', ['animation_url']) }} as animation_url,
        {{ json_text('asset', ['token_metadata']) }} as metadata_url,
        {{ json_text('asset', ['permalink']) }} as opensea_url,

        -- its collection, which the first version describes with each asset
        {{ json_text('asset', ['collection', 'name']) }} as collection_name,
        {{ json_text('asset', ['collection', 'description']) }} as collection_description,
        {{ json_text('asset', ['collection', 'safelist_request_status']) }} as collection_safelist_status,
        cast(
            cast({{ json_text('asset', ['collection', 'created_date']) }} as timestamp) as date
        ) as collection_created_date,
        {{ json_text('asset', ['collection', 'image_url']) }} as collection_image_url,
        {{ json_text('asset', ['collection', 'banner_image_url']) }} as collection_banner_image_url,
        {{ json_text('asset', ['collection', 'external_url']) }} as collection_project_url,
        {{ json_text('asset', ['collection', 'discord_url']) }} as collection_discord_url,
        {{ json_text('asset', ['collection', 'twitter_username']) }} as collection_twitter_username,

        -- lineage
        asset_number,
        _landing_id,
        _row,
        _loaded_at
    from assets

),

ranked as (

    select
        *,
        row_number() over (partition by _landing_id, nft_key order by _row desc, asset_number desc) as newest_first
    from renamed

),

final as (

    select
        nft_key,
        contract_address,
        identifier,
        collection_id,
        token_standard,
        nft_name,
        description,
        traits,
        image_url,
        display_image_url,
        animation_url,
        metadata_url,
        opensea_url,
        collection_name,
        collection_description,
        collection_safelist_status,
        collection_created_date,
        collection_image_url,
        collection_banner_image_url,
        collection_project_url,
        collection_discord_url,
        collection_twitter_username,
        asset_number,
        _landing_id,
        _row,
        _loaded_at
    from ranked
    where newest_first = 1

)

select * from final
