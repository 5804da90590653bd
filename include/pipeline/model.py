"""The typed model of a source folder's `source.yml`.

A key that is not here is an error, and so is a value out of range; `load_source` turns both into one message that names
file, key, fault and what would be allowed.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

SOURCES = Path(__file__).resolve().parents[1] / "sources"

FieldType = Literal["bigint", "double", "text", "timestamp", "date", "boolean"]
Grain = Literal["hour", "day", "month", "all"]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")


def _snake_case(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not lower snake case of at most 30 letters, digits and underscores")
    return name


Name = Annotated[str, AfterValidator(_snake_case)]


class SourceError(Exception):
    """A source folder is wrong: the message names file, key, fault and what is allowed."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Auth(_Strict):
    """Where the key (the connection's password) goes in a request."""

    place: Literal["query", "header"] = Field(alias="in")
    name: str


class Partition(_Strict):
    """What one landing covers, and how many of them a scheduled run stays behind its date."""

    grain: Grain
    delay: int = Field(default=0, ge=0)


class Param(_Strict):
    """A list that a run may override, in the DAG's form or with `--param`."""

    description: str
    default: tuple[str, ...] = Field(min_length=1)
    choices: tuple[str, ...] | None = None


class Request(_Strict):
    """One GET; `{variable}` is filled from `for_each`, `{partition:%Y-%m}` from the run's partition."""

    path: str = Field(pattern="^/")
    query: dict[str, str] = {}
    for_each: dict[str, str] = {}
    """variable -> the parameter whose values it takes, one request a value"""
    at_once: int = Field(default=1, ge=1, le=32)


class Load(_Strict):
    """How a landing's rows meet those already in raw."""

    mode: Literal["append", "replace", "upsert"]
    keys: tuple[Annotated[str, Field(pattern=r"^\w+(\.\w+)*$")], ...] = ()
    """paths into the document: id, user.id"""

    @model_validator(mode="after")
    def _keys_go_with_upsert(self) -> Load:
        if (self.mode == "upsert") != bool(self.keys):
            raise ValueError("'keys' are needed by mode upsert and allowed with no other")
        return self


class Column(_Strict):
    """A declared column of a tabular file."""

    type: FieldType
    optional: bool = False
    """the file may lack it (upstream added it later); it is null then"""


class Entity(_Strict):
    """One kind of thing that a source serves: one request shape, one raw table."""

    description: str
    request: Request
    format: Literal["json", "parquet", "csv"]
    load: Load
    partition: Partition | None = None
    """where it differs from the source's"""
    when: dict[str, str] = {}
    """parameter -> value: fetched only by runs whose parameter holds the value"""
    lookup: bool = False
    """it accompanies the others: alone it is no reason for a run to go on"""
    on_status: dict[int, Literal["skip", "record", "fail"]] = {}
    """HTTP status -> skip (not published yet), record (the other requests go on) or fail"""
    new_columns: Literal["evolve", "freeze", "discard"] = "evolve"
    fields: dict[str, Column] = {}

    @field_validator("fields", mode="before")
    @classmethod
    def _type_alone_is_enough(cls, fields: object) -> object:
        if not isinstance(fields, dict):
            return fields
        return {name: {"type": column} if isinstance(column, str) else column for name, column in fields.items()}

    @model_validator(mode="after")
    def _files_declare_their_columns(self) -> Entity:
        if (self.format == "json") == bool(self.fields):
            raise ValueError("'fields' are needed by the formats parquet and csv, and not allowed for json")
        if self.load.mode == "upsert" and self.format != "json":
            raise ValueError("load.mode 'upsert' is for format json; files use append or replace")
        return self

    @property
    def columns(self) -> dict[str, str]:
        """Column name as in raw (lower case) -> type."""
        return {name.lower(): column.type for name, column in self.fields.items()}


