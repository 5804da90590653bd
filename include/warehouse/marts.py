"""Which models are published, and how: said by each model's own yml, read from dbt's manifest.

- `replace_by: [service, source_month]`: the slices that the run's landings touch are deleted and inserted anew
  (`also: {<other mart>: {<column>: <own column>}}`: and those rows that the other mart's rows of these landings name
  and this one holds no more, for a slice that has lost its last row has none to tell of it)
- `mode: upsert`: the rows of the run's landings take the place of those with the same primary key
- `mode: whole`: a small table without landings is made equal to the mart

A column with `meta.pii` holds personal data of that kind (see `masks`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class PublishError(Exception):
    """Nothing was published; the message names the model and the fault."""


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
    match how:
        case {"replace_by": [*columns], **rest} if columns and not rest:
            return Mart(name, keys[0], replace_by=tuple(columns), personal=personal)
        case {"replace_by": [*columns], "also": {**others}, **rest} if columns and not rest and len(others) == 1:
            ((other, named),) = others.items()
            if isinstance(named, dict) and len(named) == 1:
                ((column, own),) = named.items()
                also = (str(other), str(column), str(own))
                return Mart(name, keys[0], replace_by=tuple(columns), also=also, personal=personal)
        case {"mode": "upsert"}:
            return Mart(name, keys[0], personal=personal)
        case {"mode": "whole"}:
            return Mart(name, keys[0], whole=True, personal=personal)
    raise PublishError(
        f"{node['original_file_path']}: meta.publish {how!r} is not one of "
        "replace_by: [columns] (with also: {model: {column: own column}} or without), mode: upsert, mode: whole"
    )
