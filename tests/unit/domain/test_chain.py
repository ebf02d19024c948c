"""Chains out of heaps of certificates."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain import chain as chains
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.chain import MAX_DEPTH, build_chain, constraint_problem, link_problem
from tests.support.authority import NOW, Authority, Issued, build, name, private_key, self_signed


def parsed(*issued: Issued) -> list[ParsedCertificate]:
    return [ParsedCertificate(i.der) for i in issued]


def line(length: int, **options) -> list[ParsedCertificate]:
    """A leaf and `length` certificates above it, the root last."""
    authorities = [Authority.root("CA 0", number=500)]
    for level in range(1, length):
        authorities.append(authorities[-1].intermediate(f"CA {level}", number=500 + level, **options))
    leaf = authorities[-1].issue("www.example.com")
    return parsed(leaf, *reversed(authorities))


@given(length=st.integers(1, 6), seed=st.integers(0, 10**6), doubled=st.booleans())
@settings(max_examples=40)
def test_any_order_with_doubles_gives_the_same_chain(length, seed, doubled):
    leaf, *above = line(length)
    heap = [*above, *(above if doubled else []), leaf]
    random.Random(seed).shuffle(heap)  # noqa: S311 - an order, not a secret
    found = build_chain(leaf, heap, NOW)
    assert list(found.path) == [leaf, *above]
    assert not found.strangers
    assert not found.wrong_signatures


def test_a_leaf_whose_issuer_is_absent_is_incomplete():
    leaf, _, root = line(2)
    found = build_chain(leaf, [root], NOW)
    assert not found.is_complete
    assert found.strangers == (root,)


def test_a_self_signed_leaf_is_complete_alone():
    (leaf,) = parsed(self_signed("a.example.com"))
    assert build_chain(leaf, [], NOW).is_complete


def test_certificates_of_another_chain_are_strangers():
    leaf, *above = line(2)
    (other,) = parsed(Authority.root("Other", number=600))
    assert build_chain(leaf, [other, *above], NOW).strangers == (other,)


def test_an_issuer_of_the_same_name_with_another_key_is_a_wrong_signature():
    root = Authority.root()
    real, twin = root.intermediate(number=701), root.intermediate(number=702)
    leaf, other = parsed(real.issue("a.example.com", identifiers=False), twin)
    found = build_chain(leaf, [other], NOW)
    assert not found.is_complete
    assert found.wrong_signatures == ((leaf, other),)


def test_the_right_one_of_two_issuers_of_one_name_is_found_without_key_identifiers():
    root = Authority.root()
    real, twin = root.intermediate(number=701), root.intermediate(number=702)
    leaf, right, wrong, top = parsed(real.issue("a.example.com", identifiers=False), real, twin, root)
    found = build_chain(leaf, [wrong, right, top], NOW)
    assert found.path == (leaf, right, top)
    assert found.wrong_signatures == ()


def test_of_two_cross_signed_paths_the_one_to_a_given_root_is_kept():
    old, new = Authority.root("Old", number=801), Authority.root("New", number=802)
    key = private_key("p256", 803)
    by_old, by_new = old.intermediate("Issuing", key=key), new.intermediate("Issuing", key=key)
    leaf, one, other, root = parsed(by_new.issue("a.example.com"), by_old, by_new, new)
    found = build_chain(leaf, [one, other, root], NOW)
    assert found.path == (leaf, other, root)
    assert found.alternatives == (one,)


def test_a_cross_signed_path_through_an_expired_certificate_is_avoided():
    old, new = Authority.root("Old", number=801), Authority.root("New", number=802)
    key = private_key("p256", 803)
    expired = old.intermediate("Issuing", key=key, not_before=NOW - timedelta(30), not_after=NOW - timedelta(1))
    current = new.intermediate("Issuing", key=key)
    leaf, stale, fresh, root = parsed(current.issue("a.example.com"), expired, current, old)
    assert build_chain(leaf, [stale, fresh, root], NOW).path == (leaf, fresh)


def test_a_ring_of_cross_signed_authorities_ends():
    a, b = private_key("p256", 811), private_key("p256", 812)
    first, second = Authority.root("A", key=a), Authority.root("B", key=b)
    a_by_b, b_by_a = second.intermediate("A", key=a), first.intermediate("B", key=b)
    leaf, *heap = parsed(first.issue("a.example.com"), a_by_b, b_by_a)
    found = build_chain(leaf, heap, NOW)
    assert found.path[0] == leaf
    assert len(found.path) == 3


def test_a_heap_of_same_named_authorities_is_searched_within_bounds(monkeypatch):
    checked = []
    real = ParsedCertificate.signed_by
    monkeypatch.setattr(ParsedCertificate, "signed_by", lambda self, by: checked.append(1) or real(self, by))
    key = private_key("p256", 820)
    heap = [Authority.root("Same", key=key).intermediate("Same", key=key) for _ in range(60)]
    leaf, *others = parsed(heap[0].issue("a.example.com"), *heap)
    build_chain(leaf, others, NOW)
    assert len(checked) <= chains.MAX_STEPS + len(heap) + 1


def test_a_path_longer_than_the_bound_is_cut():
    leaf, *above = line(chains.MAX_DEPTH + 2)
    assert len(build_chain(leaf, above, NOW).path) == chains.MAX_DEPTH


def test_names_are_compared_without_regard_to_case_and_spaces():
    root = Authority.root("Example  Root")
    leaf, other = parsed(root.issue("a.example.com"), Authority.root("example ROOT", key=root.key))
    assert build_chain(leaf, [other], NOW).path == (leaf, other)


def test_an_issuer_without_the_ca_flag_is_named():
    root = Authority.root()
    middle = root.issue("middle.example.com")
    leaf, issuer, top = parsed(Authority(middle.certificate, middle.key).issue("a.example.com"), middle, root)
    assert "not a CA certificate" in link_problem(build_chain(leaf, [issuer, top], NOW))


def test_a_path_length_that_is_exceeded_is_named():
    root = Authority.root()
    upper = root.intermediate("Upper", number=831, path_length=0)
    lower = upper.intermediate("Lower", number=832)
    leaf, *above = parsed(lower.issue("a.example.com"), lower, upper, root)
    assert "allows 0 intermediate(s)" in link_problem(build_chain(leaf, above, NOW))


def test_a_path_length_that_is_kept_is_fine():
    root = Authority.root(path_length=1)
    middle = root.intermediate(path_length=0)
    leaf, *above = parsed(middle.issue("a.example.com"), middle, root)
    assert link_problem(build_chain(leaf, above, NOW)) is None


@pytest.mark.parametrize(("domain", "broken"), [("a.example.com", False), ("a.example.org", True)])
def test_name_constraints_are_enforced(domain, broken):
    limits = x509.NameConstraints([x509.DNSName("example.com")], None)
    root = Authority.root(extensions=((limits, True),))
    leaf, top = parsed(root.issue(domain), root)
    found = constraint_problem(build_chain(leaf, [top], NOW))
    assert ("subtree" in (found or "")) is broken


def test_an_unknown_critical_extension_is_named():
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    root = Authority.root()
    leaf, top = parsed(root.issue("a.example.com", extensions=((strange, True),)), root)
    assert "critical extension" in constraint_problem(build_chain(leaf, [top], NOW))


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "p521", "ed25519", "ed448"])
def test_signatures_of_every_supported_kind_are_checked(kind):
    root = Authority.root(kind=kind)
    leaf, top = parsed(root.issue("a.example.com"), root)
    (stranger,) = parsed(Authority.root(kind=kind, number=999))
    assert leaf.signed_by(top)
    assert not leaf.signed_by(stranger)


def test_an_rsa_pss_signature_is_checked():
    root = Authority.root(kind="rsa2048", pss=True)
    leaf, top = parsed(root.issue("a.example.com", pss=True), root)
    assert leaf.signed_by(top)


@pytest.mark.parametrize("size", [4, 31])
def test_a_mesh_of_authorities_that_certify_each_other_is_left_in_time(size):
    one, other = (private_key("p256", number) for number in (901, 902))
    a, b = name("A"), name("B")
    mesh = [
        ParsedCertificate(build(subject, issuer, key, signer, ca=True).public_bytes(Encoding.DER))
        for subject, issuer, key, signer in [(a, b, one, other), (b, a, other, one)] * size
    ]
    leaf = ParsedCertificate(build(name("leaf"), a, private_key(), one).public_bytes(Encoding.DER))
    chain = build_chain(leaf, mesh, NOW)
    assert chain.is_complete
    assert len(chain.path) <= MAX_DEPTH
