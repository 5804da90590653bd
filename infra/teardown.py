"""What of a project is still there, and billed: `python -m infra.teardown [--project sluice]` (docs/deploy-aws.md).

It deletes nothing. It looks, with your own rights, for what stacks leave behind on purpose (the lake, last snapshots)
or never had (MWAA's log groups), and prints the command that deletes each. Exit 0 only if nothing is left.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3


@dataclass(frozen=True)
class Look:
    """One listing of a service.

    Args:
        service: boto3's name of it.
        method: the listing; all its pages are read.
        entries: where in an answer the entries are.
        name: where in an entry its name is.
        begins: what names of the project begin with.
        delete: the command that deletes one.
        given: further arguments of the listing.
        unless: (field, value) of an entry that is no longer billed.
    """

    service: str
    method: str
    entries: str
    name: str
    begins: tuple[str, ...]
    delete: str
    given: tuple[tuple[str, Any], ...] = ()
    unless: tuple[str, str] | None = None


LOOKS = (
    Look(
        "cloudformation",
        "describe_stacks",
        "Stacks",
        "StackName",
        ("{project}-",),
        "aws cloudformation delete-stack --stack-name {name}",
        unless=("StackStatus", "DELETE_COMPLETE"),
    ),
    Look(
        "s3",
        "list_buckets",
        "Buckets",
        "Name",
        ("{project}-lake-", "{project}-code-", "{project}-results-", "{project}-access-log-"),
        "empty it, all versions too (S3 console: Empty), then: aws s3api delete-bucket --bucket {name}",
    ),
    Look(
        "rds",
        "describe_db_instances",
        "DBInstances",
        "DBInstanceIdentifier",
        ("{project}-warehouse",),
        "delete the stack {project}-postgres, DeletionProtection=false first",
    ),
    Look(
        "rds",
        "describe_db_snapshots",
        "DBSnapshots",
        "DBSnapshotIdentifier",
        ("{project}-",),
        "aws rds delete-db-snapshot --db-snapshot-identifier {name}",
        given=(("SnapshotType", "manual"),),
    ),
    Look(
        "redshift-serverless",
        "list_workgroups",
        "workgroups",
        "workgroupName",
        ("{project}",),
        "delete the stack {project}-redshift",
    ),
    Look(
        "redshift-serverless",
        "list_snapshots",
        "snapshots",
        "snapshotName",
        ("{project}-",),
        "aws redshift-serverless delete-snapshot --snapshot-name {name}",
    ),
    Look(
        "logs",
        "describe_log_groups",
        "logGroups",
        "logGroupName",
        ("airflow-{project}-", "/aws/rds/instance/{project}-warehouse/", "/aws/redshift/{project}/"),
        "aws logs delete-log-group --log-group-name {name}",
    ),
    Look(
        "secretsmanager",
        "list_secrets",
        "SecretList",
        "Name",
        ("{project}/",),
        "aws secretsmanager delete-secret --secret-id {name}",
    ),
)


def left(project: str, looks: tuple[Look, ...] = LOOKS, *, endpoint_url: str | None = None) -> Iterator[str]:
    """Each thing that is left: its service, its name and how to delete it.

    Args:
        project: the parameter `Project` of the stacks.
        looks: what to look at.
        endpoint_url: another server than AWS's.
    """
    for look in looks:
        client: Any = boto3.client(look.service, endpoint_url=endpoint_url)  # type: ignore[call-overload]
        begins = tuple(one.format(project=project) for one in look.begins)
        if client.can_paginate(look.method):
            answers = client.get_paginator(look.method).paginate(**dict(look.given))
        else:
            answers = [getattr(client, look.method)(**dict(look.given))]
        for answer in answers:
            for entry in answer[look.entries]:
                name = entry[look.name]
                if name.startswith(begins) and not (look.unless and entry[look.unless[0]] == look.unless[1]):
                    yield f"{look.service}: {name}\n    {look.delete.format(name=name, project=project)}"


def main(arguments: list[str] | None = None) -> int:
    """Print what is left; 0 if nothing is."""
    parser = argparse.ArgumentParser("python -m infra.teardown", description="Say what of a project is still billed.")
    parser.add_argument("--project", default="sluice", help="the parameter Project of the stacks")
    parser.add_argument("--endpoint-url", help="another server than AWS's")
    asked = parser.parse_args(arguments)
    found = list(left(asked.project, endpoint_url=asked.endpoint_url))
    sys.stdout.write("\n".join(found or [f"nothing of {asked.project} is left"]) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
