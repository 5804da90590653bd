"""A DAG file on MWAA: what the file of this name says in the newest whole release (infra/mwaa/include_package.py).

Airflow knows DAGs by the file that they come from; this one stays where it is while releases come and go. A release
that has no such file (not yet, or no more) has no such DAG.
"""

from pathlib import Path

import include

_file = Path(include.__path__[0]).parent / "dags" / Path(__file__).name
if _file.is_file():
    exec(compile(_file.read_text(encoding="utf-8"), _file, "exec"))  # noqa: S102 - so that its DAGs are this module's
