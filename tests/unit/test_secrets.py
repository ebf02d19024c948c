"""Keys, tokens and passphrases are planted everywhere, and looked for everywhere they must not be."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization

from chalicelib.api import events
from tests.support.authority import Authority, private_key
from tests.support.canary import found, logged, plain, secret_numbers, traces
from tests.support.moto_service import service_on_moto
from tests.support.service import Client, operator, tenant
from tests.support.sm2_builder import Sm2Authority, sm2_key

PASSPHRASE = "canary-passphrase-7f3a"
NUMBER = 4711


@pytest.fixture(scope="module")
def root():
    return Authority.root()


CANARIES = {"RSA": "rsa2048", "ECDSA": "p256", "SM2": "sm2"}


def canary(kind: str, root):
    """A certificate with chain and key, as body of an upload, and the numbers that nobody may see."""
    if kind == "sm2":
        signing, encryption = Sm2Authority.root().issue_pair("canary.example.com", numbers=(NUMBER, NUMBER + 1))
        body = {
            "certificate": signing.pem,
            "private_key": signing.key_pem,
            "chain": Sm2Authority.root().pem,
            "encryption_certificate": encryption.pem,
            "encryption_private_key": encryption.key_pem,
        }
        return body, [sm2_key(NUMBER).scalar, sm2_key(NUMBER + 1).scalar]
    leaf = root.issue("canary.example.com", kind=kind, number=NUMBER)
    return {"certificate": leaf.pem, "private_key": leaf.key_pem, "chain": root.pem}, secret_numbers(leaf.key)


def encrypted(key_pem: str) -> str:
    key = serialization.load_pem_private_key(key_pem.encode(), None)
    protection = serialization.BestAvailableEncryption(PASSPHRASE.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection).decode()


def misuse(client: Client, body: dict) -> list[bytes]:
    """Every way of getting a key wrong that people have found, and what they are answered."""
    key = body["private_key"]
    lines = key.splitlines()
    wrong = [
        {"certificate": key},
        {"certificate": body["certificate"], "private_key": "\n".join(lines[:-2])},
        {"certificate": body["certificate"], "private_key": "".join(lines[1:-1])},
        {"certificate": body["certificate"], "private_key": key.replace("-----BEGIN PRIVATE KEY-----", lines[1])},
        {"certificate": body["certificate"], "private_key": key[:90] + "!" + key[91:]},
        {"certificate": body["certificate"], "private_key": key, "name": key},
        {"certificate": body["certificate"], "private_key": [key]},
        {"certificate": body["certificate"], "private_key": key, key: "x"},
        {"certificate": body["certificate"], "tags": {key: key}},
        {"certificate": body["certificate"], "csr_id": lines[1]},
        {"certificate": Authority.root().pem, "private_key": key},
    ]
    answers = [client.post("/v1/certificates", one) for one in wrong]
    answers += [client.post("/v1/certificates/parse", one) for one in (*wrong, body)]
    answers += [
        client.post("/v1/certificates", content=json.dumps(body).encode()[:-30]),
        client.post("/v1/certificates", content=key.encode()),
        client.post("/v1/csrs", {"csr": key, "private_key": key}),
        client.post("/v1/csrs", {"algorithm": "RSA", "common_name": lines[1]}),
        client.post("/v1/conversions", {"from": "pem", "to": "jks", "input": key, "passphrase": PASSPHRASE}),
        client.post("/v1/conversions", {"from": "pfx", "to": "pem", "input": lines[1], "passphrase": PASSPHRASE}),
        client.post("/v1/conversions", {"from": key, "to": "pem", "input": key}),
        client.get(f"/v1/certificates?q={lines[1]}"),
        client.get(f"/v1/certificates?cursor={lines[1]}"),
        client.get(f"/v1/certificates/{lines[1].replace('/', '-')}"),
        client.with_token(lines[1]).get("/v1/me"),
    ]
    assert all(answer.status < 500 for answer in answers)
    return [answer.content for answer in answers]


@pytest.mark.parametrize("kind", CANARIES.values(), ids=CANARIES)
def test_a_planted_key_is_in_no_log_no_table_no_error_and_no_audit_record(kind, root):
    body, numbers = canary(kind, root)
    needles = [trace for number in numbers for trace in traces(number)] + [PASSPHRASE.encode()]
    with service_on_moto() as cloud:
        owner = tenant(Client(cloud.services))
        answers = misuse(owner.admin, body)
        stored = owner.manager.post("/v1/certificates", body, headers={"Idempotency-Key": "once"})
        assert stored.status == 201
        again = owner.manager.post("/v1/certificates", body, headers={"Idempotency-Key": "once"})
        place = f"/v1/certificates/{stored.json['id']}"
        answers += [stored.content, again.content, owner.manager.post("/v1/certificates", body).content]
        answers += [owner.viewer.get(place).content, owner.admin.get("/v1/audit-events?limit=100").content]
        pem_file = owner.admin.get(f"{place}/download").content
        assert found(plain(base64_whole(pem_file)), needles), "the key can be found where it is"
        for form in ("pfx", "jks") if kind != "sm2" else ():
            protected = owner.admin.get(f"{place}/download?format={form}", headers={"X-Passphrase": PASSPHRASE})
            assert protected.status == 200
            answers.append(protected.content)
        drop_wrongly(cloud, owner, body)
        assert found(b"\n".join(answers), needles) == []
        assert found(cloud.services.log_stream.getvalue().encode(), needles) == []
        assert found(plain(cloud.items()), needles) == []
        reports = [content for name, content in cloud.objects().items() if name.endswith(".json")]
        assert len(reports) == 2
        assert found(b"\n".join(reports), needles) == []
        urls = [plain([r.url, sorted(r.headers.items())]) for r in cloud.sent]
        assert found(b"\n".join(urls), needles) == []


def base64_whole(text: bytes) -> list[bytes]:
    """PEM blocks without line breaks, and decoded: how the key can be told from other text."""
    blocks = [part.replace(b"\n", b"") for part in text.split(b"-----")[2::4]]
    return [*blocks, *(base64.b64decode(block) for block in blocks)]


def drop_wrongly(cloud, owner, body: dict) -> None:
    """Dropped files that are refused, and an event that nobody can read."""
    folder = f"drop/{owner.account_id}"
    cloud.put(f"{folder}/wrong.pem", Authority.root().pem + body["private_key"])
    cloud.put(f"{folder}/broken.pem", body["certificate"] + body["private_key"][:-40])
    messages = [
        json.dumps({"Records": [{"s3": {"object": {"key": f"{folder}/{name}.pem"}}}]}) for name in ("wrong", "broken")
    ]
    records = [{"messageId": str(n), "body": text} for n, text in enumerate([*messages, body["private_key"]])]
    answer = events.drop(cloud.services, {"Records": records}, "request")
    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}


def test_an_encrypted_key_is_refused_without_asking_for_its_passphrase_and_leaves_no_trace(root):
    leaf = root.issue("canary.example.com", number=NUMBER)
    sealed = encrypted(leaf.key_pem)
    with service_on_moto() as cloud:
        owner = tenant(Client(cloud.services))
        answer = owner.manager.post("/v1/certificates", {"certificate": leaf.pem, "private_key": sealed})
        assert answer.code == "PrivateKeyEncrypted"
        kept = plain(cloud.items()) + cloud.services.log_stream.getvalue().encode() + answer.content
        assert found(kept, [sealed.splitlines()[2].encode()]) == []


def test_the_key_of_a_request_made_here_is_nowhere_in_clear(root):
    with service_on_moto() as cloud:
        owner = tenant(Client(cloud.services))
        made = owner.manager.post("/v1/csrs", {"algorithm": "ECC", "common_name": "canary.example.com"})
        assert made.status == 201
        request = owner.manager.get(f"/v1/csrs/{made.json['id']}").json
        leaf = root.issue("canary.example.com", key=_PublicOnly(request["csr"]))
        stored = owner.manager.post("/v1/certificates", {"certificate": leaf.pem, "chain": root.pem})
        assert stored.json["has_private_key"] is True
        text = owner.admin.get(f"/v1/certificates/{stored.json['id']}/download").text
        key = serialization.load_pem_private_key(text[text.index("-----BEGIN PRIVATE") :].encode(), None)
        needles = [trace for number in secret_numbers(key) for trace in traces(number)]
        kept = plain(cloud.items()) + cloud.services.log_stream.getvalue().encode() + stored.content + made.content
        assert found(kept, needles) == []


class _PublicOnly:
    """Stands where a builder wants a key, of which it needs the public half alone."""

    def __init__(self, csr: str) -> None:
        from cryptography import x509

        self._public = x509.load_pem_x509_csr(csr.encode()).public_key()

    def public_key(self):
        return self._public


def test_a_token_is_in_no_table_no_log_and_no_other_answer():
    with service_on_moto() as cloud:
        owner = tenant(Client(cloud.services))
        platform = operator(Client(cloud.services))
        made = owner.admin.post("/v1/tokens", {"name": "ci", "role": "viewer"}, headers={"Idempotency-Key": "a"})
        token = made.json["token"]
        assert owner.admin.with_token(token).get("/v1/me").json["role"] == "viewer"
        repeated = owner.admin.post("/v1/tokens", {"name": "ci", "role": "viewer"}, headers={"Idempotency-Key": "a"})
        body = {"name": "B", "site": "china", "entity": {"id": "e", "kind": "individual"}}
        account = platform.post("/v1/accounts", body, headers={"Idempotency-Key": "b"})
        answers = [
            repeated.content,
            owner.admin.get("/v1/tokens").content,
            owner.admin.get("/v1/audit-events").content,
            platform.get("/v1/accounts").content,
        ]
        held = [token, account.json["token"], owner.admin.token, platform.token]
        kept = plain(cloud.items()) + cloud.services.log_stream.getvalue().encode() + b"".join(answers)
        assert found(kept, [t.encode() for t in held] + [t.removeprefix("cht_").encode() for t in held]) == []


HOOK_TOKEN = "canary-t0ken-0f-the-h00k-5c1e9a7740b2"


def misuse_of_url(client: Client, contact_id: str) -> list[bytes]:
    """Ways of getting a channel wrong, and what they are answered."""
    url = f"json://127.0.0.1:9/{HOOK_TOKEN}"
    sound = {"kind": "apprise", "url": url}
    wrong = [
        {"name": "Ops", "channels": [{"kind": "email", "address": url}]},
        {"name": "Ops", "channels": [{"kind": "apprise", "address": url}]},
        {"name": "Ops", "channels": [{"kind": url, "url": url}]},
        {"name": "Ops", "channels": [{"kind": "apprise", "url": [url]}]},
        {"name": "Ops", "channels": [url]},
        {"name": "Ops", "channels": [sound | {"id": "another"}]},
        {"name": "Ops", "channels": [sound, sound]},
        {"name": "Ops", "channels": [sound], "time_zone": "Mars"},
        *(
            {"name": "Ops", "channels": [{"kind": "apprise", "url": other}]}
            for other in (
                f"nosuch://{HOOK_TOKEN}",
                f"mailtos://me:{HOOK_TOKEN}@gmail.com",
                f"slack://{HOOK_TOKEN}",
                f"file:///{HOOK_TOKEN}",
                f"jsons://example.com/?template={HOOK_TOKEN}",
                HOOK_TOKEN * 100,
            )
        ),
    ]
    answers = [client.post("/v1/contacts", one) for one in wrong]
    assert {answer.status for answer in answers} == {400, 422}
    answers += [client.patch(f"/v1/contacts/{contact_id}", {"channels": one["channels"]}) for one in wrong]
    assert all(answer.status < 500 for answer in answers)
    return [answer.content for answer in answers]


def test_the_url_of_a_channel_is_in_no_log_no_table_no_answer_and_no_audit_record():
    url = f"json://user:{HOOK_TOKEN}@127.0.0.1:9/{HOOK_TOKEN}?+X-Key={HOOK_TOKEN}"
    body = {"name": "Ops", "channels": [{"kind": "apprise", "url": url}]}
    with logged() as log, service_on_moto() as cloud:
        owner = tenant(Client(cloud.services))
        made = owner.admin.post("/v1/contacts", body, headers={"Idempotency-Key": "once"})
        assert made.status == 201, made.text
        again = owner.admin.post("/v1/contacts", body, headers={"Idempotency-Key": "once"})
        place = f"/v1/contacts/{made.json['id']}"
        held = cloud.services.contact_store.get(owner.account_id, made.json["id"])
        opened = cloud.services.vault.open(held.key_context, held.sealed)
        assert list(opened.values()) == [url.encode()], "the address can be found where it is"
        tried = owner.admin.post(f"{place}/test")
        assert [c["outcome"] for c in tried.json["channels"]] == ["failed"]
        answers = [made.content, again.content, tried.content, *misuse_of_url(owner.admin, made.json["id"])]
        answers += [owner.admin.patch(place, body | {"name": "New"}).content]
        answers += [owner.viewer.get("/v1/contacts").content, owner.admin.get("/v1/audit-events?limit=100").content]
        assert "GetItem consumed" in log.getvalue(), "what libraries say is heard"
        assert [line for line in log.getvalue().splitlines() if HOOK_TOKEN in line] == []
        kept = plain(cloud.items()) + cloud.services.log_stream.getvalue().encode()
        urls = [plain([r.url, sorted(r.headers.items())]) for r in cloud.sent]
        assert found(kept + b"\n".join([*answers, *urls]), [HOOK_TOKEN.encode()]) == []


def test_the_search_finds_a_key_wherever_it_is_hidden():
    (number,) = secret_numbers(private_key("p256", NUMBER))
    octets = number.to_bytes(32, "big")
    for hidden in (octets, octets.hex(), number, base64.b64encode(b"x" + octets), base64.b64encode(b"xy" + octets)):
        assert found(plain({"a": [b"\0", hidden]}), traces(number))
