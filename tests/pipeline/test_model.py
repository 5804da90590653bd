"""source.yml is checked: each fault in one sentence with file, key, fault and what is allowed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.pipeline import connections
from include.pipeline.model import SOURCES, Source, SourceError, load_source, source_names

RIGHT: dict[str, Any] = {
    "description": "A shop.",
    "owner": "team",
    "schedule": "@daily",
    "connection": "shop",
    "check": "/health",
    "partition": {"grain": "day"},
    "params": {"towns": {"description": "Which.", "default": ["Oslo"]}},
    "entities": {
        "sales": {
            "description": "Sales.",
            "request": {"path": "/sales", "query": {"town": "{town}"}, "for_each": {"town": "towns"}},
            "format": "json",
            "load": {"mode": "upsert", "keys": ["id"]},
        }
    },
}


def load(folder: Path, content: object, name: str = "shop") -> str:
    """The message that a source.yml is refused with; none is an empty one."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "source.yml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    try:
        load_source(name, folder)
    except SourceError as fault:
        return str(fault)
    return ""


def changed(**keys: object) -> dict[str, Any]:
    return {**RIGHT, **keys}


def entity(**keys: object) -> dict[str, Any]:
    return changed(entities={"sales": {**RIGHT["entities"]["sales"], **keys}})


def file(**keys: object) -> dict[str, Any]:
    described = {"description": "Sales.", "request": {"path": "/sales.csv"}, "format": "csv", "fields": {"a": "text"}}
    return changed(entities={"sales": {**described, "load": {"mode": "append"}, **keys}})


def paged(**paging: object) -> dict[str, Any]:
    return entity(request={"path": "/sales", "paging": paging})


def child(of: str) -> dict[str, Any]:
    visits = entity(request={"path": "/visits/{id}", "for_each": {"id": {"entity": of, "field": "id"}}})
    return changed(entities={**RIGHT["entities"], "visits": visits["entities"]["sales"]})


@pytest.mark.parametrize("name", source_names())
def test_every_source_of_ours_is_right(name: str) -> None:
    assert load_source(name).name == name


