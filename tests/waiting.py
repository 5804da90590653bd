"""Awaiting a condition that nobody tells of."""

import time
from collections.abc import Callable


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Return as soon as it is so, and fail if it does not become so in time."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)
