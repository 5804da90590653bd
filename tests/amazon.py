"""AWS's APIs as moto answers them, over HTTP, for what the S3 server of the tests does not have."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

REGION, KEY, SECRET = "us-east-1", "key-of-moto", "secret-of-moto"


@contextmanager
def endpoint() -> Iterator[str]:
    """The URL of an AWS with nothing in it, on a port of its own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def connection(url: str) -> str:
    """The Airflow connection to it, as JSON."""
    extra = {"endpoint_url": url, "region_name": REGION}
    return json.dumps({"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra})


@dataclass(frozen=True)
class Bell:
    """A bucket that tells a queue of what is put below drop/, as infra/templates/buckets.yaml has it.

    Attributes:
        url: Where moto answers.
        bucket: Name of the bucket.
        s3: A client of S3.
        sqs: A client of SQS.
    """

    url: str
    bucket: str
    s3: Any = field(repr=False)
    sqs: Any = field(repr=False)

    def make_queue(self, name: str) -> str:
        """Make the queue and have the bucket tell it; its URL."""
        queue = str(self.sqs.create_queue(QueueName=name)["QueueUrl"])
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        rules = [{"Name": "prefix", "Value": "drop/"}]
        told = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": rules}}}
        self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket, NotificationConfiguration={"QueueConfigurations": [told]}
        )
        return queue

    def left(self, queue: str) -> int:
        """How many messages a queue holds, those included that somebody has received and not deleted."""
        told = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        return int(told["ApproximateNumberOfMessages"]) + int(told["ApproximateNumberOfMessagesNotVisible"])


def bell(url: str, bucket: str) -> Bell:
    """A new bucket, which tells nobody yet."""
    client: Any = boto3.client
    access = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": REGION}
    made = Bell(url, bucket, client("s3", endpoint_url=url, **access), client("sqs", endpoint_url=url, **access))
    made.s3.create_bucket(Bucket=bucket)
    return made
