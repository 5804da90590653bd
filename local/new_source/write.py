"""A plan becomes files: rendered and checked in a folder of their own, then put in their places, all or none."""

import csv
import io
import json
import re
import shutil
import tempfile
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jinja2
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from include.gates import load_gates
from include.pipeline.dbt_sources import sources_yml
from include.pipeline.model import load_source
from local import exact_json
from local.exact_json import Number
from local.home import LocalError
from local.new_source.columns import Column, is_plain, singular
from local.new_source.plan import Plan

SAMPLE_RECORDS, SAMPLE_CHARACTERS = 50, 500_000
"""more are not kept, but for one record"""
_SHOWN_CHARACTERS = 60
_LINEAGE = ("_landing_id", "_row", "_loaded_at")
_JINJA = re.compile(r"\{[{%#]")


def write(plan: Plan, project: Path) -> list[Path]:
    """Write all files of a new source.

    Args:
        plan: What was decided.
        project: The project's folder.

    Returns:
        The files, relative to the project.

    Raises:
        LocalError: A file could not be written; none of them is there then.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-new-source-") as scratch:
        files = _files(plan)
        for path, content in files.items():
            (Path(scratch) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(scratch) / path).write_bytes(content)
        sources = Path(scratch) / "include" / "sources"
        made = load_source(plan.name, sources)
        load_gates(sources / plan.name / "gates.yml")
        staging = Path(scratch) / "dbt_project" / "models" / "staging"
        own = staging / plan.name / f"_{plan.name}__sources.yml"
        own.write_text(sources_yml(made, staging), encoding="utf-8")
        _put(Path(scratch), project)
    return sorted([*map(Path, files), own.relative_to(scratch)])


def _put(scratch: Path, project: Path) -> None:
    """Move every new folder or file to its place; what was moved is taken back when one cannot be."""
    moved: list[Path] = []
    try:
        for source in sorted(scratch.rglob("*")):
            place = project / source.relative_to(scratch)
            if any(place.is_relative_to(done) for done in moved) or (source.is_dir() and place.is_dir()):
                continue
            if place.exists():
                raise FileExistsError(17, "exists already", str(place))
            moved.append(place)
            if source.is_dir():
                shutil.copytree(source, place)
            else:
                shutil.copyfile(source, place)
    except OSError as fault:
        for place in moved:
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)
        raise LocalError(f"nothing was written: {fault.filename or project}: {fault.strerror}") from fault


def _files(plan: Plan) -> dict[str, bytes]:
    """Path -> content of every file but dbt's sources yml, which is made from source.yml."""
    name = plan.name
    own, models = f"include/sources/{name}", "dbt_project/models"
    staging, marts, tests = f"{models}/staging/{name}", f"{models}/marts/{name}", f"tests/sources/{name}"
    records = _masked(plan)
    known = _known(plan, records)
    made = {
        f"{own}/source.yml": "source.yml",
        f"{own}/gates.yml": "gates.yml",
        f"{own}/README.md": "README.md",
        f"{staging}/{plan.staging_model}.sql": "staging.sql",
        f"{staging}/{plan.staging_model}.yml": "staging.yml",
        f"{marts}/_{name}__group.yml": "group.yml",
        f"{marts}/columns.md": "columns.md",
        f"{marts}/exposures.yml": "exposures.yml",
        f"{marts}/{plan.mart}.sql": "mart.sql",
        f"{marts}/{plan.mart}.yml": "mart.yml",
        f"{tests}/test_{name}.py": "test.py",
        f"tests/frame/graphs/{name}.txt": "graph.txt",
    }
    return {
        **{path: _TEMPLATES.get_template(f"{file}.j2").render(known).encode() for path, file in made.items()},
        f"{tests}/__init__.py": b"",
        f"{own}/samples/{plan.entity}.{plan.sample.format}": sample_content(plan, records),
    }


# --- what templates know ----------------------------------------------------------------------------------------------


class _Described:
    """A column as the templates show it: the plan's, or one of lineage."""

    def __init__(self, plan: Plan, column: Column | str) -> None:
        self.is_lineage = isinstance(column, str)
        self.pii: str | None = None
        if isinstance(column, str):
            self.name, self.doc = column, column.lstrip("_")
            self.sql_type = "timestamp with time zone" if column.endswith("_at") else "bigint"
            return
        self.name, self.doc, self.sql_type = column.name, f"{plan.name}__{column.name}", column.sql_type
        self.pii = column.pii
        self.about = _about(plan, column)


