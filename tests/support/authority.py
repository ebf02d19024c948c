"""Certificates built in tests: an authority issues whatever a test needs, right or wrong.

Keys are made once per process, since RSA keys are slow to find; certificates are cheap.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

#: The moment at which the tests' clocks stand.
NOW = datetime(2026, 6, 15, 12, 0, 0, tzinfo=UTC)


@cache
def private_key(kind: str = "p256", number: int = 0):
    """A key of a kind; the same one for the same number."""
    del number
    if kind.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:]))
    if kind == "dsa":
        return dsa.generate_private_key(key_size=2048)
    curves = {
        "p192": ec.SECP192R1,
        "p224": ec.SECP224R1,
        "p256": ec.SECP256R1,
        "p384": ec.SECP384R1,
        "p521": ec.SECP521R1,
        "k256": ec.SECP256K1,
        "bp256": ec.BrainpoolP256R1,
    }
    if kind in curves:
        return ec.generate_private_key(curves[kind]())
    return {"ed25519": ed25519.Ed25519PrivateKey, "ed448": ed448.Ed448PrivateKey}[kind].generate()


def name(common_name: str | None, *more: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """A name with an organisation and, perhaps, a common name."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example")]
    attributes += [x509.NameAttribute(oid, value) for oid, value in more]
    if common_name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, as the texts a user would have."""

    certificate: x509.Certificate
    key: object

    @cached_property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @cached_property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @cached_property
    def key_pem(self) -> str:
        return self.key_as("pkcs8")

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def key_as(self, form: str, passphrase: bytes | None = None) -> str:
        forms = {
            "pkcs8": serialization.PrivateFormat.PKCS8,
            "traditional": serialization.PrivateFormat.TraditionalOpenSSL,
            "openssh": serialization.PrivateFormat.OpenSSH,
        }
        protection = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, forms[form], protection).decode()


def _signing(key, digest: hashes.HashAlgorithm | None) -> hashes.HashAlgorithm | None:
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return None
    return digest or hashes.SHA256()


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


class Authority(Issued):
    """A root or intermediate that issues certificates."""

    @classmethod
    def root(cls, common_name: str = "Root", **options) -> Authority:
        """A self-signed root."""
        key = options.pop("key", None) or private_key(options.pop("kind", "p256"), options.pop("number", 900))
        subject = name(common_name)
        return cls(build(subject, subject, key, key, ca=True, **options), key)

    def intermediate(self, common_name: str = "Intermediate", **options) -> Authority:
        """An intermediate below this authority."""
        key = options.pop("key", None) or private_key(options.pop("kind", "p256"), options.pop("number", 901))
        options.setdefault("issuer_certificate", self.certificate)
        made = build(name(common_name), self.certificate.subject, key, self.key, ca=True, **options)
        return Authority(made, key)

    def issue(self, *domains: str, **options) -> Issued:
        """A leaf for some domains (the first is its common name)."""
        key = options.pop("key", None) or private_key(options.pop("kind", "p256"), options.pop("number", 1))
        common_name = options.pop("common_name", domains[0] if domains else None)
        options.setdefault("issuer_certificate", self.certificate)
        subject = options.pop("subject", None) or name(common_name)
        signer = options.pop("signer", self.key)
        return Issued(build(subject, self.certificate.subject, key, signer, domains=domains, **options), key)


def self_signed(*domains: str, ca: bool = False, kind: str = "p256", number: int = 1, **options) -> Issued:
    """What ``openssl req -x509`` makes (with ``ca=True``), or a plain self-signed leaf."""
    key = private_key(kind, number)
    subject = name(domains[0] if domains else "self")
    return Issued(build(subject, subject, key, key, domains=domains, ca=ca, **options), key)


def build(
    subject: x509.Name,
    issuer: x509.Name,
    key,
    signer,
    *,
    domains: tuple[str, ...] = (),
    ca: bool = False,
    days: float = 90,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    digest: hashes.HashAlgorithm | None = None,
    pss: bool = False,
    path_length: int | None = None,
    san: bool = True,
    issuer_certificate: x509.Certificate | None = None,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    usage: bool = True,
    identifiers: bool = True,
) -> x509.Certificate:
    """One certificate. Everything has a sound default, and everything can be made wrong."""
    begin = not_before or NOW - timedelta(days=10)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(not_after or begin + timedelta(days=3650 if ca and days == 90 else days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if usage:
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=not ca,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=ca,
                crl_sign=ca,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    if identifiers:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        if issuer_certificate is not None:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_certificate.public_key()), critical=False
            )
    if domains and san:
        names = [_general_name(d) for d in domains]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    how = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if pss else None
    return builder.sign(signer, _signing(signer, digest), rsa_padding=how)


def signed_with_old_hash(issued: Issued, signer, digest: str) -> Issued:
    """The same certificate with an RSA signature by SHA-1 or MD5, which the library does not make any more.

    The algorithm identifiers differ in one octet (RFC 8017, A.2.4), so the certificate keeps its length.
    """
    octet, algorithm = {"sha1": (5, hashes.SHA1()), "md5": (4, hashes.MD5())}[digest]  # noqa: S303 - the point
    prefix = bytes.fromhex("2a864886f70d0101")
    tbs = issued.certificate.tbs_certificate_bytes
    old_tbs = tbs.replace(prefix + b"\x0b", prefix + bytes([octet]))
    signature = signer.sign(old_tbs, padding.PKCS1v15(), algorithm)
    der = issued.der.replace(tbs, old_tbs).replace(prefix + b"\x0b", prefix + bytes([octet]))
    der = der.replace(issued.certificate.signature, signature)
    return Issued(x509.load_der_x509_certificate(der), issued.key)
