"""Every certificate, key, container and request of cryptography_vectors and certifi, sent to the parse route.

What must be said of each is worked out here from what the library `cryptography` says when it loads the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache
from pathlib import Path

import certifi
import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_ssh_private_key,
    pkcs7,
)
from cryptography.x509.oid import ExtensionOID

from chalicelib.domain import looks, pem
from chalicelib.domain.findings import CODES
from tests.support.authority import NOW
from tests.support.service import Client, MemoryServices, tenant

# The library warns of what it tolerates, such as a serial number of zero.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

VECTORS = Path(cryptography_vectors.__file__).parent
#: The longest text that the route takes.
LONGEST = 262_144
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    InternalError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
NAMES = (x509.DNSName, x509.IPAddress)
#: The library does not know them; OpenSSL, which judges constraints, does.
POLICY_MAPPINGS = ExtensionOID.POLICY_MAPPINGS
CURVES = ("secp256r1", "secp384r1", "secp521r1")


@cache
def client() -> Client:
    return tenant(Client(MemoryServices())).manager


def parse(**fields: str) -> dict:
    answer = client().post("/v1/certificates/parse", fields)
    assert answer.status == 200, answer.text
    return answer.json


def codes(parsed: dict, severity: str = "") -> set[str]:
    return {f["code"] for f in parsed["findings"] if severity in f["severity"]}


def name(path: Path) -> str:
    return str(path.relative_to(VECTORS))


def files(*folders: str, suffix: str = "") -> list[Path]:
    found = sorted(p for folder in folders for p in (VECTORS / folder).rglob(f"*{suffix}") if p.is_file())
    return [p for p in found if p.stat().st_size <= LONGEST]


def differing(pairs: Iterable[tuple[str, object, object]]) -> dict[str, str]:
    """What was not said as it should have been, by file."""
    return {name: f"got {got}, wanted {wanted}" for name, got, wanted in pairs if got != wanted}


# --- certificates --------------------------------------------------------------------------------------------------


def loaded(content: bytes) -> x509.Certificate | None:
    """A certificate in DER, if the library can read all parts of it."""
    try:
        certificate = x509.load_der_x509_certificate(content)
        return certificate if [certificate.subject, certificate.issuer, certificate.extensions] else None
    except UNREADABLE:
        return None


def is_self_signed(certificate: x509.Certificate) -> bool:
    key, how = certificate.public_key(), certificate.signature_hash_algorithm
    signed = (certificate.signature, certificate.tbs_certificate_bytes)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(*signed, certificate.signature_algorithm_parameters, how)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(*signed, ec.ECDSA(how))
        else:
            key.verify(*signed)
    except (InvalidSignature, *UNREADABLE):
        return False
    return certificate.subject == certificate.issuer


def of_key(key: object, smallest_rsa: int) -> set[str]:
    """What must be said of a key's algorithm."""
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return {"WeakKey"} if key.key_size < smallest_rsa else set()
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        fits = key.curve.name in CURVES
        return set() if fits else {"WeakKey"} if key.key_size < 224 else {"UnsupportedAlgorithm"}
    edwards = ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey | ed448.Ed448PublicKey | ed448.Ed448PrivateKey
    return set() if isinstance(key, edwards) else {"UnsupportedAlgorithm"}


def of_certificate(certificate: x509.Certificate) -> set[str]:
    """What must be said of a certificate that comes alone."""
    extensions = {e.oid: e for e in certificate.extensions}
    values = [e.value for e in extensions.values()]
    constraints = [v for v in values if isinstance(v, x509.BasicConstraints)]
    hosts = [n for v in values if isinstance(v, x509.SubjectAlternativeName) for n in v if isinstance(n, NAMES)]
    self_signed = is_self_signed(certificate)
    validity = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    hash_name = getattr(certificate.signature_hash_algorithm, "name", "")
    said = {
        "PrivateKeyMissing": True,
        "SelfSigned": self_signed,
        "ChainIncomplete": not self_signed,
        # RFC 5280, 6.1.4 (k): version 1 has no constraints to say so.
        "NotALeaf": any(c.ca for c in constraints) or (self_signed and certificate.version is x509.Version.v1),
        "CertificateExpired": certificate.not_valid_after_utc < NOW,
        "CertificateNotYetValid": certificate.not_valid_before_utc > NOW,
        "MissingSAN": not any(n.value for n in hosts),
        "ValidityTooLong": math.ceil(validity / timedelta(days=1)) > 398,
        "WeakSignature": hash_name == "md5" or (hash_name == "sha1" and not self_signed),
        "ChainBroken": any(
            e.critical and isinstance(e.value, x509.UnrecognizedExtension) and e.oid != POLICY_MAPPINGS
            for e in extensions.values()
        ),
    }
    return {code for code, is_so in said.items() if is_so} | of_key(certificate.public_key(), 2048)


def wanted_of(content: bytes) -> tuple[bool, set[str]]:
    """Whether a certificate in DER is to be read, and what is to be said."""
    certificate = loaded(content)
    return (True, of_certificate(certificate)) if certificate else (False, {"CertificateFormatIncorrect"})


def said_of(text: str) -> tuple[bool, set[str]]:
    parsed = parse(certificate=text)
    return parsed["certificate"] is not None, codes(parsed) - {"InputRepaired"}


EXCEPTIONS = {}


def pem_certificates(content: bytes) -> list[bytes]:
    return re.findall(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", content, re.DOTALL)
