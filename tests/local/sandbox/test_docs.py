"""docs/sandbox.md says what there is, and its examples work."""

import json
import re

import pytest
import requests
from fastapi.routing import APIRoute

from local.sandbox.app import SOURCES
from local.sandbox.settings import PREFIX, Settings
from tests.local.sandbox.conftest import PROJECT, Sandbox

TEXT = (PROJECT / "docs" / "sandbox.md").read_text(encoding="utf-8")
RULES = re.findall(r"^\| [^|]+ \| `(\{\"kind\".+\})` \|$", TEXT, re.MULTILINE)


def test_every_setting_is_there_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(SANDBOX_\w+)` \| (.+?) \|", TEXT, re.MULTILINE))

    assert set(rows) == {PREFIX + name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, int):
            assert rows[PREFIX + name.upper()] == str(field.default)
        if isinstance(field.default, dict):
            counts = ",".join(f"{key}:{count}" for key, count in field.default.items())
            assert rows[PREFIX + name.upper()] == f"`{counts}`"


def test_every_route_is_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(cache_dir=tmp_path_factory.mktemp("cache"))
    paths = {
        route.path for build in SOURCES.values() for route in build(settings).routes if isinstance(route, APIRoute)
    }

    assert {path for path in paths if f"`{path}`" not in TEXT} == {"/misc/{name}"}


@pytest.mark.parametrize("rule", RULES)
def test_the_sandbox_takes_each_rule_of_the_table(sandbox: Sandbox, rule: str) -> None:
    sandbox.break_with({"path": "/nowhere", **json.loads(rule)})

    assert len(sandbox.get("/_sandbox/faults").json()) == 1


def test_each_kind_of_rule_is_in_the_table(sandbox: Sandbox) -> None:
    kinds = {json.loads(rule)["kind"] for rule in RULES}
    schema = sandbox.get("/openapi.json").json()["components"]["schemas"]
    known = {one["properties"]["kind"]["const"] for one in schema.values() if "kind" in one.get("properties", {})}

    assert kinds == known


def test_the_example_of_curl_is_what_the_sandbox_takes(sandbox: Sandbox) -> None:
    example = TEXT.split("-d '[", 1)[1].split("]'", 1)[0]

    answer = requests.put(f"{sandbox.url}/_sandbox/faults", json=json.loads(f"[{example}]"), timeout=10)

    assert answer.status_code == 204
