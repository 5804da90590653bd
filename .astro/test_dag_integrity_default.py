"""Whether every DAG file imports in an empty environment: what `astro dev parse` and `astro deploy` run before an image goes out.

Astro looks for a file of this name and runs it with pytest inside the image. The one that `astro dev init` writes asks
for `DagBag(include_examples=False)`, which Airflow 3.3 does not take (https://github.com/apache/airflow/issues/70283).
This one is Sluice's own and keeps the terms of that one:

- no variable, connection or Airflow Variable of the deployment is there: an unset `os.getenv` gives `MOCKED_<NAME>_VALUE`,
  a connection is empty, a Variable is a mocked text, so a file that needs none of them to be read passes;
- `.astro/dag_integrity_exceptions.txt` names the files that may fail, by their path as the test's name shows it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.models import Connection, Variable
from airflow.sdk.bases.hook import BaseHook
from airflow.utils.db import initdb

_EXCEPTIONS = Path(__file__).with_name("dag_integrity_exceptions.txt")
_REQUIRED = object()


def _getenv(key: str, default: Any = None) -> Any:
    if value := os.environ.get(key) or default:
        return value
    return None if key == "JENKINS_HOME" else f"MOCKED_{key.upper()}_VALUE"  # dill asks for JENKINS_HOME


def _variable(key: str, default_var: Any = _REQUIRED, deserialize_json: bool = False) -> Any:
    if default_var is not _REQUIRED:
        return default_var
    return {} if deserialize_json else f"MOCKED_{key.upper()}_VALUE"


def _import_errors() -> dict[str, str | None]:
    """Every DAG file, by its path from Airflow's home, with its import error or None."""
    initdb()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getenv", _getenv)
        patch.setattr(Variable, "get", _variable)
        patch.setattr(BaseHook, "get_connection", lambda key, *_, **__: Connection(key))
        bag = DagBag()
    home = os.environ.get("AIRFLOW_HOME", ".")
    files: dict[str, str | None] = dict.fromkeys((dag.fileloc for dag in bag.dags.values()), None)
    return {os.path.relpath(path, home): error for path, error in sorted((files | bag.import_errors).items())}


_FILES = _import_errors()


def test_there_are_dags() -> None:
    """An empty folder or a wrong path must not pass for health."""
    assert _FILES, "no DAG file found: see AIRFLOW__CORE__DAGS_FOLDER"


@pytest.mark.parametrize("path", _FILES)
def test_file_imports(path: str) -> None:
    """One DAG file: no import error, unless it is excepted."""
    error = _FILES[path]
    if error and path in _EXCEPTIONS.read_text(encoding="utf-8").splitlines():
        pytest.skip(f"excepted in {_EXCEPTIONS.name}: {error.strip().splitlines()[-1]}")
    assert error is None, f"{path} does not import:\n{error}"
