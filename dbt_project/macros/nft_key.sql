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
