"""What is asked for once and no more: pages, entities asked for by others, cursors, dropped files, own functions."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from include.extract import Api, ApiClient
from include.landing import LandingError, LandingStore
from include.landing.profile import profile
from include.pipeline import callables, steps
from include.pipeline.model import Source
from include.pipeline.partition import RunPartition
from include.warehouse.load import LoadError
from include.warehouse.publish import publish
from tests.conftest import S3, Warehouse
from tests.extract.conftest import Answer, Request, Server
from tests.landing.test_torture import YELLOW


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


class Shop:
    """A source of one's own making before an API of one's own making."""

    def __init__(self, server: Server, s3: S3, warehouse: Warehouse) -> None:
        self.server = server
        self.store = LandingStore(s3.client, s3.bucket)
        self.s3 = s3
        self.warehouse = warehouse
        self.dsn = warehouse.dsn("sluice_loader")
        self.name = f"shop_{s3.bucket.replace('-', '_')}"[:30]

    def source(self, *, params: Mapping[str, object] | None = None, **entities: Mapping[str, object]) -> Source:
        return Source.model_validate(
            {
                "name": self.name,
                "description": "A shop.",
                "owner": "team",
                "schedule": "@daily",
                "connection": "shop",
                "check": "/",
                "partition": {"grain": "day"},
                "params": params or {},
                "entities": {
                    name: {"description": "Things.", "format": "json", "load": {"mode": "append"}, **entity}
                    for name, entity in entities.items()
                },
            }
        )

    def fetch(
        self,
        source: Source,
        entity: str,
        day: str = "2026-11-21",
        *,
        run_id: str = "",
        is_whole: bool = True,
        **params: list[str],
    ) -> steps.Landing:
        partition = RunPartition(day, datetime.fromisoformat(day).replace(tzinfo=UTC))
        given = {name: list(param.default) for name, param in source.params.items()} | params
        if source.entities[entity].files:
            return steps.fetch_files(
                source, entity, partition, given, store=self.store, dsn=self.dsn, run_id=run_id or f"run {day}"
            )
        with ApiClient(Api(connection="shop", base_url=self.server.url, retries=0)) as client:
            return steps.fetch(
                source,
                entity,
                partition,
                given,
                client=client,
                store=self.store,
                dsn=self.dsn,
                run_id=run_id or f"run {day}",
                is_whole=is_whole,
            )

    def load(self, source: Source, *landed: steps.Landing) -> int:
        return steps.load(source, landed[0]["entity"], landed, store=self.store, dsn=self.dsn, run_id="run 1")

    def publish(self, *landed: steps.Landing) -> None:
        ids = [landing["landing_id"] for landing in landed]
        publish(self.warehouse.dsn("sluice_publisher"), [], source=self.name, dag_run_id="r", landing_ids=ids)

    def drop(self, key: str, content: bytes) -> None:
        self.s3.client.put_object(Bucket=self.s3.bucket, Key=f"drop/{self.name}/{key}", Body=content)

    def raw(self, entity: str, columns: str = "payload") -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute(f"select {columns} from raw.{self.name}__{entity} order by _landing_id, _row")
            found = cursor.fetchall()
        connection.close()
        return found

    def held(self, entity: str) -> list[tuple[Any, ...]]:
        """Place, payload, text and first reason of the rows in quarantine."""
        connection = psycopg2.connect(self.dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "select _row, payload, record, reasons -> 0 ->> 'message', dag_run_id "
                f"from quarantine.{self.name}__{entity} order by _landing_id, _row"
            )
            found = cursor.fetchall()
        connection.close()
        return found

    def parts(self) -> list[tuple[str, int, int]]:
        """The parts of all landings with their first row and the number of their rows."""
        connection = psycopg2.connect(self.dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "select part, first_row, row_count from ops.landing_part join ops.landing using (landing_id) "
                "where source = %s and landing_part.uri = landing.uri || part order by landing_id, part",
                (self.name,),
            )
            found = cursor.fetchall()
        connection.close()
        return found

    def booked(self) -> list[tuple[int, int]]:
        """Landings with the rows that are booked for them, which the gate of raw compares with those that are there."""
        connection = psycopg2.connect(self.dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute("select landing_id, loaded_rows from ops.landing where source = %s order by 1", (self.name,))
            found = cursor.fetchall()
        connection.close()
        return found

    def answers(self, of: Mapping[str, Callable[[Request], object]]) -> None:
        """Answer each path by a function of the request."""
        self.server.answer = lambda request: Answer(body=json.dumps(of[request.path](request)).encode())

    def asked(self, path: str) -> list[dict[str, str]]:
        return [
            {name: values[0] for name, values in request.query.items()}
            for request in self.server.requests
            if request.path == path
        ]


@pytest.fixture
def shop(server: Server, s3: S3, warehouse: Warehouse) -> Shop:
    return Shop(server, s3, warehouse)


def test_pages_are_landed_as_they_came_and_loaded_record_by_record(shop: Shop) -> None:
    pages = {None: {"data": [{"n": 1}, {"n": 2}], "next": "b"}, "b": {"data": [{"n": 3}]}}
    shop.answers({"/things": lambda request: pages[request.query.get("at", [None])[0]]})
    paging = {"kind": "token", "parameter": "at", "next": "next"}
    source = shop.source(things={"request": {"path": "/things", "paging": paging, "records": "data"}})
    landing = shop.fetch(source, "things")
    documents = list(shop.store.iter_documents(shop.store.read(landing["uri"])))
    assert [json.loads(document) for document in documents] == list(pages.values())
    assert shop.load(source, landing) == 3
    assert shop.raw("things", "payload, _row") == [({"n": 1}, 0), ({"n": 2}, 1), ({"n": 3}, 2)]


def test_an_entity_is_asked_for_by_each_record_of_another(shop: Shop) -> None:
    shop.answers(
        {
            "/towns": lambda _: {"data": [{"at": {"id": 7}}, {"at": {"id": "a/b"}}, {"at": {"id": 7}}, {"at": {}}]},
            "/towns/7/shops": lambda _: [{"n": 1}, {"n": 2}],
            "/towns/a%2Fb/shops": lambda _: [{"n": 3}],
        }
    )
    source = shop.source(
        towns={"request": {"path": "/towns", "records": "data"}},
        shops={"request": {"path": "/towns/{town}/shops", "for_each": {"town": {"entity": "towns", "field": "at.id"}}}},
    )
    with pytest.raises(steps.NothingToDo, match="it is asked for by towns, of which nothing was landed"):
        shop.fetch(source, "shops")
    shop.fetch(source, "towns")
    landing = shop.fetch(source, "shops")
    assert shop.load(source, landing) == 3
    rows = shop.raw("shops", "payload, _request")
    assert rows == [({"n": 1}, {"town": "7"}), ({"n": 2}, {"town": "7"}), ({"n": 3}, {"town": "a/b"})]
    # the next day's shops are those of the next day's towns
    with pytest.raises(steps.NothingToDo):
        shop.fetch(source, "shops", day="2026-11-22")


CURSOR = {
    "cursor": {"field": "id", "type": "number", "parameter": "since", "look_back": {"days": 1, "by": "at"}},
    "request": {"path": "/posts/{who}", "records": "data", "for_each": {"who": "who"}},
}
WHO = {"who": {"description": "Whose.", "default": ["ann", "bob"]}}


def posts(*found: tuple[int, str]) -> Callable[[Request], object]:
    """An account's posts, newest first, of which those after `since` are served."""

    def answer(request: Request) -> object:
        since = int(request.query.get("since", ["0"])[0])
        data = [{"id": str(number), "at": at} for number, at in sorted(found, reverse=True) if number > since]
        page: dict[str, object] = {"data": data} if data else {"meta": {"result_count": 0}}
        return page

    return answer


