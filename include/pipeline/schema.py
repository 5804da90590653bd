"""The JSON Schema of `source.yml`, for editors: `python -m include.pipeline.schema [--check]` writes it.

An editor with a YAML language server completes and checks a `source.yml` by its first line
(https://github.com/redhat-developer/yaml-language-server#using-inlined-schema).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from include.pipeline.model import SOURCES, Source

PATH = SOURCES / "source.schema.json"
MODELINE = "# yaml-language-server: $schema=../source.schema.json"


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


def main(path: Path = PATH) -> int:
    """Write the schema, or with --check say whether it is as it should be; 1 if it is not."""
    wanted = source_schema()
    if path.is_file() and path.read_text(encoding="utf-8") == wanted:
        return 0
    if "--check" in sys.argv[1:]:
        sys.stdout.write(f"include/sources/{path.name} differs from the model: python -m include.pipeline.schema\n")
        return 1
    path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
