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
    {{ two_decimals(column) }}
{%- endmacro %}


{#-
    A floating-point number as numeric(12, 2). Postgres goes by way of the number's text, which takes twice to three times
    as long as from whole hundredths; those that are none (and what is no number) still go that way.
-#}
{% macro two_decimals(column) -%}
    {{ adapter.dispatch('two_decimals')(column) }}
{%- endmacro %}

{% macro default__two_decimals(column) -%}
    case
        when
            abs({{ column }} * 100 - round({{ column }} * 100)) < cast(1e-6 as double precision)
            and abs({{ column }}) < cast(1e9 as double precision)
            then cast(cast({{ column }} * 100 as bigint) * 0.01 as numeric(12, 2))
        else cast({{ column }} as numeric(12, 2))
    end
{%- endmacro %}

{% macro redshift__two_decimals(column) -%}
    cast({{ column }} as numeric(12, 2))
{%- endmacro %}
