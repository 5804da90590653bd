"""Ways to do one piece of work, run in turn, and what each took: seconds, processor time, memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.worker import WayError
from local.home import PROJECT

_SERVERS_SETTLE_SECONDS = 10


@dataclass(frozen=True)
class Took:
    """What one run took.

    Attributes:
        seconds: Wall time of the work, without imports and preparation.
        client: CPU seconds of the process that did it.
        server: CPU seconds of the servers meanwhile, background work included.
        rss: Peak memory of the process, imports included; None where it did not run in one of its own.
        rss_before: Its memory before the work began.
        asking: Seconds in which it waited for the database, where somebody has counted them.
        returned: What the work has returned, where that is a number.
    """

    seconds: float
    client: float
    server: float
    rss: int | None = None
    rss_before: int | None = None
    asking: float | None = None
    returned: float | None = None

    @property
    def cpu(self) -> float:
        """CPU seconds of all together."""
        return self.client + self.server


@dataclass(frozen=True)
class Way:
    """One way to do the work.

    Attributes:
        name: What it is called in the table.
        run: Does the work once and says what it took.
        rounds: How often at most; a way that takes minutes is run less often than the others.
        is_peer: Whether the benchmark goes on without it when it fails.
    """

    name: str
    run: Callable[[], Took]
    rounds: int = 1_000
    is_peer: bool = False


def in_turn(ways: Sequence[Way], rounds: int, faults: dict[str, str] | None = None) -> dict[str, list[Took | None]]:
    """Run all ways in each round, beginning with another one each time; by way, one entry a round.

    What else the machine does falls on all of them alike, so ratios within a round mean something.

    Args:
        ways: What is compared.
        rounds: How often.
        faults: Is told why a peer could not be run; it is not tried again.

    Raises:
        WayError: Another way than a peer failed.
    """
    took: dict[str, list[Took | None]] = {way.name: [None] * rounds for way in ways}
    failed = {} if faults is None else faults
    for number in range(rounds):
        first = number % len(ways)
        for way in [*ways[first:], *ways[:first]]:
            if number < way.rounds and way.name not in failed:
                try:
                    took[way.name][number] = way.run()
                except WayError as fault:
                    if not way.is_peer:
                        raise
                    failed[way.name] = str(fault)
    return took


def median(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(values) if values else None


def of(runs: Sequence[Took | None], what: Callable[[Took], float]) -> float | None:
    """The median over the rounds in which the way was run."""
    return median([what(one) for one in runs if one is not None])


def paired(
    runs: Sequence[Took | None],
    base: Sequence[Took | None],
    what: Callable[[Took], float] = lambda one: one.seconds,
) -> float | None:
    """The median of the ratios to another way's run of the same round."""
    pairs = [(one, other) for one, other in zip(runs, base, strict=True) if one is not None and other is not None]
    return median([what(one) / what(other) for one, other in pairs if what(other) > 0])


class Clock:
    """What this process and the servers that it has started use.

    A backend's time counts for its server once it has ended and been waited for, which is awaited.
    """

    def __init__(self) -> None:
        self._workers: dict[tuple[str, Path], subprocess.Popen[str]] = {}
        self._servers = [process for process in psutil.Process().children() if process.name() in {"postgres", "weed"}]

    def measure(self, work: Callable[[], object]) -> Took:
        """Do the work in this process."""
        server = self.server()
        client, begun = _own_cpu(), time.perf_counter()
        work()
        seconds, client = time.perf_counter() - begun, _own_cpu() - client
        return Took(seconds, client, self.server() - server)

    def measure_apart(
        self,
        function: str,
        given: Mapping[str, Any],
        *,
        python: Path = Path(sys.executable),
        env: Mapping[str, str] | None = None,
        cwd: Path = PROJECT,
    ) -> Took:
        """Do the work in a process of its own, a fork of one that has all imported: `benchmarks/worker.py` says how.

        Args:
            function: `module:name`.
            given: Its keyword arguments, as JSON can hold them.
            python: The interpreter.
            env: Variables beside those of this process.
            cwd: Where it works; the modules that are there come before ours.

        Raises:
            WayError: It failed.
        """
        worker = self._worker(function, python, env or {}, cwd)
        assert worker.stdin is not None
        assert worker.stdout is not None
        server = self.server()
        worker.stdin.write(json.dumps(given) + "\n")
        worker.stdin.flush()
        said = json.loads(worker.stdout.readline() or '{"fault": "its process has ended"}')
        if "fault" in said:
            raise WayError(f"{function}: {said['fault']}")
        return Took(
            said["seconds"],
            said["cpu"],
            self.server() - server,
            said["rss"],
            said["rss_before"],
            returned=said["returned"],
        )

    def close(self) -> None:
        """End the processes that work apart."""
        for worker in self._workers.values():
            worker.terminate()
            worker.communicate()
        self._workers.clear()

    def _worker(self, function: str, python: Path, env: Mapping[str, str], cwd: Path) -> subprocess.Popen[str]:
        if (function, cwd) not in self._workers:
            self._workers[function, cwd] = subprocess.Popen(
                [str(python), "-m", "benchmarks.worker", function],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": str(PROJECT)} | dict(env),
                cwd=cwd,
                text=True,
            )
        return self._workers[function, cwd]

    def server(self) -> float:
        """CPU seconds of the servers until now, once their sessions have ended."""
        deadline = time.monotonic() + _SERVERS_SETTLE_SECONDS
        while any(_is_session(process) for process in self._processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return sum(_cpu(process) for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return [*self._servers, *(child for server in self._servers for child in server.children(recursive=True))]


def _is_session(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "127.0.0.1(" in " ".join(process.cmdline())
    return False


def _cpu(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def _own_cpu() -> float:
    times = os.times()
    return times.user + times.system