def test_only_what_is_new_or_within_the_look_back_is_asked_for(shop: Shop) -> None:
    source = shop.source(params=WHO, posts=CURSOR)
    ann = [(9, "2026-11-18T10:00:00Z"), (10, "2026-11-19T10:00:00Z"), (11, "2026-11-20T10:00:00Z")]
    shop.answers({"/posts/ann": posts(*ann), "/posts/bob": posts((5, "2026-11-01T00:00:00Z"))})
    first = shop.fetch(source, "posts")
    assert shop.load(source, first) == 4
    shop.publish(first)
    shop.answers({"/posts/ann": posts(*ann, (12, "2026-11-21T10:00:00Z")), "/posts/bob": posts((5, "2026-11-01"))})
    second = shop.fetch(source, "posts", day="2026-11-22")
    assert shop.load(source, second) == 1
    assert shop.asked("/posts/ann") == [{}, {"since": "11"}]  # the last post of the day before the look-back
    assert shop.asked("/posts/bob") == [{}, {"since": "5"}]
    shop.publish(second)
    # a second run of that day sees what a day of look-back lets it see, which is the same: nothing to do
    with pytest.raises(steps.NothingToDo, match=r"posts 2026-11-22: unchanged since landing \d+, published"):
        shop.fetch(source, "posts", day="2026-11-22")
    with pytest.raises(steps.NothingToDo, match="posts: nothing new since the cursor"):
        shop.fetch(source, "posts", day="2026-11-30")
    assert [row["id"] for (row,) in shop.raw("posts")] == ["11", "10", "9", "5", "12"]


