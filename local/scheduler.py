"""Airflow's scheduler, with its fork server started at once: it warms up while the rest of the stack still starts.

Airflow would start it with the first task, which then waited 15 s for it.

A scheduler that has worked for a while and then dies of a fault is started again, as systemd or Kubernetes would:
Airflow 3.3's dies when a task is cleared in the moment in which it schedules it (StaleDataError).
"""

import logging
import multiprocessing
import os
import sys
import time
from multiprocessing import forkserver

SETTLED_SECONDS = 30.0
"""a scheduler that dies sooner could not start at all: `sluice up` says so"""


def main() -> None:
    """Run the scheduler until it is told to end.

    Raises:
        Exception: what it died of before it had settled.
    """
    if "SLUICE_WARM" in os.environ:  # with Celery others run the tasks
        multiprocessing.set_forkserver_preload(["local.warm"])
        forkserver.ensure_running()
    from airflow.__main__ import main as airflow

    began = time.monotonic()
    sys.argv = ["airflow", "scheduler", "--skip-serve-logs"]
    try:
        airflow()  # type: ignore[no-untyped-call]
    except Exception:
        if time.monotonic() - began < SETTLED_SECONDS:
            raise
        logging.getLogger(__name__).exception("the scheduler has died; it is started again")
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted: the same process anew


if __name__ == "__main__":
    main()
