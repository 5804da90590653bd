"""What Airflow's processes do with the DAG files and with a dbt task, for `worker.py` in a copy of the project.

Nothing of the product is imported before the work begins but what `IMPORTS` names: that is the warm start or the cold.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

IMPORTS = {
    # what a DAG processor has imported when it forks for a file
    "parse_files": ("airflow.dag_processing.manager", "airflow.sdk"),
    # what a worker has when it forks for a task; Cosmos and dbt come with the DAG
    "parse_for_task": ("airflow.dag_processing.dagbag", "airflow.sdk.execution_time.task_runner"),
    "import_factory": ("airflow.dag_processing.dagbag", "airflow.sdk.execution_time.task_runner"),
    # holds all that local/warm.py holds, manifest and DAGs too
    "parse_for_task_warm": ("local.warm",),
    "build_model": ("local.warm",),
}


def parse_files(files: Sequence[str], at_once: int) -> Callable[[], int]:
    """Parse and serialize DAG files as a DAG processor does, each in a fork of its own; gives how many DAGs."""
    import structlog
    from airflow.dag_processing import processor

    log = structlog.get_logger()
    for file in files:
        processor._pre_import_airflow_modules(file, log)
    counts, count = os.pipe()

    def parse(file: str) -> None:
        done = processor._parse_file(
            processor.DagFileParseRequest(file=file, bundle_path=Path(file).parent, bundle_name="dags-folder"), log
        )
        if done is None or done.import_errors:
            raise ValueError(f"{file}: {done and done.import_errors}")
        os.write(count, b"%d\n" % len(done.serialized_dags))

    def work() -> int:
        waiting, running = list(files), 0
        while waiting or running:
            if waiting and running < at_once:
                file = waiting.pop(0)
                running += 1
                if not os.fork():
                    _end_with(partial(parse, file))
            elif os.wait()[1]:
                raise ValueError("a DAG file was not parsed: its fault is above")
            else:
                running -= 1
        os.close(count)
        with os.fdopen(counts) as lines:
            return sum(map(int, lines))

    return work


def _end_with(work: Callable[[], object]) -> NoReturn:
    try:
        work()
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


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


def parse_for_task_warm(file: str, dag_id: str) -> Callable[[], int]:
    """The same in a fork of a process that holds the DAG."""
    return parse_for_task(file, dag_id)


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
