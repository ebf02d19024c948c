"""SM2 keys, signatures and requests (GB/T 32918, GM/T 0009, GM/T 0015), which the library reads only the frame of.

SM3 and DER come from the library, the curve from `sm2_curve`. Reading and verifying concern public numbers only. What
makes use of a private key (`public_point`, `sign`, `create_csr`, and `load_private_key`) draws
its randomness from `secrets`, and blinds the scalar wherever it is multiplied or inverted: running times seen from
outside tell nothing that is the same in two runs. It is not constant time: nothing in Python is, and someone who
observes the processor itself during one run is not held off. Numbers are not wiped from memory after use.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Final, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from chalicelib.domain import der
from chalicelib.domain.sm2_curve import A, B, G, N, P, Point, on_curve, secret_multiple, solve, sum_of_multiples

__all__ = [
    "DEFAULT_IDENTITY",
    "SIGNATURE_ALGORITHM",
    "SIGNATURE_OID",
    "Point",
    "Sm2Error",
    "certificate_spki",
    "create_csr",
    "csr_spki",
    "decode_point",
    "encode_point",
    "encode_private_key",
    "encode_spki",
    "generate_private_key",
    "load_private_key",
    "on_curve",
    "public_point",
    "sign",
    "spki_point",
    "verify",
    "verify_any",
]

#: The signer's identity that GM/T 0009, 10, gives to all who have agreed on no other.
DEFAULT_IDENTITY: Final = b"1234567812345678"
#: SM2 with SM3 (GM/T 0006).
SIGNATURE_OID: Final = "1.2.156.10197.1.501"
#: The AlgorithmIdentifier of such signatures, in DER.
SIGNATURE_ALGORITHM: Final = der.encode(der.SEQUENCE, asn1.encode_der(x509.ObjectIdentifier(SIGNATURE_OID)))

_EC_PUBLIC_KEY: Final = asn1.encode_der(x509.ObjectIdentifier("1.2.840.10045.2.1"))
_PRIME_FIELD: Final = asn1.encode_der(x509.ObjectIdentifier("1.2.840.10045.1.1"))
_EXTENSION_REQUEST: Final = asn1.encode_der(x509.ObjectIdentifier("1.2.840.113549.1.9.14"))
#: Names the curve, and in some certificates the algorithm of the key.
_SM2_OID: Final = x509.ObjectIdentifier("1.2.156.10197.1.301")
_SM2: Final = asn1.encode_der(_SM2_OID)
_KEY_ALGORITHM: Final = der.encode(der.SEQUENCE, _EC_PUBLIC_KEY, _SM2)
#: What is hashed of the curve with every message (GB/T 32918.2, 5.5).
_CURVE_OCTETS: Final = b"".join(number.to_bytes(32, "big") for number in (A, B, *G))
_NULL: Final = b"\x05\x00"
_SET: Final = 0x31

#: A key with explicit parameters and its public point has 355 bytes; the rest is room for attributes.
_MAX_KEY_BYTES: Final = 4096
#: Two integers of 33 bytes, and the headers.
_MAX_SIGNATURE_BYTES: Final = 72
#: The length in bits is hashed as two bytes (GB/T 32918.2, 5.5).
_MAX_IDENTITY_BYTES: Final = 0xFFFF // 8

_Read = TypeVar("_Read")


class Sm2Error(ValueError):
    """Something that is SM2, or should be, is malformed. The text holds nothing of a key."""


@asn1.sequence
class _Spki:
    """SubjectPublicKeyInfo (RFC 5280, 4.1)."""

    algorithm: list[asn1.TLV]
    key: asn1.BitString


@asn1.sequence
class _Signed:
    """A certificate or request: what is signed, and the signature (RFC 5280, 4.1; RFC 2986, 4.2)."""

    content: list[asn1.TLV]
    algorithm: list[asn1.TLV]
    signature: asn1.BitString


@asn1.sequence
class _Curve:
    """Coefficients (RFC 3279, 2.3.5)."""

    a: bytes
    b: bytes
    seed: asn1.BitString | None


@asn1.sequence
class _Domain:
    """Explicit parameters of a curve (RFC 3279, 2.3.5)."""

    version: int
    field: list[asn1.TLV]
    curve: _Curve
    base: bytes
    order: int
    cofactor: int | None


@asn1.sequence
class _EcPrivateKey:
    """RFC 5915, 3."""

    version: int
    scalar: bytes
    parameters: Annotated[x509.ObjectIdentifier | _Domain | None, asn1.Explicit(0)]
    public: Annotated[asn1.BitString | None, asn1.Explicit(1)]


@asn1.sequence
class _Pkcs8:
    """OneAsymmetricKey (RFC 5958, 2)."""

    version: int
    algorithm: list[asn1.TLV]
    key: bytes
    attributes: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(0)]
    public: Annotated[asn1.BitString | None, asn1.Implicit(1)]


def public_point(scalar: int) -> Point:
    """The public key of a private one.

    Raises:
        Sm2Error: the scalar is not in 1 to N - 2 (GB/T 32918.1, 6.1).
    """
    if not 1 <= scalar <= N - 2:
        raise Sm2Error("the private number is out of range")
    return secret_multiple(scalar)


def generate_private_key() -> int:
    """A new private key: a scalar in 1 to N - 2."""
    return 1 + secrets.randbelow(N - 2)


def decode_point(octets: bytes) -> Point:
    """A point from its uncompressed, compressed or hybrid form (SEC 1, 2.3.4; GB/T 32918.1, 4.2.10).

    Raises:
        Sm2Error: it is in none of these forms, at infinity, or not on the curve.
    """
    form, x, y = octets[:1], int.from_bytes(octets[1:33], "big"), int.from_bytes(octets[33:], "big")
    point: Point | None = None
    if len(octets) == 33 and form in {b"\2", b"\3"}:
        point = solve(x, odd=form == b"\3")
    elif len(octets) == 65 and (form == b"\4" or form == bytes((6 | y & 1,))):
        point = (x, y)
    if point is None or not on_curve(point):
        raise Sm2Error("the public key is not a point of the curve")
    return point


def encode_point(point: Point) -> bytes:
    """The uncompressed form, 65 bytes."""
    return b"\4" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def encode_spki(point: Point) -> bytes:
    """SubjectPublicKeyInfo in DER, as id-ecPublicKey on the named curve (GM/T 0015; RFC 5480)."""
    return der.encode(der.SEQUENCE, _KEY_ALGORITHM, der.encode(der.BIT_STRING, b"\0", encode_point(point)))


def spki_point(spki: bytes) -> Point | None:
    """The public key in a SubjectPublicKeyInfo, whichever way it names the curve.

    Returns:
        the point, or ``None`` when it is a key of another algorithm or curve, or no SubjectPublicKeyInfo.

    Raises:
        Sm2Error: it is SM2, and malformed.
    """
    try:
        parsed = asn1.decode_der(_Spki, spki)
    except ValueError:
        return None
    return _bit_string_point(parsed.key) if _is_sm2(parsed.algorithm) else None


def certificate_spki(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo of a certificate in DER, whatever the key.

    Raises:
        Sm2Error: the certificate's shape is not RFC 5280's.
    """
    fields = _signed(certificate.public_bytes(Encoding.DER)).content
    # The version, which tells the first versions by its absence, shifts what follows.
    position = 6 if fields and fields[0].tag_bytes == b"\xa0" else 5
    return _field(fields, position)


