"""What the stack consists of, in one table, and how its parts are started, judged and stopped.

A service is a process that goes on; a step is work that must be done before what needs it (a schema migrated).
Everything starts as soon as what it needs is ready.
"""

import contextlib
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from include.warehouse.bootstrap import ROLES, bootstrap
from local import airflow, ports, postgres, process, s3, stack, warm, workers
from local.home import KEYS, PROJECT, Home, LocalError


@dataclass(frozen=True)
class Service:
    """One process of the stack.

    Attributes:
        name: Its name in logs, ports and `status`.
        command: Its command line, without a secret.
        env: What its environment holds beside the common part.
        is_ready: Whether it does its work.
        needs: Names of services and steps that must be ready before it starts.
        port: The port it would like, if it listens.
        along: Distances from that port that must be free too.
        inner_ports: Further ports that nobody but the service itself uses.
        port_fits: What else must hold for its ports.
        stop_signal: How it is asked to end.
        key: What it must be restarted for when that changes, beside command and environment.
        cwd: Where it starts.
    """

    name: str
    command: Callable[[Home], Sequence[str]]
    env: Callable[[Home], Mapping[str, str]]
    is_ready: Callable[[Home], bool]
    needs: tuple[str, ...] = ()
    port: int | None = None
    along: tuple[int, ...] = ()
    inner_ports: tuple[str, ...] = ()
    port_fits: Callable[[int], bool] = lambda _: True
    stop_signal: signal.Signals = signal.SIGTERM
    key: Callable[[Home], str] = lambda _: ""
    cwd: Callable[[Home], Path] = lambda _: PROJECT


@dataclass(frozen=True)
class Step:
    """Work that ends: a process (its log is logs/<name>.log), or a function of ours when it takes no time.

    Attributes:
        name: Its name.
        needs: What must be ready before.
        command: The process' command line; None for a step that is a call.
        env: Its environment.
        call: The function.
        key: When it equals the key of the step's last success, there is nothing to do. Empty: do it always.
    """

    name: str
    needs: tuple[str, ...]
    command: Callable[[Home], Sequence[str]] | None = None
    env: Callable[[Home], Mapping[str, str]] = lambda _: {}
    call: Callable[[Home], None] | None = None
    key: Callable[[Home], str] = lambda _: ""


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", name, *arguments]


def _static(module: str, port: int, directory: Path) -> list[str]:
    return _module(module, "--host", ports.BIND, "--port", str(port), "--directory", str(directory))


def _http_ok(port: int, path: str = "/") -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{ports.HOST}:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _postgres(home: Home) -> postgres.Installation:
    return postgres.install(home.postgres, password=home.secrets["postgres_superuser"], say=_say)


def _make_databases(home: Home) -> None:
    server = airflow.server(home)
    postgres.create_database(server, "airflow", owner="airflow", password=home.secrets["postgres_airflow"])
    postgres.create_database(server, "warehouse", owner="sluice_owner", password=home.secrets["postgres_sluice_owner"])
    with closing(server.connect("warehouse")) as connection:
        bootstrap(connection, {role: home.secrets[f"postgres_{role}"] for role in ROLES})


def _store(home: Home) -> stack.Store:
    return stack.Store(
        f"http://{ports.HOST}:{home.ports['s3']}",
        home.secrets["s3_access_key"],
        home.secrets["s3_secret_key"],
        airflow.BUCKET,
    )


def _sandbox(home: Home) -> list[str]:
    data = home.state.get("data")
    return _module(
        "local.sandbox",
        *("--host", ports.BIND, "--port", str(home.ports["sandbox"]), "--cache-dir", str(home.path / "sandbox")),
        *(("--allow-remote",) if ports.is_remote() else ()),
        *(("--data", data) if data else ()),
    )


def _sandbox_env(home: Home) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name.startswith("SANDBOX_")}
    keys = {f"SANDBOX_{api.upper()}_KEY": home.secrets[f"sandbox_{api}"] for api in KEYS}
    return {**keys, **own}


def _airflow(command: str, *arguments: str) -> Callable[[Home], list[str]]:
    return lambda _: _module("airflow", command, *arguments)


def _component(name: str) -> Callable[[Home], bool]:
    return lambda home: airflow.Api(home).components().get(name) == "healthy"


def dbt_key(_: Home) -> str:
    """A digest of the dbt project's files: another one means that something was changed."""
    return _digest(warm.fingerprint(PROJECT / "dbt_project"))


def _dbt_parse(home: Home) -> list[str]:
    # dbt's parse of what has changed alone misses sources whose yml was written anew: always all of it
    (home.dbt_target / "partial_parse.msgpack").unlink(missing_ok=True)
    return [
        str(Path(sys.executable).with_name("dbt")),
        "parse",
        *("--project-dir", str(PROJECT / "dbt_project"), "--profiles-dir", str(PROJECT / "dbt_project")),
        *("--target", "postgres", "--target-path", str(home.dbt_target), "--log-path", str(home.logs), "--quiet"),
    ]


