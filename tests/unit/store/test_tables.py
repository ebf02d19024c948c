from __future__ import annotations

import boto3

from chalicelib.store import tables
from tests.support.tables import REGION, moto_aws


def test_the_endpoint_of_the_environment_is_used(monkeypatch):
    with moto_aws():
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4599")
        tables.bind("x-", REGION)
        assert tables.connection().client.meta.endpoint_url == "http://127.0.0.1:4599"


def test_all_tables_share_one_client():
    with moto_aws():
        clients = {id(model._get_connection().connection.client) for model in tables.TABLES}
        assert clients == {id(tables.connection().client)}


def test_binding_anew_names_every_table_anew():
    with moto_aws():
        outer = {model.Meta.table_name for model in tables.TABLES}
        with moto_aws():
            inner = {model._get_connection().table_name for model in tables.TABLES}
        assert len(inner) == len(tables.TABLES)
        assert not inner & outer
        assert {model._get_connection().table_name for model in tables.TABLES} == outer


def test_only_remembered_answers_and_old_scans_are_forgotten_by_themselves():
    with moto_aws():
        client = boto3.client("dynamodb", region_name=REGION)
        ending = {}
        for model in tables.TABLES:
            told = client.describe_time_to_live(TableName=model.Meta.table_name)["TimeToLiveDescription"]
            ending[tables.name_of(model)] = told.get("AttributeName")
    told = {name: attribute for name, attribute in ending.items() if attribute}
    assert told == dict.fromkeys(("idempotency", "syncs", "scans"), "expires_at")


def test_what_must_be_listed_at_once_has_a_local_index():
    with moto_aws():
        table = boto3.client("dynamodb", region_name=REGION).describe_table(TableName=tables.CsrRow.Meta.table_name)
    (index,) = table["Table"]["LocalSecondaryIndexes"]
    assert index["KeySchema"][0] == {"AttributeName": "account_id", "KeyType": "HASH"}
    assert index["Projection"] == {"ProjectionType": "ALL"}
