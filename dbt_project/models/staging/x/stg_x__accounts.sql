with

source as (

    select * from {{ source('x', 'accounts') }}

),

renamed as (

    select
        -- who
        {{ json_text('payload', ['id']) }} as account_id,
        {{ json_text('payload', ['username']) }} as username,
        {{ json_text('payload', ['name']) }} as account_name,
        {{ json_text('payload', ['description']) }} as description,
        {{ json_text('payload', ['location']) }} as account_location,
        {{ json_text('payload', ['url']) }} as url,
        {{ json_text('payload', ['profile_image_url']) }} as profile_image_url,

        -- on X
        {{ utc_timestamp(json_text('payload', ['created_at'])) }} as joined_at,
        cast({{ json_text('payload', ['verified']) }} as boolean) as is_verified,
        {{ json_text('payload', ['verified_type']) }} as verified_type,
        cast({{ json_text('payload', ['protected']) }} as boolean) as is_protected,

        -- counts
        {{ json_number('payload', ['public_metrics', 'followers_count'], 'bigint') }} as followers,
        {{ json_number('payload', ['public_metrics', 'following_count'], 'bigint') }} as follows,
        {{ json_number('payload', ['public_metrics', 'tweet_count'], 'bigint') }} as posts,
        {{ json_number('payload', ['public_metrics', 'listed_count'], 'bigint') }} as listings,

        -- lineage
        _landing_id,
        _row,
        _loaded_at
    from source

)

select * from renamed
