{#-
    How Postgres treats a CTE, which it cannot tell well from sizes it does not know. `as {{ read_again() }} (…)`: read
    its source anew for each use, and of it only the columns needed, as that costs less than a copy on disk.
    `as {{ read_once() }} (…)`: compute it once and keep the result. (To dbt Redshift is a Postgres unless told otherwise.)
-#}
{% macro read_again() -%}
    {{ adapter.dispatch('read_again')() }}
{%- endmacro %}

{% macro default__read_again() -%}{%- endmacro %}

{% macro redshift__read_again() -%}{%- endmacro %}

{% macro postgres__read_again() -%}
    not materialized
{%- endmacro %}


{% macro read_once() -%}
    {{ adapter.dispatch('read_once')() }}
{%- endmacro %}

{% macro default__read_once() -%}{%- endmacro %}

{% macro redshift__read_once() -%}{%- endmacro %}

{% macro postgres__read_once() -%}
    materialized
{%- endmacro %}


{#-
    Hook: no merge joins in the model's transaction. Postgres takes one where it does not know how few rows the other
    side has, and then sorts a whole month of trips on disk.
-#}
{% macro join_by_hash() -%}
    {{ adapter.dispatch('join_by_hash')() }}
{%- endmacro %}

{% macro default__join_by_hash() -%}{%- endmacro %}

{% macro redshift__join_by_hash() -%}{%- endmacro %}

{% macro postgres__join_by_hash() -%}
    set local enable_mergejoin = off
{%- endmacro %}
