-- Each payload of the run's landings has its row in the fact.
select
    staged.city_id,
    staged.observed_at
from {{ ref('stg_openweather__observations') }} as staged
left join {{ ref('fact_weather_observation') }} as fact
    on
        staged.city_id = fact.city_id
        and staged.observed_at = fact.observed_at
        and staged._landing_id = fact._landing_id
where fact.city_id is null and {{ run_filter('staged._landing_id') }}
