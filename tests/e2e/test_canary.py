"""Secrets and personal values, planted in connection, payload and error path, are nowhere but where they belong.

A secret belongs into the launcher's secrets.json and the environment of processes, a personal value into the landed
objects, the rows of raw, staging, marts and quarantine, and what members of pii_reader see. Everything else that the
stack writes is searched: every log, every table of Airflow's database, manifests and reports in S3, the documentation
site, mails, dbt's artifacts, and the bookkeeping in the warehouse.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import pytest

from tests.e2e.conftest import Stack
from tests.e2e.test_readme import sql_of

pytestmark = pytest.mark.e2e

MARK = f"zq{uuid.uuid4().hex[:10]}"
PERSONAL = {
    "person_name": f"Ana {MARK}name",
    "user_name": f"{MARK}user",
    "email": f"{MARK}@mail.example",
    "personal_number": f"{MARK}cnp",
    "birth_date": f"{MARK}birth",
    "address": f"Strada {MARK}address 1",
    "phone": f"07{MARK}phone",
    "mac_address": f"{MARK}mac",
    "ip_address": f"{MARK}ip",
    "iban": f"RO{MARK}iban",
}
MEASURES = ("accessed_at", "session_duration", "download_speed", "upload_speed", "consumed_traffic", "unique_id")
DROP = "driven/sessions/canary.csv"


def good() -> dict[str, str]:
    values = ("2026-11-01 10:00:00", "600", "100", "50", "1000", str(uuid.uuid4()))
    return {**PERSONAL, **dict(zip(MEASURES, values, strict=True))}


def csv(*rows: Mapping[str, str]) -> bytes:
    return "\r\n".join([",".join(good()), *(",".join(row.values()) for row in rows), ""]).encode()


@pytest.fixture(scope="module")
def planted(stack: Stack, first_up: object) -> Iterator[Stack]:
    """The stack after runs that had every chance to tell."""
    stack.mend_api()
    # an API that echoes the key that it refuses, at once and for good
    key = stack.secret("sandbox_driven")
    stack.break_api(
        path="/driven/v1/sessions", kind="status", code=401, body={"error": f"the key {key} is not valid"},
        headers={"x-your-key": key},
    )  # fmt: skip
    refused = stack.sluice("run", "driven")
    assert refused.returncode != 0, refused.stdout
    # one that echoes it while the other requests go on, which the manifest records
    key = stack.secret("sandbox_openweather")
    stack.break_api(
        path="/data/2.5/weather", query={"q": "Lima"}, kind="status", code=404, body={"message": f"appid {key} unknown"}
    )
    stack.sluice("run", "openweather", "--param", 'cities=["Lima","Oslo"]')
    stack.mend_api()
    # rows whose columns have moved: an e-mail address where a number is declared; so many that the load fails
    moved = good() | {"session_duration": PERSONAL["email"]}
    cut = dict(list(good().items())[:5])
    stack.drop(DROP, csv(moved, cut, good()))
    failed = stack.sluice("run", "driven")
    assert failed.returncode != 0, failed.stdout
    # few: they go to quarantine, and the others are published; of these the gate warns, about personal columns
    stack.drop(DROP, csv(moved, cut, *(good() for _ in range(400))))
    published = stack.sluice("run", "driven")
    assert published.returncode == 0, published.stdout + published.stderr
    # and a gate that fails over a personal column: half of the rows have no account
    stack.drop(DROP, csv(*(good() | {"iban": ""} for _ in range(20)), *(good() for _ in range(20))))
    gated = stack.sluice("run", "driven")
    assert gated.returncode != 0, gated.stdout
    printed = stack.home / "logs" / "what_the_launcher_printed.log"
    printed.write_text("\n".join(one.stdout + one.stderr for one in (refused, failed, published, gated)))
    yield stack
    printed.unlink()
    remove(stack)


def remove(stack: Stack) -> None:
    """Have the file dropped as it should be, and take it away: what the gate refused stops no run of another test."""
    stack.drop(DROP, csv(good()))
    mended = stack.sluice("run", "driven")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    s3(stack).delete_object(Bucket="sluice-lake", Key=f"drop/{DROP}")


def test_the_query_of_the_runbook_shows_what_is_held_to_the_operator_alone(planted: Stack) -> None:
    (query,) = sql_of("docs/runbooks/quarantine.md")
    asked = planted.sluice("psql", "--role", "operator", "--", "-At", "-c", query)
    assert MARK in asked.stdout, asked.stdout + asked.stderr
    denied = planted.sluice("psql", "--role", "analyst", "--", "-At", "-c", query)
    assert "permission denied" in denied.stderr


def test_a_secret_is_nowhere_but_where_secrets_are(planted: Stack) -> None:
    # an access key's id is a name, as a login is, and the S3 server's log tells it
    names = [name for name in secrets_of(planted) if name != "s3_access_key"]
    assert len(names) > 10
    found = search(planted, {name: planted.secret(name) for name in names})
    assert found == []


def test_a_personal_value_is_nowhere_but_in_its_rows(planted: Stack) -> None:
    there = f"select count(*) from analytics.pii_data where email = '{PERSONAL['email']}'"
    assert planted.rows(there, "pii_reader")[0][0] >= 400  # it was there to be told
    masked = planted.rows("select t::text from analytics.pii_data as t", "analyst")
    assert [row for (row,) in masked if MARK in row] == []
    assert search(planted, {"personal value": MARK}) == []


def test_the_search_finds_what_is_there(planted: Stack) -> None:
    assert any("airflow.dag_run" in place for place in search(planted, {"a word": "openweather"}))
    kinds = ("logs/", "s3://", "docs/", "dbt_target/", "ops.", "airflow.xcom", "airflow.rendered_task_instance_fields")
    found = search(planted, {"a word": "driven"})
    assert [kind for kind in kinds if not any(kind in place for place in found)] == []


def secrets_of(stack: Stack) -> list[str]:
    return sorted(json.loads((stack.home / "secrets.json").read_text()))


def search(stack: Stack, needles: Mapping[str, str]) -> list[str]:
    """`<needle's name> in <place>` for each place that holds one."""
    return sorted(
        {
            f"{name} in {place}"
            for place, content in (*files(stack), *tables(stack), *objects(stack))
            for name, needle in needles.items()
            if needle in content
        }
    )


def files(stack: Stack) -> Iterator[tuple[str, str]]:
    """All files of the state folder but the secrets' own and the servers' data."""
    own = {stack.home / "secrets.json", stack.home / "airflow" / "passwords.json"}
    data = {stack.home / "postgres", stack.home / "s3", stack.home / "sandbox", stack.home / "uv", stack.home / "venv"}
    for path in stack.home.rglob("*"):
        if path.is_file() and path not in own and not data.intersection(path.parents):
            yield str(path.relative_to(stack.home)), path.read_bytes().decode(errors="replace")


def tables(stack: Stack) -> Iterator[tuple[str, str]]:
    """All rows of Airflow's database; the bookkeeping and the reasons of quarantine in the warehouse."""
    for database, which in (("airflow", "table_schema = 'public'"), ("warehouse", "table_schema = 'ops'")):
        named = stack.rows(
            f"select table_schema, table_name from information_schema.tables where {which}", database=database
        )
        for schema, table in named:
            name = f"airflow.{table}" if database == "airflow" else f"{schema}.{table}"
            yield name, _text(stack, f'select t::text from {schema}."{table}" as t', database)
    held = "select table_name from information_schema.tables where table_schema = 'quarantine'"
    for (table,) in stack.rows(held):
        yield f"quarantine.{table}.reasons", _text(stack, f'select reasons::text from quarantine."{table}"')


def _text(stack: Stack, query: str, database: str = "warehouse") -> str:
    return "\n".join(text or "" for (text,) in stack.rows(query, database=database))


def objects(stack: Stack) -> Iterator[tuple[str, str]]:
    """All objects in S3 but what was landed and dropped, byte for byte."""
    client = s3(stack)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="sluice-lake"):
        for entry in page.get("Contents", []):
            key = entry["Key"]
            if key.startswith("drop/") or Path(key).name.startswith("part-"):
                continue
            yield (
                f"s3://{key}",
                client.get_object(Bucket="sluice-lake", Key=key)["Body"].read().decode(errors="replace"),
            )


def s3(stack: Stack):  # type: ignore[no-untyped-def] # noqa: ANN201
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{stack.port('s3')}",
        aws_access_key_id=stack.secret("s3_access_key"),
        aws_secret_access_key=stack.secret("s3_secret_key"),
        region_name="us-east-1",
    )
