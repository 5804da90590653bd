"""Data Docs are made of ops.gate_result, open without a network, and stay whole whoever writes them."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from include.gates import OnFailure, Result, Verdict, record, write_data_docs
from include.gates.rules import LAYERS, LayerName
from tests.conftest import S3, Warehouse

VOID = {"meta", "link", "br", "wbr"}


class Page(HTMLParser):
    """A page's text, links and references, and whether each element is closed where it should be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        values = dict(attrs)
        if tag == "a":
            self.links.append(values["href"] or "")
        self.references += [values[name] or "" for name in ("src", "href", "srcset", "action") if name in values]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def result(table: str, *, success: bool = True, on_failure: OnFailure = OnFailure.FAIL) -> Result:
    return Result(
        table=table,
        expectation="expect_column_values_to_not_be_null",
        column="key",
        arguments={"column": "key"},
        on_failure=on_failure,
        success=success,
        rows_checked=56_551,
        rows_unexpected=0 if success else 3,
        observed=None,
        message=f"{table}.key: {'none' if success else '3'} of 56,551 rows are null <&>",
    )


def book(connection: Connection, source: str, layer: LayerName, run: str, *results: Result) -> None:
    record(connection, Verdict(results), source=source, layer=layer, dag_run_id=run, landing_ids=[1700000000000001])


def pages_of(index: str) -> dict[str, Page]:
    root = Path(index.removeprefix("file://")).parent
    return {str(p.relative_to(root)): Page(p.read_text(encoding="utf-8")) for p in sorted(root.rglob("*.html"))}


def test_rows_in_quarantine_are_counted_and_the_gate_has_passed(gate_connection: Connection, tmp_path: Path) -> None:
    book(
        gate_connection, "tlc", "staging", "manual__1",
        result("stg", success=False, on_failure=OnFailure.QUARANTINE), result("other"),
    )  # fmt: skip
    pages = pages_of(write_data_docs(gate_connection, tmp_path.as_uri()))
    assert "passed, with warnings 1 of 2 met, 3 rows in quarantine" in pages["index.html"].text
    text = pages["tlc/manual__1/staging.html"].text
    assert "1 of 2 expectations met, 1 with rows in quarantine" in text
    assert "▲ quarantined stg.key: 3 of 56,551 rows" in text
    assert "failed" not in text


def test_the_index_shows_each_gate_and_leads_to_its_page(gate_connection: Connection, tmp_path: Path) -> None:
    book(gate_connection, "tlc", "raw", "scheduled__2024-01-29T09:00:00+00:00", result("tlc__zones"))
    book(gate_connection, "tlc", "marts", "scheduled__2024-01-29T09:00:00+00:00", result("fact", success=False))
    book(
        gate_connection, "openweather", "raw", "manual__1", result("obs", success=False, on_failure=OnFailure.WARN)
    )  # fmt: skip
    index = write_data_docs(gate_connection, tmp_path.as_uri())
    assert index == (tmp_path / "data_docs" / "index.html").as_uri()
    pages = pages_of(index)
    assert set(pages) == {
        "index.html",
        "tlc/scheduled__2024-01-29T09-00-00-00-00/raw.html",
        "tlc/scheduled__2024-01-29T09-00-00-00-00/marts.html",
        "openweather/manual__1/raw.html",
    }
    home = pages["index.html"]
    assert set(pages) - {"index.html"} <= set(home.links)
    for words in ("tlc", "openweather", "✔ passed", "✖ failed", "▲ passed, with warnings", "1 of 1 met", "not judged"):
        assert words in home.text
    failed = pages["tlc/scheduled__2024-01-29T09-00-00-00-00/marts.html"]
    for words in (
        "fact.key: 3 of 56,551 rows are null <&>",
        "✖ failed",
        "docs/runbooks/failed-gate.md",
        "1700000000000001",
    ):
        assert words in failed.text
    assert "raw.html" in failed.links


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(
    gate_connection: Connection, tmp_path: Path
) -> None:
    for layer in LAYERS:
        book(
            gate_connection, "tlc", layer, "manual__2024-01-01T00:00:00+00:00", result("a"), result("b", success=False)
        )
    index = write_data_docs(gate_connection, str(tmp_path))
    root = tmp_path / "data_docs"
    pages = pages_of(index)
    assert len(pages) == 1 + len(LAYERS)
    for name, page in pages.items():
        for reference in page.references:
            target, _, anchor = reference.partition("#")
            assert ":" not in target or reference == "data:,"
            if target and target != "data:,":
                assert (root / name).parent.joinpath(target).resolve().is_file(), f"{name} -> {reference}"
            if anchor:
                assert f'id="{anchor}"' in (root / "index.html").read_text(encoding="utf-8")
        html = (root / name).read_text(encoding="utf-8")
        assert not re.search(r"https?://|@import|url\(|<script", html)


