{#- Kelvin as degrees Celsius. -#}
{% macro kelvin_to_celsius(kelvin) -%}
    ({{ kelvin }} - 273.15)
{%- endmacro %}


{#- Kelvin as degrees Fahrenheit. -#}
{% macro kelvin_to_fahrenheit(kelvin) -%}
    (({{ kelvin }} - 273.15) * 9 / 5 + 32)
{%- endmacro %}


{#- Dollars with cents: files carry them as floating point, where 12.30 may be 12.299999999999999. -#}
{% macro usd(column) -%}
    cast({{ column }} as numeric(12, 2))
{%- endmacro %}
