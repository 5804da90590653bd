"""What `dbt` is to a template when sqlfluff lints it: the cross-database macros that the models use."""


def date_spine(_part: str, first_day: str, end_day: str) -> str:
    """A query with one row per day."""
    return f"select {first_day} as date_day where {end_day} is not null"


def dateadd(part: str, count: int, column: str) -> str:
    """A date that is so many parts later."""
    return f"{column} + {count} * interval '1 {part}'"


def last_day(column: str, part: str) -> str:
    """The last day of the month (or another part) that a date is in."""
    return f"cast(date_trunc('{part}', {column}) as date)"
