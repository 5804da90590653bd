"""The tasks of the daily report, with Airflow's connections: what is expected, where it is kept, who gets it.

What a report is, `include.report` knows; `dags/daily_report.py` puts the tasks in order.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, date, datetime, time
from typing import Any

from airflow.sdk import Variable, get_current_context, task
from airflow.sdk.bases.operatorlink import BaseOperatorLink
from airflow.sdk.exceptions import AirflowSkipException

from include.notify import MailError, compose, send
from include.pipeline import connections
from include.pipeline.model import Source, SourceError, load_source, source_names
from include.report import Expected, Facts, archive, archived, collect, expected, render
from include.report.collect import end_of
from include.report.expect import is_daily

log = logging.getLogger(__name__)

DEADLINE = os.environ.get("SLUICE_REPORT_DEADLINE", "0 9 * * *")
"""cron, UTC: when the report goes out whether or not all is there"""
"""connection of the role that reads `ops` and what analysts may see"""
TO = "sluice_report_to"
"""Airflow Variable: the addresses, commas between them; without it the environment's SLUICE_REPORT_TO"""
_TO_THE_SINK = "report@localhost"


def daily_sources() -> list[str]:
    """The sources whose schedule comes round every day: the report of a day waits for them."""
    today = datetime.combine(datetime.now(UTC).date(), time(tzinfo=UTC))
    return [source.name for source in _sources() if is_daily(_cron(source), today)]


def expected_sources(day: date, now: datetime) -> list[Expected]:
    """What the report of a day expects of each source."""
    until = end_of(day, now)
    found = []
    for source in _sources():
        limits = [entity.freshness for entity in source.entities.values() if entity.freshness]
        found.append(
            expected(
                source.name,
                source.description.split(". ")[0].rstrip("."),
                _cron(source),
                until,
                warn_after_hours=min((one.warn_after_hours for one in limits), default=None),
                error_after_hours=min((one.error_after_hours for one in limits), default=None),
            )
        )
    return found


@task
def collect_facts() -> dict[str, Any]:
    """Ask the warehouse; a run of the schedule leaves a day alone whose report is made and lacks nothing."""
    context, now = get_current_context(), datetime.now(UTC)
    asked, run = context["params"]["date"], context["dag_run"]
    day = date.fromisoformat(asked) if asked else run.run_after.date()
    if run.run_type != "manual":
        held = archived(day, _bucket(), s3=connections.s3_client())
        if held is not None and held.is_complete:
            raise AirflowSkipException(f"skipped: the report of {day} is made already, and lacks nothing")
    dsn = connections.warehouse_dsn(connections.REPORTER)
    return collect(dsn, day=day, sources=expected_sources(day, now), now=now).model_dump(mode="json")


@task
def archive_report(facts: dict[str, Any]) -> dict[str, str]:
    """Keep it in the bucket, and on the documentation site where `SLUICE_DOCS_URI` names one.

    Returns:
        `uri`, the page in the bucket, and `url`, where a browser finds it: on the site when `SLUICE_DOCS_URL` says at
        what address that is served, else the same.
    """
    report, s3 = Facts.model_validate(facts), connections.s3_client()
    rendered = render(report, {"The run in Airflow": _run_url()})
    uri = archive(report, rendered, _bucket(), s3=s3)
    if site := os.environ.get("SLUICE_DOCS_URI"):
        archive(report, rendered, site, s3=s3)
    served = os.environ.get("SLUICE_DOCS_URL") if site else None
    url = served.rstrip("/") + uri.removeprefix(_bucket()) if served else uri
    get_current_context()["ti"].xcom_push(ReportLink.xcom_key, url)
    log.info("archived report=%s day=%s state=%s", uri, report.day, report.state)
    return {"uri": uri, "url": url}


@task
def mail_report(facts: dict[str, Any], place: dict[str, str]) -> None:
    """Send it; when the mail server does not take it, the exception says where the report lies all the same."""
    page = {"This report": place["url"]} if place["url"].startswith("http") else {}
    rendered = render(Facts.model_validate(facts), page | {"The run in Airflow": _run_url()})
    message = compose(
        to=recipients(), subject=rendered.subject, text=rendered.text, html=rendered.html, images=rendered.images
    )
    try:
        send(message)
    except MailError as fault:
        raise MailError(f"{fault}. The report itself is there: {place['uri']}") from fault


class ReportLink(BaseOperatorLink):
    """The button on the task archive_report that opens the page."""

    name = "Open the report"
    xcom_key = "report_url"

    def get_link(self, operator: object, *, ti_key: Any) -> str:  # noqa: ANN401, ARG002 - Airflow gives the task instance
        """What the task has said of itself."""
        return str(ti_key.xcom_pull(task_ids=ti_key.task_id, key=self.xcom_key) or "")


def recipients() -> list[str]:
    """Who gets the report."""
    named = Variable.get(TO, default=None) or os.environ.get("SLUICE_REPORT_TO") or _TO_THE_SINK
    return [one.strip() for one in str(named).split(",") if one.strip()]


def _run_url() -> str:
    return str(get_current_context()["ti"].log_url).split("/tasks/")[0]


def _bucket() -> str:
    return f"s3://{os.environ.get('SLUICE_BUCKET', 'sluice-lake')}"


def _sources() -> list[Source]:
    """Those whose folder is right; source_faults.py tells of the others."""
    found = []
    for name in source_names():
        try:
            found.append(load_source(name))
        except SourceError as fault:
            log.warning("left out of the report: %s", fault)
    return found


def _cron(source: Source) -> str | None:
    return source.schedule if isinstance(source.schedule, str) else None
