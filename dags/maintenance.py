"""Once a day: what killed landings have left in S3, and what quarantine has kept long enough, goes."""

import os
from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from include.notify import callbacks
from include.pipeline.maintenance import forget_attempts, purge_quarantine, sweep_lake, sweep_landings

DOC = """
- `sweep_landings`: a landing that was killed leaves a folder in S3 without `_manifest.json`, and maybe an unfinished
  upload, which costs and is not listed. Nobody reads either. Both go when nothing has been written for `grace_hours`.
- `sweep_lake`, where there is a lake (`docs/lake.md`): former versions of what was exported anew, and what exports that
  were killed have left, when the slice has been as it is for `grace_hours`.
- `purge_quarantine`: rows that have been in quarantine for longer than `quarantine_days` in their `source.yml`.
- `forget_attempts`: the tries of tasks that `ops.attempt` remembers, after 90 days.

Nothing that is landed, loaded or published is touched. `docs/replay-and-backfill.md` says more.

**When it fails**

- `sweep_landings`: S3 (connection `sluice_s3`, bucket `SLUICE_BUCKET`) does not answer, or may not be listed, deleted
  from, or asked for its multipart uploads. Mend it and clear the task; a day without a sweep does no harm.
- `sweep_lake`: the same, or Glue does not answer. What is left lies there for another day.
- `purge_quarantine`, `forget_attempts`: the warehouse does not answer, or the connection `sluice_loader` is wrong.
"""

told = callbacks({}, source="maintenance")
with DAG(
    "maintenance",
    description="Sweeps what killed landings have left in S3, and deletes what quarantine has kept long enough.",
    doc_md=DOC,
    schedule=CronTriggerTimetable("30 2 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["maintenance"],
    params={
        "grace_hours": Param(
            24, type="integer", minimum=1, description="How long nothing was written into what is swept."
        )
    },
    default_args={"owner": "data-platform", "retries": 2, "retry_delay": timedelta(minutes=5), **told.of_tasks},
    **told.of_dag,
):
    sweep_landings()
    if os.environ.get("SLUICE_LAKE_DATABASE"):
        sweep_lake()
    purge_quarantine()
    forget_attempts()
