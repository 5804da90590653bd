"""Awaiting a condition that nobody tells of: it is asked for again until it holds."""

import operator
from collections.abc import Callable

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed


def wait_until(
    is_so: Callable[[], bool], what: str | Callable[[], str], seconds: float = 30, *, every_seconds: float = 0.02
) -> None:
    """Return as soon as it is so, and fail if it does not become so in time.

    Args:
        is_so: Whether it is; what this raises is raised.
        what: What is awaited, or a function that says so, and how things stand, once it has not come.
        seconds: Until it has to be so.
        every_seconds: Between two questions; longer where asking costs something.
    """
    again = Retrying(
        retry=retry_if_result(operator.not_), wait=wait_fixed(every_seconds), stop=stop_after_delay(seconds)
    )
    try:
        again(is_so)
    except RetryError:
        raise AssertionError(f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}") from None
