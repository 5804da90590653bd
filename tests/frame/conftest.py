"""What the tests of the frame share: the project's folder, its tools, and what git holds."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
_NO_NETWORK = re.compile(
    r"dns error|failed to lookup|connection refused|error sending request|timed out|network is unreachable"
    r"|network connectivity is disabled|not found in the cache|failed to fetch",
    re.IGNORECASE,
)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def run() -> Run:
    """Run a tool of the project's environment in the project's folder; its output is text, errors included."""

    def run(
        tool: str, *arguments: str | Path, cwd: Path = PROJECT, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return call([BIN / tool, *arguments], cwd=cwd, env=env)

    return run


@pytest.fixture(scope="session")
def uv() -> Run:
    """Run uv in the project's folder; skips, saying why, where uv or the package registry cannot be had."""
    home = Path(os.environ.get("SLUICE_HOME") or PROJECT / ".sluice")
    found = shutil.which("uv") or shutil.which("uv", path=f"{BIN}:{home / 'uv' / 'bin'}")
    if found is None:
        pytest.skip("uv is not installed: ./sluice test installs it")

    def run(*arguments: str | Path, cwd: Path = PROJECT) -> "subprocess.CompletedProcess[str]":
        done = call([found, *arguments, "--python", sys.executable], cwd=cwd)
        if done.returncode and _NO_NETWORK.search(done.stdout):
            pytest.skip(f"no package registry is reachable: {done.stdout.strip().splitlines()[-1].strip()}")
        return done

    return run


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """Every file that git holds or would take, relative to the project."""
    if shutil.which("git") is None or not (PROJECT / ".git").exists():
        pytest.skip("not a git working copy: there is no list of the project's files")
    names = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=PROJECT, text=True
    )
    return sorted({Path(name) for name in names.split("\0") if name and (PROJECT / name).is_file()})


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """The folder that the Dockerfile makes of the project, as far as that goes without Docker.

    Holds the dbt manifest that the Dockerfile's own RUN instruction has made, at dbt_target/manifest.json.
    """
    home = tmp_path_factory.mktemp("image")
    (home / "dbt_project").symlink_to(PROJECT / "dbt_project")
    instruction = re.search(r"^RUN (dbt parse (?:.*\\\n)*.*)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert instruction, "Dockerfile: no RUN dbt parse"
    script = instruction[1].replace("/usr/local/airflow", str(home))
    done = call(
        ["sh", "-euc", script],
        cwd=home,
        env={"SLUICE_DBT_PROJECT_DIR": str(home / "dbt_project"), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
    )
    assert done.returncode == 0, done.stdout
    return home


def call(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None, seconds: float = 600
) -> "subprocess.CompletedProcess[str]":
    """Run a command with the project's tools first on PATH and no setting of Airflow, dbt, Sluice or Python around."""
    foreign = ("AIRFLOW", "SLUICE", "DBT", "PYTHON")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    own["PATH"] = f"{BIN}{os.pathsep}{own.get('PATH', os.defpath)}"
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**own, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
    )
