{#- Schemas carry the exact names of the design (staging, marts), whatever the profile's own schema is. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
