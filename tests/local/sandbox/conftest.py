"""A real sandbox, in a process of its own, spoken to over HTTP."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

PROJECT = Path(__file__).resolve().parents[3]
KEY = "0123456789abcdef0123456789abcdef"
NOW = "2026-11-21T13:05:00Z"
HOUR = 1795266000
"""The first second of the hour of NOW."""


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox."""

    url: str
    pid: int

    def get(
        self,
        path: str,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """GET a path of it."""
        return requests.get(self.url + path, params=params, headers=headers, stream=stream, timeout=60)

    def stop_clock(self, now: str) -> None:
        """Have the sandbox take a moment for now."""
        answer = requests.put(f"{self.url}/_sandbox/clock", json={"now": now}, timeout=10)
        assert answer.status_code == 204, answer.text

    def weather(self, key: str = KEY, **query: str) -> requests.Response:
        """GET the current weather."""
        return self.get("/data/2.5/weather", params={**query, "appid": key})

    def break_with(self, *rules: dict[str, Any]) -> None:
        """Put these rules in force."""
        answer = requests.put(f"{self.url}/_sandbox/faults", json=rules, timeout=10)
        assert answer.status_code == 204, answer.text

    def counts(self) -> dict[str, Any]:
        """What has been asked so far."""
        found: dict[str, Any] = self.get("/_sandbox/requests").json()
        return found


@contextmanager
def running(*flags: str, **environ: str) -> Iterator[Sandbox]:
    """Start a sandbox on a free port, wait until it is healthy, and stop it at the end."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX_")}
    command = [sys.executable, "-m", "local.sandbox", "--port", "0", *flags]
    with subprocess.Popen(command, cwd=PROJECT, env={**own, **environ}, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"url=(\S+)", line)
            assert found, f"the sandbox did not start: {line!r}"
            sandbox = Sandbox(found[1], process.pid)
            deadline = time.monotonic() + 60
            while sandbox.get("/healthz").status_code != 200:
                assert time.monotonic() < deadline
            yield sandbox
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests that need no settings of their own; its clock stands still."""
    cache = tmp_path_factory.mktemp("sandbox-cache")
    rows = {"SANDBOX_YELLOW_ROWS": "150000", "SANDBOX_GREEN_ROWS": "40000"}
    with running("--cache-dir", str(cache), SANDBOX_NOW=NOW, **rows) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Iterator[Sandbox]:
    """The shared sandbox, behaving, its counts at zero."""
    for control in ("faults", "requests", "clock"):
        requests.delete(f"{shared_sandbox.url}/_sandbox/{control}", timeout=10)
    yield shared_sandbox
    requests.delete(f"{shared_sandbox.url}/_sandbox/faults", timeout=10)


@pytest.fixture
def start() -> Iterator[Callable[..., Sandbox]]:
    """Start a sandbox with flags and settings of the test's own."""
    with ExitStack() as started:
        yield lambda *flags, **environ: started.enter_context(running(*flags, **environ))


@pytest.fixture(scope="session")
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real payloads laid out as --data wants them; skips where they are absent."""
    given = os.environ.get("SLUICE_TEST_DATA")
    source = Path(given) if given else PROJECT.parent / "shared" / "data"
    if not source.is_dir():
        pytest.skip(f"no real payloads in {source}; set SLUICE_TEST_DATA to their folder")
    folder = tmp_path_factory.mktemp("real-data")
    for path, name in (
        ("taxi/parquet/green_tripdata_2024-01.parquet", "tlc/green_tripdata_2024-01.parquet"),
        ("zones/taxi_zone_lookup.attommm.csv", "tlc/taxi_zone_lookup.csv"),
        ("weather/owm_current_186_cities.json", "openweather/cities.json"),
        ("driven/romanmurzac_batch_2024-09-15.csv", "driven/batch_2024-09-15.csv"),
        ("driven/sonick19_batch_2025-04-03.csv", "driven/batch_2025-04-03.csv"),
        ("opensea/v1_asset_cryptodevamigos.json", "opensea/asset.json"),
        ("opensea/v1_assets_keon.json", "opensea/assets.json"),
        ("opensea/v2_nimbus_account_nfts.json", "opensea/nfts.json"),
        ("x/v2/tweepy_test_client_get_users_tweets_0.json", "x/open_rivers.json"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / path, folder / name)
    return folder
