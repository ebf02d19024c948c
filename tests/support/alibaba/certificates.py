"""Making certificates by the real domain code, and describing them in Alibaba's words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from chalicelib.domain import issuing, keys, pem
from chalicelib.domain.certificate import MalformedCertificateError, ParsedCertificate
from chalicelib.domain.findings import Finding
from chalicelib.domain.keys import PrivateKey
from tests.support.alibaba.protocol import Refusal

#: The number that stands for a kind of alternative name.
SAN_TYPES = {x509.RFC822Name: 1, x509.DNSName: 2, x509.UniformResourceIdentifier: 6, x509.IPAddress: 7}
_ATTRIBUTES = {
    "CountryCode": NameOID.COUNTRY_NAME,
    "State": NameOID.STATE_OR_PROVINCE_NAME,
    "Locality": NameOID.LOCALITY_NAME,
    "Organization": NameOID.ORGANIZATION_NAME,
    "OrganizationUnit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CommonName": NameOID.COMMON_NAME,
}
_ALGORITHMS = {"ECDSA": "ECC"}
_SIGNERS = {"ecdsa": "ECDSA", "RSA": "RSA", "sm2": "SM2"}


def subject(**attributes: str) -> x509.Name:
    """A name out of fields as requests have them; empty ones are left out.

    Raises:
        Refusal: `InvalidParameter`.
    """
    try:
        return x509.Name([x509.NameAttribute(_ATTRIBUTES[k], v) for k, v in attributes.items() if v])
    except ValueError as error:
        raise Refusal("InvalidParameter", f"The subject cannot be: {error}.") from None


def new_key(algorithm: str) -> PrivateKey:
    """A key of an algorithm as requests name it, as ``RSA_2048``. Raises: Refusal: `InvalidParameter`."""
    kind, _, size = algorithm.partition("_")
    try:
        return keys.generate(kind, int(size))
    except (KeyError, ValueError):
        raise Refusal("InvalidParameter", f"The algorithm {algorithm!r:.40} is not supported.") from None


def encoded(der: bytes) -> str:
    return pem.encode("CERTIFICATE", der)


def parsed(text: str) -> list[ParsedCertificate]:
    """All certificates of a PEM text. Raises: Refusal: `ParseCertificateFailed`."""
    try:
        found = [ParsedCertificate(b.der) for b in pem.certificate_blocks(text, "Cert").certificates]
    except MalformedCertificateError as error:
        raise Refusal("ParseCertificateFailed", f"The certificate cannot be parsed: {error}.") from None
    if not found:
        raise Refusal("ParseCertificateFailed", "The certificate cannot be parsed.")
    return found


def loaded(text: str) -> PrivateKey:
    """The key of a PEM text. Raises: Refusal: `ParseCertificateFailed`."""
    blocks = pem.private_key_blocks(text, "Key").private_keys
    key = keys.load(blocks[0]) if blocks else None
    if key is None or isinstance(key, Finding):
        raise Refusal("ParseCertificateFailed", "The private key cannot be parsed.")
    return key


def issuer(record: dict) -> issuing.Issuer:
    """An authority of the state as one that can sign."""
    return issuing.Issuer(parsed(record["fields"]["X509Certificate"])[0], loaded(record["key"]))


def milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def attribute(name: x509.Name, field: str) -> str:
    """The last attribute of a name that a field stands for; empty when it has none."""
    found = name.get_attributes_for_oid(_ATTRIBUTES[field])
    return str(found[-1].value) if found else ""


def describe(certificate: ParsedCertificate) -> dict[str, object]:
    """The fields that certificates of authorities, servers and clients have in common."""
    name = certificate.subject_name
    public = certificate.public_key
    algorithm = _ALGORITHMS.get(public.kind, public.kind)
    return {
        **{field: value for field in _ATTRIBUTES if (value := attribute(name, field))},
        "SubjectDN": ",".join(part.rfc4514_string() for part in name.rdns),
        "SerialNumber": certificate.serial_number,
        "Sha2": certificate.fingerprint,
        "Md5": hashlib.md5(certificate.der, usedforsecurity=False).hexdigest(),
        "Algorithm": algorithm,
        "KeySize": public.size,
        "SignAlgorithm": signature_name(certificate),
        "BeforeDate": milliseconds(certificate.not_before),
        "AfterDate": milliseconds(certificate.not_after),
        "X509Certificate": encoded(certificate.der),
    }


def signature_name(certificate: ParsedCertificate) -> str:
    """A signature's algorithm as Alibaba writes it, as ``SHA256WITHRSA``."""
    if certificate.signature_hash == "sm3":
        return "SM3WITHSM2"
    known = getattr(certificate.x509.signature_algorithm_oid, "_name", "")
    kind = next((said for part, said in _SIGNERS.items() if part in known), known)
    return f"{certificate.signature_hash.upper()}WITH{kind}"


def full_algorithm(fields: dict) -> str:
    return f"{fields['Algorithm']}_{fields['KeySize']}"


def general_names(certificate: ParsedCertificate) -> list[x509.GeneralName]:
    found = certificate.extension(x509.SubjectAlternativeName.oid)
    return list(found) if isinstance(found, x509.SubjectAlternativeName) else []


def san_list(names: Sequence[x509.GeneralName]) -> list[dict[str, object]]:
    """Alternative names as answers have them."""
    return [{"Type": SAN_TYPES[type(n)], "Value": str(n.value)} for n in names if type(n) in SAN_TYPES]


def damaged(text: str) -> str:
    """A PEM text with a piece missing in the middle, so that it is no certificate any more."""
    lines = text.splitlines(keepends=True)
    middle = len(lines) // 2
    return "".join(lines[: middle - 1] + lines[middle + 1 :])
