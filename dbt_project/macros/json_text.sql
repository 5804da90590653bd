{#-
    The value at a path of a JSON column, as text; null where the path leads nowhere.
    Keys are strings, positions in an array are numbers: json_text('payload', ['weather', 0, 'description']).
-#}
{% macro json_text(column, path) -%}
    {{ adapter.dispatch('json_text')(column, path) }}
{%- endmacro %}

{% macro default__json_text(column, path) -%}
    {{ column }} #>> '{% raw %}{{% endraw %}{{ json_path(path) }}{% raw %}}{% endraw %}'
{%- endmacro %}

{% macro redshift__json_text(column, path) -%}
    {{ column }}
    {%- for step in path -%}
        {{ '[' ~ step ~ ']' if step is number else '."' ~ step | replace('"', '""') ~ '"' }}
    {%- endfor -%}
    ::varchar(65535)
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
    {{ column }} #> '{% raw %}{{% endraw %}{{ json_path(path) }}{% raw %}}{% endraw %}'
{%- endmacro %}

{% macro redshift__json_value(column, path) -%}
    {{ column }}
    {%- for step in path -%}
        {{ '[' ~ step ~ ']' if step is number else '."' ~ step | replace('"', '""') ~ '"' }}
    {%- endfor -%}
{%- endmacro %}


{#- A path as Postgres writes arrays, between the braces: what is more than letters and digits goes in quotes. -#}
{% macro json_path(path) -%}
    {%- for step in path -%}
        {%- if modules.re.fullmatch('[A-Za-z0-9_]+', step | string) and step | lower != 'null' -%}
            {{ step }}
        {%- else -%}
            "{{ step | replace('\\', '\\\\') | replace('"', '\\"') | replace("'", "''") }}"
        {%- endif -%}
        {{ ',' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
