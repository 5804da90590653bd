with

source as (

    select * from {{ source('opensea', 'stats') }}

),

-- the answer does not say whose stats they are; the request does
renamed as (

    select
        {{ json_text('_request', ['collection']) }} as collection_id,

        -- since the collection began
        {{ json_number('payload', ['total', 'volume'], 'numeric(30, 10)') }} as volume_native,
        {{ json_number('payload', ['total', 'sales'], 'numeric(18, 0)') }} as sales,
        {{ json_number('payload', ['total', 'average_price'], 'numeric(30, 10)') }} as average_price_native,

        -- now
        {{ json_number('payload', ['total', 'num_owners'], 'numeric(18, 0)') }} as owners,
        {{ json_number('payload', ['total', 'market_cap'], 'numeric(30, 10)') }} as market_cap_native,
        {{ json_number('payload', ['total', 'floor_price'], 'numeric(30, 10)') }} as floor_price_native,
        {{ json_text('payload', ['total', 'floor_price_symbol']) }} as currency_symbol,

        {{ json_value('payload', ['intervals']) }} as intervals,
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

newest as (

    select * from ranked
    where newest_first = 1

),

unnested as (

    {{ json_unnest('newest', ['_landing_id', 'collection_id'], 'intervals', 'stretch', 'stretch_number') }}

),

-- of late: the array's order is not promised, its names are
by_interval as (

    select
        _landing_id,
        collection_id,
        {{ json_text('stretch', ['interval']) }} as interval_name,
        {{ json_number('stretch', ['volume'], 'numeric(30, 10)') }} as volume_native,
        {{ json_number('stretch', ['sales'], 'numeric(18, 0)') }} as sales
    from unnested

),

recent as (

    select
        _landing_id,
        collection_id,
        max(case when interval_name = 'one_day' then sales end) as one_day_sales,
        max(case when interval_name = 'one_day' then volume_native end) as one_day_volume_native,
        max(case when interval_name = 'seven_day' then sales end) as seven_day_sales,
        max(case when interval_name = 'seven_day' then volume_native end) as seven_day_volume_native,
        max(case when interval_name = 'thirty_day' then sales end) as thirty_day_sales,
        max(case when interval_name = 'thirty_day' then volume_native end) as thirty_day_volume_native
    from by_interval
    group by
        _landing_id,
        collection_id

),

final as (

    select
        newest.collection_id,

        -- since the collection began
        newest.volume_native,
        cast(newest.sales as bigint) as sales,
        newest.average_price_native,

        -- now
        cast(newest.owners as bigint) as owners,
        newest.market_cap_native,
        newest.floor_price_native,
        newest.currency_symbol,

        -- of late
        cast(recent.one_day_sales as bigint) as one_day_sales,
        cast(recent.one_day_volume_native as numeric(30, 10)) as one_day_volume_native,
        cast(recent.seven_day_sales as bigint) as seven_day_sales,
        cast(recent.seven_day_volume_native as numeric(30, 10)) as seven_day_volume_native,
        cast(recent.thirty_day_sales as bigint) as thirty_day_sales,
        cast(recent.thirty_day_volume_native as numeric(30, 10)) as thirty_day_volume_native,

        -- lineage
        newest._landing_id,
        newest._row,
        newest._loaded_at
    from newest
    left join recent
        on newest._landing_id = recent._landing_id and newest.collection_id = recent.collection_id

)

select * from final
