"""The typed model of a source folder's `gates.yml`.

    marts:                                  # landing, raw, staging, marts: one gate a layer
      fact_taxi_trip:                       # a table (in landing: an entity, whose parts' profile is judged)
        from: [yellow_trips, green_trips]   # entities its rows come from; a run that landed none of them leaves it out
        expect:
          - expect_column_values_to_not_be_null: {column: [trip_key, vendor_key]}
            on_failure: fail                # fail: nothing further down runs; warn: it is recorded, no more
            why: the key readers join on
    staging:
      stg_tlc__yellow_trips:
        expect:
          - expect_column_values_to_not_be_null: {column: picked_up_at}
            on_failure: quarantine          # the rows that are not as expected are held back, the others go on
            at_most: 0.001                  # the share that may be held back, 0.01 if it is not given; over it: fail
            why: a trip without its beginning is in no day

`quarantine` moves rows from raw to the schema `quarantine`, so it is for raw and staging alone, for staging tables that
are views of the raw table of their name (`stg_<source>__<entity>` of `<source>__<entity>`) and show `_landing_id` and
`_row`, and for expectations that say which rows they mean.

Expectations and their arguments are those of Great Expectations (https://greatexpectations.io/expectations), but that
`column` may be a list: the entry then stands for one expectation a column. The query of an unexpected_rows_expectation
may name `{batch}` (the run's rows of the table), `{landing_ids}` and `{entities}` (lists for an SQL `in`), or be
`{lost_rows}` alone: the landings of which the table has not as many rows as their loads have booked.
`{text:payload:a.b}` and `{kind:payload:a.b}` stand for the text and the JSON type of what lies at a path in a column of
JSON, null where nothing does: with them one query serves Postgres and Redshift. With quarantine a query selects
`_landing_id` and `_row`. `from` may be left out: in raw the table's name says it (`<source>__<entity>`), elsewhere the
table is always judged.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Hashable, Iterator, Mapping
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import ErrorDetails

LayerName = Literal["landing", "raw", "staging", "marts"]
LAYERS: tuple[LayerName, ...] = get_args(LayerName)

_OURS = frozenset({"result_format", "catch_exceptions", "meta", "notes", "id", "rendered_content", "severity"})
"""arguments of every expectation in Great Expectations that are not a gates.yml's to set"""


class GatesError(Exception):
    """A gates.yml is wrong: the message names file, key, fault and what is allowed, one line a fault."""


class OnFailure(StrEnum):
    """What an expectation that is not met does to the run."""

    FAIL = "fail"
    WARN = "warn"
    QUARANTINE = "quarantine"


AT_MOST = 0.01
"""share of the rows judged that may be quarantined where a rule does not say"""

KEY = ("_landing_id", "_row")
"""the columns that say which row of raw a row is"""

_BY_QUERY = "unexpected_rows_expectation"
_OF_ROWS = (
    "expect_column_values_",
    "expect_column_value_lengths_",
    "expect_column_pair_values_",
    "expect_select_column_values_",
    "expect_multicolumn_sum_to_equal",
    "expect_multicolumn_values_to_be_equal",
    _BY_QUERY,
)
_OF_NO_ROWS = ("_be_of_type", "_in_type_list", "_be_increasing", "_be_decreasing", "_be_outliers")
"""of the former those that are about a column or an order"""


