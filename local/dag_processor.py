"""Airflow's DAG processor, which has built the DAGs of all sources: it forks for each parse, and the fork has them all.

A parse that finds a file of ours changed builds them anew (local/warm.py), so it shows things as they are by then.
"""

import gc
import logging
import os
import sys
from pathlib import Path

from local import warm


def main() -> None:
    """Run the DAG processor until it is told to end."""
    from airflow.__main__ import main as airflow

    preload()
    sys.argv = ["airflow", "dag-processor"]
    airflow()  # type: ignore[no-untyped-call]


def preload() -> None:
    """Build the DAGs of all sources; a failure leaves parsing slow, never broken."""
    try:
        warm.hold_dags(Path(os.environ["SLUICE_DBT_MANIFEST"]))
    except Exception:
        logging.getLogger(__name__).exception("the DAGs cannot be built; each parse will say why")
        warm.forget_own_modules()
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    main()