ANN = ((9, "2026-11-18T10:00:00Z"), (10, "2026-11-20T10:00:00Z"), (11, "2026-11-21T10:00:00Z"))
BOB = ((5, "2026-11-21T08:00:00Z"),)


def first_published(shop: Shop, source: Source) -> steps.Landing:
    """The first run of a day, which asks for all there is; the next one of that day asks for its look-back alone."""
    shop.answers({"/posts/ann": posts(*ANN), "/posts/bob": posts(*BOB)})
    first = shop.fetch(source, "posts")
    shop.load(source, first)
    shop.publish(first)
    return first


def test_a_run_again_that_asks_for_less_and_gets_what_is_landed_has_nothing_to_do(shop: Shop) -> None:
    source = shop.source(params=WHO, posts=CURSOR)
    first = first_published(shop, source)
    said = rf"posts 2026-11-21: nothing that is not in landing {first['landing_id']}, published"
    with pytest.raises(steps.NothingToDo, match=said):
        shop.fetch(source, "posts")
    assert shop.asked("/posts/ann") == [{}, {"since": "9"}]
    assert [one.landing_id for one in shop.store.landings(shop.name, "posts")] == [first["landing_id"]]


@pytest.mark.parametrize(
    "of_ann",
    [
        pytest.param(posts(*ANN, (12, "2026-11-21T11:00:00Z")), id="one more"),
        pytest.param(posts(*ANN[:2], (11, "2026-11-21T10:00:01Z")), id="one changed"),
        pytest.param(lambda _: {"data": [{"id": "5", "at": BOB[0][1]}]}, id="another account's"),
        pytest.param(lambda _: {"data": [17]}, id="no record"),
        pytest.param(lambda _: {"data": {"id": "11"}}, id="others in shape"),
    ],
)
def test_a_run_again_that_brings_anything_else_goes_on(shop: Shop, of_ann: Callable[[Request], object]) -> None:
    source = shop.source(params=WHO, posts=CURSOR)
    first = first_published(shop, source)
    shop.answers({"/posts/ann": of_ann, "/posts/bob": posts()})
    assert shop.fetch(source, "posts")["landing_id"] > first["landing_id"]


def test_what_is_landed_and_not_published_is_no_reason_to_stop(shop: Shop) -> None:
    source = shop.source(params=WHO, posts=CURSOR)
    shop.answers({"/posts/ann": posts(*ANN), "/posts/bob": posts(*BOB)})
    first = shop.fetch(source, "posts")
    shop.load(source, first)
    assert shop.fetch(source, "posts")["landing_id"] > first["landing_id"]


def test_unchanged_load_takes_what_is_landed_already(shop: Shop) -> None:
    source = shop.source(params=WHO, posts=CURSOR | {"unchanged": "load"})
    first = first_published(shop, source)
    assert shop.fetch(source, "posts")["landing_id"] > first["landing_id"]


def test_the_cursor_waits_for_the_load(shop: Shop) -> None:
    source = shop.source(params=WHO, posts=CURSOR)
    shop.answers({"/posts/ann": posts((10, "2026-11-19T10:00:00Z")), "/posts/bob": posts()})
    lost = shop.fetch(source, "posts", day="2026-11-21")  # landed, and then the run ended
    again = shop.fetch(source, "posts", day="2026-11-22")
    assert shop.asked("/posts/ann") == [{}, {}]
    assert lost["landing_id"] != again["landing_id"]
    assert shop.load(source, again) == 1


