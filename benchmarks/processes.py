"""The memory and CPU of a tree of processes,, looked at several times a second while it works.

Three sizes, all in bytes (https://www.kernel.org/doc/html/latest/filesystems/proc.html, smaps):

- RSS: all pages that a process has in memory, those included that it shares. What `ps` shows.
- PSS: the same, but a page that n processes share counts 1/n for each. Sums of PSS are true sums.
- USS: pages that are its alone: what would be free if it ended.

Tasks forked from a warm process share its pages, and backends of PostgreSQL share its buffers, so their RSS is more
than they cost. PSS and USS need the right to trace the process: without it (another user's process) they are None.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

EVERY_SECONDS = 0.2
_SHARES_EVERY_SECONDS = 1.0
"""PSS and USS cost the kernel a walk through the whole process, RSS a look at a number; who slept is as it was"""


@dataclass
class Seen:
    """One process, from its first sample to its last.

    Attributes:
        root: The name of the process that it descends from, among those that were asked for.
        title: Its command line as last seen; programs like PostgreSQL and Airflow say in it what they do.
        first: When it was seen first, seconds since the epoch.
        last: When it was seen last.
        rss: Its peak.
        rss_at: When that was.
        pss: Its peak, as far as the kernel told.
        uss: Its peak, as far as the kernel told.
        cpu_seconds: User and system time while it was watched.
    """

    root: str
    title: str
    first: float
    last: float
    rss: int = 0
    rss_at: float = 0.0
    pss: int | None = None
    uss: int | None = None
    cpu_seconds: float = 0.0
    _cpu_before: float = 0.0
    _pss_now: int = 0
    _looked_at: float = 0.0
    _looked_at_cpu: float = -1.0


@dataclass
class Watched:
    """All that was seen.

    Attributes:
        processes: Every process, by pid and the moment of its start.
        together: The peak of the sum of PSS over all of them (None where the kernel does not tell).
    """

    processes: dict[tuple[int, float], Seen] = field(default_factory=dict)
    together: int | None = None
    _roots: dict[str, int] = field(default_factory=dict, repr=False)
    _root_of: dict[int, str | None] = field(default_factory=dict, repr=False)


@contextmanager
def watch(
    roots: Callable[[], Mapping[str, int]], *, every_seconds: float = EVERY_SECONDS, skip: Collection[int] = ()
) -> Iterator[Watched]:
    """Sample processes and all that descends from them, until the context ends.

    Args:
        roots: Name -> pid of the processes to start from; asked anew for each sample.
        every_seconds: How long from one sample to the next.
        skip: Pids that do not count themselves; their children do.

    Yields:
        What was seen; the first sample is taken before the context begins, the last after it has ended.
    """
    watched = Watched()
    ended = threading.Event()
    _sample(watched, roots(), skip, is_first=True)

    def go_on() -> None:
        while not ended.wait(every_seconds):
            _sample(watched, roots(), skip)

    thread = threading.Thread(target=go_on, name="watch", daemon=True)
    thread.start()
    try:
        yield watched
    finally:
        ended.set()
        thread.join()
        _sample(watched, roots(), skip)


def _sample(watched: Watched, roots: Mapping[str, int], skip: Collection[int], *, is_first: bool = False) -> None:
    now = time.time()
    shares: list[int] = []
    for pid, root in _descendants(watched, roots).items():
        if pid in skip:
            continue
        with suppress(psutil.Error, OSError):  # it ended meanwhile
            process = psutil.Process(pid)
            key = (pid, process.create_time())
            with process.oneshot():
                size, times = process.memory_info().rss, process.cpu_times()
            cpu = times.user + times.system
            if key not in watched.processes:
                # what ran before the watch began has a past that does not count; what began since counts from its start
                before = cpu if is_first else 0.0
                watched.processes[key] = Seen(root, "", first=now, last=now, _cpu_before=before)
            seen = watched.processes[key]
            # what sets its own title fills the rest of its command line with nothing
            seen.title = " ".join(process.cmdline()).strip() or seen.title
            seen.last, seen.cpu_seconds = now, cpu - seen._cpu_before
            is_due = now - seen._looked_at >= _SHARES_EVERY_SECONDS and seen._looked_at_cpu != cpu
            if is_due or size > 1.1 * seen.rss:
                seen._looked_at, seen._looked_at_cpu = now, cpu
                _look_at_shares(process, seen)
            if size > seen.rss:
                seen.rss, seen.rss_at = size, now
            shares.append(seen._pss_now)
    if any(shares):
        watched.together = max(watched.together or 0, sum(shares))


def _look_at_shares(process: psutil.Process, seen: Seen) -> None:
    with suppress(psutil.AccessDenied):
        full = process.memory_full_info()
        seen.uss = max(seen.uss or 0, full.uss)
        if (pss := getattr(full, "pss", None)) is not None:  # Linux alone has it
            seen.pss = max(seen.pss or 0, pss)
            seen._pss_now = pss


def _descendants(watched: Watched, roots: Mapping[str, int]) -> dict[int, str]:
    """The roots, what descends from them, and what has lost its parent but not its session: pid -> root's name.

    Whose a pid is, is found out once: where many processes run, asking them all each time would cost more than what is
    measured.
    """
    if roots != watched._roots:
        watched._roots, watched._root_of = dict(roots), {}
    names = {pid: name for name, pid in roots.items()}
    there = psutil.pids()
    known = watched._root_of = {pid: watched._root_of[pid] for pid in there if pid in watched._root_of}

    def root_of(pid: int) -> str | None:
        if pid not in known:
            known[pid] = names.get(pid)
            with suppress(psutil.Error, OSError):
                if known[pid] is None and pid > 1:
                    known[pid] = root_of(psutil.Process(pid).ppid()) or names.get(os.getsid(pid))
        return known[pid]

    return {pid: name for pid in there if (name := root_of(pid)) is not None}