def csr_spki(request: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a PKCS #10 request in DER, whatever the key.

    Raises:
        Sm2Error: it is not a request.
    """
    return _field(_signed(request).content, 2)


def _signed(encoded: bytes) -> _Signed:
    try:
        return asn1.decode_der(_Signed, encoded)
    except ValueError:
        raise Sm2Error("it is not a signed structure in DER") from None


def _field(fields: Sequence[asn1.TLV], position: int) -> bytes:
    if position >= len(fields):
        raise Sm2Error("a part of the signed structure is missing")
    return asn1.encode_der(fields[position])


def _bit_string_point(key: asn1.BitString) -> Point:
    if key.padding_bits():
        raise Sm2Error("the public key is not a whole number of bytes")
    return decode_point(key.as_bytes())


def _is_sm2(algorithm: Sequence[asn1.TLV]) -> bool:
    """Whether an AlgorithmIdentifier means SM2: itself, or id-ecPublicKey with this curve.

    Raises:
        Sm2Error: it says SM2, and another curve.
    """
    oid, *parameters = [asn1.encode_der(part) for part in algorithm] or [b""]
    here = len(parameters) == 1 and (parameters[0] == _SM2 or _is_domain(algorithm[1]))
    if oid == _SM2 and not here and parameters not in ([], [_NULL]):
        raise Sm2Error("an SM2 key names parameters that are not SM2's")
    return here if oid == _EC_PUBLIC_KEY else oid == _SM2


def _is_domain(parameters: asn1.TLV) -> bool:
    try:
        return _is_sm2_domain(parameters.parse(_Domain))
    except ValueError:
        return False


def _is_sm2_domain(domain: _Domain) -> bool:
    """Whether explicit parameters are those of the curve, all of them: a forged base point must not pass."""
    a, b = (int.from_bytes(coefficient, "big") for coefficient in (domain.curve.a, domain.curve.b))
    prime_field = [_PRIME_FIELD, asn1.encode_der(P)]
    if [asn1.encode_der(part) for part in domain.field] != prime_field or (a, b, domain.order) != (A, B, N):
        return False
    return decode_point(domain.base) == G and domain.cofactor in {None, 1}


def load_private_key(label: str, encoded: bytes) -> tuple[int, Point] | None:
    """Read a private key in PKCS #8 (RFC 5958) or SEC 1 form (RFC 5915), not encrypted.

    Args:
        label: of the PEM block. ``SM2 PRIVATE KEY`` says that it is one, even where no curve is named.
        encoded: its content in DER.

    Returns:
        the scalar with its public key, worked out from it; ``None`` when it is not an SM2 key.

    Raises:
        Sm2Error: it is an SM2 key, and malformed: its number out of range, or its public key another's.
    """
    declared = label == "SM2 PRIVATE KEY"
    if len(encoded) <= _MAX_KEY_BYTES:
        outer = _read(_Pkcs8, encoded)
        if outer is not None and _is_sm2(outer.algorithm):
            return _pair(_read(_EcPrivateKey, outer.key), outer.public)
        inner = _read(_EcPrivateKey, encoded)
        if inner is not None and (_names_curve(inner) or (declared and inner.parameters is None)):
            return _pair(inner)
    if declared:
        raise Sm2Error("it is not an SM2 private key")
    return None


def _read(kind: type[_Read], encoded: bytes) -> _Read | None:
    try:
        return asn1.decode_der(kind, encoded)
    except ValueError:
        return None


def _names_curve(key: _EcPrivateKey) -> bool:
    named = key.parameters
    try:
        return _is_sm2_domain(named) if isinstance(named, _Domain) else named == _SM2_OID
    except Sm2Error:
        return False


def _pair(key: _EcPrivateKey | None, outer_public: asn1.BitString | None = None) -> tuple[int, Point]:
    if key is None or (key.parameters is not None and not _names_curve(key)):
        raise Sm2Error("the SM2 private key is malformed")
    scalar = int.from_bytes(key.scalar, "big")
    given = {_bit_string_point(public) for public in (key.public, outer_public) if public is not None}
    point = public_point(scalar)
    if given and given != {point}:
        raise Sm2Error("the public key in it belongs to another private key")
    return scalar, point


def encode_private_key(scalar: int, point: Point | None = None) -> bytes:
    """PKCS #8 in DER, not encrypted, with the public key, as openssl writes it.

    Args:
        scalar: 1 to N - 2.
        point: its public key, if the caller has it; it is worked out otherwise.

    Raises:
        Sm2Error: the scalar is out of range.
    """
    public = der.encode(der.BIT_STRING, b"\0", encode_point(point or public_point(scalar)))
    private = der.encode(der.OCTET_STRING, scalar.to_bytes(32, "big"))
    version = asn1.encode_der(1)
    key = der.encode(der.SEQUENCE, version, private, der.encode(der.CONTEXT_1, public))
    return der.encode(der.SEQUENCE, asn1.encode_der(0), _KEY_ALGORITHM, der.encode(der.OCTET_STRING, key))


def sign(scalar: int, message: bytes, identity: bytes = DEFAULT_IDENTITY, point: Point | None = None) -> bytes:
    """Sign by SM2 with SM3 (GB/T 32918.2, 6.1); to sign a certificate, pass its TBSCertificate in DER.

    Args:
        scalar: the private key.
        message: of any length.
        identity: of the signer; at most 8191 bytes.
        point: its public key, if the caller has it; it is worked out otherwise, which takes half of the time.

    Returns:
        the two numbers in DER, as certificates hold them.

    Raises:
        Sm2Error: the scalar or the identity is out of range.
    """
    e = _digest(point or public_point(scalar), message, identity)
    while True:
        k = 1 + secrets.randbelow(N - 1)
        r = (e + secret_multiple(k)[0]) % N
        blind = 1 + secrets.randbelow(N - 1)
        inverse = blind * pow(blind * (1 + scalar) % N, -1, N) % N
        # The standard's (k - r·d) / (1 + d), with d where it can be blinded only.
        s = (inverse * (k + r) - r) % N
        if r and s and (r + k) % N:
            return encode_dss_signature(r, s)


def verify(point: Point, signature: bytes, message: bytes, identity: bytes = DEFAULT_IDENTITY) -> bool:
    """Whether `signature` (in DER) is `point`'s over `message`, made under `identity` (GB/T 32918.2, 7.1).

    Raises:
        Sm2Error: the point is not on the curve, or the identity too long.
    """
    return _matching(point, signature, message, (identity,)) is not None


def verify_any(point: Point, signature: bytes, message: bytes) -> bytes | None:
    """Under which identity the signature holds: the default one, the empty one that some software takes, or none.

    Both together cost little more than one.

    Raises:
        Sm2Error: the point is not on the curve.
    """
    return _matching(point, signature, message, (DEFAULT_IDENTITY, b""))


def _matching(point: Point, signature: bytes, message: bytes, identities: Sequence[bytes]) -> bytes | None:
    """The first identity whose digest fits the signature."""
    if not on_curve(point):
        raise Sm2Error("the public key is not a point of the curve")
    try:
        r, s = decode_dss_signature(signature) if len(signature) <= _MAX_SIGNATURE_BYTES else (0, 0)
    except ValueError:
        return None
    t = (r + s) % N
    if not (0 < r < N and 0 < s < N and t):
        return None
    found = sum_of_multiples(s, t, point)
    if found is None:
        return None
    return next((i for i in identities if (_digest(point, message, i) + found[0]) % N == r), None)


def _digest(point: Point, message: bytes, identity: bytes) -> int:
    """SM3 over the hash of signer and curve, and the message (GB/T 32918.2, 5.5 and 6.1)."""
    if len(identity) > _MAX_IDENTITY_BYTES:
        raise Sm2Error(f"an identity has at most {_MAX_IDENTITY_BYTES} bytes")
    signer = _sm3((8 * len(identity)).to_bytes(2, "big"), identity, _CURVE_OCTETS, encode_point(point)[1:])
    return int.from_bytes(_sm3(signer, message), "big")


def _sm3(*parts: bytes) -> bytes:
    digest = hashes.Hash(hashes.SM3())
    for part in parts:
        digest.update(part)
    return digest.finalize()


def create_csr(
    scalar: int,
    subject: x509.Name,
    sans: Sequence[x509.GeneralName] = (),
    *,
    identity: bytes = DEFAULT_IDENTITY,
) -> bytes:
    """A PKCS #10 request (RFC 2986) for the key's public half, signed with it by SM2 with SM3.

    Args:
        scalar: the private key.
        subject: the name to ask for.
        sans: the subject alternative names to ask for; no extension is asked for when there are none.
        identity: under which to sign.

    Returns:
        the request in DER.

    Raises:
        Sm2Error: the scalar or the identity is out of range.
    """
    point = public_point(scalar)
    attributes = der.encode(der.CONTEXT_0, _extension_request(sans) if sans else b"")
    parts = (asn1.encode_der(0), subject.public_bytes(), encode_spki(point), attributes)
    content = der.encode(der.SEQUENCE, *parts)
    signature = der.encode(der.BIT_STRING, b"\0", sign(scalar, content, identity, point))
    return der.encode(der.SEQUENCE, content, SIGNATURE_ALGORITHM, signature)


def _extension_request(sans: Sequence[x509.GeneralName]) -> bytes:
    """The attribute that asks for a SAN (RFC 2985, 5.4.2)."""
    value = der.encode(der.OCTET_STRING, x509.SubjectAlternativeName(sans).public_bytes())
    oid = asn1.encode_der(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    extensions = der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, oid, value))
    return der.encode(der.SEQUENCE, _EXTENSION_REQUEST, der.encode(_SET, extensions))
