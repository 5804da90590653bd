"""What holds for every model: described, owned, keyed, contracted; the rules of dbt-project-evaluator among them.

https://dbt-labs.github.io/dbt-project-evaluator/latest/rules/
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from include.pipeline.model import load_source, source_names
from include.warehouse.masks import MASKS
from tests.dbt.personal import personal_columns
from tests.dbt.project import PROJECT

Node = dict[str, Any]
REPOSITORY = PROJECT.parent


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The manifest, made as it is before Airflow starts: with nothing set in the environment and no database."""
    target = tmp_path_factory.mktemp("parse")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "DBT_"))}
    done = subprocess.run(
        [
            sys.executable, "-m", "dbt.cli.main", "--warn-error", "parse", "--project-dir", str(PROJECT),
            "--profiles-dir", str(PROJECT), "--target-path", str(target), "--log-path", str(target),
        ],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((target / "manifest.json").read_bytes())
    return found


@pytest.fixture(scope="session")
def models(manifest: dict[str, Any]) -> dict[str, Node]:
    """Name -> node of each model."""
    return {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}


def _layer(node: Mapping[str, Any]) -> str:
    return "intermediate" if "intermediate" in node["fqn"] else str(node["fqn"][1])


def _published(models: dict[str, Node]) -> Iterator[Node]:
    return (node for node in models.values() if _layer(node) == "marts")


def _parents(node: Mapping[str, Any], kind: str) -> list[str]:
    return [parent for parent in node["depends_on"]["nodes"] if parent.startswith(f"{kind}.")]


def test_every_model_seed_source_and_column_is_described(manifest: dict[str, Any]) -> None:
    described = [n for n in manifest["nodes"].values() if n["resource_type"] in ("model", "seed")]
    bare = [
        f"{node['name']}.{column}"
        for node in (*described, *manifest["sources"].values())
        for column, text in [
            ("", node["description"]),
            *((c["name"], c["description"]) for c in node["columns"].values()),
        ]
        if not text.strip()
    ]
    assert bare == []


def test_every_model_says_its_grain_first_and_who_owns_it(models: dict[str, Node]) -> None:
    assert [name for name, node in models.items() if not re.match(r"One row per \w+", node["description"])] == []
    assert [name for name, node in models.items() if not (node["config"]["meta"].get("owner") and node["group"])] == []


def test_every_model_has_its_yml_beside_it(models: dict[str, Node]) -> None:
    assert [
        name
        for name, node in models.items()
        if node["patch_path"] != f"sluice://{node['original_file_path'].removesuffix('.sql')}.yml"
    ] == []


def test_every_mart_is_public_with_a_contract_a_key_and_its_way_to_readers(models: dict[str, Node]) -> None:
    for node in _published(models):
        keys = [one for one in node["constraints"] if one["type"] == "primary_key"]
        keys += [one for c in node["columns"].values() for one in c["constraints"] if one["type"] == "primary_key"]
        assert len(keys) == 1, node["name"]
        assert node["contract"]["enforced"], node["name"]
        assert node["access"] == "public", node["name"]
        assert all(column["data_type"] for column in node["columns"].values()), node["name"]
        assert node["schema"] == "marts"
        publish = node["config"]["meta"]["publish"]
        slices = {
            "fact_taxi_trip": ["service", "source_month"],
            "dim_person": ["person_id"],
            "bridge_nft_trait": ["collection_id"],
            "fact_nft_snapshot": ["snapshot_date"],
            "fact_nft_collection_snapshot": ["snapshot_date"],
        }
        also = {"dim_person": {"also": {"fact_network_usage": {"unique_id": "person_key"}}}}
        by_slice = {"replace_by": slices.get(node["name"]), **also.get(node["name"], {})}
        assert publish in ({"mode": "whole"}, {"mode": "upsert"}, by_slice), node["name"]
        assert publish == {"mode": "whole"} or "_landing_id" in node["columns"], node["name"]


def test_every_table_says_how_its_rows_lie_on_redshift(models: dict[str, Node]) -> None:
    for name, node in models.items():
        if node["config"]["materialized"] in ("table", "incremental"):
            dist, sort = node["config"].get("dist"), node["config"].get("sort")
            assert dist in ("all", "even") or dist in node["columns"], name
            assert {*([sort] if isinstance(sort, str) else sort or [""])} <= set(node["columns"]), name


def test_every_row_that_is_published_leads_back_or_says_why_not(models: dict[str, Node]) -> None:
    for node in _published(models):
        lineage = node["config"]["meta"].get("lineage", {})
        if "_landing_id" not in node["columns"]:
            assert lineage.get("none"), f"{node['name']}: no _landing_id, and meta.lineage.none does not say why"
        elif "_row" not in node["columns"]:
            assert lineage.get("rows"), f"{node['name']}: no _row, and meta.lineage.rows does not lead to rows with one"
            assert {"_landing_id", "_row"} <= set(re.findall(r"\b_\w+", lineage["rows"].partition(" from ")[0]))


def test_only_marts_are_published_and_nothing_else_is_public(models: dict[str, Node]) -> None:
    others = [node for node in models.values() if _layer(node) != "marts"]
    assert [node["name"] for node in others if "publish" in node["config"]["meta"]] == []
    assert [node["name"] for node in others if node["access"] == "public" or node["schema"] != "staging"] == []


def test_every_model_is_tagged_for_its_sources_and_its_step(models: dict[str, Node]) -> None:
    sources = set(source_names())
    for name, node in models.items():
        step = "staging" if _layer(node) == "staging" else "marts"
        assert step in node["tags"], name
        assert sources & set(node["tags"]), name
        if node["fqn"][2] == "shared":
            readers = [one for one in models.values() if node["unique_id"] in one["depends_on"]["nodes"]]
            assert sources & {tag for one in readers for tag in one["tags"]} <= set(node["tags"]), name
            assert node["config"]["meta"]["cosmos"] == {"operator_kwargs": {"pool": "shared_models"}}, name


def test_every_model_has_a_tested_primary_key(manifest: dict[str, Any], models: dict[str, Node]) -> None:
    tested: dict[str, set[str]] = {}
    for test in manifest["nodes"].values():
        if test["resource_type"] == "test" and test.get("test_metadata"):
            tested.setdefault(test["attached_node"] or "", set()).add(
                f"{test['test_metadata']['name']}:{test['column_name']}"
            )
    for name, node in models.items():
        tests = tested.get(node["unique_id"], set())
        unique = {one.removeprefix("unique:") for one in tests if one.startswith("unique:")}
        filled = {one.removeprefix("not_null:") for one in tests if one.startswith("not_null:")}
        assert unique & filled or "unique_combination:None" in tests, name


def test_every_key_of_a_dimension_is_tested_against_it(manifest: dict[str, Any], models: dict[str, Node]) -> None:
    related = {
        (test["attached_node"].split(".")[-1], test["column_name"])
        for test in manifest["nodes"].values()
        if test["resource_type"] == "test" and (test.get("test_metadata") or {}).get("name") == "relationships"
    }
    keys = {
        (name, column)
        for name, node in models.items()
        if _layer(node) == "marts" and not name.startswith("dim_")
        for column, about in node["columns"].items()
        if column.endswith("_key") and not any(one["type"] == "primary_key" for one in about["constraints"])
    }
    # dimensions whose key is the upstream's own number or name
    ids = {
        ("fact_weather_observation", "city_id"),
        ("dim_nft", "collection_id"),
        ("fact_nft_collection_snapshot", "collection_id"),
        ("fact_post", "account_id"),
        ("fact_post_engagement", "account_id"),
    }
    assert keys | ids == related


def test_every_model_that_computes_has_a_unit_test(manifest: dict[str, Any], models: dict[str, Node]) -> None:
    tested = {unit["model"] for unit in manifest["unit_tests"].values()}
    assert set(models) - tested == {"stg_tlc__zones"}  # it renames, and no more


def test_tests_of_what_grows_look_at_the_run_alone(manifest: dict[str, Any], models: dict[str, Node]) -> None:
    growing = {
        node["unique_id"]
        for name, node in models.items()
        if "_landing_id" in node["columns"] and name not in ("dim_zone", "stg_tlc__zones", "stg_tlc__trip_files")
    }
    assert [
        test["name"]
        for test in manifest["nodes"].values()
        if test["resource_type"] == "test"
        and test.get("attached_node") in growing
        and test["config"]["where"] != "__run__"
    ] == []


def test_models_are_named_and_placed_by_their_layer(models: dict[str, Node]) -> None:
    prefixes = {
        "staging": r"stg_[a-z0-9_]+__[a-z0-9_]+",
        "intermediate": r"int_[a-z_]+",
        "marts": r"(?!stg_|int_)[a-z]+(_[a-z0-9]+)+",
    }
    for name, node in models.items():
        layer = _layer(node)
        assert re.fullmatch(prefixes[layer], name), name
        if layer == "staging":
            assert name.startswith(f"stg_{node['fqn'][2]}__"), name


def test_columns_are_named_for_what_they_are(models: dict[str, Node]) -> None:
    for node in _published(models):
        for name, column in node["columns"].items():
            kind = column["data_type"]
            assert (kind == "boolean") == bool(re.match(r"(is|has)_", name)), f"{node['name']}.{name}"
            assert not kind.startswith("timestamp") or re.search(r"_at(_local)?$", name), f"{node['name']}.{name}"
            assert kind != "date" or re.search(r"(_date|_day|_month)$", name), f"{node['name']}.{name}"


def test_staging_reads_one_source_and_nothing_else_reads_any(models: dict[str, Node]) -> None:
    for name, node in models.items():
        sources, others = _parents(node, "source"), _parents(node, "model") + _parents(node, "seed")
        if _layer(node) == "staging":
            assert (len(sources), others) == (1, []), name
        else:
            assert sources == [], name
            assert others, name


def test_every_source_and_model_is_used_and_no_source_twice(manifest: dict[str, Any]) -> None:
    children = manifest["child_map"]
    readers = {
        unique_id: [child for child in found if child.split(".")[0] in ("model", "exposure")]
        for unique_id, found in children.items()
    }
    assert [unique_id for unique_id in manifest["sources"] if len(readers[unique_id]) != 1] == []
    assert [
        unique_id
        for unique_id in manifest["nodes"]
        if unique_id.split(".")[0] in ("model", "seed") and not readers[unique_id]
    ] == []


def test_exposures_show_public_models_and_have_owners(manifest: dict[str, Any], models: dict[str, Node]) -> None:
    shown = {name for exposure in manifest["exposures"].values() for name in _parents(exposure, "model")}
    assert {name.split(".")[-1] for name in shown} == {node["name"] for node in _published(models)}
    assert all(exposure["owner"]["email"] for exposure in manifest["exposures"].values())


def test_models_refer_to_relations_through_dbt_alone(models: dict[str, Node]) -> None:
    hard_coded = re.compile(r"(?i)\b(from|join)\s+(raw|staging|marts|analytics|ops)\.")
    forbidden = re.compile(r"(?i)::jsonb|distinct\s+on|generate_series|\bvalues\s*\(")
    for name, node in models.items():
        assert not hard_coded.search(node["raw_code"]), name
        assert not forbidden.search(node["raw_code"]), f"{name}: Redshift has no such thing"


def test_a_test_of_two_models_runs_with_the_later_one(manifest: dict[str, Any], models: dict[str, Node]) -> None:
    def ancestors(unique_id: str) -> set[str]:
        parents = set(manifest["parent_map"].get(unique_id, ()))
        return parents.union(*(ancestors(parent) for parent in parents))

    for test in manifest["nodes"].values():
        if test["resource_type"] == "test":
            tested = set(_parents(test, "model"))
            # one of them is built after all the others, and so the test is run by its task
            assert any(tested <= ancestors(one) | {one} for one in tested) or not tested, test["name"]


def test_sql_is_clean(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sqlfluff", "lint", "dbt_project", "--disable-progress-bar"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def _untold(manifest: Mapping[str, Any]) -> list[str]:
    """Columns of marts that are made of personal fields and say neither `pii: <kind>` nor `not_pii: <why>`."""
    return sorted(
        f"{manifest['nodes'][unique_id]['name']}.{column}"
        for unique_id, columns in personal_columns(manifest).items()
        for column in columns
        if "publish" in manifest["nodes"][unique_id]["config"]["meta"]
        and not {"pii", "not_pii"} & set(manifest["nodes"][unique_id]["columns"][column]["meta"])
    )


def test_what_is_made_of_personal_fields_is_tagged_in_the_marts_or_said_not_to_be(manifest: dict[str, Any]) -> None:
    assert _untold(manifest) == []
    made = {name.split(".")[-1]: columns for name, columns in personal_columns(manifest).items()}
    # the walk arrives: over six models, three renames and a macro
    assert {"person_id", "email"} <= made["dim_person"]
    assert {"age_group", "person_id"} <= made["subscriber_activity"]
    assert made["fact_network_usage"] == {"address_key", "finance_key"}
    assert not [name for name, columns in made.items() if columns and "taxi" in name]


@pytest.mark.parametrize(
    ("model", "code", "column"),
    [
        ("fact_network_usage", "select persons.email as contact from persons\n", "contact"),
        ("fact_network_usage", "select cast(lower(email) as text) as a, b as c,\n {{ f(['iban', 'a']) }} as d\n", "d"),
        ("technical_data", "with x as (select birth_date as y from z), select coalesce(y, 1) as year\n", "year"),
        ("payment_data", "select\n    phone\nfrom sessions", "phone"),
    ],
)
def test_a_personal_field_that_slips_into_a_mart_is_found(
    manifest: dict[str, Any], model: str, code: str, column: str
) -> None:
    nodes = dict(manifest["nodes"])
    node = nodes[f"model.sluice.{model}"]
    columns = {name: about for name, about in node["columns"].items() if "not_pii" not in about["meta"]}
    nodes[f"model.sluice.{model}"] = node | {"raw_code": code, "columns": columns | {column: {"meta": {}}}}
    assert f"{model}.{column}" in _untold({"nodes": nodes})


def test_a_personal_column_is_of_one_kind_everywhere(manifest: dict[str, Any]) -> None:
    kinds: dict[str, set[str]] = {}
    for node in (*manifest["nodes"].values(), *manifest["sources"].values()):
        for name, column in node["columns"].items():
            if kind := column["meta"].get("pii"):
                kinds.setdefault(name, set()).add(kind)
    declared = [load_source(name) for name in source_names()]
    for source in declared:
        for entity in source.entities.values():
            for field, kind in entity.pii.items():
                kinds.setdefault(field.lower(), set()).add(kind)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}
    assert {kind for found in kinds.values() for kind in found} <= {*MASKS, "record"}, (
        "a kind without a mask of its own"
    )


def test_personal_columns_are_recognisable_in_the_docs(manifest: dict[str, Any]) -> None:
    told, tagged = set(), set()
    for node in (*manifest["nodes"].values(), *manifest["sources"].values()):
        for name, column in node["columns"].items():
            told |= (
                {f"{node['name']}.{name}"} if re.search(r"Personal data\.$", column["description"].strip()) else set()
            )
            tagged |= {f"{node['name']}.{name}"} if column["meta"].get("pii") else set()
    assert told == tagged
    assert "dim_person.email" in tagged
    assert "sessions.payload" in tagged
    # an opened column shows what `meta` says: the kind, or why it is none
    site = resources.files("dbt").joinpath("task", "docs", "index.html").read_text(encoding="utf-8")
    assert 'ng-repeat="(k, v) in column.meta"' in site
