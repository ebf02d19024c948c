"""SM2 certificates built in tests, right and wrong, in about a millisecond each, and without openssl.

The library builds the certificate for a stand-in key (names, dates, extensions); then the real public key and algorithm
are put in its place, and it is signed anew. Authorities may be of SM2 or of any other kind, and so may what they issue.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chalicelib.domain import der, sm2
from chalicelib.domain.pem import encode
from chalicelib.domain.sm2_curve import A, B, G, N, P
from tests.support import authority
from tests.support.authority import Issued, name

_STAND_IN = ("p256", 990)
_SM2_OID = asn1.encode_der(x509.ObjectIdentifier("1.2.156.10197.1.301"))
_EC_OID = asn1.encode_der(x509.ObjectIdentifier("1.2.840.10045.2.1"))
_PRIME_FIELD = asn1.encode_der(x509.ObjectIdentifier("1.2.840.10045.1.1"))

#: Key usage bits, by what GM/T 0015 wants of each half of a double certificate.
USAGES = {
    "signing": ("digital_signature", "content_commitment"),
    "encryption": ("key_encipherment", "data_encipherment", "key_agreement"),
    "both": ("digital_signature", "key_encipherment", "data_encipherment", "key_agreement"),
    "ca": ("key_cert_sign", "crl_sign"),
}
_ALL_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def octets(number: int) -> bytes:
    """An OCTET STRING of 32 bytes."""
    return der.encode(der.OCTET_STRING, number.to_bytes(32, "big"))


def explicit_parameters(base: sm2.Point = G, order: int = N, cofactor: int | None = 1) -> bytes:
    """The curve spelt out, or another one that pretends to be it."""
    return der.encode(
        der.SEQUENCE,
        asn1.encode_der(1),
        der.encode(der.SEQUENCE, _PRIME_FIELD, asn1.encode_der(P)),
        der.encode(der.SEQUENCE, octets(A), octets(B)),
        der.encode(der.OCTET_STRING, sm2.encode_point(base)),
        asn1.encode_der(order),
        b"" if cofactor is None else asn1.encode_der(cofactor),
    )


def algorithm(form: str = "named") -> bytes:
    """The AlgorithmIdentifier of an SM2 key in one of the forms in use."""
    parts = {
        "named": (_EC_OID, _SM2_OID),
        "explicit": (_EC_OID, explicit_parameters()),
        "own": (_SM2_OID,),
        "own-null": (_SM2_OID, b"\x05\x00"),
        "own-named": (_SM2_OID, _SM2_OID),
    }
    return der.encode(der.SEQUENCE, *parts[form])


def spki(point: sm2.Point, form: str = "named", encoded_point: bytes | None = None) -> bytes:
    """A SubjectPublicKeyInfo whose algorithm is written in one of the forms in use."""
    key = der.encode(der.BIT_STRING, b"\0", encoded_point or sm2.encode_point(point))
    return der.encode(der.SEQUENCE, algorithm(form), key)


def sec1(scalar: int, parameters: bytes | None = _SM2_OID, point: sm2.Point | None = None) -> bytes:
    """An ECPrivateKey (RFC 5915), its public key and parameters left out when there are none."""
    public = b"" if point is None else der.encode(der.BIT_STRING, b"\0", sm2.encode_point(point))
    return der.encode(
        der.SEQUENCE,
        asn1.encode_der(1),
        octets(scalar),
        b"" if parameters is None else der.encode(der.CONTEXT_0, parameters),
        der.encode(der.CONTEXT_1, public) if public else b"",
    )


def pkcs8(inner: bytes, identifier: bytes) -> bytes:
    """A PKCS #8 key (RFC 5958)."""
    return der.encode(der.SEQUENCE, asn1.encode_der(0), identifier, der.encode(der.OCTET_STRING, inner))


