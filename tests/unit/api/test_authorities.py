"""The built-in CA over HTTP."""

from __future__ import annotations

import subprocess

import pytest
from cryptography import x509

from chalicelib.domain import keys, pem
from chalicelib.domain.model import KeyContext
from tests.support.canary import found, plain, secret_numbers, traces
from tests.support.moto_service import service_on_moto
from tests.support.pca import parsed, request
from tests.support.service import Client, tenant
from tests.support.tools import folder

__all__ = ["folder"]

CAS = "/v1/pca/cas"
ROOT = {"kind": "root", "common_name": "Example Root CA", "algorithm": "ECC"}
CA_SHAPE = {
    *("id", "source", "region", "kind", "parent", "subject", "algorithm", "key_size", "status", "not_before"),
    *("not_after", "serial_number", "revoked_at", "path_length", "permitted", "excluded", "certificate_pem"),
}
ISSUED_SHAPE = {
    *("id", "ca", "common_name", "sans", "status", "sync_status", "serial_number", "fingerprint_sha256", "algorithm"),
    *("key_size", "usage", "not_before", "not_after", "days_left", "revoked_at", "has_private_key", "risks"),
    *("certificate_id", "code", "reason"),
}
#: The tests' clock stands in the past of openssl's.
AT = 1_781_524_800


@pytest.fixture
def root(example) -> dict:
    return made(example.admin, **ROOT)


@pytest.fixture
def middle(example, root) -> dict:
    return made(example.admin, kind="intermediate", parent=root["id"], common_name="Issuing CA", algorithm="ECC")


def made(client, **fields) -> dict:
    answer = client.post(CAS, fields)
    assert answer.status == 201, answer.text
    return answer.json


def issued(client, ca: dict, **fields) -> dict:
    body = {"common_name": "www.example.com", "sans": ["www.example.com"], "validity_days": 90} | fields
    answer = client.post(f"{CAS}/{ca['id']}/certificates", body)
    assert answer.status == 201, answer.text
    return answer.json


class TestAuthorities:
    def test_an_intermediate_is_made_below_a_root(self, root, middle):
        assert set(root) == set(middle) == CA_SHAPE
        assert (root["kind"], root["parent"], root["subject"]) == ("root", None, "CN=Example Root CA")
        assert (middle["kind"], middle["parent"], middle["status"]) == ("intermediate", root["id"], "active")
        assert (middle["source"], middle["region"], middle["key_size"]) == ("builtin", "us-east-1", 256)
        assert parsed(middle["certificate_pem"]).signed_by(parsed(root["certificate_pem"]))

    def test_all_that_is_wrong_is_told_at_once(self, example):
        body = ROOT | {"country": "Germany", "validity_days": 0, "path_length": -1, "permitted": ["a b"]}
        answer = example.admin.post(CAS, body)
        assert (answer.status, answer.code) == (422, "AuthorityFieldIncorrect")
        params = [f["param"] for f in answer.json["error"]["findings"]]
        assert params == ["country", "validity_days", "path_length", "permitted"]

    @pytest.mark.parametrize(
        ("change", "status", "code"),
        [
            ({"kind": "leaf"}, 400, "InvalidRequest"),
            ({"algorithm": "DSA"}, 400, "InvalidRequest"),
            ({"colour": "red"}, 400, "InvalidRequest"),
            ({"kind": "intermediate", "parent": "nothing"}, 404, "AuthorityNotFound"),
            ({"kind": "intermediate"}, 422, "AuthorityFieldIncorrect"),
        ],
        ids=str,
    )
    def test_what_cannot_be_made_is_refused(self, example, change, status, code):
        answer = example.admin.post(CAS, ROOT | change)
        assert (answer.status, answer.code) == (status, code)

    def test_a_repeated_request_makes_one(self, services, example):
        first, second = (example.admin.post(CAS, ROOT, headers={"Idempotency-Key": "once"}) for _ in range(2))
        assert first.json == second.json
        assert len(services.authority_store.authorities) == 1

    def test_a_revoked_one_issues_no_more(self, example, middle):
        place = f"{CAS}/{middle['id']}"
        answer = example.admin.post(f"{place}/revocation", {"reason": "ca_compromise"})
        assert (answer.status, answer.json["status"], answer.json["revoked_at"]) == (
            200,
            "revoked",
            "2026-06-15T12:00:00Z",
        )
        assert example.admin.post(f"{place}/revocation", {}).json == answer.json
        refusal = example.manager.post(f"{place}/certificates", {"common_name": "www.example.com"})
        assert (refusal.status, refusal.code) == (409, "AuthorityNotActive")
        assert "is revoked since 2026-06-15 12:00:00 UTC" in refusal.json["error"]["message"]

    def test_a_root_is_not_revoked(self, example, root):
        answer = example.admin.post(f"{CAS}/{root['id']}/revocation", {})
        assert (answer.status, answer.code) == (409, "RootNotRevocable")


