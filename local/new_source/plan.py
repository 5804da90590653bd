"""All that is decided of a new source: what was asked for, and what follows from the sample for the rest."""

import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from include.pipeline.model import Auth, Cron, Grain, source_names
from include.pipeline.request import Name
from local.home import PROJECT, LocalError
from local.new_source import paging as pages
from local.new_source.columns import Column, columns_of, key_of, snake_case
from local.new_source.sample import FORMATS, Sample

MODES = ("append", "upsert")
LONGEST = 50
"""characters of source and entity together: stg_<source>__<entity> has to fit into the 63 bytes of a name"""

_SECRET = re.compile(
    r"(?i)(api|app|access|auth|client|secret)?[_-]?(key|id_?token|token|secret|password|appid|signature)"
)


@dataclass(frozen=True)
class Wishes:
    """What was asked for, each None (or empty) where nothing was: a flag of the command each.

    Attributes:
        sample: File or URL of an answer, or of a file that the source serves.
        base_url: Scheme, host, port and maybe a path that all of the API's requests share.
        path: The endpoint below it, maybe with a query.
        records: Path of the records in an answer.
        format: json, ndjson, csv, parquet or xlsx.
        paging: See `forms.FORMS`.
        key: Where the API wants its key: header:NAME[:PREFIX], query:NAME or none.
        schedule: Cron expression or preset, UTC.
        keys: Columns that tell records apart.
        mode: append or upsert.
        grain: What one landing covers: hour, day, month or all.
        connection: Id of the Airflow connection.
        owner: Who answers for it.
        entity: What the records are.
        description: What it is, in a sentence.
        pii: column:kind of personal data, or column:none.
    """

    sample: str | None = None
    base_url: str | None = None
    path: str | None = None
    records: str | None = None
    format: str | None = None
    paging: str | None = None
    key: str | None = None
    schedule: str | None = None
    keys: tuple[str, ...] = ()
    mode: str | None = None
    grain: str | None = None
    connection: str | None = None
    owner: str | None = None
    entity: str | None = None
    description: str | None = None
    pii: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A new source, decided.

    Attributes:
        name: The source.
        entity: What its records are.
        base_url: Of the real API.
        path: Of the endpoint.
        query: Its parameters.
        sample: What was found.
        columns: Of the sample.
        keys: Those of them that tell records apart.
        mode: append or upsert.
        paging: request.paging, or None.
        auth: Where the key goes, or None.
        schedule: Cron expression or preset.
        grain: What a landing covers.
        connection: Id of the Airflow connection.
        owner: Who answers for it.
        description: A sentence or two.
    """

    name: str
    entity: str
    base_url: str
    path: str
    query: Mapping[str, str]
    sample: Sample
    columns: Sequence[Column]
    keys: Sequence[Column]
    mode: str
    paging: Mapping[str, Any] | None
    auth: Auth | None
    schedule: str
    grain: str
    connection: str
    owner: str
    description: str

    @property
    def staging_model(self) -> str:
        """The dbt staging model."""
        return f"stg_{self.name}__{self.entity}"

    @property
    def mart(self) -> str:
        """The dbt model that readers see."""
        return f"fact_{self.name}" if self.entity == self.name else f"fact_{self.name}_{self.entity}"

    @property
    def key_names(self) -> list[str]:
        """The mart's primary key: the key columns, or the place in the landing."""
        return [column.name for column in self.keys] if self.mode == "upsert" else ["_landing_id", "_row"]

    @property
    def fresh_hours(self) -> tuple[int, int] | None:
        """Hours after which dbt warns and fails; None where no clock says."""
        hours = {"@hourly": 1, "@daily": 24, "@weekly": 168, "@monthly": 744, "@quarterly": 2232, "@yearly": 8784}
        every = hours.get(self.schedule) or _hours_between(self.schedule)
        return every + 2, 2 * every + 2


