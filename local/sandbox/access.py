"""Who may call an API of the sandbox, and how often: what the APIs with a key have in common."""

import threading
import time
from dataclasses import dataclass

from pydantic import SecretStr


def is_accepted(key: str | None, accepted: SecretStr | None) -> bool:
    """Whether a request's key opens the API.

    Args:
        key: What the request gave, None or empty when it gave none.
        accepted: The setting: one key, or several with commas between them; None accepts whatever is given.
    """
    if not key:
        return False
    return accepted is None or key in {one.strip() for one in accepted.get_secret_value().split(",")}


@dataclass(frozen=True)
class Grant:
    """What a quota says to one request.

    Attributes:
        is_granted: Whether it may go on; one that may not does not count.
        limit: Requests in a window.
        remaining: Requests left in this one.
        reset: When the next window begins, in seconds since 1970.
    """

    is_granted: bool
    limit: int
    remaining: int
    reset: int


class Quota:
    """Requests of each caller in windows of a fixed length, each of which begins with its first request.

    State is the open window of each caller. It goes by the machine's clock, not by the sandbox's: clients wait for the
    reset by theirs.
    """

    def __init__(self, limit: int, seconds: int) -> None:
        self._limit = limit
        self._seconds = seconds
        self._windows: dict[object, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def take(self, caller: object) -> Grant:
        """Ask for one request of this caller, who is anything hashable."""
        with self._lock:
            now = time.time()
            reset, used = self._windows.get(caller, (0, 0))
            if reset <= now:
                reset, used = int(now) + self._seconds, 0
            is_granted = used < self._limit
            used += is_granted
            self._windows[caller] = reset, used
            return Grant(is_granted, self._limit, self._limit - used, reset)