@dataclass(frozen=True)
class Sm2Key:
    """A private key, in every form that people have it in."""

    scalar: int

    @cached_property
    def point(self) -> sm2.Point:
        return sm2.public_point(self.scalar)

    def as_form(self, form: str = "pkcs8") -> tuple[str, bytes]:
        """Label and DER."""
        inner = sec1(self.scalar, None, self.point)
        forms = {
            "pkcs8": ("PRIVATE KEY", lambda: sm2.encode_private_key(self.scalar)),
            "pkcs8-own": ("PRIVATE KEY", lambda: pkcs8(inner, algorithm("own"))),
            "pkcs8-own-null": ("PRIVATE KEY", lambda: pkcs8(inner, algorithm("own-null"))),
            "pkcs8-own-named": ("PRIVATE KEY", lambda: pkcs8(inner, algorithm("own-named"))),
            "pkcs8-explicit": ("PRIVATE KEY", lambda: pkcs8(inner, algorithm("explicit"))),
            "pkcs8-bare": ("PRIVATE KEY", lambda: pkcs8(sec1(self.scalar, None), algorithm())),
            "ec": ("EC PRIVATE KEY", lambda: sec1(self.scalar, point=self.point)),
            "ec-explicit": ("EC PRIVATE KEY", lambda: sec1(self.scalar, explicit_parameters(), self.point)),
            "ec-bare": ("EC PRIVATE KEY", lambda: sec1(self.scalar)),
            "sm2": ("SM2 PRIVATE KEY", lambda: sec1(self.scalar, point=self.point)),
            "sm2-unnamed": ("SM2 PRIVATE KEY", lambda: sec1(self.scalar, None, self.point)),
        }
        label, make = forms[form]
        return label, make()

    def pem(self, form: str = "pkcs8", *, parameters: bool = False) -> str:
        """PEM text; with `parameters`, a block ``EC PARAMETERS`` stands before it, as openssl writes it."""
        before = encode("EC PARAMETERS", _SM2_OID) if parameters else ""
        return before + encode(*self.as_form(form))


@cache
def sm2_key(number: int = 0) -> Sm2Key:
    """A key; the same one for the same number."""
    del number
    return Sm2Key(sm2.generate_private_key())


@dataclass(frozen=True)
class Sm2Issued(Issued):
    """A certificate with its key, SM2 or other, as the texts a user would have."""

    @cached_property
    def key_pem(self) -> str:
        return self.key_as("pkcs8")

    def key_as(self, form: str, passphrase: bytes | None = None) -> str:
        return self.key.pem(form) if isinstance(self.key, Sm2Key) else super().key_as(form, passphrase)


class Sm2Authority(Sm2Issued):
    """A root or intermediate, by default of SM2, that issues certificates.

    Options beside those of `build` here and in `tests.support.authority`: `key` (an `Sm2Key`, or the library's), or
    `number` for `sm2_key`.
    """

    @classmethod
    def root(cls, common_name: str = "SM2 Root", **options) -> Sm2Authority:
        """A self-signed root."""
        key = _key(options, 900)
        subject = name(common_name)
        return cls(build(subject, subject, key, key, ca=True, **options), key)

    def intermediate(self, common_name: str = "SM2 Intermediate", **options) -> Sm2Authority:
        """An intermediate below this authority."""
        key = _key(options, 901)
        issuer = options.pop("issuer", self.certificate.subject)
        signer = options.pop("signer", self.key)
        options.setdefault("issuer_key", self.key)
        return Sm2Authority(build(name(common_name), issuer, key, signer, ca=True, **options), key)

    def issue(self, *domains: str, **options) -> Sm2Issued:
        """A leaf for some domains (the first is its common name), a signing certificate unless `purpose` says else."""
        key = _key(options, 1)
        subject = options.pop("subject", None) or name(options.pop("common_name", domains[0] if domains else None))
        issuer = options.pop("issuer", self.certificate.subject)
        signer = options.pop("signer", self.key)
        options.setdefault("issuer_key", self.key)
        return Sm2Issued(build(subject, issuer, key, signer, domains=domains, **options), key)

    def issue_pair(self, *domains: str, **options) -> tuple[Sm2Issued, Sm2Issued]:
        """The signing and the encryption certificate of one subject, each with a key of its own."""
        numbers = options.pop("numbers", (1, 2))
        signing, encryption = (
            self.issue(*domains, number=number, purpose=purpose, **options)
            for number, purpose in zip(numbers, ("signing", "encryption"), strict=True)
        )
        return signing, encryption


