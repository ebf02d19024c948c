"""The template holds what the code expects, and allows no more than it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from pynamodb.attributes import TTLAttribute

from chalicelib.api import events
from chalicelib.config import documented_settings
from chalicelib.functions.delivery import LEASE
from chalicelib.store.tables import TABLES, name_of
from infra.package import ROOT, sources

CHALICE = ROOT / ".chalice"


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as what stands behind them."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: (suffix, node.value))
TEMPLATE = yaml.load((ROOT / "infra" / "template.yaml").read_text(), Loader)  # noqa: S506 - a SafeLoader
RESOURCES = TEMPLATE["Resources"]


def of_type(kind):
    return {name: r["Properties"] for name, r in RESOURCES.items() if r.get("Type") == kind}


def table_of(model):
    wanted = ("Sub", "${AWS::StackName}-" + name_of(model))
    return next(t for t in of_type("AWS::DynamoDB::Table").values() if t["TableName"] == wanted)


def keys(schema):
    return [(k["AttributeName"], k["KeyType"]) for k in schema]


def model_keys(model):
    hash_key, range_key = model._hash_keyname, model._range_keyname
    return [(hash_key, "HASH")] + ([(range_key, "RANGE")] if range_key else [])


@pytest.mark.parametrize("model", TABLES, ids=name_of)
def test_every_table_has_the_keys_and_indexes_of_its_model(model):
    table = table_of(model)
    assert keys(table["KeySchema"]) == model_keys(model)
    schema = model._get_schema()
    for kind, indexes in (
        ("LocalSecondaryIndexes", schema["local_secondary_indexes"]),
        ("GlobalSecondaryIndexes", schema["global_secondary_indexes"]),
    ):
        held = {i["IndexName"]: keys(i["KeySchema"]) for i in table.get(kind, [])}
        assert held == {i["index_name"]: keys(i["key_schema"]) for i in indexes}
    ttl = [name for name, a in model.get_attributes().items() if isinstance(a, TTLAttribute)]
    assert [table["TimeToLiveSpecification"]["AttributeName"]] == ttl if ttl else "TimeToLiveSpecification" not in table


@pytest.mark.parametrize("model", TABLES, ids=name_of)
def test_every_table_is_on_demand_recoverable_encrypted_and_protected(model):
    table = table_of(model)
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["DeletionProtectionEnabled"] == ("Ref", "DeletionProtection")
    assert TEMPLATE["Parameters"]["DeletionProtection"]["Default"] == "true"
    resource = next(r for r in RESOURCES.values() if r.get("Properties") is table)
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


#: What lies outside of the stack: secrets of its own prefix, roles that accounts made for it, and senders of mail.
OUTSIDE = {
    "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${AWS::StackName}/*",
    "arn:${AWS::Partition}:iam::*:role/certhaven-*",
    "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:identity/*",
}
#: What starts and looks after jobs opens no key; neither does the authoriser.
WITHOUT_KEYS = {"authorise", "pca-batch-sync", "pca-sync-schedule", "quota-sweep", "scan"}


def functions():
    """The functions of the package, with their policy files."""
    config = json.loads((CHALICE / "config.json").read_text())
    named = config["stages"]["package"]["lambda_functions"]
    return {"api": config["iam_policy_file"], **{name: f["iam_policy_file"] for name, f in named.items()}}


def statements(file):
    return json.loads((CHALICE / file).read_text())["Statement"]


def test_every_function_has_a_policy_of_its_own():
    files = list(functions().values())
    assert len(files) == len(set(files)) == 12
    assert {p.name for p in CHALICE.glob("policy-*.json")} == set(files)


@pytest.mark.parametrize("file", functions().values())
def test_a_policy_names_every_action_and_resource(file):
    for statement in statements(file):
        assert not any("*" in action for action in statement["Action"])
        for resource in statement["Resource"]:
            text = json.dumps(resource)
            assert resource != "*"
            named = resource.get("Fn::GetAtt") or [resource["Fn::Sub"][2:].partition(".")[0]]
            assert named[0] in RESOURCES or resource["Fn::Sub"] in OUTSIDE, text
        assert "dynamodb:Scan" not in statement["Action"]


def test_private_keys_are_unwrapped_only_with_their_context_and_only_where_that_is_needed():
    for name, file in functions().items():
        held = [s for s in statements(file) if any(a.startswith("kms:") for a in s["Action"])]
        assert bool(held) is (name not in WITHOUT_KEYS)
        for statement in held:
            wanted = statement["Condition"]["ForAllValues:StringEquals"]["kms:EncryptionContextKeys"]
            assert set(wanted) == {"account_id", "object_id", "fingerprint"}


def test_every_setting_that_has_to_be_told_is_told_by_the_template():
    told = set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    assert told | {"AWS_REGION"} == {variable for variable, _, _ in documented_settings()}


def test_failed_drops_expire_after_seven_days_and_dead_letters_raise_an_alarm():
    (bucket,) = of_type("AWS::S3::Bucket").values()
    rule = next(r for r in bucket["LifecycleConfiguration"]["Rules"] if r.get("Prefix") == "failed/")
    assert rule["ExpirationInDays"] == 7
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    queue = RESOURCES["DropQueue"]["Properties"]
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == ("GetAtt", "DropDeadLetters.Arn")
    config = json.loads((CHALICE / "config.json").read_text())
    timeout = config["stages"]["package"]["lambda_functions"]["drop"]["lambda_timeout"]
    assert queue["VisibilityTimeout"] >= 6 * timeout
    dimensions = [a["Dimensions"] for a in of_type("AWS::CloudWatch::Alarm").values()]
    assert [{"Name": "QueueName", "Value": ("GetAtt", "DropDeadLetters.QueueName")}] in dimensions


def test_what_cannot_be_scanned_or_sent_raises_an_alarm():
    queue = RESOURCES["ScanQueue"]["Properties"]
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == ("GetAtt", "ScanDeadLetters.Arn")
    assert queue["RedrivePolicy"]["maxReceiveCount"] == events.SCAN_TRIES
    config = json.loads((CHALICE / "config.json").read_text())
    timeout = config["stages"]["package"]["lambda_functions"]["scan-worker"]["lambda_timeout"]
    assert queue["VisibilityTimeout"] >= 6 * timeout
    assert timeout < LEASE.total_seconds() < queue["VisibilityTimeout"]
    watched = [(a["MetricName"], a["Dimensions"][0]["Value"]) for a in of_type("AWS::CloudWatch::Alarm").values()]
    assert ("Errors", ("Ref", "Scan")) in watched
    assert ("Errors", ("Ref", "ScanWorker")) in watched
    assert ("ApproximateNumberOfMessagesVisible", ("GetAtt", "ScanDeadLetters.QueueName")) in watched


def test_what_the_gateway_says_by_itself_has_the_shape_of_every_refusal():
    answers = RESOURCES["RestAPI"]["Properties"]["DefinitionBody"]["x-amazon-apigateway-gateway-responses"]
    for kind in ("UNAUTHORIZED", "MISSING_AUTHENTICATION_TOKEN", "REQUEST_TOO_LARGE", "DEFAULT_4XX", "DEFAULT_5XX"):
        body = json.loads(answers[kind]["responseTemplates"]["application/json"])
        assert set(body["error"]) == {"code", "message", "hint", "findings", "request_id"}


def test_the_package_is_made_of_files_that_are_there():
    assert all(isinstance(p, Path) and p.is_file() for p in sources())
