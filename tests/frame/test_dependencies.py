"""The versions: requirements.txt (an Airflow image), uv.lock (a bare machine) and the containers say the same."""

import re
import tomllib
from collections import defaultdict
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.frame.conftest import PROJECT, Run, call

SANDBOX = PROJECT / "local" / "docker" / "requirements.txt"


@pytest.fixture(scope="module")
def locked() -> dict[str, set[str]]:
    """The versions of each package in uv.lock (several where they differ by Python)."""
    versions: dict[str, set[str]] = defaultdict(set)
    for package in tomllib.loads((PROJECT / "uv.lock").read_text())["package"]:
        if "version" in package:
            versions[package["name"]].add(package["version"])
    return versions


@pytest.mark.parametrize("path", [PROJECT / "requirements.txt", SANDBOX], ids=["airflow image", "sandbox image"])
def test_requirements_allow_what_is_locked(path: Path, locked: dict[str, set[str]]) -> None:
    """A container runs what the tests ran with."""
    for requirement in _requirements(path):
        versions = locked[canonicalize_name(requirement.name)]
        assert versions, f"{path.name}: {requirement.name} is not in uv.lock"
        fits = {version for version in versions if version in requirement.specifier}
        assert fits, f"{path.name}: {requirement} does not allow {', '.join(sorted(versions))} of uv.lock"


def test_the_runtime_image_is_the_locked_airflow(locked: dict[str, set[str]]) -> None:
    """Same minor version, and a Python that the project allows."""
    tag = re.search(
        r"^FROM \S+/runtime:(?P<airflow>\d+\.\d+)-\d+-python-(?P<python>\d+\.\d+)$",
        (PROJECT / "Dockerfile").read_text(),
        re.MULTILINE,
    )
    assert tag, "Dockerfile: FROM …/runtime:<Airflow minor>-<build>-python-<minor>"
    (airflow,) = locked["apache-airflow"]
    assert airflow.startswith(f"{tag['airflow']}.")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert tag["python"] in SpecifierSet(project["requires-python"])


def test_the_lock_is_up_to_date(uv: Run) -> None:
    """pyproject.toml and requirements.txt have not changed since uv.lock was made."""
    done = uv("lock", "--check")
    assert done.returncode == 0, done.stdout


def test_an_airflow_image_can_install_the_requirements(uv: Run, tmp_path: Path, locked: dict[str, set[str]]) -> None:
    """They resolve beside the image's own Airflow, on the image's Python."""
    (airflow,) = locked["apache-airflow"]
    (tmp_path / "image.txt").write_text(f"apache-airflow=={airflow}\n")
    wanted, resolved = [tmp_path / "image.txt", PROJECT / "requirements.txt"], tmp_path / "resolved.txt"
    done = uv("pip", "compile", "--quiet", "--python-version", "3.13", "--output-file", resolved, *wanted)
    assert done.returncode == 0, done.stdout
    assert "astronomer-cosmos==" in resolved.read_text()


def test_the_sandbox_image_holds_all_that_the_sandbox_imports(tmp_path: Path) -> None:
    """The image installs local/docker/requirements.txt alone, and copies local/ without the rest of the project."""
    (tmp_path / "local").symlink_to(PROJECT / "local")
    done = call(["python", "-c", "import local.sandbox.__main__"], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stdout
    imported = _imported(PROJECT / "local" / "sandbox")
    assert "fastapi" in imported
    assert imported <= _closure(_requirements(SANDBOX))


def _requirements(path: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def _imported(folder: Path) -> set[str]:
    owners = packages_distributions()
    pattern = re.compile(r"^\s*(?:from|import) (\w+)", re.MULTILINE)
    names = {name for path in folder.rglob("*.py") for name in pattern.findall(path.read_text())}
    return {str(canonicalize_name(owners[name][0])) for name in names if name in owners}


def _closure(wanted: list[Requirement]) -> set[str]:
    found: set[str] = set()
    while wanted:
        name = str(canonicalize_name(wanted.pop().name))
        if name not in found:
            found.add(name)
            needs = (Requirement(line) for line in requires(name) or [])
            wanted += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found
