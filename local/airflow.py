"""Airflow's environment on the local stack, and its REST API as the launcher uses it.

The keys are explained in Airflow's configuration reference and in Cosmos' settings.
"""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import requests
import yaml

from include.pipeline.model import SourceError, load_source, source_names
from local import ports, postgres, workers
from local.home import APIS_WITH_KEY, PROJECT, Home, LocalError

APIS = (*APIS_WITH_KEY, "tlc")
ADMIN = "admin"
POOLS = {"SLUICE_FETCH_POOL": "api_calls", "SLUICE_LOAD_POOL": "raw_loads"}
"""of airflow_settings.example.yaml, which this stack always has"""
BUCKET = "sluice-lake"
AT_ONCE = 1000
"""the most that the launcher asks Airflow for: sources, tasks of a run; Airflow gives a hundred unless it is told"""
_STEP_ROLES = ("sluice_loader", "sluice_transformer", "sluice_gate", "sluice_publisher", "sluice_reporter")


def connections(home: Home) -> dict[str, str]:
    """The Airflow connections of the local stack, as the environment variables that define them.

    An API's connection that is set where `./sluice` is called wins over the sandbox: that is how to go to the real API.
    """
    found = {
        role: {
            "conn_type": "postgres",
            "host": ports.HOST,
            "port": home.ports["postgres"],
            "login": role,
            "password": home.secrets[f"postgres_{role}"],
            "schema": "warehouse",
        }
        for role in _STEP_ROLES
    }
    found["sluice_s3"] = {
        "conn_type": "aws",
        "login": home.secrets["s3_access_key"],
        "password": home.secrets["s3_secret_key"],
        "extra": {"endpoint_url": f"http://{ports.HOST}:{home.ports['s3']}", "region_name": "us-east-1"},
    }
    found["sluice_smtp"] = {
        "conn_type": "smtp",
        "host": ports.HOST,
        "port": home.ports["smtp"],
        "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "sluice@localhost"},
    }
    for api in APIS:
        found[api] = {
            "conn_type": "http",
            "schema": "http",
            "host": ports.HOST,
            "port": home.ports["sandbox"],
            "password": home.secrets.get(f"sandbox_{api}"),
            # The sandbox is nobody's quota.
            "extra": {"calls_per_minute": 6000},
        }
    own = {name: os.environ[name] for name in map(_variable, (*APIS, *_sampled())) if os.environ.get(name)}
    return {_variable(name): json.dumps(value) for name, value in found.items()} | own


