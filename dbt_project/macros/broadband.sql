{#-
    Query for the persons whose sessions this run has changed, each with the newest of the landings that did it. A
    session that was another person's before has changed both.
-#}
{% macro touched_persons(sessions) -%}
    select
        person_id,
        max(_landing_id) as _landing_id
    from (
        select
            person_id,
            _landing_id
        from {{ sessions }}
        where {{ landing_filter() }}
        union all
        select
            previous_person_id as person_id,
            _landing_id
        from {{ sessions }}
        where previous_person_id is not null and {{ landing_filter() }}
    ) as changed
    group by person_id
{%- endmacro %}


{#-
    Before persons are written anew: a version that begins with a session which is another person's now is none. (Whose
    versions are deleted here and have sessions left is touched by the run, and so written again.)
-#}
{% macro delete_versions_passed_on() -%}
    {%- if execute and is_incremental() -%}
        delete from {{ this }}
        where
            person_key in (
                select unique_id
                from {{ ref('int_driven_sessions') }}
                where previous_person_id is not null and {{ landing_filter() }}
            )
    {%- endif -%}
{%- endmacro %}


{#- A value of which nothing is shown, not even its length or that there is none. -#}
{% macro masked() -%}
    '*****'
{%- endmacro %}


{#- A value of which the first five characters are shown, and nothing of the rest, not even its length. -#}
{% macro masked_after_five(column) -%}
    left(coalesce({{ column }}, ''), 5) || {{ masked() }}
{%- endmacro %}