def _warm_key(home: Home) -> str:
    return dbt_key(home) + _digest([(PROJECT / "local" / "warm.py").read_text(), warm.fingerprint(warm.OWN)])


SERVICES: tuple[Service, ...] = (
    Service(
        "postgres",
        command=lambda home: _postgres(home).command(home.ports["postgres"], {}),
        env=lambda home: _postgres(home).env(),
        is_ready=lambda home: airflow.server(home).is_ready(),
        port=5433,
        stop_signal=postgres.STOP_SIGNAL,
        key=lambda _: ports.BIND if ports.is_remote() else "",
    ),
    Service(
        "s3",
        command=lambda home: s3.command(home.s3, home.ports),
        env=lambda home: s3.env(home.secrets["s3_access_key"], home.secrets["s3_secret_key"], airflow.BUCKET),
        is_ready=lambda home: stack.has_bucket(_store(home)),
        cwd=lambda home: home.s3,
        port=8333,
        along=(s3.GRPC_DISTANCE,),
        inner_ports=s3.INNER,
        port_fits=s3.fits,
    ),
    Service(
        "sandbox",
        command=_sandbox,
        env=_sandbox_env,
        is_ready=lambda home: _http_ok(home.ports["sandbox"], "/healthz"),
        port=8099,
    ),
    Service(
        "smtp",
        command=lambda home: _static("local.mail", home.ports["smtp"], home.mail),
        env=lambda _: {},
        is_ready=lambda home: ports.is_listening(home.ports["smtp"]),
        port=1025,
    ),
    Service(
        "docs",
        command=lambda home: _static("local.docs", home.ports["docs"], home.docs),
        env=lambda _: {},
        is_ready=lambda home: _http_ok(home.ports["docs"]),
        port=8081,
    ),
    Service(
        "airflow",
        command=_airflow("api-server"),
        env=airflow.env,
        is_ready=lambda home: airflow.Api(home).is_healthy(),
        needs=("migrate",),
        port=8080,
    ),
    Service(
        "scheduler",
        command=lambda _: _module("local.scheduler"),
        env=airflow.scheduler_env,
        is_ready=_component("scheduler"),
        needs=("migrate", "dbt_parse"),
        key=lambda home: "" if workers.of(home) else _warm_key(home),
    ),
    Service(
        "dag-processor",
        command=lambda _: _module("local.dag_processor"),
        env=airflow.env,
        is_ready=_component("dag_processor"),
        needs=("migrate", "dbt_parse"),
        key=_warm_key,
    ),
    Service(
        "triggerer",
        command=_airflow("triggerer", "--skip-serve-logs"),
        env=airflow.env,
        is_ready=_component("triggerer"),
        needs=("migrate",),
    ),
)

BROKER = Service(
    "broker",
    command=workers.broker_command,
    env=lambda _: {},
    is_ready=workers.broker_answers,
    needs=("broker_settings",),
    port=workers.BROKER_PORT,
)


def _worker(name: str, queues: str, *needs: str) -> Service:
    return Service(
        name,
        command=_airflow(*workers.arguments(name, queues)),
        env=lambda home: {**airflow.env(home), **workers.worker_env()},
        is_ready=lambda home: workers.worker_answers(home, name),
        needs=("migrate", "dbt_parse", *needs),
        key=_warm_key,
    )


BROKER_SETTINGS = Step("broker_settings", needs=(), call=workers.write_broker_settings)

STEPS: tuple[Step, ...] = (
    Step("databases", needs=("postgres",), call=_make_databases),
    Step(
        "migrate",
        needs=("databases",),
        command=_airflow("db", "migrate"),
        env=airflow.env,
        key=lambda home: _digest([_airflow_version(), home.secrets["postgres_airflow"]]),
    ),
    Step(
        "dbt_parse",
        needs=(),
        command=_dbt_parse,
        env=lambda home: {**airflow.dbt_env(home), "DO_NOT_TRACK": "1"},
        key=dbt_key,
    ),
)


def of(home: Home) -> tuple[Service, ...]:
    """The services of a home: those that every home has, and its Celery workers with their broker."""
    names = workers.names(home)
    brokers = (BROKER,) if names and workers.has_broker_of_its_own(home) else ()
    needs = [broker.name for broker in brokers]
    own = (_worker(name, queues, *needs) for name, queues in zip(names, workers.of(home), strict=True))
    return (*SERVICES, *brokers, *own)


