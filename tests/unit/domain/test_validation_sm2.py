"""SM2 double certificates: two pairs, one subject, one issuer, real SM3 signatures."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.findings import Severity
from chalicelib.domain.reading import Bundle, read
from chalicelib.domain.validation import judge
from tests.support.authority import NOW, Authority, private_key
from tests.support.sm2_builder import Sm2Authority, sm2_key

HOST = "sm2.example.com"
ROOT = Sm2Authority.root()
MIDDLE = ROOT.intermediate()
LOWER = MIDDLE.intermediate("SM2 Issuing", number=902)
SIGNING, ENCRYPTION = MIDDLE.issue_pair(HOST)
P256 = Authority.root("P-256 root")


def verdict(signing=SIGNING, encryption=ENCRYPTION, chain=MIDDLE.pem, *, at=NOW, **texts):
    """The verdict on a pair; `texts` replace what would be sent of it."""
    sent = {"certificate": signing.pem, "private_key": signing.key_pem, "chain": chain}
    if encryption is not None:
        sent |= {"encryption_certificate": encryption.pem, "encryption_private_key": encryption.key_pem}
    return judge(read(Bundle(**(sent | texts))), at)


def said(found):
    return [(f.code, f.param) for f in found.findings]


def errors(found):
    return [(f.code, f.param) for f in found.findings if f.severity is Severity.ERROR]


def test_two_pairs_that_fit_have_nothing_said_of_them():
    found = verdict()
    assert said(found) == []
    assert (found.leaf.der, found.encryption_leaf.der) == (SIGNING.der, ENCRYPTION.der)
    assert [c.der for c in found.chain] == [MIDDLE.der]
    assert found.key.public.native == SIGNING.key.point
    assert found.encryption_key.public.native == ENCRYPTION.key.point


@pytest.mark.parametrize("form", ["explicit", "own", "own-null", "own-named"])
def test_the_form_in_which_a_public_key_is_written_does_not_matter(form):
    pair = MIDDLE.issue_pair(HOST, spki_form=form)
    assert said(verdict(*pair)) == []


@pytest.mark.parametrize("form", ["pkcs8-own", "ec", "ec-bare", "sm2"])
def test_the_form_in_which_the_private_keys_are_written_does_not_matter(form):
    texts = {"private_key": SIGNING.key_as(form), "encryption_private_key": ENCRYPTION.key_as(form)}
    assert said(verdict(**texts)) == []


def test_certificates_without_key_usage_are_taken_by_their_fields():
    pair = [MIDDLE.issue(HOST, number=n, purpose=None) for n in (1, 2)]
    assert said(verdict(*pair)) == []


class TestWrongKeys:
    """Every certificate needs the key of its own."""

    def test_a_wrong_encryption_key_is_refused(self):
        found = verdict(encryption_private_key=sm2_key(7).pem())
        assert errors(found) == [("KeyMismatch", "encryption_private_key")]
        assert (found.key is None, found.encryption_key is None) == (False, True)

    def test_a_wrong_signing_key_is_refused(self):
        found = verdict(private_key=sm2_key(7).pem())
        assert errors(found) == [("KeyMismatch", "private_key")]
        assert (found.key is None, found.encryption_key is None) == (True, False)

    def test_keys_in_each_others_field_are_both_refused(self):
        found = verdict(private_key=ENCRYPTION.key_pem, encryption_private_key=SIGNING.key_pem)
        assert errors(found) == [("KeyMismatch", "private_key"), ("KeyMismatch", "encryption_private_key")]

    @pytest.mark.parametrize("kind", ["p256", "rsa2048"])
    def test_a_key_of_another_algorithm_is_named(self, kind):
        other = P256.issue("b.example.com", kind=kind)
        found = verdict(private_key=other.key_pem)
        assert errors(found) == [("KeyMismatch", "private_key")]
        message = found.findings[0].message
        assert {"p256": "ECDSA P-256", "rsa2048": "RSA 2048"}[kind] in message
        assert "SM2" in message

    def test_a_missing_encryption_key_is_missed(self):
        assert errors(verdict(encryption_private_key=None)) == [("PrivateKeyMissing", "encryption_private_key")]

    def test_a_protected_encryption_key_is_recognised_and_not_missed(self):
        text = P256.key_as("pkcs8", b"secret")
        assert errors(verdict(encryption_private_key=text)) == [("PrivateKeyEncrypted", "encryption_private_key")]

    def test_one_key_for_both_is_warned_of(self):
        signing, encryption = MIDDLE.issue_pair(HOST, numbers=(1, 1))
        apart = verdict(signing, encryption)
        together = judge(read(Bundle(signing.pem + encryption.pem + MIDDLE.pem + signing.key_pem)), NOW)
        for found in (apart, together):
            assert said(found) == [("EncryptionKeyReused", "encryption_certificate")]
            assert found.key == found.encryption_key
            assert not found.refused

    def test_the_encryption_key_in_both_fields_does_not_match_the_signing_certificate(self):
        assert errors(verdict(private_key=ENCRYPTION.key_pem)) == [("KeyMismatch", "private_key")]


class TestHalves:
    """A pair has two halves, in their fields."""

    def test_a_signing_certificate_alone_is_warned_of(self):
        found = verdict(encryption=None)
        assert said(found) == [("EncryptionCertificateMissing", "encryption_certificate")]
        assert not found.refused

    def test_an_encryption_key_alone_wants_its_certificate(self):
        found = verdict(encryption_certificate=None)
        assert errors(found) == [("CertificateMissing", "encryption_certificate")]

    def test_pairs_in_each_others_field_are_refused_with_the_reason(self):
        found = verdict(ENCRYPTION, SIGNING)
        assert errors(found) == [("KeyUsageUnsuitable", "certificate")]
        assert "exchange them" in found.findings[0].hint

    def test_certificates_of_two_subjects_are_refused(self):
        other = MIDDLE.issue("other.example.com", number=2, purpose="encryption")
        found = verdict(encryption=other)
        assert errors(found) == [("SubjectMismatch", "encryption_certificate")]
        assert "other.example.com" in found.findings[0].message

    def test_certificates_of_two_issuers_are_refused(self):
        other = Sm2Authority.root("Other SM2 Root", number=910).issue(HOST, number=2, purpose="encryption")
        assert errors(verdict(encryption=other)) == [("SubjectMismatch", "encryption_certificate")]

    @pytest.mark.parametrize("key", [private_key("p256", 5), private_key("rsa2048", 5), private_key("dsa", 5)])
    @pytest.mark.parametrize("chain", [MIDDLE.pem, None])
    def test_an_encryption_certificate_of_another_algorithm_is_refused(self, key, chain):
        other = MIDDLE.issue(HOST, key=key, purpose="encryption")
        found = errors(verdict(encryption=other, chain=chain))
        assert ("UnsupportedAlgorithm", "encryption_certificate") in found
        assert ("ChainIncomplete", "chain") in found or chain is not None

    @pytest.mark.parametrize(
        ("begin", "end", "code"),
        [(-20, -1, "CertificateExpired"), (1, 20, "CertificateNotYetValid")],
    )
    def test_the_dates_of_the_encryption_certificate_are_judged_too(self, begin, end, code):
        dates = {"not_before": NOW + timedelta(days=begin), "not_after": NOW + timedelta(days=end)}
        other = MIDDLE.issue(HOST, number=2, purpose="encryption", **dates)
        assert said(verdict(encryption=other)) == [(code, "encryption_certificate")]

    def test_beside_another_algorithm_an_sm2_encryption_pair_is_refused(self):
        leaf = P256.issue(HOST)
        found = verdict(leaf, chain=P256.pem)
        assert errors(found) == [("EncryptionCertificateUnexpected", "encryption_certificate")]
        assert found.encryption_key is None


class TestSignatures:
    """SM3 signatures decide, not names."""

    def test_a_broken_signature_of_the_signing_certificate_breaks_the_chain(self):
        broken = MIDDLE.issue(HOST, good_signature=False)
        assert errors(verdict(broken)) == [("ChainBroken", "chain")]

    def test_a_broken_signature_of_the_encryption_certificate_is_found(self):
        broken = MIDDLE.issue(HOST, number=2, purpose="encryption", good_signature=False)
        found = verdict(encryption=broken)
        assert errors(found) == [("ChainBroken", "encryption_certificate")]

    def test_a_broken_signature_of_an_intermediate_breaks_the_chain(self):
        bad = ROOT.intermediate("Bad", number=903, good_signature=False)
        pair = bad.issue_pair(HOST)
        assert errors(verdict(*pair, chain=bad.pem + ROOT.pem)) == [("ChainBroken", "chain")]

    def test_an_issuer_of_the_right_name_and_another_key_breaks_the_chain(self):
        twin = ROOT.intermediate(number=904)
        assert errors(verdict(chain=twin.pem)) == [("ChainBroken", "chain")]

    def test_an_encryption_certificate_by_another_key_of_the_issuers_name_is_found(self):
        twin = ROOT.intermediate(number=904)
        other = twin.issue(HOST, number=2, purpose="encryption")
        assert errors(verdict(encryption=other)) == [("ChainBroken", "encryption_certificate")]

    def test_a_signature_for_another_identity_is_not_good(self):
        other = MIDDLE.issue(HOST, identity=b"someone else")
        assert errors(verdict(other)) == [("ChainBroken", "chain")]


class TestChains:
    """Over SM2 intermediates, in any order, and over mixed ones."""

    PAIR = LOWER.issue_pair(HOST)

    @pytest.mark.parametrize("order", list(itertools.permutations((LOWER, MIDDLE, ROOT))))
    def test_a_chain_in_any_order_is_put_right(self, order):
        found = verdict(*self.PAIR, chain="".join(c.pem for c in order))
        assert [c.der for c in found.chain] == [LOWER.der, MIDDLE.der, ROOT.der]
        assert said(found) == ([] if order == (LOWER, MIDDLE, ROOT) else [("ChainReordered", "chain")])

    @settings(max_examples=25)
    @given(
        st.permutations(
            [SIGNING.pem, ENCRYPTION.pem, MIDDLE.pem, ROOT.pem, SIGNING.key_pem, ENCRYPTION.key_pem],
        )
    )
    def test_both_pairs_and_their_chain_may_come_in_one_text_in_any_order(self, parts):
        found = judge(read(Bundle("".join(parts))), NOW)
        assert errors(found) == []
        assert (found.leaf.der, found.encryption_leaf.der) == (SIGNING.der, ENCRYPTION.der)
        assert [c.der for c in found.chain] == [MIDDLE.der, ROOT.der]
        assert found.key.public.native == SIGNING.key.point
        assert found.encryption_key.public.native == ENCRYPTION.key.point

    @pytest.mark.parametrize("certificates", [(SIGNING, ENCRYPTION), (ENCRYPTION, SIGNING)])
    def test_of_two_halves_in_one_text_the_signing_one_is_the_leaf_without_any_key(self, certificates):
        found = judge(read(Bundle("".join(c.pem for c in certificates), chain=MIDDLE.pem)), NOW, key_required=False)
        assert (found.leaf.der, found.encryption_leaf.der) == (SIGNING.der, ENCRYPTION.der)
        assert errors(found) == [("PrivateKeyMissing", "encryption_private_key")]

    def test_the_chain_may_come_with_the_encryption_certificate(self):
        found = verdict(chain=None, encryption_certificate=ENCRYPTION.pem + MIDDLE.pem)
        assert said(found) == []
        assert [c.der for c in found.chain] == [MIDDLE.der]

    def test_without_the_intermediate_the_chain_is_incomplete_and_nothing_else_is_said(self):
        assert said(verdict(chain=None)) == [("ChainIncomplete", "chain")]

    def test_a_certificate_of_another_chain_is_pointed_out(self):
        assert errors(verdict(chain=MIDDLE.pem + P256.pem)) == [("ChainBroken", "chain")]

    @pytest.mark.parametrize("issuer", ["own", "signing"])
    def test_a_self_signed_pair_is_warned_of(self, issuer):
        signing = ROOT.issue(HOST, issuer=SIGNING.certificate.subject, signer=SIGNING.key)
        signer = {"own": ENCRYPTION.key, "signing": SIGNING.key}[issuer]
        encryption = ROOT.issue(HOST, number=2, purpose="encryption", issuer=SIGNING.certificate.subject, signer=signer)
        found = verdict(signing, encryption, chain=None)
        assert said(found) == [("SelfSigned", "certificate")]

    def test_a_self_signed_pair_whose_halves_share_no_key_is_refused(self):
        own = {"issuer": SIGNING.certificate.subject}
        signing = ROOT.issue(HOST, signer=SIGNING.key, **own)
        encryption = ROOT.issue(HOST, number=2, purpose="encryption", signer=sm2_key(7), **own)
        assert errors(verdict(signing, encryption, chain=None)) == [("ChainBroken", "encryption_certificate")]

    def test_a_self_signed_encryption_certificate_of_a_kind_that_cannot_be_checked_is_refused(self):
        own = {"issuer": SIGNING.certificate.subject}
        signing = ROOT.issue(HOST, signer=SIGNING.key, **own)
        encryption = ROOT.issue(HOST, key=private_key("dsa", 5), purpose="encryption", signer=sm2_key(7), **own)
        found = errors(verdict(signing, encryption, chain=None, encryption_private_key=sm2_key(2).pem()))
        assert ("ChainBroken", "encryption_certificate") in found
        assert ("UnsupportedAlgorithm", "encryption_certificate") in found

    def test_an_sm2_pair_may_stand_under_an_ec_root(self):
        pair = Sm2Authority(P256.certificate, P256.key).issue_pair(HOST)
        assert said(verdict(*pair, chain=P256.pem)) == []

    @pytest.mark.parametrize("kind", ["rsa2048", "p256"])
    def test_a_leaf_of_another_algorithm_may_stand_under_an_sm2_intermediate(self, kind):
        leaf = MIDDLE.issue(HOST, key=private_key(kind, 6))
        found = verdict(leaf, encryption=None)
        assert said(found) == []
        assert found.key is not None

    def test_an_rsa_issuer_of_the_right_name_did_not_sign_an_sm2_leaf(self):
        impostor = Authority.root("SM2 Intermediate", kind="rsa2048")
        assert errors(verdict(chain=impostor.pem)) == [("ChainBroken", "chain")]
