"""A file is put into the drop zone: S3's event, the queue, Airflow's triggerer and scheduler, rows that readers see.

The tests share a stack, and go on from one another in the order they stand here.
"""

import csv
import io
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from local import airflow
from tests.arrivals.stack import PATIENCE, Dropping, dropping
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

SMALL = {"SANDBOX_NOW": "2026-11-20T12:00:00Z", "SANDBOX_GREEN_ROWS": "2000", "SANDBOX_YELLOW_ROWS": "2000"}
COLUMNS = (
    "person_name,user_name,email,personal_number,birth_date,address,phone,mac_address,ip_address,iban,accessed_at,"
    "session_duration,download_speed,upload_speed,consumed_traffic,unique_id"
)
SESSION = (
    "Ana Pop,anapop,ana@example.com,1234567890123,1990-01-02,Str. Lunga 1,0722 000 000,aa:bb:cc:dd:ee:ff,10.0.0.1,"
    "RO49AAAA1B31007593840000,2026-11-01 10:00:00,600,100,50,1000"
)
FILES = 30


@pytest.fixture(scope="module")
def stack() -> Iterator[Dropping]:
    with dropping(SMALL) as made:
        for source in ("driven", "tlc"):
            made.switch(source, on=True)
        yield made


def session(number: int) -> bytes:
    """A CSV file of one session."""
    return f"{COLUMNS}\r\n{SESSION},00000000-0000-4000-8000-{number:012}\r\n".encode()


def published(stack: Dropping) -> set[int]:
    """The numbers of the dropped sessions that readers see."""
    if stack.rows("select to_regclass('analytics.technical_data')") == [(None,)]:
        return set()
    found = stack.rows("select unique_id::text from analytics.technical_data where unique_id::text like '00000000-%'")
    return {int(unique_id[-12:]) for (unique_id,) in found}


def await_published(stack: Dropping, numbers: Sequence[int]) -> None:
    wait_until(
        lambda: published(stack).issuperset(numbers),
        lambda: f"sessions {sorted(set(numbers) - published(stack))} are published",
        PATIENCE,
        every_seconds=0.5,
    )


def strays_told(stack: Dropping) -> list[str]:
    """What the runs of `arrivals` have said of files that are nobody's, run by run."""
    return [
        stack.log("arrivals", run["dag_run_id"], "tell_strays")
        for run in stack.runs("arrivals")
        if run["state"] == "failed"
    ]


def test_a_month_of_trips_is_published_and_its_api_not_asked_for_trips(stack: Dropping) -> None:
    """The file stands in for the answer of the month that its name tells; the zones, of which there are none, come."""
    url = f"http://127.0.0.1:{stack.port('sandbox')}/trip-data/green_tripdata_2024-01.parquet"
    with urllib.request.urlopen(url, timeout=60) as answer:
        stack.drop("tlc/green_tripdata_2024-01.parquet", answer.read())
    facts = "from analytics.fact_taxi_trip where service = 'green' and source_month = date '2024-01-01'"
    wait_until(
        lambda: (
            stack.rows("select to_regclass('analytics.fact_taxi_trip')") != [(None,)]
            and stack.rows(f"select count(*) {facts}") == [(2000,)]
        ),
        lambda: f"2000 trips are published\n{stack.runs('arrivals')}\n{stack.runs('tlc')}",
        PATIENCE,
        every_seconds=0.5,
    )
    landed = stack.rows(
        "select entity, \"partition\", request ? 'files' from ops.landing where source = 'tlc' order by 1"
    )
    assert landed == [("green_trips", "2024-01", True), ("zones", "all", False)]
    (run,) = stack.runs("tlc")
    assert run["run_type"] == "asset_triggered"


def test_many_files_are_loaded_by_few_runs_and_those_of_nobody_are_told_of(stack: Dropping) -> None:
    """Whatever their names; an upload that is not completed is no file yet."""
    begun = stack.bell.s3.create_multipart_upload(Bucket=airflow.BUCKET, Key="drop/driven/sessions/half.csv")
    upload: dict[str, Any] = {"Bucket": begun["Bucket"], "Key": begun["Key"], "UploadId": begun["UploadId"]}
    part = stack.bell.s3.upload_part(**upload, PartNumber=1, Body=session(FILES))
    stack.drop("nosuch/a.csv", b"x")
    stack.drop("driven/b.txt", b"x")
    for number in range(FILES):
        stack.drop(f"driven/sessions/{number} of {FILES}+é%.csv", session(number))
    await_published(stack, range(FILES))
    stack.await_rest()
    assert published(stack) == set(range(FILES))
    assert len(stack.runs("driven")) <= 4
    (told,) = strays_told(stack)
    assert "drop/nosuch/a.csv: 'nosuch' is no source" in told
    assert "drop/driven/b.txt: no entity of driven takes it" in told

    stack.bell.s3.complete_multipart_upload(
        **upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    )
    await_published(stack, [FILES])


def test_an_event_twice_and_late_runs_no_source_and_tells_of_nobody_again(stack: Dropping) -> None:
    """The bell rings, and there is nothing new."""
    stack.await_rest()
    before = {dag_id: len(stack.runs(dag_id)) for dag_id in ("arrivals", "driven")}
    stack.drop(f"driven/sessions/1 of {FILES}+é%.csv", session(1))  # with the same ETag
    stack.drop(f"driven/sessions/0 of {FILES}+é%.csv", session(0))
    wait_until(
        lambda: len(stack.runs("arrivals")) > before["arrivals"], "the bell has rung", PATIENCE, every_seconds=0.5
    )
    stack.await_rest()
    assert len(stack.runs("driven")) == before["driven"]
    assert len(strays_told(stack)) == 1
    rows = stack.rows("select count(*), count(distinct unique_id) from raw.driven__session_files")
    assert rows == [(FILES + 1, FILES + 1)]


def test_files_of_a_paused_source_wait_and_are_found_by_a_look(stack: Dropping) -> None:
    """Which is made every hour; here by hand."""
    stack.switch("driven", on=False)
    looked = len(stack.runs("arrivals"))
    content = io.StringIO()
    csv.writer(content).writerows([COLUMNS.split(","), [*SESSION.split(","), "00000000-0000-4000-8000-000000000099"]])
    stack.drop("driven/sessions/waits.csv", content.getvalue().encode())
    wait_until(lambda: len(stack.runs("arrivals")) > looked, "the bell has rung", PATIENCE, every_seconds=0.5)
    stack.await_rest()
    assert "source=driven is paused" in stack.log("arrivals", stack.runs("arrivals")[-1]["dag_run_id"], "look")
    assert 99 not in published(stack)
    stack.switch("driven", on=True)
    stack.api.post("dags/arrivals/dagRuns", {"logical_date": None})
    await_published(stack, [99])
    stack.await_rest()
    by_hand = stack.runs("arrivals")[-1]
    assert by_hand["state"] == "success"
    assert "waiting=0" in stack.log("arrivals", by_hand["dag_run_id"], "check_queue")