class TestCertificates:
    def test_a_certificate_with_a_key_made_here_is_answered_without_it(self, example, root, middle):
        one = issued(example.manager, middle, sans=["www.example.com", "192.0.2.7"])
        assert set(one) == {*ISSUED_SHAPE, "findings", "certificate_pem", "chain_pem"}
        assert one["id"].startswith(f"{middle['id']}.")
        assert (one["ca"], one["status"], one["sync_status"]) == (middle["id"], "issued", "not_uploaded")
        assert one["sans"] == ["www.example.com", "192.0.2.7"]
        assert (one["has_private_key"], one["days_left"], one["risks"], one["findings"]) == (True, 89, [], [])
        assert one["chain_pem"] == middle["certificate_pem"] + root["certificate_pem"]
        assert "PRIVATE KEY" not in str(one)

    def test_a_certificate_for_a_request_has_its_key(self, example, middle):
        text, key = request("www.example.com", "www.example.com")
        one = issued(example.manager, middle, csr=text)
        assert one["has_private_key"] is False
        assert keys.matches(key, parsed(one["certificate_pem"]).public_key)

    def test_a_certificate_for_two_years_is_a_risk(self, example, root):
        one = issued(example.manager, root, validity_days=730)
        assert [r["code"] for r in one["risks"]] == ["LeakageRisk"]
        assert "one year or less" in one["risks"][0]["hint"]
        assert {"LeakageRisk", "ValidityTooLong"} == {f["code"] for f in one["findings"]}

    def test_validity_and_usage_have_their_usual_values(self, example, root):
        answer = example.manager.post(f"{CAS}/{root['id']}/certificates", {"common_name": "www.example.com"})
        certificate = parsed(answer.json["certificate_pem"])
        assert (certificate.not_after - certificate.not_before).days == 365
        assert answer.json["usage"] == "server"

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({}, 422, "CertificateNotIssuable"),
            ({"common_name": "a b"}, 422, "CertificateNotIssuable"),
            ({"common_name": "www.example.com", "validity_days": 4000}, 422, "CertificateNotIssuable"),
            ({"common_name": "www.example.com", "usage": "mail"}, 400, "InvalidRequest"),
            ({"common_name": "www.example.com", "csr": "x", "csr_id": "y"}, 400, "InvalidRequest"),
            ({"common_name": "www.example.com", "csr": "x"}, 422, "CsrFormatIncorrect"),
            ({"common_name": "www.example.com", "csr_id": "y"}, 404, "NotFound"),
        ],
        ids=str,
    )
    def test_what_cannot_be_issued_is_refused(self, example, root, body, status, code):
        answer = example.manager.post(f"{CAS}/{root['id']}/certificates", body)
        assert (answer.status, answer.code) == (status, code)

    @pytest.mark.parametrize("ca", ["nothing", "alibaba.cn-hangzhou.ca-1"])
    def test_an_authority_of_nobody_or_another_source_issues_nothing_here(self, example, ca):
        answer = example.manager.post(f"{CAS}/{ca}/certificates", {"common_name": "www.example.com"})
        assert (answer.status, answer.code) == (404, "AuthorityNotFound")

    def test_a_certificate_is_revoked_once(self, services, example, root):
        one = issued(example.manager, root)
        place = f"/v1/pca/certificates/{one['id']}/revocation"
        first = example.manager.post(place, {"reason": "superseded"})
        assert (first.status, set(first.json)) == (200, ISSUED_SHAPE)
        assert (first.json["status"], first.json["revoked_at"]) == ("revoked", "2026-06-15T12:00:00Z")
        services.clock.now = services.clock.now.replace(hour=13)
        assert example.manager.post(place, {}).json["revoked_at"] == "2026-06-15T12:00:00Z"

    def test_a_reason_that_is_none_is_refused_with_those_that_are(self, example, root):
        one = issued(example.manager, root)
        answer = example.manager.post(f"/v1/pca/certificates/{one['id']}/revocation", {"reason": "because"})
        assert (answer.status, answer.code) == (400, "InvalidParameter")
        assert "key_compromise, ca_compromise" in answer.json["error"]["message"]


