"""Signing requests: made here or elsewhere, their keys sealed and found again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from chalicelib.domain.csr import CsrSpec
from chalicelib.domain.errors import CertificateRefused, NotFound, TooLarge, Unprocessable
from chalicelib.domain.keys import matches
from chalicelib.functions.csrs import read_request
from chalicelib.ports import KeyVaultError
from tests.support.authority import Authority, name, private_key
from tests.support.records import ACCOUNT, MANAGER, OTHER_ACCOUNT

ALGORITHMS = ["RSA", "ECC", "SM2"]


def request_pem(key=None, common_name: str = "a.example.com") -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name(common_name))
    return builder.sign(key or private_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key=None) -> str:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return (key or private_key()).private_bytes(*form).decode()


def refused(house, *arguments) -> list[str]:
    with pytest.raises(CertificateRefused) as caught:
        house.csrs.store(MANAGER, None, *arguments)
    assert house.trail.events == []
    return [f.code for f in caught.value.findings]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_key_of_a_request_made_here_is_sealed_and_found_by_its_public_half(house, algorithm):
    made = house.csrs.create(MANAGER, CsrSpec("a.example.com", algorithm))
    assert made.has_private_key
    found = house.csrs.for_public_key(ACCOUNT, made.public_key_fingerprint)
    assert found == made
    key = house.csrs.key_of(found)
    parsed, _ = read_request(made.pem)
    assert matches(key, parsed.public_key)
    assert key.pem().decode() not in repr(made) + repr(house.trail.events)


def test_a_request_is_told_in_the_trail_by_its_public_key(house):
    made = house.csrs.create(MANAGER, CsrSpec("a.example.com", "ECC", name="shop"))
    house.csrs.delete(MANAGER, made.id)
    told = {"name": "shop", "public_key_sha256": made.public_key_fingerprint}
    assert [(e.action, e.detail) for e in house.trail.events] == [("csr.create", told), ("csr.delete", told)]


def test_a_request_made_elsewhere_is_held_without_key(house):
    made = house.csrs.store(MANAGER, "elsewhere", request_pem(), None)
    assert (made.name, made.has_private_key, made.common_name) == ("elsewhere", False, "a.example.com")
    with pytest.raises(NotFound):
        house.csrs.key_of(made)


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "in one text"])
def test_a_request_made_elsewhere_may_bring_its_key(house, apart):
    texts = (request_pem(), key_pem()) if apart else (key_pem() + request_pem(), None)
    made = house.csrs.store(MANAGER, None, *texts)
    assert house.csrs.key_of(made).pem().decode() == key_pem()


@pytest.mark.parametrize(
    ("private", "codes"),
    [
        (key_pem(private_key(number=2)), ["KeyMismatch"]),
        (key_pem(private_key("rsa2048")), ["KeyMismatch"]),
        ("nonsense", ["PrivateKeyFormatIncorrect"]),
        (request_pem(), ["PrivateKeyFormatIncorrect"]),
        (key_pem()[:-40], ["PrivateKeyFormatIncorrect"]),
    ],
)
def test_a_key_that_is_not_the_request_s_is_refused(house, private, codes):
    assert refused(house, request_pem(), private) == codes


@pytest.mark.parametrize("blank", ["", "  \n"])
def test_a_blank_key_is_none(house, blank):
    assert not house.csrs.store(MANAGER, None, request_pem(), blank).has_private_key


def test_a_weak_request_with_a_wrong_key_is_told_of_both(house):
    weak = request_pem(private_key("rsa1024"))
    assert refused(house, weak, key_pem()) == ["WeakKey", "KeyMismatch"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hello", "looks like"),
        ("", "looks like nothing"),
        (Authority.root().pem, "a certificate"),
        (key_pem(), "no certificate signing request"),
        (request_pem() + request_pem(), "2 certificate signing requests"),
        (request_pem().replace("MI", "AA", 1), "CERTIFICATE REQUEST"),
        (request_pem()[:200], "no END line"),
    ],
)
def test_what_is_no_single_request_is_called_by_what_it_is(house, text, says):
    with pytest.raises(Unprocessable) as caught:
        house.csrs.store(MANAGER, None, text, None)
    assert caught.value.code == "CsrFormatIncorrect"
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("common_name", "default"),
    [("*.example.com", "wildcard.example.com-csr"), ("Example Ltd.", "Example-Ltd-csr"), ("x" * 64, "x" * 59 + "-csr")],
)
def test_a_request_without_a_name_is_called_by_its_subject(house, common_name, default):
    assert house.csrs.store(MANAGER, None, request_pem(common_name=common_name), None).name == default


def test_a_foreign_request_is_as_one_that_does_not_exist(house):
    made = house.csrs.create(MANAGER, CsrSpec("a.example.com", "ECC"))
    assert house.csrs.for_public_key(OTHER_ACCOUNT, made.public_key_fingerprint) is None
    with pytest.raises(NotFound):
        house.csrs.key_of(replace(made, account_id=OTHER_ACCOUNT))


def test_a_sealed_key_that_was_moved_to_another_request_is_not_opened(house):
    one, other = (house.csrs.create(MANAGER, CsrSpec(f"{n}.example.com", "ECC")) for n in "ab")
    store = house.csrs._store
    store.sealed[ACCOUNT, one.id] = store.sealed[ACCOUNT, other.id]
    with pytest.raises(KeyVaultError):
        house.csrs.key_of(one)


def test_of_two_requests_for_one_key_the_one_that_holds_it_is_found(house):
    house.csrs.store(MANAGER, "without", request_pem(), None)
    with_key = house.csrs.store(MANAGER, "with", request_pem(), key_pem())
    assert house.csrs.for_public_key(ACCOUNT, with_key.public_key_fingerprint) == with_key


def test_a_request_larger_than_any_sensible_one_is_refused(house):
    names = [x509.DNSName(f"{'x' * 60}-{n}.{'y' * 60}.example.com") for n in range(200)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(name("a.example.com"))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    huge = builder.sign(private_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(TooLarge, match="at most 16384"):
        house.csrs.store(MANAGER, None, huge, None)
