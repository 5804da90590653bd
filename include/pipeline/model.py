"""The typed model of a source folder's `source.yml`.

A key that is not here is an error, and so is a value out of range; `load_source` turns both into one message that names
file, key, fault and what would be allowed. Editors know it as `include/sources/source.schema.json`, made by
`python -m include.pipeline.schema`.
"""

from __future__ import annotations

import ast
import codecs
import re
import types
import typing
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from croniter import croniter
from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from include.extract.paging import PAGING, KeyPath, Strict
from include.pipeline.request import Cursor, Name, Request

SOURCES = Path(__file__).resolve().parents[1] / "sources"

FieldType = Literal["bigint", "double", "text", "timestamp", "date", "boolean"]
Grain = Literal["hour", "day", "month", "all"]
PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
LABELS: dict[Grain, str] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m", "all": "all"}
"""how a partition of a grain is written"""
PARTITION = re.compile(r"\{partition:([^}]*)\}")
"""where a path or key says its partition, with the form of strftime"""
JSON_FORMATS = ("json", "ndjson")
FILE_FORMATS = ("csv", "parquet", "xlsx")


class SourceError(Exception):
    """A source folder is wrong: the message names file, key, fault and what is allowed."""


def _cron(schedule: str) -> str:
    if schedule not in PRESETS and not (len(schedule.split()) == 5 and croniter.is_valid(schedule)):
        raise ValueError(f"{schedule!r} is neither a cron expression of five fields nor one of {', '.join(PRESETS)}")
    return schedule


Cron = Annotated[str, AfterValidator(_cron)]
Mail = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
Callable_ = Annotated[
    str, Field(pattern=r"^\w+\.py:\w+$", description="A function of the source's folder: extract.py:pages")
]


class Timetable(Strict):
    """A schedule that cron cannot say: an Airflow timetable by its path."""

    timetable: str = Field(pattern=r"^\w+(\.\w+)+$")
    """path of the class, such as airflow.sdk.DeltaTriggerTimetable"""
    arguments: dict[str, Any] = Field(default={})
    """its keyword arguments"""


class Assets(Strict):
    """The DAG runs when all of these have been updated; `analytics_<source>` is updated by that source's publish."""

    assets: tuple[str, ...] = Field(min_length=1)
    """names of the assets, such as analytics_tlc"""


def _schedule_kind(schedule: object) -> str | None:
    if isinstance(schedule, str):
        return "by_cron"
    given = schedule if isinstance(schedule, dict) else vars(schedule)
    return next((f"by_{kind}" for kind in ("timetable", "assets") if kind in given), None)


Schedule = Annotated[
    Annotated[Cron, Tag("by_cron")] | Annotated[Timetable, Tag("by_timetable")] | Annotated[Assets, Tag("by_assets")],
    Discriminator(
        _schedule_kind,
        custom_error_type="schedule_kind",
        custom_error_message="is neither a cron expression nor a mapping of timetable and arguments, or of assets",
    ),
]


class Auth(Strict):
    """Where the key (the connection's password) goes in a request."""

    place: Literal["query", "header"] = Field(alias="in")
    """a query parameter or a header"""
    name: str
    """its name"""
    prefix: str = ""
    """what stands before the key: "Bearer " """


class Partition(Strict):
    """What one landing covers, and how many of them a scheduled run stays behind its date."""

    grain: Grain
    """what one landing covers; all for what has no date"""
    delay: int = Field(default=0, ge=0)
    """how many partitions a scheduled run stays behind its date"""


class Param(Strict):
    """A list that a run may override, in the DAG's form or with `--param`, and an Airflow Variable for all runs."""

    description: str
    """for the form"""
    default: tuple[str, ...] = Field(min_length=1)
    """the values where nobody says others"""
    choices: tuple[str, ...] | None = None
    """the only values there are; any by default"""


