"""Random histories: whatever befalls a source in whatever order, the rules of the design hold after every step.

The source is `x` with its own source.yml, gates and models, on a real PostgreSQL, S3 and dbt, and before an API whose
timeline the test keeps. What a run should have published is said by the timeline alone, not by the product.
"""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from include.extract import Api, ApiClient
from include.gates import Gates
from include.gates.rules import LayerName
from include.landing import LandingStore
from include.pipeline import steps
from include.pipeline.held import judge, to_redrive
from include.pipeline.model import SOURCES, load_source
from include.pipeline.partition import PartitionRange, RunPartition
from include.warehouse.publish import marts, publish
from tests.conftest import S3, Warehouse
from tests.dbt.project import Project
from tests.dbt.test_x import account, post
from tests.extract.conftest import Answer, Request, Server

SOURCE = "x"
LOOK_BACK = 3
TOO_STRICT = {
    "unexpected_rows_expectation": {
        "unexpected_rows_query": "select _landing_id, _row from {batch} where payload ->> 'lang' = 'zz'"
    },
    "on_failure": "quarantine",
    "at_most": 1.0,
    "why": "a rule that will turn out to be wrong",
}
STAGES = ("land", "gate landing", "load", "gate raw", "staging", "gate staging", "marts", "gate marts", "publish")
EXAMPLES = int(os.environ.get("SLUICE_HISTORIES", "4"))
"""how many histories are tried"""


class Died(Exception):  # noqa: N818 - what happened
    """The run is gone after one of its stages, as when its worker is."""


@dataclass
class Timeline:
    """One account's posts as the API tells them, with the moments and counts that the test gives them.

    Attributes:
        day: Today.
        posts: Post id -> the post as it is now.
        spoilt: Posts in a language that a rule of the gates takes for a fault, until it is mended.
    """

    day: date = date(2026, 11, 1)
    posts: dict[int, dict[str, Any]] = field(default_factory=dict)
    spoilt: set[int] = field(default_factory=set)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def write(self, *, days_ago: int = 0, is_spoilt: bool = False) -> None:
        """A post of today, or one of an earlier day that only now comes out; ids grow with the time of writing."""
        written = self.day - timedelta(days=days_ago)
        number = written.toordinal() * 10_000 + next(self._numbers)
        language = "zz" if is_spoilt else "en"
        self.posts[number] = post(number, created_at=f"{written}T{days_ago:02d}:00:00.000Z", lang=language)
        if is_spoilt:
            self.spoilt.add(number)

    def recent(self) -> list[int]:
        """Posts within the look-back, which a run asks for again."""
        first = (self.day - timedelta(days=LOOK_BACK - 1)).isoformat()
        return sorted(number for number, one in self.posts.items() if one["created_at"] >= first)

    def like(self, number: int) -> None:
        """One more like."""
        counts = self.posts[number]["public_metrics"]
        self.posts[number] = self.posts[number] | {"public_metrics": counts | {"like_count": counts["like_count"] + 1}}

    def answer(self, request: Request) -> Answer:
        """As X answers: an account by name, a timeline newest first in pages of two."""
        if "/by/username/" in request.path:
            return Answer(body=json.dumps({"data": account()}).encode())
        asked = {name: values[0] for name, values in request.query.items()}
        since = int(asked.get("since_id", 0))
        found = [self.posts[number] for number in sorted(self.posts, reverse=True) if number > since]
        first = int(asked.get("pagination_token", 0))
        page: dict[str, Any] = {
            "data": found[first : first + 2],
            "meta": {"result_count": len(found[first : first + 2])},
        }
        if first + 2 < len(found):
            page["meta"]["next_token"] = str(first + 2)
        return Answer(body=json.dumps(page).encode())

    def told(self) -> dict[int, tuple[str, int]]:
        """Post -> its text and likes now."""
        return {number: (one["text"], one["public_metrics"]["like_count"]) for number, one in self.posts.items()}


