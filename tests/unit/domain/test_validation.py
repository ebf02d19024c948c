"""The whole table of what refuses and what warns, one sentence a line."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier

from chalicelib.domain.findings import CODES, Severity
from chalicelib.domain.reading import Bundle, read
from chalicelib.domain.validation import judge
from tests.support.authority import NOW, Authority, build, name, private_key, self_signed, signed_with_old_hash

ROOT = Authority.root()
MIDDLE = ROOT.intermediate()
LEAF = MIDDLE.issue("www.example.com", "example.com")


def verdict(certificate=None, private_key=None, chain=None, *, at=NOW, **more):
    return judge(read(Bundle(certificate, private_key, chain, **more)), at)


def codes(found, severity=None):
    return [f.code for f in found.findings if severity is None or f.severity is severity]


def errors(found):
    return codes(found, Severity.ERROR)


def test_a_sound_certificate_has_nothing_said_of_it():
    found = verdict(LEAF.pem, LEAF.key_pem, MIDDLE.pem)
    assert codes(found) == []
    assert [c.der for c in found.chain] == [MIDDLE.der]
    assert found.leaf.domains == ("www.example.com", "example.com")


def test_the_root_is_kept_when_given():
    found = verdict(LEAF.pem + MIDDLE.pem + ROOT.pem, LEAF.key_pem)
    assert [c.der for c in found.chain] == [MIDDLE.der, ROOT.der]


def test_a_heap_in_the_wrong_order_is_put_right_with_a_word():
    found = verdict(ROOT.pem + MIDDLE.pem + LEAF.pem, LEAF.key_pem)
    assert found.leaf.der == LEAF.der
    assert [c.der for c in found.chain] == [MIDDLE.der, ROOT.der]
    assert codes(found) == ["ChainReordered"]


def test_a_certificate_given_twice_is_kept_once():
    found = verdict(LEAF.pem + MIDDLE.pem, LEAF.key_pem, MIDDLE.pem)
    assert len(found.chain) == 1
    assert codes(found) == ["DuplicateInput"]


def test_key_and_certificates_may_come_in_one_text():
    found = verdict(LEAF.key_pem + LEAF.pem + MIDDLE.pem)
    assert errors(found) == []
    assert found.key is not None


def test_a_missing_intermediate_is_missed():
    assert errors(verdict(LEAF.pem, LEAF.key_pem)) == ["ChainIncomplete"]


def test_a_root_without_what_stands_between_leaves_the_chain_incomplete():
    assert errors(verdict(LEAF.pem, LEAF.key_pem, ROOT.pem)) == ["ChainIncomplete"]


def test_a_leaf_signed_by_a_given_root_is_complete():
    leaf = ROOT.issue("direct.example.com")
    assert errors(verdict(leaf.pem, leaf.key_pem, ROOT.pem)) == []


def test_a_certificate_of_another_chain_is_pointed_out():
    other = Authority.root("Other", number=77).intermediate("Other issuing", number=78)
    found = verdict(LEAF.pem, LEAF.key_pem, MIDDLE.pem + other.pem)
    assert errors(found) == ["ChainBroken"]
    assert "Other issuing" in found.findings[0].message


def test_the_wrong_intermediate_is_both_broken_and_incomplete():
    other = Authority.root("Other", number=77).intermediate("Other issuing", number=78)
    assert errors(verdict(LEAF.pem, LEAF.key_pem, other.pem)) == ["ChainBroken", "ChainIncomplete"]


def test_an_intermediate_of_the_right_name_and_another_key_breaks_the_chain():
    twin = ROOT.intermediate(number=79)
    assert errors(verdict(LEAF.pem, LEAF.key_pem, twin.pem)) == ["ChainBroken"]


def test_a_leaf_with_an_altered_signature_breaks_the_chain():
    der = bytearray(LEAF.der)
    der[-5] ^= 1
    altered = x509.load_der_x509_certificate(bytes(der))
    text = altered.public_bytes(Encoding.PEM).decode()
    assert errors(verdict(text, LEAF.key_pem, MIDDLE.pem)) == ["ChainBroken"]


def test_the_key_of_another_certificate_does_not_match():
    found = verdict(LEAF.pem, MIDDLE.issue("b.example.com", number=2).key_pem, MIDDLE.pem)
    assert errors(found) == ["KeyMismatch"]
    assert found.findings[0].message.startswith("Certificate and private key do not match")


def test_the_key_of_another_algorithm_is_named():
    found = verdict(LEAF.pem, MIDDLE.issue("b.example.com", kind="rsa2048").key_pem, MIDDLE.pem)
    assert errors(found) == ["KeyMismatch"]
    assert "RSA 2048" in found.findings[0].message


def test_no_key_is_missed():
    assert errors(verdict(LEAF.pem, None, MIDDLE.pem)) == ["PrivateKeyMissing"]


def test_no_certificate_is_missed():
    assert errors(verdict(None, LEAF.key_pem)) == ["CertificateMissing"]


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
def test_a_passphrase_on_the_key_is_recognised(form):
    found = verdict(LEAF.pem, LEAF.key_as(form, b"secret"), MIDDLE.pem)
    assert errors(found) == ["PrivateKeyEncrypted"]
    assert "openssl pkey -in encrypted.key -out decrypted.key" in found.findings[0].hint


def test_the_passphrase_hint_for_rsa_names_openssl_rsa():
    leaf = MIDDLE.issue("rsa.example.com", kind="rsa2048")
    found = verdict(leaf.pem, leaf.key_as("traditional", b"secret"), MIDDLE.pem)
    assert "openssl rsa -in encrypted.key -out decrypted.key" in found.findings[0].hint


def test_an_expired_certificate_is_refused_and_the_last_second_is_still_valid():
    end = LEAF.certificate.not_valid_after_utc
    assert errors(verdict(LEAF.pem, LEAF.key_pem, MIDDLE.pem, at=end)) == []
    assert errors(verdict(LEAF.pem, LEAF.key_pem, MIDDLE.pem, at=end + timedelta(seconds=1))) == ["CertificateExpired"]


def test_a_certificate_of_the_future_is_warned_of():
    leaf = MIDDLE.issue("later.example.com", not_before=NOW + timedelta(days=2))
    found = verdict(leaf.pem, leaf.key_pem, MIDDLE.pem)
    assert errors(found) == []
    assert codes(found) == ["CertificateNotYetValid"]


def test_an_expired_intermediate_is_warned_of():
    stale = ROOT.intermediate("Stale", number=81, not_before=NOW - timedelta(50), not_after=NOW - timedelta(1))
    leaf = stale.issue("a.example.com")
    found = verdict(leaf.pem, leaf.key_pem, stale.pem)
    assert (errors(found), codes(found)) == ([], ["IntermediateExpired"])


def test_a_ca_certificate_in_place_of_the_leaf_is_refused():
    found = verdict(MIDDLE.pem, MIDDLE.key_pem, ROOT.pem)
    assert errors(found) == ["NotALeaf"]


def test_what_openssl_req_x509_makes_is_accepted_with_warnings():
    made = self_signed("a.example.com", ca=True, days=365)
    found = verdict(made.pem, made.key_pem)
    assert errors(found) == []
    assert set(codes(found)) == {"NotALeaf", "SelfSigned"}


def test_a_self_signed_leaf_is_accepted_with_a_warning():
    made = self_signed("a.example.com")
    found = verdict(made.pem, made.key_pem)
    assert (errors(found), codes(found)) == ([], ["SelfSigned"])


def test_a_certificate_without_alternative_names_is_warned_of():
    leaf = MIDDLE.issue("a.example.com", san=False)
    found = verdict(leaf.pem, leaf.key_pem, MIDDLE.pem)
    assert codes(found) == ["MissingSAN"]
    assert found.leaf.domains == ("a.example.com",)


@pytest.mark.parametrize(("kind", "wanted"), [("rsa1024", "WeakKey"), ("p192", "WeakKey")])
def test_short_keys_are_refused(kind, wanted):
    leaf = MIDDLE.issue("weak.example.com", kind=kind)
    assert wanted in errors(verdict(leaf.pem, leaf.key_pem, MIDDLE.pem))


def test_a_short_key_of_an_intermediate_is_refused():
    weak = ROOT.intermediate("Weak", kind="rsa1024")
    leaf = weak.issue("a.example.com")
    assert errors(verdict(leaf.pem, leaf.key_pem, weak.pem)) == ["WeakKey"]


@pytest.mark.parametrize("kind", ["k256", "bp256", "p224", "dsa"])
def test_algorithms_that_are_not_supported_are_named_with_what_is(kind):
    leaf = MIDDLE.issue("odd.example.com", kind=kind)
    found = verdict(leaf.pem, leaf.key_pem, MIDDLE.pem)
    assert "UnsupportedAlgorithm" in errors(found)
    assert "P-256" in next(f for f in found.findings if f.code == "UnsupportedAlgorithm").message


@pytest.mark.parametrize("kind", ["rsa2048", "rsa3072", "p256", "p384", "p521", "ed25519", "ed448"])
def test_every_supported_algorithm_is_accepted(kind):
    leaf = MIDDLE.issue("a.example.com", kind=kind)
    found = verdict(leaf.pem, leaf.key_pem, MIDDLE.pem)
    assert codes(found) == []
    assert found.key is not None


OLD_ROOT = Authority.root("Old root", kind="rsa2048")


@pytest.mark.parametrize(("digest", "refused"), [("sha1", False), ("md5", True)])
def test_a_sha1_signature_is_warned_of_and_an_md5_one_refused(digest, refused):
    leaf = signed_with_old_hash(OLD_ROOT.issue("old.example.com"), OLD_ROOT.key, digest)
    found = verdict(leaf.pem, leaf.key_pem, OLD_ROOT.pem)
    assert codes(found) == ["WeakSignature"]
    assert found.refused is refused


@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_the_signature_of_a_root_is_not_asked_about(digest):
    root = signed_with_old_hash(OLD_ROOT, OLD_ROOT.key, digest)
    leaf = OLD_ROOT.issue("a.example.com")
    assert codes(verdict(leaf.pem, leaf.key_pem, root.pem)) == []


def test_a_validity_of_398_days_is_accepted_and_399_warned_of():
    for days, wanted in ((398, ["LeakageRisk"]), (399, ["ValidityTooLong", "LeakageRisk"])):
        leaf = MIDDLE.issue("a.example.com", days=days)
        assert codes(verdict(leaf.pem, leaf.key_pem, MIDDLE.pem)) == wanted


def test_a_public_certificate_of_2026_may_be_valid_for_200_days():
    baseline = x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier("2.23.140.1.2.1"), None)])
    for days, wanted in ((200, []), (201, ["ValidityTooLong"])):
        leaf = MIDDLE.issue("a.example.com", days=days, extensions=((baseline, False),))
        assert codes(verdict(leaf.pem, leaf.key_pem, MIDDLE.pem)) == wanted


def test_every_problem_is_told_at_once():
    weak = MIDDLE.issue("a.example.com", kind="rsa1024", days=20, not_before=NOW - timedelta(days=30))
    found = verdict(weak.pem, MIDDLE.issue("b.example.com", number=2).key_pem)
    assert {"KeyMismatch", "WeakKey", "CertificateExpired", "ChainIncomplete"} <= set(errors(found))


def test_of_two_certificates_with_one_key_the_later_is_the_leaf():
    older = MIDDLE.issue("a.example.com", not_before=NOW - timedelta(days=80))
    newer = MIDDLE.issue("a.example.com")
    found = verdict(older.pem + newer.pem, newer.key_pem, MIDDLE.pem)
    assert found.leaf.der == newer.der
    assert errors(found) == ["ChainBroken"]


def test_an_encryption_certificate_beside_rsa_is_refused():
    found = verdict(LEAF.pem, LEAF.key_pem, MIDDLE.pem, encryption_certificate=LEAF.pem)
    assert "EncryptionCertificateUnexpected" in errors(found)


def test_a_certificate_whose_extensions_cannot_be_read_is_told_of():
    san = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.17"), b"\x30\x03\x82\x05a")
    key = private_key()
    broken = build(name("a"), name("Root"), key, key, san=False, extensions=((san, False),))
    text = broken.public_bytes(Encoding.PEM).decode()
    found = verdict(text, LEAF.key_pem)
    assert "CertificateFormatIncorrect" in errors(found)
    assert "extensions" in found.findings[0].message


def test_every_code_that_validation_gives_is_in_the_catalogue():
    weak = MIDDLE.issue("a.example.com", kind="rsa1024", days=2000)
    for found in (verdict(weak.pem), verdict("nothing"), verdict(LEAF.pem, LEAF.pem), verdict(MIDDLE.pem)):
        assert set(codes(found)) <= set(CODES)
