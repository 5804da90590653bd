{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['post_id', 'snapshot_date'],
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}, {'columns': ['snapshot_date']}],
        dist='post_id',
        sort='snapshot_date',
    )
}}

with

posts as (

    select * from {{ ref('stg_x__posts') }}
    where {{ landing_filter() }}

),

landings as (

    select * from {{ ref('stg_x__landings') }}
    where {{ landing_filter() }}

),

accounts as (

    select * from {{ ref('dim_account') }}

),

dates as (

    select * from {{ ref('dim_date') }}

),

dated as (

    select
        posts.*,
        landings.snapshot_date,
        row_number() over (
            partition by posts.post_id, landings.snapshot_date
            order by posts._landing_id desc
        ) as newest_first
    from posts
    inner join landings on posts._landing_id = landings._landing_id

),

-- of several landings of a day the last one is the day's
newest as (

    select * from dated
    where newest_first = 1

),

final as (

    select
        newest.post_id,
        newest.snapshot_date,
        coalesce(dates.date_key, -1) as snapshot_date_key,
        accounts.account_id,
        newest.retweets,
        newest.replies,
        newest.likes,
        newest.quotes,
        newest.bookmarks,
        newest.impressions,
        newest.engagements,
        newest._landing_id,
        newest._row,
        newest._loaded_at
    from newest
    -- a post whose author is not in dim_account has none then, which the contract refuses
    left join accounts on newest.account_id = accounts.account_id
    left join dates on newest.snapshot_date = dates.date_day

)

select * from final
{% if is_incremental() %}
where
    not exists (
        select 1
        from {{ this }} as held
        where
            held.post_id = final.post_id
            and held.snapshot_date = final.snapshot_date
            and held._landing_id > final._landing_id
    )
{% endif %}
