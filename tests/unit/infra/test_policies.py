"""Each function's policy against every call that the function makes: the emulator enforces none.

The functions run on moto; what they send is turned into the actions and resources that IAM would be asked about.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import timedelta
from urllib.parse import parse_qs, quote, unquote, urlsplit

import boto3
import pytest
from chalice.app import AuthRequest

from chalicelib.api import events
from chalicelib.api.authoriser import authorise_request
from chalicelib.domain.model import Caller, Role
from chalicelib.domain.quota import Purchase, PurchaseState, Reservation
from chalicelib.domain.scans import ScanRun
from chalicelib.functions.scan import ScanFailedError
from chalicelib.store.certificates import DynamoCertificateStore
from chalicelib.store.syncs import DynamoSyncStore
from infra.package import ROOT
from tests.support.authority import Authority
from tests.support.moto_service import service_on_moto
from tests.support.records import event, material, record, ulid
from tests.support.service import ARN, Client, operator, tenant, uploaded
from tests.support.tables import REGION

CHALICE = ROOT / ".chalice"
KINDS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


def allowed(function: str) -> set[tuple[str, str]]:
    """(action, resource) pairs of a policy, resources by their names in the template."""
    config = json.loads((CHALICE / "config.json").read_text())
    own = config["stages"]["package"]["lambda_functions"].get(function, {})
    file = own.get("iam_policy_file", config["iam_policy_file"])
    pairs = set()
    for statement in json.loads((CHALICE / file).read_text())["Statement"]:
        for resource in statement["Resource"]:
            name = resource.get("Fn::GetAtt", [""])[0] if isinstance(resource, dict) else resource
            if isinstance(resource, dict) and "Fn::Sub" in resource:
                name = re.sub(r"\$\{([\w:]+)(?:\.Arn)?\}", r"\1", resource["Fn::Sub"]).removeprefix("arn:aws:s3:::")
            pairs |= {(action, name) for action in statement["Action"]}
    return pairs


def table(name: str) -> str:
    """``test-3-certificates`` is ``CertificatesTable`` in the template."""
    return name.rpartition("-")[2].capitalize() + "Table"


def asked(request) -> set[tuple[str, str]]:
    """What IAM would be asked for one request to AWS."""
    target = request.headers.get("X-Amz-Target", b"")
    target = target.decode() if isinstance(target, bytes) else target
    if target.startswith("DynamoDB"):
        return asked_of_dynamodb(target.partition(".")[2], json.loads(request.body))
    service, _, action = target.partition(".")
    known = {"TrentService": asked_of_kms, "AmazonSQS": asked_of_sqs, "secretsmanager": asked_of_secrets}
    if service in known:
        return known[service](action, json.loads(request.body))
    if service == "ACMPrivateCA":
        return set()  # under the account's own role
    if urlsplit(request.url).netloc.startswith("sts."):
        assert parse_qs(request.body)["RoleArn"][0].partition("role/")[2].startswith("certhaven-")
        return {("sts:AssumeRole", ROLES)}
    if urlsplit(request.url).netloc.startswith("email."):
        assert urlsplit(request.url).path == "/v2/email/outbound-emails"
        return {("ses:SendEmail", IDENTITIES), ("ses:SendRawEmail", IDENTITIES)}  # a raw message needs both
    return asked_of_s3(request)


def asked_of_kms(action: str, body: dict) -> set[tuple[str, str]]:
    return {(f"kms:{action}", "PrivateKeysKey")}


def asked_of_sqs(action: str, body: dict) -> set[tuple[str, str]]:
    queue = body["QueueUrl"].rpartition("-")[2].capitalize() + "Queue"
    return {(f"sqs:{action.removesuffix('Batch')}", queue)}


def asked_of_secrets(action: str, body: dict) -> set[tuple[str, str]]:
    assert body["SecretId"].startswith("test/")
    return {(f"secretsmanager:{action}", SECRETS)}


def asked_of_dynamodb(action: str, body: dict) -> set[tuple[str, str]]:
    if action == "TransactWriteItems":
        return {
            (f"dynamodb:{KINDS[kind]}", table(item["TableName"]))
            for one in body["TransactItems"]
            for kind, item in one.items()
        }
    if action == "TransactGetItems":
        return {("dynamodb:GetItem", table(one["Get"]["TableName"])) for one in body["TransactItems"]}
    if action in {"BatchWriteItem", "BatchGetItem"}:
        return {(f"dynamodb:{action}", table(name)) for name in body["RequestItems"]}
    index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
    return {(f"dynamodb:{action}", table(body["TableName"]) + index)}


SECRETS = "arn:AWS::Partition:secretsmanager:AWS::Region:AWS::AccountId:secret:AWS::StackName/*"
IDENTITIES = "arn:AWS::Partition:ses:AWS::Region:AWS::AccountId:identity/*"
ROLES = "arn:AWS::Partition:iam::*:role/certhaven-*"


def asked_of_s3(request) -> set[tuple[str, str]]:
    url = urlsplit(request.url)
    query, key = parse_qs(url.query, keep_blank_values=True), unquote(url.path.lstrip("/"))
    if "versions" in query:
        return {("s3:ListBucketVersions", "DropBucket")}
    folder = f"DropBucket/{key.partition('/')[0]}/*"
    version = "Version" if "versionId" in query else ""
    if request.method == "PUT" and "x-amz-copy-source" in request.headers:
        return {("s3:PutObject", folder), ("s3:GetObjectVersion", "DropBucket/drop/*")}
    verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete"}[request.method]
    return {(f"s3:{verb}Object{version}", folder)}


def needs(cloud, work) -> set[tuple[str, str]]:
    """What a piece of work asks of IAM."""
    cloud.sent.clear()
    work()
    return set().union(*(asked(request) for request in cloud.sent))


@pytest.fixture
def cloud():
    """The service; counters are folded by every write, for what that takes to be seen."""
    with service_on_moto() as made:
        made.services.certificate_store = DynamoCertificateStore(fold_every=1)
        made.services.sync_store = DynamoSyncStore(fold_every=1)
        yield made


class BehindTheAuthoriser(Client):
    """Leaves what the authoriser sends out of the record: that is another function."""

    def _event(self, *arguments):
        before = len(self.services.sent)
        event = super()._event(*arguments)
        del self.services.sent[before:]
        return event


@pytest.fixture
def owner(cloud):
    cloud.services.sent = cloud.sent
    return tenant(BehindTheAuthoriser(cloud.services))


ROOT_CA = Authority.root()


def upload(domain: str) -> dict:
    leaf = ROOT_CA.issue(domain, number=ord(domain[0]))
    return {"certificate": leaf.pem, "private_key": leaf.key_pem, "chain": ROOT_CA.pem}


def walk_through_the_api(owner) -> None:
    """Every route, and the ways through them that reach another part of a store."""
    admin = owner.admin
    body = upload("a.example.com") | {"name": "first", "tags": {"env": "live"}, "resource_group": "web"}
    first = admin.post("/v1/certificates", body, headers={"Idempotency-Key": "1"}).json
    admin.post("/v1/certificates", body, headers={"Idempotency-Key": "1"})
    admin.post("/v1/certificates", body)
    admin.post("/v1/certificates", upload("b.example.com") | {"name": "first"}, headers={"Idempotency-Key": "2"})
    admin.post("/v1/certificates/parse", body)
    for query in ("", "domain=a.example.com", "tag=env", "resource_group=web", "source=upload", "q=first"):
        assert admin.get(f"/v1/certificates?{query}").status == 200
    place = f"/v1/certificates/{first['id']}"
    admin.get(place)
    assert admin.patch(place, {"name": "other", "tags": {"env": "test"}, "resource_group": "shop"}).status == 200
    assert admin.get(f"{place}/download").status == 200
    assert admin.post(f"{place}/renewals", upload("a.example.com")).status in {201, 409}
    renewed = admin.post(f"{place}/renewals", upload("c.example.com")).json
    retired = admin.get(place).json["name"]
    admin.delete(f"{place}?confirm={retired}")
    admin.delete(f"/v1/certificates/{renewed.get('id', 'none')}?confirm=other")
    made = admin.post("/v1/csrs", {"algorithm": "ECC", "common_name": "d.example.com"}).json
    admin.get("/v1/csrs")
    admin.get(f"/v1/csrs/{made['id']}")
    leaf = ROOT_CA.issue("e.example.com", number=77)
    admin.post("/v1/certificates", {"certificate": leaf.pem, "chain": ROOT_CA.pem, "csr_id": made["id"]})
    admin.post("/v1/certificates", {"certificate": leaf.pem, "chain": ROOT_CA.pem})
    admin.delete(f"/v1/csrs/{made['id']}")
    token = admin.post("/v1/tokens", {"name": "t", "role": "viewer"}).json
    admin.get("/v1/tokens")
    admin.delete(f"/v1/tokens/{token['id']}")
    admin.get("/v1/me")
    admin.get("/v1/audit-events")


def walk_through_figures(owner) -> None:
    admin = owner.admin
    admin.post("/v1/certificates", upload("i.example.com"))
    for path in ("summary", "pending-items", "pending-items/risk", "pending-items/pending_renewal"):
        assert admin.get(f"/v1/{path}").status == 200, path
    assert admin.post("/v1/pending-items/snooze", {}).status == 200
    assert admin.delete("/v1/pending-items/snooze").status == 204


def name_a_role(owner) -> None:
    """Configure AWS Private CA for the account."""
    boto3.client("secretsmanager", region_name=REGION).create_secret(
        Name=f"test/aws/{owner.account_id}",
        SecretString=json.dumps({"role_arn": "arn:aws:iam::123456789012:role/certhaven-reader"}),
    )


def built_in_ca(admin) -> str:
    """An intermediate with two certificates, one of them for a stored request."""
    root = admin.post("/v1/pca/cas", {"kind": "root", "common_name": "Root", "algorithm": "ECC"}).json["id"]
    body = {"kind": "intermediate", "parent": root, "common_name": "Middle", "algorithm": "ECC"}
    ca = admin.post("/v1/pca/cas", body).json["id"]
    for host in ("one.example.com", "two.example.com"):
        assert admin.post(f"/v1/pca/cas/{ca}/certificates", {"common_name": host}).status == 201
    return ca


def walk_through_private_cas(owner) -> None:
    admin = owner.admin
    ca = built_in_ca(admin)
    request = admin.post("/v1/csrs", {"algorithm": "ECC", "common_name": "f.example.com"}).json
    admin.post(f"/v1/pca/cas/{ca}/certificates", {"csr_id": request["id"]})
    for path in ("sources", "cas", f"cas/{ca}/certificates", "cas?source=aws&region=eu-central-1"):
        assert admin.get(f"/v1/pca/{path}").status == 200, path
    first = admin.get(f"/v1/pca/cas/{ca}/certificates").json["items"][0]["id"]
    for body in ({"ca": ca}, {"ca": ca, "certificate_ids": [first]}):
        job = admin.post("/v1/pca/sync-jobs", body)
        assert job.status == 202
        admin.get(f"/v1/pca/sync-jobs/{job.json['id']}")
        admin.get(f"/v1/pca/cas/{ca}/certificates")
    admin.get("/v1/pca/sync-jobs")
    for hours in (24, 12):
        assert admin.put(f"/v1/pca/cas/{ca}/schedule", {"every_hours": hours}).status == 200
    admin.get(f"/v1/pca/cas/{ca}/schedule")
    admin.delete(f"/v1/pca/cas/{ca}/schedule")
    admin.get(f"/v1/pca/cas/{ca}/crl")
    assert admin.post(f"/v1/pca/certificates/{first}/revocation", {}).status == 200
    assert admin.post(f"/v1/pca/cas/{ca}/revocation", {}).status == 200


def walk_through_contacts(admin) -> None:
    channels = [{"kind": "email", "address": "ops@example.com"}, {"kind": "apprise", "url": "json://127.0.0.1:9/x"}]
    made = admin.post("/v1/contacts", {"name": "Ops", "channels": channels}).json
    admin.get("/v1/contacts")
    place = f"/v1/contacts/{made['id']}"
    assert admin.patch(place, {"channels": channels[:1]}).status == 200
    assert admin.post(f"{place}/test").json["channels"][0]["outcome"] == "sent"
    assert admin.delete(place).status == 204
    assert admin.get("/v1/scans").status == 200
    assert admin.put("/v1/reminder-policy", {"days": [7]}).status == 200
    admin.get("/v1/reminder-policy")


def walk_through_the_quota(owner, platform) -> None:
    admin = owner.admin
    cloud_quota = admin.services.quota_store
    held = uploaded(admin, "quota.example.com", number=90)
    assert admin.get("/v1/notification-quota").status == 200
    assert admin.post("/v1/notifications/enable", {"certificate_ids": [held["id"]]}).json["enabled"] == 1
    assert admin.post("/v1/notification-quota/purchases", {"units": 5}).status == 201
    waiting = Purchase(ulid(), owner.account_id, 1, PurchaseState.OPEN, admin.services.clock(), "token")
    cloud_quota.order(waiting, event(owner.account_id))
    assert len(admin.get("/v1/notification-quota/purchases").json["items"]) == 2
    assert len(platform.get("/v1/quota-purchases").json["items"]) == 1
    place = f"/v1/accounts/{owner.account_id}/quota-purchases/{waiting.id}"
    assert platform.patch(place, {"state": "fulfilled"}).status == 200
    assert admin.delete(f"/v1/certificates/{held['id']}?confirm={quote(held['name'])}").status == 204


def walk_through_accounts(platform) -> None:
    entity = {"id": "e", "kind": "enterprise"}
    made = platform.post("/v1/accounts", {"name": "B", "site": "china", "entity": entity}).json
    platform.get("/v1/accounts")
    platform.patch(f"/v1/accounts/{made['id']}", {"entity": {"verified": True}})
    platform.post(f"/v1/accounts/{made['id']}/tokens", {"name": "again"})


def drop_everything(cloud, owner) -> None:
    folder = f"drop/{owner.account_id}"
    leaf = ROOT_CA.issue("f.example.com", number=5)
    cloud.put(f"{folder}/good.pem", leaf.pem + ROOT_CA.pem + leaf.key_pem)
    cloud.put(f"{folder}/good.pem", leaf.pem + ROOT_CA.pem + leaf.key_pem)
    cloud.put(f"{folder}/bad.pem", leaf.pem)
    cloud.put(f"{folder}/bad.key", ROOT_CA.key_pem)
    cloud.put("drop/4711/stray.pem", leaf.pem + leaf.key_pem)


def test_the_api_may_do_all_that_it_does_and_is_allowed_little_else(cloud, owner):
    platform = operator(owner.admin)
    name_a_role(owner)
    wanted = needs(cloud, lambda: walk_through_the_api(owner)) | needs(cloud, lambda: walk_through_accounts(platform))
    wanted |= needs(cloud, lambda: walk_through_private_cas(owner))
    wanted |= needs(cloud, lambda: walk_through_contacts(owner.admin))
    wanted |= needs(cloud, lambda: walk_through_figures(owner))
    wanted |= needs(cloud, lambda: walk_through_the_quota(owner, platform))
    granted = {pair for pair in allowed("api_handler") if not pair[0].startswith("logs:")}
    assert wanted <= granted
    assert granted - wanted == set()


def test_the_authoriser_may_do_all_that_it_does_and_nothing_else(cloud, owner):
    request = AuthRequest("TOKEN", f"Bearer {owner.admin.token}", ARN)
    wanted = needs(cloud, lambda: authorise_request(cloud.services, request))
    assert wanted == {pair for pair in allowed("authorise") if not pair[0].startswith("logs:")}


def test_the_drop_function_may_do_all_that_it_does(cloud, owner):
    drop_everything(cloud, owner)
    keys = [f"drop/{owner.account_id}/{name}" for name in ("good.pem", "bad.pem", "bad.key", "gone.pem")]
    records = [
        {"messageId": str(n), "body": json.dumps({"Records": [{"s3": {"object": {"key": key}}}]})}
        for n, key in enumerate([*keys, "drop/4711/stray.pem"])
    ]
    wanted = needs(cloud, lambda: events.drop(cloud.services, {"Records": records}, "request"))
    assert {name.partition("/")[0] for name in cloud.objects()} == {"done", "failed"}
    assert wanted <= allowed("drop")


def test_the_sweep_may_do_all_that_it_does(cloud, owner):
    drop_everything(cloud, owner)
    cloud.services.clock.now = cloud.services.clock.now.replace(year=2100)
    wanted = needs(cloud, lambda: events.drop_sweep(cloud.services, "request"))
    assert wanted <= allowed("drop-sweep")


def test_a_direct_upload_may_do_all_that_it_does(cloud, owner):
    event = upload("g.example.com") | {"account_id": owner.account_id, "tags": {"a": "b"}}
    wanted = needs(cloud, lambda: events.upload_validate(cloud.services, event, "request"))
    wanted |= needs(cloud, lambda: events.upload_validate(cloud.services, event, "request"))
    leaf = ROOT_CA.issue("h.example.com", number=6)
    without_key = {"account_id": owner.account_id, "certificate": leaf.pem}
    wanted |= needs(cloud, lambda: events.upload_validate(cloud.services, without_key, "request"))
    assert wanted <= allowed("upload-validate")


def work_off(cloud) -> None:
    """Carry out what waits in the queue, and what that sends in turn."""
    while messages := cloud.messages():
        assert events.pca_sync_worker(cloud.services, {"Records": messages}, "request") == {"batchItemFailures": []}


def test_a_worker_of_the_synchronisation_may_do_all_that_it_does(cloud, owner):
    ca = built_in_ca(owner.admin)
    first = owner.admin.get(f"/v1/pca/cas/{ca}/certificates").json["items"][0]["id"]
    wanted = set()
    for body in ({"ca": ca, "certificate_ids": [first, "nothing"]}, {"ca": ca}, {"ca": ca}):
        assert owner.admin.post("/v1/pca/sync-jobs", body).status == 202
        wanted |= needs(cloud, lambda: work_off(cloud))
    assert len(owner.admin.get("/v1/certificates?source=pca").json["items"]) == 2
    own = {(a, n) for a, n in wanted if a != "sqs:ReceiveMessage"}
    assert own <= allowed("pca-sync-worker")


def test_the_schedule_of_synchronisations_may_do_all_that_it_does(cloud, owner):
    ca = built_in_ca(owner.admin)
    owner.admin.put(f"/v1/pca/cas/{ca}/schedule", {"every_hours": 1})
    for body in ({"ca": ca}, {"ca": ca, "certificate_ids": ["nothing"]}):
        owner.admin.post("/v1/pca/sync-jobs", body)
    wanted = set()
    for hours in (1, 25, 26):
        cloud.services.clock.now += timedelta(hours=hours)
        wanted |= needs(cloud, lambda: events.pca_sync_schedule(cloud.services, "request"))
    assert wanted <= allowed("pca-sync-schedule")


def test_a_direct_start_of_a_synchronisation_may_do_all_that_it_does(cloud, owner):
    ca = built_in_ca(owner.admin)
    event = {"account_id": owner.account_id, "ca": ca}
    answers = []
    wanted = needs(cloud, lambda: answers.append(events.pca_batch_sync(cloud.services, event, "request")))
    named = event | {"certificate_ids": ["one"]}
    wanted |= needs(cloud, lambda: answers.append(events.pca_batch_sync(cloud.services, named, "request")))
    assert [set(answer) for answer in answers] == [{"job"}, {"job"}]
    assert wanted <= allowed("pca-batch-sync")


def test_renewals_by_the_built_in_ca_may_do_all_that_they_do(cloud, owner):
    ca = built_in_ca(owner.admin)
    owner.admin.post("/v1/pca/sync-jobs", {"ca": ca})
    work_off(cloud)
    one, two = owner.admin.get("/v1/certificates?source=pca").json["items"]
    for held in (one, two):
        assert owner.admin.patch(f"/v1/certificates/{held['id']}", {"auto_renew": True}).status == 200
    owner.admin.patch(f"/v1/certificates/{two['id']}", {"name": "two"})
    cloud.services.clock.now += timedelta(days=300)
    wanted = needs(cloud, lambda: events.pca_renewal(cloud.services, "request"))
    assert cloud.services.certificate_store.get(owner.account_id, one["id"]).replaced_by is not None
    assert wanted <= allowed("pca-renewal")


def test_the_sweep_of_reservations_may_do_all_that_it_does_and_nothing_else(cloud, owner):
    held = uploaded(owner.admin, "quota.example.com", number=90)
    caller = Caller(owner.account_id, Role.MANAGER, "token")
    ids, now = (held["id"], ulid()), cloud.services.clock()
    cloud.services.quota_store.reserve(Reservation(ulid(), owner.account_id, ids, 2, now, caller))
    cloud.services.clock.now += timedelta(hours=1)
    cloud.services.certificate_store._fold_every = 1
    wanted = needs(cloud, lambda: events.quota_sweep(cloud.services, "request"))
    assert owner.admin.get(f"/v1/certificates/{held['id']}").json["notifications"]
    assert wanted == {(a, n) for a, n in allowed("quota-sweep") if not a.startswith("logs:")}


def scan_now(cloud) -> list[dict]:
    """Start a run; gives the messages for its workers."""
    events.scan(cloud.services, {"detail": {"force": True}}, "request")
    return cloud.messages(cloud.services.settings.scan_queue_url)


def test_the_tick_of_the_scan_may_do_all_that_it_does_and_nothing_else(cloud, owner):
    cloud.services.scan_store.start(ScanRun("2026", cloud.services.clock(), cloud.services.clock()))
    cloud.services.clock.now += timedelta(days=2)
    wanted = needs(cloud, lambda: events.scan(cloud.services, {"detail": {"force": True}}, "request"))
    assert wanted == {(a, n) for a, n in allowed("scan") if not a.startswith("logs:")}


def test_a_worker_of_the_scan_may_do_all_that_it_does_and_nothing_else(cloud, owner):
    channels = [{"kind": "email", "address": "ops@example.com"}, {"kind": "apprise", "url": "json://127.0.0.1:9/x"}]
    made = [owner.admin.post("/v1/contacts", {"name": n, "channels": channels}).json["id"] for n in ("Ops", "Web")]
    store, now = cloud.services.certificate_store, cloud.services.clock()
    soon = {"account_id": owner.account_id, "notifications": True, "updated_at": now - timedelta(hours=2)}
    held = [
        record(not_before=now - timedelta(days=life), not_after=now + timedelta(days=6, hours=n), **soon)
        for n, life in enumerate((300, 40, 300))
    ]
    for one in held:
        store.add(one, material(one), event(owner.account_id))
    boto3.client("dynamodb", region_name=REGION).delete_item(
        TableName=f"{cloud.services.settings.table_prefix}certificates",
        Key={"account_id": {"S": owner.account_id}, "certificate_id": {"S": held[2].id}},
    )
    wanted = set()

    def work() -> None:
        for message in scan_now(cloud):
            cloud.sent.clear()
            with suppress(ScanFailedError):
                events.scan_worker(cloud.services, {"Records": [message]}, "request")
            wanted.update(*(asked(request) for request in cloud.sent if ":9/" not in request.url))

    work()
    assert owner.admin.delete(f"/v1/contacts/{made[0]}").status == 204
    assert owner.admin.patch(f"/v1/contacts/{made[1]}", {"channels": channels[:1]}).status == 200
    cloud.services.clock.now += timedelta(days=3)
    work()
    assert list(cloud.services.scan_store.outboxes()) == []
    assert wanted == {(a, n) for a, n in allowed("scan-worker") if not a.startswith("logs:")}
