"""`./sluice forget`: a person erased from the local stack, by the same library as anywhere else."""

import argparse
import tempfile
from pathlib import Path

from include.pipeline import forget as command
from include.pipeline.erasure import Access
from include.pipeline.rebuild import DbtProject
from local import airflow
from local.data import landing_store, warehouse_dsn
from local.home import PROJECT, Home, LocalError


def forget(home: Home, given: argparse.Namespace) -> int:
    """Erase as the options say.

    Args:
        home: The stack; its PostgreSQL and S3 must run. Where Airflow runs too, it is asked whether a run is under way.
        given: source, person, yes, dry_run.

    Returns:
        0 when nothing of the person is left; 1 when something is, or nothing was done.

    Raises:
        LocalError: The stack does not run, or the erasure did not come to its end: doing it again goes on.
    """
    store = landing_store(home)
    loader, transformer, publisher, gate = (
        warehouse_dsn(home, role) for role in ("sluice_loader", "sluice_transformer", "sluice_publisher", "sluice_gate")
    )
    with tempfile.TemporaryDirectory(dir=home.path) as target:
        dbt = DbtProject(PROJECT / "dbt_project", Path(target), airflow.dbt_env(home), parsed=home.dbt_target)
        access = Access(
            store,
            loader,
            transformer,
            publisher,
            gate,
            dbt=dbt,
            folders=(home.logs, home.docs, home.mail),
            is_running=lambda run_id: _is_running(home, given.source, run_id),
        )
        try:
            return command.run(given, access)
        except command.FAULTS as fault:
            raise LocalError(command.said(fault)) from None


def _is_running(home: Home, source: str, run_id: str) -> bool:
    api = airflow.Api(home)
    if not api.is_healthy():
        return False  # then nobody runs
    try:
        return bool(api.get(f"dags/{source}/dagRuns/{run_id}")["state"] in ("running", "queued"))
    except LocalError:  # there is no such run: it was another erasure's
        return False
