with

source as (

    select * from {{ source('opensea', 'collections') }}

),

renamed as (

    select
        -- what
        {{ json_text('payload', ['collection']) }} as collection_id,
        {{ json_text('payload', ['name']) }} as collection_name,
        {{ json_text('payload', ['description']) }} as description,
        {{ json_text('payload', ['category']) }} as collection_category,

        -- on the chain: the first contract is the collection's own
        {{ json_text('payload', ['contracts', 0, 'chain']) }} as blockchain,
        {{ contract_address(json_text('payload', ['contracts', 0, 'address'])) }} as contract_address,
        {{ json_text('payload', ['owner']) }} as owner_address,
        {{ json_number('payload', ['total_supply'], 'numeric(38, 0)') }} as total_supply,
        cast({{ json_text('payload', ['created_date']) }} as date) as created_date,

        -- on OpenSea
        {{ json_text('payload', ['safelist_status']) }} as safelist_status,
        cast({{ json_text('payload', ['is_disabled']) }} as boolean) as is_disabled,
        cast({{ json_text('payload', ['is_nsfw']) }} as boolean) as is_nsfw,

        -- where to look
        {{ json_text('payload', ['image_url']) }} as image_url,
        {{ json_text('payload', ['banner_image_url']) }} as banner_image_url,
        {{ json_text('payload', ['opensea_url']) }} as opensea_url,
        {{ json_text('payload', ['project_url']) }} as project_url,
        {{ json_text('payload', ['discord_url']) }} as discord_url,
        {{ json_text('payload', ['twitter_username']) }} as twitter_username,

        -- lineage
        _landing_id,
        _row,
        _loaded_at
    from source

),

ranked as (

    select
        *,
        row_number() over (partition by _landing_id, collection_id order by _row desc) as newest_first
    from renamed

),

-- asked for twice in a run, a collection is there once
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
        _landing_id,
        _row,
        _loaded_at
    from ranked
    where newest_first = 1

)

select * from final
