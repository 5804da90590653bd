"""The Glue catalogue: tables and partitions, as Athena reads them (https://docs.aws.amazon.com/glue/latest/webapi/)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

GlueClient = Any
"""a boto3 client of Glue, which has no types in this environment"""
Values = tuple[str, ...]
"""of a partition's keys, in their order"""

_Item = TypeVar("_Item")

_MOST_CREATED, _MOST_UPDATED, _MOST_DELETED, _MOST_ASKED = 100, 100, 25, 1000
_COMMENT = 255
_DESCRIPTION = 2048


class LakeError(Exception):
    """The lake was not changed, or not wholly; the message names what, the fault and the remedy."""


@dataclass(frozen=True)
class Format:
    """How the objects of a table are read: the names of Hive's classes."""

    classification: str
    input: str
    output: str
    serde: str
    serde_parameters: Mapping[str, str] = field(default_factory=dict)


PARQUET = Format(
    "parquet",
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
    {"serialization.format": "1"},
)
LINES = Format(
    "text",
    "org.apache.hadoop.mapred.TextInputFormat",
    "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
    # a character that stands in no JSON and no CSV of ours: so a line is one column
    {"field.delim": "\x01", "serialization.format": "\x01"},
)


@dataclass(frozen=True)
class Column:
    """A column of a table, by the catalogue's name of its type."""

    name: str
    type: str
    comment: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the catalogue.

    Attributes:
        name: Lower case, digits and underscores.
        description: For who reads it.
        columns: Those in the objects.
        keys: Those that partitions have values of, and objects do not hold.
        location: URI of the folder that its objects, or its partitions' folders, are in; it ends with a slash.
        format: How objects are read.
        parameters: What else the catalogue is to remember of it.
    """

    name: str
    description: str
    columns: Sequence[Column]
    keys: Sequence[Column]
    location: str
    format: Format
    parameters: Mapping[str, str] = field(default_factory=dict)


class Catalogue:
    """One database of the Glue catalogue.

    Args:
        client: A boto3 client of Glue.
        database: Name of the database, which must exist.
    """

    def __init__(self, client: GlueClient, database: str) -> None:
        self._client = client
        self.database = database

    def table(self, name: str) -> dict[str, Any] | None:
        """What the catalogue holds of a table (Glue's `Table`); None where it has none of the name."""
        try:
            found: dict[str, Any] = self._client.get_table(DatabaseName=self.database, Name=name)["Table"]
        except self._client.exceptions.EntityNotFoundException:
            return None
        return found

    def put(self, table: Table) -> None:
        """Register a table as it is to be, in one call if it is there with the same partition keys.

        Raises:
            LakeError: there is no such database.
        """
        held = self.table(table.name)
        if held and [(key["Name"], key["Type"]) for key in held.get("PartitionKeys", [])] != [
            (key.name, key.type) for key in table.keys
        ]:
            # no table changes its keys: it goes with its partitions, and comes anew
            self._client.delete_table(DatabaseName=self.database, Name=table.name)
            held = None
        if held is None:
            try:
                self._client.create_table(DatabaseName=self.database, TableInput=_table_input(table))
            except self._client.exceptions.EntityNotFoundException:
                raise LakeError(
                    f"the Glue catalogue has no database {self.database!r}: deploy infra/templates/lake.yaml, "
                    "or correct SLUICE_LAKE_DATABASE"
                ) from None
        else:
            self._client.update_table(DatabaseName=self.database, TableInput=_table_input(table), SkipArchive=True)

    def partitions(self, name: str) -> dict[Values, str]:
        """Values -> location of every partition of a table."""
        pages = self._client.get_paginator("get_partitions").paginate(
            DatabaseName=self.database, TableName=name, ExcludeColumnSchema=True
        )
        return {
            tuple(one["Values"]): one["StorageDescriptor"]["Location"] for page in pages for one in page["Partitions"]
        }

    def partitions_of(self, name: str, wanted: Iterable[Values]) -> set[Values]:
        """Those of some partitions that the catalogue holds."""
        found: set[Values] = set()
        for some in _by(_MOST_ASKED, wanted):
            asked = [{"Values": list(values)} for values in some]
            while asked:
                answer = self._client.batch_get_partition(
                    DatabaseName=self.database, TableName=name, PartitionsToGet=asked
                )
                found |= {tuple(one["Values"]) for one in answer.get("Partitions", [])}
                asked = answer.get("UnprocessedKeys", [])
        return found

    def put_partitions(self, table: Table, locations: Mapping[Values, str], held: set[Values]) -> None:
        """Register partitions where they lie now: a reader's next query finds all of one there, or none of it.

        Args:
            table: what they are of.
            locations: values -> folder, each with a slash at its end.
            held: those that the catalogue holds already, which are moved over; the others come anew.
        """
        new = [_partition(table, values, uri) for values, uri in locations.items() if values not in held]
        moved = [
            {"PartitionValueList": list(values), "PartitionInput": _partition(table, values, uri)}
            for values, uri in locations.items()
            if values in held
        ]
        for some in _by(_MOST_UPDATED, moved):
            self._all_went(
                table.name,
                self._client.batch_update_partition(DatabaseName=self.database, TableName=table.name, Entries=some),
            )
        for some in _by(_MOST_CREATED, new):
            self._all_went(
                table.name,
                self._client.batch_create_partition(
                    DatabaseName=self.database, TableName=table.name, PartitionInputList=some
                ),
            )

    def drop_partitions(self, name: str, gone: Iterable[Values]) -> None:
        """Take partitions out of a table; their objects stay."""
        for some in _by(_MOST_DELETED, gone):
            self._all_went(
                name,
                self._client.batch_delete_partition(
                    DatabaseName=self.database,
                    TableName=name,
                    PartitionsToDelete=[{"Values": list(values)} for values in some],
                ),
            )

    def _all_went(self, name: str, answer: Mapping[str, Any]) -> None:
        """A batch answers with what of it failed, and raises nothing."""
        for failed in answer.get("Errors", []):
            values = failed.get("PartitionValues") or failed.get("PartitionValueList")
            detail = failed["ErrorDetail"]
            raise LakeError(
                f"{self.database}.{name}: Glue did not take the partition {values}: {detail.get('ErrorCode')}: "
                f"{detail.get('ErrorMessage')}; run the export again"
            )


def _by(most: int, items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """As many at once as Glue takes in a call."""
    rest = iter(items)
    while some := list(islice(rest, most)):
        yield some


def _table_input(table: Table) -> dict[str, Any]:
    return {
        "Name": table.name,
        "Description": table.description[:_DESCRIPTION],
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "classification": table.format.classification, **table.parameters},
        "PartitionKeys": _columns(table.keys),
        "StorageDescriptor": _descriptor(table, table.location),
    }


def _partition(table: Table, values: Values, uri: str) -> dict[str, Any]:
    return {"Values": list(values), "StorageDescriptor": _descriptor(table, uri)}


def _descriptor(table: Table, uri: str) -> dict[str, Any]:
    return {
        "Columns": _columns(table.columns),
        "Location": uri,
        "InputFormat": table.format.input,
        "OutputFormat": table.format.output,
        "SerdeInfo": {
            "SerializationLibrary": table.format.serde,
            "Parameters": dict(table.format.serde_parameters),
        },
    }


def _columns(columns: Iterable[Column]) -> list[dict[str, str]]:
    return [{"Name": one.name, "Type": one.type, "Comment": _short(one.comment)} for one in columns]


def _short(comment: str) -> str:
    """As much of a comment as the catalogue takes, on one line: 255 bytes."""
    one_line = " ".join(comment.split())
    return one_line.encode()[:_COMMENT].decode(errors="ignore")
