"""What is issued here passes openssl, and this service's own validation."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from chalicelib.domain import keys, pem, sm2
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.issuing import (
    BACKDATED,
    CRL_LIFETIME,
    Issuer,
    make_authority,
    make_certificate,
    make_crl,
)
from chalicelib.domain.pca import Limits, Revoked
from chalicelib.domain.reading import Bundle, read
from chalicelib.domain.validation import judge
from tests.support import sm2_openssl
from tests.support.tools import Folder, folder, openssl

__all__ = ["folder"]

#: openssl checks by its own clock.
NOW = datetime.now(UTC)
KINDS = [("RSA", 2048), ("RSA", 3072), ("ECC", 256), ("ECC", 384), ("ECC", 521), ("SM2", 256)]
BY_LIBRARY = KINDS[:-1]
NAMED = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
NAMES = (x509.DNSName("www.example.com"), x509.DNSName("*.example.com"))


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def authority(kind, common_name="Root", issuer=None, limits=None, days=3650) -> Issuer:
    key = keys.generate(*kind)
    content = make_authority(name(common_name), limits or Limits(), key, issuer, now=NOW, days=days)
    return Issuer(ParsedCertificate(content), key)


def leaf(issuer, kind=("ECC", 256), usage="server", days=90, names=NAMES):
    key = keys.generate(*kind)
    content = make_certificate(name("www.example.com"), names, key.public, issuer, now=NOW, days=days, usage=usage)
    return ParsedCertificate(content), key


def text(certificate: ParsedCertificate) -> str:
    return pem.encode("CERTIFICATE", certificate.der)


def crl_text(issuer, *revoked, number=1) -> str:
    return pem.encode("X509 CRL", make_crl(issuer, revoked, number, NOW))


def findings(certificate, key, *chain) -> list[str]:
    bundle = Bundle(text(certificate), key.pem().decode(), "".join(text(c.certificate) for c in chain))
    return [f.code for f in judge(read(bundle), NOW).findings]


def verifies(folder: Folder, certificate, root, *between, crls=(), purpose="sslserver") -> str:
    """What openssl says of a path."""
    trusted = folder.put("root.pem", text(root.certificate))
    untrusted = folder.put("between.pem", "".join(text(c.certificate) for c in between) or "\n")
    given = folder.put("leaf.pem", text(certificate))
    checked = ["-crl_check_all", "-CRLfile", folder.put("crl.pem", "".join(crls))] if crls else []
    chain = ["-untrusted", untrusted] if between else []
    command = ["verify", "-purpose", purpose, "-x509_strict", "-CAfile", trusted, *chain, *checked, given]
    done = subprocess.run(["openssl", *command], capture_output=True, check=False)
    return (done.stdout + done.stderr).decode().replace(given, "leaf")


@pytest.mark.parametrize("kind", BY_LIBRARY)
@pytest.mark.parametrize("usage", ["server", "client"])
def test_a_path_of_one_kind_passes_openssl_by_the_book_and_our_own_validation(folder, kind, usage):
    root = authority(kind)
    middle = authority(kind, "Middle", root, Limits(path_length=0), days=1800)
    certificate, key = leaf(middle, kind, usage)
    assert verifies(folder, certificate, root, middle, purpose=f"ssl{usage}") == "leaf: OK\n"
    other = "sslclient" if usage == "server" else "sslserver"
    assert "leaf: OK" not in verifies(folder, certificate, root, middle, purpose=other)
    assert findings(certificate, key, middle, root) == []


def test_a_path_of_sm2_passes_openssl_link_by_link_and_our_own_validation():
    root = authority(("SM2", 256))
    middle = authority(("SM2", 256), "Middle", root, Limits(path_length=0), days=1800)
    certificate, key = leaf(middle, ("SM2", 256))
    assert sm2_openssl.chain_verifies(text(certificate), text(middle.certificate))
    assert sm2_openssl.chain_verifies(text(middle.certificate), text(root.certificate))
    assert findings(certificate, key, middle, root) == ["EncryptionCertificateMissing"]


@pytest.mark.parametrize(("above", "below"), [(("RSA", 2048), ("ECC", 256)), (("ECC", 521), ("RSA", 2048))])
def test_authorities_of_different_kinds_go_together(folder, above, below):
    root, middle = (made := authority(above)), authority(below, "Middle", made, days=1800)
    certificate, key = leaf(middle, above)
    assert verifies(folder, certificate, root, middle) == "leaf: OK\n"
    assert findings(certificate, key, middle, root) == []


def test_an_sm2_authority_may_certify_a_key_of_another_kind():
    root = authority(("SM2", 256))
    certificate, key = leaf(root, ("RSA", 2048))
    assert findings(certificate, key, root) == []


@pytest.mark.parametrize("kind", [*BY_LIBRARY[:1], BY_LIBRARY[2]])
def test_a_revocation_list_makes_openssl_refuse_what_it_names_and_pass_the_rest(folder, kind):
    root = authority(kind)
    middle = authority(kind, "Middle", root, days=1800)
    (good, _), (bad, _) = leaf(middle), leaf(middle)
    entry = Revoked(bad.x509.serial_number, NOW, "key_compromise")
    crls = (crl_text(root), crl_text(middle, entry))
    assert verifies(folder, good, root, middle, crls=crls) == "leaf: OK\n"
    assert "certificate revoked" in verifies(folder, bad, root, middle, crls=crls)
    shown = openssl("crl", "-noout", "-text", given=crls[1].encode()).decode()
    assert "Key Compromise" in shown
    assert "X509v3 CRL Number: \n                1" in shown


def test_an_sm2_revocation_list_is_signed_by_its_authority_and_read_by_openssl():
    root = authority(("SM2", 256))
    content = make_crl(root, [Revoked(4711, NOW)], 7, NOW)
    shown = openssl("crl", "-inform", "DER", "-noout", "-text", given=content).decode()
    assert shown.count("SM2-with-SM3") == 2
    assert "Serial Number: 1267" in shown
    crl = x509.load_der_x509_crl(content)
    assert sm2.verify(root.certificate.public_key.native, crl.signature, crl.tbs_certlist_bytes)


def test_a_revocation_list_is_good_for_a_week_and_says_no_reason_that_is_none():
    root = authority(("ECC", 256))
    crl = x509.load_der_x509_crl(make_crl(root, [Revoked(1, NOW)], 2, NOW))
    assert crl.next_update_utc - crl.last_update_utc == CRL_LIFETIME
    (entry,) = crl
    assert list(entry.extensions) == []
    assert crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == (
        root.certificate.subject_key_id
    )


def test_names_outside_of_what_an_authority_may_certify_are_refused_by_openssl_and_by_us(folder):
    root = authority(("ECC", 256))
    limits = Limits(path_length=0, permitted=("example.com",), excluded=("*.secret.example.com",))
    middle = authority(("ECC", 256), "Middle", root, limits, days=1800)
    for host, good in (("www.example.com", True), ("example.org", False), ("a.secret.example.com", False)):
        certificate, key = leaf(middle, names=(x509.DNSName(host),))
        assert ("leaf: OK" in verifies(folder, certificate, root, middle)) is good
        assert findings(certificate, key, middle, root) == ([] if good else ["ChainBroken"])


def test_a_path_longer_than_an_authority_allows_is_refused(folder):
    root = authority(("ECC", 256), limits=Limits(path_length=0))
    middle = authority(("ECC", 256), "Middle", root, days=1800)
    lower = authority(("ECC", 256), "Lower", middle, days=900)
    deep, deep_key = leaf(lower)
    assert "path length constraint exceeded" in verifies(folder, deep, root, middle, lower)
    assert findings(deep, deep_key, lower, middle, root) == ["ChainBroken"]


def test_validity_begins_a_little_before_now_and_lasts_as_long_as_asked():
    certificate, _ = leaf(authority(("ECC", 256)), days=47)
    assert certificate.not_before == NOW.replace(microsecond=0) - BACKDATED
    assert certificate.not_after - certificate.not_before == timedelta(days=47)


def test_serial_numbers_are_large_and_do_not_repeat():
    root = authority(("ECC", 256))
    numbers = {leaf(root)[0].x509.serial_number for _ in range(50)}
    assert len(numbers) == 50
    assert all(number.bit_length() > 64 for number in numbers)  # CA/B Forum, 7.1: at least 64 random bits


@pytest.mark.parametrize(
    ("kind", "bits"),
    [
        (("RSA", 2048), {"digital_signature", "key_encipherment"}),
        (("ECC", 256), {"digital_signature"}),
        (
            ("SM2", 256),
            {"digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"},
        ),
    ],
)
def test_a_leaf_may_do_what_keys_of_its_kind_do_and_no_more(kind, bits):
    certificate, _ = leaf(authority(("SM2", 256) if kind[0] == "SM2" else ("ECC", 256)), kind)
    usage = certificate.key_usage
    assert {bit for bit in (*NAMED, "key_cert_sign", "crl_sign") if getattr(usage, bit)} == bits
    assert not certificate.is_ca
