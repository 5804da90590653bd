"""The lake as one who has the catalogue and the bucket sees it: every object that the catalogue leads to, by DuckDB.

As Athena does it: the columns are those of the catalogue, by name; what partitions have values of is taken from the
catalogue, not from paths; objects whose names begin with _ or . are none of it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb

from include.lake.marts import NULL
from tests.conftest import S3

Row = tuple[Any, ...]


def locations(glue: Any, database: str, table: str) -> dict[tuple[str, ...], str]:  # noqa: ANN401 - boto3's client
    """Partition's values -> folder; of a table without partitions, () -> its folder."""
    held = glue.get_table(DatabaseName=database, Name=table)["Table"]
    if not held["PartitionKeys"]:
        return {(): held["StorageDescriptor"]["Location"]}
    pages = glue.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=table)
    return {tuple(p["Values"]): p["StorageDescriptor"]["Location"] for page in pages for p in page["Partitions"]}


def read(glue: Any, s3: S3, database: str, table: str, to: Path) -> tuple[list[str], list[Row]]:  # noqa: ANN401 - the same
    """Columns, keys of partitions last, and rows of a table."""
    held = glue.get_table(DatabaseName=database, Name=table)["Table"]
    columns = [one["Name"] for one in held["StorageDescriptor"]["Columns"]]
    keys = [one["Name"] for one in held["PartitionKeys"]]
    types = {one["Name"]: one["Type"] for one in [*held["StorageDescriptor"]["Columns"], *held["PartitionKeys"]]}
    rows: list[Row] = []
    for values, uri in locations(glue, database, table).items():
        if not (files := _fetched(s3, uri, to)):
            continue
        given = [_value(value, types[key]) for key, value in zip(keys, values, strict=True)]
        selected = [f'cast("{name}" as {_sql(types[name])}) as "{name}"' for name in columns] + given
        with duckdb.connect() as connection:
            rows += connection.execute(f"select {', '.join(selected)} from read_parquet(?)", [files]).fetchall()
    return [*columns, *keys], rows


def objects(s3: S3, prefix: str) -> dict[str, int]:
    """Key -> bytes of all that lies below a prefix."""
    pages = s3.client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket, Prefix=prefix)
    return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}


def _fetched(s3: S3, uri: str, to: Path) -> list[str]:
    where = urlsplit(uri)
    assert (where.scheme, where.netloc) == ("s3", s3.bucket), uri
    assert uri.endswith("/"), uri
    files = []
    for number, key in enumerate(objects(s3, where.path.lstrip("/"))):
        if key.rpartition("/")[2][0] not in "_.":
            file = to / f"{len(list(to.iterdir())):05d}-{number}.parquet"
            s3.client.download_file(s3.bucket, key, str(file))
            files.append(str(file))
    return files


_SQL: Mapping[str, str] = {"string": "varchar", "binary": "blob", "int": "integer"}


def _sql(kind: str) -> str:
    return _SQL.get(kind, kind)


def _value(value: str, kind: str) -> str:
    text = "null" if value == NULL else "'" + value.replace("'", "''") + "'"
    return f"cast({text} as {_sql(kind)})"


def ddl(database: str, held: Mapping[str, Any]) -> Iterator[str]:
    """A table of the catalogue as Athena's `SHOW CREATE TABLE` writes it, of what Glue's GetTable gives."""
    where, serde = held["StorageDescriptor"], held["StorageDescriptor"]["SerdeInfo"]
    yield f"CREATE EXTERNAL TABLE `{database}.{held['Name']}`("
    yield ",\n".join(_column_ddl(one) for one in where["Columns"]) + ")"
    if held.get("Description"):
        yield f"COMMENT {_quoted(held['Description'])}"
    if held.get("PartitionKeys"):
        yield "PARTITIONED BY ("
        yield ",\n".join(_column_ddl(one) for one in held["PartitionKeys"]) + ")"
    yield f"ROW FORMAT SERDE\n  '{serde['SerializationLibrary']}'"
    yield f"STORED AS INPUTFORMAT\n  '{where['InputFormat']}'\nOUTPUTFORMAT\n  '{where['OutputFormat']}'"
    yield f"LOCATION\n  '{where['Location']}'"
    parameters = ",\n".join(
        f"  {_quoted(name)}={_quoted(value)}"
        for name, value in sorted(held["Parameters"].items())
        if name != "EXTERNAL"
    )
    yield f"TBLPROPERTIES (\n{parameters})"


def _column_ddl(column: Mapping[str, str]) -> str:
    comment = f" COMMENT {_quoted(column['Comment'])}" if column.get("Comment") else ""
    return f"  `{column['Name']}` {column['Type']}{comment}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"