def test_a_landing_that_was_loaded_and_not_published_goes_with_the_next_run(shop: Shop) -> None:
    source = shop.source(params=WHO, posts=CURSOR, plain={"request": {"path": "/plain"}})
    shop.answers(
        {
            "/posts/ann": posts((10, "2026-11-01T10:00:00Z")),
            "/posts/bob": posts(),
            "/plain": lambda _: {"n": 1},
        }
    )
    stuck, plain = shop.fetch(source, "posts"), shop.fetch(source, "plain")
    assert steps.with_pending(source, [], store=shop.store, dsn=shop.dsn) == []  # landed alone is fetched again
    shop.load(source, stuck)
    shop.load(source, plain)
    assert steps.with_pending(source, [], store=shop.store, dsn=shop.dsn) == [stuck]
    fresh = steps.Landing(landing_id=stuck["landing_id"] + 1, entity="posts", partition="2026-11-22", uri="s3://x")
    assert steps.with_pending(source, [fresh], store=shop.store, dsn=shop.dsn) == [stuck, fresh]
    assert shop.load(source, stuck) == 1  # again, and once
    assert len(shop.raw("posts")) == 1
    shop.publish(stuck)
    assert steps.with_pending(source, [], store=shop.store, dsn=shop.dsn) == []


def always(served: object) -> Callable[[Request], Answer]:
    """The same answer to everything."""
    return lambda _: Answer(body=json.dumps(served).encode())


@pytest.mark.parametrize("times", [1, 2])
def test_a_landing_whose_rows_a_later_one_took_over_is_booked_with_what_raw_holds_of_it(shop: Shop, times: int) -> None:
    source = shop.source(params=WHO, posts=CURSOR | {"load": {"mode": "upsert", "keys": ["id"]}})
    shop.answers({"/posts/ann": posts((1, "2026-11-01"), (2, "2026-11-20")), "/posts/bob": posts()})
    stuck = shop.fetch(source, "posts")
    shop.load(source, stuck)  # and a gate of the marts stops the run
    shop.answers({"/posts/ann": posts((2, "2026-11-20"), (3, "2026-11-21")), "/posts/bob": posts()})
    fresh = shop.fetch(source, "posts")
    run = steps.with_pending(source, [fresh], store=shop.store, dsn=shop.dsn)
    assert run == [stuck, fresh]
    for _ in range(times):  # a load that is retried books the same
        shop.load(source, *run)
    assert [row["id"] for (row,) in shop.raw("posts")] == ["1", "3", "2"]
    assert shop.booked() == [(stuck["landing_id"], 1), (fresh["landing_id"], 2)]


FILES = {
    "files": "sales/*.csv",
    "format": "csv",
    "request": None,
    "fields": {"Id": "bigint", "Town": "text"},
    "load": {"mode": "append"},
}


def test_each_dropped_file_is_loaded_once(shop: Shop) -> None:
    source = shop.source(sales=FILES)
    with pytest.raises(steps.NothingToDo, match=r"sales: no new file at s3://.*/drop/.*/sales/\*\.csv"):
        shop.fetch(source, "sales")
    shop.drop("sales/b.csv", b"id,town\n3,Lima\n")
    shop.drop("sales/a.csv", b"ID,TOWN\n1,Oslo\n2,\xc3\x85lesund\n")
    shop.drop("sales/notes.txt", b"not for us")
    shop.drop("other/c.csv", b"id,town\n9,Rome\n")
    landing = shop.fetch(source, "sales")
    assert shop.fetch(source, "sales") != landing  # not loaded yet: taken again
    assert shop.load(source, landing) == 3
    assert shop.raw("sales", "id, town, _row") == [(1, "Oslo", 0), (2, "Ålesund", 1), (3, "Lima", 2)]
    origins = [part.origin for part in shop.store.read(landing["uri"]).parts]
    assert origins == [f"s3://{shop.s3.bucket}/drop/{shop.name}/sales/{name}.csv" for name in "ab"]
    with pytest.raises(steps.NothingToDo):
        shop.fetch(source, "sales")
    shop.drop("sales/b.csv", b"id,town\n4,Lima\n")  # corrected
    corrected = shop.fetch(source, "sales")
    assert [part.origin for part in shop.store.read(corrected["uri"]).parts] == origins[1:]
    assert shop.load(source, corrected) == 1


