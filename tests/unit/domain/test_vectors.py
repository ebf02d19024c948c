"""Every certificate, key, container and request of cryptography_vectors and certifi, sent to the parse route.

What must be said of each is worked out here from what the library `cryptography` says when it loads the file.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache
from pathlib import Path

import certifi
import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
    load_ssh_public_identity,
    pkcs7,
)
from cryptography.x509.oid import ExtensionOID

from chalicelib.domain import looks, pem
from chalicelib.domain.findings import CODES
from tests.support.authority import NOW
from tests.support.service import Answer, Client, MemoryServices, tenant

# The library warns of what it tolerates, such as a serial number of zero.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

VECTORS = Path(cryptography_vectors.__file__).parent
#: The longest text that the route takes.
LONGEST = 262_144
UNREADABLE = (
    ValueError,
    TypeError,
    InternalError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
HOSTS = (x509.DNSName, x509.IPAddress)
CURVES = ("secp256r1", "secp384r1", "secp521r1")
#: The library does not know it; OpenSSL, which is asked about critical extensions, does.
KNOWN = (ExtensionOID.POLICY_MAPPINGS,)


@cache
def client() -> Client:
    return tenant(Client(MemoryServices())).manager


def send(**fields: str) -> Answer:
    return client().post("/v1/certificates/parse", fields)


def said(**fields: str) -> tuple[bool, set[str]]:
    """Whether a certificate was read, and the codes of all findings."""
    answer = send(**fields)
    assert answer.status == 200, answer.text
    return answer.json["certificate"] is not None, {f["code"] for f in answer.json["findings"]} - {"InputRepaired"}


def name(path: Path) -> str:
    return str(path.relative_to(VECTORS))


def files(*folders: str, pattern: str = "*") -> list[Path]:
    found = sorted(path for folder in folders for path in (VECTORS / folder).rglob(pattern) if path.is_file())
    return [path for path in found if path.stat().st_size <= LONGEST]


def differing(results: Iterable[tuple[str, object, object]]) -> list[str]:
    """Where something else was said than was wanted."""
    return [f"{name}: {got}, wanted {wanted}" for name, got, wanted in results if got != wanted]


FOLDERS = ("x509", "asymmetric", "pkcs12", "pkcs7")


@pytest.mark.parametrize("field", ["certificate", "private_key", "chain"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_whatever_a_file_holds_the_refusal_is_explained(folder, field):
    for path in files(folder):
        answer = send(**{field: looks.decode(path.read_bytes())})
        assert answer.status == 200, f"{name(path)}: {answer.text}"
        findings = answer.json["findings"]
        assert any(f["severity"] == "error" for f in findings), name(path)
        assert all(f["message"] and f["hint"] and f["code"] in CODES for f in findings), name(path)
        assert {f["param"] for f in findings} <= {field, "certificate", "private_key", "chain"}, name(path)


# --- certificates --------------------------------------------------------------------------------------------------


def signs_itself(certificate: x509.Certificate) -> bool:
    key, how = certificate.public_key(), certificate.signature_hash_algorithm
    signed = (certificate.signature, certificate.tbs_certificate_bytes)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(*signed, certificate.signature_algorithm_parameters, how)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(*signed, ec.ECDSA(how))
        else:
            key.verify(*signed)
    except (InvalidSignature, UnsupportedAlgorithm, *UNREADABLE):
        return False
    return True


def is_public(values: list[x509.ExtensionType]) -> bool:
    """Whether a certificate has timestamps of public logs, or a policy of the CA/Browser Forum."""
    policies = [p.policy_identifier.dotted_string for v in values if isinstance(v, x509.CertificatePolicies) for p in v]
    logged = any(isinstance(v, x509.PrecertificateSignedCertificateTimestamps) for v in values)
    return logged or any(policy.startswith("2.23.140.1.2.") for policy in policies)


def outlives_a_year(certificate: x509.Certificate) -> bool:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (end.year - begin.year, end.timetuple()[1:6]) > (1, begin.timetuple()[1:6])


def of_key(key: object, *, smallest_rsa: int) -> set[str]:
    """What must be said of a key's algorithm and size."""
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return {"WeakKey"} if key.key_size < smallest_rsa else set()
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        if key.key_size < 224:
            return {"WeakKey"}
        return set() if key.curve.name in CURVES else {"UnsupportedAlgorithm"}
    edwards = ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey | ed448.Ed448PublicKey | ed448.Ed448PrivateKey
    return set() if isinstance(key, edwards) else {"UnsupportedAlgorithm"}


