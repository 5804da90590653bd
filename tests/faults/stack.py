"""The stack that the fault tests break: the product as it is, with a proxy in front of each of its servers."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from local import airflow
from local.home import open_home
from tests.e2e.conftest import Stack, _ask
from tests.faults.proxy import Proxy


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
