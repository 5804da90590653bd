"""The CloudFormation templates, parsed; short tags (`!Ref`) as CloudFormation reads them (`{"Ref": …}`)."""

from typing import Any

from cfnlint.decode import cfn_yaml

from tests.frame.conftest import PROJECT

FOLDER = PROJECT / "infra" / "templates"
TEMPLATES: dict[str, Any] = {path.name: cfn_yaml.load(str(path)) for path in sorted(FOLDER.glob("*.yaml"))}


def resources(kind: str) -> dict[str, Any]:
    """All resources of a type: `<template>:<name>` -> the resource."""
    return {
        f"{file}:{name}": resource
        for file, template in TEMPLATES.items()
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def only(kind: str) -> Any:  # noqa: ANN401 - whatever the type's properties are
    """The properties of the one resource of a type."""
    (resource,) = resources(kind).values()
    return resource["Properties"]


def statements_of(file: str, role: str) -> list[dict[str, Any]]:
    """All statements of a role's own policies."""
    policies = TEMPLATES[file]["Resources"][role]["Properties"].get("Policies", [])
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def listed(value: Any) -> list[Any]:  # noqa: ANN401 - as policies write it
    """What a policy may give alone or as a list."""
    return list(value) if isinstance(value, list) else [value]