def of_certificate(certificate: x509.Certificate) -> set[str]:
    """What must be said of a certificate that comes alone; fails as the library does where a part cannot be read."""
    extensions = list(certificate.extensions)
    values = [e.value for e in extensions]
    hosts = [n for v in values if isinstance(v, x509.SubjectAlternativeName) for n in v if isinstance(n, HOSTS)]
    self_signed = certificate.subject == certificate.issuer and signs_itself(certificate)
    validity = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    digest = getattr(certificate.signature_hash_algorithm, "name", "")
    # RFC 5280, 6.1.4 (k): version 1 has no constraints to say so.
    is_ca = any(isinstance(v, x509.BasicConstraints) and v.ca for v in values) or (
        self_signed and certificate.version is x509.Version.v1
    )
    findings = {
        "PrivateKeyMissing": True,
        "SelfSigned": self_signed,
        "ChainIncomplete": not self_signed,
        "NotALeaf": is_ca,
        "CertificateExpired": certificate.not_valid_after_utc < NOW,
        "CertificateNotYetValid": certificate.not_valid_before_utc > NOW,
        "MissingSAN": not any(host.value for host in hosts),
        "ValidityTooLong": math.ceil(validity / timedelta(days=1)) > 398,
        "LeakageRisk": not self_signed and not is_public(values) and outlives_a_year(certificate),
        "WeakSignature": digest == "md5" or (digest == "sha1" and not (self_signed and is_ca)),
        "ChainBroken": any(
            e.critical and isinstance(e.value, x509.UnrecognizedExtension) and e.oid not in KNOWN for e in extensions
        ),
    }
    return {code for code, is_so in findings.items() if is_so} | of_key(certificate.public_key(), smallest_rsa=2048)


def wanted(load: Callable[[bytes], x509.Certificate], content: bytes) -> tuple[bool, set[str]]:
    """Whether a certificate is to be read, and what is to be said of it."""
    try:
        return True, of_certificate(load(content))
    except UNREADABLE:
        return False, {"CertificateFormatIncorrect"}


#: Certificates that the library cannot judge: their keys or signatures are of algorithms that it does not know.
UNJUDGED = {
    # A key of an algorithm that nobody knows.
    "x509/custom/unsupported_subject_public_key_info.pem": {
        *("CertificateExpired", "ChainIncomplete", "MissingSAN", "PrivateKeyMissing", "UnsupportedAlgorithm"),
        *("LeakageRisk", "ValidityTooLong", "WeakSignature"),
    },
    # A root with a key of GOST R 34.10-2001.
    "x509/e-trust.ru.der": {
        *("ChainIncomplete", "MissingSAN", "NotALeaf", "PrivateKeyMissing", "UnsupportedAlgorithm"),
        *("LeakageRisk", "ValidityTooLong"),
    },
    # The algorithm of its signature is named by the hash alone, which says nothing of the key.
    "x509/v1_cert.pem": {"CertificateExpired", "ChainIncomplete", "MissingSAN", "PrivateKeyMissing", "WeakKey"},
    # A root of 1996: no library checks MD2 any more.
    "x509/verisign_md2_root.pem": {
        *("MissingSAN", "NotALeaf", "PrivateKeyMissing", "SelfSigned", "ValidityTooLong", "WeakKey"),
        "WeakSignature",
    },
}


def wanted_of(path: Path) -> tuple[bool, set[str]]:
    if name(path) in UNJUDGED:
        return True, UNJUDGED[name(path)]
    content = path.read_bytes()
    return wanted(x509.load_pem_x509_certificate if is_pem(content) else x509.load_der_x509_certificate, content)


def is_pem(content: bytes) -> bool:
    return b"-----BEGIN " in content


#: Folders of other things than certificates.
ELSEWHERE = {"crls", "requests", "ocsp", "pkcs7"}


def certificate_files() -> list[Path]:
    """Files of one certificate each, in either form, damaged ones among them."""
    found = []
    for path in files("x509", "pkcs12", "pkcs7"):
        content = path.read_bytes()
        alone = content.count(b"-----BEGIN ") == 1 and b"-----BEGIN CERTIFICATE-----" in content
        binary = path.suffix in {".der", ".crt"} and not path.name.startswith(("crl_", "cryptography-scts-tbs"))
        if alone or (binary and path.parent.name not in ELSEWHERE):
            found.append(path)
    return found


def test_of_every_certificate_is_said_what_the_library_reads_in_it():
    found = certificate_files()
    assert len(found) > 530
    assert not differing((name(p), said(certificate=as_certificate(p)), wanted_of(p)) for p in found)


def as_certificate(path: Path) -> str:
    """The certificate of a file as PEM text."""
    content = path.read_bytes()
    return content.decode() if is_pem(content) else pem.encode("CERTIFICATE", content)


