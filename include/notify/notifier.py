"""`notify:` of a source.yml -> callbacks of an Airflow DAG.

Where Airflow runs them (3.3), each with the connections of its own process:

- a task's, in the process of the task itself (of one that was killed: in the DAG processor)
- a DAG's, in the DAG processor
- a deadline's, in the triggerer; it is an async function for that
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk import BaseNotifier
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from include.notify import mail, notice

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

log = logging.getLogger(__name__)

DEFAULT_TO = "SLUICE_ALERT_TO"
"""environment variable: who hears of failures and deadlines where source.yml names nobody; commas between them"""


class Callbacks(NamedTuple):
    """Keyword arguments: `DAG(**found.of_dag, default_args={**found.of_tasks})`."""

    of_dag: dict[str, Any]
    of_tasks: dict[str, Any]


def callbacks(notify: Mapping[str, Any], *, source: str) -> Callbacks:
    """What Airflow is to call when something happens to a source's run.

    Args:
        notify: `{failure: [mail], retry: [mail], success: [mail], deadline: {minutes: 120, mail: [mail]}}`; each may be
            missing, empty or None. Failures and deadlines that name nobody go to `SLUICE_ALERT_TO`.
        source: the source's name, which is its DAG's.

    Returns:
        A mail for each task that fails for good; for retries, ended runs and missed deadlines only where asked for.
        Tasks that never ran because one before them failed have no callback.
    """
    of_dag: dict[str, Any] = {}
    of_tasks: dict[str, Any] = {"on_failure_callback": MailNotifier("failure", source, notify.get("failure") or ())}
    if retry := notify.get("retry"):
        of_tasks["on_retry_callback"] = MailNotifier("retry", source, retry)
    if success := notify.get("success"):
        of_dag["on_success_callback"] = MailNotifier("success", source, success)
    if deadline := notify.get("deadline"):
        minutes = int(deadline["minutes"])
        of_dag["deadline"] = DeadlineAlert(
            # not when it was queued: Airflow 3.3 then cannot clear a task (https://github.com/apache/airflow/issues/70368)
            reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
            interval=timedelta(minutes=minutes),
            callback=AsyncCallback(
                mail_deadline,
                kwargs={"source": source, "minutes": minutes, "to": list(deadline.get("mail") or ())},
            ),
        )
    return Callbacks(of_dag, of_tasks)


class MailNotifier(BaseNotifier):
    """Mails one kind of notice.

    Args:
        kind: `failure`, `retry` or `success`.
        source: the source's name.
        to: the addresses; empty for those in `SLUICE_ALERT_TO` (read when it is called, not when the DAG is parsed).
    """

    template_fields = ()

    def __init__(self, kind: str, source: str, to: Sequence[str] = ()) -> None:
        super().__init__()
        self.kind, self.source, self.to = kind, source, tuple(to)

    def notify(self, context: Context) -> None:
        """Send it; with nobody to send it to, say so in the log."""
        if to := _addresses(self.to):
            _send(_NOTICES[self.kind](context, self.source), to)


async def mail_deadline(
    *, source: str, minutes: int, to: Sequence[str], context: Mapping[str, Any] | None = None
) -> None:
    """Mail that a run is late. Called by Airflow's triggerer. A backfill's runs are all late and no news."""
    if context and context["dag_run"].get("run_type") == "backfill":
        return
    if (addresses := _addresses(to)) and context:
        told = notice.of_deadline(context, source, minutes)
        await mail.send_async(mail.compose(to=addresses, subject=told.subject, text=told.text(), html=told.html()))


_NOTICES: dict[str, Callable[[Mapping[str, Any], str], notice.Notice]] = {
    "failure": notice.of_failure,
    "retry": notice.of_retry,
    "success": notice.of_success,
}


def _send(told: notice.Notice, to: Sequence[str]) -> None:
    mail.send(mail.compose(to=to, subject=told.subject, text=told.text(), html=told.html()))


def _addresses(named: Sequence[str]) -> list[str]:
    found = list(named) or [one.strip() for one in os.environ.get(DEFAULT_TO, "").split(",") if one.strip()]
    if not found:
        log.warning("nobody is told: source.yml names nobody in notify:, and %s is not set", DEFAULT_TO)
    return found