@dataclass(frozen=True)
class Place:
    """What the histories take place in.

    Attributes:
        server: The API.
        s3: The bucket.
        project: dbt on the warehouse.
    """

    server: Server
    s3: S3
    project: Project

    @property
    def store(self) -> LandingStore:
        return LandingStore(self.s3.client, self.s3.bucket)

    def dsn(self, role: str) -> str:
        return self.project.warehouse.dsn(role)

    def forget_all(self, *, landings_too: bool) -> None:
        """The warehouse as it was when it was new, and the bucket too if asked for."""
        with (
            closing(psycopg2.connect(self.project.warehouse.server.dsn(self.project.warehouse.dbname))) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "select format('drop %s if exists %I.%I cascade', "
                "case relkind when 'v' then 'view' else 'table' end, nspname, relname) "
                "from pg_class join pg_namespace as n on n.oid = relnamespace "
                "where relkind in ('r', 'p', 'v') and not relispartition "
                "and nspname !~ '^(pg_|information_schema|ops)'"
            )
            drops = [statement for (statement,) in cursor.fetchall()]
            cursor.execute(
                "select format('truncate ops.%I cascade', tablename) from pg_tables where schemaname = 'ops'"
            )
            for statement in (*drops, *(one for (one,) in cursor.fetchall())):
                cursor.execute(statement)
        self.project.create_raw()
        if landings_too:
            for page in self.s3.client.get_paginator("list_objects_v2").paginate(Bucket=self.s3.bucket):
                for entry in page.get("Contents", []):
                    self.s3.client.delete_object(Bucket=self.s3.bucket, Key=entry["Key"])

    def published(self) -> dict[int, tuple[str, int]]:
        """What readers see: post -> text and likes."""
        if not self.project.rows("select to_regclass('analytics.fact_post')")[0][0]:
            return {}
        rows = self.project.rows("select post_id, post_text, likes from analytics.fact_post")
        assert len({number for number, *_ in rows}) == len(rows)
        return {int(number): (text, likes) for number, text, likes in rows}

    def hashes(self) -> dict[str, list[str]]:
        """Table of readers -> its rows as text, but for when they were loaded."""
        tables = self.project.rows("select table_name from information_schema.tables where table_schema = 'analytics'")
        return {
            table: [
                row
                for (row,) in self.project.rows(
                    f"select (to_jsonb(t) - '_loaded_at')::text from analytics.\"{table}\" as t order by 1"
                )
            ]
            for (table,) in tables
        }


class Run:
    """A run of the source, stage by stage as its DAG does it."""

    def __init__(self, place: Place, gates: Gates, day: date) -> None:
        self.place = place
        self.gates = gates
        self.source = load_source(SOURCE)
        self.partition = RunPartition(day.isoformat(), datetime(day.year, day.month, day.day, tzinfo=UTC))
        self.landed: list[steps.Landing] = []
        self.ids: list[int] = []

    def go(self, how: str, *, last: str = STAGES[-1]) -> bool:
        """Do the stages up to one; `how` is fetch, redrive, or the day to replay, or `all`.

        Returns:
            Whether there was something to do.
        """
        for stage in STAGES:
            try:
                self.do(stage, how)
            except steps.NothingToDo:
                return False
            if stage == last != STAGES[-1]:
                raise Died(stage)
        return True

    def do(self, stage: str, how: str) -> None:
        layer = stage.removeprefix("gate ")
        match stage:
            case "land":
                self.landed = [one for entity in self.source.entities for one in self.land(entity, how)]
                self.landed = steps.with_pending(
                    self.source, self.landed, store=self.place.store, dsn=self.place.dsn("sluice_loader")
                )
                if steps.only_lookups(self.source, self.landed):
                    raise steps.NothingToDo("nothing landed")
                self.ids = [one["landing_id"] for one in self.landed]
            case "gate landing":
                is_replay = how not in ("fetch", "redrive")
                self.landed, verdict = steps.gate_landing(
                    self.source, self.gates, self.landed,
                    store=self.place.store, dsn=self.place.dsn("sluice_loader"), is_replay=is_replay,
                )  # fmt: skip
                verdict.raise_if_failed(SOURCE, "landing")
            case "load":
                for entity in self.source.entities:
                    with suppress(steps.NothingToDo):
                        steps.load(
                            self.source, entity, self.landed,
                            store=self.place.store, dsn=self.place.dsn("sluice_loader"),
                        )  # fmt: skip
            case "staging" | "marts":
                path = f"path:models/staging/{SOURCE}" if stage == "staging" else f"path:models/marts,tag:{SOURCE}"
                self.place.project.build(self.ids, [path])
            case "publish":
                publish(
                    self.place.dsn("sluice_publisher"),
                    marts(self.place.project.target / "manifest.json", tag=SOURCE),
                    source=SOURCE,
                    dag_run_id="history",
                    landing_ids=self.ids,
                )
            case _:
                name: LayerName = "raw" if layer == "raw" else "staging" if layer == "staging" else "marts"
                verdict = judge(
                    self.gates.layer(name),
                    name,
                    self.landed,
                    gate_dsn=self.place.dsn("sluice_gate"),
                    loader_dsn=self.place.dsn("sluice_loader"),
                    dag_run_id="history",
                )
                verdict.raise_if_failed(SOURCE, name)

    def land(self, entity: str, how: str) -> list[steps.Landing]:
        loader = self.place.dsn("sluice_loader")
        params = {name: ["harbour_news"] for name in self.source.params}
        with suppress(steps.NothingToDo):
            match how:
                case "fetch":
                    api = Api(connection="x", base_url=self.place.server.url, key="any", retries=0)
                    with ApiClient(api) as client:
                        return [
                            steps.fetch(
                                self.source, entity, self.partition, params,
                                client=client, store=self.place.store, dsn=loader, run_id="history",
                            )
                        ]  # fmt: skip
                case "redrive":
                    return to_redrive(self.source, entity, dsn=loader)
                case "all":
                    partitions = PartitionRange()
                case day:
                    partitions = PartitionRange(day, day)
            return steps.fetched_before(self.source, entity, partitions, params, store=self.place.store, dsn=loader)
        return []


