with

source as (

    select * from {{ source('x', 'posts') }}

),

renamed as (

    select
        -- which
        {{ json_text('payload', ['id']) }} as post_id,
        {{ json_text('payload', ['edit_history_tweet_ids', 0]) }} as first_version_id,
        -- the timeline that was asked for is the author's, where the fields asked for leave him out
        coalesce(
            {{ json_text('payload', ['author_id']) }}, {{ json_text('_request', ['user_id']) }}
        ) as account_id,
        {{ utc_timestamp(json_text('payload', ['created_at'])) }} as posted_at,

        -- what: of a long post `text` is the beginning
        coalesce(
            {{ json_text('payload', ['note_tweet', 'text']) }}, {{ json_text('payload', ['text']) }}
        ) as post_text,
        {{ json_text('payload', ['lang']) }} as language_code,
        cast({{ json_text('payload', ['possibly_sensitive']) }} as boolean) as is_possibly_sensitive,

        -- to whom
        {{ json_text('payload', ['conversation_id']) }} as conversation_id,
        {{ json_text('payload', ['in_reply_to_user_id']) }} as in_reply_to_account_id,
        {{ json_text('payload', ['referenced_tweets', 0, 'type']) }} as reference_type,
        {{ json_text('payload', ['referenced_tweets', 0, 'id']) }} as referenced_post_id,

        -- counts
        {{ json_number('payload', ['public_metrics', 'retweet_count'], 'bigint') }} as retweets,
        {{ json_number('payload', ['public_metrics', 'reply_count'], 'bigint') }} as replies,
        {{ json_number('payload', ['public_metrics', 'like_count'], 'bigint') }} as likes,
        {{ json_number('payload', ['public_metrics', 'quote_count'], 'bigint') }} as quotes,
        {{ json_number('payload', ['public_metrics', 'bookmark_count'], 'bigint') }} as bookmarks,
        {{ json_number('payload', ['public_metrics', 'impression_count'], 'bigint') }} as impressions,

        -- lineage
        _landing_id,
        _row,
        _loaded_at
    from source

),

ranked as (

    select
        *,
        row_number() over (partition by _landing_id, post_id order by _row desc) as newest_first
    from renamed

),

-- a timeline that grows while it is read may show a post on two pages: the later one holds
final as (

    select
        post_id,
        first_version_id,
        account_id,
        posted_at,
        post_text,
        language_code,
        is_possibly_sensitive,
        conversation_id,
        in_reply_to_account_id,
        case reference_type
            when 'retweeted' then 'retweet'
            when 'replied_to' then 'reply'
            when 'quoted' then 'quote'
            else 'post'
        end as post_kind,
        referenced_post_id,
        retweets,
        replies,
        likes,
        quotes,
        bookmarks,
        impressions,
        retweets + replies + likes + quotes + coalesce(bookmarks, 0) as engagements,
        _landing_id,
        _row,
        _loaded_at
    from ranked
    where newest_first = 1

)

select * from final