def check_name(name: str, project: Path = PROJECT) -> None:
    """Refuse a name that cannot be a source's, or is taken.

    Raises:
        LocalError: With what is wrong, and what would be right.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise LocalError(
            f"{name!r} is no name for a source: lower snake case of at most 30 letters, digits and underscores, "
            f"such as {snake_case(name)[:30]!r}"
        ) from None
    if "__" in name or name.endswith("_"):
        raise LocalError(f"{name!r} is no name for a source: two underscores stand between source and entity")
    models = project / "dbt_project" / "models"
    for taken in (
        project / "include" / "sources" / name,
        models / "staging" / name,
        models / "marts" / name,
        project / "tests" / "sources" / name,
    ):
        if taken.exists():
            known = ", ".join(source_names(project / "include" / "sources"))
            raise LocalError(
                f"{name!r} is taken: {taken.relative_to(project)} exists (sources are {known}); choose another name"
            )
    for file in models.rglob("*.yml"):
        if re.search(rf"^groups:(?:.*\n)*?  - name: {name}$", file.read_text(encoding="utf-8"), re.MULTILINE):
            raise LocalError(f"{name!r} is taken: {file.relative_to(project)} has a group of that name; choose another")


def with_url(wishes: Wishes) -> Wishes:
    """The wishes, with base URL and path taken from the sample's URL where they are not given.

    Raises:
        LocalError: A URL is none.
    """
    if wishes.sample and is_url(wishes.sample):
        parts = urllib.parse.urlsplit(wishes.sample)
        if not wishes.base_url:
            wishes = replace(wishes, base_url=f"{parts.scheme}://{parts.netloc}")
        if not wishes.path:
            given = urllib.parse.urlsplit(wishes.base_url or "").path.rstrip("/")
            below = parts.path.removeprefix(given) or "/"
            wishes = replace(wishes, path=below + (f"?{parts.query}" if parts.query else ""))
    if wishes.base_url:
        parts = urllib.parse.urlsplit(wishes.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise LocalError(
                f"--base-url {wishes.base_url!r} is not like https://api.example.com, without query or key"
            )
    return wishes


def is_url(text: str) -> bool:
    """Whether a sample is to be fetched."""
    return text.startswith(("http://", "https://"))


def auth_of(text: str | None) -> Auth | None:
    """Where the key goes, from header:NAME[:PREFIX], query:NAME or none.

    Raises:
        LocalError: It is none of these.
    """
    if text in (None, "none"):
        return None
    place, _, rest = str(text).partition(":")
    name, colon, prefix = rest.partition(":")
    if place not in ("header", "query") or not re.fullmatch(r"[\w.-]+", name) or (place == "query" and colon):
        raise LocalError(
            f"--key {text!r} is none of header:NAME, header:NAME:PREFIX, query:NAME, none; such as header:x-api-key, "
            "'header:authorization:Bearer ' or query:appid. The key itself goes into the Airflow connection"
        )
    return Auth.model_validate({"in": place, "name": name, "prefix": prefix})


def plan(name: str, wishes: Wishes, sample: Sample) -> Plan:
    """Decide.

    Raises:
        LocalError: A wish does not fit the sample, or is none that can be had.
    """
    split = urllib.parse.urlsplit(wishes.path or "/")
    if not split.path.startswith("/"):
        raise LocalError(f"--path {wishes.path!r} does not begin with a slash; it is what follows the base URL")
    query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
    auth = auth_of(wishes.key)
    if auth and auth.place == "query":
        query.pop(auth.name, None)
    if secret := next(filter(_SECRET.fullmatch, query), None):
        raise LocalError(
            f"the path's parameter {secret!r} looks like a key, which no file should hold: say --key query:{secret},"
            " which leaves it out; the key itself goes into the Airflow connection"
        )
    entity = _entity(name, wishes, split.path)
    paging = None
    if sample.format == "json":
        paging = pages.guessed(sample, query) if wishes.paging is None else pages.parsed(wishes.paging)
    elif wishes.paging not in (None, "none"):
        raise LocalError(f"--paging is for format json; {sample.origin} is {sample.format}, which is one answer")
    for flag, text in (("--owner", wishes.owner), ("--description", wishes.description)):
        if text and re.search(r"\{[{%#]|[\x00-\x1f]", text):
            raise LocalError(
                f"{flag}: dbt would take braces such as {{{{ for Jinja, and it is one line; say it otherwise"
            )
    columns = columns_of(sample, entity, _pii(wishes, sample))
    keys = _keys(wishes, columns, sample)
    mode = _one_of("--mode", wishes.mode, MODES) or ("upsert" if keys else "append")
    if mode == "upsert" and not keys:
        raise LocalError(f"--mode upsert needs --keys; the columns are {', '.join(one.original for one in columns)}")
    if mode != "upsert" and wishes.keys:
        raise LocalError("--keys are for --mode upsert: append keeps every record of every landing")
    grain = _one_of("--grain", wishes.grain, get_args(Grain)) or ("hour" if wishes.schedule == "@hourly" else "day")
    return Plan(
        name=name,
        entity=entity,
        base_url=(wishes.base_url or "").rstrip("/"),
        path=split.path,
        query={one: _literal(value) for one, value in query.items() if one not in pages.parameters(paging)},
        sample=sample,
        columns=columns,
        keys=keys if mode == "upsert" else [],
        mode=mode,
        paging=paging,
        auth=auth,
        schedule=_schedule(wishes.schedule),
        grain=grain,
        connection=_identifier("--connection", wishes.connection) or name,
        owner=wishes.owner or "data-platform",
        description=wishes.description or f"{entity.replace('_', ' ').capitalize()} of {wishes.base_url}.",
    )


def _entity(name: str, wishes: Wishes, path: str) -> str:
    if wishes.entity:
        entity = wishes.entity
        if snake_case(entity) != entity or len(entity) > 30 or "__" in entity:
            raise LocalError(
                f"--entity {entity!r} is not lower snake case of at most 30 characters; {snake_case(entity)[:30]!r}?"
            )
    else:
        steps = [step for step in path.split("/") if step and not re.fullmatch(r"v[0-9.]+|\{.*\}", step)]
        last = re.sub(r"\.(json|ndjson|jsonl|csv|parquet|xlsx)$", "", steps[-1]) if steps else ""
        entity = snake_case(last)[:30].strip("_") if last else "records"
    if len(name) + len(entity) > LONGEST:
        raise LocalError(
            f"{name} and {entity} have more than {LONGEST} characters together, too many for the names of tables: "
            "choose a shorter name, or a shorter --entity"
        )
    return entity


def _pii(wishes: Wishes, sample: Sample) -> dict[str, str]:
    found = {}
    names = {name for record in sample.records for name in record}
    known = names | {snake_case(name) for name in names}
    for one in wishes.pii:
        column, colon, kind = one.rpartition(":")
        if not colon or not re.fullmatch(r"[a-z_]+", kind):
            raise LocalError(f"--pii {one!r} is not COLUMN:KIND, such as mail:email, or COLUMN:none")
        if column not in known:
            raise LocalError(f"--pii {one!r}: there is no such column; the columns are {', '.join(sorted(names))}")
        found[column] = kind
    return found


def _keys(wishes: Wishes, columns: Sequence[Column], sample: Sample) -> list[Column]:
    if wishes.mode == "append" and not wishes.keys:
        return []
    if not wishes.keys:
        return [column for column in key_of(columns) if _is_step(column.original)]
    found = []
    for wish in wishes.keys:
        column = next((one for one in columns if wish in (one.original, one.name)), None)
        if column is None:
            raise LocalError(
                f"--keys: there is no column {wish!r}; the columns are {', '.join(c.original for c in columns)}"
            )
        if not _is_step(column.original):
            raise LocalError(f"--keys: {wish!r} cannot be a key: letters, digits, underscores and dashes only")
        if column.has_nulls:
            raise LocalError(f"--keys: {wish!r} has no value in some record of the sample; a key is never empty")
        found.append(column)
    values = [tuple(str(record[one.original]) for one in found) for record in sample.records]
    if twice := next((value for number, value in enumerate(values) if value in values[:number]), None):
        raise LocalError(f"--keys: two records of the sample have the key {'|'.join(twice)}; name more columns")
    return found


def _schedule(wish: str | None) -> str:
    try:
        return TypeAdapter(Cron).validate_python(wish or "@daily")
    except ValidationError as fault:
        raise LocalError(f"--schedule: {fault.errors()[0]['ctx']['error']}") from None


def _hours_between(cron: str) -> int:
    _, hour, day, month, weekday = cron.split()
    if month != "*":
        return 8784
    if day != "*":
        return 744
    if weekday != "*":
        return 168 if weekday.isalnum() else 96
    return 24 if hour.isdecimal() else 1 if hour == "*" else 12


def _one_of(flag: str, wish: str | None, allowed: Sequence[str]) -> str | None:
    if wish is not None and wish not in allowed:
        raise LocalError(f"{flag} {wish!r} is not one of {', '.join(allowed)}")
    return wish


def _identifier(flag: str, wish: str | None) -> str | None:
    if wish is not None and not re.fullmatch(r"[a-zA-Z][\w-]*", wish):
        raise LocalError(f"{flag} {wish!r} is no id of letters, digits, underscores and dashes")
    return wish


def _is_step(name: str) -> bool:
    """Whether source.yml takes it as a path."""
    return re.fullmatch(r"[\w-]+", name) is not None


def _literal(value: str) -> str:
    """A parameter's value, in which braces that fill nothing are doubled."""
    return (
        value if re.fullmatch(r"(\{partition:[^}]*\}|[^{}])*", value) else value.replace("{", "{{").replace("}", "}}")
    )


def check_format(format: str | None) -> None:
    """Refuse a format that there is none of.

    Raises:
        LocalError: With those that there are.
    """
    _one_of("--format", format, FORMATS)
