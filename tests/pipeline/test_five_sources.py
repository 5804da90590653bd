"""The new sources as they are, from the sandbox to raw: at every edge of a page, and whatever the API does wrong."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from include.extract import ApiClient, ApiError
from include.landing import LandingStore
from include.landing.profile import profile
from include.pipeline import steps
from include.pipeline.model import Source, load_source
from include.pipeline.partition import RunPartition
from tests.conftest import S3, Warehouse
from tests.pipeline.conftest import KEY, PROJECT
from tests.sources.way import api_of

SIZE = {"driven": 10, "opensea": 200, "x": 100}
EDGES = {name: (0, 1, size - 1, size, size + 1, 2 * size) for name, size in SIZE.items()}
POSTS = "/2/users/*/tweets"
DAY = RunPartition("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC))
MAIN = {"driven": "sessions", "opensea": "nfts", "x": "posts"}


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Start a sandbox with settings of one's own; its base URL. The same settings get the same one."""
    cache = tmp_path_factory.mktemp("cache")
    running: dict[str, str] = {}
    with ExitStack() as stack:

        def start(**settings: str) -> str:
            key = json.dumps(settings)
            if key not in running:
                environment = os.environ | {"SANDBOX_NOW": "2026-11-21T13:05:00Z", "SANDBOX_CACHE_DIR": str(cache)}
                environment |= {f"SANDBOX_{name.upper()}": value for name, value in settings.items()}
                process = stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-m", "local.sandbox", "--port", "0"],
                        cwd=PROJECT,
                        env=environment,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                stack.callback(process.terminate)
                assert process.stdout is not None
                found = re.search(r"url=(\S+)", process.stdout.readline())
                assert found, "the sandbox did not start"
                running[key] = found[1]
            return running[key]

        yield start


class Bench:
    """Fetch and load with everything filled in."""

    def __init__(self, url: str, s3: S3, warehouse: Warehouse, *, tries: int = 1) -> None:
        self.url = url
        self.tries = tries
        self.s3 = s3
        self.store = LandingStore(s3.client, s3.bucket)
        self.dsn = warehouse.dsn("sluice_loader")

    def source(self, name: str, **params: list[str]) -> Source:
        """The source as it is, under a name of its own, with a small page where the API's own is large."""
        source = load_source(name)
        content = source.model_dump(by_alias=True)
        content["name"] = f"{name}_{self.s3.bucket.replace('-', '_')}"[:30]
        content["entities"][MAIN[name]]["request"]["paging"]["size"] = SIZE[name]
        for param, values in params.items():
            content["params"][param]["default"] = values
        return Source.model_validate(content)

    def fetch(self, source: Source, entity: str) -> steps.Landing:
        api = api_of(source, self.url, key=KEY, retries=self.tries - 1)
        params = {name: list(param.default) for name, param in source.params.items()}
        with ApiClient(api, first_wait_seconds=0.001, longest_wait_seconds=0.02) as client:
            return steps.fetch(
                source, entity, DAY, params, client=client, store=self.store, dsn=self.dsn, run_id="manual__test"
            )

    def counts(self, source: Source, entity: str, key: str) -> tuple[int, int, int, int]:
        """Records landed, loaded, in raw, and distinct ones."""
        landing = self.fetch(source, entity)
        records = source.entities[entity].records
        frame = profile(self.store, self.store.read(landing["uri"]), records=records)
        loaded = steps.load(source, entity, [landing], store=self.store, dsn=self.dsn)
        rows = self.rows(f"select count(*), count(distinct {key}) from raw.{source.table(entity)}")
        return int(frame.records.sum()), loaded, *rows[0]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            found = cursor.fetchall()
        connection.close()
        return found

    def misbehave(self, *rules: Mapping[str, object]) -> None:
        request = urllib.request.Request(  # noqa: S310 - the sandbox's own address
            f"{self.url}/_sandbox/faults",
            data=json.dumps(rules).encode(),
            method="PUT",
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).close()  # noqa: S310 - the same

    def nothing_landed(self) -> bool:
        return self.s3.client.list_objects_v2(Bucket=self.s3.bucket).get("KeyCount") == 0


@pytest.mark.parametrize("count", EDGES["driven"])
def test_sessions_arrive_at_every_edge_of_a_page(
    serve: Callable[..., str], s3: S3, warehouse: Warehouse, count: int
) -> None:
    bench = Bench(serve(driven_sessions=str(count), driven_sessions_a_day="10"), s3, warehouse)
    source = bench.source("driven")
    if count == 0:
        with pytest.raises(steps.NothingToDo, match="sessions: nothing new since the cursor"):
            bench.fetch(source, "sessions")
        return
    assert bench.counts(source, "sessions", "_key") == (count,) * 4


@pytest.mark.parametrize("count", EDGES["opensea"])
def test_nfts_arrive_at_every_edge_of_a_page(
    serve: Callable[..., str], s3: S3, warehouse: Warehouse, count: int
) -> None:
    url = serve(opensea_collections=",".join(f"edge-{count}:{count}" for count in EDGES["opensea"]))
    bench = Bench(url, s3, warehouse)
    source = bench.source("opensea", collections=[f"edge-{count}"])
    assert bench.counts(source, "nfts", "payload ->> 'identifier'") == (count,) * 4