def dbt_env(home: Home) -> dict[str, str]:
    """What dbt's profiles.yml reads, and where its output goes."""
    return {
        "SLUICE_DBT_HOST": ports.HOST,
        "SLUICE_DBT_PORT": str(home.ports["postgres"]),
        "SLUICE_DBT_USER": "sluice_transformer",
        "SLUICE_DBT_PASSWORD": home.secrets["postgres_sluice_transformer"],
        "SLUICE_DBT_DBNAME": "warehouse",
        "SLUICE_DBT_PROJECT_DIR": str(PROJECT / "dbt_project"),
        "SLUICE_DBT_MANIFEST": str(home.dbt_target / "manifest.json"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


def env(home: Home) -> dict[str, str]:
    """Airflow's environment, secrets included: for a process, never for a command line or a log."""
    secrets = home.secrets
    url = f"http://{ports.HOST}:{home.ports['airflow']}"
    database = f"{secrets['postgres_airflow']}@{ports.HOST}:{home.ports['postgres']}/airflow"
    slots = max(4, min(16, 2 * (os.cpu_count() or 2)))
    docs = {"sluice": {"dir": str(home.docs / "dbt"), "index": "index.html", "name": "Sluice dbt docs"}}
    return {
        **connections(home),
        **dbt_env(home),
        "SLUICE_BUCKET": BUCKET,
        **POOLS,
        "SLUICE_DOCS_URI": home.docs.as_uri(),
        "SLUICE_DOCS_URL": f"http://{ports.HOST}:{home.ports['docs']}",
        "SLUICE_ALERT_TO": os.environ.get("SLUICE_ALERT_TO", "operator@localhost"),
        "SLUICE_REPORT_TO": os.environ.get("SLUICE_REPORT_TO", "report@localhost"),
        # the local S3 sends no events: only where somebody's own does
        "SLUICE_DROP_QUEUE": os.environ.get("SLUICE_DROP_QUEUE", ""),
        "AIRFLOW_HOME": str(home.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(slots),
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(slots),
        "AIRFLOW__CORE__FERNET_KEY": secrets["airflow_fernet_key"],
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home.passwords_file),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://airflow:{database}",
        "AIRFLOW__API__HOST": ports.BIND,
        "AIRFLOW__API__PORT": str(home.ports["airflow"]),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": str(AT_ONCE),
        "AIRFLOW__API__SECRET_KEY": secrets["airflow_secret_key"],
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets["airflow_jwt_secret"],
        "AIRFLOW__API__INSTANCE_NAME": "Sluice",
        # A new or changed file shows within seconds; a file that did not change is read again only now and then.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3",
        "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "20",
        "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": "0",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        # After a scheduler was killed, the tasks that it had running begin again within a minute, not within five.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD": "True",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home.logs / "tasks"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": (
            "botocore=WARNING boto3=WARNING great_expectations=WARNING alembic=WARNING httpx=WARNING urllib3=WARNING"
        ),
        "AIRFLOW__EMAIL__EMAIL_CONN_ID": "sluice_smtp",
        "AIRFLOW__EMAIL__FROM_EMAIL": "sluice@localhost",
        "AIRFLOW__SMTP__SMTP_HOST": ports.HOST,
        "AIRFLOW__SMTP__SMTP_PORT": str(home.ports["smtp"]),
        "AIRFLOW__SMTP__SMTP_STARTTLS": "False",
        "AIRFLOW__SMTP__SMTP_SSL": "False",
        "AIRFLOW__COSMOS__CACHE_DIR": str(home.path / "cosmos"),
        "AIRFLOW__COSMOS__DBT_DOCS_PROJECTS": json.dumps(docs),
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "SCARF_ANALYTICS": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        **_openlineage(),
        **workers.env(home),
    }


def scheduler_env(home: Home) -> dict[str, str]:
    """The scheduler's; where it runs tasks itself, they are forked from a process that holds all (local/warm.py)."""
    if workers.of(home):
        return env(home)
    return {
        **env(home),
        "SLUICE_WARM": "1",
        "AIRFLOW__SCHEDULER__MP_START_METHOD": "forkserver",
        "AIRFLOW__SCHEDULER__MP_FORKSERVER_PRELOAD": "local.warm",
    }


def _openlineage() -> dict[str, str]:
    """What is set where `./sluice` is called of AIRFLOW__OPENLINEAGE__…; nothing is: nobody is told of lineage."""
    own = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW__OPENLINEAGE__")}
    return own or {"AIRFLOW__OPENLINEAGE__DISABLED": "True"}


class Api:
    """Airflow's REST API (v2), as the user `admin`."""

    def __init__(self, home: Home) -> None:
        self._url = f"http://{ports.HOST}:{home.ports['airflow']}"
        self._password = home.secrets["airflow_admin"]
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business on loopback

    def is_healthy(self) -> bool:
        """Whether the API server answers and its database too."""
        return self.components().get("metadatabase") == "healthy"

    def components(self) -> dict[str, str]:
        """The health of `metadatabase`, `scheduler`, `triggerer`, `dag_processor`; empty when nobody answers."""
        try:
            answer = self._session.get(f"{self._url}/api/v2/monitor/health", timeout=5)
            return {name: str(part.get("status")) for name, part in answer.json().items() if isinstance(part, dict)}
        except (requests.RequestException, ValueError):
            return {}

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """GET a resource under /api/v2."""
        return self._call("GET", path, params=params).json()  # type: ignore[no-any-return]

    def post(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """POST to a resource under /api/v2."""
        return self._call("POST", path, json=content).json()  # type: ignore[no-any-return]

    def patch(self, path: str, content: Mapping[str, Any], **params: str) -> dict[str, Any]:
        """PATCH a resource under /api/v2."""
        return self._call("PATCH", path, json=content, params=params).json()  # type: ignore[no-any-return]

    def log(self, dag_id: str, run_id: str, task: Mapping[str, Any]) -> list[str]:
        """The lines of a task instance's last try, messages only; empty when there is no log."""
        number = int(task.get("try_number") or 0)
        if number < 1:
            return []
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{number}"
        content = self.get(path, full_content="true", map_index=int(task.get("map_index", -1))).get("content", [])
        lines = []
        for entry in content:
            if isinstance(entry, dict):
                lines.append(str(entry.get("event", "")))
                lines += [
                    f"{one.get('exc_type')}: {one.get('exc_value')}"
                    for one in entry.get("error_detail") or ()
                    if isinstance(one, dict)
                ]
        return lines

    def _call(self, method: str, path: str, **arguments: Any) -> requests.Response:  # noqa: ANN401 - requests' own
        for attempt in range(4):
            try:
                if "Authorization" not in self._session.headers:
                    self._login()
                answer = self._session.request(method, f"{self._url}/api/v2/{path}", timeout=30, **arguments)
            except (requests.ConnectionError, requests.Timeout) as fault:
                # It may be starting again, or be busy; a POST is safe to repeat: its run id is ours, or it is a
                # backfill, of which there is one at a time.
                if attempt == 3:
                    raise LocalError(
                        f"Airflow does not answer at {self._url}: see ./sluice status and logs/airflow.log"
                    ) from fault
                time.sleep(0.5 * 2**attempt)
                continue
            if answer.status_code == requests.codes.unauthorized and attempt == 0:
                del self._session.headers["Authorization"]
                continue
            if answer.status_code == requests.codes.conflict and method == "POST" and attempt > 0:
                own = arguments["json"].get("dag_run_id")  # the first one has arrived after all
                return self._session.get(f"{self._url}/api/v2/{path}" + (f"/{own}" if own else ""), timeout=30)
            if not answer.ok:
                raise LocalError(f"Airflow refused {method} {path}: HTTP {answer.status_code}: {_detail(answer)}")
            return answer
        raise LocalError(f"Airflow refuses its own password at {self._url}: run ./sluice down, then up")

    def _login(self) -> None:
        answer = self._session.post(
            f"{self._url}/auth/token", json={"username": ADMIN, "password": self._password}, timeout=30
        )
        if not answer.ok:
            raise LocalError(f"Airflow refuses the password of {ADMIN} at {self._url}: run ./sluice down, then up")
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def create_pools(api: Api) -> None:
    """Create or update the pools that airflow_settings.example.yaml declares (Astro's format)."""
    file = PROJECT / "airflow_settings.example.yaml"
    if not file.exists():
        return
    content = yaml.safe_load(file.read_text()) or {}
    there = {pool["name"] for pool in api.get("pools", limit=AT_ONCE)["pools"]}
    for declared in (content.get("airflow") or {}).get("pools") or ():
        if not declared.get("pool_name"):
            continue
        pool = {
            "name": declared["pool_name"],
            "slots": int(declared["pool_slot"]),
            "description": declared.get("pool_description"),
            "include_deferred": False,
        }
        if pool["name"] in there:
            api.patch(f"pools/{pool['name']}", pool)
        else:
            api.post("pools", pool)


def create_connections(api: Api, home: Home) -> None:
    """Lead the connections of sources beyond the sandbox's own APIs to their samples there, while nobody has set them.

    They are in Airflow's database, not in its environment: a source that is added has its own without a restart.
    """
    held = {one["connection_id"]: one for one in api.get("connections", limit=AT_ONCE)["connections"]}
    for name in _sampled():
        wanted = {
            "connection_id": name,
            "conn_type": "http",
            "schema": "http",
            "host": f"{ports.HOST}/samples/{name}",
            "port": home.ports["sandbox"],
            "password": home.secrets["sandbox_samples"],
            "extra": json.dumps({"calls_per_minute": 6000}),
        }
        if name not in held:
            api.post("connections", wanted)
        elif held[name]["host"] == wanted["host"] and held[name]["port"] != wanted["port"]:
            api.patch(f"connections/{name}", wanted)


def _sampled() -> list[str]:
    """The connections of sources that are none of the sandbox's APIs."""
    found = set()
    for name in source_names():
        with contextlib.suppress(SourceError):  # it has no DAG that would ask for one
            found.add(load_source(name).connection)
    return sorted(found.difference(APIS))


def _variable(connection: str) -> str:
    return f"AIRFLOW_CONN_{connection.upper()}"


def server(home: Home) -> postgres.Server:
    """The stack's PostgreSQL, as its superuser sees it."""
    return postgres.Server(ports.HOST, home.ports["postgres"], postgres.SUPERUSER, home.secrets["postgres_superuser"])


def _detail(answer: requests.Response) -> str:
    try:
        return json.dumps(answer.json().get("detail"))
    except ValueError:
        return answer.text[:200]
