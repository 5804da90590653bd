"""The models of a source outside of its DAG: which there are, and dbt run on a slice of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from include.pipeline.model import Source

_BUILT = ("table", "incremental")


class RebuildError(Exception):
    """dbt failed: the message says on which models."""


@dataclass(frozen=True)
class Model:
    """A model that is a table.

    Attributes:
        name: Its name.
        schema: Its schema.
        personal: Columns of personal data -> kind.
    """

    name: str
    schema: str
    personal: Mapping[str, str]


@dataclass(frozen=True)
class DbtProject:
    """The dbt project, and where it builds.

    Attributes:
        folder: The project, with its profiles.
        target: A folder for what dbt makes of it; nobody else's.
        env: Variables that profiles.yml reads: secrets, never to be logged.
        parsed: A folder that holds what dbt has parsed before, to go on from.
    """

    folder: Path
    target: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    parsed: Path | None = None

    @property
    def manifest(self) -> Path:
        """The manifest.json of the project, parsed now if it was not yet."""
        _ = self._parsed
        return self.target / "manifest.json"

    def models(self, source: Source) -> list[Model]:
        """The models of a source that are tables, whatever they hold."""
        nodes = json.loads(self.manifest.read_bytes())["nodes"].values()
        return [
            Model(
                node["alias"],
                node["schema"],
                {
                    column["name"]: str(kind)
                    for column in node["columns"].values()
                    if (kind := column.get("meta", {}).get("pii"))
                },
            )
            for node in nodes
            if node["resource_type"] == "model"
            and source.name in node["tags"]
            and node["config"]["materialized"] in _BUILT
        ]

    def build(self, source: Source, landing_ids: Sequence[int], *, erased: str = "") -> None:
        """Build a source's models with their tests, of these landings.

        Args:
            source: The source.
            landing_ids: The slice.
            erased: column=pseudonym of the one person whose rows are built; everybody's by default.

        Raises:
            RebuildError: A model or a test failed.
        """
        values = json.dumps({"landing_ids": ",".join(map(str, landing_ids)), "erased": erased})
        select = [
            source.dbt.staging or f"path:models/staging/{source.name}",
            source.dbt.marts or f"path:models/marts,tag:{source.name}",
        ]
        self._invoke("build", "--select", *select, "--exclude-resource-type", "unit_test", "--vars", values)

    @cached_property
    def _parsed(self) -> Any:  # noqa: ANN401 - dbt's Manifest
        self.target.mkdir(parents=True, exist_ok=True)
        before = self.parsed / "partial_parse.msgpack" if self.parsed else None
        if before and before.is_file():
            shutil.copy(before, self.target)
        return self._invoke("parse")

    def _invoke(self, *arguments: str) -> Any:  # noqa: ANN401 - as dbt gives it
        from dbt.cli.main import dbtRunner

        parsed = None if arguments[0] == "parse" else self._parsed.deepcopy()
        places = [
            *("--project-dir", str(self.folder), "--profiles-dir", str(self.folder), "--target", "postgres"),
            *("--target-path", str(self.target), "--log-path", str(self.target), "--quiet", "--no-use-colors"),
        ]
        with environment({**self.env, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}):
            result = dbtRunner(manifest=parsed).invoke([*arguments, *places])
        if not result.success:
            ran: Collection[Any] = getattr(result.result, "results", None) or ()
            failed = [one.node.name for one in ran if str(one.status) in ("error", "fail")]
            reason = ", ".join(failed) or type(result.exception).__name__
            raise RebuildError(f"dbt {arguments[0]}: {reason} failed; see dbt.log in {self.target}")
        return result.result


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process, for as long as the context lasts: dbt's profiles.yml reads no others."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
