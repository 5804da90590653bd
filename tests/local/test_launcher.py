"""The bash launcher: where it finds its project, and when it installs.

A stand-in for uv notes what it was asked for.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local.home import PROJECT

# Makes an environment whose python only says what it was called with; slow enough for two launchers to meet.
UV = """#!/usr/bin/env bash
echo "$*" >>"$UV_CALLS"
[ "$1" = sync ] || exit 0
[ -z "${UV_FAILS:-}" ] || exit 1
sleep 0.5
mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"
printf '#!/bin/sh\\necho "$PWD|$PYTHONPATH|$SLUICE_HOME|$*"\\n' >"$UV_PROJECT_ENVIRONMENT/bin/python"
chmod +x "$UV_PROJECT_ENVIRONMENT/bin/python"
"""

Launch = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    folder.mkdir()
    shutil.copy(PROJECT / "sluice", folder)
    for name in ("uv.lock", "pyproject.toml", "requirements.txt"):
        (folder / name).write_text(name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text(UV)
    (tmp_path / "bin" / "uv").chmod(0o755)
    return folder


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "SLUICE_PYTHON": sys.executable,
        "UV_CALLS": str(tmp_path / "calls"),
    }


@pytest.fixture
def launch(project: Path, tmp_path: Path, environ: dict[str, str]) -> Launch:
    def run(*arguments: str, path: Path = project / "sluice", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(path), *arguments], cwd=tmp_path, env=environ | env, capture_output=True, text=True, check=False
        )

    return run


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []


def test_it_installs_once_and_hands_over_from_any_folder_through_any_link(
    project: Path, tmp_path: Path, launch: Launch
) -> None:
    link = tmp_path / "link"
    link.symlink_to("a project/sluice")
    said = f"{tmp_path}|{project}|{project}/.sluice|-P -m local status --json"
    assert launch("status", "--json").stdout.strip() == said
    assert launch("status", "--json", path=link).stdout.strip() == said
    (sync,) = calls(tmp_path)
    assert sync == f"sync --frozen --inexact --no-install-project --python {sys.executable}"


def test_a_changed_lock_is_installed_again(project: Path, tmp_path: Path, launch: Launch) -> None:
    launch()
    (project / "uv.lock").write_text("other")
    launch()
    assert len(calls(tmp_path)) == 2


def test_an_installation_that_failed_is_tried_again(tmp_path: Path, launch: Launch) -> None:
    failed = launch(UV_FAILS="1")
    assert failed.returncode == 1
    assert "uv could not install what uv.lock names" in failed.stderr
    assert launch().returncode == 0
    assert len(calls(tmp_path)) == 2


def test_of_two_launchers_that_start_at_once_one_installs(
    project: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    both = [
        subprocess.Popen([project / "sluice", "x"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [one.wait(60) for one in both] == [0, 0]
    for one in both:
        one.communicate()
    assert len(calls(tmp_path)) == 1


def test_an_interpreter_that_does_not_fit_is_named(launch: Launch) -> None:
    refused = launch(SLUICE_PYTHON="/bin/true")
    assert refused.returncode == 1
    assert refused.stderr.strip() == (
        "sluice: SLUICE_PYTHON=/bin/true is no Python 3.11, 3.12 or 3.13: point it to one"
    )


def test_without_a_python_it_says_what_to_install(tmp_path: Path, environ: dict[str, str], project: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "readlink", "dirname", "mkdir", "cksum", "cat"):
        (tools / name).symlink_to(shutil.which(name) or name)
    del environ["SLUICE_PYTHON"]
    refused = subprocess.run(
        [project / "sluice"], env=environ | {"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "no Python 3.11, 3.12 or 3.13 found on PATH: install one" in refused.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_project_that_is_read_only_asks_for_a_home_and_keeps_its_environment_there(
    project: Path, tmp_path: Path, launch: Launch
) -> None:
    project.chmod(0o555)
    try:
        assert "set SLUICE_HOME to a folder of yours" in launch().stderr
        home = tmp_path / "home"
        assert launch(SLUICE_HOME=str(home)).returncode == 0
        assert (home / "venv" / "bin" / "python").exists()
    finally:
        project.chmod(0o755)