def _retired(home: Home) -> list[Service]:
    """The workers and the broker that an earlier `up` has started, and that the home has no more."""
    there = {service.name for service in of(home)}
    records = sorted(path.stem for path in home.run.glob("*.json"))
    workers_of = [_worker(name, workers.DEFAULT_QUEUE) for name in records if name.startswith("worker-")]
    return [one for one in (*workers_of, BROKER) if one.name in records and one.name not in there]


def choose_ports(home: Home) -> None:
    """Give each service that does not run a free port, the remembered or usual one if possible; say so if not."""
    for service in of(home):
        if service.port is None:
            continue
        if service.name in home.ports and running(home, service) is not None:
            ports.keep(home.ports[service.name])  # should it be started again, nobody else gets it in between
            continue
        inner = [(name, service.port + 1) for name in service.inner_ports]
        for name, first in [(service.name, service.port), *inner]:
            wanted = home.ports.get(name, first)
            if not ports.reserve(wanted, along=service.along, fits=service.port_fits):
                found = ports.reserve_from(first, along=service.along, fits=service.port_fits)
                if name == service.name:
                    _say(f"port {wanted} is taken: {name} listens on {found}")
                wanted = found
            home.ports[name] = wanted
    home.save()


def start_all(home: Home, *, say: Callable[[str], None]) -> None:
    """Start what does not run, restart what has changed, heal what was killed, and wait until all is ready.

    Raises:
        LocalError: A part ended or did not get ready; the message names its log.
    """
    if retired := _retired(home):
        stop(home, retired)
    services = of(home)
    for service in services:
        started = running(home, service)
        if started is not None and _recorded_key(home, service) != _service_key(home, service):
            say(f"{service.name}: changed, starting it again")
            stop(home, [service])
        elif started is None:
            stop(home, [service])  # children that outlived a killed parent
    steps = (*STEPS, BROKER_SETTINGS) if BROKER in services else STEPS
    waiting: list[Service | Step] = [*steps, *services]
    underway: dict[str, tuple[Service | Step, process.Started | None, float]] = {}
    ready: set[str] = set()
    at_work: dict[str, process.Started] = {}
    begun = time.monotonic()
    while waiting or underway:
        for part in [part for part in waiting if ready.issuperset(part.needs)]:
            waiting.remove(part)
            underway[part.name] = (part, start(home, part), time.monotonic())
        for name, (part, started, since) in list(underway.items()):
            if _is_done(home, part, started, since):
                del underway[name]
                ready.add(name)
                if isinstance(part, Service) and started is not None:
                    at_work[name] = started
                    say(f"{name} is ready ({time.monotonic() - begun:.1f} s)")
        for name, started in at_work.items():
            # what answered in its place was another's, and what needs it would be waited for in vain
            _refuse_ended(home, name, started)
        if underway:
            time.sleep(0.1)


def parse_dbt(home: Home) -> None:
    """Make dbt's manifest anew if a file of the project has changed since; the running stack takes it as it is.

    Raises:
        LocalError: dbt cannot read the project.
    """
    (step,) = (one for one in STEPS if one.name == "dbt_parse")
    key = step.key(home)
    if home.state.get("steps", {}).get(step.name) == key and _has_result(home, step):
        return
    assert step.command is not None  # noqa: S101 - it is one
    run_step(home, step.command(home), step.env(home), home.logs / f"{step.name}.log")
    home.state.setdefault("steps", {})[step.name] = key
    home.save()


def running(home: Home, service: Service) -> process.Started | None:
    """The recorded process of a service if that very process still runs."""
    started = process.read_record(_record(home, service))
    return started if started is not None and process.is_running(started) else None


def cold(home: Home) -> list[Path]:
    """The logs of those that run tasks (the scheduler, or the workers) that do not say that they hold everything."""
    return [log for name in workers.names(home) or ["scheduler"] if not _says_warm(log := home.logs / f"{name}.log")]


def _says_warm(log: Path) -> bool:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return False
    last = next((line for line in reversed(lines) if "event=warm" in line), "")
    return "cold=none" in last


def stop(home: Home, services: Sequence[Service], *, grace_seconds: float = 8.0) -> None:
    """Stop services and all their children, together."""
    by_signal: dict[signal.Signals, list[Service]] = {}
    for service in services:
        by_signal.setdefault(service.stop_signal, []).append(service)
    for number, group in by_signal.items():
        process.stop(
            [started for service in group if (started := process.read_record(_record(home, service)))],
            members=functools.partial(process.marked, home.path, {service.name for service in group}),
            first=number,
            grace_seconds=grace_seconds,
        )
        for service in group:
            if service.name == "postgres":
                postgres.stop_leftover(postgres.data_directory(home.postgres))
            if service.name == "s3":
                s3.remove_sockets(home.ports[name] for name in ("s3", *s3.INNER) if name in home.ports)
            _record(home, service).unlink(missing_ok=True)


