"""Files that arrive in the drop zone have their source's DAG run: at the queue's message, and looked for every hour."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from include.notify import callbacks
from include.pipeline.arrivals import QUEUE, check_queue, look, schedule, tell_strays

DOC = """
A file that is put into `s3://<bucket>/drop/<source>/` where an entity of that source takes it is loaded within a
minute: S3 tells the queue `SLUICE_DROP_QUEUE`, the triggerer takes the message and updates the asset `drop_zone`, this
DAG looks what no run has taken yet and updates the asset `drop_<source>`, and the source's DAG runs, for its files
alone. It looks every hour too, and whenever it is triggered by hand; without a queue only then. Each source's own
schedule takes dropped files all the same. `docs/arriving-files.md` has it all.

**When it fails**

- `look`: S3 (connection `sluice_s3`, bucket `SLUICE_BUCKET`) or the warehouse (`sluice_loader`) does not answer. Mend
  it and clear the task, or leave it to the next hour.
- `tell_strays`: files that no entity takes; the message names them and says where they would be taken. They are left
  alone, and it is said once.
- `check_queue`: the queue does not answer, or may not be read. The hourly look goes on without it.
"""

told = callbacks({}, source="arrivals")
with DAG(
    "arrivals",
    description="Runs the sources whose files have arrived in the drop zone, at S3's event and every hour.",
    doc_md=DOC,
    schedule=schedule(),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False if QUEUE else None,
    tags=["drop"],
    default_args={"owner": "data-platform", "retries": 2, "retry_delay": timedelta(seconds=10), **told.of_tasks},
    **told.of_dag,
):
    found: Any = look()
    tell_strays(found)
    check_queue()