def test_of_a_gate_that_ran_again_the_newest_results_are_shown(gate_connection: Connection, tmp_path: Path) -> None:
    # the landing is judged entity by entity: what was not judged again stays
    book(gate_connection, "tlc", "landing", "manual__1", result("yellow", success=False))
    book(gate_connection, "tlc", "landing", "manual__1", result("zones"))
    before = pages_of(write_data_docs(gate_connection, str(tmp_path)))
    book(gate_connection, "tlc", "landing", "manual__1", result("yellow"))
    after = pages_of(write_data_docs(gate_connection, str(tmp_path)))
    assert "✖ failed" in before["tlc/manual__1/landing.html"].text
    assert "✖ failed" not in after["tlc/manual__1/landing.html"].text
    assert "2 of 2 expectations met" in after["tlc/manual__1/landing.html"].text
    assert "2 of 2 met" in after["index.html"].text


def test_only_the_last_runs_of_each_source_are_kept(gate_connection: Connection, tmp_path: Path) -> None:
    book(gate_connection, "tlc", "raw", "month", result("zones"))
    for hour in range(4):
        book(gate_connection, "openweather", "raw", f"hour_{hour}", result("obs"))
        index = write_data_docs(gate_connection, str(tmp_path), runs=2)
    assert set(pages_of(index)) == {
        "index.html",
        "tlc/month/raw.html",
        "openweather/hour_2/raw.html",
        "openweather/hour_3/raw.html",
    }
    assert not (tmp_path / "data_docs" / "openweather" / "hour_1").exists()


def test_a_page_that_has_not_changed_is_not_written_again(gate_connection: Connection, tmp_path: Path) -> None:
    book(gate_connection, "tlc", "raw", "one", result("zones"))
    write_data_docs(gate_connection, str(tmp_path))
    page = tmp_path / "data_docs" / "tlc" / "one" / "raw.html"
    page.write_text("as it was", encoding="utf-8")
    book(gate_connection, "tlc", "raw", "two", result("zones"))
    write_data_docs(gate_connection, str(tmp_path))
    assert page.read_text(encoding="utf-8") == "as it was"


def test_gates_that_end_at_once_leave_a_whole_and_complete_index(
    warehouse: Warehouse, gate_connection: Connection, tmp_path: Path
) -> None:
    def gate(number: int) -> None:
        with closing(psycopg2.connect(warehouse.dsn("sluice_gate"))) as connection:
            book(connection, f"source_{number % 3}", "raw", f"run_{number}", result("rides"))
            write_data_docs(connection, str(tmp_path))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(gate, range(18)))
    root = tmp_path / "data_docs"
    home = Page((root / "index.html").read_text(encoding="utf-8"))
    expected = {f"source_{number % 3}/run_{number}/raw.html" for number in range(18)}
    assert expected <= set(home.links)
    assert {str(path.relative_to(root)) for path in root.rglob("*.html")} == expected | {"index.html"}
    assert not list(root.rglob("tmp*"))


