"""Where the stack listens: on loopback, elsewhere only if it is asked for twice."""

import os
import subprocess
import sys

import pytest

from local.home import PROJECT


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A program of its own: the address is read when the launcher starts."""
    kept = {name: value for name, value in os.environ.items() if name not in ("SLUICE_HOST", "SLUICE_ALLOW_REMOTE")}
    return subprocess.run(
        [sys.executable, "-c", code], env=kept | env, cwd=PROJECT, capture_output=True, text=True, check=False
    )


def launcher(**env: str) -> subprocess.CompletedProcess[str]:
    return run("import sys; from local.__main__ import main; sys.exit(main(['status']))", **env)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "8.8.8.8"])  # noqa: S104 - that it is refused
def test_an_address_that_others_reach_is_refused_unless_it_is_allowed(host: str, tmp_path: object) -> None:
    refused = launcher(SLUICE_HOST=host, SLUICE_HOME=str(tmp_path))
    assert refused.returncode == 1
    assert f"SLUICE_HOST={host} can be reached from other machines" in refused.stderr
    assert "unset it to listen on 127.0.0.1" in refused.stderr.lower().replace("\n", " ")
    assert "SLUICE_ALLOW_REMOTE=1" in refused.stderr
    allowed = launcher(SLUICE_HOST=host, SLUICE_ALLOW_REMOTE="1", SLUICE_HOME=str(tmp_path))
    assert "SLUICE_HOST" not in allowed.stderr


@pytest.mark.parametrize("host", ["::1", "localhost.localdomain", "everywhere"])
def test_what_is_no_address_is_said_so(host: str, tmp_path: object) -> None:
    refused = launcher(SLUICE_HOST=host, SLUICE_ALLOW_REMOTE="1", SLUICE_HOME=str(tmp_path))
    assert refused.returncode == 1
    assert f"SLUICE_HOST={host} is no IPv4 address" in refused.stderr


def test_by_default_the_servers_listen_on_loopback_and_nowhere_else() -> None:
    code = (
        "import pathlib, psutil\n"
        "from local import stack\n"
        "here = pathlib.Path(__import__('tempfile').mkdtemp())\n"
        "here.chmod(0o711)\n"
        "with stack.postgres(here), stack.s3(here):\n"
        "    own = [psutil.Process(), *psutil.Process().children(recursive=True)]\n"
        "    held = [one for process in own for one in process.net_connections('inet') if one.status == 'LISTEN']\n"
        "    print(len(held), sorted({one.laddr.ip for one in held}))\n"
        "__import__('shutil').rmtree(here)\n"
    )
    done = run(code)
    count, _, addresses = done.stdout.strip().partition(" ")
    assert addresses == "['127.0.0.1']", done.stdout + done.stderr
    assert int(count) >= 6  # PostgreSQL, S3, and S3's inner ports with their gRPC


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - the command lines alone
def test_every_service_is_told_the_address(host: str, tmp_path: object) -> None:
    code = (
        "from pathlib import Path\n"
        "from local import airflow, services\n"
        "from local.home import open_home\n"
        "home = open_home()\n"
        "home.ports |= {name: 1 for one in services.SERVICES for name in (one.name, *one.inner_ports)}\n"
        "for one in services.SERVICES:\n"
        "    if one.port is not None:\n"
        "        told = [*one.command(home), str(airflow.env(home)['AIRFLOW__API__HOST'])]\n"
        f"        print(one.name, told[-1] if one.name == 'airflow' else {host!r} in ' '.join(told[:-1]))\n"
    )
    done = run(code, SLUICE_HOST=host, SLUICE_ALLOW_REMOTE="1", SLUICE_HOME=str(tmp_path))
    assert dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2) == {
        "postgres": "True", "s3": "True", "sandbox": "True", "smtp": "True", "docs": "True", "airflow": host,
    }, done.stdout + done.stderr  # fmt: skip
