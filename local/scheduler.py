"""Airflow's scheduler, with its fork server started at once: it warms up while the rest of the stack still starts.

Airflow would start it with the first task, which then waited 15 s for it.
"""

import multiprocessing
import sys
from multiprocessing import forkserver

if __name__ == "__main__":
    multiprocessing.set_forkserver_preload(["local.warm"])
    forkserver.ensure_running()
    from airflow.__main__ import main

    sys.argv = ["airflow", "scheduler", "--skip-serve-logs"]
    main()  # type: ignore[no-untyped-call]
