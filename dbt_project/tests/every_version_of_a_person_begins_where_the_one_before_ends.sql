-- The versions of the persons that this run has touched follow each other without gap or overlap; the last is current.
with

versions as (

    select
        *,
        lead(valid_from_at) over (partition by person_id order by valid_from_at) as next_valid_from_at
    from {{ ref('dim_person') }}
    where {{ run_filter() }}

)

select
    person_key,
    valid_from_at,
    valid_to_at,
    next_valid_from_at
from versions
where
    is_current <> (next_valid_from_at is null)
    or is_current <> (valid_to_at is null)
    or valid_to_at <> next_valid_from_at
