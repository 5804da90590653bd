"""What Airflow's processes do with the DAG files and with a dbt task, for `worker.py` in a copy of the project.

Nothing of the product is imported before the work begins but what `IMPORTS` names: that is the warm start or the cold.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMPORTS = {
    # what a DAG processor has imported when it forks for a file
    "parse_file": ("airflow.dag_processing.manager", "airflow.sdk"),
    # what a worker has when it forks for a task; Cosmos and dbt come with the DAG
    "parse_for_task": ("airflow.dag_processing.dagbag", "airflow.sdk.execution_time.task_runner"),
    "import_factory": ("airflow.dag_processing.dagbag", "airflow.sdk.execution_time.task_runner"),
    # holds all that local/warm.py holds, manifest and DAGs too
    "build_model": ("local.warm",),
}


def parse_file(file: str) -> Callable[[], int]:
    """Parse and serialize a DAG file as a DAG processor's fork does; gives how many DAGs."""
    import structlog
    from airflow.dag_processing import processor

    log = structlog.get_logger()
    processor._pre_import_airflow_modules(file, log)
    request = processor.DagFileParseRequest(file=file, bundle_path=Path(file).parent, bundle_name="dags-folder")

    def work() -> int:
        done = processor._parse_file(request, log)
        if done is None or done.import_errors:
            raise ValueError(f"{file}: {done and done.import_errors}")
        return len(done.serialized_dags)

    return work


def parse_for_task(file: str, dag_id: str) -> Callable[[], int]:
    """Parse a DAG file as a task's process does, which says what DAG it is about; gives how many tasks that has."""
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager

    def work() -> int:
        with _airflow_parsing_context_manager(dag_id=dag_id):
            bag = BundleDagBag(
                dag_folder=file,
                safe_mode=False,
                load_op_links=False,
                bundle_path=Path(file).parent,
                bundle_name="dags-folder",
            )
        return len(bag.dags[dag_id].tasks)

    return work


def import_factory() -> Callable[[], object]:
    """The imports alone of what a task's process parses."""

    def work() -> None:
        import include.pipeline.factory  # noqa: F401

    return work


def build_model(dag_id: str, task_id: str, landing_ids: str) -> Callable[[], float]:
    """Run a dbt task's own operator; gives the seconds that its nodes took, as run_results.json has them."""
    from include.pipeline.factory import build_dag

    operator: Any = build_dag(dag_id).task_dict[task_id]
    operator.vars = {"landing_ids": landing_ids}
    context = {"run_id": "benchmark"}

    def work() -> float:
        done = operator.build_and_run_cmd(context=context, cmd_flags=operator.add_cmd_flags())
        return float(sum(one.execution_time for one in done.result.results))

    if "SLUICE_WARM" not in os.environ:
        raise ValueError("SLUICE_WARM is not set: the worker holds nothing")
    return work