def _about(plan: Plan, column: Column) -> str:
    words = column.name.replace("_", " ").strip()
    where = "column" if plan.sample.is_file else "member"
    shown = re.sub(r"[^\w .,:;/@$%&+=()-]", "?", column.original)[:80]
    kinds = {"timestamp": ", UTC", "text": ", as JSON text" if column.is_nested else ""}
    personal = " Personal data." if column.pii else ""  # the docs' list of columns shows no meta
    return f"{words[:1].upper()}{words[1:]}: the {where} `{shown}`{kinds.get(column.type, '')}.{personal}"


def _known(plan: Plan, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sample, columns = plan.sample, plan.columns
    table = f"{plan.name}__{plan.entity}"
    is_upsert = plan.mode == "upsert"
    described = [*(_Described(plan, one) for one in columns), *(_Described(plan, one) for one in _LINEAGE)]
    keys = [column for column in described if column.name in plan.key_names and not column.is_lineage]
    ordered = [*keys, *(column for column in described if column not in keys)]
    originals = [column.original for column in plan.keys]
    if sample.is_file:
        raw_filled, raw_unique = [*originals, "_landing_id", "_row"], originals
    else:
        raw_filled = ["payload", *(["_key"] if is_upsert else []), "_landing_id", "_row"]
        raw_unique = ["_key"] if is_upsert else []
    thing = singular(plan.entity).replace("_", " ")
    keyed = " and ".join(f"`{name}`" for name in plan.key_names)
    grain = f"{thing} ({keyed})" if is_upsert else "record of a landing"
    csv_options = {
        name: value
        for name, value, usual in (("encoding", sample.csv.encoding, "utf-8"), ("delimiter", sample.csv.delimiter, ","))
        if value != usual
    }
    shown = _shown(plan, records[0])
    return {
        "plan": plan,
        "table": table,
        "path": plan.path if "{partition" in plan.path else plan.path.replace("{", "{{").replace("}", "}}"),
        "check": re.split(r"\{", plan.path)[0],
        "about": f"One {thing}, as it came.",
        "csv": csv_options,
        "load": {"mode": plan.mode, **({"keys": originals} if is_upsert else {})},
        "fields": [column for column in columns if sample.is_file or not _JINJA.search(column.original)],
        "columns": ordered,
        "key_columns": keys if is_upsert else [],
        "other_columns": [column for column in ordered if column not in keys and not column.is_lineage],
        "times": [column.name for column in columns if column.type in ("timestamp", "date")],
        "raw_filled": raw_filled,
        "raw_unique": raw_unique,
        "grain": grain,
        "title": plan.entity.replace("_", " "),
        "label": f"{plan.entity.replace('_', ' ').capitalize()} of {plan.name}",
        "paged": ", page by page" if plan.paging else "",
        "landed": "files" if sample.is_file else "answers, one a line",
        "loaded": f"upsert by {' and '.join(originals)}" if is_upsert else "each landing's records beside the others'",
        "credentials": f",\nthe API key as its password (it goes into the {plan.auth.place} `{plan.auth.name}`)."
        if plan.auth
        else "; it wants no key.",
        "count": len(records),
        "given": _yaml_row(_given(plan, shown, records[0]), 12),
        "staged": _yaml_row({name: _expected(column, value) for name, (column, value) in shown.items()}, 12),
        "expected": _yaml_row({name: _expected(column, value) for name, (column, value) in shown.items()}, 10),
    }


def _expression(plan: Plan, described: _Described) -> str:
    """A line of the staging model's select list."""
    column = next(one for one in plan.columns if one.name == described.name)
    note = ""
    if plan.sample.is_file:
        value = column.original
        if not is_plain(value):
            escaped = value.replace('"', '""')
            value, note = f'"{escaped}"', "  -- noqa: RF05, RF06"
        if column.type == "timestamp":
            value = "{{ utc_timestamp('" + value.replace("\\", "\\\\").replace("'", "\\'") + "') }}"
        line = f"{value} as {column.name}," if value != column.name else f"{value},"
    else:
        path = "['" + _in_quotes(column.original) + "']"
        text = f"json_text('payload', {path})"
        line = {
            "bigint": f"{{{{ json_number('payload', {path}, 'bigint') }}}}",
            "double": f"{{{{ json_number('payload', {path}, 'double precision') }}}}",
            "text": f"{{{{ {text} }}}}",
            "boolean": f"cast({{{{ {text} }}}} as boolean)",
            "date": f"cast({{{{ {text} }}}} as date)",
            "timestamp": f"cast({{{{ {text} }}}} as timestamp with time zone)"
            if column.has_offset
            else f"{{{{ utc_timestamp({text}) }}}}",
        }[column.type] + f" as {column.name},"
    too_long = len(line) + 8 > 118
    return line + (f"{note}, LT05" if note and too_long else "  -- noqa: LT05" if too_long else note)


def _in_quotes(text: str) -> str:
    """As a string of Jinja has it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "".join(
        one if one.isprintable() else f"\\x{ord(one):02x}" if ord(one) < 256 else f"\\u{ord(one):04x}"
        for one in escaped
    )


def _field(column: Column) -> str:
    if not column.optional and not column.pii:
        return column.type
    optional = {"optional": True} if column.optional else {}
    return _scalar({"type": column.type, **optional, **({"pii": column.pii} if column.pii else {})})


# --- unit tests -------------------------------------------------------------------------------------------------------


def _shown(plan: Plan, record: Mapping[str, Any]) -> dict[str, tuple[Column, Any]]:
    """The values of a record that are short and plain enough for a unit test: name -> column and value."""
    found = {}
    for column in plan.columns:
        value = record.get(column.original)
        if value is None or isinstance(value, (dict, list, bytes)):
            continue
        text = str(value)
        if column.type == "text" and (not isinstance(value, str) or isinstance(value, Number)):
            continue
        if text == "" or len(text) > _SHOWN_CHARACTERS or not text.isprintable() or _JINJA.search(text):
            continue
        if not plan.sample.is_file and not re.fullmatch(r"[\w .,-]+", column.original):
            continue
        found[column.name] = (column, value)
    return found


def _given(plan: Plan, shown: Mapping[str, tuple[Column, Any]], record: Mapping[str, Any]) -> dict[str, Any]:
    """The row of raw that holds these values."""
    if plan.sample.is_file:
        return {column.original: _raw(column, value) for column, value in shown.values()}
    payload = {column.original: record[column.original] for column, _ in shown.values()}
    key = {"_key": "|".join(str(record[column.original]) for column in plan.keys)} if plan.keys else {}
    lines = ",\n".join(f"  {exact_json.write(name)}: {exact_json.write(value)}" for name, value in payload.items())
    return {"payload": _Block("{\n" + lines + "\n}"), **key}


def _raw(column: Column, value: Any) -> Any:  # noqa: ANN401 - a value of a file
    if column.type == "timestamp" and isinstance(value, str):
        moment = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        return str((moment - (moment.utcoffset() or moment - moment)).replace(tzinfo=None))
    if column.type in ("bigint", "double", "boolean", "date") and isinstance(value, str):
        return yaml.safe_load(value.strip().lower()) if column.type == "boolean" else value.strip()
    return str(value) if isinstance(value, (date, datetime)) else value


def _expected(column: Column, value: Any) -> Any:  # noqa: ANN401 - a value of a record
    if column.type == "timestamp":
        plain = _raw(column, value) if not column.has_offset else str(value)
        return plain if column.has_offset and "T" in str(value) else f"{_raw(column, value)}+00"
    value = _raw(column, value)
    if column.type in ("bigint", "double") and isinstance(value, str):
        return _Plain(value)
    return value


class _Block(str):
    """A text for a block of YAML."""

    __slots__ = ()


class _Plain(str):
    """A text that YAML shows as it is, such as a number with all its digits."""

    __slots__ = ()


def _yaml_row(row: Mapping[str, Any], indent: int) -> str:
    """The members of a row and its lineage, below a dash, the first one right beside it."""
    lines = []
    for name, value in row.items():
        if isinstance(value, _Block):
            lines.append(f"{_scalar(name)}: |\n{textwrap.indent(value, ' ' * (indent + 2))}")
        else:
            lines.append(f"{_scalar(name)}: {value if isinstance(value, _Plain) else _scalar(value)}")
    pad = "\n" + " " * indent
    return " " + pad.join([*lines, "_landing_id: 1", "_row: 0"])


# --- YAML and text ----------------------------------------------------------------------------------------------------


def _scalar(value: Any) -> str:  # noqa: ANN401 - what YAML holds
    """A value as a flow mapping of YAML may hold it."""
    plain = json.loads(json.dumps(value, default=str))
    if isinstance(plain, str) and not plain.isprintable():
        return _quoted(plain)
    if isinstance(plain, str):
        return yaml.safe_dump([plain], default_flow_style=True, width=10**9, allow_unicode=True).strip()[1:-1]
    return (
        yaml.safe_dump(plain, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
        .strip()
        .removesuffix("\n...")
    )


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in escaped) + '"'


def _folded(text: str, indent: int) -> str:
    return textwrap.fill(" ".join(text.split()), 118, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _unique(columns: Sequence[str]) -> dict[str, Any]:
    if len(columns) == 1:
        return {"expect_column_values_to_be_unique": {"column": columns[0]}}
    return {"expect_compound_columns_to_be_unique": {"column_list": list(columns)}}


def _python(names: Sequence[str]) -> str:
    return repr(names[0]) if len(names) == 1 else repr(list(names))


def _yaml_entry(value: Any) -> str:  # noqa: ANN401
    text = _scalar(value)
    # one member as an entry of a list: without the braces around it
    return (
        text[1:-1] if isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("expect_") else text
    )


def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML and SQL, not HTML
    )

    @jinja2.pass_context
    def expression(context: jinja2.runtime.Context, column: _Described) -> str:
        return _expression(context["plan"], column)

    made.filters |= {
        "y": _yaml_entry,
        "quoted": _quoted,
        "folded": _folded,
        "field": _field,
        "unique": _unique,
        "python": _python,
        "expression": expression,
    }
    return made


_TEMPLATES = _templates()


# --- the sample that is kept ------------------------------------------------------------------------------------------


def _masked(plan: Plan) -> list[dict[str, Any]]:
    """The first records, with made-up values for personal data; equal ones stay equal."""
    made: dict[tuple[str, str], Any] = {}
    records: list[dict[str, Any]] = []
    size = 0
    for record in plan.sample.records[:SAMPLE_RECORDS]:
        kept = dict(record)
        for column in plan.columns:
            value = kept.get(column.original)
            if column.pii and value is not None and value != "":
                kept[column.original] = made.setdefault(
                    (column.pii, str(value)), _made_up(column, 1 + sum(kind == column.pii for kind, _ in made), value)
                )
        size += len(str(kept))
        if records and size > SAMPLE_CHARACTERS:
            break
        records.append(kept)
    return records


def _made_up(column: Column, number: int, value: Any) -> Any:  # noqa: ANN401 - a value of a record
    match column.type:
        case "bigint":
            return Number(number) if isinstance(value, Number) else type(value)(number)
        case "date":
            made = date(1970, 1, 1 + number % 28)
            return made.isoformat() if isinstance(value, str) else made
        case "text" if isinstance(value, (dict, list)):
            return type(value)()
        case "text":
            kind = (column.pii or "").replace("_", "-")
            return f"{kind}-{number}@example.com" if column.pii == "email" else f"{kind} {number}"
    return value


def sample_content(plan: Plan, records: Sequence[Mapping[str, Any]]) -> bytes:
    """The sample's file: an answer with these records, or a file of them."""
    sample = plan.sample
    match sample.format:
        case "json":
            kept = _with_records(_without_secrets(plan, sample.document), sample.path, list(records))
            return (_laid_out(kept, sample.path) + "\n").encode()
        case "ndjson":
            wrapped = [_nested(record, sample.path) for record in records]
            return "".join(exact_json.write(record) + "\n" for record in wrapped).encode()
        case "csv":
            text = io.StringIO()
            writer = csv.writer(text, delimiter=sample.csv.delimiter, lineterminator="\n")
            writer.writerow(records[0])
            writer.writerows(record.values() for record in records)
            return text.getvalue().encode(sample.csv.encoding)
        case "xlsx":
            book = openpyxl.Workbook(write_only=True)
            sheet = book.create_sheet("sample")
            for row in (records[0], *(record.values() for record in records)):
                sheet.append(list(row))
            content = io.BytesIO()
            book.save(content)
            return content.getvalue()
    schema = pa.schema([(name, kind) for name, kind in sample.types.items()])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(record) for record in records], schema=schema), sink)
    return sink.getvalue()