class Source(_Strict):
    """A whole `source.yml`; `name` is the folder's."""

    name: Name
    description: str
    owner: str
    tags: tuple[str, ...] = ()
    schedule: str
    catchup: bool = False
    """make up for the runs since start_date, one by one"""
    start_date: date | None = None
    connection: str
    check: str = Field(pattern="^/")
    """path that any answer below HTTP 500 proves the API up"""
    check_timeout_seconds: int = Field(default=600, ge=1)
    """how long a run waits for the API to come up"""
    auth: Auth | None = None
    calls_per_minute: int | None = Field(default=None, ge=1)
    """rate budget; a connection's extra `calls_per_minute` goes first, since limits belong to the key"""
    timeout_seconds: float = Field(default=60, gt=0)
    retries: int = Field(default=2, ge=2)
    retry_delay_seconds: int = Field(default=60, ge=0)
    partition: Partition
    params: dict[Name, Param] = {}
    entities: dict[Name, Entity] = Field(min_length=1)

    @model_validator(mode="after")
    def _catchup_has_a_start(self) -> Source:
        if self.catchup != (self.start_date is not None):
            raise ValueError("'start_date' is needed by catchup: true and means nothing without it")
        return self

    @model_validator(mode="after")
    def _parameters_exist(self) -> Source:
        for name, entity in self.entities.items():
            for use in (*entity.when, *entity.request.for_each.values()):
                if use not in self.params:
                    known = ", ".join(self.params) or "none"
                    raise ValueError(f"entities.{name} uses the parameter {use!r}; params has {known}")
        return self

    def table(self, entity: str) -> str:
        """The raw table's name."""
        return f"{self.name}__{entity}"

    def staging_model(self, entity: str) -> str:
        """The dbt staging model's name."""
        return f"stg_{self.name}__{entity}"

    def partition_of(self, entity: str) -> Partition:
        """The entity's partition, or the source's where it has none of its own."""
        return self.entities[entity].partition or self.partition


def source_names(folder: Path = SOURCES) -> list[str]:
    """Names of the source folders, sorted: each sub-folder that has a `source.yml`."""
    return sorted(path.parent.name for path in folder.glob("*/source.yml"))


def load_source(name: str, folder: Path = SOURCES) -> Source:
    """Read and check `<folder>/<name>/source.yml`.

    Raises:
        SourceError: not YAML, a wrong key or a wrong value; one line for each fault.
    """
    path = folder / name / "source.yml"
    where = f"include/sources/{name}/source.yml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SourceError(f"{where}: there is no such file; sources are {', '.join(source_names(folder))}") from None
    except yaml.YAMLError as fault:
        raise SourceError(f"{where}: not valid YAML: {' '.join(str(fault).split())}") from None
    if not isinstance(content, dict):
        raise SourceError(f"{where}: must be a mapping of keys, not {type(content).__name__}")
    if "name" in content:
        raise SourceError(f"{where}: 'name' is not a key: a source is named by its folder")
    try:
        return Source.model_validate({**content, "name": name})
    except ValidationError as faults:
        raise SourceError("\n".join(f"{where}: {_sentence(fault)}" for fault in faults.errors())) from None


def _sentence(fault: ErrorDetails) -> str:
    """One pydantic fault as `key value fault`."""
    key = ".".join(str(step) for step in fault["loc"]) or "the file"
    given, context = fault.get("input"), fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            return f"{key}: no such key{_allowed_beside(fault['loc'])}"
        case "missing":
            return f"{key}: is missing"
        case "literal_error":
            allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ")
            return f"{key} {given!r} is not one of {allowed}"
        case "value_error":
            return f"{key}: {context['error']}" if fault["loc"] else str(context["error"])
        case _:
            return f"{key} {given!r}: {fault['msg']}"


def _allowed_beside(location: tuple[str | int, ...]) -> str:
    """The keys that are allowed where the fault lies, as far as the path leads through our models."""
    below: dict[str | int, type[BaseModel]] = {
        "entities": Entity, "request": Request, "load": Load, "partition": Partition,
        "params": Param, "auth": Auth, "fields": Column,
    }  # fmt: skip
    model: type[BaseModel] = Source
    for step in location[:-1]:
        model = below.get(step, model)
    names = (field.alias or name for name, field in model.model_fields.items() if name != "name" or model is not Source)
    return f"; allowed here are {', '.join(names)}"