class Rule(BaseModel):
    """One entry: an expectation, its arguments, what its failure does, and why it is there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expectation: str
    arguments: dict[str, Any]
    on_failure: OnFailure
    at_most: float = Field(default=AT_MOST, gt=0, le=1)
    """with quarantine: the share of the rows judged that may be held back"""
    why: str = Field(min_length=1)

    @model_validator(mode="after")
    def _rows_can_be_held(self) -> Rule:
        if self.on_failure is not OnFailure.QUARANTINE:
            if "at_most" in self.model_fields_set:
                raise ValueError(f"at_most goes with on_failure: quarantine, not with {self.on_failure}")
            return self
        if not self._is_of_rows:
            raise ValueError(
                "on_failure: quarantine is for expectations that say which rows they mean; "
                f"{self.expectation} is about a whole table: choose fail or warn"
            )
        if "mostly" in self.arguments:
            raise ValueError("with on_failure: quarantine it is at_most that says how many rows may fail, not mostly")
        if not self.names_rows:
            raise ValueError(
                "with on_failure: quarantine its query must select _landing_id and _row, by which the rows are found "
                "in raw"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _name_and_arguments(cls, entry: object) -> object:
        """`{<expectation>: {arguments}, on_failure: …, why: …}` -> the fields of this model."""
        if not isinstance(entry, Mapping):
            raise ValueError(f"must be a mapping of an expectation, on_failure and why, not {type(entry).__name__}")
        names = [str(key) for key in entry if key not in ("on_failure", "at_most", "why")]
        if len(names) != 1:
            raise ValueError(
                f"must name one expectation beside on_failure and why; it has {', '.join(names) or 'none'}"
            )
        name = names[0]
        if name not in known_expectations():
            near = difflib.get_close_matches(name, known_expectations(), n=3)
            raise ValueError(
                f"Great Expectations has no expectation {name!r}; "
                + (f"near are {', '.join(near)}" if near else "all are on https://greatexpectations.io/expectations")
            )
        arguments = entry[name] if entry[name] is not None else {}
        if not isinstance(arguments, Mapping):
            raise ValueError(f"{name}: its arguments must be a mapping, not {type(arguments).__name__}")
        if reserved := sorted(_OURS.intersection(arguments)):
            raise ValueError(f"{name}: {', '.join(reserved)} cannot be set in gates.yml")
        rest = {key: value for key, value in entry.items() if key != name}
        return {"expectation": name, "arguments": dict(arguments), **rest}

    @property
    def _is_of_rows(self) -> bool:
        return self.expectation.startswith(_OF_ROWS) and not self.expectation.endswith(_OF_NO_ROWS)

    @property
    def names_rows(self) -> bool:
        """Whether Great Expectations can say by `_landing_id` and `_row` which rows are not as expected."""
        if self.expectation != _BY_QUERY:
            return self._is_of_rows
        query = str(self.arguments.get("unexpected_rows_query", ""))
        if not query.lstrip().lower().startswith("with"):
            query = re.split(r"\bfrom\b", query, maxsplit=1, flags=re.IGNORECASE)[0]
        return all(re.search(rf"\b{name}\b", query) for name in KEY)

    def for_each_column(self) -> Iterator[Rule]:
        """This rule, or where `column` is a list, the rule of each of its columns."""
        columns = self.arguments.get("column")
        if not isinstance(columns, list):
            yield self
            return
        for column in columns:
            yield self.model_copy(update={"arguments": {**self.arguments, "column": column}})


class TableGate(BaseModel):
    """What is expected of one table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entities: tuple[str, ...] = Field(default=(), alias="from")
    expect: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _nothing_twice(self) -> TableGate:
        # Great Expectations drops the second of two equal expectations without a word.
        seen: set[str] = set()
        for rule in self.rules:
            key = json.dumps([rule.expectation, rule.arguments], sort_keys=True, default=str)
            if key in seen:
                raise ValueError(f"{rule.expectation} is there twice with the arguments {rule.arguments}")
            seen.add(key)
        return self

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The entries, those with a list of columns taken apart."""
        return tuple(each for rule in self.expect for each in rule.for_each_column())

    def concerns(self, entities: Collection[str] | None) -> bool:
        """Whether a run that landed these entities put rows into the table (None: any run does)."""
        return entities is None or not self.entities or not set(self.entities).isdisjoint(entities)


Layer = Mapping[str, TableGate]


class Gates(BaseModel):
    """A whole `gates.yml`: for each layer, table -> what is expected of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    landing: dict[str, TableGate] = Field(min_length=1)
    raw: dict[str, TableGate] = Field(min_length=1)
    staging: dict[str, TableGate] = Field(min_length=1)
    marts: dict[str, TableGate] = Field(min_length=1)
    _file: str = PrivateAttr(default="gates.yml")

    @model_validator(mode="after")
    def _names_say_the_entity(self) -> Gates:
        for name, table in self.landing.items():
            if table.entities:
                raise ValueError(
                    f"landing.{name}: 'from' is not for the landing, whose gates are named by their entity"
                )
        for name, table in self.raw.items():
            if not table.entities:
                entity = name.partition("__")[2]
                if not entity:
                    raise ValueError(f"raw.{name}: is not the name of a raw table, <source>__<entity>")
                self.raw[name] = table.model_copy(update={"entities": (entity,)})
        return self

    @model_validator(mode="after")
    def _quarantine_has_a_raw_table(self) -> Gates:
        for layer in LAYERS:
            for name, table in self.layer(layer).items():
                if not any(rule.on_failure is OnFailure.QUARANTINE for rule in table.expect):
                    continue
                if layer not in ("raw", "staging"):
                    what = "a landing is judged as a whole" if layer == "landing" else "a mart's row is made of many"
                    raise ValueError(
                        f"{layer}.{name}: on_failure: quarantine is for raw and staging, whose rows are rows of raw; "
                        f"{what}: choose fail or warn"
                    )
                if layer == "staging" and raw_table(layer, name) not in self.raw:
                    raise ValueError(
                        f"staging.{name}: on_failure: quarantine needs the raw table of its name, and raw has no "
                        f"{raw_table(layer, name)}; it has {', '.join(self.raw)}"
                    )
        return self

    @property
    def file(self) -> str:
        """The file's place below include/, for messages."""
        return self._file

    def layer(self, name: LayerName) -> Layer:
        """The gate of a layer by its name."""
        layer: Layer = getattr(self, name)
        return layer


