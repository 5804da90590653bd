"""The containers of `astro dev start`, as far as that can be seen without Docker: their files, and what they run."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from airflow.models.connection import Connection
from botocore.exceptions import ClientError
from dotenv import dotenv_values

from include.warehouse.bootstrap import ROLES
from local import airflow, ports, postgres, process, s3, stack
from tests.frame.conftest import BIN, PROJECT, Run, call

COMPOSE = PROJECT / "docker-compose.override.yml"
# Defined by Astro; the override adds to them. https://www.astronomer.io/docs/astro/cli/run-airflow-locally
OF_ASTRO = {"postgres", "db-migration", "scheduler", "dag-processor", "api-server", "triggerer"}
PARSE_DAGS = {"scheduler", "dag-processor", "api-server", "triggerer"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The override, parsed."""
    content: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return content


@pytest.fixture(scope="module")
def example() -> dict[str, str]:
    """The values of .env.example."""
    return {name: value or "" for name, value in dotenv_values(PROJECT / ".env.example", interpolate=False).items()}


def test_hadolint_finds_no_fault_in_any_dockerfile(run: Run, tracked: list[Path]) -> None:
    """With hadolint's own rules."""
    dockerfiles = [path for path in tracked if path.name == "Dockerfile"]
    assert {Path("Dockerfile"), Path("local/docker/Dockerfile")} <= set(dockerfiles)
    done = run("hadolint", *dockerfiles)
    assert done.returncode == 0, done.stdout


def test_compose_file_fits_the_compose_specification(run: Run) -> None:
    """The schema of https://github.com/compose-spec/compose-spec, as check-jsonschema ships it."""
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)
    assert done.returncode == 0, done.stdout


def test_nothing_waits_for_astro_to_fill_in_a_variable() -> None:
    """Astro's CLI fills in ${…} from the shell alone, so a value of .env would silently be empty."""
    lines = [line for line in COMPOSE.read_text().splitlines() if not line.lstrip().startswith("#")]
    assert not [line for line in lines if re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", line)]


def test_every_own_service_is_on_the_network_of_airflow_pinned_and_watched(compose: dict[str, Any]) -> None:
    """Otherwise tasks cannot reach it, or it is another one tomorrow, or nobody knows when it is up."""
    own = {name: service for name, service in compose["services"].items() if name not in OF_ASTRO}
    assert {"warehouse", "s3", "sandbox", "mail", "docs"} == set(own)
    for name, service in own.items():
        assert service["networks"] == ["airflow"], name
        assert (
            re.fullmatch(r"[\w./-]+:v?\d+(\.\d+)+(-\w+)?", service["image"]) if "image" in service else service["build"]
        ), name
    for name, wanted in _depends_on(compose):
        if wanted["condition"] == "service_healthy":
            assert "healthcheck" in compose["services"][name], f"{name} is waited for, but never becomes healthy"


def test_ports_are_published_on_loopback_alone(compose: dict[str, Any]) -> None:
    """And none is asked for twice, Astro's own (5432, 8080) among them."""
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published), published
    numbers = [port.split(":")[1] for port in published] + ["5432", "8080"]
    assert len(numbers) == len(set(numbers))


def test_whoever_parses_dags_has_the_dbt_project_and_waits_for_the_set_up(compose: dict[str, Any]) -> None:
    """Astro mounts dags, plugins, include and tests, and waits for nothing to be finished."""
    for name in PARSE_DAGS:
        service = compose["services"][name]
        assert "./dbt_project:/usr/local/airflow/dbt_project:ro,z" in service["volumes"], name
        assert service["depends_on"]["db-migration"]["condition"] == "service_completed_successfully", name


def test_the_scheduler_finds_what_its_workers_are_warmed_with(compose: dict[str, Any]) -> None:
    """The image does not hold local/, and a module that is not there is swallowed: tasks would stay cold."""
    scheduler = compose["services"]["scheduler"]
    module = scheduler["environment"]["AIRFLOW__SCHEDULER__MP_FORKSERVER_PRELOAD"]
    assert (PROJECT / f"{module.replace('.', '/')}.py").is_file()
    assert "./local:/usr/local/airflow/local:ro,z" in scheduler["volumes"]
    assert "SLUICE_WARM" in scheduler["environment"]


