"""The parts of dbt's manifest from which DAGs are made: what Cosmos finds in one is what it finds in the whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cosmos import ExecutionConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, LoadMode
from cosmos.dbt import graph
from cosmos.dbt.graph import DbtGraph

from include.pipeline.manifest import Part, part_of, read_project_once
from include.pipeline.model import source_names
from local.home import PROJECT
from tests.airflow_home import dbt_manifest

_SCRIPT = """
import json, sys

opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
from include.pipeline.factory import build_dags

dags, faults = build_dags()
said = {
    "manifest": sum(path.endswith("/manifest.json") for path in opened),
    "project": sum(path.endswith("/dbt_project.yml") for path in opened),
    "dags": len(dags),
    "of_dags": all(dag.params for dag in dags.values()),
    "pyarrow": "pyarrow" in sys.modules,
    "copied": sorted({
        str(task.manifest_filepath)
        for dag in dags.values()
        for task in dag.tasks
        if hasattr(task, "manifest_filepath")
    }),
    "of_tasks": sum(bool(task.params) for dag in dags.values() for task in dag.tasks),
}
print(json.dumps(said), file=open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dbt_target")
    dbt_manifest(target)
    return target / "manifest.json"


def found(part: Part | Path, selection: str) -> dict[str, tuple[bool, list[str]]]:
    """What Cosmos finds: node -> whether it has a test, and what it depends on."""
    project = ProjectConfig(dbt_project_path=PROJECT / "dbt_project", install_dbt_deps=False, project_name="sluice")
    project.manifest_path = part
    made = DbtGraph(
        project=project,
        render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, select=[selection]),
        execution_config=ExecutionConfig(dbt_project_path=PROJECT / "dbt_project"),
    )
    made.execution_config.project_path = PROJECT / "dbt_project"
    made.load(method=LoadMode.DBT_MANIFEST, execution_mode=ExecutionMode.LOCAL)
    return {name: (node.has_test, sorted(node.depends_on)) for name, node in made.filtered_nodes.items()}


@pytest.mark.parametrize("source", source_names())
@pytest.mark.parametrize("selection", ["path:models/staging/{}", "path:models/marts,tag:{}"])
def test_a_source_s_part_holds_all_that_its_selections_find(manifest: Path, source: str, selection: str) -> None:
    of_part = found(part_of(manifest, source), selection.format(source))
    assert of_part == found(manifest, selection.format(source))
    assert any(has_test for has_test, _ in of_part.values())


def test_a_part_is_of_the_manifest_as_it_is_by_then(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"

    def names(*given: str) -> list[str]:
        nodes = {name: {"original_file_path": f"models/staging/x/{name}.sql"} for name in given}
        manifest.write_text(json.dumps({"metadata": {}, "nodes": nodes, "sources": {}, "exposures": {}}))
        return sorted(json.loads(part_of(manifest, "x").content)["nodes"])

    assert names("one") == ["one"]
    assert names("one", "another") == ["another", "one"]


def test_the_folder_of_packages_is_that_of_dbt_project_yml_as_it_is_by_then(tmp_path: Path) -> None:
    """Where Cosmos asks for it."""
    read_project_once()
    project = tmp_path / "dbt_project.yml"
    project.write_text("packages-install-path: here\n")
    assert graph.get_dbt_packages_subpath(tmp_path) == "here"
    project.write_text("packages-install-path: elsewhere\n")
    assert graph.get_dbt_packages_subpath(tmp_path) == "elsewhere"


def test_a_parse_reads_dbts_files_once_for_all_sources_imports_no_arrow_and_holds_the_params_once_a_dag(
    manifest: Path, tmp_path: Path
) -> None:
    """Airflow validates each task's own params whenever it serializes the task; a run takes the DAG's."""
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        "PYTHONPATH": str(PROJECT),
        "SLUICE_DBT_MANIFEST": str(manifest),
        "SLUICE_DBT_PROJECT_DIR": str(PROJECT / "dbt_project"),
    }
    said = tmp_path / "said.json"
    subprocess.run([sys.executable, "-c", _SCRIPT, said], cwd=PROJECT, env=env, check=True, capture_output=True)
    assert json.loads(said.read_text()) == {
        "manifest": 1,
        "project": 1,
        "dags": len(source_names()),
        "of_dags": True,
        "pyarrow": False,
        # a task in a process that holds no manifest has Cosmos copy the file of this name, and fails without
        "copied": [str(manifest)],
        "of_tasks": 0,
    }
