{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['nft_key', 'trait_number'],
        on_schema_change='append_new_columns',
        post_hook="{{ delete_outdated_traits() }}",
        indexes=[{'columns': ['_landing_id']}, {'columns': ['collection_id']}],
        dist='nft_key',
        sort=['collection_id', 'nft_key'],
    )
}}

with

observations as (

    select * from {{ ref('int_nft_observations') }}
    where {{ landing_filter() }}

),

nfts as (

    select * from {{ ref('dim_nft') }}

),

-- the observation that each NFT of the run is described by
described as (

    select
        nfts.nft_key,
        nfts.collection_id,
        observations.traits,
        observations._landing_id
    from observations
    inner join nfts
        on observations.nft_key = nfts.nft_key and observations._landing_id = nfts._seen_landing_id

),

unnested as (

    {{ json_unnest('described', ['nft_key', 'collection_id', '_landing_id'], 'traits', 'trait', 'trait_number') }}

),

traits as (

    select
        nft_key,
        trait_number,
        collection_id,
        {{ json_text('trait', ['trait_type']) }} as trait_type,
        {{ json_text('trait', ['value']) }} as trait_value,
        {{ json_text('trait', ['display_type']) }} as display_type,
        _landing_id
    from unnested

),

-- A collection is replaced as a whole, also one that an NFT has left for another: its rows carry the landing that did
-- it last, whether they were built run by run or all at once.
touched as (

    select
        collection_id,
        max(_landing_id) as _landing_id
    from described
    group by collection_id

),

left_behind as (

    {% if is_incremental() -%}
    select
        held.collection_id,
        max(described._landing_id) as _landing_id
    from {{ this }} as held
    inner join described on held.nft_key = described.nft_key and held.collection_id <> described.collection_id
    group by held.collection_id
    {%- else -%}
    select
        earlier.collection_id,
        max(described._landing_id) as _landing_id
    from observations as earlier
    inner join described
        on
            earlier.nft_key = described.nft_key
            and earlier.collection_id <> described.collection_id
            and earlier._landing_id < described._landing_id
    group by earlier.collection_id
    {%- endif %}

),

replaced as (

    select
        collection_id,
        max(_landing_id) as _landing_id
    from (
        select * from touched
        union all
        select * from left_behind
    ) as either_way
    group by collection_id

),

{% if is_incremental() -%}
-- So what the run has not seen of it goes along, with the same landing: what keeps an older one is there no more,
-- and is deleted behind this (delete_outdated_traits).
kept as (

    select
        held.nft_key,
        held.trait_number,
        held.collection_id,
        held.trait_type,
        held.trait_value,
        held.display_type,
        replaced._landing_id
    from {{ this }} as held
    inner join replaced on held.collection_id = replaced.collection_id
    where
        not exists (
            select 1
            from described
            where described.nft_key = held.nft_key
        )

),

{% endif -%}
final as (

    select
        traits.nft_key,
        traits.trait_number,
        traits.collection_id,
        traits.trait_type,
        traits.trait_value,
        traits.display_type,
        replaced._landing_id
    from traits
    inner join replaced on traits.collection_id = replaced.collection_id
    {%- if is_incremental() %}
    union all
    select * from kept
    {%- endif %}

)

select * from final
