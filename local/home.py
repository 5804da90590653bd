"""The state folder: where things are, the generated secrets, the ports chosen, and what was true at the last `up`."""

import contextlib
import fcntl
import json
import os
import secrets as random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

PROJECT = Path(__file__).resolve().parents[1]
WAREHOUSE_ROLES = (
    "sluice_owner",
    "sluice_loader",
    "sluice_transformer",
    "sluice_gate",
    "sluice_publisher",
    "sluice_reporter",
    "analyst",
    "pii_reader",
    "operator",
)
APIS_WITH_KEY = ("driven", "openweather", "opensea", "x")
"""The sandbox's, each with a key of its own."""
KEYS = (*APIS_WITH_KEY, "samples")
"""The sandbox's, and the one of all sources whose samples it serves."""


class LocalError(Exception):
    """Something the user can mend; the message says what is wrong with what, and what to do."""


@dataclass
class Home:
    """One state folder.

    Attributes:
        path: The folder, absolute.
        secrets: Generated passwords and keys by name.
        ports: The port of each service by its name.
        state: What earlier commands remembered.
    """

    path: Path
    secrets: Mapping[str, str]
    ports: dict[str, int] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        """A log for each service, and the tasks' under tasks/."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Which process is which service."""
        return self.path / "run"

    @property
    def docs(self) -> Path:
        """Static pages: dbt's docs in dbt/, the gates' in data_docs/."""
        return self.path / "docs"

    @property
    def mail(self) -> Path:
        """Mails that were sent."""
        return self.path / "mail"

    @property
    def airflow(self) -> Path:
        """Airflow's home."""
        return self.path / "airflow"

    @property
    def s3(self) -> Path:
        """SeaweedFS' data."""
        return self.path / "s3"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data, unless its user cannot get there."""
        return self.path / "postgres"

    @property
    def dbt_target(self) -> Path:
        """What dbt makes of the project."""
        return self.path / "dbt_target"

    @property
    def passwords_file(self) -> Path:
        """The password of Airflow's `admin`, as its SimpleAuthManager wants it."""
        return self.path / "airflow" / "passwords.json"

    def save(self) -> None:
        """Write down ports and state, all or nothing."""
        write_private(self.path / "state.json", {**self.state, "ports": self.ports})


def open_home(path: Path | None = None) -> Home:
    """The state folder of this command, made when it is not there.

    Others may pass through it (root's PostgreSQL runs as another user) but not look; each folder within is closed.

    Args:
        path: The folder; by default $SLUICE_HOME, else `.sluice` in the project.
    """
    folder = (path or Path(os.environ.get("SLUICE_HOME") or PROJECT / ".sluice")).resolve()
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.chmod(0o711)
        for name in ("logs", "run", "docs", "mail", "airflow", "s3", "dbt_target"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as fault:
        raise LocalError(
            f"cannot use the state folder {folder}: {fault.strerror}; set SLUICE_HOME to a folder of yours"
        ) from fault
    state = _read(folder / "state.json")
    ports = {str(name): int(port) for name, port in state.pop("ports", {}).items()}
    home = Home(folder, _secrets(folder / "secrets.json"), ports, state)
    if _read(home.passwords_file) != {"admin": home.secrets["airflow_admin"]}:
        write_private(home.passwords_file, {"admin": home.secrets["airflow_admin"]})
    return home


@contextlib.contextmanager
def alone(home: Home) -> Iterator[None]:
    """Let no two commands start or stop services of one home at once; the second waits, saying so."""
    with (home.path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another command that starts or stops services in {home.path}", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_private(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that only its owner can read, all or nothing."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
    temporary.replace(path)


def _secrets(path: Path) -> dict[str, str]:
    kept = _read(path)
    wanted = {
        "postgres_superuser": random.token_urlsafe(24),
        "postgres_airflow": random.token_urlsafe(24),
        **{f"postgres_{role}": random.token_urlsafe(24) for role in WAREHOUSE_ROLES},
        "s3_access_key": random.token_hex(10),
        "s3_secret_key": random.token_urlsafe(30),
        "airflow_admin": random.token_urlsafe(12),
        "airflow_fernet_key": Fernet.generate_key().decode(),
        "airflow_jwt_secret": random.token_urlsafe(48),
        "airflow_secret_key": random.token_urlsafe(48),
        "broker": random.token_urlsafe(24),
        **{f"sandbox_{api}": random.token_hex(16) for api in KEYS},
    }
    if not wanted.keys() <= kept.keys():
        kept = {**wanted, **kept}
        write_private(path, kept)
    elif path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return {name: str(value) for name, value in kept.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as fault:
        raise LocalError(
            f"{path} is not the JSON that Sluice wrote ({fault}): mend it, or start afresh with ./sluice down --purge"
        ) from fault
    return content if isinstance(content, dict) else {}
