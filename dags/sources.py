"""A DAG for each folder in include/sources, built by Airflow's processor and workers from its source.yml.

A worker parses this file for every task that it runs: it then builds the one DAG it was asked for. A folder that is
wrong is left out here and reported by source_faults.py, so that it takes no other DAG with it.
"""

from airflow.sdk import get_parsing_context

from include.pipeline.factory import build_dags

dags, _ = build_dags(only=get_parsing_context().dag_id)
globals().update(dags)
