"""The daily report by mail: when all of the day's sources have published, or at the deadline with what is missing."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetAll, AssetOrTimeSchedule, CronTriggerTimetable, Param

from include.notify import callbacks
from include.pipeline.report import DEADLINE, ReportLink, archive_report, collect_facts, daily_sources, mail_report

DOC = """
Per source what was landed, loaded, quarantined and published in the last 24 hours, what the gates said, how old the
newest data is and what the runs cost; per subject key figures and charts. `docs/daily-report.md` explains the numbers.

It runs when the assets `analytics_<source>` of all sources with a daily schedule have been updated, or at the deadline
(09:00 UTC), and then says what is missing. A day whose report lacked nothing is not reported a second time by itself.

**When it fails**

- `collect_facts`: the warehouse does not answer, or the connection `sluice_reporter` is wrong. Mend it, clear the task.
- `archive_report`: S3 (connection `sluice_s3`, bucket `SLUICE_BUCKET`) or the site `SLUICE_DOCS_URI` cannot be written.
- `mail_report`: the mail server of the connection `sluice_smtp` took nothing in three tries. The report is archived all
  the same (`archive_report` has the link to it); clear `mail_report` when the server is back.

The report of an earlier day: trigger the DAG with `date`.
"""

told = callbacks({}, source="daily_report")
with DAG(
    "daily_report",
    description="What the sources did in 24 hours and what the subjects say, by mail and archived on S3.",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(DEADLINE, timezone="UTC", run_immediately=timedelta(0)),
        assets=AssetAll(*(Asset(name=f"analytics_{one}", uri=f"sluice://analytics/{one}") for one in daily_sources())),
    ),
    catchup=False,
    max_active_runs=1,
    tags=["report"],
    params={"date": Param(None, type=["null", "string"], format="date", description="The day; empty: today (UTC).")},
    default_args={"owner": "data-platform", "retries": 2, "retry_delay": timedelta(minutes=2), **told.of_tasks},
    **told.of_dag,
):
    facts: Any = collect_facts()
    place: Any = archive_report(facts)
    place.operator.operator_extra_links = (ReportLink(),)
    mail_report(facts, place)
