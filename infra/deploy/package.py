"""What is shipped: a release (include, dbt project, manifest, DAG files), and the few files around it.

dags/releases/<id>/{include,dbt_project,dags}/… dbt_target/manifest.json release.json
dags/releases/current       the releases' ids, newest first
dags/<name>.py              one a DAG file, all alike: infra/mwaa/dag_file.py
dags/.airflowignore  dags/constraints.txt
plugins.zip  requirements.txt  startup.sh
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CONSTRAINTS = "/usr/local/airflow/dags/constraints.txt"
"""where MWAA's containers have `dags/constraints.txt`"""

_MWAA = "infra/mwaa"
_ROOMS = ("dags", "dbt_project", "include")
_IMAGES_OWN = {"boto3"}  # infra/mwaa/image.txt says why
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;#]+)", re.MULTILINE)
_NOT_SHIPPED = {"__pycache__", "target", "logs", "dbt_packages"}


class PackageError(Exception):
    """What is to be shipped is not fit for it."""


@dataclass(frozen=True)
class Release:
    """A release but for its manifest: `id` follows from `files`, so what is equal has the same id."""

    id: str
    files: dict[str, bytes]
    """path below the release's folder -> content"""


def release(project: Path = PROJECT, *, target: str = "postgres") -> Release:
    """The release that a working copy is.

    Args:
        project: the working copy.
        target: dbt's target, which the manifest is made for.
    """
    files = {str(path.relative_to(project)): path.read_bytes() for room in _ROOMS for path in _shipped(project / room)}
    digest = hashlib.sha256(target.encode())
    # what decides how the manifest comes out belongs to the id; the manifest itself says when it was made
    for name, content in sorted({**files, "requirements.txt": (project / "requirements.txt").read_bytes()}.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return Release(digest.hexdigest()[:12], files)


def with_manifest(release: Release, manifest: bytes) -> dict[str, bytes]:
    """All files of a release, `release.json` (path -> bytes) among them.

    Raises:
        PackageError: the manifest was made of other models than the release's.
    """
    files = {**release.files, "dbt_target/manifest.json": manifest}
    nodes = json.loads(manifest)["nodes"].values()
    made_of = {f"dbt_project/{node['original_file_path']}" for node in nodes if node["resource_type"] == "model"}
    models = {path for path in files if re.fullmatch(r"dbt_project/models/.*\.sql", path)}
    if wrong := sorted(made_of ^ models):
        raise PackageError(f"the dbt manifest is not of this project: {wrong[0]} is in one of them alone; make it anew")
    sizes = {path: len(content) for path, content in sorted(files.items())}
    return {**files, "release.json": json.dumps(sizes, indent=1).encode()}


def parse(project: Path = PROJECT, *, target: str = "postgres") -> bytes:
    """The dbt manifest of a working copy, made now; nothing is connected to.

    Raises:
        PackageError: dbt refuses the project.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-manifest-") as folder:
        command = [sys.executable, "-m", "dbt.cli.main", "parse", "--target", target, "--no-partial-parse"]
        places = {"--project-dir": project / "dbt_project", "--profiles-dir": project / "dbt_project"}
        places |= {"--target-path": Path(folder), "--log-path": Path(folder) / "logs"}
        for option, place in places.items():
            command += [option, str(place)]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise PackageError(f"dbt parse failed:\n{done.stdout}{done.stderr}")
        return (Path(folder) / "manifest.json").read_bytes()


def around(project: Path = PROJECT) -> dict[str, bytes]:
    """What lies around the releases: path below the prefix -> content."""
    mwaa = project / _MWAA
    dag_file = (mwaa / "dag_file.py").read_bytes()
    files = {f"dags/{path.name}": dag_file for path in sorted((project / "dags").glob("*.py"))}
    return files | {
        "dags/.airflowignore": b"releases/\n",
        "dags/constraints.txt": (mwaa / "constraints.txt").read_bytes(),
        "plugins.zip": _plugins(project),
        "requirements.txt": requirements(project).encode(),
        "startup.sh": (mwaa / "startup.sh").read_bytes(),
    }


def requirements(project: Path = PROJECT) -> str:
    """requirements.txt as MWAA takes it: under our constraints, without what its image pins itself.

    Raises:
        PackageError: the constraints are not of these requirements.
    """
    pinned = _pins((project / _MWAA / "constraints.txt").read_text(encoding="utf-8"))
    text = (project / "requirements.txt").read_text(encoding="utf-8")
    wanted = _pins(text)
    for name, version in wanted.items():
        if name not in _IMAGES_OWN and pinned.get(name) != version:
            raise PackageError(
                f"infra/mwaa/constraints.txt: {name} is {pinned.get(name)}, and {version} in requirements.txt; "
                "make the constraints anew (infra/mwaa/image.txt says how)"
            )
    # with their extras: the provider's triggers want aiobotocore
    lines = [pin[0] for pin in _PIN.finditer(text) if pin[1] not in _IMAGES_OWN]
    return "\n".join([f'--constraint "{CONSTRAINTS}"', *lines]) + "\n"


def _pins(text: str) -> dict[str, str]:
    return {pin[1]: pin[2] for pin in _PIN.finditer(text)}


def _plugins(project: Path) -> bytes:
    """plugins.zip: the package `include`, and plugins if there are any; the same bytes for the same content."""
    own = {str(path.relative_to(project / "plugins")): path.read_bytes() for path in _shipped(project / "plugins")}
    files = {name: content for name, content in own.items() if not name.endswith(".md")}
    files["include/__init__.py"] = (project / _MWAA / "include_package.py").read_bytes()
    files[".airflowignore"] = b"include/\n"  # a package, not a plugin: Airflow would import it as one too
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return packed.getvalue()


def _shipped(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part in _NOT_SHIPPED or part.startswith(".") for part in parts):
            yield path
