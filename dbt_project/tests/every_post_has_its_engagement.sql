-- Each post of the run's landings has its counts of the landing's day.
select
    staged.post_id,
    landings.snapshot_date
from {{ ref('stg_x__posts') }} as staged
inner join {{ ref('stg_x__landings') }} as landings on staged._landing_id = landings._landing_id
left join {{ ref('fact_post_engagement') }} as fact
    on staged.post_id = fact.post_id and landings.snapshot_date = fact.snapshot_date
where fact.post_id is null and {{ run_filter('staged._landing_id') }}
