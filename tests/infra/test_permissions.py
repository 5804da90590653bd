"""Every right is wanted by code or by a service that says so, and every call of the code has its right."""

import ast
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
import pytest
import yaml
from botocore import xform_name

from tests.frame.conftest import PROJECT
from tests.infra.templates import TEMPLATES, listed, statements_of

PERMISSIONS: dict[str, Any] = yaml.safe_load((PROJECT / "infra" / "permissions.yml").read_text())
CALLS: dict[str, list[str]] = {name: right for calls in PERMISSIONS["calls"].values() for name, right in calls.items()}
SERVICES = (
    "s3",
    "sqs",
    "sns",
    "glue",
    "athena",
    "secretsmanager",
    "redshift-data",
    "redshift-serverless",
    "mwaa",
    "sts",
)
TRANSFERS = {"upload_file", "upload_fileobj", "download_file", "download_fileobj", "copy", "copy_object"}


@cache
def operations() -> frozenset[str]:
    """The names of all methods of the services' clients, and of S3's managed transfers."""
    session = botocore.session.get_session()
    names = {xform_name(name) for service in SERVICES for name in session.get_service_model(service).operation_names}
    return frozenset(names | TRANSFERS)


def calls_in(folder: str) -> dict[str, str]:
    """The methods of boto3's clients that a folder (or file) calls, by name: where the first is."""
    path = PROJECT / folder
    found: dict[str, str] = {}
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        for name, line in _calls(ast.parse(file.read_text(encoding="utf-8"))):
            found.setdefault(name, f"{file.relative_to(PROJECT)}:{line}")
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        first = node.args[0] if node.args else None
        if node.func.attr in {"get_paginator", "get_waiter"} and isinstance(first, ast.Constant):
            yield str(first.value), node.lineno
        # keyword arguments with capitals are boto3's alone; `publish(…)` or `copy(…)` may be anybody's
        elif node.func.attr in operations() and any(word.arg and word.arg[0].isupper() for word in node.keywords):
            yield node.func.attr, node.lineno


def wanted(role: str) -> set[str]:
    """The rights that a role's code and services want."""
    said = PERMISSIONS["roles"][role]
    of_code = {right for folder in said["code"] for name in calls_in(folder) for right in CALLS.get(name, [])}
    return (of_code - set(said["without"])) | {right for one in said["besides"] for right in one["actions"]}


def allowed(role: str) -> set[str]:
    """The actions that its policies allow."""
    return {
        action
        for statement in statements_of(PERMISSIONS["roles"][role]["template"], role)
        if statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
    }


@pytest.mark.parametrize("role", PERMISSIONS["roles"])
def test_role_may_do_what_is_wanted_of_it_and_no_more(role: str) -> None:
    """Both ways."""
    assert allowed(role) == wanted(role)


def test_every_role_is_spoken_of() -> None:
    """Each resource of a template that is a role."""
    made = {
        name
        for template in TEMPLATES.values()
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
    }
    assert made == set(PERMISSIONS["roles"])


def test_every_call_of_boto3_is_known_and_somebodys() -> None:
    """A new call stands in permissions.yml, and its folder is a role's, or nobody's with a reason."""
    roles = [folder for role in PERMISSIONS["roles"].values() for folder in role["code"]]
    unknown = {name: at for folder in roles for name, at in calls_in(folder).items() if name not in CALLS}
    assert unknown == {}
    spoken = (*roles, *PERMISSIONS["nobody"])
    for top in ("include", "dags", "local", "infra"):
        for name, where in calls_in(top).items():
            assert where.startswith(spoken), f"{name} at {where} is no role's"


def test_map_holds_no_call_that_is_not_made() -> None:
    """So that a right goes when its last call does."""
    made = {name for role in PERMISSIONS["roles"].values() for folder in role["code"] for name in calls_in(folder)}
    assert set(CALLS) - made == set()


def test_calls_are_found_in_code() -> None:
    """Methods, paginators; not what merely has such a name."""
    tree = ast.parse(
        "client.put_object(Bucket=b)\n"
        "self.s3.get_paginator('list_objects_v2').paginate(Bucket=b)\n"
        "shape.copy()\n"
        "channel.publish(rows)\n"
        "glue.create_table(DatabaseName=d)\n"
    )
    assert {name for name, _ in _calls(tree)} == {"put_object", "list_objects_v2", "create_table"}


def _every_statement() -> Iterator[tuple[str, dict[str, Any]]]:
    for role, said in PERMISSIONS["roles"].items():
        for statement in statements_of(said["template"], role):
            yield role, statement


def test_no_right_is_on_everything_where_aws_can_bound_it() -> None:
    """`Resource: "*"` only for what AWS grants no other way."""
    for role, statement in _every_statement():
        if "*" in listed(statement.get("Resource", [])):
            loose = set(listed(statement["Action"])) - set(PERMISSIONS["on_everything"])
            assert not loose, f"{role}: {loose}"
        elif "Resource" not in statement:
            assert "NotResource" in statement
            assert statement["Condition"]["StringLike"]["kms:ViaService"], role
            assert all(action.startswith("kms:") for action in listed(statement["Action"]))


def test_no_right_is_a_whole_service_or_gives_rights() -> None:
    """No `s3:*`, and nothing of IAM's or STS's."""
    for role in PERMISSIONS["roles"]:
        for action in allowed(role):
            service, _, verb = action.partition(":")
            assert verb != "*", f"{role}: {action}"
            assert service not in {"*", "iam", "sts", "organizations"}, f"{role}: {action}"