def test_the_example_is_right(tmp_path: Path) -> None:
    assert load(tmp_path, RIGHT) == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(shedule="@daily"), "shedule: no such key; allowed here are description, owner, tags, schedule,"),
        ({key: RIGHT[key] for key in RIGHT if key != "owner"}, "owner: is missing"),
        (entity(load={"mode": "upsrt"}), "entities.sales.load.mode 'upsrt' is not one of append, replace, upsert"),
        (entity(load={"mode": "upsert"}), "entities.sales.load: 'keys' are needed by mode upsert"),
        (entity(load={"mode": "append", "keys": ["id"]}), "entities.sales.load: 'keys' are needed by"),
        (entity(load={"mode": "append", "key": ["id"]}), "load.key: no such key; allowed here are mode, keys"),
        (entity(format="jsn"), "entities.sales.format 'jsn' is not one of json, ndjson, csv, parquet, xlsx"),
        (entity(new_columns="freeze"), "entities.sales: new_columns freeze and discard need 'fields'"),
        (file(fields={}), "entities.sales: 'fields' are needed by the formats csv, parquet and xlsx"),
        (file(load={"mode": "upsert", "keys": ["b"]}), "entities.sales: load.keys are columns of 'fields': a"),
        (file(load={"mode": "append"}, cursor={"field": "a", "type": "number", "parameter": "p"}), "'cursor' is for"),
        (file(csv={"encoding": "utf-88"}), "sales.csv.encoding: 'utf-88' is no encoding that Python knows, such as"),
        (file(files="*.csv"), "entities.sales: needs either 'request' or 'files'"),
        (file(request=None, files="*.csv", load={"mode": "replace"}), "'replace' would drop the files before"),
        (file(request=None, files="*.csv", stand_in="{partition:%Y-%m-%d}.csv"), "'stand_in' is for 'request'"),
        (entity(stand_in="{partition:%Y-%m-%d}.json"), "'stand_in' is one file: it is not for format json"),
        (file(stand_in="{partition:%Y-%m}.csv"), "the day of its file; it needs {partition:%Y-%m-%d}, once"),
        (file(stand_in="sales.csv"), "'sales.csv' does not tell the day of its file"),
        (file(stand_in="{partition:%Y%m%d}/{partition:%d}.csv"), "does not tell the day of its file"),
        (file(stand_in="*/{partition:%Y%m%d}.csv"), "entities.sales.stand_in"),
        (entity(load={"mode": "append", "absent": "mark"}), "entities.sales.load: 'absent' is for mode upsert"),
        (entity(load={"mode": "upsert", "keys": ["id"], "absent": "drop"}), "'drop' is not one of keep, mark, delete"),
        (paged(kind="pages"), "request.paging: kind is not one of page, offset, token, cursor, link"),
        (paged(kind="page", parameter="p"), "request.paging: needs 'last' or 'size' to tell which page is the last"),
        (paged(kind="token", parameter="p"), "request.paging.next: is missing"),
        (paged(kind="token", parameter="p", next="a b"), "request.paging.next 'a b': String should match pattern"),
        (paged(kind="token", parameter="p", next="n", nxt="a"), "paging.nxt: no such key; allowed here are max_pages,"),
        (paged(kind="link"), "request.paging: needs either 'next' (a path in the answer) or 'header: true'"),
        (paged(kind="offset", parameter="p", size_parameter="n"), "request.paging.size: is missing"),
        (child("towns"), "entities.visits uses the entity 'towns', which must stand before it; before it stand sales"),
        (entity(extract="extract.py:pages"), "entities.sales.extract: the folder has no file extract.py"),
        (entity(extract="pages"), "entities.sales.extract 'pages': String should match pattern"),
        (changed(schedule="* *"), "schedule: '* *' is neither a cron expression of five fields nor one of @hourly,"),
        (changed(schedule={"assets": []}), "schedule.assets []: Tuple should have at least 1 item"),
        (changed(schedule={"cron": "@daily"}), "schedule: is neither a cron expression nor a mapping of timetable"),
        (changed(schedule={"timetable": "a.B", "args": {}}), "schedule.args: no such key; allowed here are timetable"),
        (child(of=""), "visits.request.for_each.id.entity: '' is not lower snake case"),
        (changed(check=None), "check: is missing; it is needed where an entity has a 'request'"),
        (changed(notify={"failure": ["nobody"]}), "notify.failure.0 'nobody': String should match pattern"),
        (changed(notify={"deadline": {"minutes": 0}}), "notify.deadline.minutes 0: Input should be greater"),
        (entity(format="csv", fields={"a": "txt"}, load={"mode": "append"}), "fields.a.type 'txt' is not one of"),
        (entity(when={"shops": "a"}), "entities.sales uses the parameter 'shops'; params has towns"),
        (changed(partition={"grain": "week"}), "partition.grain 'week' is not one of hour, day, month, all"),
        (changed(queue="a b"), "queue 'a b': String should match pattern"),
        (changed(retries=1), "retries 1: Input should be greater than or equal to 2"),
        (changed(catchup=True), "'start_date' is needed by catchup: true"),
        (changed(start_date="2024-01-01"), "'start_date' is needed by catchup: true"),
        (changed(name="other"), "'name' is not a key: a source is named by its folder"),
        ("description: [", "not valid YAML: "),
        ("just text", "must be a mapping of keys, not str"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_file_and_key(tmp_path: Path, content: object, message: str) -> None:
    said = load(tmp_path, content)
    assert said.startswith("include/sources/shop/source.yml: ")
    assert message in said
    assert len(said.splitlines()) == 1


def test_every_fault_has_its_line(tmp_path: Path) -> None:
    assert len(load(tmp_path, changed(shedule="@daily", retries=0, partition={"grain": "week"})).splitlines()) == 3


def test_a_folder_with_a_bad_name_is_refused(tmp_path: Path) -> None:
    assert "'Shop-1' is not lower snake case" in load(tmp_path, RIGHT, name="Shop-1")


def test_a_source_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(
        SourceError, match=r"nowhere/source\.yml: there is no such file; sources are .*openweather, tlc"
    ):
        load_source("nowhere", SOURCES)


@pytest.mark.parametrize(
    ("parents", "at_once"),
    [
        ({"a": []}, 1),
        ({"a": [], "b": [], "c": []}, 3),
        ({"a": [], "b": ["a"], "c": ["b"]}, 1),
        ({"a": [], "b": ["a"], "c": ["a"]}, 2),
        ({"a": [], "b": [], "c": ["a", "b"]}, 2),
        ({"a": [], "b": ["a"], "c": ["a"], "d": [], "e": [], "f": ["d", "e"]}, 4),
    ],
)
def test_a_key_s_calls_are_shared_by_those_that_are_fetched_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parents: dict[str, list[str]], at_once: int
) -> None:
    entities = {
        name: {
            **RIGHT["entities"]["sales"],
            "request": {
                "path": f"/{name}{''.join(f'/{{{one}}}' for one in before)}",
                "for_each": {one: {"entity": one, "field": "id"} for one in before},
            },
        }
        for name, before in parents.items()
    }
    files = {"files": "*.csv", "format": "csv", "fields": {"a": "text"}, "load": {"mode": "append"}}
    entities["dropped"] = {"description": "Dropped.", **files}
    assert load(tmp_path, changed(entities=entities, calls_per_minute=90)) == ""
    source = load_source("shop", tmp_path)
    assert api_of(source, monkeypatch, {}) == 90 // at_once
    assert api_of(source, monkeypatch, {"calls_per_minute": 600}) == 600 // at_once
    assert api_of(source, monkeypatch, {"calls_per_minute": 1}) == 1


def api_of(source: Source, monkeypatch: pytest.MonkeyPatch, extra: dict[str, int]) -> int | None:
    """The calls a minute of one fetch, with a connection in Airflow's environment."""
    shop = {"conn_type": "http", "host": "shop.example", "schema": "https", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(shop))
    return connections.api_of(source).calls_per_minute
