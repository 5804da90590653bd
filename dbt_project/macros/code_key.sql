{#-
    Key of a dimension for a code as recorded: the member found; -1 (not recorded) for a null,
    -2 (not in the list) for a code that the dimension lacks.
-#}
{% macro code_key(code, found_key) -%}
    case when {{ code }} is null then -1 else coalesce({{ found_key }}, -2) end
{%- endmacro %}
