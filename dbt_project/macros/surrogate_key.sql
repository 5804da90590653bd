{#-
    Key made of the values of these columns: equal values give an equal key, others another. Each value stands behind
    its length, so that no two rows of values read alike; null is unlike any text. Whoever has the key has not the values.
-#}
{% macro surrogate_key(columns) -%}
    md5(
        {%- for column in columns %}
        coalesce(cast(length({{ column }}) as varchar(10)) || ':' || {{ column }}, '-'){{ ' ||' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}