STAND_IN = {
    "format": "csv",
    "request": {"path": "/sales/{partition:%Y-%m-%d}.csv"},
    "stand_in": "sales/{partition:%Y%m%d}.csv",
    "fields": {"Id": "bigint", "Town": "text"},
    "load": {"mode": "replace"},
}


def stand_ins(shop: Shop, source: Source, only: str | None = None) -> list[steps.Landing]:
    day = RunPartition(only, datetime.fromisoformat(only).replace(tzinfo=UTC)) if only else None
    return steps.fetch_stand_ins(source, "sales", day, store=shop.store, dsn=shop.dsn, run_id="run 1")


def test_a_dropped_file_takes_the_place_of_the_answer_of_its_partition(shop: Shop) -> None:
    """Each once, and the day's rows are replaced, whichever came first."""
    source = shop.source(sales=STAND_IN)
    shop.server.answer = lambda _: Answer(body=b"id,town\n1,Oslo\n")
    answered = shop.fetch(source, "sales", "2026-11-20")
    shop.load(source, answered)
    shop.drop("sales/20261120.csv", b"id,town\n2,Lima\n")
    shop.drop("sales/20261119.csv", b"id,town\n3,Rome\n")
    shop.drop("sales/2026.csv", b"of no day")
    assert [one["partition"] for one in stand_ins(shop, source, "2026-11-20")] == ["2026-11-20"]
    landed = stand_ins(shop, source)
    assert [one["partition"] for one in landed] == ["2026-11-19", "2026-11-20"]
    assert shop.load(source, *landed) == 2
    assert shop.raw("sales", "id, town") == [(3, "Rome"), (2, "Lima")]
    assert stand_ins(shop, source) == []


def test_a_dropped_file_that_a_gate_stopped_is_taken_along_and_an_answer_is_not(shop: Shop) -> None:
    """The file would not be landed again; the answer comes again by itself."""
    source = shop.source(sales=STAND_IN)
    shop.server.answer = lambda _: Answer(body=b"id,town\n1,Oslo\n")
    shop.load(source, shop.fetch(source, "sales", "2026-11-20"))
    shop.drop("sales/20261119.csv", b"id,town\n3,Rome\n")
    (stopped,) = stand_ins(shop, source)
    shop.load(source, stopped)
    assert steps.with_pending(source, [], store=shop.store, dsn=shop.dsn) == [stopped]
    shop.publish(stopped)
    assert steps.with_pending(source, [], store=shop.store, dsn=shop.dsn) == []


