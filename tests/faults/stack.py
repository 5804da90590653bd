"""The stack that the fault tests break: the product as it is, with a proxy in front of each of its servers."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from local import airflow
from local.home import open_home
from tests.e2e.conftest import CONNECTIONS_FROM_FILE, PROJECT, Stack, _ask
from tests.faults.proxy import Proxy

CONFIGURATION = "[scheduler]\nuse_job_schedule = False\n\n" + CONNECTIONS_FROM_FILE


@dataclass(frozen=True)
class Breakable(Stack):
    """A stack whose servers are reached through proxies.

    Attributes:
        environment: What the launcher is called with.
        api: In front of the sandbox.
        s3: In front of S3.
        postgres: In front of the warehouse (Airflow's own database is reached past it).
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    api: Proxy = field(default_factory=Proxy)
    s3: Proxy = field(default_factory=Proxy)
    postgres: Proxy = field(default_factory=Proxy)

    def sluice(self, *arguments: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """Run the launcher on this stack's home and return what it printed and how it ended."""
        return subprocess.run(
            [str(self.project / "sluice"), *arguments],
            env=os.environ | self.environment | {"SLUICE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def dsn(self, role: str) -> str:
        """A postgresql:// URI of the warehouse itself, past the proxy."""
        return f"postgresql://{role}:{self.secret(f'postgres_{role}')}@127.0.0.1:{self.port('postgres')}/warehouse"

    def control(self, method: str, what: str, content: object = None) -> None:
        """Tell the sandbox what goes wrong (`faults`) or what time it is (`clock`)."""
        body = None if content is None else json.dumps(content).encode()
        _ask(f"http://127.0.0.1:{self.port('sandbox')}/_sandbox/{what}", method, body)

    def lead_through_proxies(self) -> None:
        """Have every connection of the product lead to the proxies, and the proxies to the servers as they are now."""
        self.api.target, self.s3.target = self.port("sandbox"), self.port("s3")
        self.postgres.target = self.port("postgres")
        found = {
            name.removeprefix("AIRFLOW_CONN_").lower(): json.loads(value)
            for name, value in airflow.connections(open_home(self.home)).items()
        }
        for one in found.values():
            if one["conn_type"] == "postgres":
                one["port"] = self.postgres.port
            elif one["conn_type"] == "http":
                one["port"] = self.api.port
        found["sluice_s3"]["extra"]["endpoint_url"] = f"http://127.0.0.1:{self.s3.port}"
        file = self.home / "connections.json"
        file.with_suffix(".new").write_text(json.dumps(found))
        file.with_suffix(".new").replace(file)


@contextmanager
def start(environment: Mapping[str, str], *, change: Callable[[Path], None] | None = None) -> Iterator[Breakable]:
    """A stack of its own, started by `./sluice up --no-run` from a copy of the project; afterwards nothing is left.

    Args:
        environment: What the launcher is called with.
        change: What is changed in the copy before.
    """
    folder = Path(tempfile.mkdtemp(prefix="sluice-faults-"))
    folder.chmod(0o755)
    left_behind = shutil.ignore_patterns(
        ".git", ".venv", ".sluice", ".*_cache", "__pycache__", "*.egg-info", ".hypothesis"
    )
    shutil.copytree(PROJECT, folder / "project", ignore=left_behind)
    (folder / "project" / ".venv").symlink_to(Path(sys.prefix))
    if change:
        change(folder / "project")
    made = Breakable(folder / "project", folder / "home", environment=environment)
    home = open_home(made.home)
    (made.home / "connections.json").write_text("{}")
    configuration = CONFIGURATION.format(file=made.home / "connections.json")
    (home.airflow / "airflow.cfg").write_text(configuration)
    try:
        started = made.sluice("up", "--no-run")
        assert started.returncode == 0, started.stdout + started.stderr
        made.lead_through_proxies()
        yield made
    finally:
        made.sluice("down", "--purge")
        shutil.rmtree(folder, ignore_errors=True)