def test_a_certificate_in_the_place_of_the_key_is_read_as_one():
    def expected(path):
        read, codes = wanted_of(path)
        also = "PrivateKeyFormatIncorrect" if read else "CertificateMissing"
        return read, (codes - {"PrivateKeyMissing"}) | {also, "PrivateKeyFormatIncorrect"}

    found = certificate_files()
    assert not differing((name(p), said(private_key=as_certificate(p)), expected(p)) for p in found)


def test_of_every_root_that_browsers_trust_is_said_what_the_library_reads_in_it():
    text = Path(certifi.where()).read_text()
    roots = ["-----BEGIN" + part for part in text.split("-----BEGIN")[1:]]
    results = [(root, said(certificate=root), wanted(x509.load_pem_x509_certificate, root.encode())) for root in roots]
    assert not differing(results)
    assert all(read for _, (read, _), _ in results)


#: Files with more than one block, and what is said of them in place of what is said of their first certificate alone.
SEVERAL = {
    "cryptography.io.chain.pem": {"ChainIncomplete": "IntermediateExpired"},
    # A key whose text is no key.
    "cryptography.io.chain_with_garbage.pem": {
        "ChainIncomplete": "IntermediateExpired",
        "PrivateKeyMissing": "PrivateKeyFormatIncorrect",
    },
    "cryptography.io.with_garbage.pem": {"PrivateKeyMissing": "PrivateKeyFormatIncorrect"},
    # An encrypted key.
    "cryptography.io.with_headers.pem": {"PrivateKeyMissing": "PrivateKeyEncrypted"},
}


@pytest.mark.parametrize("file", SEVERAL)
def test_a_file_with_a_chain_or_a_key_is_read_as_a_whole(file):
    content = (VECTORS / "x509" / file).read_bytes()
    alone = of_certificate(x509.load_pem_x509_certificates(content)[0])
    assert said(certificate=content.decode()) == (True, {SEVERAL[file].get(code, code) for code in alone})


#: Bundles of PKITS that are refused: DSA keys, and certificates whose DSA key has its parameters elsewhere.
REFUSED_BUNDLES = {
    "DSACACert.p12": "UnsupportedAlgorithm",
    "DSAParametersInheritedCACert.p12": "ConversionInputIncorrect",
    "InvalidDSASignatureTest6EE.p12": "UnsupportedAlgorithm",
    "ValidDSAParameterInheritanceTest5EE.p12": "ConversionInputIncorrect",
    "ValidDSASignaturesTest4EE.p12": "UnsupportedAlgorithm",
}


def test_every_bundle_of_a_certificate_and_its_key_fits_together_once_it_is_converted():
    for path in files("x509/PKITS_data/pkcs12"):
        body = {"from": "pfx", "to": "pem", "input": base64.b64encode(path.read_bytes()).decode()}
        answer = client().post("/v1/conversions", body | {"passphrase": "password"})
        if answer.status == 200:
            text = answer.json["output"]
            read, codes = wanted(x509.load_pem_x509_certificate, text.encode())
            assert said(certificate=text) == (read, codes - {"PrivateKeyMissing"}), name(path)
        else:
            assert answer.code == REFUSED_BUNDLES.get(path.name), name(path)


# --- private keys --------------------------------------------------------------------------------------------------

#: Keys of which something else is said than the library does, and why.
OTHER_KEYS = {
    # The library refuses a small Diffie-Hellman group as such; here the algorithm is what matters.
    "asymmetric/DH/dh_key_256.pem": {"UnsupportedAlgorithm"},
    # Two keys, of which the library reads the first.
    "asymmetric/ECDSA/RFC6979/evppkey_ecdsa_rfc6979.txt": {"UnsupportedAlgorithm", "WeakKey"},
    # The library wants the seed of an ML-DSA key.
    "asymmetric/MLDSA/mldsa65_noseed_priv.der": {"UnsupportedAlgorithm"},
    # The library looks at the kind of key first; here at the passphrase.
    "asymmetric/OpenSSH/sk-ecdsa-psw.key": {"PrivateKeyEncrypted"},
    "asymmetric/OpenSSH/sk-ed25519-psw.key": {"PrivateKeyEncrypted"},
    # PKCS #8 between the markers of PKCS #1 is mended.
    "asymmetric/PKCS8/wrong-pem-delimiter-rsa.pem": set(),
    # The numbers of a DSA key are not looked at.
    "asymmetric/Traditional_OpenSSL_Serialization/dsa-wrong-version.pem": {"UnsupportedAlgorithm"},
    # How the key is encrypted is damaged; that it is encrypted is plain.
    "asymmetric/Traditional_OpenSSL_Serialization/key1-malformed-dek-info.pem": {"PrivateKeyEncrypted"},
    "asymmetric/Traditional_OpenSSL_Serialization/key1-no-dek-info.pem": {"PrivateKeyEncrypted"},
}


