"""Landings into Redshift's raw: real files on S3, COPY, and what a landing loaded twice, later or badly does."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from include.landing import LandingWriter
from include.warehouse import landings
from include.warehouse.fence import Fence, Superseded
from include.warehouse.load import LoadError
from tests.redshift.warehouse.bench import Bench, documents, trips


def test_parquet_is_fetched_by_redshift_itself_and_a_reload_changes_nothing(bench: Bench) -> None:
    source = bench.source("tlc")
    landing = bench.land(source, "green_trips", trips(500, passenger_count=pa.array([1.0, None] * 250)))
    bench.warehouse.redshift.front.said.clear()
    assert bench.load(source, landing) == 500
    copies = [one for one in bench.warehouse.redshift.front.said if one.startswith("copy ")]
    assert len(copies) == 1
    assert "format as parquet manifest" in copies[0]
    query = f"select * from raw.{source.table('green_trips')} order by _row"
    rows = [row[:-1] for row in bench.rows(query)]
    assert [row[-1] for row in rows] == list(range(500))
    assert bench.load(source, landing) == 500
    assert [row[:-1] for row in bench.rows(query)] == rows
    assert bench.rows(f"select row_count from ops.landing_part where landing_id = {landing['landing_id']}") == [(500,)]
    assert bench.scratch() == 0


def test_numbers_that_would_lose_something_go_through_the_readers_that_say_so(bench: Bench) -> None:
    source = bench.source("tlc")
    landing = bench.land(source, "green_trips", trips(3, passenger_count=pa.array([1.0, 1.5, 2.0])))
    with pytest.raises(
        LoadError, match=r"row 1 \(from 0\): column 'passenger_count' is declared bigint and holds 1\.5"
    ):
        bench.load(source, landing)
    held = bench.source("tlc", green_trips={"quarantine_at_most": 0.5})
    assert bench.load(held, landing) == 2
    found = bench.rows(f"select _row, payload.passenger_count::float from quarantine.{source.table('green_trips')}")
    assert found == [(1, 1.5)]
    assert bench.loaded_rows(landing) == 2


def test_a_later_landing_takes_the_place_of_its_partition_alone(bench: Bench) -> None:
    source = bench.source("tlc")
    table = source.table("green_trips")
    january, february = (
        bench.land(source, "green_trips", trips(3)),
        bench.land(source, "green_trips", trips(4), "2024-02"),
    )
    bench.load(source, january)
    bench.load(source, february)
    again = bench.land(source, "green_trips", trips(5))
    assert bench.load(source, again) == 5
    assert bench.rows(f"select _landing_id, count(*) from raw.{table} group by 1 order by 1") == [
        (february["landing_id"], 4),
        (again["landing_id"], 5),
    ]
    with pytest.raises(LoadError, match=f"was superseded by {again['landing_id']}"):
        bench.load(source, january)


def test_new_columns_of_a_file_are_added(bench: Bench) -> None:
    source = bench.source("tlc")
    landing = bench.land(source, "green_trips", trips(2, Surprise=pa.array(["a", "b"])))
    bench.load(source, landing)
    assert bench.rows(f"select surprise from raw.{source.table('green_trips')} order by 1") == [("a",), ("b",)]


def test_csv_is_converted_on_its_way_and_files_of_the_drop_are_booked(bench: Bench) -> None:
    source = bench.source("driven")
    names = list(source.entities["session_files"].columns)
    lines = [
        ",".join(names),
        ",".join("a'\\\"b" if name == "address" else "1" if "_" not in name else "2024-01-31" for name in names),
    ]
    lines[1] = ",".join("2024-01-31T00:00:00" if name == "accessed_at" else "7" for name in names)
    content = "\n".join(lines).encode()
    landing = bench.land(
        source,
        "session_files",
        lambda w: w.add_file(iter([content]), "csv", origin="s3://b/drop/x.csv", origin_etag="e1"),
    )
    assert bench.load(source, landing) == 1
    assert landings.loaded_files(bench.dsn, source=source.name, entity="session_files") == {("s3://b/drop/x.csv", "e1")}
    assert bench.load(source, landing) == 1
    assert bench.rows(f"select count(*) from raw.{source.table('session_files')}") == [(1,)]


def test_documents_are_keyed_and_a_replay_undoes_nothing(bench: Bench) -> None:
    source = bench.source("openweather")
    table = source.table("observations")
    first = bench.land(
        source, "observations", documents({"id": 1, "dt": 10, "v": "a\\\"ü'"}, {"id": 2, "dt": 10}, city="Oslo")
    )
    second = bench.land(
        source,
        "observations",
        documents({"id": 1, "dt": 10, "v": "b"}, {"id": 3, "dt": 10}, {"id": 3, "dt": 10, "v": "c"}),
    )
    assert bench.load(source, first) == 2
    assert bench.rows(
        f"select payload.v::varchar(20), _request.city::varchar(20) from raw.{table} where _key = '1|10'"
    ) == [("a\\\"ü'", "Oslo")]
    assert bench.load(source, second) == 2
    assert bench.loaded_rows(first) == 1
    assert bench.load(source, first) == 1
    rows = bench.rows(f"select _key, payload.v::varchar(20), _landing_id, _row from raw.{table} order by 1")
    assert rows == [
        ("1|10", "b", second["landing_id"], 0),
        ("2|10", None, first["landing_id"], 1),
        ("3|10", "c", second["landing_id"], 2),
    ]


@pytest.mark.parametrize(("absent", "left"), [("mark", [("a", False), ("b", True)]), ("delete", [("a", False)])])
def test_what_a_complete_landing_lacks_is_marked_or_deleted(bench: Bench, absent: str, left: list[Any]) -> None:
    source = bench.source("x", accounts={"load": {"mode": "upsert", "keys": ["id"], "absent": absent}})
    for ids in ("ab", "a"):
        pages: list[dict[str, object]] = [{"data": {"id": one}} for one in ids]
        bench.load(source, bench.land(source, "accounts", documents(*pages)))
    columns = "_key, _absent_since is not null" if absent == "mark" else "_key, false"
    assert bench.rows(f"select {columns} from raw.{source.table('accounts')} order by 1") == left


def test_the_cursor_goes_on_and_never_back(bench: Bench) -> None:
    source = bench.source("x")

    def page(*ids: int) -> Callable[[LandingWriter], object]:
        records = [{"id": str(one), "created_at": f"2024-01-0{one % 9 + 1}T23:30:00-01:00"} for one in ids]
        return documents({"data": records}, user_id="7")

    late, early = bench.land(source, "posts", page(18, 9)), bench.land(source, "posts", page(10))
    bench.load(source, late)
    bench.load(source, early)
    cursor = source.entities["posts"].cursor
    assert cursor is not None
    found = landings.cursor(bench.dsn, source.name, "posts", {"user_id": "7"}, kind=cursor.type, before=None)
    assert found == "18"
    days = bench.rows(
        f"select \"day\"::varchar(10), value from ops.cursor_mark where source = '{source.name}' order by 1"
    )
    assert days == [("2024-01-02", "18"), ("2024-01-03", "10")]


def test_a_record_without_its_key_is_held_or_stops_the_load(bench: Bench) -> None:
    source = bench.source("openweather")
    landing = bench.land(source, "observations", documents({"id": 1, "dt": 1}, {"id": 2}))
    with pytest.raises(LoadError, match=r"row 1 \(from 0\): lacks a value for the key"):
        bench.load(source, landing)
    assert bench.rows(f"select count(*) from raw.{source.table('observations')}") == [(0,)]
    assert bench.loaded_rows(landing) is None
    held = bench.source("openweather", observations={"quarantine_at_most": 0.5})
    assert bench.load(held, landing) == 1
    assert bench.rows(f"select _row, payload.id::int from quarantine.{source.table('observations')}") == [(1, 2)]
    assert bench.scratch() == 0


def test_a_try_that_was_given_up_commits_nothing(bench: Bench) -> None:
    source = bench.source("openweather")
    landing = bench.land(source, "observations", documents({"id": 1, "dt": 1}))
    old, new = Fence("openweather/run/load", 1), Fence("openweather/run/load", 2)
    old.enter(bench.dsn)
    new.enter(bench.dsn)
    with pytest.raises(Superseded, match="a later try has taken over"):
        bench.load(source, landing, fence=old)
    assert bench.rows(f"select count(*) from raw.{source.table('observations')}") == [(0,)]
    assert bench.load(source, landing, fence=new) == 1
    with pytest.raises(Superseded):
        old.enter(bench.dsn)
