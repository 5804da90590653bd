"""Who is mailed what, seen at a DAG that Airflow runs and a mail server that keeps what it is sent."""

from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from include.notify.notifier import MailNotifier
from tests import airflow_home
from tests.mailbox import mailbox, page, plain

DAGS = Path(__file__).with_name("dag_that_fails.py")


@dataclass(frozen=True)
class Ended:
    """A run that has ended: what Airflow logged, and the mails it sent."""

    log: str
    mails: list[EmailMessage]

    def mail(self, subject: str) -> EmailMessage:
        """The one with that subject."""
        (found,) = [one for one in self.mails if one["Subject"] == subject]
        return found


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    airflow = airflow_home.make(tmp_path_factory.mktemp("airflow") / "home")
    with mailbox(tmp_path_factory.mktemp("mail") / "box") as box:
        log = airflow.test_dags(
            DAGS,
            ("rides", "rides_retries_told", "rides_nobody_named"),
            {"AIRFLOW_CONN_SLUICE_SMTP": box.connection, "SLUICE_ALERT_TO": "ops@example.com, lead@example.com"},
        )
    assert log.count(" ended: failed") == 3, log
    return Ended(log, box.mails())


def test_each_task_that_fails_for_good_is_one_mail_to_all_who_are_named(ended: Ended) -> None:
    """None for the try that was repeated, none for the task that never ran."""
    mails = [one for one in ended.mails if "] rides:" in one["Subject"]]
    assert sorted(str(one["Subject"]) for one in mails) == [
        "[Sluice] rides: count_riders has failed",
        "[Sluice] rides: the gate of staging has failed",
    ], ended.log
    assert {one["X-Envelope-To"] for one in mails} == {"night@example.com, day@example.com"}
    assert {one["From"] for one in mails} == {"sluice@localhost"}


def test_a_failed_gates_mail_names_source_task_layer_run_try_and_each_expectation(ended: Ended) -> None:
    text = plain(ended.mail("[Sluice] rides: the gate of staging has failed"))
    facts = dict(line.split(":", 1) for line in text.splitlines()[2:10] if ":" in line)
    assert facts["Source"].strip() == "rides"
    assert facts["Task"].strip() == "gate_staging"
    assert facts["Layer"].strip() == "staging"
    assert facts["Run"].strip().startswith("manual__")
    assert facts["Try"].strip() == "1 of at most 2"
    assert "  - stg_rides.fare_usd: 7 of 40 rows are below <0>\n  - stg_rides: 3 rows, expected at least 10\n" in text
    assert "What to do: Read docs/runbooks/failed-gate.md." in text


def test_the_mail_links_to_the_log_of_the_very_try(ended: Ended) -> None:
    text = plain(ended.mail("[Sluice] rides: count_riders has failed"))
    (link,) = [line.split(": ")[1] for line in text.splitlines() if line.startswith("The log: ")]
    assert link.startswith("http://airflow.example:8080/dags/rides/runs/manual__")
    assert link.endswith("/tasks/count_riders?try_number=2")
    assert link.replace("&", "&amp;") in page(ended.mail("[Sluice] rides: count_riders has failed"))


def test_the_page_says_what_the_text_says_and_shows_messages_as_text(ended: Ended) -> None:
    html = page(ended.mail("[Sluice] rides: the gate of staging has failed"))
    for fact in ("gate_staging", "1 of at most 2", "7 of 40 rows are below &lt;0&gt;", "3 rows, expected at least 10"):
        assert fact in html
    assert "<0>" not in html


def test_no_secret_and_no_value_of_a_row_is_in_any_part_of_a_mail(ended: Ended) -> None:
    mail = ended.mail("[Sluice] rides: count_riders has failed")
    for part in (plain(mail), page(mail)):
        assert "UniqueViolation: duplicate key value violates unique constraint" in part
        for value in ("hunter2", "RO49", "ada@", "lovelace"):
            assert value not in part


def test_a_retry_is_told_to_those_who_asked(ended: Ended) -> None:
    retries = [one for one in ended.mails if one["X-Envelope-To"] == "curious@example.com"]
    assert sorted(str(one["Subject"]) for one in retries) == [
        "[Sluice] rides_retries_told: count_riders is tried again",
        "[Sluice] rides_retries_told: load_rides is tried again",
    ]
    assert "ConnectionError: the line was cut" in plain(retries[0]) + plain(retries[1])


def test_where_the_source_names_nobody_the_addresses_of_the_environment_are_told(ended: Ended) -> None:
    mails = [one for one in ended.mails if "] rides_nobody_named:" in one["Subject"]]
    assert len(mails) == 2
    assert {one["X-Envelope-To"] for one in mails} == {"ops@example.com, lead@example.com"}


def test_where_nobody_is_named_at_all_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SLUICE_ALERT_TO", raising=False)
    MailNotifier("failure", "rides")({})
    assert "nobody is told: source.yml names nobody in notify:, and SLUICE_ALERT_TO is not set" in caplog.text