def test_every_volume_and_file_that_is_mounted_exists(compose: dict[str, Any]) -> None:
    """Named volumes are declared, and used; folders are in the project."""
    used = set()
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            if source.startswith("."):
                assert (PROJECT / source).exists(), source
            else:
                used.add(source)
        if build := service.get("build"):
            assert (PROJECT / build["context"] / build["dockerfile"]).is_file()
    assert used == set(compose["volumes"])


def test_the_example_environment_reads_the_same_in_docker_and_in_astro(example: dict[str, str]) -> None:
    """`docker run --env-file` takes a line as it stands, compose unquotes and fills in: so no line gives them cause."""
    lines = [line for line in (PROJECT / ".env.example").read_text().splitlines() if line and line[0] != "#"]
    plain = dict(line.split("=", 1) for line in lines)
    assert plain == example
    assert not [name for name, value in plain.items() if re.search(r"^['\"]|\$|\s#|^\s|\s$", value)]


def test_the_example_environment_defines_each_connection_once(example: dict[str, str]) -> None:
    """All that design and sources name, and every source's own."""
    connections = {name.removeprefix("AIRFLOW_CONN_").lower() for name in example if name.startswith("AIRFLOW_CONN_")}
    sources = {
        yaml.safe_load(path.read_text())["connection"]
        for path in (PROJECT / "include" / "sources").glob("*/source.yml")
    }
    steps = {"sluice_loader", "sluice_transformer", "sluice_gate", "sluice_publisher", "sluice_reporter"}
    steps |= {"sluice_s3", "sluice_smtp"}
    assert connections == steps | sources
    settings = yaml.safe_load((PROJECT / "airflow_settings.example.yaml").read_text())["airflow"]
    assert settings["connections"] == [], "connections belong to .env alone"


def test_the_example_holds_no_password_that_could_be_anybodys(example: dict[str, str]) -> None:
    """Each says that it is for this machine alone."""
    passwords = set(json.loads(example["SLUICE_PASSWORDS"]).values())
    passwords |= {value for name, value in example.items() if re.search(r"PASSWORD$|_KEY$", name)}
    for name in example:
        if name.startswith("AIRFLOW_CONN_"):
            passwords.add(_connection(example, name.removeprefix("AIRFLOW_CONN_")).password or "")
    assert all(re.fullmatch(r"(local-only-\w+|0{32})?", password) for password in passwords), passwords


def test_pools_of_dbt_models_are_declared() -> None:
    """A task in a pool that does not exist waits for ever."""
    settings = yaml.safe_load((PROJECT / "airflow_settings.example.yaml").read_text())["airflow"]
    declared = {pool["pool_name"]: pool for pool in settings["pools"]}
    assert declared["shared_models"]["pool_slot"] == 1
    assert all(pool["pool_description"] for pool in declared.values())
    wanted = re.findall(r"\bpool: (\w+)", (PROJECT / "dbt_project" / "dbt_project.yml").read_text())
    assert set(wanted) <= set(declared)
    assert set(airflow.POOLS.values()) <= set(declared)


def test_the_image_build_makes_the_manifest_that_cosmos_reads(image: Path) -> None:
    """With no variable of the profile set, as in a build."""
    manifest = json.loads((image / "dbt_target" / "manifest.json").read_text())
    assert "model.sluice.fact_taxi_trip" in manifest["nodes"]


def test_set_up_lets_each_connection_of_the_example_in(
    compose: dict[str, Any], example: dict[str, str], postgres_server: postgres.Server
) -> None:
    """What db-migration runs, against a real server, with the passwords of .env.example; then each connection."""
    service = compose["services"]["db-migration"]
    owner = compose["services"]["warehouse"]["environment"]
    database, name = owner["POSTGRES_DB"], owner["POSTGRES_USER"]
    postgres.create_database(postgres_server, database, owner=name, password=example["POSTGRES_PASSWORD"])
    with closing(postgres_server.connect()) as connected, connected, connected.cursor() as cursor:
        cursor.execute(f'alter role "{name}" superuser')  # as the image makes POSTGRES_USER
    host, port = postgres_server.host, postgres_server.port
    dsn = service["environment"]["SLUICE_ADMIN_DSN"].replace("host=warehouse port=5432", f"host={host} port={port}")
    assert service["command"][:2] == ["bash", "-euc"]
    migrate, bootstrap = service["command"][2].replace("$$", "$").split("; ")
    assert migrate == "airflow db migrate"
    done = call(["bash", "-euc", bootstrap], cwd=PROJECT, env={**example, "SLUICE_ADMIN_DSN": dsn})
    assert done.returncode == 0, done.stdout
    for role in ("sluice_loader", "sluice_transformer", "sluice_gate", "sluice_publisher"):
        connection = _connection(example, role)
        assert (connection.host, connection.port, connection.schema) == ("warehouse", 5432, database)
        login = {"user": connection.login, "password": connection.password}
        with closing(psycopg2.connect(f"host={host} port={port} dbname={database}", **login)):
            pass
    assert set(json.loads(example["SLUICE_PASSWORDS"])) == set(ROLES)


