"""`./sluice new-source`: what is inferred of samples of every shape, and that what is written goes the whole way."""

import io
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from fastapi import FastAPI

from include.extract import ApiClient
from include.gates import check_tables, load_gates, validate_expectations
from include.gates.rules import LAYERS
from include.landing import LandingStore
from include.pipeline import steps
from include.pipeline.model import Source, load_source
from include.pipeline.partition import partition_of_run
from local import s3 as seaweed
from local.home import PROJECT, LocalError
from local.new_source.command import new_source
from local.new_source.plan import Wishes
from local.sandbox import samples
from local.sandbox.settings import Settings
from local.stack import Store
from tests.conftest import Warehouse
from tests.sources.way import api_of
from tests.waiting import wait_until

KEY = "made-up-key"
BIG = 2**256 - 1


@dataclass(frozen=True)
class Shape:
    """A sample, and what should become of it.

    Attributes:
        content: The sample file.
        ending: Its name's.
        columns: Column of the fact -> its value in the first row, as psycopg2 gives it.
        types: Of some columns in source.yml.
        wishes: What is asked for beside the sample.
        says: Keys of source.yml, or of its one entity or request, and their values.
        rows: Rows of the fact.
    """

    content: bytes
    ending: str
    columns: Mapping[str, object]
    types: Mapping[str, str] = field(default_factory=dict)
    wishes: Wishes = field(default_factory=Wishes)
    says: Mapping[str, object] = field(default_factory=dict)
    rows: int = 2