def key_loader(content: bytes) -> Callable[..., object]:
    if b"OPENSSH" in content:
        return load_ssh_private_key
    return load_pem_private_key if is_pem(content) else load_der_private_key


def of_private_key(path: Path) -> set[str]:
    """What must be said of a private key, or of what stands between the markers of one."""
    if name(path) in OTHER_KEYS:
        return OTHER_KEYS[name(path)]
    content = path.read_bytes()
    try:
        return of_key(key_loader(content)(content, None), smallest_rsa=1024)
    except TypeError:
        return {"PrivateKeyEncrypted"}
    except UnsupportedAlgorithm:
        return {"UnsupportedAlgorithm"}
    except ValueError:
        return {"PrivateKeyFormatIncorrect"}


def key_files() -> list[Path]:
    found = [*files("asymmetric"), *files("pkcs12/ca", "x509/custom/ca", pattern="*_key.pem")]
    return [p for p in found if p.suffix == ".der" or b"PRIVATE KEY-----" in p.read_bytes()]


def as_key(path: Path) -> str:
    content = path.read_bytes()
    return content.decode() if is_pem(content) else pem.encode("PRIVATE KEY", content)


def test_of_every_private_key_is_said_what_the_library_reads_in_it():
    found = key_files()
    assert len(found) > 140
    results = (
        (name(p), said(private_key=as_key(p)), (False, {"CertificateMissing", *of_private_key(p)})) for p in found
    )
    assert not differing(results)


def test_a_private_key_in_the_place_of_the_certificate_is_read_as_one():
    found = [p for p in key_files() if is_pem(p.read_bytes())]
    results = (
        (name(p), said(certificate=as_key(p)), (False, {"CertificateFormatIncorrect", *of_private_key(p)}))
        for p in found
    )
    assert not differing(results)


# --- other formats -------------------------------------------------------------------------------------------------


def unlocked(content: bytes) -> object:
    return load_der_private_key(content, None)


def locked(content: bytes) -> None:
    try:
        load_der_private_key(content, None)
    except TypeError:
        return
    raise ValueError("not encrypted")


#: What reads a format, and what messages call it.
FORMATS = (
    (x509.load_der_x509_certificate, "a certificate in binary (DER) form"),
    (x509.load_der_x509_csr, "a certificate signing request (CSR) in binary (DER) form"),
    (x509.load_pem_x509_csr, "a certificate signing request (CSR)"),
    (x509.load_der_x509_crl, "a certificate revocation list (CRL) in binary (DER) form"),
    (x509.load_pem_x509_crl, "a certificate revocation list (CRL)"),
    (pkcs7.load_der_pkcs7_certificates, "a PKCS #7 (P7B) file in binary (DER) form"),
    (pkcs7.load_pem_pkcs7_certificates, "a PKCS #7 (P7B) container"),
    (unlocked, "private key"),
    (locked, "an encrypted private key (PKCS #8) in binary (DER) form"),
    (load_der_public_key, "public key"),
    (load_pem_public_key, "a public key"),
    (load_ssh_public_identity, "an OpenSSH public key"),
)


def called(path: Path) -> str | None:
    """What messages must call the content of a file; ``None`` when the library cannot read it either."""
    content = path.read_bytes()
    if path.suffix in {".p12", ".pfx"}:
        return "a PKCS #12 (PFX, P12) file in binary (DER) form"
    for load, what in FORMATS:
        try:
            load(content)
        except (UnsupportedAlgorithm, *UNREADABLE):
            continue
        return what
    return None


@pytest.mark.parametrize("field", ["certificate", "private_key"])
@pytest.mark.parametrize(("folder", "at_least"), [("x509", 1000), ("asymmetric", 70), ("pkcs12", 31), ("pkcs7", 4)])
def test_a_file_of_another_format_is_called_by_its_name(folder, at_least, field):
    named = [(path, what) for path in files(folder) if (what := called(path))]
    code = "CertificateFormatIncorrect" if field == "certificate" else "PrivateKeyFormatIncorrect"
    for path, what in named:
        findings = send(**{field: looks.decode(path.read_bytes())}).json["findings"]
        messages = [f["message"] for f in findings if f["code"] == code]
        assert any(what in message for message in messages), f"{name(path)}: {messages}, not called {what}"
    assert len(named) >= at_least
