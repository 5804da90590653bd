{#-
    The ids of the run's landings, from the var `landing_ids` ("123,456"); an empty list where it is not set.
    They end up in SQL, so nothing but digits passes.
-#}
{% macro landing_ids() -%}
    {%- set ids = [] -%}
    {%- for id in (var('landing_ids') | string).split(',') if id | trim -%}
        {%- if id | trim | int | string != id | trim -%}
            {{ exceptions.raise_compiler_error(
                "var landing_ids: '" ~ id | trim ~ "' is not the id of a landing; give numbers separated by commas"
            ) }}
        {%- endif -%}
        {%- do ids.append(id | trim) -%}
    {%- endfor -%}
    {{ return(ids) }}
{%- endmacro %}


{#-
    Condition for the rows that this run has to build: those of its landings; without the var, those that are newer
    than what the model holds; all of them where the model is built for the first time or in full.
-#}
{% macro landing_filter(column='_landing_id') -%}
    {%- set ids = landing_ids() -%}
    {%- if not is_incremental() -%}
        true
    {%- elif ids -%}
        {{ column }} in ({{ ids | join(', ') }}){{ of_erased_person() }}
    {%- else -%}
        {{ column }} > (select coalesce(max(held._landing_id), 0) from {{ this }} as held)
    {%- endif -%}
{%- endmacro %}


{#-
    Narrows a slice to one person who was erased, by the var `erased` ("personal_number=erased-4f…"): what is built anew
    is the person's alone, and everybody else's rows stay as they are. Models whose source has persons say
    landing_filter() of a relation that has this column.
-#}
{% macro of_erased_person() -%}
    {%- set erased = var('erased') | string -%}
    {%- if erased -%}
        {%- if not modules.re.fullmatch('[a-z_][a-z0-9_]*=erased-[0-9a-f]{32}', erased) -%}
            {{ exceptions.raise_compiler_error("var erased: give it as column=erased-<32 hexadecimal digits>") }}
        {%- endif -%}
        {{ return(" and " ~ erased.split('=')[0] ~ " = '" ~ erased.split('=')[1] ~ "'") }}
    {%- endif -%}
    {{ return('') }}
{%- endmacro %}


{#-
    Condition for the rows that a test looks at: those of the run's landings, so that it costs the same whatever the
    history; without the var everything.
-#}
{% macro run_filter(column='_landing_id') -%}
    {%- set ids = landing_ids() -%}
    {{ column ~ ' in (' ~ ids | join(', ') ~ ')' if ids else 'true' }}
{%- endmacro %}


{#- The same for a generic test, whose config says `where: __run__`: macros cannot be called there. -#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where') -%}
    {%- if where -%}
        (select * from {{ relation }} where {{ where | replace('__run__', run_filter()) }}) as dbt_subquery
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}


{#-
    Before a month's file is appended: delete what earlier landings of the same service and month have left.
    The months are fetched first and written as literals, so that the planner sees them and uses the index.
-#}
{% macro delete_landed_months() -%}
    {%- if execute and is_incremental() -%}
        {%- set months = run_query(
            'select service, source_month from ' ~ ref('stg_tlc__trip_files') ~ ' where ' ~ landing_filter()
        ) -%}
        {%- if months | length -%}
            delete from {{ this }}
            where
            {%- for month in months.rows %}
                (service = '{{ month[0] }}' and source_month = cast('{{ month[1] }}' as date))
                {{- ' or' if not loop.last }}
            {%- endfor -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#-
    Before a day's snapshot is appended: delete what earlier landings of the day have left. The days are fetched first
    and written as literals, as above. `landings` is the staging model that says which day a landing is for.
-#}
{% macro delete_landed_days(landings, entity) -%}
    {%- if execute and is_incremental() -%}
        {%- set days = run_query(
            'select distinct snapshot_date from ' ~ ref(landings)
            ~ " where entity = '" ~ entity ~ "' and " ~ landing_filter() ~ ' order by snapshot_date'
        ) -%}
        {%- if days | length -%}
            delete from {{ this }}
            where snapshot_date in (
            {%- for day in days.rows -%}
                cast('{{ day[0] }}' as date){{ ', ' if not loop.last }}
            {%- endfor -%}
            )
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