def as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def as_parquet() -> bytes:
    table = pa.table(
        {
            "Id": pa.array([1, 2], pa.int32()),
            "amount": pa.array([Decimal("1.25"), None], pa.decimal128(10, 2)),
            "Created": pa.array([datetime(2026, 1, 2, 3, 4, 5)] * 2, pa.timestamp("us")),
            "day": pa.array([date(2026, 1, 2)] * 2),
            "tags": pa.array([["a", "b"], []], pa.list_(pa.string())),
            "ok": pa.array([True, False]),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def as_xlsx() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["Code", "Price (EUR)", "Since"], ["a-1", 1.5, datetime(2026, 1, 2, 8, 30)], ["a-2", 2, None]):
        sheet.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


ROWS = [{"id": number, "title": f"row {number}"} for number in range(1, 6)]
FIRST_ROW = {"id": 1, "title": "row 1"}

SHAPES: dict[str, Shape] = {
    "plain_array": Shape(
        as_json(ROWS),
        "json",
        {"plain_array_id": 1, "title": "row 1"},
        {"id": "bigint", "title": "text"},
        Wishes(path="/v1/plain_array"),
        {"load": ("upsert", ("id",)), "paging": None, "records": None},
        rows=5,
    ),
    "tokens": Shape(
        as_json({"meta": {"next_token": "abc", "count": 5}, "data": ROWS}),
        "json",
        {"title": "row 1"},
        says={"paging": ("token", "next_token", "meta.next_token"), "records": "data"},
        rows=5,
    ),
    "numbered": Shape(
        as_json({"items": ROWS, "page": 1, "total_pages": 3}),
        "json",
        {"title": "row 1"},
        wishes=Wishes(key="query:appid", path="/v1/numbered?appid=made-up"),
        says={"paging": ("page", "page", "total_pages"), "records": "items", "auth": ("query", "appid", "")},
        rows=5,
    ),
    "sized": Shape(
        as_json(ROWS),
        "json",
        {"title": "row 1"},
        wishes=Wishes(paging="page:page:per_page=2", key="header:x-api-key"),
        says={"paging": ("page", "page", "per_page=2"), "auth": ("header", "x-api-key", "")},
        rows=5,
    ),
    "offsets": Shape(
        as_json({"result": {"rows": ROWS}, "offset": 0, "limit": 2}),
        "json",
        {"title": "row 1"},
        wishes=Wishes(path="/v1/rows?limit=2&offset=0&status=open", key="header:authorization:Bearer "),
        says={
            "paging": ("offset", "offset", "limit=2"),
            "records": "result.rows",
            "query": {"status": "open"},
            "auth": ("header", "authorization", "Bearer "),
        },
        rows=5,
    ),
    "links": Shape(
        as_json({"count": 5, "next": "https://api.example.com/v1/links?page=2", "previous": None, "results": ROWS}),
        "json",
        {"title": "row 1"},
        says={"paging": ("link", "next"), "records": "results"},
        rows=5,
    ),
    "headers": Shape(
        as_json(ROWS),
        "json",
        {"title": "row 1"},
        wishes=Wishes(paging="link:header"),
        says={"paging": ("link",)},
        rows=5,
    ),
    "cursors": Shape(
        as_json({"data": ROWS}),
        "json",
        {"title": "row 1"},
        wishes=Wishes(paging="cursor:after:id"),
        says={"paging": ("cursor", "after", "id")},
        rows=5,
    ),
    "one_object": Shape(
        as_json({"station": "Oslo", "measured": {"celsius": 3}, "at": "2026-11-20T08:30:00+01:00"}),
        "json",
        {"station": "Oslo", "measured": '{"celsius": 3}', "one_object_at": datetime(2026, 11, 20, 7, 30, tzinfo=UTC)},
        {"at": "timestamp", "measured": "text"},
        says={"load": ("append", ()), "records": None},
        rows=1,
    ),
    "hard_values": Shape(
        as_json(
            [
                {
                    "token_id": BIG,
                    "wide": 2**63,
                    "real": 1,
                    "mixed": 1,
                    "none": None,
                    "when": "2026-11-20",
                    "flag": True,
                    "text": 'it\'s "x" \\ {{ no }} {% jinja %}\n\U0001f6a2 \u05d0',
                    "list": [1, {"a": 2}],
                    "code": "007",
                    "time": "2026-11-20 08:30:00",
                    "impossible": "2026-02-30",
                    "is_old": "yes",
                    "only_first": 1,
                },
                {
                    "token_id": BIG - 1,
                    "wide": 1,
                    "real": 1.5,
                    "mixed": "x",
                    "none": None,
                    "when": None,
                    "flag": None,
                    "text": "",
                    "list": None,
                    "code": "008",
                    "time": "2026-11-20T09:30:00",
                    "impossible": "",
                    "is_old": "",
                },
            ]
        ),
        "json",
        {
            "token_id": str(BIG),
            "wide": str(2**63),
            "hard_value_real": 1.0,
            "mixed": "1",
            "when_date": date(2026, 11, 20),
            "is_flag": True,
            "hard_value_list": '[1, {"a": 2}]',
            "code": "007",
            "old_text": "yes",
            "only_first": 1,
            "hard_value_at": datetime(2026, 11, 20, 8, 30, tzinfo=UTC),
            "impossible": "2026-02-30",
            "hard_value_text": 'it\'s "x" \\ {{ no }} {% jinja %}\n\U0001f6a2 \u05d0',
            "hard_value_none": None,
        },
        {
            "token_id": "text",
            "wide": "text",
            "real": "double",
            "mixed": "text",
            "none": "text",
            "list": "text",
            "code": "text",
            "when": "date",
            "only_first": "bigint",
        },
        says={"load": ("upsert", ("token_id",)), "optional": {"only_first"}},
    ),
    "hard_names": Shape(
        as_json(
            {
                "values": [
                    {
                        "Order ID": "o-1",
                        "order": 1,
                        "select": 2,
                        "userId": 3,
                        "user_id": 4,
                        "Ünïcode": 5,
                        "a,b": 6,
                        'q"t': 7,
                        "it's": 8,
                        "{{x}}": 9,
                        "": 10,
                        "1st": 11,
                        "back\\slash": 12,
                        "a" * 90: 13,
                        "api_key": 14,
                        "null": 15,
                        "new\nline": 16,
                        "_row": 17,
                        "船": 18,
                    }
                ]
            }
        ),
        "json",
        {
            "order_id": "o-1",
            "hard_name_order": 1,
            "hard_name_select": 2,
            "user_id": 3,
            "user_id_2": 4,
            "unicode": 5,
            "a_b": 6,
            "q_t": 7,
            "it_s": 8,
            "x": 9,
            "hard_name_column": 10,
            "column_1st": 11,
            "back_slash": 12,
            "a" * 50: 13,
            "api_code": 14,
            "hard_name_null": 15,
            "new_line": 16,
            "hard_name_row": 17,
            "hard_name_column_2": 18,
        },
        says={"records": "values", "load": ("append", ())},
        wishes=Wishes(mode="append"),
        rows=1,
    ),
    "compound": Shape(
        as_json([{"shop": "a", "day": "2026-11-20", "sold": 1}, {"shop": "a", "day": "2026-11-21", "sold": 2}]),
        "json",
        {"shop": "a", "compound_day": date(2026, 11, 20), "sold": 1},
        wishes=Wishes(keys=("shop", "day")),
        says={"load": ("upsert", ("shop", "day"))},
    ),
    "people": Shape(
        as_json(
            [
                {
                    "id": "u-1",
                    "name": "Ann Ek",
                    "Email": "ann@ek.no",
                    "phone": 4712345678,
                    "born_on": "1980-02-29",
                    "nick": "a",
                    "ip_address": None,
                },
                {
                    "id": "u-2",
                    "name": "Ann Ek",
                    "Email": "bo@ek.no",
                    "phone": 4787654321,
                    "born_on": "1981-02-28",
                    "nick": "b",
                    "ip_address": "10.0.0.1",
                },
            ]
        ),
        "json",
        {"email": "email-1@example.com", "phone": 1, "nick": "user-name 1", "ip_address": None},
        wishes=Wishes(entity="users", pii=("nick:user_name", "born_on:none")),
        says={
            "pii": {"name": "name", "Email": "email", "phone": "phone", "nick": "user_name", "ip_address": "ip_address"}
        },
    ),
    "lines": Shape(
        b'{"id": 1, "at": "2026-11-20T08:30:00.123456Z"}\n\n{"id": 2, "at": "2026-11-20T08:31:00Z"}\n',
        "jsonl",
        {"line_at": datetime(2026, 11, 20, 8, 30, 0, 123456, tzinfo=UTC)},
        says={"format": "ndjson", "paging": None},
    ),
    "table": Shape(
        (
            'Order_Number;group;Größe (m);Ok;Betrag;Zeit\nA;1;"a ""b"";\nc";true;1.50;2026-11-20 08:30\nB;2;;false;2;\n'
        ).encode("cp1252"),
        "csv",
        {
            "order_number": "A",
            "table_group": 1,
            "groe_m": 'a "b";\nc',
            "is_ok": True,
            "betrag": 1.5,
            "zeit_at": datetime(2026, 11, 20, 8, 30, tzinfo=UTC),
        },
        {"order_number": "text", "group": "bigint", "betrag": "double", "zeit": "timestamp"},
        says={"csv": ("cp1252", ";"), "load": ("upsert", ("order_number",))},
    ),
    "columnar": Shape(
        as_parquet(),
        "parquet",
        {
            "columnar_id": 1,
            "amount": 1.25,
            "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            "columnar_day": date(2026, 1, 2),
            "is_ok": True,
        },
        {"id": "bigint", "amount": "double", "created": "timestamp", "day": "date", "tags": "text"},
        says={"load": ("upsert", ("id",))},
    ),
    "sheet": Shape(
        as_xlsx(),
        "xlsx",
        {"code": "a-1", "price_eur": 1.5, "since_at": datetime(2026, 1, 2, 8, 30, tzinfo=UTC)},
        {"price (eur)": "double", "since": "timestamp"},
        says={"load": ("upsert", ("code",))},
    ),
}


def wishes_of(name: str, shape: Shape, folder: Path) -> Wishes:
    sample = folder / f"{name}.{shape.ending}"
    sample.write_bytes(shape.content)
    base = replace(shape.wishes, sample=str(sample), base_url="https://api.example.com")
    return base if base.path else replace(base, path=f"/v1/{name}")


def empty_project(folder: Path) -> Path:
    """As much of the project as a source is written into, and dbt needs."""
    models = folder / "dbt_project" / "models"
    models.mkdir(parents=True)
    (folder / "include" / "sources").mkdir(parents=True)
    for name in ("dbt_project.yml", "profiles.yml", "macros", "lint"):
        path = PROJECT / "dbt_project" / name
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, folder / "dbt_project" / name)
    shutil.copyfile(PROJECT / "dbt_project" / "models" / "columns.md", models / "columns.md")
    for name in (".sqlfluff", ".yamllint.yml", "pyproject.toml", ".gitignore"):
        shutil.copyfile(PROJECT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project into which a source of each shape was written."""
    project = empty_project(tmp_path_factory.mktemp("project"))
    folder = tmp_path_factory.mktemp("samples")
    for name, shape in SHAPES.items():
        assert new_source(name, wishes_of(name, shape, folder), ask=None, project=project) == 0
    return project


def source_of(made: Path, name: str) -> Source:
    return load_source(name, made / "include" / "sources")


# --- what is inferred -------------------------------------------------------------------------------------------------


def seen(source: Source, key: str) -> object:
    (entity,) = source.entities.values()
    assert entity.request
    paging = entity.request.paging
    match key:
        case "paging" if paging is not None:
            size = [f"{paging.size_parameter}={paging.size}"] if paging.size else []
            own = [getattr(paging, name, None) for name in ("kind", "parameter", "next", "last", "field")]
            return tuple([one for one in own if one] + size)
        case "load":
            return entity.load.mode, entity.load.keys
        case "auth":
            assert source.auth
            return source.auth.place, source.auth.name, source.auth.prefix
        case "csv":
            return entity.csv.encoding, entity.csv.delimiter
        case "pii":
            return entity.pii
        case "optional":
            return {name for name, column in entity.fields.items() if column.optional}
        case "format":
            return entity.format
    return getattr(entity.request, key)


@pytest.mark.parametrize("name", SHAPES)
def test_the_folder_says_what_the_sample_shows(made: Path, name: str) -> None:
    source = source_of(made, name)
    (entity,) = source.entities.values()
    assert {column: entity.fields[column].type for column in SHAPES[name].types} == SHAPES[name].types
    assert {key: seen(source, key) for key in SHAPES[name].says} == SHAPES[name].says


@pytest.mark.parametrize("name", SHAPES)
def test_its_gates_are_ones_that_great_expectations_takes_and_judge_all_layers(made: Path, name: str) -> None:
    gates = load_gates(made / "include" / "sources" / name / "gates.yml")
    validate_expectations(gates)
    assert [len(gates.layer(layer)) for layer in LAYERS] == [1, 1, 1, 1]


@pytest.mark.parametrize("name", SHAPES)
def test_no_value_of_the_sample_decides_what_a_gate_lets_pass(made: Path, name: str) -> None:
    text = (made / "include" / "sources" / name / "gates.yml").read_text()
    assert "max_value" not in text
    assert "value_set" not in text


def test_no_personal_value_is_kept(made: Path) -> None:
    kept = [path.read_text() for path in made.rglob("*people*/**/*") if path.is_file()]
    kept += [path.read_text() for path in made.rglob("*users*") if path.is_file()]
    assert kept
    for value in ("Ann Ek", "ann@ek.no", "bo@ek.no", "4712345678", "10.0.0.1"):
        assert not [text for text in kept if value in text], value
    assert any("1980-02-29" in text for text in kept)  # said to be none


def test_what_is_written_is_clean(made: Path) -> None:
    def clean(*command: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=made, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr

    clean("yamllint", "--strict", "include", "dbt_project/models")
    clean("ruff", "check", "--no-cache", "tests")
    clean("ruff", "format", "--no-cache", "--check", "tests")
    clean("sqlfluff", "lint", "dbt_project/models", "--disable-progress-bar")


# --- the whole way ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sandbox(made: Path) -> Iterator[str]:
    """The routes of all samples, with a key."""
    app = FastAPI()
    settings = Settings.model_validate({"cache_dir": made, "samples_key": KEY})
    app.include_router(samples.router(settings, made / "include" / "sources"))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive(), "the server of the samples has started")
    assert server.started
    (port,) = {one.getsockname()[1] for each in server.servers for one in each.sockets}
    yield f"http://127.0.0.1:{port}/samples"
    server.should_exit = True
    thread.join()


def client_of(source: Source, sandbox: str) -> ApiClient:
    return ApiClient(api_of(source, f"{sandbox}/{source.connection}", key=KEY))


@pytest.fixture(scope="module")
def landed(made: Path, sandbox: str, warehouse: Warehouse, s3_server: Store, stack_directory: Path) -> dict[str, int]:
    """Each source fetched from the sandbox, through the landing's gate, into raw: name -> landing."""
    client = seaweed.client(s3_server.endpoint_url, s3_server.access_key, s3_server.secret_key)
    store = LandingStore(client, s3_server.bucket)
    found = {}
    for name in SHAPES:
        source = source_of(made, name)
        (entity,) = source.entities
        partition = partition_of_run(
            source.partition,
            asked=None,
            logical_date=None,
            run_after=datetime(2026, 11, 21, tzinfo=UTC),
            is_scheduled=False,
        )
        dsn = warehouse.dsn("sluice_loader")
        with client_of(source, sandbox) as api:
            one = steps.fetch(source, entity, partition, {}, client=api, store=store, dsn=dsn, run_id="test")
        gates = load_gates(made / "include" / "sources" / name / "gates.yml")
        landed, verdict = steps.gate_landing(source, gates, [one], store=store, dsn=dsn)
        verdict.raise_if_failed(name, "landing")
        steps.load(source, entity, landed, store=store, dsn=dsn)
        found[name] = one["landing_id"]
    return found


_ALL_BUT_UNUSED = "{error: all, silence: [UnusedResourceConfigPath]}"


@pytest.fixture(scope="module")
def built(
    made: Path, landed: Mapping[str, int], warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All models with their tests and unit tests, by one dbt."""
    target = tmp_path_factory.mktemp("dbt")
    env = {
        "SLUICE_DBT_HOST": warehouse.host,
        "SLUICE_DBT_PORT": str(warehouse.port),
        "SLUICE_DBT_USER": "sluice_transformer",
        "SLUICE_DBT_PASSWORD": warehouse.password("sluice_transformer"),
        "SLUICE_DBT_DBNAME": warehouse.dbname,
        "PATH": "",
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dbt.cli.main", "--warn-error-options", _ALL_BUT_UNUSED, "build"),
            "--no-use-colors",
            *("--project-dir", str(made / "dbt_project"), "--profiles-dir", str(made / "dbt_project")),
            *("--target-path", str(target), "--log-path", str(target)),
        ],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def first_row(warehouse: Warehouse, table: str) -> tuple[int, dict[str, Any]]:
    with closing(psycopg2.connect(warehouse.server.dsn(warehouse.dbname))) as connection, connection.cursor() as cursor:
        cursor.execute("set timezone to 'UTC'")
        cursor.execute(f'select * from {table} order by "_row"')
        rows = cursor.fetchall()
        return len(rows), dict(zip([one.name for one in cursor.description or ()], rows[0], strict=True))


def fact(made: Path, name: str) -> str:
    (path,) = (made / "dbt_project" / "models" / "marts" / name).glob("*.sql")
    return path.stem


@pytest.mark.parametrize("name", SHAPES)
def test_every_record_served_is_in_the_fact_with_its_values(
    made: Path, warehouse: Warehouse, built: None, name: str
) -> None:
    count, row = first_row(warehouse, f"marts.{fact(made, name)}")
    assert count == SHAPES[name].rows
    assert {column: row.get(column, "no such column") for column in SHAPES[name].columns} == SHAPES[name].columns


@pytest.mark.parametrize("name", SHAPES)
def test_what_was_built_passes_the_gates_inside_the_warehouse(
    made: Path, warehouse: Warehouse, landed: Mapping[str, int], built: None, name: str
) -> None:
    gates = load_gates(made / "include" / "sources" / name / "gates.yml")
    for layer in LAYERS[1:]:
        verdict = check_tables(
            gates.layer(layer), url=warehouse.dsn("sluice_gate"), schema=layer, landing_ids=[landed[name]]
        )
        verdict.raise_if_failed(name, layer)


def test_the_sandbox_refuses_a_request_without_the_key(made: Path, sandbox: str) -> None:
    source = source_of(made, "sized")
    with client_of(source.model_copy(update={"auth": None}), sandbox) as api, pytest.raises(Exception, match="401"):
        api.ask("/v1/sized", {})


# --- what is refused --------------------------------------------------------------------------------------------------


def files_of(project: Path) -> set[Path]:
    return {path.relative_to(project) for path in project.rglob("*")}


REFUSED: list[tuple[str, bytes, dict[str, Any], str]] = [
    ("Ferries", b"[{}]", {}, "'Ferries' is no name for a source.*such as 'ferries'"),
    ("a__b", b"[{}]", {}, "two underscores stand between source and entity"),
    ("plain_array", as_json(ROWS), {}, "'plain_array' is taken: include/sources/plain_array exists"),
    ("empty", b"[]", {}, "has no record.*--records PATH"),
    ("empty", b'{"data": []}', {}, "has no record at data"),
    ("empty", b"[{}, {}]", {}, "its records have no member"),
    ("empty", b"", {}, "cannot be read as json"),
    ("broken", b'{"a": NaN}', {}, "cannot be read as json: NaN is no JSON number"),
    ("broken", b"[1, 2]", {}, "cannot be read as json: a record is no JSON object"),
    ("wrong", as_json(ROWS), {"records": "rows"}, "has no record"),
    ("wrong", as_json(ROWS), {"format": "xml"}, "--format 'xml' is not one of json, ndjson, csv, parquet, xlsx"),
    ("wrong", as_json(ROWS), {"format": "parquet"}, "cannot be read as parquet"),
    ("wrong", as_json(ROWS), {"paging": "pages"}, "--paging 'pages' is none of: none; page:PARAMETER"),
    ("wrong", as_json(ROWS), {"paging": "page:p:per_page=many"}, "--paging 'page:p:per_page=many': .*integer"),
    ("wrong", as_json(ROWS), {"key": "cookie:a"}, "--key 'cookie:a' is none of header:NAME"),
    ("wrong", as_json(ROWS), {"schedule": "daily"}, "--schedule: 'daily' is neither a cron expression"),
    ("wrong", as_json(ROWS), {"keys": ("ID",)}, "--keys: there is no column 'ID'; the columns are id, title"),
    ("wrong", as_json([{"a": 1}, {"a": 1}]), {"keys": ("a",)}, "two records of the sample have the key 1"),
    ("wrong", as_json([{"a": 1}, {"a": None}]), {"keys": ("a",)}, "'a' has no value in some record"),
    ("wrong", as_json([{"a": 1}]), {"mode": "upsert"}, "--mode upsert needs --keys; the columns are a"),
    ("wrong", as_json(ROWS), {"mode": "replace"}, "--mode 'replace' is not one of append, upsert"),
    ("wrong", as_json(ROWS), {"pii": ("mail:email",)}, "--pii 'mail:email': there is no such column"),
    ("wrong", as_json(ROWS), {"base_url": "api.example.com"}, "--base-url 'api.example.com' is not like https://"),
    ("wrong", as_json(ROWS), {"path": "/v1?appid=x"}, "parameter 'appid' looks like a key.*--key query:appid"),
    ("wrong", as_json(ROWS), {"path": "/v1?api_key=x"}, "parameter 'api_key' looks like a key"),
    ("wrong", as_json(ROWS), {"description": "of {{ x }}"}, "--description: dbt would take braces"),
    ("wrong", as_json(ROWS), {"path": "v1"}, "--path 'v1' does not begin with a slash"),
    ("wrong", as_json(ROWS), {"entity": "Order Lines"}, "--entity 'Order Lines' is not lower snake case.*order_lines"),
    ("a" * 30, as_json(ROWS), {"entity": "b" * 30}, "more than 50 characters together"),
]


@pytest.mark.parametrize(("name", "content", "asked", "message"), REFUSED)
def test_what_cannot_be_is_refused_in_one_message_and_nothing_is_written(
    made: Path, tmp_path: Path, name: str, content: bytes, asked: dict[str, Any], message: str
) -> None:
    (tmp_path / "sample.json").write_bytes(content)
    plain: dict[str, Any] = {"sample": str(tmp_path / "sample.json"), "base_url": "https://x.example", "path": "/v1/x"}
    before = files_of(made)
    with pytest.raises(LocalError, match=message) as refusal:
        new_source(name, Wishes(**plain | asked), ask=None, project=made)
    assert "\n" not in str(refusal.value)
    assert files_of(made) == before


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    project = empty_project(tmp_path / "project")
    (project / "tests" / "frame").mkdir(parents=True)
    (project / "tests" / "frame" / "graphs").write_text("a file, where a folder has to be")
    (tmp_path / "sample.json").write_bytes(as_json(ROWS))
    before = files_of(project)
    wishes = Wishes(sample=str(tmp_path / "sample.json"), base_url="https://x.example", path="/v1/x")
    with pytest.raises(LocalError, match=r"nothing was written: .*graphs"):
        new_source("fresh", wishes, ask=None, project=project)
    assert files_of(project) == before


def test_a_file_needs_the_address_of_its_api(tmp_path: Path) -> None:
    (tmp_path / "sample.json").write_bytes(as_json(ROWS))
    with pytest.raises(LocalError, match="--base-url and --path must be given where --sample is a file"):
        new_source(
            "fresh", Wishes(sample=str(tmp_path / "sample.json")), ask=None, project=empty_project(tmp_path / "p")
        )


# --- what is asked and fetched ----------------------------------------------------------------------------------------


def test_on_a_terminal_what_is_not_given_is_asked_for_and_a_wrong_answer_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sample.json").write_bytes(as_json([{"id": 1, "mail_address": "a", "email": "b"}]))
    answers = {
        "A sample": [str(tmp_path / "sample.json")],
        "Base URL": ["https://x.example"],
        "Path of": ["/v1/letters"],
        "Where the API wants": ["query:appid"],
        "What the records are": [""],
        "Paging": ["pages", "token:after:next"],
        "Columns that tell": ["number", "id"],
        "Schedule": ["@weekly"],
        "What a landing covers": [""],
        "Personal data": ["mail_address:address"],
        "Who answers": ["post-office"],
        "What it is": ["Letters, as they come."],
        "Write it": [""],
    }
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return next(given.pop(0) for begin, given in answers.items() if question.startswith(begin))

    project = empty_project(tmp_path / "project")
    new_source("post", Wishes(), ask=answer, project=project)
    assert not any(answers.values()), "every question was asked"
    assert any(question.startswith("What the records are [letters]") for question in asked)
    told = capsys.readouterr().out
    assert "--paging 'pages' is none of" in told
    assert "--keys: there is no column 'number'" in told
    source = load_source("post", project / "include" / "sources")
    assert (source.schedule, source.owner) == ("@weekly", "post-office")
    assert seen(source, "pii") == {"mail_address": "address"}
    assert seen(source, "paging") == ("token", "after", "next")


def test_who_does_not_want_it_written_has_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "sample.json").write_bytes(as_json(ROWS))
    project = empty_project(tmp_path / "project")
    before = files_of(project)
    wishes = Wishes(sample=str(tmp_path / "sample.json"), base_url="https://x.example", path="/v1/x")
    with pytest.raises(LocalError, match="nothing was written, as you wished"):
        new_source("fresh", wishes, ask=lambda question: "no" if "Write it" in question else "", project=project)
    assert files_of(project) == before


def test_a_sample_may_be_asked_of_the_api_itself_with_its_key(
    sandbox: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = empty_project(tmp_path / "project")
    wishes = Wishes(sample=f"{sandbox}/offsets/v1/rows?limit=2&offset=2", key="header:authorization:Bearer ")
    with pytest.raises(LocalError, match=r"--sample: .*401.*put the key into SLUICE_SAMPLE_KEY"):
        new_source("asked", wishes, ask=None, project=project)
    monkeypatch.setenv("SLUICE_SAMPLE_KEY", KEY)
    new_source("asked", wishes, ask=None, project=project)
    source = load_source("asked", project / "include" / "sources")
    (entity,) = source.entities.values()
    assert entity.request
    assert entity.request.path == "/samples/offsets/v1/rows"
    assert seen(source, "paging") == ("offset", "offset", "limit=2")
    kept = (project / "include/sources/asked/samples/rows.json").read_text()
    assert [one["id"] for one in json.loads(kept)["result"]["rows"]] == [3, 4]
    assert KEY not in "".join(path.read_text() for path in project.rglob("*asked*/**/*") if path.is_file())
