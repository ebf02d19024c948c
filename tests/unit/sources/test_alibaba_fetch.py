"""Certificates and keys of Alibaba Cloud PCA, and refusals in our words, over a fake of `AlibabaApi`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization

from chalicelib.domain import issuing, keys, pbe, pem
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.errors import TooManyRequests, Unprocessable
from chalicelib.domain.pca import Fetched, Limits, Unavailable
from tests.support.alibaba_api import PLACE, REF, There
from tests.support.authority import NOW, Authority, name
from tests.support.records import ACCOUNT

REVOKED_AT = datetime(2026, 5, 1, 8, 30, tzinfo=UTC)


@pytest.fixture
def there():
    return There()


# --- fetching


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_a_certificate_comes_with_chain_and_key(there, kind, form):
    made = there.issue("a", kind=kind)
    there.api.keys["a"] = lambda passphrase: made.key_as(form, passphrase.encode())
    (found,) = there.fetch("a").values()
    assert (found.certificate, found.chain) == (made.pem, (there.middle.pem, there.root.pem))
    key = serialization.load_pem_private_key(found.private_key.encode(), None)
    assert key.private_numbers() == made.key.private_numbers()
    assert (found.key_note, found.revoked_at) == ("", None)


def test_an_sm2_certificate_comes_with_its_key(there):
    above, below = keys.generate("SM2", 256), keys.generate("SM2", 256)
    issuer = issuing.Issuer(
        ParsedCertificate(issuing.make_authority(name("SM2"), Limits(), above, None, now=NOW, days=900)), above
    )
    der = issuing.make_certificate(name("a"), [], below.public, issuer, now=NOW, days=90, usage="client")
    there.issue("a", X509Certificate=pem.encode("CERTIFICATE", der), CertChain="")
    there.api.keys["a"] = lambda code: pem.encode("ENCRYPTED PRIVATE KEY", pbe.encrypt_pkcs8(below.pkcs8, code))
    (found,) = there.fetch("a").values()
    assert (found.private_key, found.chain) == (below.pem().decode(), ())


def test_every_key_is_asked_for_under_a_passphrase_of_its_own(there):
    for one in ("a", "b"):
        there.issue(one)
    there.fetch("a", "b", "a")
    codes = [given["EncryptedCode"] for action, given in there.api.calls if "PrivateKey" in action]
    assert len(set(codes)) == 3
    assert all(code.isascii() and 24 <= len(code) <= 32 for code in codes)


def test_the_chain_is_put_in_order_without_the_certificate_itself(there):
    made = there.issue("a")
    stranger = Authority.root("Stranger", number=7)
    mixed = (there.root, stranger, made, there.middle, there.root)
    there.api.issued["a"]["CertChain"] = "".join(one.pem for one in mixed)
    assert there.fetch("a")["a"].chain == (there.middle.pem, there.root.pem, stranger.pem)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("NotFound", "made elsewhere"),
        ("OperationDenied", "OperationDenied"),
        ("NoPermission", "yundun-cert:DescribeCertificatePrivateKey"),
    ],
)
def test_a_certificate_whose_key_is_refused_comes_without_and_says_why(there, code, words):
    made = there.issue("a")
    there.refuse("DescribeCertificatePrivateKey", code)
    (found,) = there.fetch("a").values()
    assert (found.certificate, found.private_key) == (made.pem, None)
    assert words in found.key_note


def test_a_key_that_does_not_open_or_fit_is_not_taken(there):
    other = there.issue("other", number=2)
    there.issue("a")
    for answer in (
        lambda _: other.key_as("pkcs8", b"another passphrase"),
        lambda passphrase: other.key_as("pkcs8", passphrase.encode()),
        lambda _: "no key at all",
        lambda _: None,
    ):
        there.api.keys["a"] = answer
        (found,) = there.fetch("a").values()
        assert found.private_key is None
        assert "cannot be opened" in found.key_note


def test_a_revoked_certificate_comes_without_its_key_being_asked_for(there):
    made = there.issue("a", Status="REVOKE")
    there.api.revoked = {f"{made.certificate.serial_number:X}": int(REVOKED_AT.timestamp() * 1000)}
    (found,) = there.fetch("a").values()
    assert (found.revoked_at, found.private_key) == (REVOKED_AT, None)
    assert "revoked" in found.key_note
    assert there.api.asked["DescribeCertificatePrivateKey"] == 0


def test_a_damaged_certificate_is_handed_on_as_it_is_for_the_intake_to_judge(there):
    there.issue("a", X509Certificate="-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
    (found,) = there.fetch("a").values()
    assert found == Fetched(there.api.issued["a"]["X509Certificate"], (), key_note=found.key_note)
    assert "cannot be read" in found.key_note


def test_what_cannot_be_had_says_why_and_stops_nothing(there):
    made = there.issue("a")
    there.api.add("theirs", made, "elsewhere")
    there.issue("new", X509Certificate=None)
    there.issue("checked", Status="CHECKING")
    found = there.fetch("unknown", "theirs", "new", "checked", "a")
    assert {one: what.code for one, what in found.items() if isinstance(what, Unavailable)} == {
        "unknown": "CertificateNotFound",
        "theirs": "CertificateNotFound",
        "new": "CertificateNotIssued",
        "checked": "CertificateNotIssued",
    }
    assert list(found) == ["unknown", "theirs", "new", "checked", "a"]
    assert isinstance(found["a"], Fetched)


def test_a_certificate_that_alibaba_refuses_says_how(there):
    there.issue("a")
    there.refuse("DescribeClientCertificate", "InvalidParameter")
    (found,) = there.fetch("a").values()
    assert found.code == "CertificateNotAvailable"
    assert "InvalidParameter: Words of theirs." in found.reason


def test_certificates_are_fetched_one_after_the_other_as_they_are_taken(there):
    there.issue("a")
    taken = there.source.fetch(ACCOUNT, REF, ["a", "b"])
    next(taken)
    assert [given["Identifier"] for _, given in there.api.calls] == ["a", "a"]


# --- refusals


ASKS = {
    "DescribeCACertificateList": lambda there: there.cas(),
    "DescribeCACertificate": lambda there: there.source.authority(ACCOUNT, REF),
    "ListClientCertificate": lambda there: there.page(),
    "DescribeClientCertificate": lambda there: there.fetch("a"),
}


@pytest.mark.parametrize("action", ASKS)
@pytest.mark.parametrize(
    ("code", "status", "hint"),
    [
        ("InvalidAccessKeyId.NotFound", 404, "`access_key_id`"),
        ("SignatureDoesNotMatch", 400, "`access_key_secret`"),
        ("InvalidSecurityToken.Expired", 400, "temporary credentials"),
        ("Forbidden.RAM", 403, "yundun-cert:{action}"),
        ("NoPermission", 403, "yundun-cert:{action}"),
        ("PermissionDenied", 400, "yundun-cert:{action}"),
    ],
)
def test_a_refusal_says_which_action_and_what_to_check_where(there, action, code, status, hint):
    there.issue("a")
    there.refuse(action, code, status)
    with pytest.raises(Unprocessable) as refused:
        ASKS[action](there)
    assert refused.value.code == "SourceRefused"
    assert f"refused {action} ({code}: Words of theirs.)" in refused.value.message
    assert "request-1" in refused.value.message
    assert hint.format(action=action) in refused.value.hint
    assert PLACE in refused.value.hint


@pytest.mark.parametrize("action", [*ASKS, "DescribeCertificatePrivateKey", "DescribeClientCertificateStatus"])
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("Throttling.User", 400),
        ("FlowControlError", 400),
        ("ServiceUnavailable", 400),
        ("NotFound", 503),
        ("TooMany", 429),
        ("NoAnswer", 0),
    ],
)
def test_what_may_be_tried_again_is_busy(there, action, code, status):
    there.issue("a", Status="REVOKE" if "Status" in action else "ISSUE")
    there.refuse(action, code, status)
    with pytest.raises(TooManyRequests) as refused:
        ASKS.get(action, ASKS["DescribeClientCertificate"])(there)
    assert refused.value.code == "SourceBusy"
    assert code in refused.value.message


def test_any_other_refusal_is_told_too(there):
    there.refuse("DescribeCACertificateList", "InvalidAction.NotFound", 404)
    with pytest.raises(Unprocessable) as refused:
        there.cas()
    assert refused.value.code == "SourceRefused"
    there.refuse("DescribeCACertificate", "InvalidAction.NotFound", 404)
    with pytest.raises(Unprocessable):
        there.source.authority(ACCOUNT, REF)
