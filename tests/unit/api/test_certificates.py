"""Certificates over HTTP: upload, parse, list, show, change, delete, download, renew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jks
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key, pkcs12

from chalicelib.domain.model import Source
from tests.support.authority import NOW, self_signed
from tests.support.records import event, material, record
from tests.support.service import fresh, issuers, pages, uploaded
from tests.support.sm2_builder import Sm2Authority

PATH = "/v1/certificates"
PASSPHRASE = {"X-Passphrase": "open sesame"}
#: What API.md promises of a certificate, and what its detail adds.
SHAPE = {
    "id": str,
    "name": str,
    "source": str,
    "status": str,
    "domains": list,
    "algorithm": str,
    "key_size": int,
    "issuer": str,
    "serial_number": str,
    "fingerprint_sha256": str,
    "not_before": str,
    "not_after": str,
    "days_left": int,
    "risks": list,
    "resource_group": str,
    "tags": dict,
    "notifications": bool,
    "has_private_key": bool,
}
DETAIL = SHAPE | {"chain": list, "findings": list, "deployments": list}


def has_shape(value: dict, shape: dict) -> bool:
    return all(type(value.get(name)) is kind for name, kind in shape.items())


def public(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def serial_of(issued) -> str:
    number = issued.certificate.serial_number
    return number.to_bytes((number.bit_length() + 7) // 8, "big").hex()


class TestUpload:
    def test_shows_the_certificate_with_its_chain(self, example):
        _, middle = issuers()
        leaf, body = fresh("a.example.com", "b.example.com", kind="rsa2048")
        answer = example.manager.post(PATH, body)
        assert answer.status == 201
        made = answer.json
        assert has_shape(made, DETAIL)
        assert (made["source"], made["status"]) == ("upload", "issued")
        assert made["name"] == "a.example.com-2026-rsa2048"
        assert made["domains"] == ["a.example.com", "b.example.com"]
        assert (made["algorithm"], made["key_size"]) == ("RSA", 2048)
        assert made["fingerprint_sha256"] == leaf.fingerprint
        assert made["serial_number"] == serial_of(leaf)
        assert (made["days_left"], made["has_private_key"]) == (80, True)
        assert made["not_after"] == leaf.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert [link["fingerprint_sha256"] for link in made["chain"]] == [middle.fingerprint]
        assert made["certificate_pem"] == leaf.pem
        assert made["deployments"] == made["findings"] == made["risks"] == []

    @pytest.mark.parametrize("name", ["", " ", "   ", "x" * 64, "a\nb"])
    def test_refuses_a_name_that_nobody_could_read(self, example, name):
        _, body = fresh("a.example.com")
        answer = example.manager.post(PATH, body | {"name": name})
        assert (answer.status, answer.code) == (400, "InvalidRequest")

    def test_takes_what_the_caller_says_of_it(self, example):
        fields = {"name": "Wäb", "resource_group": "shop", "tags": {"env": "prod", "ü": ""}, "notifications": True}
        made = uploaded(example.manager, "a.example.com", fields=fields)
        assert {name: made[name] for name in fields} == fields

    def test_keeps_the_warnings_and_the_risks(self, example):
        leaf = self_signed("a.example.com", days=1000)
        answer = example.manager.post(PATH, {"certificate": leaf.pem, "private_key": leaf.key_pem})
        assert answer.status == 201
        shown = example.viewer.get(f"{PATH}/{answer.json['id']}").json
        for made in (answer.json, shown):
            assert {f["code"]: f["severity"] for f in made["findings"]}.items() >= {"SelfSigned": "warning"}.items()
            assert all(set(f) == {"code", "severity", "message", "hint", "param"} for f in made["findings"])
            assert {risk["code"] for risk in made["risks"]} >= {"SelfSigned", "ValidityTooLong"}
            assert all(risk["message"] and risk["hint"] for risk in made["risks"])

    def test_a_refusal_has_all_findings_and_the_code_of_the_first_error(self, example):
        leaf, _ = fresh("a.example.com")
        stranger, _ = fresh("b.example.com", number=2)
        answer = example.manager.post(PATH, {"certificate": leaf.pem, "private_key": stranger.key_pem})
        assert answer.status == 422
        assert answer.findings == ["KeyMismatch", "ChainIncomplete"]
        error = answer.json["error"]
        assert error["code"] == "KeyMismatch"
        assert (error["message"], error["hint"]) == (error["findings"][0]["message"], error["findings"][0]["hint"])
        assert [f["param"] for f in error["findings"]] == ["private_key", "chain"]
        assert example.viewer.get(PATH).json["items"] == []

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"private_key": None}, "PrivateKeyMissing"),
            ({"certificate": ""}, "CertificateMissing"),
            ({"certificate": "MIIB"}, "CertificateFormatIncorrect"),
            ({"private_key": "MIIB"}, "PrivateKeyFormatIncorrect"),
            ({"chain": None}, "ChainIncomplete"),
        ],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    def test_a_missing_or_damaged_part_is_named_by_its_code(self, example, change, code):
        answer = example.manager.post(PATH, fresh("a.example.com")[1] | change)
        assert (answer.status, answer.code) == (422, code)
        assert code in answer.findings

    def test_a_held_certificate_is_refused_with_its_id(self, example):
        _, body = fresh("a.example.com")
        made = example.manager.post(PATH, body).json
        answer = example.manager.post(PATH, body | {"name": "another"})
        assert (answer.status, answer.code) == (409, "DuplicateCertificate")
        assert made["id"] in answer.json["error"]["message"]

    def test_a_name_is_taken_once_and_a_suggested_one_gives_way(self, example):
        first = uploaded(example.manager, "a.example.com")
        answer = example.manager.post(PATH, fresh("b.example.com", fields={"name": first["name"]})[1])
        assert (answer.status, answer.code) == (409, "NameTaken")
        assert uploaded(example.manager, "a.example.com")["name"] not in {first["name"], ""}

    def test_an_sm2_pair_is_held_with_both_certificates(self, example):
        root = Sm2Authority.root()
        signing, encryption = root.issue_pair("a.example.com")
        answer = example.manager.post(
            PATH,
            {
                "certificate": signing.pem,
                "private_key": signing.key_pem,
                "chain": root.pem,
                "encryption_certificate": encryption.pem,
                "encryption_private_key": encryption.key_pem,
            },
        )
        assert answer.status == 201, answer.text
        assert (answer.json["algorithm"], answer.json["encryption_certificate_pem"]) == ("SM2", encryption.pem)
        file = example.admin.get(f"{PATH}/{answer.json['id']}/download").text
        assert file.count("BEGIN CERTIFICATE") == 3
        assert file.count("PRIVATE KEY-----\n") == 4

    def test_is_in_the_audit_trail_with_who_and_whence(self, services, example):
        made = uploaded(example.manager, "a.example.com")
        (record_of_it,) = [e for e in services.audit_store.events if e.action == "certificate.upload"]
        assert (record_of_it.target, record_of_it.result, record_of_it.role) == (made["id"], "ok", "manager")
        assert (record_of_it.source_ip, record_of_it.account_id) == ("192.0.2.1", example.account_id)


class TestParse:
    def test_says_what_an_upload_would_and_stores_nothing(self, services, example):
        leaf, body = fresh("a.example.com")
        before = len(services.audit_store.events)
        answer = example.viewer.post(f"{PATH}/parse", body)
        assert answer.status == 200
        assert set(answer.json) == {"certificate", "suggested_name", "findings"}
        seen = answer.json["certificate"]
        assert (seen["fingerprint_sha256"], seen["has_private_key"]) == (leaf.fingerprint, True)
        assert (seen["status"], seen["days_left"]) == ("issued", 80)
        assert answer.json["suggested_name"] == "a.example.com-2026-ecdsa256"
        assert answer.json["findings"] == []
        assert services.certificate_store.certificates == {}
        assert len(services.audit_store.events) == before

    @pytest.mark.parametrize("body", [{}, {"certificate": ""}, {"private_key": fresh("a")[0].key_pem}, {"name": "a"}])
    def test_every_part_may_be_left_out(self, example, body):
        answer = example.viewer.post(f"{PATH}/parse", body)
        assert (answer.status, answer.json["certificate"], answer.json["suggested_name"]) == (200, None, None)
        assert answer.json["findings"][0]["severity"] == "error"

    def test_tells_of_a_held_certificate_and_a_taken_name(self, example):
        _, body = fresh("a.example.com", fields={"name": "mine"})
        example.manager.post(PATH, body)
        answer = example.viewer.post(f"{PATH}/parse", body)
        assert [f["code"] for f in answer.json["findings"]] == ["DuplicateCertificate", "NameTaken"]

    def test_an_expired_certificate_is_shown_with_its_errors(self, example):
        _, body = fresh("a.example.com", not_before=NOW - timedelta(days=100), days=90)
        answer = example.viewer.post(f"{PATH}/parse", body)
        assert (answer.json["certificate"]["status"], answer.json["certificate"]["days_left"]) == ("expired", -10)
        assert [f["code"] for f in answer.json["findings"]] == ["CertificateExpired"]


@pytest.fixture
def stocked(services, example):
    """An inventory in which every filter finds one or more of four certificates, and never all."""
    many = {"resource_group": "shop", "tags": {"env": "prod", "team": "web"}, "notifications": True}
    uploaded(example.manager, "shop.example.com", fields={"name": "shop"} | many)
    aged = {"not_before": NOW - timedelta(days=70), "not_after": NOW + timedelta(days=29)}
    uploaded(example.manager, "old.example.com", fields={"name": "old", "tags": {"env": "test"}}, **aged)
    put(services, example, name="synced", source=Source.PCA, deployed=True, not_after=NOW + timedelta(days=300))
    put(services, example, name="revoked", revoked_at=NOW, not_after=NOW + timedelta(days=200))
    return example


def put(services, tenant, **fields):
    """Hold a certificate that no upload makes."""
    made = record(account_id=tenant.account_id, **fields)
    services.certificate_store.add(made, material(made), event(tenant.account_id))


class TestList:
    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", ["old", "shop", "revoked", "synced"]),
            ("source=upload", ["old", "shop", "revoked"]),
            ("source=pca", ["synced"]),
            ("source=shared", []),
            ("status=issued", ["shop", "synced"]),
            ("status=to_be_renewed", ["old"]),
            ("status=revoked", ["revoked"]),
            ("status=expired", []),
            ("domain=shop.example.com", ["shop"]),
            ("domain=SHOP.example.COM", ["shop"]),
            ("domain=example.com", []),
            ("domain=*.example.com", ["old", "shop", "revoked", "synced"]),
            ("domain=*.shop.example.com", []),
            ("q=sho", ["shop"]),
            ("q=SYNC", ["synced"]),
            ("q=", ["old", "shop", "revoked", "synced"]),
            ("tag=env", ["old", "shop"]),
            ("tag=env=prod", ["shop"]),
            ("tag=env=", []),
            ("tag=prod", []),
            ("resource_group=shop", ["shop"]),
            ("resource_group=", ["old", "revoked", "synced"]),
            ("notifications=true", ["shop"]),
            ("notifications=false", ["old", "revoked", "synced"]),
            ("deployed=true", ["synced"]),
            ("deployed=false", ["old", "shop", "revoked"]),
            ("expires_before=2026-08-01T00:00:00Z", ["old"]),
            ("expires_before=2026-07-14T14:00:00%2B02:00", []),
            ("expires_before=2026-07-14T14:00:01%2B02:00", ["old"]),
            ("tag=env&status=issued&q=shop", ["shop"]),
            ("tag=env&source=pca", []),
        ],
    )
    def test_a_filter_leaves_what_fits_soonest_expiry_first(self, stocked, query, names):
        answer = stocked.viewer.get(f"{PATH}?{query}")
        assert answer.status == 200
        assert [item["name"] for item in answer.json["items"]] == names

    def test_its_items_have_the_promised_shape_and_no_more_than_they_need(self, stocked):
        items = stocked.viewer.get(PATH).json["items"]
        assert all(has_shape(item, SHAPE) for item in items)
        assert not any({"chain", "findings", "certificate_pem"} & set(item) for item in items)

    @pytest.mark.parametrize("limit", [1, 2, 3, 4])
    def test_pages_follow_each_other_without_gap_or_double(self, stocked, limit):
        names = [[item["name"] for item in page] for page in pages(stocked.viewer, PATH, limit=limit)]
        assert [name for page in names for name in page] == ["old", "shop", "revoked", "synced"]
        assert {len(page) for page in names[:-1]} <= {limit}
        assert names[-1]

    def test_shows_twenty_when_no_limit_is_given(self, services, example):
        for _ in range(21):
            put(services, example)
        page = example.viewer.get(PATH).json
        assert len(page["items"]) == 20
        assert page["next_cursor"]

    def test_shows_fifty_domains_of_many_and_says_how_many_there_are(self, example):
        domains = [f"host-{number:03}.example.com" for number in range(60)]
        made = uploaded(example.manager, *domains)
        (item,) = example.viewer.get(PATH).json["items"]
        assert (item["domains"], item["domains_total"]) == (domains[:50], 60)
        assert example.viewer.get(f"{PATH}/{made['id']}").json["domains"] == domains
        assert len(example.viewer.get(f"{PATH}?domain={domains[59]}").json["items"]) == 1

    def test_the_status_follows_the_clock(self, services, example):
        made = uploaded(example.manager, "a.example.com")
        seen = []
        for days in (49, 1, 31):
            services.clock.advance(timedelta(days=days))
            shown = example.admin.get(f"{PATH}/{made['id']}").json
            seen.append((shown["status"], shown["days_left"]))
        assert seen == [("issued", 31), ("to_be_renewed", 30), ("expired", -1)]


class TestShowAndChange:
    def test_shows_what_the_upload_showed(self, example):
        made = uploaded(example.manager, "a.example.com")
        assert example.viewer.get(f"{PATH}/{made['id']}").json == made

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "new"},
            {"tags": {"a": "b"}},
            {"tags": {}},
            {"resource_group": "other"},
            {"resource_group": ""},
            {"notifications": True},
            {"notifications": False},
            {"name": "new", "tags": {"a": "b"}, "resource_group": "other", "notifications": False},
        ],
        ids=str,
    )
    def test_changes_what_is_named_and_leaves_the_rest(self, services, example, change):
        fields = {"name": "old", "tags": {"x": "y"}, "resource_group": "shop", "notifications": True}
        made = uploaded(example.manager, "a.example.com", fields=fields)
        services.clock.advance(timedelta(seconds=5))
        answer = example.manager.patch(f"{PATH}/{made['id']}", change)
        assert answer.status == 200
        assert has_shape(answer.json, SHAPE)
        shown = example.viewer.get(f"{PATH}/{made['id']}").json
        assert {name: shown[name] for name in fields} == fields | change
        assert datetime.fromisoformat(shown["updated_at"]) == NOW + timedelta(seconds=5)
        assert {n for n in made if made[n] != shown[n]} <= {*change, "updated_at"} | {"days_left"}

    @pytest.mark.parametrize("change", [{}, {"status": "revoked"}, {"name": None}, {"name": ""}, {"domains": []}])
    def test_a_change_of_nothing_or_of_something_else_is_refused(self, example, change):
        made = uploaded(example.manager, "a.example.com")
        answer = example.manager.patch(f"{PATH}/{made['id']}", change)
        assert (answer.status, answer.code) == (400, "InvalidRequest")

    def test_a_name_that_is_taken_is_refused_and_its_own_is_not(self, example):
        one, two = (uploaded(example.manager, f"{name}.example.com", fields={"name": name}) for name in "ab")
        assert example.manager.patch(f"{PATH}/{two['id']}", {"name": one["name"]}).code == "NameTaken"
        assert example.manager.patch(f"{PATH}/{two['id']}", {"name": two["name"]}).status == 200


class TestDelete:
    @pytest.mark.parametrize("query", ["", "?confirm=", "?confirm=MINE", "?confirm=mine%20"])
    def test_wants_the_exact_name(self, example, query):
        made = uploaded(example.manager, "a.example.com", fields={"name": "mine"})
        answer = example.admin.delete(f"{PATH}/{made['id']}{query}")
        assert (answer.status, answer.code) == (400, "ConfirmationMissing")
        assert example.viewer.get(f"{PATH}/{made['id']}").status == 200

    def test_is_for_good_and_frees_name_and_certificate(self, example):
        _, body = fresh("a.example.com", fields={"name": "my own"})
        made = example.manager.post(PATH, body).json
        answer = example.admin.delete(f"{PATH}/{made['id']}?confirm=my%20own")
        assert (answer.status, answer.content) == (204, b"")
        assert example.viewer.get(f"{PATH}/{made['id']}").status == 404
        assert example.viewer.get(PATH).json["items"] == []
        again = example.manager.post(PATH, body)
        assert (again.status, again.json["id"]) == (201, made["id"])


class TestDownload:
    def test_pem_is_the_leaf_then_the_chain_then_the_key(self, example):
        root, middle = issuers()
        leaf, body = fresh("a.example.com")
        made = example.manager.post(PATH, body | {"chain": root.pem + middle.pem}).json
        answer = example.admin.get(f"{PATH}/{made['id']}/download")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/x-pem-file"
        assert answer.headers["content-disposition"].startswith('attachment; filename="')
        assert answer.headers["content-disposition"].endswith('.pem"')
        assert answer.text.startswith(leaf.pem + middle.pem + root.pem)
        key = load_pem_private_key(answer.text.removeprefix(leaf.pem + middle.pem + root.pem).encode(), None)
        assert public(key) == public(leaf.key)

    @pytest.mark.parametrize("kind", ["p256", "rsa2048", "ed25519"])
    def test_pfx_opens_with_its_passphrase(self, example, kind):
        leaf, body = fresh("a.example.com", kind=kind)
        made = example.manager.post(PATH, body).json
        answer = example.admin.get(f"{PATH}/{made['id']}/download?format=pfx", headers=PASSPHRASE)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-pkcs12")
        key, certificate, chain = pkcs12.load_key_and_certificates(answer.content, b"open sesame")
        assert public(key) == public(leaf.key)
        assert certificate == leaf.certificate
        assert chain == [issuers()[1].certificate]

    def test_jks_opens_with_its_passphrase(self, example):
        leaf, body = fresh("a.example.com", kind="rsa2048")
        made = example.manager.post(PATH, body).json
        answer = example.admin.get(f"{PATH}/{made['id']}/download?format=jks", headers=PASSPHRASE)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-java-keystore")
        (entry,) = jks.KeyStore.loads(answer.content, "open sesame").private_keys.values()
        assert [der for _, der in entry.cert_chain] == [leaf.der, issuers()[1].der]

    @pytest.mark.parametrize("kind", ["pfx", "jks"])
    @pytest.mark.parametrize("headers", [{}, {"X-Passphrase": ""}], ids=["missing", "empty"])
    def test_a_sealed_file_wants_a_passphrase(self, example, kind, headers):
        made = uploaded(example.manager, "a.example.com")
        answer = example.admin.get(f"{PATH}/{made['id']}/download?format={kind}", headers=headers)
        assert (answer.status, answer.code) == (400, "PassphraseMissing")
        assert "X-Passphrase" in answer.json["error"]["hint"]

    @pytest.mark.parametrize("query", ["format=p12", "format=PEM", "format=", "passphrase=open"])
    def test_another_format_is_refused_and_no_passphrase_is_taken_from_the_address(self, example, query):
        made = uploaded(example.manager, "a.example.com")
        answer = example.admin.get(f"{PATH}/{made['id']}/download?{query}", headers=PASSPHRASE)
        assert (answer.status, answer.code) == (400, "InvalidParameter")

    @pytest.mark.parametrize("kind", ["pem", "pfx", "jks"])
    def test_a_shared_certificate_is_not_handed_out(self, services, example, kind):
        put(services, example, id="shared", source=Source.SHARED)
        answer = example.admin.get(f"{PATH}/shared/download?format={kind}", headers=PASSPHRASE)
        assert (answer.status, answer.code) == (403, "SourceNotDownloadable")

    def test_every_access_is_in_the_audit_trail_granted_or_refused(self, services, example):
        made = uploaded(example.manager, "a.example.com")
        path = f"{PATH}/{made['id']}/download"
        for caller, query in ((example.admin, ""), (example.admin, "?format=pfx"), (example.manager, "")):
            caller.get(path + query)
        trail = [e for e in services.audit_store.events if e.action == "certificate.download"]
        assert [(e.target, e.role, e.result) for e in trail] == [
            (made["id"], "admin", "ok"),
            (made["id"], "admin", "PassphraseMissing"),
            (made["id"], "manager", "RoleInsufficient"),
        ]

    def test_a_certificate_without_key_is_handed_out_as_pem_only(self, services, example):
        put(services, example, id="keyless")
        services.certificate_store.materials[example.account_id, "keyless"] = material(
            services.certificate_store.get(example.account_id, "keyless"), keys=None
        )
        pem = example.admin.get(f"{PATH}/keyless/download")
        assert (pem.status, "PRIVATE KEY" in pem.text) == (200, False)
        answer = example.admin.get(f"{PATH}/keyless/download?format=pfx", headers=PASSPHRASE)
        assert (answer.status, answer.code) == (422, "PrivateKeyAbsent")


class TestRenewal:
    def test_the_new_one_takes_over_and_the_old_one_stays(self, example):
        fields = {"name": "mine", "tags": {"a": "b"}, "resource_group": "shop", "notifications": True}
        old = uploaded(example.manager, "a.example.com", fields=fields)
        leaf, body = fresh("a.example.com", days=120)
        answer = example.manager.post(f"{PATH}/{old['id']}/renewals", body)
        assert answer.status == 201
        assert has_shape(answer.json, DETAIL)
        assert {name: answer.json[name] for name in fields} == fields
        assert answer.json["fingerprint_sha256"] == leaf.fingerprint
        assert answer.json["replaces"] == old["id"]
        kept = example.viewer.get(f"{PATH}/{old['id']}").json
        assert (kept["replaced_by"], kept["notifications"]) == (answer.json["id"], False)
        assert kept["name"].startswith("mine-replaced-")

    def test_an_upload_cannot_issue_itself_anew(self, example):
        old = uploaded(example.manager, "a.example.com")
        answer = example.manager.post(f"{PATH}/{old['id']}/renewals", {})
        assert (answer.status, answer.code) == (400, "SourceCannotRenew")

    def test_is_done_once(self, example):
        old = uploaded(example.manager, "a.example.com")
        example.manager.post(f"{PATH}/{old['id']}/renewals", fresh("a.example.com")[1])
        answer = example.manager.post(f"{PATH}/{old['id']}/renewals", fresh("a.example.com")[1])
        assert (answer.status, answer.code) == (409, "AlreadyReplaced")

    def test_warns_of_domains_that_are_lost(self, example):
        old = uploaded(example.manager, "a.example.com", "b.example.com")
        answer = example.manager.post(f"{PATH}/{old['id']}/renewals", fresh("a.example.com")[1])
        (finding,) = answer.json["findings"]
        assert (finding["code"], finding["severity"]) == ("DomainsDiffer", "warning")
        assert "b.example.com" in finding["message"]

    def test_a_bad_replacement_changes_nothing(self, example):
        old = uploaded(example.manager, "a.example.com")
        body = fresh("a.example.com")[1] | {"private_key": fresh("b.example.com", number=2)[0].key_pem}
        answer = example.manager.post(f"{PATH}/{old['id']}/renewals", body)
        assert (answer.status, answer.code) == (422, "KeyMismatch")
        assert example.viewer.get(f"{PATH}/{old['id']}").json == old
        assert len(example.viewer.get(PATH).json["items"]) == 1

    def test_takes_the_same_body_as_an_upload(self, example):
        old = uploaded(example.manager, "a.example.com", fields={"tags": {"env": "live"}})
        fields = {"name": "b", "resource_group": "shop", "notifications": True}
        answer = example.manager.post(f"{PATH}/{old['id']}/renewals", fresh("a.example.com", fields=fields)[1])
        assert answer.status == 201
        assert {name: answer.json[name] for name in fields} == fields
        assert answer.json["tags"] == {"env": "live"}
        assert example.viewer.get(f"{PATH}/{old['id']}").json["name"] == old["name"]

    @pytest.mark.parametrize("field", ["certificate", "private_key", "chain", "encryption_certificate"])
    def test_refuses_a_text_that_is_longer_than_any_chain(self, example, field):
        _, body = fresh("a.example.com")
        answer = example.manager.post(PATH, body | {field: "A" * 262_145})
        assert (answer.status, answer.code) == (413, "RequestTooLarge")


def test_times_are_in_utc_and_end_with_z(example):
    made = uploaded(example.manager, "a.example.com")
    for name in ("not_before", "not_after", "created_at", "updated_at"):
        assert made[name].endswith("Z")
        assert datetime.fromisoformat(made[name]).tzinfo == UTC
