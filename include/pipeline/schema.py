"""The JSON Schema of `source.yml` for editors, and its reference for people: `python -m include.pipeline.schema`.

With --check it writes nothing and says what differs. An editor with a YAML language server completes and checks a
`source.yml` by its first line (https://github.com/redhat-developer/yaml-language-server#using-inlined-schema).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from include.pipeline.model import SOURCES, Source

SCHEMA = SOURCES / "source.schema.json"
REFERENCE = SOURCES.parents[1] / "docs" / "source-yml.md"
MODELINE = "# yaml-language-server: $schema=../source.schema.json"

_INTRODUCTION = """# source.yml, key by key

All that a source's YAML can say. It is checked when Airflow parses it: a wrong key or value is one line that names
file, key, fault and what would be allowed, and takes no other source with it. Editors that know YAML complete and check
it by `include/sources/source.schema.json`.

Made from the model in `include/pipeline/model.py` by `python -m include.pipeline.schema`; a test sees that it has not
drifted. Examples are the five sources in `include/sources/`.
"""


def source_schema() -> str:
    """The schema's text (https://json-schema.org/draft/2020-12)."""
    schema = Source.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "A Sluice source"
    schema["properties"].pop("name")  # which is the folder's
    schema["required"].remove("name")
    columns = schema["$defs"]["Entity"]["properties"]["fields"]["additionalProperties"]
    # a type alone says a column, see Entity.fields
    schema["$defs"]["Entity"]["properties"]["fields"]["additionalProperties"] = {
        "anyOf": [columns, schema["$defs"]["Column"]["properties"]["type"]]
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def reference() -> str:
    """The reference's text: a table of keys for the source and for each mapping within it, in order of use."""
    schema = json.loads(source_schema())
    sections, waiting, seen = [_INTRODUCTION], [("The source", schema)], set[str]()
    while waiting:
        title, node = waiting.pop(0)
        sections.append(_section(title, node))
        for name in _mappings(node):
            if name not in seen:
                seen.add(name)
                waiting.append((f"`{name}`", schema["$defs"][name]))
    return "\n".join(sections)


def _section(title: str, node: Mapping[str, Any]) -> str:
    required = node.get("required", [])
    words = "" if title == "The source" else f"\n{_one_line(node)}\n"
    rows = [
        f"| `{key}` | {_kind(value)} | {_default(key, value, required)} | {_one_line(value)} |"
        for key, value in node["properties"].items()
    ]
    return "\n".join([f"## {title}", words, "| key | value | default | says |", "|---|---|---|---|", *rows, ""])


def _one_line(node: Mapping[str, Any]) -> str:
    return " ".join(str(node.get("description", "")).split()).replace("|", "\\|")


def _default(key: str, value: Mapping[str, Any], required: list[str]) -> str:
    if key in required:
        return "needed"
    default = value.get("default")
    return "" if default in (None, [], {}, "") or isinstance(default, dict) else f"`{json.dumps(default)}`"


def _kind(value: Mapping[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "$ref" in value:
        return f"[`{_name(value)}`](#{_name(value).lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if one_of := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(one) for one in one_of if one != {"type": "null"}))
    match value.get("type"):
        case "array":
            return f"list of {_kind(value['items'])}"
        case "object" if isinstance(value.get("additionalProperties"), dict):
            return f"mapping to {_kind(value['additionalProperties'])}"
        case "object":
            return "mapping"
        case kind:
            words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
            return words.get(str(kind), "anything")


def _mappings(node: object) -> Iterator[str]:
    """Names of the mappings that a part of the schema refers to."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield _name(node)
        for key, value in node.items():
            if key != "$defs":
                yield from _mappings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _mappings(value)


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rsplit("/", 1)[-1]


def main() -> int:
    """Write both, or with --check say whether they are as they should be; 1 if one is not."""
    drifted = False
    for path, wanted in ((SCHEMA, source_schema()), (REFERENCE, reference())):
        if path.is_file() and path.read_text(encoding="utf-8") == wanted:
            continue
        if "--check" in sys.argv[1:]:
            sys.stdout.write(f"{path.name} differs from the model: python -m include.pipeline.schema\n")
            drifted = True
        else:
            path.write_text(wanted, encoding="utf-8")
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main())
