"""A source's tasks, from the first fetch to publish, run from what was deployed and nothing else of the project."""

import json
from contextlib import closing

import psycopg2

from local import s3 as seaweed
from local.stack import Store
from tests import airflow_home
from tests.conftest import Warehouse
from tests.frame.conftest import PROJECT, call
from tests.infra.conftest import Container
from tests.pipeline.conftest import KEY, sandbox

__all__ = ["sandbox"]  # a fixture here too

BUCKET = "deployed-lake"
RUN = """
import sys
from pathlib import Path
from airflow import settings
from airflow.dag_processing.dagbag import BundleDagBag

settings.prepare_syspath_for_config_and_plugins()
dags = Path(sys.argv[1])
bag = BundleDagBag(dag_folder=dags / "sources.py", bundle_path=dags, bundle_name="dags-folder")
assert not bag.import_errors, bag.import_errors
run = bag.dags["openweather"].test(run_conf={"cities": ["Oslo", "Lima"]})
ours = {module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "include"}
print("from:", *sorted(str(file) for file in ours if file))
print("ended:", run.state)
"""


def test_a_source_runs_and_is_published_from_the_deployed_layout(
    deployed: Container, sandbox: str, warehouse: Warehouse, s3_server: Store
) -> None:
    """Fetch, load, dbt by the deployed manifest, gates, publish."""
    seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key).create_bucket(Bucket=BUCKET)
    connections = airflow_home.connections(warehouse, s3_server) | {"openweather": airflow_home.api(sandbox, KEY)}
    env = {
        **deployed.env,
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(one) for name, one in connections.items()},
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",  # of a busy machine
        "SLUICE_BUCKET": BUCKET,
        "SLUICE_DOCS_URI": f"s3://{BUCKET}/docs",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "GX_ANALYTICS_ENABLED": "false",
    }
    migrated = call(["airflow", "db", "migrate"], cwd=deployed.home, env=env)
    assert migrated.returncode == 0, migrated.stdout
    log = call(["python", "-P", "-c", RUN, deployed.dags], cwd=deployed.home, env=env).stdout
    assert "ended: success" in log, log[-5000:]
    (files,) = (line for line in log.splitlines() if line.startswith("from: "))
    assert f"{deployed.dags}/releases/" in files
    assert str(PROJECT) not in files
    with closing(psycopg2.connect(warehouse.dsn("analyst"))) as connection, connection.cursor() as cursor:
        cursor.execute("select count(distinct city_id) from analytics.fact_weather_observation")
        assert cursor.fetchone() == (2,)