class Histories(RuleBasedStateMachine):
    """What can befall a source. `place` and the gates as they are meant are set by the test."""

    place: Place
    strict: Gates
    mended: Gates
    tried: Counter[str]

    @initialize()
    def begin(self) -> None:
        self.place.forget_all(landings_too=True)
        self.timeline = Timeline()
        self.place.server.answer = self.timeline.answer
        self.seen: dict[int, tuple[str, int]] = {}
        self.is_mended = False
        for _ in range(3):
            self.timeline.write()

    def run(self, how: str, *, last: str = STAGES[-1], day: date | None = None) -> bool:
        self.tried[how if how in ("fetch", "redrive") else "replay"] += 1
        gates = self.mended if self.is_mended else self.strict
        return Run(self.place, gates, day or self.timeline.day).go(how, last=last)

    def settle(self, day: date | None = None) -> None:
        """A run of today, or of another day, that goes well: readers see what the API says, but for what is held."""
        self.run("fetch", day=day)
        self.seen, told = self.place.published(), self.timeline.told()
        assert self.seen.items() <= told.items()
        unseen = told.keys() - self.seen.keys()
        assert unseen <= self.timeline.spoilt if self.is_mended else unseen == self.timeline.spoilt

    @rule(days_ago=st.integers(0, LOOK_BACK - 1), is_spoilt=st.sampled_from([False, False, False, True]))
    def someone_writes(self, days_ago: int, is_spoilt: bool) -> None:
        self.timeline.write(days_ago=days_ago, is_spoilt=is_spoilt)

    @precondition(lambda self: self.timeline.recent())
    @rule(data=st.data())
    def someone_likes(self, data: st.DataObject) -> None:
        self.timeline.like(data.draw(st.sampled_from(self.timeline.recent())))

    @rule()
    def a_run_goes_well(self) -> None:
        self.settle()

    @rule()
    def a_run_goes_well_and_a_day_goes_by(self) -> None:
        self.settle()
        self.timeline.day += timedelta(days=1)

    @rule(days_ago=st.integers(1, 4))
    def a_day_is_backfilled(self, days_ago: int) -> None:
        self.tried["backfill"] += 1
        self.settle(self.timeline.day - timedelta(days=days_ago))

    @rule(last=st.sampled_from(STAGES[:-1]))
    def a_run_dies(self, last: str) -> None:
        with suppress(Died):
            self.run("fetch", last=last)
        self.tried["died"] += 1
        assert self.place.published() == self.seen

    @rule(days_ago=st.integers(0, 4))
    def a_day_is_replayed(self, days_ago: int) -> None:
        before = len(self.place.server.requests)
        self.run((self.timeline.day - timedelta(days=days_ago)).isoformat())
        assert len(self.place.server.requests) == before
        self.sees_no_less()

    @rule()
    def all_is_replayed(self) -> None:
        self.run("all")
        self.sees_no_less()

    @rule()
    def what_is_held_is_redriven(self) -> None:
        self.run("redrive")
        self.sees_no_less()

    @rule()
    def the_rule_is_mended_and_what_is_held_redriven(self) -> None:
        self.is_mended = True
        self.settle()
        self.run("redrive")
        self.seen = self.place.published()
        assert self.seen.keys() == self.timeline.posts.keys()
        assert not self.run("redrive")

    def sees_no_less(self) -> None:
        """A replay publishes what was landed, and so maybe what a run that died had not come to."""
        now, told = self.place.published(), self.timeline.told()
        assert now.keys() >= self.seen.keys()
        for number, (text, likes) in now.items():
            assert self.is_mended or number not in self.timeline.spoilt
            assert text == told[number][0]
            assert self.seen.get(number, ("", 0))[1] <= likes <= told[number][1]
        self.seen = now

    @invariant()
    def each_record_is_in_one_place(self) -> None:
        """Landed = in raw + in quarantine, each once; readers see no row that is held."""
        project = self.place.project
        for landing_id, records, loaded, rows, distinct, held in project.rows(
            "select landing_id, records, loaded_rows, "
            "(select count(*) from raw.x__posts where _landing_id = landing_id), "
            "(select count(distinct _row) from raw.x__posts where _landing_id = landing_id), "
            "coalesce((select sum(quarantined_rows) from ops.quarantined(array[landing_id])), 0) "
            "from ops.landing where entity = 'posts' and loaded_at is not null"
        ):
            assert (rows, distinct, rows + held) == (loaded, loaded, records), landing_id


