{#-
    A query: one row for each element of a JSON array, with the columns named of the row that has it. The element is
    the JSON column `element`, its position the column `position`, counted from 1. No array, no rows.
    The relation is the name of a CTE, the array one of its columns.
-#}
{% macro json_unnest(relation, columns, array, element, position) -%}
    {{ adapter.dispatch('json_unnest')(relation, columns, array, element, position) }}
{%- endmacro %}

{% macro default__json_unnest(relation, columns, array, element, position) -%}
    select
        {%- for column in columns %}
        {{ relation }}.{{ column }},
        {%- endfor %}
        elements.{{ element }},
        cast(elements.{{ position }} as integer) as {{ position }}
    from {{ relation }}
    cross join
        lateral jsonb_array_elements(
            case when jsonb_typeof({{ relation }}.{{ array }}) = 'array' then {{ relation }}.{{ array }} end
        ) with ordinality as elements ({{ element }}, {{ position }})
{%- endmacro %}

{#- https://docs.aws.amazon.com/redshift/latest/dg/query-super.html#unnest: of what is no array, the value itself -#}
{% macro redshift__json_unnest(relation, columns, array, element, position) -%}
    select
        {%- for column in columns %}
        {{ relation }}.{{ column }},
        {%- endfor %}
        {{ element }},
        cast({{ position }} + 1 as integer) as {{ position }}
    from {{ relation }}, {{ relation }}.{{ array }} as {{ element }} at {{ position }}
    where is_array({{ relation }}.{{ array }})
{%- endmacro %}
