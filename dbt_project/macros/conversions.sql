{#- Kelvin as degrees Celsius. -#}
{% macro kelvin_to_celsius(kelvin) -%}
    cast({{ kelvin }} - 273.15 as numeric(7, 3))
{%- endmacro %}


{#- Kelvin as degrees Fahrenheit. -#}
{% macro kelvin_to_fahrenheit(kelvin) -%}
    cast(({{ kelvin }} - 273.15) * 9 / 5 + 32 as numeric(7, 3))
{%- endmacro %}


{#- Dollars with cents: files carry them as floating point, where 12.30 may be 12.299999999999999. -#}
{% macro usd(column) -%}
    cast({{ column }} as numeric(12, 2))
{%- endmacro %}
