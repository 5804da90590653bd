"""A sandbox whose clock stands still, and what a step works on."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="session")
def sandbox() -> Iterator[str]:
    """Base URL of a sandbox at 2026-11-21 13:05 UTC, with small taxi months."""
    environment = os.environ | {
        "SANDBOX_OPENWEATHER_KEY": KEY,
        "SANDBOX_NOW": "2026-11-21T13:05:00Z",
        "SANDBOX_YELLOW_ROWS": "3000",
        "SANDBOX_GREEN_ROWS": "1000",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "local.sandbox", "--port", "0"],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        found = re.search(r"url=(\S+)", process.stdout.readline())
        assert found, "the sandbox did not start"
        yield found[1]
        process.terminate()