def stop_all(home: Home) -> None:
    """Stop everything of this home: Airflow first, so that it can still say its farewells to the database."""
    last = ("postgres", "s3", "broker")
    services = [*of(home), *_retired(home)]
    stop(home, [service for service in services if service.name not in last])
    stop(home, [service for service in services if service.name in last])


def start(home: Home, part: Service | Step) -> process.Started | None:
    """Start a service that does not run, or a step that is to be done; its process, if it has one."""
    if isinstance(part, Service):
        if (started := running(home, part)) is not None:
            return started
        env = {**_common_env(home), **part.env(home), process.MARK: part.name, process.HOME_MARK: str(home.path)}
        user, group, cwd = None, None, part.cwd(home)
        if part.name == "postgres":
            installation = _postgres(home)
            # Its user may have no access to the project, and its environment is nobody's business.
            user, group, cwd, env = installation.user, installation.group, Path("/"), installation.env()
        log = home.logs / f"{part.name}.log"
        _rotate(log)
        started = process.spawn(part.command(home), env=env, log=log, cwd=cwd, user=user, group=group)
        process.write_record(_record(home, part), started, key=_service_key(home, part))
        return started
    if part.key(home) and home.state.get("steps", {}).get(part.name) == part.key(home) and _has_result(home, part):
        return None
    if part.call is not None:
        part.call(home)
        return None
    assert part.command is not None  # noqa: S101 - a step is a command or a call
    log = home.logs / f"{part.name}.log"
    log.unlink(missing_ok=True)
    env = {**_common_env(home), **part.env(home), process.MARK: part.name, process.HOME_MARK: str(home.path)}
    return process.spawn(part.command(home), env=env, log=log, cwd=PROJECT)


def _has_result(home: Home, step: Step) -> bool:
    return step.name != "dbt_parse" or (home.dbt_target / "manifest.json").exists()


def _is_done(home: Home, part: Service | Step, started: process.Started | None, since: float) -> bool:
    log = home.logs / f"{part.name}.log"
    if isinstance(part, Step):
        if started is not None:
            code = process.exit_code(started)
            if code is None:
                return False
            if code != 0:
                raise LocalError(f"{part.name} failed (exit {code}); the end of {log}:\n{stack.tail(log)}")
        if part.key(home):
            home.state.setdefault("steps", {})[part.name] = part.key(home)
            home.save()
        return True
    assert started is not None  # noqa: S101 - a service always is a process
    _refuse_ended(home, part.name, started)
    if part.is_ready(home):
        return True
    if time.monotonic() - since > 180:
        raise LocalError(f"{part.name} is not ready after 180 s; the end of {log}:\n{stack.tail(log)}")
    return False


def _refuse_ended(home: Home, name: str, started: process.Started) -> None:
    if not process.is_running(started):
        log = home.logs / f"{name}.log"
        raise LocalError(f"{name} ended while the stack was starting; the end of {log}:\n{stack.tail(log)}")


def _common_env(home: Home) -> dict[str, str]:
    passed = (
        *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER", "LOGNAME"),
        *("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    )
    loopback = f"{ports.HOST},localhost"
    return {
        **{name: os.environ[name] for name in passed if name in os.environ},
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), loopback])),
        "no_proxy": ",".join(filter(None, [os.environ.get("no_proxy"), loopback])),
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "SLUICE_HOME": str(home.path),
        # setproctitle would overwrite the environment by which a service's children are known.
        "SPT_NOENV": "1",
    }


def _service_key(home: Home, service: Service) -> str:
    env = {} if service.name == "postgres" else dict(service.env(home))
    command = [] if service.name == "postgres" else list(service.command(home))
    return _digest([command, sorted(env.items()), service.key(home), sys.executable])


def _recorded_key(home: Home, service: Service) -> str:
    try:
        return str(json.loads(_record(home, service).read_text()).get("key"))
    except (OSError, ValueError):
        return ""


def _record(home: Home, service: Service) -> Path:
    return home.run / f"{service.name}.json"


def _rotate(log: Path, largest: int = 20_000_000) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > largest:
            log.replace(log.with_suffix(".log.1"))


def _airflow_version() -> str:
    from importlib.metadata import version

    return version("apache-airflow-core")


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _say(line: str) -> None:
    print(line, flush=True)


def run_step(home: Home, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
    """Run a program to its end, its output in a log.

    Raises:
        LocalError: It failed.
    """
    with log.open("wb") as output:
        done = subprocess.run(
            list(command),
            env={**_common_env(home), **env},
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise LocalError(f"{Path(command[0]).name} {command[1]} failed; the end of {log}:\n{stack.tail(log)}")
