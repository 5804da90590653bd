with

source as (

    select * from {{ source('opensea', 'nfts') }}

),

renamed as (

    select
        -- which
        {{ nft_key(json_text('payload', ['contract']), json_text('payload', ['identifier'])) }} as nft_key,
        {{ contract_address(json_text('payload', ['contract'])) }} as contract_address,
        {{ json_text('payload', ['identifier']) }} as identifier,
        {{ json_text('payload', ['collection']) }} as collection_id,
        {{ json_text('payload', ['token_standard']) }} as token_standard,

        -- what
        {{ json_text('payload', ['name']) }} as nft_name,
        {{ json_text('payload', ['description']) }} as description,
        {{ json_value('payload', ['traits']) }} as traits,
        {{ json_number('payload', ['estimated_value_usd'], 'numeric(24, 8)') }} as estimated_value_usd,

        -- on OpenSea
        {{ utc_timestamp(json_text('payload', ['updated_at'])) }} as upstream_updated_at,
        cast({{ json_text('payload', ['is_disabled']) }} as boolean) as is_disabled,
        cast({{ json_text('payload', ['is_nsfw']) }} as boolean) as is_nsfw,

        -- where to look
        {{ json_text('payload', ['image_url']) }} as image_url,
        {{ json_text('payload', ['display_image_url']) }} as display_image_url,
        {{ json_text('payload', ['display_animation_url']) }} as animation_url,
        {{ json_text('payload', ['metadata_url']) }} as metadata_url,
        {{ json_text('payload', ['opensea_url']) }} as opensea_url,

        -- lineage
        _landing_id,
        _row,
        _loaded_at
    from source

),

ranked as (

    select
        *,
        row_number() over (partition by _landing_id, nft_key order by _row desc) as newest_first
    from renamed

),

-- a collection that changes while it is read may show an NFT on two pages: the later one holds
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
        estimated_value_usd,
        upstream_updated_at,
        is_disabled,
        is_nsfw,
        image_url,
        display_image_url,
        animation_url,
        metadata_url,
        opensea_url,
        _landing_id,
        _row,
        _loaded_at
    from ranked
    where newest_first = 1

)

select * from final
