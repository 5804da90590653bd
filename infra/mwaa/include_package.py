"""The package `include` on MWAA: that of the newest release that has arrived whole.

MWAA copies the bucket's `dags/` to every container file by file, in any order, every 30 seconds or so. So a deployment
is a folder of its own, `dags/releases/<id>/`, with `release.json` saying what belongs to it, and
`dags/releases/current` names the releases, newest first. Whoever imports `include` gets the first that is complete on
this container: until the last file is there, all of it is the release before. A task keeps the one that it began with.

Shipped in plugins.zip as `include/__init__.py`: the plugins folder is the one that is on the path of all of Airflow's
processes, the triggerer among them, which imports triggers without parsing a DAG file.
"""

import json
import os
from pathlib import Path

from airflow.configuration import conf


def _newest(releases: Path) -> Path:
    names = (releases / "current").read_text(encoding="utf-8").split()
    for name in names:
        if _is_whole(releases / name):
            return releases / name
    raise ImportError(f"{releases}: none of the releases {', '.join(names)} has arrived whole; python -m infra.deploy")


def _is_whole(release: Path) -> bool:
    try:
        sizes = json.loads((release / "release.json").read_text(encoding="utf-8"))
        return all((release / path).stat().st_size == size for path, size in sizes.items())
    except (FileNotFoundError, json.JSONDecodeError):
        return False


_release = _newest(Path(conf.get("core", "dags_folder")) / "releases")
os.environ["SLUICE_DBT_PROJECT_DIR"] = str(_release / "dbt_project")
os.environ["SLUICE_DBT_MANIFEST"] = str(_release / "dbt_target" / "manifest.json")
__path__ = [str(_release / "include")]
