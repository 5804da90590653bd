{#-
    What dbt writes otherwise on Redshift. There `text` is varchar(256), and longer ones fail: a contract's text is as
    wide as a varchar can be, 65,535 bytes; what is stored takes no more room for it.
    https://docs.aws.amazon.com/redshift/latest/dg/r_Character_types.html
-#}
{% macro redshift__get_table_columns_and_constraints() -%}
    {%- set columns = {} -%}
    {%- for name, column in model['columns'].items() -%}
        {%- do columns.update({name: dict(column, data_type=wide_text(column['data_type']))}) -%}
    {%- endfor -%}
    (
        {{ (
            adapter.render_raw_columns_constraints(raw_columns=columns)
            + adapter.render_raw_model_constraints(raw_constraints=model['constraints'])
        ) | join(',\n        ') }}
    )
{%- endmacro %}

{% macro wide_text(data_type) -%}
    {{ 'varchar(65535)' if data_type in ('text', 'varchar', 'character varying') else data_type }}
{%- endmacro %}


{#- Redshift has no indexes: `sort` and `dist` of a model's config say how its rows lie. -#}
{% macro redshift__create_indexes(relation) -%}{%- endmacro %}