class Load(Strict):
    """How a landing's rows meet those already in raw."""

    mode: Literal["append", "replace", "upsert"]
    """append keeps every landing, replace the newest of each partition, upsert the newest row of each key"""
    keys: tuple[KeyPath, ...] = ()
    """paths into the record (id, user.id), or columns of a file"""
    absent: Literal["keep", "mark", "delete"] = "keep"
    """what becomes of an upsert's rows that a landing no longer has; anything but keep needs landings that are whole"""

    @model_validator(mode="after")
    def _keys_go_with_upsert(self) -> Load:
        if (self.mode == "upsert") != bool(self.keys):
            raise ValueError("'keys' are needed by mode upsert and allowed with no other")
        if self.absent != "keep" and self.mode != "upsert":
            raise ValueError("'absent' is for mode upsert: replace has what the landing has, append keeps all")
        return self


class Column(Strict):
    """A declared column of a file, or top-level member of a JSON record."""

    type: FieldType
    """type in raw"""
    description: str = ""
    """for the docs"""
    optional: bool = False
    """the file or record may lack it; it is null then"""
    pii: str | None = None
    """it holds personal data, of this kind: name, email, address, iban, …"""


class Csv(Strict):
    """How the CSV files differ from RFC 4180 in UTF-8."""

    encoding: str = "utf-8"
    """of files without a byte order mark: utf-8, cp1252, latin-1, …"""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """between fields"""
    quote: str = Field(default='"', min_length=1, max_length=1)
    """around fields"""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(f"{encoding!r} is no encoding that Python knows, such as utf-8 or cp1252") from None
        return encoding


class Freshness(Strict):
    """Since the newest load: when dbt warns, and when it fails."""

    warn_after_hours: int = Field(ge=1)
    """dbt source freshness warns"""
    error_after_hours: int = Field(ge=1)
    """dbt source freshness fails"""


class Deadline(Strict):
    """Whom to tell when a scheduled run has not ended this long after it was due."""

    minutes: int = Field(ge=1)
    """from when the run was due"""
    mail: tuple[Mail, ...] = ()
    """addresses; those of SLUICE_ALERT_TO by default"""


class Notify(Strict):
    """Whom to tell what by mail. Nobody named: the addresses in SLUICE_ALERT_TO hear of failures and deadlines."""

    failure: tuple[Mail, ...] = ()
    """a task has failed for good"""
    retry: tuple[Mail, ...] = ()
    """a task will be tried again"""
    success: tuple[Mail, ...] = ()
    """a run has ended well"""
    deadline: Deadline | None = None
    """a run is late"""


class Dbt(Strict):
    """Which dbt models the DAG builds, in dbt's selection syntax."""

    staging: str | None = None
    """path:models/staging/<source> by default"""
    marts: str | None = None
    """path:models/marts,tag:<source> by default"""


class Pools(Strict):
    """Airflow pools that bound how many of the source's tasks run at once; a task in a pool that is not there waits."""

    fetch: str | None = None
    """of the tasks that ask the API; by default the one of the environment's SLUICE_FETCH_POOL, else Airflow's own"""
    load: str | None = None
    """of the tasks that load raw tables; by default the one of SLUICE_LOAD_POOL, else Airflow's own"""


