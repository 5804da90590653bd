"""What dbt knows of the raw tables, made from `source.yml`: `python -m include.pipeline.dbt_sources [--check] [NAME]`.

Each source has `dbt_project/models/staging/<source>/_<source>__sources.yml` with its tables, columns, descriptions,
tags of personal data and freshness (https://docs.getdbt.com/reference/source-properties). A test sees that none has
drifted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from include.pipeline.model import Entity, Source, load_source, source_names

STAGING = Path(__file__).resolve().parents[2] / "dbt_project" / "models" / "staging"

_MADE = "# Made from include/sources/{name}/source.yml by `python -m include.pipeline.dbt_sources`: change that one.\n"
_LOADED_AT = "select max(loaded_at) from ops.landing where source = '{source}' and entity = '{entity}'"
_LINEAGE = {name: f"{{{{ doc('{name.lstrip('_')}') }}}}" for name in ("_landing_id", "_row", "_loaded_at")}
_LANDING = {
    "landing_id": "Start of the landing in microseconds since 1970-01-01 UTC; rows carry it as `_landing_id`.",
    "source": "Source that was fetched.",
    "entity": "What of the source.",
    "partition": "What the landing covers: a month (2024-01), a day, an hour (2024-01-31T13) or `all`.",
    "uri": "S3 folder of the parts and the manifest.",
    "sha256": "Hash of the content.",
    "bytes": "Size of the content in bytes.",
    "records": "Records landed.",
    "request": "What was asked, without secrets.",
    "refused": "Requests that were refused one by one while the others went on.",
    "fetched_at": "When it was fetched.",
    "dag_run_id": "Airflow run that landed it.",
    "loaded_at": "When its rows were loaded into `raw`; null before.",
    "loaded_rows": "Rows loaded into `raw`.",
    "superseded_by": "Later landing of the same partition whose rows took the place of this one's.",
    "published_at": "When what it changed was published; null before.",
}


def sources_yml(source: Source, staging: Path = STAGING) -> str:
    """The text of a source's `_<source>__sources.yml`.

    Args:
        source: the source.
        staging: folder of the staging models; one that reads the source's landings makes them a table here.
    """
    made: list[dict[str, Any]] = [
        {
            "name": source.name,
            "description": source.description,
            "schema": "raw",
            "config": {"meta": {"owner": source.owner}, "tags": [source.name, *source.tags]},
            "tables": [_table(source, name, entity) for name, entity in source.entities.items()],
        }
    ]
    reads_landings = f"source('{source.name}', 'landings')"
    if any(reads_landings in model.read_text(encoding="utf-8") for model in (staging / source.name).glob("*.sql")):
        made.append({"name": source.name, "schema": "ops", "tables": [_landings()]})
    content = yaml.dump({"version": 2, "sources": made}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return _MADE.format(name=source.name) + content


def path_of(name: str, staging: Path = STAGING) -> Path:
    """Where a source's file lies."""
    return staging / name / f"_{name}__sources.yml"


def _table(source: Source, name: str, entity: Entity) -> dict[str, Any]:
    table: dict[str, Any] = {
        "name": name,
        "identifier": source.table(name),
        "description": entity.description,
    }
    if entity.freshness:
        table["config"] = {
            # ops.landing has the answer in one row; max(_loaded_at) would read the whole history
            "loaded_at_query": _LOADED_AT.format(source=source.name, entity=name),
            "freshness": {
                "warn_after": {"count": entity.freshness.warn_after_hours, "period": "hour"},
                "error_after": {"count": entity.freshness.error_after_hours, "period": "hour"},
            },
        }
    return table | {"columns": list(_columns(entity))}


def _columns(entity: Entity) -> Iterator[dict[str, Any]]:
    if entity.is_file:
        for name, column in entity.fields.items():
            yield _column(name.lower(), column.description or f"{name}, as it came.", {"pii": column.pii})
    else:
        members = f" Its members: {', '.join(entity.fields)}." if entity.fields else ""
        yield _column("payload", f"The JSON record, as it came.{members}", {"pii": "record" if entity.pii else None})
        if entity.load.keys:
            several = ", joined by a bar" if len(entity.load.keys) > 1 else ""
            yield _column("_key", f"The record's {' and '.join(entity.load.keys)}{several}.")
        if entity.request and entity.has_request:
            yield _column("_request", f"What was asked for: {', '.join(entity.request.for_each)}.")
    if entity.load.absent == "mark":
        yield _column("_absent_since", "Since when landings lack the row; null while they have it.")
    for name, description in _LINEAGE.items():
        yield _column(name, description)


def _landings() -> dict[str, Any]:
    columns = [
        _column(name, text) | ({"quote": True} if name == "partition" else {}) for name, text in _LANDING.items()
    ]
    return {
        "name": "landings",
        "identifier": "landing",
        "description": "One row per landing of any source; what was fetched, when, and how far it has come.",
        "columns": columns,
    }


def _column(name: str, description: str, meta: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    tags = {key: value for key, value in (meta or {}).items() if value}
    if "pii" in tags:
        description = f"{description} Personal data."  # the docs' list of columns shows no meta
    return {"name": name, "description": description} | ({"config": {"meta": tags}} if tags else {})


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, and Jinja in double quotes, as the project's other YAML."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "{{" in text else None)


_Dumper.add_representer(str, _text)


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with --check say which differ; 1 if one does."""
    parser = argparse.ArgumentParser(prog="python -m include.pipeline.dbt_sources", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="sources; all of them by default")
    parser.add_argument("--check", action="store_true", help="write nothing; say which files are not as they should be")
    given = parser.parse_args(arguments)
    drifted = []
    for name in given.names or source_names():
        path, wanted = path_of(name), sources_yml(load_source(name))
        if path.is_file() and path.read_text(encoding="utf-8") == wanted:
            continue
        drifted.append(path)
        if not given.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
    for path in drifted:
        place = path.relative_to(STAGING.parents[2])
        sys.stdout.write(f"{place}: {'differs from its source.yml' if given.check else 'written'}\n")
    return 1 if drifted and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
