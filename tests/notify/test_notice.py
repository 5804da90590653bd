"""Notices that no task of a test can bring about: deadlines, ended runs, a mail server that does not answer."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.definitions.deadline import DeadlineAlert

from include.notify import MailError, callbacks, compose, send
from include.notify.notice import of_failure
from include.notify.notifier import MailNotifier, mail_deadline
from local import ports
from tests.mailbox import mailbox, page, plain

BEGUN = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
# as airflow.models.deadline.Deadline.handle_miss gives it to a deadline's callback
LATE: dict[str, Any] = {
    "dag_run": {
        "dag_id": "driven",
        "dag_run_id": "scheduled__2026-11-20T06:00:00+00:00",
        "run_type": "scheduled",
        "state": "running",
        "logical_date": "2026-11-20T06:00:00Z",
    },
    "deadline": {"id": "1", "deadline_time": BEGUN + timedelta(minutes=120)},
}


def test_a_missed_deadline_is_mailed_by_an_async_callback_as_the_triggerer_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = callbacks({"deadline": {"minutes": 120, "mail": ["early@example.com"]}}, source="driven")
    alert = found.of_dag["deadline"]
    assert isinstance(alert, DeadlineAlert)
    assert alert.interval == timedelta(minutes=120)
    assert alert.callback.path == "include.notify.notifier.mail_deadline"
    with mailbox(tmp_path) as box:
        monkeypatch.setenv("AIRFLOW_CONN_SLUICE_SMTP", box.connection)
        asyncio.run(mail_deadline(**alert.callback.kwargs, context=LATE))
        (mail,) = box.mails()
    assert (mail["Subject"], mail["X-Envelope-To"]) == ("[Sluice] driven: the run is late", "early@example.com")
    assert "Deadline:  2026-11-20 08:00:00 UTC, 120 minutes after" in plain(mail)
    assert "/dags/driven/runs/scheduled__2026-11-20T06%3A00%3A00%2B00%3A00" in page(mail)


def test_runs_of_a_backfill_are_late_by_nature_and_mailed_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = LATE | {"dag_run": LATE["dag_run"] | {"run_type": "backfill"}}
    with mailbox(tmp_path) as box:
        monkeypatch.setenv("AIRFLOW_CONN_SLUICE_SMTP", box.connection)
        asyncio.run(mail_deadline(source="driven", minutes=120, to=["early@example.com"], context=late))
        assert box.mails() == []


def test_a_run_that_has_ended_well_is_mailed_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = callbacks({"success": ["glad@example.com"]}, source="tlc").of_dag["on_success_callback"]
    run = SimpleNamespace(run_id="manual__1", start_date=BEGUN, end_date=BEGUN + timedelta(seconds=75))
    with mailbox(tmp_path) as box:
        monkeypatch.setenv("AIRFLOW_CONN_SLUICE_SMTP", box.connection)
        told({"dag": None, "run_id": "manual__1", "dag_run": run, "reason": "success"})
        (mail,) = box.mails()
    assert (mail["Subject"], mail["X-Envelope-To"]) == ("[Sluice] tlc: the run has ended well", "glad@example.com")
    assert "Took:      75 s" in plain(mail)


def test_without_a_wish_only_failures_are_told() -> None:
    found = callbacks({}, source="tlc")
    assert found.of_dag == {}
    assert [(name, one.kind) for name, one in found.of_tasks.items()] == [("on_failure_callback", "failure")]
    assert isinstance(found.of_tasks["on_failure_callback"], MailNotifier)


def test_a_task_whose_process_was_killed_is_told_too() -> None:
    """Airflow's DAG processor calls back without an exception then, and with less of a task instance."""
    ti = SimpleNamespace(
        dag_id="tlc",
        task_id="raw.load_trips",
        run_id="manual__1",
        try_number=3,
        map_index=2,
        log_url="http://airflow/log",
    )
    told = of_failure({"ti": ti}, "tlc")
    assert told.subject == "[Sluice] tlc: raw.load_trips[2] has failed"
    assert (told.facts["Layer"], told.facts["Try"]) == ("raw", "3")
    assert "its process was killed" in told.text()


def test_a_mail_server_that_is_down_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    port = ports.reserve_from(24025)  # nobody listens there
    extra = '{"disable_ssl": true, "disable_tls": true}'
    smtp = f'{{"conn_type": "smtp", "host": "127.0.0.1", "port": {port}, "extra": {extra}}}'
    monkeypatch.setenv("AIRFLOW_CONN_SLUICE_SMTP", smtp)
    message = compose(to=["a@example.com"], subject="one\nBcc: all@example.com", text="t", html="<p>t</p>")
    assert message["Subject"] == "one Bcc: all@example.com"
    with pytest.raises(
        MailError, match=rf"127\.0\.0\.1:{port} did not take the mail: ConnectionRefusedError.*sluice_smtp"
    ):
        send(message)
    with pytest.raises(MailError, match=rf"127\.0\.0\.1:{port} did not take the mail"):
        asyncio.run(mail_deadline(source="tlc", minutes=1, to=["a@example.com"], context=LATE))


def test_a_connection_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SLUICE_SMTP", raising=False)
    message = compose(to=["a@example.com"], subject="s", text="t", html="<p>t</p>")
    with pytest.raises(MailError, match=r"SMTP connection is not found.*'sluice_smtp'"):
        send(message)