class Entity(Strict):
    """One kind of thing that a source serves: one request shape or drop of files, one raw table."""

    description: str
    """one sentence, for Airflow and the docs"""
    request: Request | None = None
    """how it is asked for"""
    files: str | None = Field(default=None, pattern=r"^[^/].*")
    """instead of a request: objects below s3://<bucket>/drop/<source>/ by glob, each loaded once"""
    stand_in: str | None = Field(default=None, pattern=r"^[^/*?\[\]]+(/[^/*?\[\]]+)*$")
    """beside a request: an object of drop/<source>/ taken for a partition's answer: trips_{partition:%Y-%m}.parquet"""
    extract: Callable_ | None = None
    """instead of paging: a function that gives the payloads"""
    transform: Callable_ | None = None
    """a function between landing and raw: of a record (dict) its records, of a file's rows (pandas) the rows"""
    format: Literal["json", "ndjson", "csv", "parquet", "xlsx"]
    """of the answers or files"""
    csv: Csv = Csv()
    """how its CSV files are written"""
    sheet: str | None = None
    """xlsx: the sheet's name; the first one by default"""
    load: Load
    """how its rows meet those in raw"""
    cursor: Cursor | None = None
    """only what is new is asked for"""
    partition: Partition | None = None
    """where it differs from the source's"""
    when: dict[str, str] = Field(default={})
    """parameter -> value: fetched only by runs whose parameter holds the value"""
    lookup: bool = False
    """it accompanies the others: alone it is no reason for a run to go on"""
    on_status: dict[int, Literal["skip", "record", "fail"]] = Field(default={})
    """HTTP status -> skip (not published yet), record (the other requests go on) or fail"""
    unchanged: Literal["skip", "load"] = "skip"
    """what a landing does to the run that has nothing but what its partition's last published one has"""
    new_columns: Literal["evolve", "freeze", "discard"] = "evolve"
    """schema contract: members or columns that are not declared are kept, refused or dropped"""
    quarantine_at_most: float = Field(default=0.01, ge=0, le=1)
    """share of a landing's rows that may be unreadable at the load and go to quarantine; more fail it, 0: the first"""
    fields: dict[str, Column] = Field(default={})
    """columns of a file (all of them), or members of a JSON record: a type, or a mapping"""
    freshness: Freshness | None = None
    """for dbt source freshness and the daily report"""

    @field_validator("fields", mode="before")
    @classmethod
    def _type_alone_is_enough(cls, fields: object) -> object:
        if not isinstance(fields, dict):
            return fields
        return {name: {"type": column} if isinstance(column, str) else column for name, column in fields.items()}

    @model_validator(mode="after")
    def _keys_go_together(self) -> Entity:
        for wrong, message in (
            ((self.request is None) == (self.files is None), "needs either 'request' or 'files'"),
            (self.is_file and not self.fields, "'fields' are needed by the formats csv, parquet and xlsx"),
            (not self.fields and self.new_columns != "evolve", "new_columns freeze and discard need 'fields'"),
            (self.sheet and self.format != "xlsx", "'sheet' is for format xlsx"),
            (self.csv != Csv() and self.format != "csv", "'csv' is for format csv"),
            (self.cursor and self.format != "json", "'cursor' is for requests of format json"),
            (self.cursor and self.load.absent != "keep", "load.absent needs landings that are whole, without 'cursor'"),
            (self.files and self.load.mode == "replace", "load.mode 'replace' would drop the files before; use append"),
            (self.files and self.extract, "'extract' is for 'request'"),
            (self.stand_in and not self.request, "'stand_in' is for 'request': 'files' are dropped anyway"),
            (self.stand_in and self.format == "json", "'stand_in' is one file: it is not for format json"),
            (
                self.request and self.format != "json" and (self.request.paging or self.request.for_each),
                "'paging' and 'for_each' are for format json: a file is one answer",
            ),
            (
                self.request and self.request.paging and self.request.at_once > 1,
                "'at_once' is for requests without 'paging': the pages of one are fetched one after the other",
            ),
            (self.is_file and self._records, "'records' are for the formats json and ndjson"),
            (
                self.is_file and not set(self.load.keys) <= set(self.columns),
                f"load.keys are columns of 'fields': {', '.join(self.columns)}",
            ),
        ):
            if wrong:
                raise ValueError(message)
        return self

    @property
    def is_file(self) -> bool:
        """Whether its rows are tabular, not documents."""
        return self.format in FILE_FORMATS

    @property
    def drop(self) -> str | None:
        """What it takes from the drop zone, as a glob of keys below drop/<source>/; None where it takes nothing."""
        return self.files or (self.stand_in and PARTITION.sub("*", self.stand_in))

    @property
    def columns(self) -> dict[str, str]:
        """Column name as in raw (lower case) -> type."""
        return {name.lower(): column.type for name, column in self.fields.items()}

    @property
    def pii(self) -> dict[str, str]:
        """Column or member -> kind of personal data."""
        return {name: column.pii for name, column in self.fields.items() if column.pii}

    @property
    def has_request(self) -> bool:
        """Whether raw says beside each record what was asked for: `_request`."""
        return not self.is_file and self.request is not None and bool(self.request.for_each)

    @property
    def parents(self) -> tuple[str, ...]:
        """The entities whose records it is asked for by."""
        return tuple(dict.fromkeys(one.entity for one in self.request.parents.values())) if self.request else ()

    @property
    def records(self) -> tuple[str, ...]:
        """Keys that lead to the records in a document."""
        return tuple(self._records.split(".")) if self._records else ()

    @property
    def _records(self) -> str | None:
        return self.record_path or (self.request.records if self.request else None)

    record_path: KeyPath | None = Field(default=None, alias="records")
    """of JSON files: path of the records in a file"""