def raw_table(layer: str, table: str) -> str:
    """The raw table whose rows a table of raw or staging shows; a staging table's is `stg_` and that name."""
    return table.removeprefix("stg_") if layer == "staging" else table


def load_gates(path: Path) -> Gates:
    """Read and check a `gates.yml`, without importing Great Expectations.

    Structure, names of expectations and `on_failure` are checked here, the arguments by `validate_expectations`.

    Args:
        path: the file, `include/sources/<name>/gates.yml`.

    Raises:
        GatesError: there is no such file, it is not YAML, or it has a wrong key or value; one line for each fault.
    """
    file = "/".join(path.parts[-3:])
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _NoKeyTwice)  # noqa: S506 (a CSafeLoader)
    except FileNotFoundError:
        raise GatesError(f"{file}: there is no such file; every source needs its gates") from None
    except yaml.YAMLError as fault:
        raise GatesError(f"{file}: not valid YAML: {' '.join(str(fault).split())}") from None
    if not isinstance(content, dict):
        raise GatesError(f"{file}: must be a mapping of {', '.join(LAYERS)}, not {type(content).__name__}")
    try:
        gates = Gates.model_validate(content)
    except ValidationError as faults:
        raise GatesError("\n".join(f"{file}: {_sentence(fault)}" for fault in faults.errors())) from None
    gates._file = file
    return gates


@cache
def known_expectations() -> frozenset[str]:
    """Names of Great Expectations' own expectations, read from its source text: its import costs seconds."""
    package = find_spec("great_expectations")
    if package is None or not package.submodule_search_locations:
        raise GatesError("Great Expectations is not installed: install requirements.txt")
    core = Path(package.submodule_search_locations[0], "expectations", "core", "__init__.py")
    return frozenset(re.findall(r"^from \.(\w+) import", core.read_text(encoding="utf-8"), re.MULTILINE))


class _NoKeyTwice(yaml.CSafeLoader):
    """YAML whose mappings have no key twice: of two equal tables PyYAML would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag != "tag:yaml.org,2002:merge" and key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} is there twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _sentence(fault: ErrorDetails) -> str:
    """One pydantic fault as `key value fault`."""
    *_, last = fault["loc"] or ("",)
    # `expect` between table and number is left out: marts.fact_taxi_trip[2]
    steps = [step for step in fault["loc"] if step != "expect"] or ["the file"]
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    given = fault.get("input")
    match fault["type"]:
        case "extra_forbidden":
            allowed = LAYERS if len(fault["loc"]) == 1 else ("from", "expect")
            return f"{key}: no such key; allowed here are {', '.join(allowed)}"
        case "missing":
            return f"{key}{'.expect' if last == 'expect' else ''}: is missing"
        case "enum":
            return f"{key} {given!r} is not one of {', '.join(OnFailure)}"
        case "too_short":
            return f"{key}: is empty; a gate that expects nothing is no gate"
        case "value_error":
            return f"{key}: {fault['ctx']['error']}".removeprefix("the file: ")
        case _:
            return f"{key} {given!r}: {fault['msg']}"
