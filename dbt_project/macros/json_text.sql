{#-
    The value at a path of a JSON column, as text; null where the path leads nowhere.
    Keys are strings, positions in an array are numbers: json_text('payload', ['weather', 0, 'description']).
-#}
{% macro json_text(column, path) -%}
    {{ adapter.dispatch('json_text')(column, path) }}
{%- endmacro %}

{% macro default__json_text(column, path) -%}
    {{ column }} #>> '{% raw %}{{% endraw %}{{ path | join(',') }}{% raw %}}{% endraw %}'
{%- endmacro %}

{% macro redshift__json_text(column, path) -%}
    {{ column }}
    {%- for step in path -%}
        {{ '[' ~ step ~ ']' if step is number else '."' ~ step ~ '"' }}
    {%- endfor -%}
    ::varchar
{%- endmacro %}


{#- The number at a path of a JSON column. -#}
{% macro json_number(column, path, data_type='numeric(9, 3)') -%}
    cast({{ json_text(column, path) }} as {{ data_type }})
{%- endmacro %}


{#- The JSON value at a path of a JSON column; null where the path leads nowhere. -#}
{% macro json_value(column, path) -%}
    {{ adapter.dispatch('json_value')(column, path) }}
{%- endmacro %}

{% macro default__json_value(column, path) -%}
    {{ column }} #> '{% raw %}{{% endraw %}{{ path | join(',') }}{% raw %}}{% endraw %}'
{%- endmacro %}

{% macro redshift__json_value(column, path) -%}
    {{ column }}
    {%- for step in path -%}
        {{ '[' ~ step ~ ']' if step is number else '."' ~ step ~ '"' }}
    {%- endfor -%}
{%- endmacro %}