def test_the_s3_container_serves_the_connection_and_nobody_else(
    compose: dict[str, Any], example: dict[str, str], tmp_path: Path
) -> None:
    """Its own command line, run with the same engine from the Python environment; ports and folder are the test's."""
    with _seaweed(compose["services"]["s3"], example, tmp_path) as store:
        known = s3.client(store.endpoint_url, store.access_key, store.secret_key)
        assert [bucket["Name"] for bucket in known.list_buckets()["Buckets"]] == [example["SLUICE_BUCKET"]]
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            s3.client(store.endpoint_url, store.access_key, "wrong").list_buckets()
    assert _connection(example, "sluice_s3").extra_dejson["endpoint_url"] == "http://s3:8333"


@pytest.mark.parametrize("missing", ["SLUICE_S3_ACCESS_KEY", "SLUICE_S3_SECRET_KEY", "SLUICE_BUCKET"])
def test_the_s3_container_refuses_to_start_open_to_everybody(
    missing: str, compose: dict[str, Any], example: dict[str, str], tmp_path: Path
) -> None:
    """An unset or empty credential stops it, and it says what to do."""
    entrypoint = [part.replace("$$", "$") for part in compose["services"]["s3"]["entrypoint"]]
    done = call(entrypoint, cwd=tmp_path, env={**example, missing: ""})
    assert done.returncode != 0
    assert f"{missing}: is not set: copy .env.example to .env" in done.stdout


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Server]:
    """A server of its own: the roles' passwords here are not those of the other tests."""
    with stack.postgres(tmp_path_factory.mktemp("warehouse")) as server:
        yield server


@contextmanager
def _seaweed(service: dict[str, Any], example: dict[str, str], directory: Path) -> Iterator[stack.Store]:
    """The S3 server as the container starts it; what is the machine's (program, folder, ports) is replaced."""
    port = ports.reserve_from(21333, along=[s3.GRPC_DISTANCE])
    machine = {"dir": str(directory), "ip.bind": ports.HOST, "s3.port": str(port)}
    inner = {
        name.removeprefix("s3_") + ".port": str(ports.reserve_from(port + 1, along=[s3.GRPC_DISTANCE]))
        for name in s3.INNER
    }
    command = [part.replace("$$", "$") for part in service["entrypoint"]]
    command[2] = command[2].replace("exec /entrypoint.sh", f'exec "{BIN / "weed"}"')
    assert str(BIN) in command[2]
    for part in service["command"]:
        name = part.removeprefix("-").partition("=")[0]
        command.append(f"-{name}={machine[name]}" if name in machine else part)
    command += [f"-{name}={value}" for name, value in {"ip": ports.HOST, **inner}.items()]
    connection = _connection(example, "sluice_s3")
    store = stack.Store(
        f"http://{ports.HOST}:{port}", connection.login or "", connection.password or "", example["SLUICE_BUCKET"]
    )
    log = directory / "s3.log"
    env = {**stack.base_env(), **service["environment"], **example}
    started = process.spawn(command, env=env, log=log, cwd=directory)
    try:
        stack.wait_until(lambda: stack.has_bucket(store), started, "SeaweedFS", log)
        yield store
    finally:
        process.stop([started], first=signal.SIGKILL)


def _connection(example: dict[str, str], name: str) -> Connection:
    value = example[f"AIRFLOW_CONN_{name.upper()}"]
    return Connection.from_json(value, name) if value.startswith("{") else Connection(name, uri=value)


def _depends_on(compose: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    for service in compose["services"].values():
        yield from service.get("depends_on", {}).items()
