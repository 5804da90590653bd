"""What is left of a project is found, and nothing else is named."""

import os
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.session import get_session

from infra.teardown import LOOKS, left, main
from tests import amazon

MOCKED = tuple(look for look in LOOKS if look.service in {"s3", "logs", "rds", "secretsmanager"})
"""what moto's server, as it is installed here, answers for"""


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """The endpoint of an AWS with nothing in it."""
    with amazon.endpoint() as url:
        yield url


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "someone")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def test_what_is_left_is_named_with_its_command_and_what_is_others_is_not(aws: str) -> None:
    """A bucket, a log group and a secret of this project, and of another whose name begins alike."""

    def client(service: str) -> Any:  # noqa: ANN401 - boto3's types are made at run time
        return boto3.client(service, endpoint_url=aws)  # type: ignore[call-overload]

    assert list(left("sluice", MOCKED, endpoint_url=aws)) == []
    for bucket in ("sluice-lake-1-us-east-1", "sluices-lake", "other"):
        client("s3").create_bucket(Bucket=bucket)
    for group in ("airflow-sluice-Task", "airflow-sluices-Task"):
        client("logs").create_log_group(logGroupName=group)
    for secret in ("sluice/connections/x", "sluices/connections/x"):
        client("secretsmanager").create_secret(Name=secret, SecretString="{}")
    assert list(left("sluice", MOCKED, endpoint_url=aws)) == [
        "s3: sluice-lake-1-us-east-1\n    empty it, all versions too (S3 console: Empty), then: "
        "aws s3api delete-bucket --bucket sluice-lake-1-us-east-1",
        "logs: airflow-sluice-Task\n    aws logs delete-log-group --log-group-name airflow-sluice-Task",
        "secretsmanager: sluice/connections/x\n    aws secretsmanager delete-secret --secret-id sluice/connections/x",
    ]


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look.service}.{look.method}")
def test_each_listing_is_one_that_aws_has(look: Any) -> None:  # noqa: ANN401
    """Method, arguments, and the fields that are read, in botocore's description of the service."""
    session: Any = get_session()
    client = session.create_client(look.service, region_name="us-east-1")
    operation = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[look.method])
    entry = operation.output_shape.members[look.entries].member
    assert look.name in entry.members
    assert {name for name, _ in look.given} <= set(operation.input_shape.members)
    assert not look.unless or look.unless[0] in entry.members
    for name in re.findall(r"{(\w+)}", look.delete + "".join(look.begins)):
        assert name in {"name", "project"}


def test_command_says_it_by_its_exit_code(
    aws: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 when nothing is left."""
    monkeypatch.setattr(left, "__defaults__", (MOCKED,))
    assert main(["--project", "nobodys", "--endpoint-url", aws]) == 0
    assert "nothing of nobodys is left" in capsys.readouterr().out
    boto3.client("s3", endpoint_url=aws).create_bucket(Bucket="mine-lake-1")
    assert main(["--project", "mine", "--endpoint-url", aws]) == 1
    assert "s3: mine-lake-1" in capsys.readouterr().out