def rebuilt(place: Place, gates: Gates) -> None:
    """Without the warehouse, and without the API: S3 gives the same tables.

    A landing of which a run that died has loaded nothing is part of it, and may so add its day's counts of a post.
    """
    before, asked = place.hashes(), len(place.server.requests)
    days = "select post_id, snapshot_date from analytics.fact_post_engagement"
    counted = set(place.project.rows(days))
    place.forget_all(landings_too=False)
    Run(place, gates, date(2026, 11, 1)).go("all")
    after = place.hashes()
    assert set(place.project.rows(days)) >= counted
    for told in (before, after):
        del told["fact_post_engagement"]
    assert after == before
    assert len(place.server.requests) == asked


@pytest.fixture
def place(warehouse: Warehouse, s3: S3, tmp_path: Path) -> Iterator[Place]:
    server = Server()
    yield Place(server, s3, Project(warehouse, tmp_path))
    server.close()


@pytest.fixture(scope="module")
def gates() -> tuple[Gates, Gates]:
    """The source's gates with a rule that holds posts in one language, and without it."""
    content = yaml.safe_load((SOURCES / SOURCE / "gates.yml").read_text(encoding="utf-8"))
    mended = Gates.model_validate(content)
    content["raw"]["x__posts"]["expect"].append(TOO_STRICT)
    return Gates.model_validate(content), mended


def test_random_histories_keep_the_rules(
    place: Place, gates: tuple[Gates, Gates], capsys: pytest.CaptureFixture[str]
) -> None:
    tried: Counter[str] = Counter()

    class Here(Histories):
        def __init__(self) -> None:
            super().__init__()
            self.place, self.tried = place, tried
            self.strict, self.mended = gates

        def teardown(self) -> None:
            self.settle()
            rebuilt(place, self.mended if self.is_mended else self.strict)
            tried["rebuilt"] += 1

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=10,
            deadline=None,
            derandomize="SLUICE_HISTORIES" not in os.environ,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
    with capsys.disabled():
        print(f"\nrandom histories of {SOURCE}: {dict(tried)}")  # noqa: T201 - for docs/reliability.md
    assert tried.keys() >= {"fetch", "died", "replay", "redrive", "rebuilt"}