class Source(Strict):
    """A whole `source.yml`; `name` is the folder's."""

    name: Name
    description: str
    """one sentence, for Airflow and the docs"""
    owner: str
    """who is asked when it breaks"""
    tags: tuple[str, ...] = ()
    """of the DAG, beside source, and of its tables in dbt"""
    schedule: Schedule | None
    """cron or preset (UTC), {timetable, arguments}, {assets}, or null: by hand alone"""
    catchup: bool = False
    """make up for the runs since start_date, one by one"""
    start_date: date | None = None
    """where catchup begins"""
    connection: str
    """id of the Airflow connection of the API"""
    check: str | None = Field(default=None, pattern="^/")
    """path that any answer below HTTP 500 proves the API up"""
    check_timeout_seconds: int = Field(default=600, ge=1)
    """how long a run waits for the API to come up"""
    auth: Auth | None = None
    """where the key goes; without it none is sent"""
    allowed_hosts: tuple[str, ...] = ()
    """where links and redirects may lead besides the connection's own host: host or host:port"""
    calls_per_minute: int | None = Field(default=None, ge=1)
    """rate budget, shared by entities that may be fetched at once; that of the connection's extra goes first"""
    pools: Pools = Pools()
    """bounds for backfills, whose runs go side by side"""
    queue: str | None = Field(default=None, pattern=r"^[\w.-]+$")
    """which workers run its tasks: those that listen on this queue; by default Airflow's default queue"""
    timeout_seconds: float = Field(default=60, gt=0)
    """most seconds to connect, and of silence while reading"""
    tries: int = Field(default=8, ge=1)
    """how often one request is tried, with exponential back-off, before its task fails"""
    longest_wait_seconds: float = Field(default=60, gt=0)
    """most seconds a request waits because the API asks for it (Retry-After, x-rate-limit-reset)"""
    max_megabytes: int = Field(default=4096, ge=1)
    """a longer body is refused"""
    retries: int = Field(default=2, ge=2)
    """how often a failed task is run again"""
    retry_delay_seconds: int = Field(default=60, ge=0)
    """before a failed task is run again"""
    retry_exponentially: bool = False
    """each retry waits twice as long as the one before, at most an hour"""
    task_timeout_minutes: int | None = Field(default=None, ge=1)
    """a task that runs longer is stopped, and retried"""
    partition: Partition
    """what one landing covers"""
    params: dict[Name, Param] = Field(default={})
    """lists that runs may override"""
    person: str | None = None
    """field, of type text and with pii, that tells persons apart: `sluice forget` erases one by its value"""
    entities: dict[Name, Entity] = Field(min_length=1)
    """what the source serves, by name; one raw table each"""
    quarantine_days: int = Field(default=365, ge=1)
    """how long rows in quarantine are kept, from the day they were held; they can be redriven as long"""
    dbt: Dbt = Dbt()
    """which models the DAG builds"""
    mirror: Literal["redshift"] | None = None
    """where its published marts are copied to, behind publish: the connection sluice_redshift"""
    notify: Notify = Notify()
    """whom to tell what by mail"""

    @model_validator(mode="after")
    def _keys_go_together(self) -> Source:
        for wrong, message in (
            (
                self.catchup != (self.start_date is not None),
                "'start_date' is needed by catchup: true and means nothing without it",
            ),
            (
                self.catchup and not isinstance(self.schedule, (str, Timetable)),
                "catchup: true needs a schedule by the clock",
            ),
            (
                self.check is None and any(entity.request for entity in self.entities.values()),
                "check: is missing; it is needed where an entity has a 'request'",
            ),
        ):
            if wrong:
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _uses_exist(self) -> Source:
        for name, entity in self.entities.items():
            request = entity.request or Request(path="/")
            for use in (*entity.when, *request.params.values()):
                if use not in self.params:
                    known = ", ".join(self.params) or "none"
                    raise ValueError(f"entities.{name} uses the parameter {use!r}; params has {known}")
            for parent in request.parents.values():
                before = list(self.entities)[: list(self.entities).index(name)]
                if parent.entity not in before:
                    raise ValueError(
                        f"entities.{name} uses the entity {parent.entity!r}, which must stand before it; "
                        f"before it stand {', '.join(before) or 'none'}"
                    )
                if self.partition_of(parent.entity) not in (self.partition_of(name), Partition(grain="all")):
                    raise ValueError(
                        f"entities.{name} uses the entity {parent.entity!r}, whose partition is neither the same "
                        "nor of the grain all"
                    )
                if self.entities[parent.entity].is_file:
                    raise ValueError(f"entities.{name} uses the entity {parent.entity!r}, whose format is not JSON")
        return self

    @model_validator(mode="after")
    def _stand_ins_tell_their_partition(self) -> Source:
        for name, entity in self.entities.items():
            if not entity.stand_in:
                continue
            grain = self.partition_of(name).grain
            told = PARTITION.findall(entity.stand_in)
            wanted = "" if grain == "all" else LABELS[grain]
            if len(told) != (grain != "all") or (told and not _tells(told[0], grain)):
                raise ValueError(
                    f"entities.{name}.stand_in {entity.stand_in!r} does not tell the {grain} of its file; it needs "
                    + (f"{{partition:{wanted}}}, once" if wanted else "no {partition:…}, for there is one partition")
                )
        return self

    @model_validator(mode="after")
    def _persons_can_be_erased(self) -> Source:
        for name, entity in self.entities.items() if self.person else ():
            if not entity.pii:
                continue
            field = entity.fields.get(self.person or "")
            for wrong, message in (
                (
                    field is None or not field.pii or field.type != "text",
                    f"holds personal data, but no field {self.person!r} of type text and with pii to find a person by",
                ),
                (entity.transform, "has a 'transform': its rows cannot be told by what was landed; do it in staging"),
                (
                    set(entity.load.keys) & (entity.pii.keys() - {self.person}),
                    f"has load.keys of personal data that are not {self.person!r}: erased, they would all be the same",
                ),
            ):
                if wrong:
                    raise ValueError(f"'person': entities.{name} {message}")
        if self.person and not any(entity.pii for entity in self.entities.values()):
            raise ValueError(f"'person': no entity has a field {self.person!r} with pii")
        return self

    def table(self, entity: str) -> str:
        """The raw table's name."""
        return f"{self.name}__{entity}"

    def staging_model(self, entity: str) -> str:
        """The dbt staging model's name."""
        return f"stg_{self.name}__{entity}"

    @property
    def fetched_at_once(self) -> int:
        """How many entities may ask the API at the same time, at most.

        One waits for those that it is asked for by, so of a chain of them one asks at a time.
        """
        chains, followed = 0, set[str]()
        for entity in self.entities.values():
            if entity.request:
                before = next((parent for parent in entity.parents if parent not in followed), None)
                if before is None:
                    chains += 1
                else:
                    followed.add(before)
        return max(1, chains)

    def partition_of(self, entity: str) -> Partition:
        """The entity's partition, or the source's where it has none of its own."""
        return self.entities[entity].partition or self.partition


