"""A newcomer's first hour, over HTTP, on the running service."""

from __future__ import annotations

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs12

from tests.support.authority import Authority

TODAY = datetime.now(UTC).replace(microsecond=0)


def fresh(*domains: str, **options):
    """A leaf of today with its chain, from a new intermediate."""
    root = Authority.root(not_before=TODAY - timedelta(days=30))
    middle = root.intermediate(not_before=TODAY - timedelta(days=30))
    options.setdefault("not_before", TODAY - timedelta(days=1))
    return middle.issue(*domains, **options), middle, root


def upload(api: httpx.Client, *domains: str, **fields):
    leaf, middle, _ = fresh(*domains)
    body = {"certificate": leaf.pem, "private_key": leaf.key_pem, "chain": middle.pem, **fields}
    answer = api.post("/v1/certificates", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json(), leaf


def test_the_service_says_that_it_is_up_without_a_token(stack):
    answer = httpx.get(f"{stack.url}/healthz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_a_certificate_made_with_openssl_is_uploaded_and_listed_with_its_findings(api, tmp_path):
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90"]
    command += ["-subj", "/CN=newcomer.example.com", "-addext", "subjectAltName=DNS:newcomer.example.com"]
    command += ["-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    body = {"certificate": (tmp_path / "cert.pem").read_text(), "private_key": (tmp_path / "key.pem").read_text()}
    answer = api.post("/v1/certificates", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert {f["code"] for f in made["findings"]} == {"SelfSigned", "NotALeaf"}
    listed = api.get("/v1/certificates", params={"domain": "newcomer.example.com"}).json()["items"]
    assert [c["id"] for c in listed] == [made["id"]]
    assert listed[0]["algorithm"] == "RSA"
    assert listed[0]["key_size"] == 2048
    assert {r["code"] for r in listed[0]["risks"]} == {"SelfSigned", "NotALeaf"}


def test_parse_says_what_an_upload_would_and_stores_nothing(api):
    leaf, middle, _ = fresh("parse.example.com")
    answer = api.post("/v1/certificates/parse", json={"certificate": leaf.pem, "chain": middle.pem})
    assert answer.status_code == 200
    assert answer.json()["certificate"]["domains"] == ["parse.example.com"]
    assert answer.json()["suggested_name"] == f"parse.example.com-{leaf.certificate.not_valid_before_utc.year}-ecdsa256"
    assert [f["code"] for f in answer.json()["findings"]] == ["PrivateKeyMissing"]
    assert api.get("/v1/certificates", params={"domain": "parse.example.com"}).json()["items"] == []


def test_a_refusal_has_every_finding_with_its_hint(api):
    leaf, _, _ = fresh("bad.example.com")
    other, _, _ = fresh("other.example.com", number=2)
    answer = api.post("/v1/certificates", json={"certificate": leaf.pem, "private_key": other.key_pem})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["code"] == "KeyMismatch"
    assert [f["code"] for f in error["findings"]] == ["KeyMismatch", "ChainIncomplete"]
    assert all(f["hint"] for f in error["findings"])
    assert error["request_id"]


def test_a_certificate_lives_from_upload_to_deletion(api):
    made, leaf = upload(api, "life.example.com", tags={"team": "web"}, resource_group="shop")
    path = f"/v1/certificates/{made['id']}"
    assert api.get(path).json()["chain"][0]["subject"].startswith("CN=Intermediate")
    changed = api.patch(path, json={"name": "life", "tags": {"team": "ops"}, "notifications": True})
    assert (changed.status_code, changed.json()["name"]) == (200, "life")
    found = api.get("/v1/certificates", params={"tag": "team=ops"}).json()["items"]
    assert [c["id"] for c in found] == [made["id"]]
    assert api.get("/v1/certificates", params={"tag": "team=web"}).json()["items"] == []
    file = api.get(f"{path}/download", params={"format": "pem"})
    assert load_pem_private_key(file.content, None).public_key() == leaf.key.public_key()
    assert len(x509.load_pem_x509_certificates(file.content)) == 2
    assert api.delete(path).status_code == 400
    assert api.delete(path, params={"confirm": "life"}).status_code == 204
    assert api.get(path).status_code == 404


def test_a_pfx_is_downloaded_as_bytes_that_open_with_the_passphrase(api):
    made, leaf = upload(api, "pfx.example.com")
    path = f"/v1/certificates/{made['id']}/download"
    assert api.get(path, params={"format": "pfx"}).json()["error"]["code"] == "PassphraseMissing"
    file = api.get(path, params={"format": "pfx"}, headers={"X-Passphrase": "correct horse"})
    assert file.headers["content-type"] == "application/x-pkcs12"
    opened = pkcs12.load_pkcs12(file.content, b"correct horse")
    assert opened.key.public_key() == leaf.key.public_key()


def test_a_renewal_takes_over_the_name_and_the_old_one_stays(api):
    made, _ = upload(api, "renew.example.com", name="renewed", tags={"a": "b"})
    leaf, middle, _ = fresh("renew.example.com", days=200)
    body = {"certificate": leaf.pem, "private_key": leaf.key_pem, "chain": middle.pem}
    answer = api.post(f"/v1/certificates/{made['id']}/renewals", json=body)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["name"], answer.json()["tags"]) == ("renewed", {"a": "b"})
    old = api.get(f"/v1/certificates/{made['id']}").json()
    assert old["replaced_by"] == answer.json()["id"]
    assert old["name"].startswith("renewed-replaced-")
    again = api.post(f"/v1/certificates/{made['id']}/renewals", json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "AlreadyReplaced")


def test_an_empty_renewal_of_an_upload_says_what_to_send(api):
    made, _ = upload(api, "empty.example.com")
    answer = api.post(f"/v1/certificates/{made['id']}/renewals", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "SourceCannotRenew")


def test_a_certificate_finds_the_key_of_its_csr(api):
    csr = api.post("/v1/csrs", json={"algorithm": "ECC", "common_name": "csr.example.com"}).json()
    request = x509.load_pem_x509_csr(csr["csr"].encode())
    assert request.is_signature_valid
    _, middle, _ = fresh("unused.example.com")
    builder = x509.CertificateBuilder(
        middle.certificate.subject,
        request.subject,
        request.public_key(),
        x509.random_serial_number(),
        TODAY - timedelta(days=1),
        TODAY + timedelta(days=60),
        [x509.Extension(e.oid, e.critical, e.value) for e in request.extensions],
    )
    issued = builder.sign(middle.key, x509.load_pem_x509_certificate(middle.pem.encode()).signature_hash_algorithm)

    pem = issued.public_bytes(Encoding.PEM).decode()
    answer = api.post("/v1/certificates", json={"certificate": pem, "chain": middle.pem})
    assert answer.status_code == 201, answer.text
    assert answer.json()["has_private_key"]
    assert api.delete(f"/v1/csrs/{csr['id']}").status_code == 204


def test_of_eight_simultaneous_uploads_of_one_certificate_one_is_stored(api, stack):
    leaf, middle, _ = fresh("once.example.com")
    body = {"certificate": leaf.pem, "private_key": leaf.key_pem, "chain": middle.pem}
    start = threading.Barrier(8)

    def send(_):
        with stack.client() as client:
            start.wait()
            return client.post("/v1/certificates", json=body)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert sorted(a.status_code for a in answers) == [201] + [409] * 7
    made = next(a.json()["id"] for a in answers if a.status_code == 201)
    codes = {a.json()["error"]["code"] for a in answers if a.status_code == 409}
    assert codes == {"DuplicateCertificate"}
    assert all(made in a.json()["error"]["message"] for a in answers if a.status_code == 409)
    assert len(api.get("/v1/certificates", params={"domain": "once.example.com"}).json()["items"]) == 1


def test_an_idempotency_key_makes_a_repeat_answer_the_same(api):
    leaf, middle, _ = fresh("again.example.com")
    body = {"certificate": leaf.pem, "private_key": leaf.key_pem, "chain": middle.pem}
    first = api.post("/v1/certificates", json=body, headers={"Idempotency-Key": "k-1"})
    second = api.post("/v1/certificates", json=body, headers={"Idempotency-Key": "k-1"})
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    other = api.post("/v1/certificates", json={**body, "name": "x"}, headers={"Idempotency-Key": "k-1"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "IdempotencyKeyReused")


@pytest.mark.parametrize(
    ("header", "code"),
    [(None, "TokenMissing"), ("Bearer cht_nobody", "TokenInvalid"), ("Basic Zm9vOmJhcg==", "TokenMissing")],
)
def test_a_caller_without_a_good_token_is_told_what_is_wrong(stack, header, code):
    headers = {} if header is None else {"Authorization": header}
    answer = httpx.get(f"{stack.url}/v1/certificates", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)


def test_tokens_have_roles_and_are_revoked_at_once(api, stack):
    made = api.post("/v1/tokens", json={"name": "reader", "role": "viewer"}).json()
    with stack.client(made["token"]) as viewer:
        assert viewer.get("/v1/me").json()["role"] == "viewer"
        assert viewer.get("/v1/certificates").status_code == 200
        refused = viewer.post("/v1/certificates", json={"certificate": "x"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "RoleInsufficient")
        assert api.delete(f"/v1/tokens/{made['id']}").status_code == 204
        gone = viewer.get("/v1/certificates")
        assert (gone.status_code, gone.json()["error"]["code"]) == (401, "TokenRevoked")


def test_another_account_sees_nothing_and_cannot_tell_a_foreign_id_from_none(api, stack, operator):
    made, _ = upload(api, "mine.example.com")
    body = {"name": "Other", "site": "china", "entity": {"id": "e-2", "kind": "enterprise"}}
    account = operator.post("/v1/accounts", json=body).json()
    with stack.client(account["token"]) as other:
        assert other.get("/v1/me").json()["account"]["entity"] == {"id": "e-2", "kind": "enterprise", "verified": False}
        assert other.get("/v1/certificates").json()["items"] == []
        foreign = other.get(f"/v1/certificates/{made['id']}")
        unknown = other.get("/v1/certificates/01ARZ3NDEKTSV4RRFFQ69G5FAV")
        assert foreign.status_code == unknown.status_code == 404
        hide = {"request_id": None, "message": None}
        assert foreign.json()["error"] | hide == unknown.json()["error"] | hide
        assert foreign.json()["error"]["message"].replace(made["id"], "") == unknown.json()["error"]["message"].replace(
            "01ARZ3NDEKTSV4RRFFQ69G5FAV", ""
        )


def test_the_operator_manages_accounts_and_reads_no_certificate(operator, api):
    assert operator.get("/v1/certificates").status_code == 403
    mine = api.get("/v1/me").json()["account"]["id"]
    listed = [a["id"] for a in operator.get("/v1/accounts", params={"limit": 100}).json()["items"]]
    assert mine in listed
    changed = operator.patch(f"/v1/accounts/{mine}", json={"entity": {"verified": True}})
    assert changed.json()["entity"]["verified"] is True
    assert api.get("/v1/accounts").status_code == 403


def test_the_audit_trail_tells_of_changes_refusals_and_key_access(api):
    made, _ = upload(api, "audited.example.com")
    api.get(f"/v1/certificates/{made['id']}/download")
    api.delete(f"/v1/certificates/{made['id']}", params={"confirm": "wrong"})
    events = [
        e for e in api.get("/v1/audit-events", params={"limit": 100}).json()["items"] if e["target"] == made["id"]
    ]
    told = [(e["action"], e["result"]) for e in events]
    assert told == [
        ("certificate.delete", "ConfirmationMissing"),
        ("certificate.download", "ok"),
        ("certificate.upload", "ok"),
    ]
    assert all(e["source_ip"] and e["request_id"] and e["actor"] for e in events)


def test_an_unknown_path_is_answered_in_the_shape_of_every_error(api):
    answer = api.get("/v1/nothing-here")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NotFound"


def test_the_openapi_document_is_served_to_everyone(stack):
    document = httpx.get(f"{stack.url}/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert "/v1/certificates/{certificate_id}/renewals" in document["paths"]
