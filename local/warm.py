"""What Airflow's fork server imports once, so that every task starts warm (a dbt task takes 0.7 s instead of 5).

Named in AIRFLOW__SCHEDULER__MP_FORKSERVER_PRELOAD. A failure here leaves tasks cold, never broken: Python's fork
server swallows an ImportError, so `sluice up` looks for "event=warm" in the scheduler's log and warns without it.

dbt's manifest is kept in memory too, on the dbtRunner that Cosmos keeps (cosmos.dbt.runner), and so are our own modules
and the DAGs of all sources. Each forked process first compares the files that these were made from with what they are
by then, and drops what is stale: a changed file works from the next task on, only slower.
"""

import contextlib
import gc
import importlib
import inspect
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

IMPORTS = (
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.providers.postgres.hooks.postgres",
    "babel.dates",
    "boto3.s3.inject",
    "cosmos",
    "cosmos.operators.local",
    "cosmos.profiles",
    "dbt.cli.main",
    "dbt.task.build",
    "dbt.task.seed",
    "dbt_common.clients.agate_helper",
    "great_expectations",
    "multiprocessing.dummy.connection",
    "openlineage.common.provider.dbt.local",
    "pandas",
    "psycopg2.sql",
    "pyarrow.parquet",
    "tenacity",
    "yaml",
)
"""what tasks were seen to import once they were forked, beside what `_OWN_IMPORTS` brings along"""
OWN = Path(__file__).resolve().parents[1] / "include"
"""the modules that tasks run, and what DAGs are built from; Airflow itself reads `dags/` anew for each task"""
_OWN_IMPORTS = (
    "include.extract",
    "include.gates",
    "include.landing",
    "include.pipeline.held",
    "include.pipeline.steps",
    "include.pipeline.verdicts",
    "include.warehouse.peace",
    "include.warehouse.publish",
    "include.warehouse.turn",
)
_OUTPUT = {"target", "logs", "dbt_packages", "__pycache__"}


def preload() -> None:
    """Import what tasks need, parse the dbt project, and leave one thread and no open connection behind."""
    started = time.monotonic()
    cold = []
    for name in IMPORTS:
        try:
            importlib.import_module(name)
        except Exception as fault:
            cold.append(name)
            _say(f"event=cold part={name} fault={fault!r}")
    try:
        hold_manifest(Path(os.environ["SLUICE_DBT_PROJECT_DIR"]), Path(os.environ["SLUICE_DBT_MANIFEST"]).parent)
    except Exception as fault:
        cold.append("manifest")
        _say(f"event=cold part=manifest fault={fault!r}")
    try:
        hold_dags(Path(os.environ["SLUICE_DBT_MANIFEST"]))
        for name in _OWN_IMPORTS:
            importlib.import_module(name)
    except Exception as fault:
        cold.append("dags")
        _say(f"event=cold part=dags fault={fault!r}")
    try:
        free_slots_at_once()
    except Exception as fault:
        cold.append("slots")
        _say(f"event=cold part=slots fault={fault!r}")
    with contextlib.suppress(Exception):  # without it every task pays 0.3 s
        from airflow.sdk.listener import get_listener_manager

        get_listener_manager()
    # dbt asks for it thirty times a task: the first time a process looks at all of its modules, and each time for those
    # of a file that is no module's, such as the `-c` of the fork server
    inspect.stack()
    inspect.modulesbyfile[os.path.abspath("<string>")] = "__main__"  # noqa: PTH100 - as inspect does
    gc.collect()
    gc.freeze()
    _say(
        f"event=warm pid={os.getpid()} seconds={time.monotonic() - started:.1f} threads={threading.active_count()}"
        f" cold={','.join(cold) or 'none'}"
    )


def free_slots_at_once() -> None:
    """Have a task's supervisor notice at once that its process has ended.

    Airflow 3.3's waits for the sockets of the task's process and then looks whether it has ended. The kernel closes a
    process' sockets a moment before it is gone, so in half of all cases the supervisor looks too early, and waits out
    its heartbeat interval for sockets that there are no more (a second here, five by default), its slot taken.
    """
    from airflow.sdk.execution_time.supervisor import WatchedSubprocess

    watch = WatchedSubprocess._service_subprocess

    def watch_to_the_end(self: Any, max_wait_time: float, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        if self._exit_code is None and not self._open_sockets:
            with contextlib.suppress(self._process.TimeoutExpired):
                self._process.wait(timeout=max_wait_time)
            max_wait_time = 0
        return watch(self, max_wait_time, *arguments, **named)

    WatchedSubprocess._service_subprocess = watch_to_the_end  # type: ignore[method-assign]


def hold_manifest(project: Path, target: Path) -> None:
    """Parse the project and keep its manifest on Cosmos' dbtRunner, until the project changes.

    Args:
        project: dbt's project directory, with its profiles.yml.
        target: Where an earlier `dbt parse` left partial_parse.msgpack, which makes this quick.

    Raises:
        RuntimeError: dbt cannot parse the project.
    """
    from cosmos.dbt.runner import _get_cached_dbt_runner
    from dbt.adapters.factory import load_plugin, reset_adapters
    from dbt.cli.main import dbtRunner

    load_plugin("postgres")
    before = fingerprint(project)
    with tempfile.TemporaryDirectory() as scratch:
        if (target / "partial_parse.msgpack").exists():
            shutil.copy(target / "partial_parse.msgpack", scratch)
        done = dbtRunner().invoke(
            [
                "parse",
                *("--project-dir", str(project), "--profiles-dir", str(project), "--target", "postgres"),
                *("--target-path", scratch, "--log-path", scratch, "--quiet", "--no-version-check"),
            ]
        )
    reset_adapters()
    if not done.success:
        raise RuntimeError(f"dbt parse: {done.exception}")
    runner = _get_cached_dbt_runner()
    runner.manifest = done.result

    def drop_when_stale() -> None:
        if runner.manifest is not None and fingerprint(project) != before:
            runner.manifest = None

    os.register_at_fork(after_in_child=drop_when_stale)


def hold_dags(manifest: Path) -> None:
    """Build the sources' DAGs and keep them, and our modules, until a file of theirs or the manifest changes.

    Args:
        manifest: dbt's manifest.json, which names the models that are tasks.
    """

    def made_from() -> tuple[object, ...]:
        changed = manifest.stat().st_mtime_ns if manifest.exists() else None
        return changed, fingerprint(OWN)

    before = made_from()
    from include.pipeline.factory import build_dags  # only now: what changes while it is read is stale already

    build_dags()

    def drop_when_stale() -> None:
        if made_from() != before:
            forget_own_modules()

    os.register_at_fork(after_in_child=drop_when_stale)


def forget_own_modules() -> None:
    """Have what is imported of ours from now on read anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "include"]:
        del sys.modules[name]


def fingerprint(project: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of change of each file that a dbt project is made of; equal means unchanged."""
    found = []
    for folder, folders, files in os.walk(project):
        folders[:] = sorted(name for name in folders if name not in _OUTPUT)
        for name in sorted(files):
            with contextlib.suppress(FileNotFoundError):  # an editor's passing file
                status = (Path(folder) / name).stat()
                found.append((str(Path(folder, name).relative_to(project)), status.st_size, status.st_mtime_ns))
    return tuple(found)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if "SLUICE_WARM" in os.environ:  # set for the scheduler alone: importing this for its functions stays cheap
    preload()
