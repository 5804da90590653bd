"""The bell and what it rings for: S3's messages in a queue, and the drop zone as it is looked through."""

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias

from include.landing import LandingStore
from include.pipeline import drop_queue
from include.pipeline.arrivals import ARRIVED, arrived, is_arrival
from include.pipeline.drop_queue import DropQueueTrigger, arrived_keys
from include.pipeline.drop_zone import explain, survey
from include.pipeline.model import Source, load_source
from include.pipeline.partition import RunPartition
from include.pipeline.steps import fetch_files, fetch_stand_ins
from tests import amazon
from tests.amazon import Bell
from tests.conftest import S3, Warehouse
from tests.waiting import wait_until

DAY = RunPartition("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC))


@pytest.fixture
def bell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bell]:
    """A bucket and a queue at moto, and the connection to them."""
    with amazon.endpoint() as url:
        monkeypatch.setenv("AIRFLOW_CONN_SLUICE_S3", amazon.connection(url))
        yield amazon.bell(url, "lake")


def drop(bell: Bell, key: str) -> None:
    bell.s3.put_object(Bucket=bell.bucket, Key=key, Body=b"x")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the trigger's module logs; Airflow's own logging switches off loggers that were there before it."""
    said: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler = Kept()
    monkeypatch.setattr(drop_queue.log, "disabled", False)
    drop_queue.log.addHandler(handler)
    yield said
    drop_queue.log.removeHandler(handler)


def ring(queue: str) -> dict[str, Any]:
    """The trigger's event, made as the triggerer makes the trigger: from what was kept of it."""
    _, kept = DropQueueTrigger(queue, "sluice_s3").serialize()
    trigger = DropQueueTrigger(**kept)

    async def first() -> dict[str, Any]:
        return dict((await asyncio.wait_for(anext(trigger.run()), 60)).payload)

    return asyncio.run(first())


def test_files_that_arrive_together_ring_once_by_the_names_they_have(bell: Bell) -> None:
    """S3's own test message and objects elsewhere ring for nothing; the queue is empty behind it."""
    queue = bell.make_queue("drop")  # which puts an s3:TestEvent first
    drop(bell, "landing/elsewhere.csv")
    for number in range(24):
        drop(bell, f"drop/driven/sessions/{number} of 24+é%.csv")
    drop(bell, "drop/driven/sessions/0 of 24+é%.csv")
    told = ring(queue)
    assert told["count"] == 24
    assert "drop/driven/sessions/0 of 24+é%.csv" in told["files"]
    assert bell.left(queue) == 0


