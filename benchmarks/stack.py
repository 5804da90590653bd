"""What benchmarks of the whole product share: a stack of their own, and what to say of the machine that it ran on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil

from benchmarks.processes import Watched
from local.home import PROJECT, Home, LocalError, open_home


def sluice(env: Mapping[str, str], *arguments: str, check: bool = True) -> int:
    """Run the launcher; what it says goes to standard error, where it is in nobody's way.

    Args:
        env: Its environment.
        arguments: The command.
        check: Whether a failure is an error.

    Returns:
        The exit code.

    Raises:
        LocalError: It failed, with `check`.
    """
    done = subprocess.run([str(PROJECT / "sluice"), *arguments], env=dict(env), stdout=sys.stderr, check=False)
    if check and done.returncode:
        raise LocalError(f"./sluice {' '.join(arguments)} failed (exit {done.returncode}): see above")
    return done.returncode


@contextmanager
def stack(**environment: str) -> Iterator[Home]:
    """A stack that has run nothing; afterwards nothing is left of it.

    Args:
        environment: What the launcher is called with besides.

    Raises:
        LocalError: It does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    folder.chmod(0o711)  # root's PostgreSQL runs as another user, who must pass
    env = os.environ | environment | {"SLUICE_HOME": str(folder)}
    try:
        sluice(env, "up", "--no-run")
        yield open_home(folder)
    finally:
        if sluice(env, "down", "--purge", check=False) == 0:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"the stack was not stopped; stop it with SLUICE_HOME={folder} ./sluice down --purge")


def await_so(is_so: Callable[[], bool], *, what: str, limit_seconds: float) -> None:
    """Wait until it is so.

    Raises:
        LocalError: It is not, in time.
    """
    deadline = time.monotonic() + limit_seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise LocalError(f"{what}: not there after {limit_seconds:.0f} s; see the log of its service")
        time.sleep(0.5)


def by_kind(
    kinds: Mapping[str, Sequence[str]], tasks: Sequence[Mapping[str, str]], watched: Watched
) -> dict[str, list[tuple[float, float]]]:
    """Seconds, and CPU seconds of its process, of each task that has ended well.

    Args:
        kinds: Kind of task -> how the ids of its tasks begin.
        tasks: Task instances as Airflow's REST API has them.
        watched: The processes that ran meanwhile.
    """
    cpu = {seen.title: seen.cpu_seconds for seen in watched.processes.values()}
    found: dict[str, list[tuple[float, float]]] = {}
    for task in tasks:
        kind = next((kind for kind, begins in kinds.items() if task["task_id"].startswith(tuple(begins))), None)
        used = cpu.get(f"airflow worker -- {task['id']}")
        if kind and used is not None and task["state"] == "success":
            found.setdefault(kind, []).append((moment(task["end_date"]) - moment(task["start_date"]), used))
    return found


def moment(text: str) -> float:
    """A time as Airflow's REST API writes it, in seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def machine() -> str:
    """The machine, and how fast it is at the moment: on a shared host that varies, and with it all CPU seconds."""
    memory, cores = psutil.virtual_memory().total / 1e9, os.cpu_count() or 1
    return (
        f"{platform.machine()}, {cores} cores, {memory:.0f} GB, Python {platform.python_version()}, "
        f"a million additions {_additions(1):.0f} ms, on all cores at once {_additions(cores):.0f} ms"
    )


_ADDITIONS = (
    "import time; begun, total = time.process_time(), 0\n"
    "for number in range(3_000_000): total += number\n"
    "print((time.process_time() - begun) * 1000 / 3)"
)


def _additions(at_once: int) -> float:
    command = [sys.executable, "-S", "-c", _ADDITIONS]
    begun = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(at_once)]
    return max(float(one.communicate()[0]) for one in begun)


def say(line: str) -> None:
    """Tell whoever waits, at once and beside the results."""
    print(line, file=sys.stderr, flush=True)
