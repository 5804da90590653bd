"""Airflow's DAG processor, which has imported what DAG files import: it forks for each parse, and the fork has it all.

Our own modules are forgotten again, so that each parse reads them as they are by then.
"""

import gc
import logging
import sys


def main() -> None:
    """Run the DAG processor until it is told to end."""
    from airflow.__main__ import main as airflow

    preload()
    sys.argv = ["airflow", "dag-processor"]
    airflow()  # type: ignore[no-untyped-call]


def preload() -> None:
    """Import what the DAGs of all sources need; a failure leaves parsing slow, never broken."""
    try:
        from include.pipeline.factory import build_dags

        build_dags()
    except Exception:
        logging.getLogger(__name__).exception("the DAGs cannot be built; each parse will say why")
    for name in [name for name in sys.modules if name.partition(".")[0] == "include"]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    main()
