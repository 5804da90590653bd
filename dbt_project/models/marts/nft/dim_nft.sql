{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='nft_key',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['_landing_id']}, {'columns': ['collection_id']}],
        dist='nft_key',
        sort='collection_id',
    )
}}

{%- set described = [
    'nft_key', 'contract_address', 'identifier', 'collection_id', 'token_standard', 'nft_name', 'description',
    'estimated_value_usd', 'upstream_updated_at', 'is_disabled', 'is_nsfw', 'image_url', 'display_image_url',
    'animation_url', 'metadata_url', 'opensea_url', 'api_version',
] %}

with

observations as (

    select * from {{ ref('int_nft_observations') }}
    where {{ landing_filter() }}

),

landings as (

    select * from {{ ref('stg_opensea__landings') }}
    where {{ landing_filter() }}

),

collections as (

    select * from {{ ref('dim_nft_collection') }}

),

-- the second version of the API knows better than the first, whose files may come at any time
ranked as (

    select
        *,
        row_number() over (partition by nft_key order by api_version desc, _landing_id desc) as best_first
    from observations

),

observed as (

    select
        {{ described | join(',\n        ') }},
        _landing_id as _seen_landing_id
    from ranked
    where best_first = 1

),

-- the run's snapshots: a collection's NFTs, all of them, as they were at a landing
snapshots as (

    select
        observations.collection_id,
        observations._landing_id,
        min(landings.snapshot_date) as snapshot_date
    from observations
    inner join landings on observations._landing_id = landings._landing_id
    where observations.api_version = 2
    group by
        observations.collection_id,
        observations._landing_id

),

-- what the model holds of their collections and the run has not seen
held as (

    {% if is_incremental() -%}
    select
        {% for column in described -%}
        held.{{ column }},
        {% endfor -%}
        held._seen_landing_id
    from {{ this }} as held
    where
        not held.is_delisted
        and held.collection_id in (select snapshots.collection_id from snapshots)
        and not exists (
            select 1
            from observed
            where observed.nft_key = held.nft_key
        )
    {%- else -%}
    select * from observed
    where false
    {%- endif %}

),

known as (

    select * from observed
    union all
    select * from held

),

-- gone is what a later snapshot of its collection has no more; since the first such
gone as (

    select
        known.nft_key,
        min(snapshots._landing_id) as _landing_id
    from known
    inner join snapshots
        on known.collection_id = snapshots.collection_id and known._seen_landing_id < snapshots._landing_id
    group by known.nft_key

),

marked as (

    select
        known.*,
        gone._landing_id as gone_landing_id,
        landings.snapshot_date as delisted_date
    from known
    left join gone on known.nft_key = gone.nft_key
    left join landings on gone._landing_id = landings._landing_id
    -- of what the model holds only what is gone has changed
    where gone.nft_key is not null or known.nft_key in (select observed.nft_key from observed)

),

final as (

    select
        -- which
        marked.nft_key,
        marked.contract_address,
        marked.identifier,
        collections.collection_id,
        marked.token_standard,

        -- what
        marked.nft_name,
        marked.description,
        marked.estimated_value_usd,

        -- on OpenSea
        marked.upstream_updated_at,
        marked.is_disabled,
        marked.is_nsfw,
        marked.gone_landing_id is not null as is_delisted,
        marked.delisted_date,

        -- where to look
        marked.image_url,
        marked.display_image_url,
        marked.animation_url,
        marked.metadata_url,
        marked.opensea_url,

        -- lineage
        marked.api_version,
        marked._seen_landing_id,
        coalesce(marked.gone_landing_id, marked._seen_landing_id) as _landing_id
    from marked
    -- an NFT whose collection is not in dim_nft_collection has none then, which the contract refuses
    left join collections on marked.collection_id = collections.collection_id

)

select * from final
{% if is_incremental() %}
-- a file of the first version, and a day that is loaded late, undo nothing
where
    not exists (
        select 1
        from {{ this }} as held
        where
            held.nft_key = final.nft_key
            and (
                held.api_version > final.api_version
                or (held.api_version = final.api_version and held._landing_id > final._landing_id)
            )
    )
{% endif %}
