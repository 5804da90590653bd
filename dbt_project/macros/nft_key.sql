{#-
    An NFT's key: contract and identifier, as in its address on opensea.io. Addresses of Ethereum's kind are written in
    either case and mean the same; those of other chains mean another with another case.
-#}
{% macro nft_key(contract, identifier) -%}
    {{ contract_address(contract) }} || '/' || ({{ identifier }})
{%- endmacro %}

{% macro contract_address(contract) -%}
    case when {{ contract }} like '0x%' then lower({{ contract }}) else {{ contract }} end
{%- endmacro %}


{#-
    Behind a run that has merged a collection's traits: delete what keeps an older landing than the collection's newest,
    which is what its NFTs have no more. Rows that still hold have been given the newest.
-#}
{% macro delete_outdated_traits() -%}
    {%- if is_incremental() -%}
        delete from {{ this }}
        where
            collection_id in (select touched.collection_id from {{ this }} as touched where {{ run_filter('touched._landing_id') }})
            and _landing_id < (
                select max(newest._landing_id)
                from {{ this }} as newest
                where newest.collection_id = {{ this }}.collection_id
            )
    {%- endif -%}
{%- endmacro %}
