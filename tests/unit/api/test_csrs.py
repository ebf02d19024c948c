"""Signing requests and the conversion tool over HTTP."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key, pkcs12

from tests.support.authority import name, private_key
from tests.support.keys import key_pem
from tests.support.service import fresh, issued_for, issuers, pages

PATH = "/v1/csrs"
WANTED = {"algorithm": "ECC", "common_name": "a.example.com"}
SHAPE = {
    "id",
    "name",
    "common_name",
    "sans",
    "algorithm",
    "key_size",
    "subject",
    "public_key_sha256",
    "has_private_key",
    "csr",
    "created_at",
}


def made_elsewhere(number: int = 3, common_name: str = "b.example.com") -> str:
    """A request as openssl would make it, for the key of that number."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name(common_name))
    alternatives = x509.SubjectAlternativeName([x509.DNSName(common_name)])
    builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(private_key("p256", number), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def public(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class TestCreate:
    @pytest.mark.parametrize(
        ("wanted", "algorithm", "size"),
        [
            ({"algorithm": "RSA"}, "RSA", 2048),
            ({"algorithm": "ECC"}, "ECDSA", 256),
            ({"algorithm": "ECC", "key_size": 384}, "ECDSA", 384),
            ({"algorithm": "SM2"}, "SM2", 256),
        ],
    )
    def test_answers_with_a_request_and_never_with_its_key(self, example, wanted, algorithm, size):
        answer = example.manager.post(PATH, wanted | {"common_name": "a.example.com"})
        assert answer.status == 201
        made = answer.json
        assert set(made) == SHAPE
        assert (made["algorithm"], made["key_size"], made["has_private_key"]) == (algorithm, size, True)
        assert made["csr"].startswith("-----BEGIN CERTIFICATE REQUEST-----\n")
        assert "PRIVATE KEY" not in answer.text
        assert "PRIVATE KEY" not in example.admin.get(f"{PATH}/{made['id']}").text

    def test_the_request_says_what_was_asked_for(self, example):
        wanted = WANTED | {
            "name": "shop",
            "sans": ["a.example.com", "www.example.com", "192.0.2.7"],
            "organization": "Example GmbH",
            "organizational_unit": "Web",
            "country": "DE",
            "province": "Bayern",
            "locality": "München",
        }
        made = example.manager.post(PATH, wanted).json
        request = x509.load_pem_x509_csr(made["csr"].encode())
        assert request.is_signature_valid
        values = {a.rfc4514_attribute_name: a.value for a in request.subject}
        assert values["CN"] == "a.example.com"
        assert (values["O"], values["OU"], values["C"]) == ("Example GmbH", "Web", "DE")
        assert (values["ST"], values["L"]) == ("Bayern", "München")
        alternatives = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert alternatives.get_values_for_type(x509.DNSName) == ["a.example.com", "www.example.com"]
        assert [str(a) for a in alternatives.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
        assert (made["name"], made["common_name"]) == ("shop", "a.example.com")

    @pytest.mark.parametrize(
        "change",
        [
            {"key_size": 1024},
            {"common_name": "two\nlines"},
            {"sans": ["not a host"]},
            {"sans": ["a..example.com"]},
        ],
        ids=str,
    )
    def test_a_field_that_cannot_stand_in_a_certificate_is_a_finding(self, example, change):
        answer = example.manager.post(PATH, WANTED | {"algorithm": "RSA"} | change)
        assert (answer.status, answer.code) == (422, "CsrFieldIncorrect")
        assert answer.json["error"]["findings"][0]["param"].startswith(next(iter(change)))
        assert example.viewer.get(PATH).json["items"] == []

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"algorithm": "RSA"},
            {"common_name": "a.example.com"},
            {"private_key": key_pem()},
            WANTED | {"private_key": key_pem()},
            {"csr": made_elsewhere(), "algorithm": "ECC"},
            {"csr": made_elsewhere(), "common_name": "a.example.com", "sans": []},
            WANTED | {"algorithm": "DSA"},
            WANTED | {"country": "Germany"},
            WANTED | {"sans": [""]},
        ],
        ids=lambda body: "+".join(body) or "nothing",
    )
    def test_a_request_that_is_neither_to_be_made_nor_to_be_stored_is_refused(self, example, body):
        answer = example.manager.post(PATH, body)
        assert (answer.status, answer.code) == (400, "InvalidRequest")


