"""What a result says to people: one sentence, counts and aggregates only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from numbers import Number
from typing import Any

from include.gates.rules import Rule

_UNEXPECTED: Mapping[str, str] = {
    "expect_column_values_to_not_be_null": "null",
    "expect_column_values_to_be_null": "not null",
    "expect_column_values_to_be_unique": "repeated",
    "expect_compound_columns_to_be_unique": "repeated in these columns together",
    "expect_column_values_to_be_in_set": "not one of {value_set}",
    "expect_column_values_to_not_be_in_set": "one of {value_set}",
    "expect_column_values_to_be_between": "not {between}",
    "expect_column_value_lengths_to_be_between": "not {between} characters long",
    "expect_column_values_to_match_regex": "not of the form {regex}",
    "expect_column_values_to_not_match_regex": "of the form {regex}",
    "expect_column_pair_values_a_to_be_greater_than_b": "not {column_A} {greater} {column_B}",
    "expect_column_pair_values_to_be_equal": "not {column_A} = {column_B}",
}
"""expectation -> what an unexpected row is"""

_AGGREGATES: Mapping[str, str] = {
    "expect_table_row_count_to_be_between": "row count",
    "expect_table_row_count_to_equal": "row count",
    "expect_column_min_to_be_between": "minimum",
    "expect_column_max_to_be_between": "maximum",
    "expect_column_mean_to_be_between": "mean",
    "expect_column_median_to_be_between": "median",
    "expect_column_sum_to_be_between": "sum",
    "expect_column_stdev_to_be_between": "standard deviation",
    "expect_column_unique_value_count_to_be_between": "number of distinct values",
    "expect_column_proportion_of_unique_values_to_be_between": "share of distinct values",
    "expect_column_proportion_of_non_null_values_to_be_between": "share of rows that are not null",
}
"""expectation -> the number that it is about"""


def sentence(
    rule: Rule, name: str, checked: int | None, unexpected: int | None, observed: str | None, *, rows: str = "rows"
) -> str:
    """What was found and what was expected: `fact_taxi_trip.trip_key: 3 of 56,551 rows are null; expected none`."""
    if checked is not None and unexpected is not None:
        mostly = float(rule.arguments.get("mostly", 1))
        allowed = "none" if mostly >= 1 else f"at most {_percent(1 - mostly)}"
        share = f" ({_percent(unexpected / checked)})" if checked and unexpected and mostly < 1 else ""
        is_are = "is" if unexpected == 1 else "are"
        what = _UNEXPECTED.get(rule.expectation, "not as expected").format(**_words(rule))
        shown = f" ({observed})" if observed and not observed[0].isdigit() else ""
        condition = f" where {c}" if (c := rule.arguments.get("row_condition")) else ""
        return (
            f"{name}: {unexpected:,} of {checked:,} {rows}{condition} {is_are} {what}{share}{shown}; expected {allowed}"
        )
    if aggregate := _AGGREGATES.get(rule.expectation):
        expected = f"{rule.arguments['value']:,}" if "value" in rule.arguments else _between(rule.arguments)
        return f"{name}: {aggregate} is {observed}; expected {expected}"
    if rule.expectation == "unexpected_rows_expectation":
        return f"{name}: {observed}; expected none, for {rule.why}"
    arguments = ", ".join(f"{key}={value}" for key, value in rule.arguments.items() if key != "column")
    return f"{name}: {observed or 'not as expected'}; expected {rule.expectation.removeprefix('expect_')}({arguments})"


def reason_text(rule: Rule, name: str) -> str:
    """Why a row is held, the same for all of them: `stg_tlc__yellow_trips.picked_up_at is null: a trip …`."""
    what = _UNEXPECTED.get(rule.expectation, "not as expected").format(**_words(rule))
    return f"{name} is {what}: {rule.why}"


def observed_text(
    rule: Rule, detail: Mapping[str, Any], checked: int | None, unexpected: int | None, *, show_values: bool
) -> str | None:
    """What Great Expectations observed, as far as it is no row's value: counts, shares, numbers, names of columns.

    Args:
        rule: what was expected.
        detail: `result` of the validation result.
        checked: rows judged.
        unexpected: rows that are not as expected.
        show_values: the table is a profile of files, whose values may be shown.
    """
    if show_values and unexpected and (values := detail.get("partial_unexpected_list")):
        shown = "; ".join(dict.fromkeys(str(value) for value in values))
        return shown + ("; …" if unexpected > len(values) else "")
    if unexpected is not None and checked is not None:
        return _percent(unexpected / checked) if checked else "no rows"
    value = detail.get("observed_value")
    if rule.expectation == "unexpected_rows_expectation":
        return f"{value:,} row{'' if value == 1 else 's'} found by its query"
    if rule.expectation.startswith("expect_table_columns"):
        mismatched = (detail.get("details") or {}).get("mismatched") or {}
        faults = [f"{key}: {', '.join(map(str, names))}" for key, names in dict(mismatched).items()]
        return "; ".join(faults) or f"{len(value or ())} columns"
    if rule.expectation in ("expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list"):
        return str(value)
    if isinstance(value, bool) or value is None:
        return None if value is None else str(value)
    if isinstance(value, Decimal | Number | datetime | date):
        return _number(value)
    if isinstance(value, str):
        # Great Expectations writes times as text; any other text may be somebody's name
        return value if "column_m" in rule.expectation and _is_time(value) else "a text"
    return f"{len(value):,} values" if isinstance(value, list | set | tuple | dict) else None


def _words(rule: Rule) -> Mapping[str, Any]:
    return {
        **rule.arguments,
        "value_set": ", ".join(map(str, rule.arguments.get("value_set") or ())),
        "between": _between(rule.arguments),
        "greater": ">=" if rule.arguments.get("or_equal") else ">",
    }


def _between(arguments: Mapping[str, Any]) -> str:
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if low is not None and high is not None:
        return f"between {_number(low)} and {_number(high)}"
    if low is not None:
        return f"{'more than' if arguments.get('strict_min') else 'at least'} {_number(low)}"
    if high is not None:
        return f"{'less than' if arguments.get('strict_max') else 'at most'} {_number(high)}"
    return "anything"


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, int) or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.6g}"


def _percent(share: float) -> str:
    """A share as text that never rounds something to 0 % or nearly all to 100 %."""
    text = f"{100 * share:.2f}".rstrip("0").rstrip(".")
    if text in ("0", "100") and share not in (0, 1):
        text = f"{100 * share:.2g}" if share < 0.5 else "over 99.99"
    return f"{text} %"


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