def test_a_gate_waits_for_the_pages_of_another_and_then_writes_what_is_newest(
    warehouse: Warehouse, gate_connection: Connection, tmp_path: Path
) -> None:
    book(gate_connection, "tlc", "raw", "first", result("zones"))
    dsn = warehouse.dsn("sluice_gate")
    with (
        closing(psycopg2.connect(dsn)) as other,
        closing(psycopg2.connect(dsn)) as writer,
        ThreadPoolExecutor(1) as pool,
    ):
        with other, other.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(hashtext('sluice data docs'))")
            written = pool.submit(write_data_docs, writer, str(tmp_path))
            waiting = 0
            while not waiting and not written.done():
                cursor.execute("select count(*) from pg_locks where locktype = 'advisory' and not granted")
                (waiting,) = cursor.fetchone() or (0,)
            book(gate_connection, "tlc", "raw", "second", result("zones"))
            assert not written.done()
        assert "tlc/second/raw.html" in pages_of(written.result())["index.html"].links


def test_without_any_result_the_index_says_so(gate_connection: Connection, tmp_path: Path) -> None:
    assert (
        "No gate has judged anything yet"
        in pages_of(write_data_docs(gate_connection, str(tmp_path)))["index.html"].text
    )


def test_pages_go_to_s3_too(gate_connection: Connection, s3: S3) -> None:
    for run in ("one", "two", "three"):
        book(gate_connection, "tlc", "raw", run, result("zones"))
        index = write_data_docs(gate_connection, f"s3://{s3.bucket}/docs", s3=s3.client, runs=2)
    assert index == f"s3://{s3.bucket}/docs/data_docs/index.html"
    keys = {item["Key"] for item in s3.client.list_objects_v2(Bucket=s3.bucket)["Contents"]}
    assert {key for key in keys if key.endswith(".html")} == {
        "docs/data_docs/index.html",
        "docs/data_docs/tlc/two/raw.html",
        "docs/data_docs/tlc/three/raw.html",
    }
    answer = s3.client.get_object(Bucket=s3.bucket, Key="docs/data_docs/index.html")
    assert answer["ContentType"] == "text/html; charset=utf-8"
    assert "tlc/three/raw.html" in Page(answer["Body"].read().decode()).links


@pytest.mark.parametrize(
    ("uri", "message"), [("s3://bucket/docs", "needs a client"), ("https://host/docs", "Data Docs go to a folder")]
)
def test_a_place_that_pages_cannot_go_to_is_refused(gate_connection: Connection, uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_data_docs(gate_connection, uri)


def test_writing_stays_cheap_with_a_long_history(
    warehouse: Warehouse, gate_connection: Connection, tmp_path: Path
) -> None:
    with closing(psycopg2.connect(warehouse.dsn(warehouse.server.superuser))) as owner, owner, owner.cursor() as cursor:
        # 100,000 results: 1,000 hourly runs of two sources, one of them seldom
        cursor.execute(
            "insert into ops.gate_result (source, layer, dag_run_id, landing_ids, table_name, expectation, arguments,"
            " on_failure, success, message, checked_at) "
            "select case when run % 100 = 0 then 'tlc' else 'openweather' end, (array['landing', 'raw', 'staging',"
            " 'marts'])[1 + n % 4], 'run_' || run, array[run], 'rides', 'expect_' || n, '{}', 'fail', true, 'm',"
            " now() - run * interval '1 hour' from generate_series(1, 1000) as run, generate_series(1, 100) as n"
        )
    write_data_docs(gate_connection, str(tmp_path))
    book(gate_connection, "tlc", "raw", "newest", result("zones"))
    start = time.process_time()
    write_data_docs(gate_connection, str(tmp_path))
    # of this process's own time, so that a busy machine does not fail it; the database's share is bounded by its limit
    assert time.process_time() - start < 0.2
