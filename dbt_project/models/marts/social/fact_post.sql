{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='post_id',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}, {'columns': ['posted_at']}],
        dist='post_id',
        sort='posted_at',
    )
}}

with

posts as (

    select * from {{ ref('stg_x__posts') }}
    where {{ landing_filter() }}

),

accounts as (

    select * from {{ ref('dim_account') }}

),

dates as (

    select * from {{ ref('dim_date') }}

),

ranked as (

    select
        *,
        row_number() over (partition by post_id order by _landing_id desc) as newest_first
    from posts

),

newest as (

    select * from ranked
    where newest_first = 1

),

final as (

    select
        -- which
        newest.post_id,
        accounts.account_id,
        newest.posted_at,
        coalesce(dates.date_key, -1) as posted_date_key,

        -- what
        newest.post_kind,
        newest.post_text,
        newest.language_code,
        newest.is_possibly_sensitive,
        coalesce(newest.first_version_id <> newest.post_id, false) as is_edited,
        newest.first_version_id,

        -- to whom
        newest.conversation_id,
        newest.in_reply_to_account_id,
        newest.referenced_post_id,

        -- counts, as of the newest landing
        newest.retweets,
        newest.replies,
        newest.likes,
        newest.quotes,
        newest.bookmarks,
        newest.impressions,
        newest.engagements,

        -- lineage
        newest._landing_id,
        newest._row,
        newest._loaded_at
    from newest
    -- a post whose author is not in dim_account has none then, which the contract refuses
    left join accounts on newest.account_id = accounts.account_id
    left join dates on cast(newest.posted_at at time zone 'UTC' as date) = dates.date_day

)

select * from final
{% if is_incremental() %}
-- a landing that is loaded late does not undo what a newer one has said
where
    not exists (
        select 1
        from {{ this }} as held
        where held.post_id = final.post_id and held._landing_id > final._landing_id
    )
{% endif %}
