"""A process that does a piece of work as often as it is told, each time in a fork of its own, and says what it took.

    echo '{"s3": …, "landing": …, "dsn": …}' | python -m benchmarks.worker benchmarks.ours:load_file

Each line of its input is the arguments of the function that the command line names, which prepares and returns another
one that does the work. Only that one's time counts: what it imports is imported once, before the first fork, as a warm
worker of Airflow's has it. Peers run this in environments of their own, so it needs nothing but the standard library.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class WayError(Exception):
    """A way could not be run; the message says why."""


def main() -> None:
    """Answer each line of the input by one of JSON: what the work took, or its `fault`."""
    # what an import or the work prints is not the answer
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    place, _, name = sys.argv[1].partition(":")
    module = importlib.import_module(place)
    for needed in getattr(module, "IMPORTS", {}).get(name, ()):
        importlib.import_module(needed)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            answers.write(json.dumps(_answer(getattr(module, name), json.loads(line))) + "\n")
            answers.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            answers.write(json.dumps({"fault": f"it ended with status {status}"}) + "\n")


def _answer(function: Callable[..., Callable[[], object]], given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        work = function(**given)
        before, cpu, begun = _memory("VmRSS"), _cpu(), time.perf_counter()
        done = work()
        seconds, cpu = time.perf_counter() - begun, _cpu() - cpu
    except Exception:
        return {"fault": " ".join(traceback.format_exc().split())[-400:]}
    returned = done if isinstance(done, (int, float)) else None
    return {"seconds": seconds, "cpu": cpu, "rss": _memory("VmHWM"), "rss_before": before, "returned": returned}


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _memory(which: str) -> int:
    """Bytes, as the kernel counts them (proc(5)); elsewhere than on Linux the peak that getrusage knows."""
    try:
        return int(Path("/proc/self/status").read_text().split(f"{which}:")[1].split()[0]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