def _tells(form: str, grain: Grain) -> bool:
    """Whether a date written in a form of strftime can be read again as the same partition."""
    moment, label = datetime(2026, 11, 21, 13), LABELS[grain]
    try:
        return datetime.strptime(moment.strftime(form), form).strftime(label) == moment.strftime(label)
    except ValueError:
        return False


def source_names(folder: Path = SOURCES) -> list[str]:
    """Names of the source folders, sorted: each sub-folder that has a `source.yml`."""
    return sorted(path.parent.name for path in folder.glob("*/source.yml"))


def load_source(name: str, folder: Path = SOURCES) -> Source:
    """Read and check `<folder>/<name>/source.yml`.

    Raises:
        SourceError: not YAML, a wrong key or a wrong value; one line for each fault.
    """
    path = folder / name / "source.yml"
    where = f"include/sources/{name}/source.yml"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)  # by libyaml, in a tenth of the time
    except FileNotFoundError:
        raise SourceError(f"{where}: there is no such file; sources are {', '.join(source_names(folder))}") from None
    except yaml.YAMLError as fault:
        raise SourceError(f"{where}: not valid YAML: {' '.join(str(fault).split())}") from None
    if not isinstance(content, dict):
        raise SourceError(f"{where}: must be a mapping of keys, not {type(content).__name__}")
    if "name" in content:
        raise SourceError(f"{where}: 'name' is not a key: a source is named by its folder")
    try:
        source = Source.model_validate({**content, "name": name})
    except ValidationError as faults:
        raise SourceError("\n".join(f"{where}: {_sentence(fault)}" for fault in faults.errors())) from None
    if missing := list(_missing_functions(source, path.parent)):
        raise SourceError("\n".join(f"{where}: {fault}" for fault in missing))
    return source


