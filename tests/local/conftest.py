"""What the tests of the stack share."""

import threading
import time
from collections.abc import Callable

import pytest


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Wait for a condition to hold, and fail when it does not in time."""

    def wait(holds: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while not holds():
            assert time.monotonic() < deadline, "it did not become true in time"
            pause.wait(0.02)

    return wait
