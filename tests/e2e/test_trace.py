"""A row of every mart that is published leads to its landing; its place, or the rows that it is made of, are shown."""

import json
import re

import boto3
import pyarrow as pa
import pytest

from include.warehouse.publish import marts
from tests.e2e.conftest import Stack

pytestmark = pytest.mark.e2e

NO_SNAPSHOT = ("dim_nft", "bridge_nft_trait")
"""an asset of the API's first version has none"""


def test_a_row_of_every_mart_is_traced(stack: Stack, first_up: object) -> None:
    for mart in marts(stack.home / "dbt_target" / "manifest.json", tag="marts"):
        key = ", ".join(f'"{column}"::text' for column in mart.key)
        values = stack.rows(f'select {key} from analytics."{mart.name}" order by 1 desc limit 1')
        assert values, f"analytics.{mart.name} has no row"
        traced = stack.sluice("trace", mart.name, ",".join(values[0]))
        assert traced.returncode == 0, f"{mart.name}: {traced.stderr}"
        assert re.search(r"^(position|note:) ", traced.stdout, re.MULTILINE), traced.stdout
        if "made of several" in traced.stdout and mart.name not in NO_SNAPSHOT:
            assert re.search(r"made of .*_landing_id=\d+ +_row=\d+", traced.stdout), traced.stdout


def test_personal_values_are_shown_to_who_asks_for_them(stack: Stack, first_up: object) -> None:
    ((key, email),) = stack.rows("select unique_id::text, email from analytics.pii_data limit 1", "pii_reader")
    masked, clear = stack.sluice("trace", "pii_data", key), stack.sluice("trace", "pii_data", key, "--clear")
    assert masked.returncode == clear.returncode == 0, masked.stderr + clear.stderr
    assert email not in masked.stdout
    assert "masked: " in masked.stdout
    assert email in clear.stdout
    assert "in clear" in clear.stdout


def test_the_bytes_at_the_printed_position_are_the_record(stack: Stack, first_up: object) -> None:
    ((key,),) = stack.rows("select post_id from analytics.fact_post limit 1")
    traced = stack.sluice("trace", "fact_post", key)
    found = re.search(r"^object +s3://sluice-lake/(\S+)", traced.stdout, re.MULTILINE)
    at = re.search(r"byte_offset=(\d+) +byte_length=(\d+)", traced.stdout)
    assert found, traced.stdout
    assert at, traced.stdout
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{stack.port('s3')}",
        aws_access_key_id=stack.secret("s3_access_key"),
        aws_secret_access_key=stack.secret("s3_secret_key"),
        region_name="us-east-1",
    )
    body = client.get_object(Bucket="sluice-lake", Key=found[1])["Body"].read()
    content = pa.CompressedInputStream(pa.BufferReader(body), "zstd").read()
    record = content[int(at[1]) : int(at[1]) + int(at[2])]
    assert json.loads(record)["id"] == key
    assert record.decode() in traced.stdout
