"""Rows in quarantine, on their way back: a form that has a source load again what they came from."""

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param

from include.notify import callbacks
from include.pipeline.model import source_names
from include.pipeline.redrive import find_held

DOC = """
Trigger it when what put rows into quarantine is mended: the rule in `gates.yml`, the model, `source.yml` or code. It
starts the source's DAG with `redrive`: the landings that have rows in quarantine are loaded again from S3, through the
same gates, and published. The API is not called. Rows that are still not as expected are held again; a row that comes
back is published once, and a second redrive adds nothing.

`./sluice quarantine list` and `show` say what is held and why. `docs/runbooks/quarantine.md` goes through it.

**When it fails**

- `find_held`: the warehouse does not answer, or the entity does not exist. The message says which.
- `run_source`: the source's run has failed (the button *Triggered DAG* leads to it; its failed gate says why), or its
  DAG is paused: switch it on. Readers keep the last good state.
"""

told = callbacks({}, source="redrive")
with DAG(
    "redrive",
    description="Loads again the landings that have rows in quarantine, once what was wrong is mended.",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    tags=["quarantine"],
    params={
        "source": Param(enum=source_names(), type="string", description="Whose rows."),
        "entity": Param(None, type=["null", "string"], description="Of this entity alone; empty: of all."),
        "landing_id": Param(None, type=["null", "integer"], description="Of this landing alone, by its `_landing_id`."),
    },
    default_args={"owner": "data-platform", "retries": 2, **told.of_tasks},
    **told.of_dag,
):
    TriggerDagRunOperator(
        task_id="run_source",
        trigger_dag_id="{{ params.source }}",
        conf=find_held(),  # type: ignore[arg-type] # which may be another task's
        logical_date=None,
        wait_for_completion=True,
        deferrable=True,
        poke_interval=10,
        fail_when_dag_is_paused=True,
        retries=0,  # the source's own tasks have been tried again
    )
