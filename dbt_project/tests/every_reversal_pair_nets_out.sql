-- The charges and reversals that are paired in a file cancel each other to the cent.
select
    _landing_id,
    sum(total_amount_usd) as left_over_usd
from {{ ref('fact_taxi_trip') }}
where has_reversal_pair and {{ run_filter() }}
group by _landing_id
having sum(total_amount_usd) <> 0
