-- Each session of the run's landings has its row in the fact, with the version of its person that held when it began.
select
    sessions.unique_id,
    fact.person_key
from {{ ref('int_driven_sessions') }} as sessions
left join {{ ref('fact_network_usage') }} as fact on sessions.unique_id = fact.unique_id
left join {{ ref('dim_person') }} as persons
    on
        fact.person_key = persons.person_key
        and sessions.person_id = persons.person_id
        and sessions.accessed_at >= persons.valid_from_at
        and (persons.is_current or sessions.accessed_at < persons.valid_to_at)
where persons.person_key is null and {{ run_filter('sessions._landing_id') }}
