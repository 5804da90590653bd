"""Each source's own gates.yml: sound, complete, and about tables and columns that there are."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from include.gates import Gates, load_gates, validate_expectations
from include.gates.check import _columns_of
from include.gates.rules import LAYERS, LayerName

PROJECT = Path(__file__).parents[2]
SOURCES = PROJECT / "include" / "sources"
LINEAGE = {"_landing_id", "_row", "_loaded_at"}
PROFILE = {
    "part", "bytes", "records", "fault", "missing_columns", "new_columns", "refused", "documents", "requests",
    "refused_share",
}  # fmt: skip
SUBJECTS = {"driven": "broadband", "opensea": "nft", "openweather": "weather", "tlc": "taxi", "x": "social"}
"""source -> the folder of its marts; one that is not here has a folder of its name and reads nothing shared"""
NAMES = sorted(path.parent.name for path in SOURCES.glob("*/source.yml"))


def gates(name: str) -> Gates:
    return load_gates(SOURCES / name / "gates.yml")


def source(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((SOURCES / name / "source.yml").read_text(encoding="utf-8"))
    return content


def models() -> dict[str, set[str]]:
    """Model -> its columns, from the yml files of the dbt project."""
    found = {}
    for path in (PROJECT / "dbt_project" / "models").rglob("*.yml"):
        for model in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("models", []):
            found[model["name"]] = {column["name"] for column in model.get("columns", [])}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_great_expectations_takes_every_expectation(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    validate_expectations(gates(name))
    assert capsys.readouterr() == ("", ""), "it is said on an operator's terminal"


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", NAMES)
def test_every_entity_is_judged_in_every_layer_and_can_fail_it(name: str, layer: LayerName) -> None:
    # a run may have landed any one entity alone, and its gate must find something to judge
    gate = gates(name).layer(layer)
    for entity in source(name)["entities"]:
        if layer == "landing":
            assert entity in gate
            continue
        about = [table for table in gate.values() if entity in table.entities]
        assert any(rule.on_failure == "fail" for table in about for rule in table.rules), (
            f"{layer} has none for {entity}"
        )


@pytest.mark.parametrize("name", NAMES)
def test_from_names_entities_of_the_source(name: str) -> None:
    entities = set(source(name)["entities"])
    for layer in LAYERS:
        for table, gate in gates(name).layer(layer).items():
            assert set(gate.entities) <= entities, f"{layer}.{table}"
    assert set(gates(name).landing) == entities


@pytest.mark.parametrize("name", NAMES)
def test_raw_gates_are_about_columns_of_the_files(name: str) -> None:
    for table, gate in gates(name).raw.items():
        entity = source(name)["entities"][table.removeprefix(f"{name}__")]
        is_json = entity["format"] in ("json", "ndjson")
        fields = {"payload", "_key"} if is_json else {field.lower() for field in entity["fields"]}
        for rule in gate.rules:
            assert set(_columns_of(rule)) <= fields | LINEAGE, f"{table}: {rule.expectation}"


@pytest.mark.parametrize("name", NAMES)
def test_landing_gates_are_about_columns_of_the_profile(name: str) -> None:
    for table, gate in gates(name).landing.items():
        for rule in gate.rules:
            assert set(_columns_of(rule)) <= PROFILE, f"{table}: {rule.expectation}"


@pytest.mark.parametrize("layer", ["staging", "marts"])
@pytest.mark.parametrize("name", NAMES)
def test_staging_and_marts_gates_are_about_models_and_columns_that_dbt_documents(name: str, layer: LayerName) -> None:
    documented = models()
    for table, gate in gates(name).layer(layer).items():
        assert table in documented, f"{layer}.{table} is no dbt model"
        for rule in gate.rules:
            assert set(_columns_of(rule)) <= documented[table] | LINEAGE, f"{layer}.{table}: {rule.expectation}"


@pytest.mark.parametrize("name", NAMES)
def test_every_published_model_has_a_gate(name: str) -> None:
    folders = (SUBJECTS[name], "shared") if name in SUBJECTS else (name,)
    marts = PROJECT / "dbt_project" / "models" / "marts"
    published = {path.stem for folder in folders for path in (marts / folder).glob("*.sql")}
    assert published == set(gates(name).marts)
