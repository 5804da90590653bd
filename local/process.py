"""Processes that outlive the launcher: each in a session of its own, and no stranger is ever taken for one of ours.

A pid alone proves nothing: the kernel hands it to somebody else after a crash or a reboot. So the record of a service
holds the moment its process started too, and its children are known by two variables in their environment.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

MARK = "SLUICE_SERVICE"
HOME_MARK = "SLUICE_HOME"


@dataclass(frozen=True)
class Started:
    """A process as it was when it started: its pid, and the moment (which tells it from a later owner of the pid)."""

    pid: int
    moment: str


def moment_of(pid: int) -> str | None:
    """When the process with this pid started, in the kernel's words; None when there is none, or only its corpse.

    On Linux boot id and clock ticks since boot (proc(5), field 22 of /proc/PID/stat): no change of the clock moves it.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        fields = stat[stat.rindex(")") + 2 :].split()
        if fields[0] in "ZX":
            return None
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + ":" + fields[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except (ProcessLookupError, PermissionError):
        return None
    try:
        return f"{psutil.Process(pid).create_time():.0f}"
    except psutil.Error:
        return None


def is_running(started: Started) -> bool:
    """Whether that very process still runs."""
    return moment_of(started.pid) == started.moment


def write_record(path: Path, started: Started, *, key: str = "") -> None:
    """Remember a started process in a file, all or nothing, and a key of what it was started with."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({**asdict(started), "key": key}))
    temporary.replace(path)


def read_record(path: Path) -> Started | None:
    """The process remembered in the file, running or not; None when there is no (whole) record."""
    try:
        content = json.loads(path.read_text())
        return Started(pid=int(content["pid"]), moment=str(content["moment"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    cwd: Path,
    user: int | None = None,
    group: int | None = None,
) -> Started:
    """Start a process in a session of its own; what it prints is appended to the log.

    Args:
        command: The program and its arguments.
        env: Its whole environment.
        log: The file that its output goes to.
        cwd: Where it starts.
        user: Run it as this uid (root only).
        group: And this gid.

    Returns:
        What to recognise it by.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )
    _children[process.pid] = process
    return Started(process.pid, moment_of(process.pid) or "ended at once")


def exit_code(started: Started) -> int | None:
    """The exit code of a process that this one started, or None while it runs; -1 for one that is not ours to ask."""
    child = _children.get(started.pid)
    if child is None:
        return None if is_running(started) else -1
    return child.poll()


def marked(home: Path, services: Collection[str]) -> list[psutil.Process]:
    """All processes of some services of this home, the children that survived their parent too."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environ = process.environ()
            if environ.get(MARK) in services and environ.get(HOME_MARK) == str(home):
                found.append(process)
    return found


def stop(
    started: Iterable[Started],
    *,
    members: Callable[[], list[psutil.Process]] = list,
    first: signal.Signals = signal.SIGTERM,
    grace_seconds: float = 10.0,
) -> None:
    """End processes and everything in their sessions, politely at first.

    Args:
        started: The recorded processes; another process that has got a pid since is left alone.
        members: Finds further processes that belong to them.
        first: The signal to ask with.
        grace_seconds: How long to wait before SIGKILL.
    """
    processes = {process.pid: process for process in members()}
    known = list(started)
    processes.update({process.pid: process for process in _in_sessions({one.pid for one in known if is_running(one)})})
    processes.update({process.pid: process for one in known if not is_running(one) for process in _left_by(one)})
    for process in processes.values():
        _send(process, first)
    _wait(list(processes.values()), grace_seconds)
    # What was forked in between is found only now.
    rest = {process.pid: process for process in [*processes.values(), *members()] if process.is_running()}
    for process in rest.values():
        _send(process, signal.SIGKILL)
    _wait(list(rest.values()), 5.0)


_children: dict[int, subprocess.Popen[bytes]] = {}


def _in_sessions(leaders: Collection[int]) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    if not leaders:
        return found
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) in leaders:
                found.append(process)
    return found


def _left_by(dead: Started) -> list[psutil.Process]:
    """What a dead session leader left behind and will not say whose it is.

    Airflow's workers forbid even their own user to read their environment (prctl(2), PR_SET_DUMPABLE), so the marks do
    not find them. Theirs is the session with the dead leader's pid, and they are younger than it.
    """
    if moment_of(dead.pid) is not None:
        return []
    found = []
    for process in _in_sessions({dead.pid}):
        moment = moment_of(process.pid)
        if moment is None or not _is_younger(moment, dead.moment):
            continue
        with contextlib.suppress(psutil.Error):
            if process.uids().real != os.getuid():
                continue
            try:
                process.environ()
            except psutil.AccessDenied:
                found.append(process)
    return found


def _is_younger(moment: str, than: str) -> bool:
    boot, _, ticks = moment.rpartition(":")
    other_boot, _, other_ticks = than.rpartition(":")
    return boot == other_boot and ticks.isdigit() and other_ticks.isdigit() and int(ticks) >= int(other_ticks)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)  # psutil checks that the pid is still the same process


def _wait(processes: list[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for process in list(_children.values()):
            process.poll()  # our own dead children must be collected, or they stay as corpses
        if not any(alive(process) for process in processes):
            return
        time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs; a dead one that nobody has collected yet does not."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
