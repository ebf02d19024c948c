"""Issuing: certificates of authorities, of servers and clients, and revocation lists (RFC 5280).

The library builds everything. What it cannot sign, it builds for a stand-in key: where SM2 is in play, the public key
and the algorithm are put in its place, and the whole is signed anew (GM/T 0015).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from chalicelib.domain import der, sm2
from chalicelib.domain.certificate import ParsedCertificate, PublicKey
from chalicelib.domain.keys import PrivateKey
from chalicelib.domain.pca import Limits, Revoked

#: Certificates begin so much before now: the clocks of those who check them differ.
BACKDATED: Final = timedelta(minutes=5)
#: A revocation list is good for so long; it is made anew at each request.
CRL_LIFETIME: Final = timedelta(days=7)

Usage = Literal["server", "client"]

_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
#: What a leaf's key may be used for, by its kind (RFC 8446, 4.4.2.2; RFC 5246, 7.4.2; GM/T 0015 for SM2).
_LEAF_USAGES: Final = {
    "RSA": ("digital_signature", "key_encipherment"),
    "SM2": ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
}
_EXTENDED: Final = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority with the key that it signs with."""

    certificate: ParsedCertificate
    key: PrivateKey


def make_authority(
    subject: x509.Name, limits: Limits, key: PrivateKey, issuer: Issuer | None, *, now: datetime, days: int
) -> bytes:
    """The certificate of an authority, in DER.

    Args:
        subject: its name.
        limits: what it may issue.
        key: its own.
        issuer: who signs; ``None`` for a root, which signs itself.
        now: aware UTC.
        days: how long it is valid.
    """
    builder = _begin(subject, key.public, issuer, now, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=limits.path_length), critical=True)
    builder = builder.add_extension(_key_usage(("key_cert_sign", "crl_sign")), critical=True)
    if limits.permitted or limits.excluded:
        builder = builder.add_extension(
            x509.NameConstraints(_trees(limits.permitted) or None, _trees(limits.excluded) or None), critical=True
        )
    return _finish(builder, key.public, issuer.key if issuer else key)


def make_certificate(
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    public: PublicKey,
    issuer: Issuer,
    *,
    now: datetime,
    days: int,
    usage: Usage,
) -> bytes:
    """The certificate of a server or client, in DER.

    Args:
        subject: its name.
        names: its alternative names.
        public: the key that it is for; one of SM2 only where the issuer's is.
        issuer: who signs.
        now: aware UTC.
        days: how long it is valid.
        usage: what it is for.
    """
    builder = _begin(subject, public, issuer, now, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    allowed = _LEAF_USAGES.get(public.kind, ("digital_signature",))
    builder = builder.add_extension(_key_usage(allowed), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([_EXTENDED[usage]]), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not list(subject))
    return _finish(builder, public, issuer.key)


def make_crl(issuer: Issuer, revoked: Sequence[Revoked], number: int, now: datetime) -> bytes:
    """The revocation list of an authority, in DER (RFC 5280, 5).

    Args:
        issuer: whose it is.
        revoked: what it revoked.
        number: higher than that of every list before.
        now: aware UTC.
    """
    this = now.replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject_name)
        .last_update(this)
        .next_update(this + CRL_LIFETIME)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(issuer.certificate.subject_key_id, None, None), critical=False)
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(one.at)
        if one.reason != "unspecified":  # RFC 5280, 5.3.1: better absent than said
            entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags[one.reason]), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    if isinstance(issuer.key.native, int):
        made = builder.sign(_stand_in(), hashes.SHA256()).public_bytes(Encoding.DER)
        return _signed_by_sm2(made, issuer.key.native, {})
    return builder.sign(issuer.key.native, _digest_for(issuer.key)).public_bytes(Encoding.DER)


def _begin(
    subject: x509.Name, public: PublicKey, issuer: Issuer | None, now: datetime, days: int
) -> x509.CertificateBuilder:
    """What all certificates have: names, serial number, validity, and who is who by key identifiers."""
    begin = now.replace(microsecond=0) - BACKDATED
    own = key_identifier(public)
    above = own if issuer is None else issuer.certificate.subject_key_id
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject_name)
        .public_key(_stand_in().public_key() if isinstance(public.native, tuple) else cast("Any", public.native))
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier(own), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(above, None, None), critical=False)
    )


def key_identifier(public: PublicKey) -> bytes:
    """SHA-1 of the public key's bit string (RFC 5280, 4.2.1.2, method 1)."""
    if isinstance(public.native, tuple):
        return hashlib.sha1(sm2.encode_point(public.native), usedforsecurity=False).digest()
    return x509.SubjectKeyIdentifier.from_public_key(cast("Any", public.native)).digest


def _key_usage(allowed: Sequence[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in allowed for usage in _USAGES})


def _trees(domains: Sequence[str]) -> list[x509.GeneralName]:
    return [x509.DNSName(domain.removeprefix("*.").removeprefix(".")) for domain in domains]


def _finish(builder: x509.CertificateBuilder, public: PublicKey, signer: PrivateKey) -> bytes:
    """Sign; with the stand-in first, where SM2 does."""
    if not isinstance(signer.native, int):
        return builder.sign(signer.native, _digest_for(signer)).public_bytes(Encoding.DER)
    made = builder.sign(_stand_in(), hashes.SHA256()).public_bytes(Encoding.DER)
    replaced = {6: sm2.encode_spki(public.native)} if isinstance(public.native, tuple) else {}
    return _signed_by_sm2(made, signer.native, replaced)


@asn1.sequence
class _Signed:
    """A certificate or revocation list (RFC 5280, 4.1 and 5.1)."""

    content: list[asn1.TLV]
    algorithm: asn1.TLV
    signature: asn1.BitString


def _signed_by_sm2(made: bytes, scalar: int, replaced: dict[int, bytes]) -> bytes:
    """The same with other parts, and signed by SM2 with SM3."""
    parts = [asn1.encode_der(part) for part in asn1.decode_der(_Signed, made).content]
    # The algorithm follows the serial number in a certificate, and the version in a revocation list.
    place = 2 if parts[0][0] == der.CONTEXT_0 else 1
    for position, part in {**replaced, place: sm2.SIGNATURE_ALGORITHM}.items():
        parts[position] = part
    content = der.encode(der.SEQUENCE, *parts)
    signature = sm2.sign(scalar, content)
    return der.encode(der.SEQUENCE, content, sm2.SIGNATURE_ALGORITHM, der.encode(der.BIT_STRING, b"\0", signature))


def _digest_for(signer: PrivateKey) -> Any:  # noqa: ANN401 - the library's union of a few hashes, or none
    """The hash that has the strength of a key; none where the algorithm has its own."""
    if isinstance(signer.native, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return None
    return {"P-384": hashes.SHA384(), "P-521": hashes.SHA512()}.get(signer.curve, hashes.SHA256())


def _stand_in() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
