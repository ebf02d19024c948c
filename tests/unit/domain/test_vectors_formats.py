"""Every file of cryptography_vectors that the conversion tool or the CSR store may be sent."""

from __future__ import annotations

import base64
from pathlib import Path

import cryptography_vectors
import pytest

from chalicelib.domain import formats, pem
from chalicelib.domain.csr import ParsedCsr
from chalicelib.domain.errors import CerthavenError
from chalicelib.domain.findings import Severity

VECTORS = Path(cryptography_vectors.__file__).parent

#: Passphrases that the README files of the vectors name; the last stands for a wrong one.
PASSPHRASES = (
    "cryptography",
    "password",
    "foobar",
    "baz",
    "123456",
    "hunter2",
    "hunter42",
    "a123456",
    "PolarSSLTest",
    "Red Hat Enterprise Linux 7.4",
    "",
    "wrong",
)


def files(*folders: str) -> list[Path]:
    return sorted(p for f in folders for p in (VECTORS / f).rglob("*") if p.is_file() and p.suffix != ".txt")


def name(path: Path) -> str:
    return str(path.relative_to(VECTORS))


def attempt(source: str, target: str, path: Path, passphrase: str | None = None) -> formats.Conversion | CerthavenError:
    content = path.read_bytes()
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if "-----BEGIN" not in text:
        text = base64.b64encode(content).decode()
    try:
        return formats.convert(source, target, text, passphrase)
    except CerthavenError as refused:
        return refused


def opened(source: str, target: str, path: Path) -> formats.Conversion | CerthavenError:
    """The first conversion that a passphrase makes, else the refusal for want of one."""
    first = attempt(source, target, path)
    if isinstance(first, formats.Conversion):
        return first
    tries = (attempt(source, target, path, passphrase) for passphrase in PASSPHRASES)
    return next((t for t in tries if isinstance(t, formats.Conversion)), first)


def code_of(result: formats.Conversion | CerthavenError) -> str | None:
    return result.code if isinstance(result, CerthavenError) else None


@pytest.mark.parametrize("path", [p for p in files("pkcs12") if p.suffix == ".p12"], ids=name)
def test_every_pkcs12_file_is_converted(path):
    result = opened("pfx", "pem", path)
    assert isinstance(result, formats.Conversion), result
    assert result.contents


#: Keys that are refused, and why; every other one is converted.
REFUSED_PKCS8 = {
    "bad-encryption-oid.pem": "FormatUnsupported",
    "bad-oid-dsa-key.pem": "UnsupportedAlgorithm",
    "ec-inconsistent-curve.pem": "PrivateKeyFormatIncorrect",
    "ec-inconsistent-curve2.pem": "PrivateKeyFormatIncorrect",
    "ec-invalid-private-scalar.pem": "PrivateKeyFormatIncorrect",
    "ec-invalid-version.pem": "PrivateKeyFormatIncorrect",
    "ec_oid_not_in_reg_private_2.pkcs8.pem": "UnsupportedAlgorithm",
    "enc-rsa-pkcs8-pbkdf2-0iter.pem": "ConversionInputIncorrect",
    "enc-unknown-algorithm.pem": "FormatUnsupported",
    "enc-unknown-kdf.pem": "FormatUnsupported",
    "enc-unknown-pbkdf2-prf.pem": "FormatUnsupported",
    "invalid-version.der": "PrivateKeyFormatIncorrect",
    "nodompar_private.pkcs8.pem": "UnsupportedAlgorithm",
    "private.pem": "UnsupportedAlgorithm",
    # RC2 with 258 effective bits, under a passphrase that no README names; OpenSSL refuses it.
    "rsa-rc2-cbc-effective-key-length.pem": "PassphraseMissing",
    "rsa_pss_2048_pub.der": "ConversionInputIncorrect",
    "unenc-dsa-pkcs8.pem": "UnsupportedAlgorithm",
    "unenc-dsa-pkcs8.pub.pem": "ConversionInputIncorrect",
    "unenc-rsa-pkcs8.pub.pem": "ConversionInputIncorrect",
    "unknown-oid.der": "UnsupportedAlgorithm",
    "withdompar_private.pkcs8.pem": "UnsupportedAlgorithm",
}


