-- Each NFT of the run's landings has its row of the landing's day, and no other has one.
with

staged as (

    select
        _landing_id,
        count(*) as nfts
    from {{ ref('stg_opensea__nfts') }}
    where {{ run_filter() }}
    group by _landing_id

),

found as (

    select
        _landing_id,
        count(*) as nfts
    from {{ ref('fact_nft_snapshot') }}
    where {{ run_filter() }}
    group by _landing_id

)

select
    staged._landing_id as staged_landing_id,
    found._landing_id as found_landing_id,
    staged.nfts as staged_nfts,
    found.nfts as found_nfts
from staged
full outer join found on staged._landing_id = found._landing_id
where coalesce(staged.nfts, 0) <> coalesce(found.nfts, 0)
