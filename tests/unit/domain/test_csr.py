"""Requests made here are what openssl would make; given ones are read, or refused with a reason."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain import csr, keys, sm2
from chalicelib.domain.csr import CsrSpec, MalformedCsrError, ParsedCsr
from chalicelib.domain.errors import CertificateRefused
from chalicelib.domain.pem import encode
from tests.support import sm2_openssl
from tests.support.authority import name, private_key
from tests.support.keys import openssl
from tests.support.sm2_builder import sm2_key

ALGORITHMS = [("RSA", 2048), ("RSA", 3072), ("ECC", 256), ("ECC", 384), ("ECC", 521), ("SM2", 256)]


def made(**fields) -> ParsedCsr:
    spec = csr.check(CsrSpec(**{"common_name": "www.example.com", "algorithm": "ECC"} | fields))
    return ParsedCsr(csr.make(spec, keys.generate(spec.algorithm, spec.key_size)))


def problems(**fields) -> list[tuple[str, str]]:
    """Field and message of every finding that refuses a specification."""
    with pytest.raises(CertificateRefused) as refused:
        csr.check(CsrSpec(**{"common_name": "www.example.com"} | fields))
    assert {f.code for f in refused.value.findings} == {"CsrFieldIncorrect"}
    return [(f.param, f.message) for f in refused.value.findings]


def codes(content: bytes) -> list[str]:
    return [f.code for f in ParsedCsr(content).findings("csr")]


def request(key=None, digest=None, *extensions) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name("www.example.com"))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key or private_key(), digest or hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(("algorithm", "size"), ALGORITHMS)
def test_a_request_made_here_says_what_was_asked_and_is_signed_by_its_key(algorithm, size):
    parsed = made(algorithm=algorithm, key_size=size, sans=("a.example.com", "192.0.2.1"))
    assert parsed.sans == ("www.example.com", "a.example.com", "192.0.2.1")
    assert parsed.public_key.size == size
    assert parsed.is_signed_by_its_key
    assert not list(parsed.findings("csr"))


@pytest.mark.parametrize(("algorithm", "size"), [("RSA", 2048), ("ECC", 256), ("SM2", 256)])
def test_the_usual_size_is_taken_when_none_is_given(algorithm, size):
    assert csr.check(CsrSpec("a.example.com", algorithm)).key_size == size


@pytest.mark.parametrize(("algorithm", "size"), [("RSA", 2048), ("ECC", 384)])
def test_openssl_accepts_a_request_made_here(algorithm, size):
    content = made(algorithm=algorithm, key_size=size, organization="Exämple", country="nl", province="Utrecht").der
    text = openssl(
        "req", "-noout", "-verify", "-text", "-nameopt", "utf8", given=encode("CERTIFICATE REQUEST", content)
    )
    assert "C=NL, ST=Utrecht, O=Exämple, CN=www.example.com" in text
    assert "DNS:www.example.com" in text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("DNS:b.example.com", "b.example.com"),
        ("  B.Example.COM  ", "b.example.com"),
        ("*.example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("IP:192.0.2.7", "192.0.2.7"),
        ("IP Address: 2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::2]", "2001:db8::2"),
        ("email:info@example.com", "info@example.com"),
        ("info@bücher.example", "info@xn--bcher-kva.example"),
        ("URI:spiffe://example.org/a", "spiffe://example.org/a"),
        ("https://example.org/", "https://example.org/"),
    ],
)
def test_alternative_names_are_read_as_people_write_them(written, read):
    assert made(common_name="Example Server", sans=(written,)).sans == (read,)


@pytest.mark.parametrize(
    "text",
    [
        *("", "DNS:", "a b.example", "*", "*.", "a.*.example", "-a.example", "a..b", "256.1.1.1", "@example.com"),
        *("x" * 64 + ".example", "x." * 127 + "example", "fe80::1%eth0", "https://exämple.org", "a\nb.example"),
        "y" * 2000,
    ],
)
def test_what_is_no_name_is_refused_and_numbered(text):
    ((param, message),) = problems(sans=("fine.example.com", text))
    assert param == "sans"
    assert message.startswith("Alternative name 2: ")
    assert len(message) < 250


def test_every_wrong_field_is_named_at_once():
    found = problems(
        common_name=" ", algorithm="DSA", country="Netherlands", organization="x" * 65, locality="a\u202eb", sans=("*",)
    )
    assert [param for param, _ in found] == [
        *("algorithm", "country", "locality", "organization", "common_name", "sans"),
    ]


@pytest.mark.parametrize(("algorithm", "size"), [("RSA", 1024), ("RSA", 2049), ("ECC", 255), ("SM2", 2048)])
def test_a_key_size_that_is_not_made_names_those_that_are(algorithm, size):
    ((param, message),) = problems(algorithm=algorithm, key_size=size)
    assert param == "key_size"
    assert all(str(possible) in message for possible in keys.SIZES[algorithm])


def test_more_than_a_hundred_names_are_refused():
    assert problems(sans=tuple(f"h{n}.example.com" for n in range(101)))[0][0] == "sans"


def test_a_common_name_counts_in_octets():
    assert problems(common_name="ü" * 33)[0][0] == "common_name"
    assert made(common_name="ü" * 32).common_name == "ü" * 32


@given(st.text(max_size=40), st.lists(st.text(max_size=300), max_size=4))
def test_any_text_is_made_into_a_request_or_refused(common_name, sans):
    try:
        checked = csr.check(CsrSpec(common_name, "ECC", sans=tuple(sans)))
    except CertificateRefused:
        return
    content = csr.make(checked, keys.generate("ECC", 256))
    assert not list(ParsedCsr(content).findings("csr"))


@pytest.mark.parametrize("identity", [b"1234567812345678", b""])
def test_sm2_requests_under_both_usual_identities_are_read(identity):
    parsed = ParsedCsr(sm2.create_csr(sm2_key().scalar, name("a.example"), identity=identity))
    assert parsed.public_key.native == sm2_key().point
    assert parsed.sans == ()
    assert parsed.is_signed_by_its_key


def test_an_sm2_request_of_openssl_is_read(tmp_path):
    key = tmp_path / "key"
    key.write_text(sm2_openssl.key_pem())
    names = ("-subj", "/C=CN/CN=a.example", "-addext", "subjectAltName=DNS:a.example,IP:192.0.2.1")
    sign = ("-sm3", "-sigopt", "distid:1234567812345678", "-outform", "DER")
    parsed = ParsedCsr(sm2_openssl.run("req", "-new", "-key", key, *names, *sign).stdout)
    assert parsed.is_signed_by_its_key
    assert parsed.subject == "CN=a.example,C=CN"
    assert parsed.sans == ("a.example", "192.0.2.1")
    assert parsed.public_key.label == "SM2"


def test_a_signature_under_an_identity_that_nobody_knows_is_refused():
    content = sm2.create_csr(sm2_key().scalar, name("a.example"), identity=b"someone@example.com")
    assert codes(content) == ["CsrSignatureIncorrect"]


def test_an_sm2_signature_that_names_another_algorithm_is_refused():
    own, other = (asn1.encode_der(x509.ObjectIdentifier(f"1.2.156.10197.1.{n}")) for n in (501, 502))
    content = sm2.create_csr(sm2_key().scalar, name("a.example")).replace(own, other)
    assert codes(content) == ["CsrSignatureIncorrect"]


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p521", "ed25519", "ed448"])
def test_a_request_whose_name_was_changed_is_refused(kind):
    builder = x509.CertificateSigningRequestBuilder().subject_name(name("www.example.com"))
    digest = None if kind.startswith("ed") else hashes.SHA256()
    content = builder.sign(private_key(kind), digest).public_bytes(Encoding.DER)
    assert codes(content) == []
    assert codes(content.replace(b"www.example", b"wwv.example")) == ["CsrSignatureIncorrect"]


@pytest.mark.parametrize(
    ("key", "code"), [("rsa1024", "WeakKey"), ("p192", "WeakKey"), ("bp256", "UnsupportedAlgorithm")]
)
def test_a_request_for_a_key_that_no_upload_would_pass_with_is_refused(key, code):
    assert codes(request(private_key(key))) == [code]


@given(st.binary(max_size=200))
def test_octets_that_are_no_request_are_malformed(octets):
    with pytest.raises(MalformedCsrError):
        ParsedCsr(octets)


@pytest.mark.parametrize("kind", ["p256", "sm2"])
def test_no_damaged_octet_of_a_request_goes_unnoticed(kind):
    sans = x509.SubjectAlternativeName([x509.DNSName("a.example")])
    content = request(None, None, sans) if kind == "p256" else sm2.create_csr(5, name("a.example"), tuple(sans))
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        try:
            parsed = ParsedCsr(bytes(damaged))
        except (MalformedCsrError, sm2.Sm2Error):
            continue
        assert list(parsed.findings("csr")), position


def test_the_private_key_is_in_no_repr():
    key = ec.generate_private_key(ec.SECP256R1())
    text = repr(ParsedCsr(request(key)))
    assert "www.example.com" in text
    assert base64.b64encode(key.private_numbers().private_value.to_bytes(32, "big")).decode() not in text