class TestStore:
    @pytest.mark.parametrize("with_key", [True, False])
    def test_keeps_a_request_made_elsewhere_as_it_is(self, example, with_key):
        text = made_elsewhere()
        body = {"csr": text} | ({"private_key": key_pem("p256", 3)} if with_key else {})
        answer = example.manager.post(PATH, body)
        assert answer.status == 201
        assert (answer.json["csr"], answer.json["has_private_key"]) == (text, with_key)
        assert (answer.json["common_name"], answer.json["sans"]) == ("b.example.com", ["b.example.com"])

    def test_a_key_of_another_request_is_refused(self, example):
        answer = example.manager.post(PATH, {"csr": made_elsewhere(), "private_key": key_pem("p256", 4)})
        assert (answer.status, answer.findings) == (422, ["KeyMismatch"])

    @pytest.mark.parametrize("text", ["", "rubbish", fresh("a.example.com")[0].pem, made_elsewhere() * 2])
    def test_what_is_not_one_request_is_refused(self, example, text):
        answer = example.manager.post(PATH, {"csr": text})
        assert (answer.status, answer.code) == (422, "CsrFormatIncorrect")


class TestReadAndDelete:
    def test_a_request_is_shown_as_it_was_made(self, example):
        made = example.manager.post(PATH, WANTED).json
        assert example.viewer.get(f"{PATH}/{made['id']}").json == made

    def test_lists_the_newest_first_in_pages(self, services, example):
        made = []
        for _ in range(3):
            made.append(example.manager.post(PATH, WANTED).json)
            services.clock.advance(timedelta(seconds=1))
        assert pages(example.viewer, PATH, limit=2) == [[made[2], made[1]], [made[0]]]

    def test_a_deleted_request_is_gone_with_its_key(self, services, example):
        made = example.manager.post(PATH, WANTED).json
        answer = example.admin.delete(f"{PATH}/{made['id']}")
        assert (answer.status, answer.content) == (204, b"")
        assert example.viewer.get(f"{PATH}/{made['id']}").code == "NotFound"
        assert example.admin.delete(f"{PATH}/{made['id']}").status == 404
        assert services.csr_store.sealed == {}
        assert example.manager.post("/v1/certificates", issued_for(made)).code == "PrivateKeyMissing"


class TestUploadForARequest:
    @pytest.mark.parametrize("named", [True, False], ids=["named", "found"])
    def test_the_stored_key_goes_with_the_certificate(self, example, named):
        csr = example.manager.post(PATH, WANTED).json
        body = issued_for(csr) | ({"csr_id": csr["id"]} if named else {})
        answer = example.manager.post("/v1/certificates", body)
        assert answer.status == 201, answer.text
        assert answer.json["has_private_key"] is True
        file = example.admin.get(f"/v1/certificates/{answer.json['id']}/download").content
        key = load_pem_private_key(file[file.index(b"-----BEGIN PRIVATE KEY") :], None)
        assert public(key) == public(x509.load_pem_x509_csr(csr["csr"].encode()))

    def test_the_wrong_request_is_a_mismatch(self, example):
        one, two = (example.manager.post(PATH, WANTED).json for _ in range(2))
        answer = example.manager.post("/v1/certificates", issued_for(one) | {"csr_id": two["id"]})
        assert (answer.status, answer.code) == (422, "KeyMismatch")
        assert answer.json["error"]["findings"][0]["param"] == "csr_id"

    def test_without_a_key_here_the_certificate_is_held_without_one(self, example):
        csr = example.manager.post(PATH, {"csr": made_elsewhere()}).json
        answer = example.manager.post("/v1/certificates", issued_for(csr))
        assert (answer.status, answer.json["has_private_key"]) == (201, False)
        assert [f["code"] for f in answer.json["findings"]] == ["PrivateKeyElsewhere"]

    def test_an_unknown_request_is_not_found(self, example):
        answer = example.manager.post("/v1/certificates", fresh("a.example.com")[1] | {"csr_id": "unknown"})
        assert (answer.status, answer.code) == (404, "NotFound")