class TestLists:
    def test_the_list_comes_in_der_or_as_text(self, example, root):
        der = example.viewer.get(f"{CAS}/{root['id']}/crl")
        assert (der.status, der.headers["content-type"]) == (200, "application/pkix-crl")
        text = example.viewer.get(f"{CAS}/{root['id']}/crl?format=pem")
        assert text.headers["content-type"] == "application/x-pem-file"
        assert f'filename="{root["id"]}.pem"' in text.headers["content-disposition"]
        lists = [x509.load_der_x509_crl(der.content), x509.load_pem_x509_crl(text.content)]
        assert [c.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for c in lists] == [1, 2]
        assert all(c.is_signature_valid(parsed(root["certificate_pem"]).public_key.native) for c in lists)

    def test_openssl_refuses_what_the_list_names_and_passes_the_rest(self, example, folder, root, middle):
        good, bad = (issued(example.manager, middle) for _ in range(2))
        example.manager.post(f"/v1/pca/certificates/{bad['id']}/revocation", {"reason": "key_compromise"})
        crls = "".join(example.viewer.get(f"{CAS}/{ca['id']}/crl?format=pem").text for ca in (root, middle))
        arguments = ["-attime", str(AT), "-crl_check_all", "-CRLfile", folder.put("crl", crls)]
        arguments += ["-CAfile", folder.put("root", root["certificate_pem"])]
        arguments += ["-untrusted", folder.put("middle", middle["certificate_pem"])]

        def said(one):
            given = folder.put("leaf", one["certificate_pem"])
            done = subprocess.run(["openssl", "verify", *arguments, given], capture_output=True, check=False)
            return (done.stdout + done.stderr).decode()

        assert said(good).endswith("leaf: OK\n")
        assert "certificate revoked" in said(bad)

    def test_a_form_that_is_none_is_refused(self, example, root):
        assert example.viewer.get(f"{CAS}/{root['id']}/crl?format=xml").status == 400

    def test_every_signing_is_in_the_trail(self, example, root):
        example.viewer.get(f"{CAS}/{root['id']}/crl")
        event = example.admin.get("/v1/audit-events").json["items"][0]
        assert (event["action"], event["target"], event["role"]) == ("ca.crl", root["id"], "viewer")
        assert event["detail"] == {"number": "1"}


@pytest.mark.parametrize("algorithm", ["RSA", "ECC", "SM2"])
def test_no_key_of_an_authority_or_certificate_is_in_an_answer_a_log_a_table_or_the_trail(algorithm):
    with service_on_moto() as cloud:
        owner = tenant(Client(cloud.services))
        size = {"key_size": 2048} if algorithm == "RSA" else {}
        root = owner.admin.post(CAS, ROOT | {"algorithm": algorithm} | size)
        place = f"{CAS}/{root.json['id']}"
        one = owner.manager.post(f"{place}/certificates", {"common_name": "www.example.com"})
        answers = [
            root,
            one,
            owner.manager.post(f"/v1/pca/certificates/{one.json['id']}/revocation", {}),
            owner.viewer.get(f"{place}/crl"),
            owner.admin.get("/v1/audit-events"),
        ]
        assert all(answer.status < 300 for answer in answers)
        needles = [trace for number in secrets_of(cloud, owner, root.json, one.json) for trace in traces(number)]
        assert found(b"\n".join(answer.content for answer in answers), needles) == []
        assert found(cloud.services.log_stream.getvalue().encode(), needles) == []
        assert found(plain(cloud.items()), needles) == []


def secrets_of(cloud, owner, ca: dict, one: dict) -> list[int]:
    """The numbers that nobody may see, out of the sealed keys of an authority and a certificate."""
    store, vault = cloud.services.authority_store, cloud.services.vault
    ((_, material),) = store.several(owner.account_id, [one["id"]]).values()
    sealed = {
        f"ca#{ca['id']}": (ca["certificate_pem"], store.keys(owner.account_id, ca["id"])),
        f"pca#{one['id'].rpartition('.')[2]}": (one["certificate_pem"], material.keys),
    }
    numbers = []
    for place, (text, box) in sealed.items():
        opened = vault.open(KeyContext(owner.account_id, place, parsed(text).fingerprint), box)["signing"]
        (block,) = pem.scan(opened.decode()).blocks
        key = keys.load(block)
        assert keys.matches(key, parsed(text).public_key)
        numbers += secret_numbers(key.native)
    return numbers