def test_what_a_file_has_stood_in_for_is_not_asked_and_arrivals_ask_for_missing_lookups_alone(shop: Shop) -> None:
    source = shop.source(sales=STAND_IN, towns={**STAND_IN, "stand_in": None, "lookup": True})
    day = RunPartition("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC))
    shop.drop("sales/20261120.csv", b"id,town\n2,Lima\n")
    landed = stand_ins(shop, source)

    def asks(entity: str, dropped: list[steps.Landing], *, is_arrival: bool) -> bool:
        return steps.is_left_to_ask(source, entity, day, dropped, is_arrival=is_arrival, dsn=shop.dsn)

    assert not asks("sales", landed, is_arrival=False)
    assert asks("sales", [], is_arrival=False)
    assert not asks("sales", [], is_arrival=True)
    assert asks("towns", [], is_arrival=True)
    shop.server.answer = lambda _: Answer(body=b"id,town\n1,Oslo\n")
    shop.fetch(source, "towns", "2026-11-20")
    assert not asks("towns", [], is_arrival=True)
    assert asks("towns", [], is_arrival=False)


def test_files_whose_corrections_are_loaded_hold_no_run_up(shop: Shop) -> None:
    source = shop.source(sales=FILES)
    shop.drop("sales/a.csv", b"id,town\n1,Oslo\n")
    bad = shop.fetch(source, "sales")
    shop.load(source, bad)  # and a gate stops it
    shop.drop("sales/a.csv", b"id,town\n2,Oslo\n")
    good = shop.fetch(source, "sales")
    assert steps.with_pending(source, [good], store=shop.store, dsn=shop.dsn) == [good]
    shop.load(source, good)
    assert steps.with_pending(source, [good], store=shop.store, dsn=shop.dsn) == [good]


def test_json_files_are_loaded_whatever_their_lines(shop: Shop) -> None:
    source = shop.source(things={"request": None, "files": "*.json", "records": "data"})
    shop.drop("a.json", b'\xef\xbb\xbf{\n  "data": [\n    {"n": 1},\r\n    {"n": 2}\n  ]\n}\n')
    shop.drop("b.json", b'{"data": []}')
    landing = shop.fetch(source, "things")
    assert shop.load(source, landing) == 2
    assert shop.raw("things") == [({"n": 1},), ({"n": 2},)]


@pytest.mark.parametrize("contract", ["evolve", "freeze", "discard"])
def test_members_that_are_not_declared_are_kept_refused_or_dropped(shop: Shop, contract: str) -> None:
    shop.server.answer = lambda _: Answer(body=b'[{"a": 1}, {"a": 1.10, "b": {"c": 2}}]')
    source = shop.source(things={"request": {"path": "/"}, "fields": {"a": "bigint"}, "new_columns": contract})
    landing = shop.fetch(source, "things")
    if contract == "freeze":
        with pytest.raises(
            LandingError, match=r"things: record 1 \(from 0\) has the member 'b', which source.yml does"
        ):
            shop.load(source, landing)
        return
    assert shop.load(source, landing) == 2
    kept = [("1", None), ("1.10", '{"c": 2}' if contract == "evolve" else None)]
    assert shop.raw("things", "payload ->> 'a', payload ->> 'b'") == kept


def test_a_function_of_the_source_may_stand_for_the_request_and_for_what_is_loaded(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / shop.name
    folder.mkdir()
    (folder / "own.py").write_text(
        "import json\n"
        "def pages(extract):\n"
        "    body = extract.client.get('/odd', {'since': extract.since({'who': 'ann'}) or 'never'})\n"
        "    yield body.replace(b'\\'', b'\"'), {'who': 'ann'}\n"
        "def halves(record):\n"
        "    for half in (1, 2):\n"
        "        yield {**record, 'half': half}\n"
        "def shout(rows):\n"
        "    return rows.assign(town=rows.town.str.upper())\n"
    )
    monkeypatch.setattr(callables.function_of, "__defaults__", (tmp_path,))
    shop.server.answer = lambda _: Answer(body=b"{'n': 1}")
    request = {"path": "/odd", "for_each": {"who": "who"}}
    source = shop.source(
        params=WHO,
        odd={"request": request, "extract": "own.py:pages", "transform": "own.py:halves"},
        sales={**FILES, "transform": "own.py:shout"},
    )
    assert shop.load(source, shop.fetch(source, "odd")) == 2
    assert shop.raw("odd", "payload, _request") == [
        ({"n": 1, "half": 1}, {"who": "ann"}),
        ({"n": 1, "half": 2}, {"who": "ann"}),
    ]
    assert shop.asked("/odd") == [{"since": "never"}]
    shop.drop("sales/a.csv", b"id,town\n1,Oslo\n")
    assert shop.load(source, shop.fetch(source, "sales")) == 1
    assert shop.raw("sales", "id, town") == [(1, "OSLO")]


def test_rows_gone_upstream_are_marked_and_come_back(shop: Shop) -> None:
    source = shop.source(
        things={"request": {"path": "/things"}, "load": {"mode": "upsert", "keys": ["id"], "absent": "mark"}}
    )
    states = []
    for day, ids in (("2026-11-20", [1, 2]), ("2026-11-21", [2]), ("2026-11-22", [1, 2])):
        shop.server.answer = always([{"id": one} for one in ids])
        shop.load(source, shop.fetch(source, "things", day=day))
        states.append(dict(shop.raw("things", "_key, _absent_since is not null")))
    assert states == [{"1": False, "2": False}, {"1": True, "2": False}, {"1": False, "2": False}]


def test_what_a_narrower_run_lacks_is_not_gone(shop: Shop) -> None:
    load = {"mode": "upsert", "keys": ["id"], "absent": "mark"}
    towns = {"towns": {"description": "Which.", "default": ["1", "2"]}}
    request = {"path": "/{town}", "for_each": {"town": "towns"}}
    source = shop.source(params=towns, things={"request": request, "load": load, "on_status": {404: "record"}})
    shop.server.answer = lambda asked: Answer(body=json.dumps({"id": asked.path}).encode())
    shop.load(source, shop.fetch(source, "things"))
    shop.load(source, shop.fetch(source, "things", day="2026-11-22", is_whole=False, towns=["1"]))
    shop.server.answer = lambda asked: (
        Answer(body=b'{"id": "/1"}') if asked.path == "/1" else Answer(status=404)
    )  # the other is refused, for today
    shop.load(source, shop.fetch(source, "things", day="2026-11-23"))
    assert shop.raw("things", "_absent_since") == [(None,), (None,)]


def test_no_record_at_all_is_not_taken_for_all_of_them_gone(shop: Shop) -> None:
    load = {"mode": "upsert", "keys": ["id"], "absent": "delete"}
    source = shop.source(things={"request": {"path": "/", "records": "data"}, "load": load})
    shop.server.answer = always({"message": "maintenance"})
    with pytest.raises(steps.FetchError, match=r"gave no record at all, and load.absent would take all rows for gone"):
        shop.fetch(source, "things")


def test_a_part_of_a_chain_that_is_refused_lands_nothing(shop: Shop) -> None:
    shop.server.answer = lambda request: (
        Answer(status=404, body=b'{"message": "gone"}')
        if "at" in request.query
        else Answer(body=b'{"data": [{"n": 1}], "next": "b"}')
    )
    paging = {"kind": "token", "parameter": "at", "next": "next"}
    source = shop.source(
        things={"request": {"path": "/t", "paging": paging, "records": "data"}, "on_status": {404: "record"}}
    )
    with pytest.raises(steps.FetchError, match="answered HTTP 404: gone"):
        shop.fetch(source, "things")
    assert shop.s3.client.list_objects_v2(Bucket=shop.s3.bucket).get("KeyCount") == 0


@pytest.mark.parametrize("unchanged", ["skip", "load"])
def test_the_same_content_again_is_skipped_or_loaded_anew(shop: Shop, unchanged: str) -> None:
    shop.server.answer = always([{"n": 1}])
    source = shop.source(things={"request": {"path": "/t"}, "unchanged": unchanged, "load": {"mode": "replace"}})
    first = shop.fetch(source, "things")
    shop.load(source, first)
    shop.publish(first)
    if unchanged == "skip":
        with pytest.raises(steps.NothingToDo, match=f"unchanged since landing {first['landing_id']}, published"):
            shop.fetch(source, "things")
        return
    second = shop.fetch(source, "things")
    assert second["landing_id"] > first["landing_id"]
    shop.load(source, second)
    assert shop.raw("things", "payload, _landing_id") == [({"n": 1}, second["landing_id"])]


def test_what_was_loaded_anew_and_not_published_is_gone_on_from_and_not_skipped(shop: Shop) -> None:
    shop.server.answer = always([{"n": 1}])
    source = shop.source(things={"request": {"path": "/t"}})
    landing = shop.fetch(source, "things")
    shop.load(source, landing)
    shop.publish(landing)
    shop.load(source, landing)  # a replay, which a gate behind it stops
    assert shop.fetch(source, "things") == landing
    shop.load(source, landing)
    shop.publish(landing)
    with pytest.raises(steps.NothingToDo, match="published"):
        shop.fetch(source, "things")


def test_lines_that_cannot_be_read_wait_in_quarantine_until_the_source_is_mended(shop: Shop) -> None:
    lines = [f"{n},Town {n}" for n in range(200)]
    lines[5], lines[150] = "five,Oslo", "150,Lima,Peru"
    shop.drop("sales/a.csv", "\n".join(["id,town", *lines, ""]).encode())
    shop.drop("sales/b.csv", b"id,town\n7,Rome\n")
    source = shop.source(sales=FILES)
    landing = shop.fetch(source, "sales")
    assert shop.load(source, landing) == 199
    assert [row for (row,) in shop.raw("sales", "_row")] == [n for n in range(201) if n not in (5, 150)]
    bad, long = shop.held("sales")
    assert bad[:3] == (5, {"id": "five", "town": "Oslo"}, None)
    assert bad[3].startswith("line 7: column 'id' is declared bigint and holds 'five', which is not one")
    assert long == (150, None, "150,Lima,Peru", "line 152: 3 fields, where the header has 2", "run 1")
    assert shop.parts() == [("part-00001.csv", 0, 200), ("part-00002.csv", 200, 1)]
    assert shop.booked() == [(landing["landing_id"], 199)]
    mended = shop.source(sales=FILES | {"fields": {"Id": "text", "Town": "text"}})
    strict = shop.source(sales=FILES | {"quarantine_at_most": 0})
    with pytest.raises(LandingError, match="line 152: 3 fields, where the header has 2"):
        shop.load(strict, landing)
    connection = psycopg2.connect(shop.dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(f"alter table raw.{shop.name}__sales alter id type text")
    connection.close()
    for _ in range(2):
        assert shop.load(mended, landing) == 200
        assert [one[0] for one in shop.held("sales")] == [150]
    assert len(shop.raw("sales", "id")) == 200


def test_more_of_them_than_the_share_fail_the_load(shop: Shop) -> None:
    shop.drop("sales/a.csv", "\n".join(["id,town", *["x,Oslo"] * 3, *["1,Oslo"] * 197, ""]).encode())
    source = shop.source(sales=FILES)
    with pytest.raises(
        LoadError, match=r"3 of its 200 rows cannot be read, .* lets 0\.01 of them .* row 0 \(from 0\): line 2"
    ):
        shop.load(source, shop.fetch(source, "sales"))
    assert shop.raw("sales", "id") == []


@pytest.mark.parametrize("broken", [100, 101])
def test_a_hundredth_of_a_real_month_may_be_broken_and_no_row_more(shop: Shop, real_data: Path, broken: int) -> None:
    month = real_data / "taxi" / "ge" / "yellow_tripdata_sample_2020-03.csv"
    header, *lines = month.read_text().splitlines()
    spoilt = range(0, 99 * broken, 99)
    for number, row in enumerate(spoilt):
        faults = (lines[row].replace("2020-03", "2020-13"), lines[row] + ",", f"two{lines[row]}")
        lines[row] = faults[number % len(faults)]
    shop.drop("sales/month.csv", "\n".join([header, *lines, ""]).encode())
    source = shop.source(sales=FILES | {"fields": YELLOW})
    landing = shop.fetch(source, "sales")
    frame = profile(shop.store, shop.store.read(landing["uri"]), quarantine_at_most=0.01)
    assert (frame["records"][0], frame["fault"][0]) == (10_000, None)  # by its shape alone it is well within the share
    if broken > 100:
        with pytest.raises(LoadError, match=r"101 of its 10000 rows cannot be read"):
            shop.load(source, landing)
        return
    assert shop.load(source, landing) == 9_900
    assert [row for row, *_ in shop.held("sales")] == list(spoilt)
    assert [row for (row,) in shop.raw("sales", "_row")] == sorted(set(range(10_000)) - set(spoilt))


def test_records_are_held_by_their_place_among_all_also_behind_a_function(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / shop.name).mkdir()
    (tmp_path / shop.name / "made.py").write_text(
        "def twice(record):\n    yield record\n    yield {'n': record['n'] * record.get('times', 1)}\n"
    )
    monkeypatch.setattr(callables.function_of, "__defaults__", (tmp_path,))
    source = shop.source(
        things={
            "request": None,
            "files": "*.ndjson",
            "format": "ndjson",
            "transform": "made.py:twice",
            "quarantine_at_most": 0.5,
        }
    )
    shop.drop("a.ndjson", b'{"n": 1}\n{"n": \n[2]\n{"n": 3, "times": NaN}\n')
    shop.drop("b.ndjson", b'{"n": 4}\n')
    assert shop.load(source, shop.fetch(source, "things")) == 4
    assert shop.raw("things", "payload ->> 'n', _row") == [("1", 0), ("1", 1), ("4", 6), ("4", 7)]
    assert [(row, record) for row, _, record, *_ in shop.held("things")] == [
        (2, '{"n":'),
        (3, "2"),
        (4, '{"n": 3, "times": NaN}'),
        (5, '{"n": NaN}'),
    ]
    assert shop.parts() == [("part-00001.ndjson", 0, 6), ("part-00002.ndjson", 6, 2)]


def test_an_answer_that_is_no_json_is_landed_for_its_gate_to_say_so(shop: Shop) -> None:
    shop.server.answer = lambda _: Answer(body=b"<html>maintenance</html>")
    source = shop.source(params=WHO, posts=CURSOR)
    landing = shop.fetch(source, "posts")
    (fault,) = profile(shop.store, shop.store.read(landing["uri"]), records=["data"])["fault"]
    assert fault.startswith("line 1 is not JSON")
    with pytest.raises(LandingError, match="a document is not JSON"):
        shop.load(source, landing)
