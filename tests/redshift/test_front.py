"""The front as clients see it."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook
from redshift_connector.error import Error

from tests.conftest import S3
from tests.redshift.conftest import ADMIN, PASSWORD, ROLE, Redshift
from tests.redshift.front.dialect import Unsupported, unsupported


def refusal(redshift: Redshift, *statements: str) -> str:
    with pytest.raises(Error) as refused:
        redshift.run(*statements)
    return str(refused.value.args[0]["M"] if isinstance(refused.value.args[0], dict) else refused.value)


@pytest.fixture(scope="module")
def table(redshift: Redshift) -> str:
    redshift.run("create table if not exists t (a int, b varchar(5))")
    return "t"


@pytest.mark.parametrize("one", unsupported(), ids=lambda one: f"{one.kind}: {one.name}")
def test_what_redshift_has_not_is_refused(redshift: Redshift, table: str, one: Unsupported) -> None:
    assert "not supported by Redshift" in refusal(redshift, one.example)


def put(s3: S3, key: str, body: bytes) -> dict[str, Any]:
    """Put an object; its entry in a manifest."""
    s3.client.put_object(Bucket=s3.bucket, Key=key, Body=body)
    return {"url": f"s3://{s3.bucket}/{key}", "mandatory": True, "meta": {"content_length": len(body)}}


def manifest(s3: S3, *entries: dict[str, Any]) -> str:
    """Write a manifest; where COPY finds it."""
    put(s3, "load.manifest", json.dumps({"entries": entries}).encode())
    return f"'s3://{s3.bucket}/load.manifest' iam_role '{ROLE}' manifest"


def parquet(**columns: Any) -> bytes:  # noqa: ANN401 - arrays of pyarrow
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def test_copy_of_parquet_is_part_of_the_callers_transaction(redshift: Redshift, s3: S3) -> None:
    body = parquet(a=pa.array([1, 2, None]), b=pa.array(["x", None, 'y"\n,']))
    source = manifest(s3, put(s3, "1.parquet", body), put(s3, "2.parquet", body))
    with redshift.connect() as connection, connection.cursor() as cursor:
        cursor.execute("create temp table incoming (a bigint, b varchar(10))")
        cursor.execute(f"copy incoming from {source} format as parquet")
        cursor.execute("select pg_last_copy_count()")
        assert cursor.fetchall() == ([6],)
        cursor.execute("select a, b from incoming order by a, b")
        assert [tuple(row) for row in cursor.fetchall()] == [(1, "x")] * 2 + [(2, None)] * 2 + [(None, 'y"\n,')] * 2
        connection.rollback()
        cursor.execute("select count(*) from pg_class where relname = 'incoming'")
        assert cursor.fetchall() == ([0],)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"mandatory": True, "url": "s3://{bucket}/none", "meta": {"content_length": 1}},
            "Mandatory url is not present",
        ),
        ({"meta": {}}, "Missing content_length"),
        ({"meta": {"content_length": 3}}, "where the manifest has a content_length of 3"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused(
    redshift: Redshift, s3: S3, entry: dict[str, Any], message: str
) -> None:
    url = str(entry.get("url", "")).format(bucket=s3.bucket)
    source = manifest(s3, put(s3, "1.parquet", parquet(a=pa.array([1]))) | entry | ({"url": url} if url else {}))
    assert message in refusal(redshift, "create temp table m (a bigint)", f"copy m from {source} format as parquet")


@pytest.mark.parametrize(
    ("kind", "column", "message"),
    [
        ("varchar(9)", pa.array([1]), "incompatible Parquet schema for column 'a'"),
        ("int", pa.array(["1"]), "incompatible Parquet schema for column 'a'"),
        ("varchar(3)", pa.array(["äöü"]), "Value too long for character type"),
        ("super", pa.array([[1]]), "SERIALIZETOJSON"),
    ],
)
def test_a_parquet_file_that_does_not_fit_its_table_is_refused(
    redshift: Redshift,
    s3: S3,
    kind: str,
    column: Any,  # noqa: ANN401 - an array of pyarrow
    message: str,
) -> None:
    source = manifest(s3, put(s3, "1.parquet", parquet(a=column)))
    assert message in refusal(redshift, f"create temp table m (a {kind})", f"copy m from {source} format as parquet")


def test_copy_of_json_into_super_keeps_documents_as_they_are(redshift: Redshift, s3: S3) -> None:
    lines = '{"id": 1, "price": 0.10000000000000000001, "tags": ["a", {"Deep": null}]}\n\n{"id": 2,\n "tags": "b"}'
    source = manifest(s3, put(s3, "1.json", lines.encode()))
    rows = redshift.run(
        "create table documents (payload super)",
        f"copy documents from {source} json 'noshred'",
        "select payload.id::int, payload.price::varchar(40), payload.tags[1].deep is null, "
        "json_serialize(payload.tags) from documents order by 1",
    )
    assert rows == [(1, "0.10000000000000000001", True, '["a", {"Deep": null}]'), (2, None, True, '"b"')]
    shredded = redshift.run(
        "create table shredded (id int, tags super, other varchar(3))",
        f"copy shredded from {source} json 'auto'",
        "select s.id, tag::varchar(9), n from shredded s, s.tags as tag at n where is_array(s.tags) order by n",
        "select s.id, tag::varchar(9), n from shredded as s, s.tags as tag at n order by 1, 3",
    )
    assert shredded == [(1, "a", 0), (1, None, 1), (2, "b", 0)]


def test_unload_writes_what_the_transaction_sees(redshift: Redshift, s3: S3) -> None:
    redshift.run(
        "create temp table u (a int, b varchar(9), c decimal(9, 2), d timestamp)",
        "insert into u values (1, 'it''s', 1.5, '2026-01-02 03:04:05'), (2, null, null, null)",
        f"unload ('select a, b, c, d from u order by a') to 's3://{s3.bucket}/out/' iam_role '{ROLE}' "
        "format as parquet manifest",
    )
    listing = json.loads(s3.client.get_object(Bucket=s3.bucket, Key="out/manifest")["Body"].read())
    (entry,) = listing["entries"]
    body = s3.client.get_object(Bucket=s3.bucket, Key=entry["url"].split("/", 3)[3])["Body"].read()
    found = pq.read_table(pa.BufferReader(body)).to_pylist()
    assert entry["meta"] == {"content_length": len(body), "record_count": 2}
    assert [(one["a"], one["b"], str(one["c"]), str(one["d"])) for one in found] == [
        (1, "it's", "1.50", "2026-01-02 03:04:05"),
        (2, None, "None", "None"),
    ]
    again = f"unload ('select 1 as a') to 's3://{s3.bucket}/out/' iam_role '{ROLE}' csv"
    assert "is not empty" in refusal(redshift, again)


def test_lengths_are_bytes_and_keys_are_not_enforced(redshift: Redshift) -> None:
    redshift.run("create table k (a int primary key, b varchar(4) unique, c text)")
    redshift.run("insert into k values (1, 'ää', 'c'), (1, 'ää', 'c')")
    assert redshift.run("select count(*) from k") == [(2,)]
    assert "Value too long for character type" in refusal(redshift, "insert into k values (2, 'äää', '')")
    assert "Value too long for character type" in refusal(redshift, f"insert into k (c) values ('{'x' * 257}')")
    assert redshift.run(f"select len('{'x' * 300}'::varchar)") == [(256,)]
    assert "cannot cast type boolean" in refusal(redshift, "select (a = 1)::varchar(5) from k")
    assert "null value" in refusal(redshift, "insert into k (a) values (null)")


def test_a_table_is_laid_out_as_it_was_declared(redshift: Redshift) -> None:
    redshift.run(
        "create table laid (a bigint identity(1, 1) encode az64, b varchar(9) encode zstd) "
        "diststyle key distkey (b) compound sortkey (b, a)",
        "create table copied distkey (b) sortkey (a) as (select 1 as a, 'x' as b)",
        "insert into laid (b) values ('x'), ('y')",
    )
    assert redshift.run("select a, b from laid order by a") == [(1, "x"), (2, "y")]
    assert redshift.run(
        "select sortkey1, diststyle, sortkey_num from svv_table_info where diststyle like 'KEY%' order by 1"
    ) == [("a", "KEY(b)", 1), ("b", "KEY(b)", 2)]


def test_merge_is_redshifts(redshift: Redshift) -> None:
    merge = (
        "merge into target using source as s on target.a = s.a "
        "when matched then update set b = s.b when not matched then insert (a, b) values (s.a, s.b)"
    )
    redshift.run(
        "create table target as select 1 as a, 'old' as b",
        "create temp table source as select 1 as a, 'new' as b union all select 2, 'two'",
        merge,
    )
    assert redshift.run("select a, b from target order by a") == [(1, "new"), (2, "two")]
    halved = "merge into target using t on target.a = t.a when matched then delete"
    assert "MERGE has one WHEN MATCHED" in refusal(redshift, halved)


def test_roles_are_granted_as_redshift_writes_it(redshift: Redshift) -> None:
    redshift.run(
        "create role reader", "create user someone password 'Someone-password-1'", "grant role reader to someone",
        "create schema private", "create table private.x as select 1 as a",
        "grant usage on schema private to role reader", "grant select on table private.x to role reader",
        "create group staff", "alter group staff add user someone",
    )  # fmt: skip
    assert redshift.run("select a from private.x", user="someone", password="Someone-password-1") == [(1,)]
    assert redshift.run("select user_name, role_name from svv_user_grants where role_name = 'reader'") == [
        ("someone", "reader")
    ]
    redshift.run("revoke select on private.x from role reader")
    with pytest.raises(Error, match="permission denied"):
        redshift.run("select a from private.x", user="someone", password="Someone-password-1")
    assert "GRANT ROLE" in refusal(redshift, "grant reader to someone")
    assert "password must have" in refusal(redshift, "create user weak password 'weak'")


def test_dates_and_aggregates_are_redshifts(redshift: Redshift) -> None:
    assert redshift.run(
        "select dateadd(month, 1, '2026-01-31'::timestamp)::date::varchar(10), "
        "datediff(day, '2026-01-01 23:59'::timestamp, '2026-01-02'::timestamp), "
        "listagg(x, ', ') within group (order by x desc), approximate count(distinct x), nvl(null, 'n') "
        "from (select 'a' as x union all select 'b') as xs"
    ) == [("2026-02-28", 1, "b, a", 2, "n")]
    assert "Redshift 1.0" in redshift.run("select version()")[0][0]


def test_a_refusal_breaks_the_transaction_off(redshift: Redshift) -> None:
    with redshift.connect() as connection, connection.cursor() as cursor:
        cursor.execute("create table undone (a int)")
        with pytest.raises(Error, match="not supported"):
            cursor.execute("select generate_series(%s, %s)", (1, 2))
        with pytest.raises(Error, match="aborted"):
            cursor.execute("select 1")
        connection.rollback()
        cursor.execute("select %s::int + 1", (1,))
        assert cursor.fetchall() == ([2],)
    assert "TRUNCATE commits" in refusal(redshift, "select 1", "truncate t")


def test_airflows_hook_reaches_it(redshift: Redshift, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {
        "conn_type": "redshift", "host": redshift.host, "port": redshift.port, "schema": redshift.dbname,
        "login": ADMIN, "password": PASSWORD, "extra": {"ssl": False},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_ON_REDSHIFT", json.dumps(connection))
    hook = RedshiftSQLHook(redshift_conn_id="warehouse_on_redshift")
    rows = hook.get_records("select payload.a[1]::int from (select json_parse('{\"a\": [1, 2]}') as payload) as t")
    assert [list(row) for row in rows] == [[2]]
