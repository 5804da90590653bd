"""What must hold of the templates, whatever the linters say: ways out, doors shut, versions, sizes, who is trusted."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.frame.conftest import PROJECT
from tests.infra.templates import TEMPLATES, listed, only, resources

BUCKETS = resources("AWS::S3::Bucket")


def exports() -> dict[str, str]:
    """Name (without its project) -> the template that makes it."""
    return {
        output["Export"]["Name"]["Fn::Sub"].removeprefix("${Project}-"): file
        for file, template in TEMPLATES.items()
        for output in template.get("Outputs", {}).values()
        if "Export" in output
    }


def imports(node: Any) -> Iterator[str]:  # noqa: ANN401 - any part of a template
    """What a part of a template imports, without its project."""
    if isinstance(node, dict):
        if "Fn::ImportValue" in node:
            yield node["Fn::ImportValue"]["Fn::Sub"].removeprefix("${Project}-")
        for value in node.values():
            yield from imports(value)
    elif isinstance(node, list):
        for value in node:
            yield from imports(value)


# network


def _network(kind: str) -> dict[str, Any]:
    return {name.partition(":")[2]: found.get("Properties", {}) for name, found in resources(kind).items()}


def test_each_private_subnet_has_a_way_out_through_a_public_one_of_its_zone() -> None:
    """Subnet -> its table -> 0.0.0.0/0 -> NAT -> public subnet -> its table -> internet gateway."""
    tables = {
        one["SubnetId"]["Ref"]: one["RouteTableId"]["Ref"]
        for one in _network("AWS::EC2::SubnetRouteTableAssociation").values()
    }
    out = {
        one["RouteTableId"]["Ref"]: one
        for one in _network("AWS::EC2::Route").values()
        if one["DestinationCidrBlock"] == "0.0.0.0/0"
    }
    subnets, nats = _network("AWS::EC2::Subnet"), _network("AWS::EC2::NatGateway")
    private = [name for name in subnets if name.startswith("Private")]
    assert len(private) == 2
    for name in private:
        nat = nats[out[tables[name]]["NatGatewayId"]["Ref"]]
        assert nat["AllocationId"]["Fn::GetAtt"][0] in _network("AWS::EC2::EIP")
        public = nat["SubnetId"]["Ref"]
        assert subnets[public]["AvailabilityZone"] == subnets[name]["AvailabilityZone"]
        assert out[tables[public]]["GatewayId"]["Ref"] in _network("AWS::EC2::InternetGateway")
        assert "GatewayId" not in out[tables[name]], "a private subnet has no route to the internet gateway itself"


def test_subnets_lie_in_two_zones_and_do_not_overlap() -> None:
    """By their index into the same list of zones, and of blocks."""
    subnets = _network("AWS::EC2::Subnet")
    zones = {name: json.dumps(one["AvailabilityZone"]) for name, one in subnets.items()}
    assert zones["PrivateSubnetA"] != zones["PrivateSubnetB"]
    assert len({json.dumps(one["CidrBlock"]) for one in subnets.values()}) == len(subnets)
    assert not any(one["MapPublicIpOnLaunch"] for one in subnets.values())


def test_s3_is_reached_without_the_nat_gateways() -> None:
    """By a gateway endpoint in both private tables."""
    endpoint = only("AWS::EC2::VPCEndpoint")
    assert endpoint["VpcEndpointType"] == "Gateway"
    assert endpoint["ServiceName"]["Fn::Sub"].endswith(".s3")
    assert [one["Ref"] for one in endpoint["RouteTableIds"]] == ["PrivateRoutesA", "PrivateRoutesB"]


def test_no_door_is_open_to_the_world_and_the_warehouse_opens_to_airflow_alone() -> None:
    """No ingress from an address range at all."""
    groups = _network("AWS::EC2::SecurityGroup")
    rules = [rule for group in groups.values() for rule in group.get("SecurityGroupIngress", [])]
    rules += _network("AWS::EC2::SecurityGroupIngress").values()
    assert len(rules) == 3
    assert not any("CidrIp" in rule or "CidrIpv6" in rule for rule in rules)
    opened = groups["WarehouseSecurityGroup"]["SecurityGroupIngress"]
    assert {(rule["FromPort"], rule["SourceSecurityGroupId"]["Ref"]) for rule in opened} == {
        (5432, "AirflowSecurityGroup"),
        (5439, "AirflowSecurityGroup"),
    }


# buckets


@pytest.mark.parametrize("name", BUCKETS)
def test_bucket_is_private_versioned_encrypted_and_grows_no_rubbish(name: str) -> None:
    """All four blocks on, no ACLs, versions kept, unfinished uploads removed."""
    bucket = BUCKETS[name]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert bucket["VersioningConfiguration"]["Status"] == "Enabled"
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] in {"AES256", "aws:kms"}
    rules = bucket["LifecycleConfiguration"]["Rules"]
    assert all(one["Status"] == "Enabled" for one in rules)
    assert any("AbortIncompleteMultipartUpload" in one for one in rules)
    assert any("NoncurrentVersionExpiration" in one for one in rules)


@pytest.mark.parametrize("name", BUCKETS)
def test_bucket_answers_over_tls_alone(name: str) -> None:
    """Everybody, every action, bucket and objects."""
    logical = name.partition(":")[2]
    (policy,) = (
        one["Properties"]
        for one in resources("AWS::S3::BucketPolicy").values()
        if one["Properties"]["Bucket"]["Ref"] == logical
    )
    (statement,) = (one for one in policy["PolicyDocument"]["Statement"] if one.get("Sid") == "TlsOnly")
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert [next(iter(one.values())) for one in statement["Resource"]] == [[logical, "Arn"], f"${{{logical}.Arn}}/*"]
    for one in policy["PolicyDocument"]["Statement"]:
        assert one["Effect"] == "Deny" or one["Principal"] != "*", "nobody is let in by the bucket's policy"


def test_what_is_landed_outlives_its_stack_and_nothing_else_does() -> None:
    """The rest can be made anew."""
    assert {name.partition(":")[2]: one["DeletionPolicy"] for name, one in BUCKETS.items()} == {
        "LakeBucket": "Retain",
        "CodeBucket": "Delete",
        "ResultsBucket": "Delete",
        "AccessLogBucket": "Delete",
    }


# events


def test_only_the_lake_may_send_to_the_queue_and_it_sends_what_is_dropped() -> None:
    """By the bucket's ARN and account; the bucket's own name must be the one that the policy says."""
    (policy,) = (one for name, one in resources("AWS::SQS::QueuePolicy").items() if name.endswith(":DropQueuePolicy"))
    allows = [one for one in policy["Properties"]["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"]
    (allow,) = allows
    assert allow["Principal"] == {"Service": "s3.amazonaws.com"}
    assert allow["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    arn = allow["Condition"]["ArnEquals"]["aws:SourceArn"]["Fn::Sub"]
    lake = BUCKETS["buckets.yaml:LakeBucket"]["Properties"]
    assert arn == "arn:${AWS::Partition}:s3:::" + lake["BucketName"]["Fn::Sub"]
    (sent,) = lake["NotificationConfiguration"]["QueueConfigurations"]
    assert sent["Event"] == "s3:ObjectCreated:*"
    assert sent["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "drop/"}]


def test_events_are_encrypted_and_given_up_to_a_queue_of_their_own() -> None:
    """After five tries; both over TLS alone."""
    queues = _network("AWS::SQS::Queue")
    assert all(queue["SqsManagedSseEnabled"] for queue in queues.values())
    assert queues["DropQueue"]["RedrivePolicy"]["maxReceiveCount"] == 5
    denied = {
        one["Properties"]["Queues"][0]["Ref"]
        for one in resources("AWS::SQS::QueuePolicy").values()
        for statement in one["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    }
    assert denied == set(queues)


# warehouses


def test_postgres_is_private_encrypted_backed_up_and_of_the_version_that_tests_run_on() -> None:
    """And nobody's password stands in a template."""
    instance = only("AWS::RDS::DBInstance")
    assert instance["PubliclyAccessible"] is False
    assert instance["StorageEncrypted"] is True
    assert instance["BackupRetentionPeriod"] >= 7
    assert instance["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in instance
    parameters = TEMPLATES["postgres.yaml"]["Parameters"]
    major = parameters["EngineVersion"]["Default"].partition(".")[0]
    assert only("AWS::RDS::DBParameterGroup")["Family"] == f"postgres{major}"
    assert only("AWS::RDS::DBParameterGroup")["Parameters"]["rds.force_ssl"] == "1"
    assert parameters["MultiAz"]["Default"] == "true"
    assert parameters["DeletionProtection"]["Default"] == "true"
    (resource,) = resources("AWS::RDS::DBInstance").values()
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Snapshot"


def test_postgres_is_of_the_major_version_that_the_tests_run_on(postgres: Any) -> None:  # noqa: ANN401
    """The embedded server's."""
    with postgres.connect() as connection, connection.cursor() as cursor:
        cursor.execute("show server_version_num")
        major = int(cursor.fetchone()[0]) // 10_000
    assert TEMPLATES["postgres.yaml"]["Parameters"]["EngineVersion"]["Default"].startswith(f"{major}.")


def test_redshift_is_private_bounded_and_keeps_its_last_snapshot() -> None:
    """Serverless bills by RPU: from 8, at most what the parameter says."""
    workgroup, namespace = only("AWS::RedshiftServerless::Workgroup"), only("AWS::RedshiftServerless::Namespace")
    assert workgroup["PubliclyAccessible"] is False
    assert {"ParameterKey": "require_ssl", "ParameterValue": "true"} in workgroup["ConfigParameters"]
    assert namespace["ManageAdminPassword"] is True
    assert "AdminUserPassword" not in namespace
    assert namespace["FinalSnapshotName"]
    assert list(imports(namespace["IamRoles"])) == ["RedshiftCopyRoleArn"]
    parameters = TEMPLATES["redshift.yaml"]["Parameters"]
    assert parameters["BaseCapacity"]["Default"] == 8
    assert parameters["BaseCapacity"]["Default"] <= parameters["MaxCapacity"]["Default"] <= 64


# Airflow


def test_mwaa_runs_airflow_nearest_to_the_lock_in_private_subnets() -> None:
    """Same minor version as uv.lock; the version that infra/mwaa/image.txt speaks of."""
    version = TEMPLATES["mwaa.yaml"]["Parameters"]["AirflowVersion"]["Default"]
    (locked,) = re.findall(r'name = "apache-airflow"\nversion = "([\d.]+)"', (PROJECT / "uv.lock").read_text())
    assert version.split(".")[:2] == locked.split(".")[:2]
    assert f"apache-airflow[celery,statsd]=={version}\n" in (PROJECT / "infra" / "mwaa" / "image.txt").read_text()
    environment = only("AWS::MWAA::Environment")
    assert list(imports(environment["NetworkConfiguration"]["SubnetIds"])) == ["PrivateSubnetA", "PrivateSubnetB"]
    assert all(one["Enabled"] for one in environment["LoggingConfiguration"].values())
    parameters = TEMPLATES["mwaa.yaml"]["Parameters"]
    assert parameters["WebserverAccessMode"]["Default"] == "PRIVATE_ONLY"
    assert parameters["MinWorkers"]["Default"] <= parameters["MaxWorkers"]["Default"] <= 10


def test_mwaa_asks_the_secrets_for_connections_as_the_docs_say() -> None:
    """The backend and its arguments of docs/secrets.md, with the project as prefix, which the role may read."""
    options = only("AWS::MWAA::Environment")["AirflowConfigurationOptions"]
    docs = (PROJECT / "docs" / "secrets.md").read_text()
    assert f"AIRFLOW__SECRETS__BACKEND={options['secrets.backend']}\n" in docs
    said = json.loads(re.findall(r"AIRFLOW__SECRETS__BACKEND_KWARGS=(\{.*\})", docs)[0])
    ours = json.loads(options["secrets.backend_kwargs"]["Fn::Sub"].replace("${Project}", "sluice"))
    assert {**ours, "region_name": ""} == {**said, "region_name": ""}


def test_startup_script_takes_what_the_stack_gives() -> None:
    """Each `sluice.*` option is read, and none that is not given."""
    given = {
        name.partition(".")[2]
        for name in only("AWS::MWAA::Environment")["AirflowConfigurationOptions"]
        if name.startswith("sluice.")
    }
    read = re.findall(r"AIRFLOW__SLUICE__(\w+)", (PROJECT / "infra" / "mwaa" / "startup.sh").read_text())
    assert {name.lower() for name in read} == given


def test_every_connection_of_the_docs_has_its_secret() -> None:
    """By name; those of the warehouse with a password that AWS makes up, the others empty but for the bucket's."""
    secrets = {
        one["Properties"]["Name"]["Fn::Sub"].removeprefix("${Project}/"): one["Properties"]
        for one in resources("AWS::SecretsManager::Secret").values()
    }
    docs = (PROJECT / "docs" / "secrets.md").read_text()
    table = re.findall(r"^\| (`.*?) \| \w+ \|", docs, re.MULTILINE)
    named = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert {name.removeprefix("connections/") for name in secrets if name.startswith("connections/")} == named
    for name, secret in secrets.items():
        if "GenerateSecretString" not in secret:
            assert name == "connections/sluice_s3" or "SecretString" not in secret
            continue
        made = secret["GenerateSecretString"]
        template = made["SecretStringTemplate"]
        said = json.loads(template if isinstance(template, str) else template["Fn::Sub"][0])
        assert said["login"] == name.partition("/")[2]
        assert (made["GenerateStringKey"], made["PasswordLength"]) == ("password", 40)
        if name == "connections/sluice_redshift":
            assert (said["conn_type"], said["schema"], set(said["extra"])) == ("redshift", "warehouse", {"iam_role"})
        elif name.startswith("connections/"):
            assert (said["conn_type"], said["schema"], said["extra"]["sslmode"]) == (
                "postgres",
                "warehouse",
                "verify-full",
            )


def test_every_role_of_the_warehouse_has_its_password_made() -> None:
    """What the bootstrap asks for, and no more but the mirror's user."""
    from include.warehouse.bootstrap import ROLES

    made = [
        one["Properties"]
        for one in resources("AWS::SecretsManager::Secret").values()
        if "GenerateSecretString" in one["Properties"]
    ]
    assert {one["Name"]["Fn::Sub"].rpartition("/")[2] for one in made} == {*ROLES, "sluice_redshift"}


# who is trusted


def test_each_role_trusts_one_service_or_one_environment_of_one_repository() -> None:
    """Conditions keep other accounts' services out, and other branches, tags and forks."""
    trust = {
        name.partition(":")[2]: role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        for name, role in resources("AWS::IAM::Role").items()
    }
    assert {name: len(statements) for name, statements in trust.items()} == dict.fromkeys(trust, 1)
    (airflow,) = trust["AirflowRole"]
    assert airflow["Principal"] == {"Service": ["airflow.amazonaws.com", "airflow-env.amazonaws.com"]}
    assert airflow["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert airflow["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"].endswith(":environment/${Project}")
    (copy,) = trust["RedshiftCopyRole"]
    assert copy["Principal"] == {"Service": ["redshift-serverless.amazonaws.com", "redshift.amazonaws.com"]}
    (monitoring,) = trust["MonitoringRole"]
    assert monitoring["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    (deploy,) = trust["DeployRole"]
    assert deploy["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert deploy["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {"Fn::Sub": "repo:${Repository}:environment:${Environment}"},
        }
    }
    assert only("AWS::IAM::OIDCProvider")["ClientIdList"] == ["sts.amazonaws.com"]
    for name in ("Repository", "Environment"):
        pattern = TEMPLATES["github.yaml"]["Parameters"][name]["AllowedPattern"]
        assert not re.fullmatch(pattern, "*"), "a wildcard would be taken by its letter, and a mistake"


# the lake


def test_athena_writes_where_it_is_told_encrypted_and_reads_within_bounds() -> None:
    """Whoever asks cannot override it."""
    settings = only("AWS::Athena::WorkGroup")["WorkGroupConfiguration"]
    assert settings["EnforceWorkGroupConfiguration"] is True
    assert list(imports(settings["ResultConfiguration"])) == ["ResultsBucket"]
    assert settings["ResultConfiguration"]["EncryptionConfiguration"] == {"EncryptionOption": "SSE_S3"}
    assert settings["BytesScannedCutoffPerQuery"]


# alarms


def test_every_alarm_tells_the_topic_when_it_begins_and_ends() -> None:
    """For MWAA, Postgres and the queues; silence of what must speak is an alarm too."""
    alarms = resources("AWS::CloudWatch::Alarm")
    for alarm in alarms.values():
        assert alarm["Properties"]["AlarmActions"] == alarm["Properties"]["OKActions"] == [{"Ref": "Topic"}]
    watched = {(one["Properties"]["Namespace"], one["Properties"]["MetricName"]) for one in alarms.values()}
    assert watched == {
        ("AmazonMWAA", "SchedulerHeartbeat"),
        ("AmazonMWAA", "ImportErrors"),
        ("AWS/MWAA", "ApproximateAgeOfOldestTask"),
        ("AWS/RDS", "FreeStorageSpace"),
        ("AWS/RDS", "CPUUtilization"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
    }
    silent = alarms["alarms.yaml:SchedulerSilent"]["Properties"]
    assert silent["TreatMissingData"] == "breaching"


# how stacks hang together


def test_every_import_is_exported_and_the_documented_order_makes_it_before() -> None:
    """The order of docs/deploy-aws.md; CloudFormation refuses the others, in building and in tearing down."""
    docs = (PROJECT / "docs" / "deploy-aws.md").read_text()
    order = [f"{name}.yaml" for name in re.findall(r"^\| \d+ \| `(\w+)` \|", docs, re.MULTILINE)]
    assert sorted(order) == sorted(TEMPLATES)
    made = exports()
    for file, template in TEMPLATES.items():
        for name in imports(template):
            assert name in made, f"{file} imports {name}, which no template exports"
            assert order.index(made[name]) < order.index(file), f"{file} comes before {made[name]}"
    used = {name for template in TEMPLATES.values() for name in imports(template)}
    assert set(made) - used == {
        "RedshiftHost",
        "RedshiftWorkgroup",
        "CodeBucket",
        "AthenaWorkGroup",
    }


def test_every_stack_takes_the_project_that_its_names_begin_with() -> None:
    """So that two can be in one account."""
    for file, template in TEMPLATES.items():
        assert template["Parameters"]["Project"]["Default"] == "sluice", file


def test_what_holds_data_says_what_becomes_of_it() -> None:
    """A deletion policy by thought, not by default."""
    for kind in (
        "AWS::S3::Bucket",
        "AWS::RDS::DBInstance",
        "AWS::RedshiftServerless::Namespace",
        "AWS::MWAA::Environment",
    ):
        for name, resource in resources(kind).items():
            assert resource.get("DeletionPolicy"), name
            assert resource.get("UpdateReplacePolicy"), name


def test_no_policy_lets_everybody_in() -> None:
    """`Principal: "*"` denies, and never allows."""
    documents = [
        one["Properties"]["PolicyDocument"]
        for kind in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
        for one in resources(kind).values()
    ]
    assert len(documents) == 7
    for document in documents:
        for statement in document["Statement"]:
            if statement["Effect"] == "Allow":
                assert "*" not in listed(statement["Principal"].get("AWS", [])), statement
                assert statement["Condition"], statement