@pytest.mark.parametrize("path", files("asymmetric/PKCS8"), ids=name)
def test_every_pkcs8_key_that_can_be_used_is_converted(path):
    assert code_of(opened("pkcs8", "pem", path)) == REFUSED_PKCS8.get(path.name)


#: Old PEM keys that are refused, and why.
REFUSED_PEM = {
    "dsa-wrong-version.pem": "UnsupportedAlgorithm",
    "dsa.1024.pem": "UnsupportedAlgorithm",
    "dsa.2048.pem": "UnsupportedAlgorithm",
    "dsa.3072.pem": "UnsupportedAlgorithm",
    "key1-malformed-dek-info.pem": "ConversionInputIncorrect",
    "key1-malformed-iv.pem": "ConversionInputIncorrect",
    "key1-no-dek-info.pem": "FormatUnsupported",
    "key1-short-iv.pem": "ConversionInputIncorrect",
    "rsa-wrong-version.pem": "PrivateKeyFormatIncorrect",
}


@pytest.mark.parametrize("path", files("asymmetric/Traditional_OpenSSL_Serialization"), ids=name)
def test_every_old_pem_key_that_can_be_used_is_converted(path):
    assert code_of(opened("pem", "pkcs8", path)) == REFUSED_PEM.get(path.name)


@pytest.mark.parametrize("path", files("asymmetric/DER_Serialization"), ids=name)
def test_every_private_key_in_der_that_can_be_used_is_converted(path):
    expected = "ConversionInputIncorrect" if "pub" in path.name else None
    if "dsa" in path.name and expected is None:
        expected = "UnsupportedAlgorithm"
    assert code_of(opened("der", "pem", path)) == expected


@pytest.mark.parametrize("path", files("pkcs7"), ids=name)
def test_every_pkcs7_file_with_certificates_is_converted(path):
    refused = path.name.startswith("enveloped") or path.name.endswith("ascii-san.pem")
    assert code_of(opened("pkcs7", "pem", path)) == ("ConversionInputIncorrect" if refused else None)


#: Requests that cannot be read at all.
MALFORMED_CSRS = {
    "bad-version.pem",
    "freeipa-bad-critical.pem",
    "two_basic_constraints.pem",
    "zero-element-attribute.pem",
}
#: Requests that are read and refused, and why. `openssl req -verify` judges their signatures the same.
REFUSED_CSRS = {
    "basic_constraints.pem": {"CsrSignatureIncorrect"},
    "challenge-invalid.der": {"CsrSignatureIncorrect"},
    "challenge-multi-valued.der": {"CsrSignatureIncorrect"},
    "dsa_sha1.der": {"UnsupportedAlgorithm"},
    "dsa_sha1.pem": {"UnsupportedAlgorithm"},
    "invalid_signature.pem": {"CsrSignatureIncorrect", "WeakKey"},
    "long-form-attribute.pem": {"CsrSignatureIncorrect"},
    "rsa_md4.der": {"CsrSignatureIncorrect"},
    "rsa_md4.pem": {"CsrSignatureIncorrect"},
    "unsupported_extension.pem": {"CsrSignatureIncorrect"},
    "unsupported_extension_critical.pem": {"CsrSignatureIncorrect"},
}


@pytest.mark.parametrize("path", files("x509/requests"), ids=name)
def test_every_request_is_converted_and_judged(path):
    result = attempt("der", "pem", path) if path.suffix == ".der" else attempt("pem", "der", path)
    if path.name in MALFORMED_CSRS:
        assert code_of(result) == "ConversionInputIncorrect"
        return
    assert isinstance(result, formats.Conversion), result
    (block,) = pem.scan(result.output if result.is_text else pem.encode("CERTIFICATE REQUEST", result.content)).blocks
    found = {f.code for f in ParsedCsr(block.der).findings("csr") if f.severity is Severity.ERROR}
    assert found == REFUSED_CSRS.get(path.name, set())
