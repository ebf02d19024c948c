"""What is too weak, unsupported or too long, at every limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier

from chalicelib.domain import policy
from chalicelib.domain.certificate import SCT_LIST_OID, ParsedCertificate, PublicKey
from chalicelib.domain.findings import Severity
from tests.support.authority import Authority, self_signed

ROOT = Authority.root()
SECOND = timedelta(seconds=1)
NO_SCTS = (x509.UnrecognizedExtension(SCT_LIST_OID, bytes.fromhex("04020000")), False)


def claims(oid):
    return x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(oid), None)]), False


PUBLIC = claims("2.23.140.1.2.1")


def day(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def issued(*extensions, **options):
    return ParsedCertificate(ROOT.issue("a.example.com", extensions=extensions, **options).der)


def said(findings):
    return [(f.code, f.severity.value) for f in findings]


@dataclass
class Holder:
    """Something with a key and a signature, such as no CA would make any more."""

    public_key: PublicKey | None = None
    signature_hash: str = "sha256"
    label: str = "“a.example.com”"


@pytest.mark.parametrize(
    ("begin", "limit"),
    [
        ("2026-03-14T23:59:59", 398),
        ("2026-03-15T00:00:00", 200),
        ("2027-03-14T23:59:59", 200),
        ("2027-03-15T00:00:00", 100),
        ("2029-03-14T23:59:59", 100),
        ("2029-03-15T00:00:00", 47),
        ("2035-01-01T00:00:00", 47),
    ],
)
def test_a_public_certificate_may_be_valid_as_long_as_its_day_of_issue_allows(begin, limit):
    start = day(begin)
    full = issued(PUBLIC, not_before=start, not_after=start + timedelta(days=limit))
    over = issued(PUBLIC, not_before=start, not_after=start + timedelta(days=limit) + SECOND)
    assert list(policy.leaf_findings(full, "certificate")) == []
    (finding,) = policy.leaf_findings(over, "certificate")
    assert (finding.code, finding.severity) == ("ValidityTooLong", Severity.WARNING)
    assert f"valid for {limit + 1} days; clients accept at most {limit}." in finding.message


@pytest.mark.parametrize("begin", ["2020-01-01", "2026-06-01", "2028-01-01", "2035-01-01"])
def test_a_private_certificate_may_be_valid_for_398_days_in_every_year(begin):
    assert policy.validity_limit_days(issued(not_before=day(begin))) == 398


@pytest.mark.parametrize(
    ("extension", "limit"),
    [
        (claims("2.23.140.1.2.1"), 200),
        (claims("2.23.140.1.2.2"), 200),
        (claims("2.23.140.1.2.3"), 200),
        (NO_SCTS, 200),
        (claims("2.23.140.1.3"), 398),
        (claims("2.23.140.1.20"), 398),
        (claims("1.3.6.1.4.1.99999.1"), 398),
    ],
)
def test_who_claims_the_public_web_is_held_to_its_limits(extension, limit):
    assert policy.validity_limit_days(issued(extension, not_before=day("2026-06-01"))) == limit


def test_one_claim_among_other_policies_is_enough():
    oids = ("1.3.6.1.4.1.99999.1", "2.23.140.1.2.2")
    both = x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(oid), None) for oid in oids])
    assert policy.validity_limit_days(issued((both, False), not_before=day("2026-06-01"))) == 200


@pytest.mark.parametrize(
    ("kind", "size", "curve", "wanted"),
    [
        ("RSA", 1024, "", "WeakKey"),
        ("RSA", 2047, "", "WeakKey"),
        ("RSA", 2048, "", None),
        ("RSA", 16384, "", None),
        ("RSA-PSS", 2047, "", "WeakKey"),
        ("RSA-PSS", 2048, "", None),
        ("ECDSA", 192, "secp192r1", "WeakKey"),
        ("ECDSA", 223, "other", "WeakKey"),
        ("ECDSA", 224, "P-224", "UnsupportedAlgorithm"),
        ("ECDSA", 256, "P-256", None),
        ("ECDSA", 256, "secp256k1", "UnsupportedAlgorithm"),
        ("ECDSA", 521, "P-521", None),
        ("Ed25519", 256, "", None),
        ("Ed448", 456, "", None),
        ("SM2", 256, "", None),
        ("DSA", 3072, "", "UnsupportedAlgorithm"),
        ("X25519", 0, "", "UnsupportedAlgorithm"),
        ("algorithm 1.2.3.4", 0, "", "UnsupportedAlgorithm"),
    ],
)
def test_keys_are_strong_and_of_a_supported_algorithm_or_refused(kind, size, curve, wanted):
    found = said(policy.key_findings(Holder(PublicKey(kind, size, curve, None)), "certificate"))
    assert found == ([] if wanted is None else [(wanted, "error")])


@pytest.mark.parametrize("key", [PublicKey("RSA", 1024, "", None), PublicKey("ECDSA", 192, "secp192r1", None)])
def test_a_weak_key_is_told_with_its_size_and_with_what_to_do(key):
    (finding,) = policy.key_findings(Holder(key), "chain")
    assert f"{key.size} bits" in finding.message
    assert "openssl" in finding.hint
    assert finding.param == "chain"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("md2", "error"),
        ("md4", "error"),
        ("md5", "error"),
        ("sha1", "warning"),
        ("sha224", None),
        ("sha256", None),
        ("sha3-256", None),
        ("sm3", None),
        ("", None),
    ],
)
def test_broken_hashes_refuse_and_sha1_warns(name, wanted):
    found = said(policy.signature_findings(Holder(signature_hash=name), "certificate"))
    assert found == ([] if wanted is None else [("WeakSignature", wanted)])


def test_a_sound_leaf_has_nothing_said_of_it():
    assert said(policy.leaf_findings(issued(), "certificate")) == []


def test_every_objection_of_clients_is_told_at_once():
    made = ParsedCertificate(self_signed("a.example.com", san=False, days=3650).der)
    assert said(policy.leaf_findings(made, "certificate")) == [
        ("SelfSigned", "warning"),
        ("MissingSAN", "warning"),
        ("ValidityTooLong", "warning"),
    ]


def test_alternative_names_that_are_no_hosts_do_not_count():
    mail = x509.SubjectAlternativeName([x509.RFC822Name("a@example.com")]), False
    leaf = ParsedCertificate(ROOT.issue("a.example.com", san=False, extensions=(mail,)).der)
    assert said(policy.leaf_findings(leaf, "certificate")) == [("MissingSAN", "warning")]


@pytest.mark.parametrize(
    ("begin", "end", "risky"),
    [
        ("2026-01-01T00:00:00", "2027-01-01T00:00:00", False),
        ("2026-01-01T00:00:00", "2027-01-01T00:00:01", True),
        ("2028-01-01T00:00:00", "2029-01-01T00:00:00", False),
        ("2028-02-29T12:00:00", "2029-03-01T12:00:00", False),
        ("2028-02-29T12:00:00", "2029-03-01T12:00:01", True),
        ("9999-01-01T00:00:00", "9999-12-31T23:59:59", False),
    ],
)
def test_a_private_certificate_for_more_than_a_calendar_year_is_a_leakage_risk(begin, end, risky):
    private = issued(not_before=day(begin), not_after=day(end))
    assert ("LeakageRisk" in [f.code for f in policy.leaf_findings(private, "certificate")]) is risky
    public = issued(PUBLIC, not_before=day(begin), not_after=day(end))
    assert "LeakageRisk" not in [f.code for f in policy.leaf_findings(public, "certificate")]


def test_who_signs_for_oneself_is_told_that_alone():
    own = ParsedCertificate(self_signed("a.example.com", days=3650).der)
    assert [f.code for f in policy.leaf_findings(own, "certificate")] == ["SelfSigned", "ValidityTooLong"]
