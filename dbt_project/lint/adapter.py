"""What `adapter` is to a template when sqlfluff lints it: the SQL that the dispatched macros write on Postgres."""

from collections.abc import Callable

_SQL = {
    "json_text": "{0} #>> '{{path}}'",
    "json_value": "{0} #> '{{path}}'",
    "json_unnest": "select {0}.*, elements.{3} from {0} "
    "cross join lateral jsonb_array_elements({0}.{2}) as elements ({3})",
    "epoch_to_timestamp": "to_timestamp({0})",
    "seconds_between": "cast(extract(epoch from ({1} - {0})) as bigint)",
    "two_decimals": "cast({0} as numeric(12, 2))",  # its short form, for the sake of lines
    "read_again": "not materialized",
    "read_once": "materialized",
}


def dispatch(macro: str) -> Callable[..., str]:
    """The macro's SQL as a function of its arguments."""
    return _SQL[macro].format