def test_a_queue_that_does_not_answer_is_said_in_a_line_and_asked_again(
    bell: Bell, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    """The watcher lives on, and hears what comes once the queue is there."""
    monkeypatch.setattr(drop_queue, "_PAUSE_SECONDS", 0.05)
    queue = f"{bell.url}/123456789012/late"

    async def unreachable_then_there() -> list[str]:
        event = asyncio.ensure_future(anext(DropQueueTrigger(queue, "sluice_s3").run()))
        await asyncio.to_thread(wait_until, lambda: bool(lines), "the trigger has said that it reaches no queue")
        await asyncio.to_thread(bell.make_queue, "late")
        await asyncio.to_thread(drop, bell, "drop/driven/sessions/a.csv")
        return list((await asyncio.wait_for(event, 60)).payload["files"])

    assert asyncio.run(unreachable_then_there()) == ["drop/driven/sessions/a.csv"]
    line = lines[0]
    assert "does not answer" in line
    assert queue in line
    assert "SLUICE_DROP_QUEUE" in line
    assert "\n" not in line


ELSEWHERE = '{"Records": [{"s3": {"object": {"key": "landing/a.csv"}}}]}'


@pytest.mark.parametrize("body", ["no json", "[]", '{"Records": [{}]}', '"text"', '{"Records": 1}', ELSEWHERE])
def test_a_message_of_something_else_is_passed_over_and_said(body: str, lines: list[str]) -> None:
    """It stops none of the messages beside it."""
    good = {"Records": [{"s3": {"object": {"key": "drop/x/a%2Bb+c.csv"}}}]}
    messages = [{"MessageId": "one", "Body": body}, {"MessageId": "two", "Body": json.dumps(good)}]
    assert list(arrived_keys(messages)) == ["drop/x/a+b c.csv"]
    what = "key=landing/a.csv is not below drop/" if body is ELSEWHERE else "message=one is no event of S3's"
    assert lines == [f"drop_queue {what}, and is passed over"]


@pytest.mark.parametrize(
    ("run_type", "assets", "is_so"),
    [
        ("asset_triggered", [arrived("driven")], True),
        ("asset_triggered", [arrived("driven"), ARRIVED], True),
        ("asset_triggered", [], True),
        ("asset_triggered", [arrived("driven"), Asset("analytics_tlc")], False),
        ("scheduled", [], False),
        ("manual", [], False),
    ],
)
def test_a_run_is_for_arrivals_alone_where_nothing_else_started_it(
    run_type: str, assets: list[Asset | AssetAlias], is_so: bool
) -> None:
    """A source that other assets start too asks its API then."""
    assert is_arrival(SimpleNamespace(run_type=run_type, dag_id="driven"), assets) is is_so


@dataclass(frozen=True)
class Zone:
    """A drop zone, and the three sources that take files from it."""

    s3: S3
    dsn: str

    @property
    def store(self) -> LandingStore:
        return LandingStore(self.s3.client, self.s3.bucket)

    @property
    def sources(self) -> dict[str, Source]:
        return {name: load_source(name) for name in ("driven", "opensea", "tlc", "x")}

    def drop(self, key: str, content: bytes = b"x") -> None:
        self.s3.client.put_object(Bucket=self.s3.bucket, Key=f"drop/{key}", Body=content)

    def look(self, **unreadable: set[str]) -> tuple[dict[str, list[str]], list[str]]:
        found = survey(self.sources, self.store, self.dsn, **unreadable)
        root = f"s3://{self.s3.bucket}/drop/"
        return (
            {name: [file.uri.removeprefix(root) for file in files] for name, files in found.arrived.items()},
            [explain(stray, self.sources, self.s3.bucket).removeprefix(root) for stray in found.strays],
        )


@pytest.fixture
def zone(s3: S3, warehouse: Warehouse) -> Zone:
    return Zone(s3, warehouse.dsn("sluice_loader"))


def test_only_what_no_run_has_landed_is_news(zone: Zone) -> None:
    """Loaded or not: a run that came to grief has said so. Another content is another file."""
    assert zone.look() == ({}, [])
    zone.drop("driven/sessions/a.csv")
    zone.drop("driven/sessions/b.csv")
    zone.drop("tlc/green_tripdata_2024-01.parquet")
    assert zone.look()[0] == {
        "driven": ["driven/sessions/a.csv", "driven/sessions/b.csv"],
        "tlc": ["tlc/green_tripdata_2024-01.parquet"],
    }
    given: Any = {"store": zone.store, "dsn": zone.dsn, "run_id": "run 1"}
    fetch_files(zone.sources["driven"], "session_files", DAY, {}, **given)
    (landed,) = fetch_stand_ins(zone.sources["tlc"], "green_trips", None, **given)
    assert landed["partition"] == "2024-01"
    assert zone.look() == ({}, [])
    zone.drop("driven/sessions/b.csv", b"corrected")
    assert zone.look()[0] == {"driven": ["driven/sessions/b.csv"]}


def test_strays_are_told_with_where_they_would_be_taken(zone: Zone) -> None:
    """Of a source that cannot be read nothing can be said; folders are no files."""
    for key in ("nosuch/a.csv", "x/a.json", "tlc/green_tripdata_2024-13.parquet", "tlc/", "loose.csv", "driven/a.csv"):
        zone.drop(key)
    arrived_files, told = zone.look(unreadable={"driven"})
    assert arrived_files == {}
    assert told == [
        "loose.csv: 'loose.csv' is no source; those that take files are driven, opensea, tlc",
        "nosuch/a.csv: 'nosuch' is no source; those that take files are driven, opensea, tlc",
        "tlc/green_tripdata_2024-13.parquet: no entity of tlc takes it; they take drop/tlc/ and then "
        "yellow_tripdata_{partition:%Y-%m}.parquet, green_tripdata_{partition:%Y-%m}.parquet",
        "x/a.json: 'x' takes no files; those that take files are driven, opensea, tlc",
    ]
