{#- The instant that is so many seconds after 1970-01-01 UTC. -#}
{% macro epoch_to_timestamp(seconds) -%}
    {{ adapter.dispatch('epoch_to_timestamp')(seconds) }}
{%- endmacro %}

{% macro default__epoch_to_timestamp(seconds) -%}
    to_timestamp({{ seconds }})
{%- endmacro %}

{% macro redshift__epoch_to_timestamp(seconds) -%}
    (timestamptz 'epoch' + {{ seconds }} * interval '1 second')
{%- endmacro %}


{#- What a clock shows at an instant where time is shifted from UTC by so many seconds: a timestamp without zone. -#}
{% macro local_time(instant, utc_offset_seconds) -%}
    ({{ instant }} at time zone 'UTC') + {{ utc_offset_seconds }} * interval '1 second'
{%- endmacro %}


{#- Whole seconds from one timestamp to a later one; negative where it is earlier. -#}
{% macro seconds_between(earlier, later) -%}
    {{ adapter.dispatch('seconds_between')(earlier, later) }}
{%- endmacro %}

{% macro default__seconds_between(earlier, later) -%}
    cast(extract(epoch from ({{ later }} - {{ earlier }})) as bigint)
{%- endmacro %}

{% macro redshift__seconds_between(earlier, later) -%}
    datediff(second, {{ earlier }}, {{ later }})
{%- endmacro %}


{#- A date as the number yyyymmdd, the key of dim_date. -#}
{% macro date_key(date) -%}
    cast(extract(year from {{ date }}) * 10000 + extract(month from {{ date }}) * 100 + extract(day from {{ date }}) as integer)
{%- endmacro %}


{#- The instant that a text of ISO 8601 in UTC says, with or without a Z. -#}
{% macro utc_timestamp(text) -%}
    cast({{ text }} as timestamp) at time zone 'UTC'
{%- endmacro %}
