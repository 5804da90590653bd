"""A catalogue without tables, as moto's Glue gives it, beside the tests' S3 server."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from include.lake import Catalogue
from include.parquet import Bucket
from include.pipeline.lake import Lake
from tests import amazon
from tests.conftest import S3, Warehouse
from tests.lake import reader

DATABASE = "sluice"


@pytest.fixture(scope="session")
def amazon_url() -> Iterator[str]:
    """An AWS for the session."""
    with amazon.endpoint() as url:
        yield url


@pytest.fixture
def glue(amazon_url: str) -> Iterator[Any]:
    """A client of Glue with an empty database."""
    client = boto3.client(
        "glue",
        endpoint_url=amazon_url,
        region_name=amazon.REGION,
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    client.create_database(DatabaseInput={"Name": DATABASE})
    yield client
    client.delete_database(Name=DATABASE)


@dataclass(frozen=True)
class Readable:
    """A lake, and what who reads it sees."""

    lake: Lake
    glue: Any
    s3: S3
    tmp_path: Path

    def rows(self, table: str) -> tuple[list[str], list[reader.Row]]:
        """Columns and rows, in no order."""
        return reader.read(self.glue, self.s3, DATABASE, table, self.tmp_path)

    def locations(self, table: str) -> dict[tuple[str, ...], str]:
        """Partition's values -> folder."""
        return reader.locations(self.glue, DATABASE, table)

    def objects(self, prefix: str = "lake/") -> dict[str, int]:
        """Key -> bytes."""
        return reader.objects(self.s3, prefix)


@pytest.fixture
def readable(glue: Any, s3: S3, warehouse: Warehouse, tmp_path: Path) -> Readable:  # noqa: ANN401 - boto3's client
    """A lake of the test's own."""
    lake = Lake(Bucket(s3.client, s3.bucket), Catalogue(glue, DATABASE), warehouse.dsn("sluice_reporter"))
    return Readable(lake, glue, s3, tmp_path)
