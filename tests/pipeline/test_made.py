"""What is made from `source.yml` and its model is as it would be made now."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from include.pipeline import dbt_sources, schema
from include.pipeline.model import SOURCES, Source, load_source, source_names


@pytest.mark.parametrize("name", source_names())
def test_what_dbt_knows_of_a_source_has_not_drifted_from_it(name: str) -> None:
    assert dbt_sources.path_of(name).read_text(encoding="utf-8") == dbt_sources.sources_yml(load_source(name)), (
        "run python -m include.pipeline.dbt_sources"
    )


def test_the_check_names_what_differs_and_writing_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dbt_sources, "STAGING", tmp_path / "a" / "b" / "staging")
    monkeypatch.setattr(dbt_sources.path_of, "__defaults__", (tmp_path / "a" / "b" / "staging",))
    assert dbt_sources.main(["--check", "x"]) == 1
    assert capsys.readouterr().out == "a/b/staging/x/_x__sources.yml: differs from its source.yml\n"
    assert dbt_sources.main(["x"]) == 0
    assert dbt_sources.main(["--check", "x"]) == 0


def made(entity: dict[str, Any], **keys: object) -> dict[str, Any]:
    source = Source.model_validate(
        {
            "name": "shop",
            "description": "A shop.",
            "owner": "team",
            "tags": ["retail"],
            "schedule": "@daily",
            "connection": "shop",
            "check": "/",
            "partition": {"grain": "day"},
            "params": {"towns": {"description": "Which.", "default": ["Oslo"]}},
            "entities": {"sales": {"description": "Sales.", **entity}},
            **keys,
        }
    )
    table: dict[str, Any] = yaml.safe_load(dbt_sources.sources_yml(source))["sources"][0]["tables"][0]
    return table


def test_the_columns_of_documents_are_those_of_raw() -> None:
    table = made(
        {
            "request": {"path": "/s", "for_each": {"town": "towns"}},
            "format": "json",
            "load": {"mode": "upsert", "keys": ["id"], "absent": "mark"},
            "fields": {"id": "text", "buyer": {"type": "text", "pii": "name"}},
            "freshness": {"warn_after_hours": 26, "error_after_hours": 50},
        }
    )
    names = ["payload", "_key", "_request", "_absent_since", "_landing_id", "_row", "_loaded_at"]
    assert [column["name"] for column in table["columns"]] == names
    assert table["columns"][0]["config"] == {"meta": {"pii": "record"}}
    assert table["config"]["freshness"]["warn_after"] == {"count": 26, "period": "hour"}
    assert "where source = 'shop' and entity = 'sales'" in table["config"]["loaded_at_query"]


def test_the_columns_of_files_carry_their_words_and_their_personal_data() -> None:
    table = made(
        {
            "files": "*.csv",
            "format": "csv",
            "load": {"mode": "append"},
            "fields": {"Buyer": {"type": "text", "description": "Who bought.", "pii": "name"}, "Price": "double"},
        }
    )
    assert table["columns"][:2] == [
        {"name": "buyer", "description": "Who bought. Personal data.", "config": {"meta": {"pii": "name"}}},
        {"name": "price", "description": "Price, as it came."},
    ]
    assert "config" not in table


@pytest.mark.parametrize(
    ("path", "made"), [(schema.SCHEMA, schema.source_schema), (schema.REFERENCE, schema.reference)]
)
def test_what_editors_and_readers_are_told_has_not_drifted_from_the_model(path: Path, made: Callable[[], str]) -> None:
    assert path.read_text(encoding="utf-8") == made(), "run python -m include.pipeline.schema"


def test_every_key_is_described() -> None:
    told = json.loads(schema.source_schema())
    bare = [
        f"{name}.{key}"
        for name, node in {"Source": told, **told["$defs"]}.items()
        for key, value in node["properties"].items()
        if not value.get("description") and "const" not in value
    ]
    assert bare == []


@pytest.mark.parametrize("name", source_names())
def test_every_source_fits_the_schema_and_names_it(name: str) -> None:
    text = (SOURCES / name / "source.yml").read_text(encoding="utf-8")
    assert text.startswith(schema.MODELINE + "\n")
    content = json.loads(json.dumps(yaml.safe_load(text), default=str))
    jsonschema.Draft202012Validator(json.loads(schema.source_schema())).validate(content)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shedule", "@daily"),
        ("owner", None),
        ("entities", {}),
        ("calls_per_minute", 0),
        ("partition", {"grain": "week"}),
    ],
)
def test_the_schema_refuses_what_the_model_does(key: str, value: object) -> None:
    content = {**yaml.safe_load((SOURCES / "x" / "source.yml").read_text(encoding="utf-8")), key: value}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json.loads(schema.source_schema())).validate(content)
