"""A process that does one piece of work and says what it took; peers run it in environments of their own.

    echo '{"dsn": …}' | python -m benchmarks.worker benchmarks.ours:load_file

The function gets the JSON's members as arguments, prepares, and returns another one that does the work. Only that one's
time counts. The standard library is all that this module needs.
"""

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path


class WayError(Exception):
    """A way could not be run; the message says why."""


def main() -> None:
    """Run the function that the command line names; the last line of the output is JSON."""
    module, _, name = sys.argv[1].partition(":")
    work = getattr(importlib.import_module(module), name)(**json.load(sys.stdin))
    before, cpu, begun = _memory("VmRSS"), _cpu(), time.perf_counter()
    work()
    seconds, cpu = time.perf_counter() - begun, _cpu() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "rss": _memory("VmHWM"), "rss_before": before}))


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
