{#-
    Keeps Postgres from writing a CTE that is read more than once to disk: reading a file's rows again, and of them
    only the columns needed, costs less than a copy of them all.
-#}
{% macro not_materialized() -%}
    {{ adapter.dispatch('not_materialized')() }}
{%- endmacro %}

{% macro default__not_materialized() -%}{%- endmacro %}

{% macro postgres__not_materialized() -%}
    not materialized
{%- endmacro %}
