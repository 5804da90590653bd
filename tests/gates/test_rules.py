"""gates.yml is read without Great Expectations, and what is wrong in it is said in one message."""

import subprocess
import sys
from pathlib import Path

import pytest

from include.gates import GatesError, OnFailure, load_gates, validate_expectations
from include.gates.rules import known_expectations
from tests.gates.conftest import GatesFile, entry

PROJECT = Path(__file__).parents[2]
NOT_NULL = "expect_column_values_to_not_be_null"


def test_loading_gates_does_not_import_great_expectations() -> None:
    code = (
        "import sys; from pathlib import Path; from include.gates import load_gates\n"
        "for path in Path('include/sources').glob('*/gates.yml'): load_gates(path)\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('great_expectations', 'pandas')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_known_expectations_hold_all_that_great_expectations_registers() -> None:
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    ours = {"counted_rows_expectation", "keys_of_rows_expectation"}
    assert set(list_registered_expectation_implementations()) - ours <= known_expectations()


def test_an_expectation_that_great_expectations_no_longer_registers_is_refused(gates_of: GatesFile) -> None:
    gates = gates_of("marts", "fact", entry("expect_multicolumn_values_to_be_unique", column_list=["a", "b"]))
    with pytest.raises(GatesError, match=r"marts\.fact\[0\] expect_multicolumn_values_to_be_unique: .*not found"):
        validate_expectations(gates)


def test_one_entry_with_a_list_of_columns_is_one_expectation_a_column(gates_of: GatesFile) -> None:
    gates = gates_of(
        "raw", "tlc__rides", f"{{{NOT_NULL}: {{column: [rider, fare], mostly: 0.5}}, on_failure: fail, why: w}}"
    )
    assert [rule.arguments for rule in gates.raw["tlc__rides"].rules] == [
        {"column": "rider", "mostly": 0.5},
        {"column": "fare", "mostly": 0.5},
    ]
    assert {rule.on_failure for rule in gates.raw["tlc__rides"].rules} == {OnFailure.FAIL}


def test_a_raw_table_is_of_the_entity_in_its_name(gates_of: GatesFile) -> None:
    gates = gates_of("raw", "tlc__rides", f"{{{NOT_NULL}: {{column: fare}}, on_failure: fail, why: w}}")
    assert gates.raw["tlc__rides"].entities == ("rides",)
    assert gates.raw["tlc__rides"].concerns(["rides", "zones"])
    assert not gates.raw["tlc__rides"].concerns(["zones"])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            f"{{{NOT_NULL}: {{column: fare}}, on_failure: fial, why: w}}",
            "gates.yml: raw.tlc__rides[1].on_failure 'fial' is not one of fail, warn, quarantine",
        ),
        (
            f"{{{NOT_NULL}: {{column: fare}}, on_failure: fail, at_most: 0.1, why: w}}",
            "gates.yml: raw.tlc__rides[1]: at_most goes with on_failure: quarantine, not with fail",
        ),
        (
            f"{{{NOT_NULL}: {{column: fare}}, on_failure: quarantine, at_most: 0, why: w}}",
            "gates.yml: raw.tlc__rides[1].at_most 0: ",
        ),
        (
            f"{{{NOT_NULL}: {{column: fare, mostly: 0.9}}, on_failure: quarantine, why: w}}",
            "gates.yml: raw.tlc__rides[1]: with on_failure: quarantine it is at_most that says",
        ),
        (
            "{expect_column_max_to_be_between: {column: fare, max_value: 9}, on_failure: quarantine, why: w}",
            "gates.yml: raw.tlc__rides[1]: on_failure: quarantine is for expectations that say which rows they mean; "
            "expect_column_max_to_be_between is about a whole table: choose fail or warn",
        ),
        (
            "{expect_compound_columns_to_be_unique: {column_list: [fare, rider]}, on_failure: quarantine, why: w}",
            "gates.yml: raw.tlc__rides[1]: on_failure: quarantine is for expectations that say which rows",
        ),
        (
            "{unexpected_rows_expectation: {unexpected_rows_query: 'select _row from {batch} where _landing_id > 0'}, "
            "on_failure: quarantine, why: w}",
            "gates.yml: raw.tlc__rides[1]: with on_failure: quarantine its query must select _landing_id and _row",
        ),
        (
            "{expect_column_values_not_be_null: {column: fare}, on_failure: fail, why: w}",
            "raw.tlc__rides[1]: Great Expectations has no expectation 'expect_column_values_not_be_null'; near are "
            f"{NOT_NULL}",
        ),
        (f"{{{NOT_NULL}: {{column: fare}}, why: w}}", "gates.yml: raw.tlc__rides[1].on_failure: is missing"),
        (f"{{{NOT_NULL}: {{column: fare}}, on_failure: fail}}", "gates.yml: raw.tlc__rides[1].why: is missing"),
        (
            "{on_failure: fail, why: w}",
            "gates.yml: raw.tlc__rides[1]: must name one expectation beside on_failure and why; it has none",
        ),
        (
            f"{{{NOT_NULL}: {{column: fare}}, severity: fail, on_failure: fail, why: w}}",
            f"raw.tlc__rides[1]: must name one expectation beside on_failure and why; it has {NOT_NULL}, severity",
        ),
        (f"{NOT_NULL}", "gates.yml: raw.tlc__rides[1]: must be a mapping"),
        (
            f"{{{NOT_NULL}: {{column: fare, catch_exceptions: false}}, on_failure: fail, why: w}}",
            f"gates.yml: raw.tlc__rides[1]: {NOT_NULL}: catch_exceptions cannot be set in gates.yml",
        ),
        (
            f"{{{NOT_NULL}: {{column: rider}}, on_failure: warn, why: again}}",
            f"gates.yml: raw.tlc__rides: {NOT_NULL} is there twice with the arguments {{'column': 'rider'}}",
        ),
    ],
)
def test_a_wrong_entry_is_named_with_file_key_fault_and_what_is_allowed(
    gates_of: GatesFile, second: str, message: str
) -> None:
    with pytest.raises(GatesError) as error:
        gates_of("raw", "tlc__rides", f"{{{NOT_NULL}: {{column: rider}}, on_failure: fail, why: w}}", second)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raw: [", "not valid YAML"),
        ("- raw", "must be a mapping of landing, raw, staging, marts, not list"),
        ("raw: {}\nraw: {}", "the key 'raw' is there twice"),
        ("raw: {a__b: {expect: []}}", "raw.a__b: is empty; a gate that expects nothing is no gate"),
        ("raw: {a__b: {}}", "raw.a__b.expect: is missing"),
        ("raw: {}", "raw: is empty"),
        ("rwa: {}", "rwa: no such key; allowed here are landing, raw, staging, marts"),
        ("raw: {a__b: {form: [x]}}", "raw.a__b.form: no such key; allowed here are from, expect"),
        ("landing: {}", "marts: is missing"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "gates.yml").write_text(text, encoding="utf-8")
    with pytest.raises(GatesError) as error:
        load_gates(tmp_path / "gates.yml")
    assert message in str(error.value)
    assert "gates.yml: " in str(error.value)


@pytest.mark.parametrize(
    ("layer", "table", "message"),
    [
        (
            "landing",
            "rides",
            "landing.rides: on_failure: quarantine is for raw and staging, whose rows are rows of raw",
        ),
        (
            "marts",
            "fact",
            "marts.fact: on_failure: quarantine is for raw and staging, whose rows are rows of raw; a mart",
        ),
        (
            "staging",
            "stg_tlc__all",
            "staging.stg_tlc__all: on_failure: quarantine needs the raw table of its name, and ",
        ),
    ],
)
def test_rows_are_quarantined_only_where_they_are_rows_of_raw(
    gates_of: GatesFile, layer: str, table: str, message: str
) -> None:
    with pytest.raises(GatesError) as error:
        gates_of(layer, table, entry(NOT_NULL, "quarantine", column="fare"))
    assert message in str(error.value)
    assert gates_of("staging", "stg_tlc__rides", entry(NOT_NULL, "quarantine", column="fare"))


def test_a_source_without_gates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GatesError, match=r"gates.yml: there is no such file"):
        load_gates(tmp_path / "gates.yml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{colum: fare}", "no such argument 'colum'; it takes column, mostly, row_condition"),
        ("{mostly: 0.5}", "the argument 'column' is missing"),
        ("{column: fare, mostly: 7}", "mostly 7: "),
    ],
)
def test_wrong_arguments_are_found_by_great_expectations_own_class(
    gates_of: GatesFile, arguments: str, message: str
) -> None:
    gates = gates_of("marts", "fact", f"{{{NOT_NULL}: {arguments}, on_failure: fail, why: w}}")
    with pytest.raises(GatesError) as error:
        validate_expectations(gates)
    assert f"gates.yml: marts.fact[0] {NOT_NULL}: " in str(error.value)
    assert message in str(error.value)