def _missing_functions(source: Source, folder: Path) -> Iterator[str]:
    """Faults of the callables that the entities name; their files are read, not run."""
    for name, entity in source.entities.items():
        for key in ("extract", "transform"):
            reference = getattr(entity, key)
            if reference is None:
                continue
            file, function = reference.split(":")
            try:
                tree = ast.parse((folder / file).read_text(encoding="utf-8"))
            except FileNotFoundError:
                yield f"entities.{name}.{key}: the folder has no file {file}"
            except SyntaxError as fault:
                yield f"entities.{name}.{key}: {file}, line {fault.lineno}: {fault.msg}"
            else:
                found = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
                if function not in found:
                    known = ", ".join(found) or "none"
                    yield f"entities.{name}.{key}: {file} has no function {function}; it has {known}"


def _sentence(fault: ErrorDetails) -> str:
    """One pydantic fault as `key value fault`."""
    steps = [step for step in fault["loc"] if step not in _UNION_STEPS]
    key = ".".join(str(step) for step in steps) or "the file"
    given, context = fault.get("input"), fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            return f"{key}: no such key{_allowed_beside(steps, fault['loc'])}"
        case "missing":
            return f"{key}: is missing"
        case "literal_error":
            allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ")
            return f"{key} {given!r} is not one of {allowed}"
        case "paging_kind" | "schedule_kind":
            return f"{key}: {fault['msg']}"
        case "value_error":
            return f"{key}: {context['error']}" if steps else str(context["error"])
        case _:
            return f"{key} {given!r}: {fault['msg']}"


# what pydantic puts into a location to say which member of a union it tried
_UNION_STEPS = {*PAGING, "by_cron", "by_timetable", "by_assets", "of_param", "of_entity"}


def _allowed_beside(steps: list[str | int], location: tuple[str | int, ...]) -> str:
    """The keys that are allowed where the fault lies."""
    kind = next((PAGING[step] for step in location if step in PAGING and isinstance(step, str)), None)
    model: type[BaseModel] | None = Source
    for step in steps[:-1]:
        if model is None:
            return ""
        if step == "paging" and kind:
            model = kind
            continue
        field = next((f for n, f in model.model_fields.items() if step in (n, f.alias)), None)
        model = _model_in(field.annotation) if field else model  # a mapping's own key leads no further
    if model is None:
        return ""
    names = (field.alias or name for name, field in model.model_fields.items() if name != "name" or model is not Source)
    return f"; allowed here are {', '.join(names)}"


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The first of our models within a type such as `dict[str, Entity]` or `Request | None`."""
    if (
        isinstance(annotation, type)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, BaseModel)
    ):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
