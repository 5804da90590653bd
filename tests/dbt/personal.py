"""Which columns of dbt's models are made of personal fields of source.yml, as far as names lead.

A column is taken for one if it has the name of a personal column of any model or source that its model reads, or if the
expression before its `as <name>` mentions one, directly or over other names of the same model.

Limit: values that come over a name that no model's yml tells of beyond the model itself, over `select *` under another
name, out of a macro's body, or only by a `where`, `join` or `order by`, are not followed.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from include.pipeline.model import load_source, source_names

_CLAUSE = re.compile(r"\b(select|from)\b")


def personal_columns(manifest: Mapping[str, Any]) -> dict[str, set[str]]:
    """Unique id of each model -> its columns that are made of personal fields."""
    found: dict[str, set[str]] = {}
    for name in source_names():
        for entity, about in load_source(name).entities.items():
            found[f"source.sluice.{name}.{entity}"] = {field.lower() for field in about.pii}

    def of(unique_id: str) -> set[str]:
        if unique_id not in found:
            found[unique_id] = set()
            node = manifest["nodes"].get(unique_id, {})
            if node.get("resource_type") == "model":
                names = set().union(*(of(parent) for parent in node["depends_on"]["nodes"]))
                names |= {name for name, column in node["columns"].items() if column["meta"].get("pii")}
                made = list(renamed(node["raw_code"]))
                while more := {alias for alias, words in made if names & words} - names:
                    names |= more
                found[unique_id] = names & set(node["columns"])
        return found[unique_id]

    return {unique_id: of(unique_id) for unique_id in manifest["nodes"] if unique_id.startswith("model.")}


def renamed(code: str) -> Iterator[tuple[str, set[str]]]:
    """Each `<expression> as <alias>` of a query's select lists: the alias, and the words of the expression."""
    code = re.sub(r"--[^\n]*|\{#.*?#\}", "", code, flags=re.DOTALL)
    for found in re.finditer(r"\bas\s+(\w+)(?=\s*(,|\n|$)|\s+from\b)", code):
        yield found[1], set(re.findall(r"\w+", code[_beginning(code, found.start()) : found.start()]))


def _beginning(code: str, end: int) -> int:
    """Where the expression that ends there begins: behind a comma, a bracket or the word `select` of its own level."""
    depth = 0
    for place in range(end - 1, -1, -1):
        if code[place] in ")]}":
            depth += 1
        elif code[place] in "([{":
            depth -= 1
            if depth < 0:
                return place + 1
        elif depth == 0 and (code[place] == "," or _CLAUSE.match(code, place)):
            return place + 1
    return 0