def _key(options: dict, number: int):
    return options.pop("key", None) or sm2_key(options.pop("number", number))


def build(
    subject: x509.Name,
    issuer: x509.Name,
    key,
    signer,
    *,
    ca: bool = False,
    purpose: str | None = "signing",
    identity: bytes = sm2.DEFAULT_IDENTITY,
    spki_form: str = "named",
    signature_algorithm: bytes | None = None,
    good_signature: bool = True,
    identifiers: bool = True,
    issuer_key=None,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    **options,
) -> x509.Certificate:
    """One certificate for an SM2 key, or signed by one, or both.

    Args:
        subject: its subject.
        issuer: its issuer.
        key: whose public half it carries: an `Sm2Key`, or the library's.
        signer: an `Sm2Key`, or an EC key of the library.
        ca: whether it is an authority's.
        purpose: a name in `USAGES`, or ``None`` for no key usage; authorities have their own.
        identity: under which an SM2 signature is made.
        spki_form: how the algorithm of an SM2 key is written, as in `algorithm`.
        signature_algorithm: AlgorithmIdentifier to write in place of the true one.
        good_signature: whether the signature fits; otherwise another message's stands there.
        identifiers: whether it has key identifiers.
        issuer_key: whose identifier is the authority's; none when absent.
        extensions: more of them, each with whether it is critical.
        options: as for `tests.support.authority.build`: dates, path_length, domains, san, …
    """
    more = list(extensions)
    if usages := USAGES["ca"] if ca else USAGES.get(purpose or ""):
        more.append((x509.KeyUsage(**{usage: usage in usages for usage in _ALL_USAGES}), True))
    if identifiers:
        more.append((x509.SubjectKeyIdentifier(_identifier(key)), False))
        if issuer_key is not None:
            more.append((x509.AuthorityKeyIdentifier(_identifier(issuer_key), None, None), False))
    stand_in = authority.private_key(*_STAND_IN)
    template = authority.build(
        subject, issuer, stand_in, stand_in, ca=ca, usage=False, identifiers=False, extensions=tuple(more), **options
    )
    if isinstance(key, Sm2Key):
        public = spki(key.point, spki_form)
    else:
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return _sign(template, public, signer, identity, signature_algorithm, good_signature=good_signature)


@asn1.sequence
class _Certificate:
    content: list[asn1.TLV]
    algorithm: asn1.TLV
    signature: asn1.BitString


def _sign(template, public, signer, identity, signature_algorithm, *, good_signature) -> x509.Certificate:
    frame = asn1.decode_der(_Certificate, template.public_bytes(Encoding.DER))
    by_sm2 = isinstance(signer, Sm2Key)
    identifier = signature_algorithm or (sm2.SIGNATURE_ALGORITHM if by_sm2 else asn1.encode_der(frame.algorithm))
    parts = [asn1.encode_der(part) for part in frame.content]
    parts[2], parts[6] = identifier, public
    content = der.encode(der.SEQUENCE, *parts)
    message = content if good_signature else b"something else"
    if by_sm2:
        signature = sm2.sign(signer.scalar, message, identity, signer.point)
    else:
        signature = signer.sign(message, ec.ECDSA(hashes.SHA256()))
    encoded = der.encode(der.SEQUENCE, content, identifier, der.encode(der.BIT_STRING, b"\0", signature))
    return x509.load_der_x509_certificate(encoded)


def _identifier(key) -> bytes:
    """RFC 5280, 4.2.1.2, method (1)."""
    if isinstance(key, Sm2Key):
        return hashlib.sha1(sm2.encode_point(key.point), usedforsecurity=False).digest()
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