@pytest.mark.parametrize("count", EDGES["x"])
def test_posts_arrive_at_every_edge_of_a_page(
    serve: Callable[..., str], s3: S3, warehouse: Warehouse, count: int
) -> None:
    url = serve(x_posts=",".join(f"edge_{count}:{count}" for count in EDGES["x"]))
    bench = Bench(url, s3, warehouse)
    source = bench.source("x", usernames=[f"edge_{count}"])
    assert bench.counts(source, "accounts", "_key") == (1, 1, 1, 1)
    if count == 0:  # whose page has no `data`
        with pytest.raises(steps.NothingToDo, match="posts: nothing new since the cursor"):
            bench.fetch(source, "posts")
        return
    assert bench.counts(source, "posts", "payload ->> 'id'") == (count,) * 4


FIVE = {"driven_sessions": "95", "driven_sessions_a_day": "10"}


@pytest.mark.parametrize("name", SIZE)
def test_an_api_that_fails_three_times_in_ten_gives_every_record_once(
    serve: Callable[..., str], s3: S3, warehouse: Warehouse, name: str
) -> None:
    bench = Bench(serve(**FIVE), s3, warehouse, tries=8)
    source = bench.source(name)
    if name == "x":
        bench.fetch(source, "accounts")
    rules = [
        {"kind": "status", "path": "/*", "code": code, "share": 0.1, "seed": seed} | more
        for seed, (code, more) in enumerate([(429, {"retry_after": 1}), (429, {}), (503, {})])
    ]
    bench.misbehave(*rules)
    try:
        key = "_key" if name == "driven" else "payload ->> case when payload ? 'id' then 'id' else 'identifier' end"
        landed, loaded, rows, distinct = bench.counts(source, MAIN[name], key)
    finally:
        bench.misbehave()
    expected = {"driven": 95, "opensea": 450 + 201 + 30, "x": 230 + 120 + 40}[name]
    assert (landed, loaded, rows) == (expected,) * 3
    assert distinct == expected or name == "opensea"  # two collections may use the same number


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kind": "edit", "loop": "meta.next_token", "path": POSTS}, "the API leads in a circle"),
        ({"kind": "status", "code": 302, "headers": {"Location": "http://169.254.169.254/"}, "path": POSTS},
         "leads on to '169.254.169.254', which is no allowed host"),
        ({"kind": "body", "text": "<html>", "path": POSTS}, "answered with what is not JSON"),
        ({"kind": "truncate", "keep": 0.5, "complete": True, "path": POSTS}, "answered with what is not JSON"),
        ({"kind": "endless", "start": '{"data":[', "repeat": '{"id":"1"},', "path": POSTS},
         "answered with more than 67108864 bytes"),
        ({"kind": "down", "path": POSTS}, "did not serve GET"),
    ],
    ids=["circle", "redirect", "html", "cut", "endless", "down"],
)  # fmt: skip
def test_what_an_api_does_wrong_lands_nothing_and_says_so(
    serve: Callable[..., str], s3: S3, warehouse: Warehouse, rule: Mapping[str, object], message: str
) -> None:
    bench = Bench(serve(**FIVE), s3, warehouse)
    source = bench.source("x")
    bench.fetch(source, "accounts")
    before = s3.client.list_objects_v2(Bucket=s3.bucket)["KeyCount"]
    bench.misbehave(rule)
    try:
        with pytest.raises((steps.FetchError, ApiError)) as refusal:
            bench.fetch(source, "posts")
    finally:
        bench.misbehave()
    assert message in str(refusal.value)
    assert KEY not in str(refusal.value)
    assert s3.client.list_objects_v2(Bucket=s3.bucket)["KeyCount"] == before


def test_a_second_run_asks_x_for_what_is_new_alone(serve: Callable[..., str], s3: S3, warehouse: Warehouse) -> None:
    bench = Bench(serve(**FIVE), s3, warehouse)
    source = bench.source("x")
    bench.fetch(source, "accounts")
    first = bench.fetch(source, "posts")
    steps.load(source, "posts", [first], store=bench.store, dsn=bench.dsn)
    again = bench.fetch(source, "posts")
    records = source.entities["posts"].records
    seen = [
        int(profile(bench.store, bench.store.read(one["uri"]), records=records).records.sum()) for one in (first, again)
    ]
    ((within,),) = bench.rows(
        f"select count(*) from raw.{source.table('posts')} "
        "where (payload ->> 'created_at')::timestamptz >= '2026-11-18Z'"
    )
    assert seen == [390, within]
    assert 0 < within < 100


def test_naughty_strings_reach_raw_byte_for_byte(
    serve: Callable[..., str], s3: S3, warehouse: Warehouse, real_data: Path
) -> None:
    naughty = [text for text in json.loads((real_data / "nasty" / "blns.json").read_text(encoding="utf-8")) if text]
    bench = Bench(serve(**FIVE), s3, warehouse)
    source = bench.source("x")
    bench.fetch(source, "accounts")
    table = source.table("posts")
    whole = "".join(naughty) + "\u0000" + "x" * 25_000
    bench.misbehave({"kind": "edit", "path": POSTS, "records": "data", "set": {"text": whole, "all": naughty}})
    try:
        landing = bench.fetch(source, "posts")
    finally:
        bench.misbehave()
    steps.load(source, "posts", [landing], store=bench.store, dsn=bench.dsn)
    found = bench.rows(f"select distinct payload ->> 'text', payload -> 'all' from raw.{table}")
    assert found == [(whole.replace("\u0000", "\ufffd"), naughty)]
    document = next(bench.store.iter_documents(bench.store.read(landing["uri"])))
    assert b"\\u0000" in document  # the landing has it as it came
