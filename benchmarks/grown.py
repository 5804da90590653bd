"""A copy of the project that has grown: with more sources, as `./sluice new-source` makes them, or with more models."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.worker import WayError
from include.pipeline.model import source_names
from local.home import PROJECT
from local.new_source.plan import Wishes, plan
from local.new_source.sample import read_sample
from local.new_source.write import write

_FOLDERS = ("benchmarks", "dags", "dbt_project", "include", "local", "plugins")
_MADE = shutil.ignore_patterns("__pycache__", "target", "logs")
_SAMPLE = [
    {"id": number, "name": f"thing {number}", "price_usd": 1.5 * number, "updated_at": "2026-01-02T03:04:05Z"}
    for number in (1, 2)
]


@dataclass(frozen=True)
class Grown:
    """The copy, parsed by dbt.

    Attributes:
        folder: Of the project; what runs in it has its modules and its DAGs.
        models: How many dbt has found.
    """

    folder: Path
    models: int

    @property
    def env(self) -> dict[str, str]:
        """The environment of Airflow's processes in it."""
        return {
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.folder / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.folder / "plugins"),
            "AIRFLOW__COSMOS__CACHE_DIR": str(self.folder / "cosmos"),
            "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__OPENLINEAGE__DISABLED": "True",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "PYTHONPATH": str(self.folder),
            "PYTHONWARNINGS": "ignore",
            "SLUICE_DBT_MANIFEST": str(self.folder / "dbt_target" / "manifest.json"),
            "SLUICE_DBT_PROJECT_DIR": str(self.folder / "dbt_project"),
        }


def grown(folder: Path, *, sources: int = 0, models: int = 0) -> Grown:
    """Copy the project, have it grow, and parse it.

    Args:
        folder: Where to; it is made.
        sources: How many there should be at least.
        models: How many there should be at least.

    Raises:
        WayError: dbt cannot parse it.
    """
    for name in _FOLDERS:
        shutil.copytree(PROJECT / name, folder / name, ignore=_MADE)
    for number in range(len(source_names()), sources):
        _add_source(folder, f"made_{number:03d}")
    there = _models(_parse(folder))
    if there < models:
        for number in range(there, models):
            _add_model(folder, f"made_{number:03d}")
        there = _models(_parse(folder))
    return Grown(folder, there)


def _add_source(project: Path, name: str) -> None:
    wishes = Wishes(
        sample="things.json",
        base_url="https://api.example.com",
        path="/v1/things",
        schedule="@daily",
        keys=("id",),
        mode="upsert",
        entity="things",
    )
    write(plan(name, wishes, read_sample(json.dumps(_SAMPLE).encode(), "things.json")), project)


def _add_model(project: Path, name: str) -> None:
    """A view of one row with a test, of no source."""
    models = project / "dbt_project" / "models" / "made"
    models.mkdir(exist_ok=True)
    (models / f"{name}.sql").write_text("select 1 as id\n")
    (models / f"{name}.yml").write_text(
        f"models:\n  - name: {name}\n    description: One row.\n    config: {{materialized: view}}\n"
        "    columns:\n      - name: id\n        description: Its key.\n        data_tests: [not_null]\n"
    )


def _parse(folder: Path) -> Path:
    """Have dbt write its manifest, as the Dockerfile has it."""
    project, target = str(folder / "dbt_project"), str(folder / "dbt_target")
    command = [str(Path(sys.executable).with_name("dbt")), "parse", "--quiet", "--target", "postgres"]
    command += ["--project-dir", project, "--profiles-dir", project, "--target-path", target, "--log-path", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WayError(f"dbt parse: {(done.stdout + done.stderr)[-400:]}")
    return folder / "dbt_target" / "manifest.json"


def _models(manifest: Path) -> int:
    nodes = json.loads(manifest.read_bytes())["nodes"].values()
    return sum(node["resource_type"] == "model" for node in nodes)