class TestConversions:
    PATH = "/v1/conversions"

    def bundle(self) -> tuple:
        leaf, _ = fresh("a.example.com", kind="rsa2048")
        return leaf, leaf.pem + issuers()[1].pem + leaf.key_pem

    def convert(self, example, source: str, target: str, text: str, **more):
        return example.manager.post(self.PATH, {"from": source, "to": target, "input": text} | more)

    @pytest.mark.parametrize("sealed", ["pfx", "p12", "jks"])
    def test_a_sealed_file_and_back_has_the_same_in_it(self, example, sealed):
        leaf, text = self.bundle()
        there = self.convert(example, "pem", sealed, text, output_passphrase="sesame")
        assert there.status == 200
        assert set(there.json) == {"format", "encoding", "output", "file_name", "contents"}
        assert (there.json["format"], there.json["encoding"]) == (sealed, "base64")
        assert there.json["file_name"].endswith(f".{sealed}")
        back = self.convert(example, sealed, "pem", there.json["output"], passphrase="sesame")
        assert (back.status, back.json["encoding"]) == (200, "text")
        assert back.json["output"].startswith(leaf.pem + issuers()[1].pem)
        assert public(
            load_pem_private_key(back.json["output"].partition(issuers()[1].pem)[2].encode(), None)
        ) == public(leaf.key)

    def test_pfx_is_what_others_read(self, example):
        leaf, text = self.bundle()
        made = self.convert(example, "pem", "pfx", text, passphrase="sesame").json
        key, certificate, _ = pkcs12.load_key_and_certificates(base64.b64decode(made["output"]), b"sesame")
        assert (public(key), certificate) == (public(leaf.key), leaf.certificate)

    def test_der_becomes_pem(self, example):
        leaf, _ = self.bundle()
        made = self.convert(example, "der", "pem", base64.b64encode(leaf.der).decode()).json
        assert (made["output"], len(made["contents"])) == (leaf.pem, 1)

    def test_a_wrong_passphrase_is_told_from_a_missing_one(self, example):
        _, text = self.bundle()
        output = self.convert(example, "pem", "pfx", text, passphrase="sesame").json["output"]
        wrong = self.convert(example, "pfx", "pem", output, passphrase="simsalabim")
        assert (wrong.status, wrong.code) == (422, "PassphraseIncorrect")
        assert "simsalabim" not in wrong.text
        missing = self.convert(example, "pfx", "pem", output)
        assert (missing.status, missing.code) == (400, "PassphraseMissing")

    @pytest.mark.parametrize(
        ("source", "target", "status", "code"),
        [
            ("der", "jks", 400, "FormatUnsupported"),
            ("pem", "pem", 400, "FormatUnsupported"),
            ("pem", "docx", 400, "InvalidRequest"),
            ("PEM", "der", 400, "InvalidRequest"),
            ("jks", "pem", 422, "ConversionInputIncorrect"),
        ],
    )
    def test_what_cannot_be_converted_is_refused(self, example, source, target, status, code):
        answer = self.convert(example, source, target, self.bundle()[1], passphrase="sesame")
        assert (answer.status, answer.code) == (status, code)

    def test_too_large_an_input_is_refused(self, example):
        answer = self.convert(example, "der", "pem", "A" * 700_000)
        assert (answer.status, answer.code) == (413, "RequestTooLarge")

    def test_leaves_nothing_behind(self, services, example):
        before = len(services.audit_store.events)
        assert self.convert(example, "pem", "pfx", self.bundle()[1], passphrase="sesame").status == 200
        assert services.certificate_store.certificates == {}
        assert services.csr_store.csrs == {}
        assert len(services.audit_store.events) == before
        assert "sesame" not in services.log_stream.getvalue()
