"""dbt's manifest, in the parts that single sources need.

Cosmos reads the whole manifest for every task group, twice a source, and makes an object of each node of it: at 100
sources Airflow's limit of 30 s for a DAG file ended the parse before its last DAG. What it reads here is the source's
own nodes and what depends on them, from a file that is read once.

https://docs.getdbt.com/reference/artifacts/manifest-json
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO

import msgspec
from cosmos.dbt import graph, project

_Resources = dict[str, msgspec.Raw]


@dataclass(frozen=True)
class Part:
    """What Cosmos takes for the path of a manifest: it asks `exists`, opens it to read, and copies a file of its name.

    The copy is for a task whose process holds no manifest: Cosmos keeps it beside what dbt has parsed, and fails
    without. So the name is that of the whole.
    """

    path: Path
    content: bytes = field(repr=False)

    def exists(self) -> bool:
        """Yes."""
        return True

    def open(self, mode: str = "r") -> IO[str] | IO[bytes]:
        """The manifest's JSON, as text or, with `rb`, as bytes."""
        return io.BytesIO(self.content) if "b" in mode else io.StringIO(self.content.decode())

    def __str__(self) -> str:
        """The whole manifest's path."""
        return str(self.path)


def read_project_once() -> None:
    """Have Cosmos read the same dbt_project.yml once for the folder of packages, not once for each task group."""
    graph.get_dbt_packages_subpath = _packages


def part_of(path: Path, source: str) -> Part:
    """The nodes, sources and exposures in a source's staging folder or with its tag, and those that depend on them.

    That is all that the selections `path:models/staging/<source>` and `path:models/marts,tag:<source>` find, and the
    tests of it. Another selection needs all of it.

    Raises:
        FileNotFoundError: There is no manifest.
        msgspec.DecodeError: It is none.
    """
    manifest, own_of, dependents = _read(path, _state(path))
    own = own_of.get(source, set())
    kept = own.union(*(dependents.get(name, ()) for name in own))

    def of(resources: _Resources) -> _Resources:
        return {name: one for name, one in resources.items() if name in kept}

    few = _Manifest(manifest.metadata, of(manifest.nodes), of(manifest.sources), of(manifest.exposures))
    return Part(path, msgspec.json.encode(few))


class _Manifest(msgspec.Struct):
    """What Cosmos reads of a manifest."""

    metadata: msgspec.Raw
    nodes: _Resources
    sources: _Resources
    exposures: _Resources


class _DependsOn(msgspec.Struct):
    nodes: list[str] = []


class _Head(msgspec.Struct):
    """What a node is found by."""

    original_file_path: str = ""
    tags: list[str] = []
    depends_on: _DependsOn = msgspec.field(default_factory=_DependsOn)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _packages(folder: Path) -> str:
    return _packages_as_of(folder, _state(folder / "dbt_project.yml"))


@lru_cache(maxsize=1)
def _packages_as_of(folder: Path, state: tuple[int, int]) -> str:  # noqa: ARG001
    return str(project.get_dbt_packages_subpath(folder))


@lru_cache(maxsize=1)  # of a file as it was: another state is another key
def _read(
    path: Path,
    state: tuple[int, int],  # noqa: ARG001
) -> tuple[_Manifest, Mapping[str, set[str]], Mapping[str, set[str]]]:
    """The manifest, the names of a source's own nodes, and those of the nodes that depend on one."""
    manifest = msgspec.json.decode(path.read_bytes(), type=_Manifest)
    own_of: defaultdict[str, set[str]] = defaultdict(set)
    dependents: defaultdict[str, set[str]] = defaultdict(set)
    decode = msgspec.json.Decoder(_Head).decode
    for name, resource in (manifest.nodes | manifest.sources | manifest.exposures).items():
        head = decode(resource)
        for tag in head.tags:
            own_of[tag].add(name)
        folder = head.original_file_path.replace("\\", "/").split("/")
        if folder[:2] == ["models", "staging"]:
            own_of[folder[2]].add(name)
        for parent in head.depends_on.nodes:
            dependents[parent].add(name)
    return manifest, own_of, dependents
