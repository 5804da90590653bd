"""The DAG redrive, run by Airflow against a real warehouse: it starts nothing when there is nothing to bring back."""

import json
from pathlib import Path

import pytest

from tests import airflow_home
from tests.conftest import Warehouse
from tests.frame.conftest import PROJECT


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> airflow_home.AirflowHome:
    return airflow_home.make(tmp_path_factory.mktemp("airflow") / "home")


@pytest.mark.parametrize(
    ("conf", "state", "said"),
    [
        ({"source": "x"}, "success", "skipped: x: no row of it is in quarantine"),
        (
            {"source": "x", "entity": "posts", "landing_id": 7},
            "success",
            "skipped: x.posts: no row of landing 7 is in quarantine",
        ),
        ({"source": "x", "entity": "likes"}, "failed", "x has no entity 'likes'; it has accounts, posts"),
    ],
)
def test_without_held_rows_no_run_is_started_and_the_reason_is_told(
    airflow: airflow_home.AirflowHome, warehouse: Warehouse, conf: dict[str, object], state: str, said: str
) -> None:
    env = {"AIRFLOW_CONN_SLUICE_LOADER": warehouse.dsn("sluice_loader").replace("postgresql://", "postgres://")}
    log = airflow.test_dags(Path(PROJECT / "dags" / "redrive.py"), ["redrive"], env, json.dumps(conf))
    assert said in log, log
    assert f"redrive ended: {state}" in log, log
    assert "DagRunTriggerException" not in log
