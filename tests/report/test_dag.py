"""The DAG daily_report, run by Airflow with a real warehouse, bucket and mail server."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.pipeline import connections
from include.pipeline import report as tasks
from include.report import Expected, archive, collect, render
from local import ports
from local import s3 as seaweed
from local.stack import Store
from tests import airflow_home
from tests.frame.conftest import PROJECT, call
from tests.mailbox import mailbox, page, plain
from tests.report.conftest import DAY, NOW, PERSONAL, SOURCES, Filled

FILE = PROJECT / "dags" / "daily_report.py"
KEY = f"reports/dt={DAY}/report"


@dataclass(frozen=True)
class Ended:
    """What a run left behind."""

    log: str
    mails: list[EmailMessage]
    bucket: dict[str, str]
    site: Path
    xcoms: dict[str, str]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> airflow_home.AirflowHome:
    return airflow_home.make(tmp_path_factory.mktemp("airflow") / "home")


@pytest.fixture(scope="module")
def stack(filled: Filled, s3_server: Store) -> dict[str, str]:
    """The connections to the warehouse and to a bucket of its own."""
    client = seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    client.create_bucket(Bucket="report-lake")
    extra = f'{{"endpoint_url": "{s3_server.endpoint_url}", "region_name": "us-east-1"}}'
    return {
        "AIRFLOW_CONN_SLUICE_REPORTER": filled.dsn.replace("postgresql://", "postgres://"),
        "AIRFLOW_CONN_SLUICE_S3": (
            f'{{"conn_type": "aws", "login": "{s3_server.access_key}", "password": "{s3_server.secret_key}",'
            f' "extra": {extra}}}'
        ),
        "SLUICE_BUCKET": "report-lake",
        "SLUICE_REPORT_TO": "boss@example.com, team@example.com",
    }


def objects(store: Store) -> dict[str, str]:
    client = seaweed.client(store.endpoint_url, store.access_key, store.secret_key)
    listed = client.list_objects_v2(Bucket="report-lake", Prefix="reports/").get("Contents", [])
    return {
        one["Key"]: client.get_object(Bucket="report-lake", Key=one["Key"])["Body"].read().decode() for one in listed
    }


@pytest.fixture(scope="module")
def ended(
    airflow: airflow_home.AirflowHome,
    stack: dict[str, str],
    s3_server: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ended:
    site = tmp_path_factory.mktemp("site")
    with mailbox(tmp_path_factory.mktemp("mail") / "box") as box:
        env = {
            **stack,
            "AIRFLOW_CONN_SLUICE_SMTP": box.connection,
            "SLUICE_DOCS_URI": site.as_uri(),
            "SLUICE_DOCS_URL": "http://docs.example:8081/",
        }
        log = airflow.test_dags(FILE, ["daily_report"], env, conf=f'{{"date": "{DAY}"}}')
    assert "daily_report ended: success" in log, log
    with closing(sqlite3.connect(airflow.path / "airflow.db")) as database:
        xcoms = dict(database.execute("select key, value from xcom where task_id = 'archive_report'").fetchall())
    return Ended(log, box.mails(), objects(s3_server), site, xcoms)


def test_the_report_is_mailed_to_all_who_are_named(ended: Ended) -> None:
    (mail,) = ended.mails
    assert mail["X-Envelope-To"] == "boss@example.com, team@example.com"
    assert str(mail["Subject"]).startswith(f"[Sluice] Report of {DAY}: failed: driven")


def test_the_mail_holds_text_and_page_and_each_image_that_the_page_shows(ended: Ended) -> None:
    (mail,) = ended.mails
    assert mail.get_content_type() == "multipart/alternative"
    text, related = mail.iter_parts()
    assert (text.get_content_type(), related.get_content_type()) == ("text/plain", "multipart/related")
    images = {part["Content-ID"].strip("<>"): part.get_content() for part in related.iter_attachments()}
    assert len(images) == 9
    for name, png in images.items():
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        assert f'src="cid:{name}"' in page(mail)
    assert page(mail).count("<img ") == page(mail).count('src="cid:') == 9


def test_the_report_is_archived_as_one_file_that_needs_no_other(ended: Ended) -> None:
    assert sorted(ended.bucket) == ["reports/dt=2026-11-20/report" + end for end in (".html", ".json", ".txt")] + [
        "reports/index.html"
    ]
    archived = ended.bucket[f"{KEY}.html"]
    assert archived.count('src="data:image/png;base64,') == 9
    assert "cid:" not in archived
    assert plain(ended.mails[0]).split("This report")[0] == ended.bucket[f"{KEY}.txt"].split("The run in Airflow")[0]


def test_the_page_stands_on_the_documentation_site_and_airflow_links_to_it(ended: Ended) -> None:
    assert (ended.site / f"{KEY}.html").read_text() == ended.bucket[f"{KEY}.html"]
    assert f'href="dt={DAY}/report.html"' in (ended.site / "reports" / "index.html").read_text()
    url = f"http://docs.example:8081/{KEY}.html"
    assert ended.xcoms["report_url"] == f'"{url}"'
    assert f"This report: {url}" in plain(ended.mails[0])


def test_it_runs_when_every_daily_source_has_published_or_at_the_deadline_and_links_to_the_page(
    airflow: airflow_home.AirflowHome,
) -> None:
    """As the scheduler has it: tlc, which comes once a month, is not waited for."""
    script = (
        "from airflow.dag_processing.dagbag import DagBag\n"
        "from airflow.serialization.serialized_objects import DagSerialization\n"
        f"dag = DagBag({str(FILE)!r}).dags['daily_report']\n"
        "held = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))\n"
        "links = held.get_task('archive_report').operator_extra_links\n"
        "print('links:', [(one.name, one.xcom_key) for one in links])\n"
        "print('assets:', sorted(one.name for _, one in held.timetable.asset_condition.iter_assets()))\n"
        "print('kind:', type(held.timetable.asset_condition).__name__, held.timetable.timetable.summary)\n"
    )
    done = call(["python", "-c", script], cwd=airflow.path, env=airflow.env)
    assert "links: [('Open the report', 'report_url')]" in done.stdout, done.stdout
    folders = {path.parent.name for path in (PROJECT / "include" / "sources").glob("*/source.yml")}
    wanted = sorted(f"analytics_{name}" for name in folders - {"tlc"})
    assert f"assets: {wanted}" in done.stdout
    assert "kind: SerializedAssetAll 0 9 * * *" in done.stdout


def test_nothing_personal_is_in_mail_archive_or_xcom(ended: Ended) -> None:
    told = [plain(ended.mails[0]), page(ended.mails[0]), *ended.bucket.values(), *ended.xcoms.values(), ended.log]
    assert not [value for value in PERSONAL for text in told if value in text]


def test_with_the_mail_server_down_the_report_is_archived_and_the_task_fails_in_one_sentence_after_three_tries(
    airflow: airflow_home.AirflowHome, stack: dict[str, str], s3_server: Store
) -> None:
    port = ports.reserve_from(23025)  # nobody listens there
    extra = '{"disable_ssl": true, "disable_tls": true}'
    smtp = f'{{"conn_type": "smtp", "host": "127.0.0.1", "port": {port}, "extra": {extra}}}'
    log = airflow.test_dags(
        FILE, ["daily_report"], {**stack, "AIRFLOW_CONN_SLUICE_SMTP": smtp}, conf='{"date": "2026-11-19"}'
    )
    assert "daily_report ended: failed" in log, log
    assert "reports/dt=2026-11-19/report.html" in objects(s3_server)
    said = [line for line in log.splitlines() if line.startswith("include.notify.mail.MailError: ")]
    assert len([line for line in said if "The report itself" in line]) == 3
    assert f"the mail server 127.0.0.1:{port} did not take the mail: ConnectionRefusedError" in said[-1]
    assert "the connection 'sluice_smtp' are right, then clear the task" in said[-1]
    assert said[-1].endswith("The report itself is there: s3://report-lake/reports/dt=2026-11-19/report.html")


@pytest.mark.parametrize(("run_type", "goes_on"), [("scheduled", False), ("asset_triggered", False), ("manual", True)])
def test_a_day_whose_report_lacked_nothing_is_reported_again_only_by_hand(
    run_type: str, goes_on: bool, filled: Filled, stack: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stack.items():
        monkeypatch.setenv(name, value)
    day = DAY - timedelta(days=30)
    run = SimpleNamespace(run_type=run_type, run_after=datetime(day.year, day.month, day.day, 9, tzinfo=UTC))
    monkeypatch.setattr(tasks, "get_current_context", lambda: {"params": {"date": None}, "dag_run": run})
    nothing_due = [Expected("tlc", "trips", is_due=False)]
    whole = collect(filled.dsn, day=day, sources=nothing_due, now=NOW)
    lacking = collect(filled.dsn, day=day, sources=SOURCES, now=NOW)
    store = connections.s3_client()
    archive(lacking, render(lacking), "s3://report-lake", s3=store)
    assert tasks.collect_facts.function()["day"] == day.isoformat()
    archive(whole, render(whole), "s3://report-lake", s3=store)
    if goes_on:
        assert tasks.collect_facts.function()["day"] == day.isoformat()
    else:
        with pytest.raises(AirflowSkipException, match="is made already, and lacks nothing"):
            tasks.collect_facts.function()
