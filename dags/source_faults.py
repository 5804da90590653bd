"""No DAG: the import error that Airflow shows for source folders that are wrong, apart from the right ones."""

from include.pipeline.factory import build_dags
from include.pipeline.model import SourceError

_, faults = build_dags()
if faults:
    raise SourceError("\n".join(faults.values()))
