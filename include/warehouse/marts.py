"""Which models are published, and how: said by each model's own yml, read from dbt's manifest.

- `replace_by: [service, source_month]`: the slices that the run's landings touch are deleted and inserted anew
  (`also: {<other mart>: {<column>: <own column>}}`: and those rows that the other mart's rows of these landings name
  and this one holds no more, for a slice that has lost its last row has none to tell of it)
- `mode: upsert`: the rows of the run's landings take the place of those with the same primary key
- `mode: whole`: a small table without landings is made equal to the mart

`meta.slice_by: [service, source_month]` or `[{month: accessed_at}]` parts a mart into slices: publish books which of
them it changed (`slices`), and what copies marts to elsewhere (the lake, Redshift) takes those alone. Without it a mart
is one slice.

A column with `meta.pii` holds personal data of that kind (see `masks`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

Grain = Literal["day", "month", "year"]
GRAINS: Final[tuple[Grain, ...]] = get_args(Grain)


class PublishError(Exception):
    """Nothing was published; the message names the model and the fault."""


@dataclass(frozen=True)
class SliceBy:
    """One thing by which a mart is parted: the values of a column, or the days, months or years of a time."""

    column: str
    grain: Grain | None = None

    @property
    def name(self) -> str:
        """What it is called: as the column, or `accessed_at_month`."""
        return f"{self.column}_{self.grain}" if self.grain else self.column


@dataclass(frozen=True)
class Mart:
    """A dbt model that is published."""

    name: str
    key: tuple[str, ...]
    replace_by: tuple[str, ...] = ()
    also: tuple[str, str, str] | None = None
    """another mart, its column that names rows which may be gone, and the column of this one that holds those names"""
    whole: bool = False
    personal: Mapping[str, str] = field(default_factory=dict)
    """columns of personal data, each with its kind"""
    slice_by: tuple[SliceBy, ...] = ()
    """how it is parted; a mart without is one slice"""
    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    """the columns that its yml describes -> what it says of them"""


def marts(manifest: Path, tag: str) -> list[Mart]:
    """The published models that carry a dbt tag, sorted by name.

    Args:
        manifest: dbt's manifest.json (https://docs.getdbt.com/reference/artifacts/manifest-json).
        tag: the source's name.

    Raises:
        PublishError: a model with `meta.publish` has no primary key constraint, or the meta cannot be read.
    """
    nodes = json.loads(manifest.read_bytes())["nodes"].values()
    found = [
        _mart(node)
        for node in nodes
        if node["resource_type"] == "model" and tag in node["tags"] and "publish" in node["config"]["meta"]
    ]
    return sorted(found, key=lambda mart: mart.name)


def _mart(node: dict[str, Any]) -> Mart:
    name, how = node["name"], node["config"]["meta"]["publish"]
    keys = [tuple(one["columns"]) for one in node["constraints"] if one["type"] == "primary_key"]
    keys += [
        (column["name"],)
        for column in node["columns"].values()
        for one in column.get("constraints", [])
        if one["type"] == "primary_key"
    ]
    if len(keys) != 1:
        raise PublishError(
            f"{node['original_file_path']}: give the model one primary_key constraint; publish needs its key"
        )
    kinds = {column["name"]: column.get("meta", {}).get("pii") for column in node["columns"].values()}
    personal = {column: str(kind) for column, kind in kinds.items() if kind}
    mart = Mart(
        name,
        keys[0],
        personal=personal,
        slice_by=_slice_by(node, personal),
        description=node.get("description", ""),
        columns={one["name"]: one["description"] for one in node["columns"].values() if one.get("description")},
    )
    match how:
        case {"replace_by": [*columns], **rest} if columns and not rest:
            return replace(mart, replace_by=tuple(columns))
        case {"replace_by": [*columns], "also": {**others}, **rest} if columns and not rest and len(others) == 1:
            ((other, named),) = others.items()
            if isinstance(named, dict) and len(named) == 1:
                ((column, own),) = named.items()
                also = (str(other), str(column), str(own))
                return replace(mart, replace_by=tuple(columns), also=also)
        case {"mode": "upsert"}:
            return mart
        case {"mode": "whole"} if not mart.slice_by:
            return replace(mart, whole=True)
    raise PublishError(
        f"{node['original_file_path']}: meta.publish {how!r} is not one of "
        "replace_by: [columns] (with also: {model: {column: own column}} or without), mode: upsert, mode: whole "
        "(which is one slice, without slice_by)"
    )


def _slice_by(node: dict[str, Any], personal: Mapping[str, str]) -> tuple[SliceBy, ...]:
    given, where = node["config"]["meta"].get("slice_by", []), f"{node['original_file_path']}: meta.slice_by"
    found = []
    for one in given if isinstance(given, list) else [given]:
        match one:
            case str(column):
                found.append(SliceBy(column))
            case {**only} if len(only) == 1 and next(iter(only)) in GRAINS:
                ((grain, of),) = only.items()
                found.append(SliceBy(str(of), cast("Grain", grain)))
            case _:
                raise PublishError(f"{where} {one!r} is neither a column nor one of {', '.join(GRAINS)}: column")
    for by in found:
        if by.column not in {column["name"] for column in node["columns"].values()}:
            raise PublishError(f"{where}: the model has no column {by.column!r}")
        if by.column in personal:  # a slice's values stand in names of objects, which everybody may list
            raise PublishError(f"{where}: {by.column!r} is personal data, which no slice may be named by")
    return tuple(found)
