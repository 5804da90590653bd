"""A working copy small enough to deploy often, and the bucket's content as MWAA copies it to a container."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.deploy import package
from infra.deploy.bucket import Bucket, Change
from local import s3 as seaweed
from local.stack import Store
from tests.conftest import S3
from tests.frame.conftest import PROJECT, run, uv

__all__ = ["run", "uv"]  # fixtures here too


def listing(s3: S3) -> dict[str, int]:
    """Key -> size of all objects of the test's bucket."""
    pages = s3.client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket)
    return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}


def content(s3: S3, key: str) -> bytes:
    """An object's."""
    return s3.client.get_object(Bucket=s3.bucket, Key=key)["Body"].read()


@dataclass(frozen=True)
class Container:
    """An MWAA container's /usr/local/airflow, elsewhere."""

    home: Path

    @property
    def dags(self) -> Path:
        """What MWAA copies the prefix `dags/` to."""
        return self.home / "dags"

    @property
    def plugins(self) -> Path:
        """What plugins.zip is unpacked to."""
        return self.home / "plugins"

    @property
    def env(self) -> dict[str, str]:
        """Airflow's variables there. No PYTHONPATH: MWAA keeps its own."""
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.plugins),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        }

    def sync(self, s3: S3, prefix: str = "") -> None:
        """Bring it to what the bucket holds."""
        there = {key.removeprefix(prefix) for key in listing(s3) if key.startswith(prefix)}
        wanted = {key for key in there if key.startswith("dags/")}
        for path in [path for path in self.dags.rglob("*") if path.is_file()]:
            if str(path.relative_to(self.home)) not in wanted:
                path.unlink()
        for key in wanted:
            path = self.home / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(s3, prefix + key))
        (self.home / "plugins.zip").write_bytes(content(s3, f"{prefix}plugins.zip"))
        with zipfile.ZipFile(self.home / "plugins.zip") as archive:
            archive.extractall(self.plugins)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """One with nothing in it."""
    return Container(tmp_path / "airflow")


@dataclass(frozen=True)
class WorkingCopy:
    """A project with one DAG, whose description is a constant of `include`."""

    path: Path

    def write(self, files: Mapping[str, str]) -> None:
        """Write files: path -> text."""
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def deploy(self, s3: S3, prefix: str = "", *, dry_run: bool = False) -> list[Change]:
        """As the command does, but for dbt, whose manifest is an empty one."""
        release = package.release(self.path)

        def make() -> dict[str, bytes]:
            return package.with_manifest(release, json.dumps({"nodes": {}}).encode())

        bucket = Bucket(s3.client, s3.bucket, prefix)
        return bucket.deploy(release.id, make, package.around(self.path), dry_run=dry_run)


DAG_FILE = """
from airflow.sdk import DAG
from include.words import DESCRIPTION
from include.more import AGAIN
with DAG("only", schedule=None, description=DESCRIPTION + AGAIN):
    pass
"""


REQUIREMENTS = (PROJECT / "requirements.txt").read_text()


def edition(word: str) -> dict[str, str]:
    """Two modules that say the same; a DAG described by two words would be of two editions."""
    return {"include/words.py": f"DESCRIPTION = '{word}'", "include/more.py": f"AGAIN = ' {word}'"}


@pytest.fixture
def working_copy(tmp_path: Path) -> WorkingCopy:
    """Its first edition: the DAG `only`, described `one one`."""
    made = WorkingCopy(tmp_path / "copy")
    made.write({"dags/only.py": DAG_FILE, "include/__init__.py": "", "requirements.txt": REQUIREMENTS} | edition("one"))
    (made.path / "dbt_project").mkdir()
    (made.path / "infra").mkdir()
    (made.path / "infra" / "mwaa").symlink_to(PROJECT / "infra" / "mwaa")
    return made


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the project as it is."""
    path = tmp_path_factory.mktemp("manifest") / "manifest.json"
    path.write_bytes(package.parse())
    return path


@pytest.fixture(scope="session")
def deployed(s3_server: Store, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Container:
    """A container that has all of the project as it is."""
    client = seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    client.create_bucket(Bucket="deployed")
    release = package.release()
    files = package.with_manifest(release, manifest.read_bytes())
    Bucket(client, "deployed", "prod/").deploy(release.id, lambda: files, package.around())
    s3 = S3(client, "deployed", s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    container = Container(tmp_path_factory.mktemp("container") / "airflow")
    container.sync(s3, "prod/")
    return container