def _with_records(document: Any, path: Sequence[str], records: list[Mapping[str, Any]]) -> Any:  # noqa: ANN401 - JSON
    if path:
        return {**document, path[0]: _with_records(document[path[0]], path[1:], records)}
    return records if isinstance(document, list) else records[0]


def _nested(record: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    for key in reversed(path):
        record = {key: record}
    return record


def _without_secrets(plan: Plan, document: Any) -> Any:  # noqa: ANN401 - JSON
    """The document, without the key in a link of it."""
    if isinstance(document, dict):
        return {name: _without_secrets(plan, value) for name, value in document.items()}
    if isinstance(document, str) and not isinstance(document, Number) and plan.auth and plan.auth.place == "query":
        return re.sub(rf"([?&]{re.escape(plan.auth.name)}=)[^&#\s]*", r"\1***", document)
    return document


def _laid_out(value: Any, path: Sequence[str], indent: str = "") -> str:  # noqa: ANN401 - JSON
    """JSON with the members around the records, and the records themselves, one a line."""
    inner = indent + "  "
    if path and isinstance(value, dict):
        lines: Iterable[str] = (
            f"{inner}{exact_json.write(name)}: "
            + (_laid_out(one, path[1:], inner) if name == path[0] else exact_json.write(one))
            for name, one in value.items()
        )
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if not path and isinstance(value, list):
        return "[\n" + ",\n".join(inner + exact_json.write(one) for one in value) + f"\n{indent}]"
    return exact_json.write(value)
