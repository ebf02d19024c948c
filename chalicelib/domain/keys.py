"""Private keys: telling what a block is, loading it without trusting it, and proving that it fits a public key.

The library's own loading of RSA keys tests the primes, which takes 38 ms for 2048 bits and half a minute for
16384. Here the size is bounded first, the numbers are held against each other, and a match is proven by a
signature that the other side's public key verifies.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_ssh_private_key,
)

from chalicelib.domain import der, sm2
from chalicelib.domain.certificate import PublicKey, describe_public_key, describe_sm2_point
from chalicelib.domain.der import Kind
from chalicelib.domain.findings import Finding, error
from chalicelib.domain.pem import Block, describe, encode
from chalicelib.domain.pemscan import OPENSSH_PLAIN
from chalicelib.domain.policy import MIN_EC_BITS, SUPPORTED, SUPPORTED_CURVES

#: Signing with a larger RSA key takes longer than a request should; no public CA certifies one.
MAX_RSA_BITS: Final = 8192
#: Smaller RSA keys cannot sign with SHA-256 and PSS; what is too weak for use is the policy's business.
MIN_RSA_BITS: Final = 1024
#: FIPS 186-5, 5.1, bounds the public exponent so.
MAX_RSA_EXPONENT_BITS: Final = 256
#: A key of the largest size taken has less than 7,000 bytes in any form.
MAX_KEY_BYTES: Final = 16_384

#: What `generate` makes: key sizes in bits by algorithm, the usual one first.
SIZES: Final = {"RSA": (2048, 3072, 4096), "ECC": (256, 384, 521), "SM2": (256,)}
_CURVE_OF_SIZE: Final[dict[int, type[ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1]]] = {
    256: ec.SECP256R1,
    384: ec.SECP384R1,
    521: ec.SECP521R1,
}

NativeKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

_RSA: Final = "1.2.840.113549.1.1.1"
_RSA_PSS: Final = "1.2.840.113549.1.1.10"
_EC: Final = "1.2.840.10045.2.1"
_SM2: Final = "1.2.156.10197.1.301"
#: Algorithms of private keys by their OID.
_ALGORITHMS: Final = {
    _RSA: "RSA",
    _RSA_PSS: "RSA-PSS",
    _EC: "EC",
    _SM2: "SM2",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "1.3.101.110": "X25519",
    "1.3.101.111": "X448",
    "1.2.840.10040.4.1": "DSA",
    "1.2.840.113549.1.3.1": "Diffie-Hellman",
    "1.2.840.10046.2.1": "Diffie-Hellman",
    "1.2.643.7.1.1.1.1": "GOST R 34.10-2012",
    "1.2.643.7.1.1.1.2": "GOST R 34.10-2012",
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}
#: AlgorithmIdentifiers of keys on P-256, P-384 and P-521 by name (RFC 5480), which are surely not SM2.
_NIST_IDENTIFIERS: Final = frozenset(
    bytes.fromhex(identifier)
    for identifier in (
        "301306072a8648ce3d020106082a8648ce3d030107",
        "301006072a8648ce3d020106052b81040022",
        "301006072a8648ce3d020106052b81040023",
    )
)
_ALGORITHM_OF_KIND: Final = {Kind.RSA_PRIVATE: "RSA", Kind.EC_PRIVATE: "EC", Kind.DSA_PRIVATE: "DSA"}
_LOADABLE: Final = frozenset({"RSA", "RSA-PSS", "EC", "Ed25519", "Ed448"})

#: What is signed to prove a match; it means nothing anywhere else.
_PROOF: Final = b"certhaven: this private key belongs to this certificate"
_DIGEST: Final = hashes.SHA256()
_PSS: Final = padding.PSS(padding.MGF1(_DIGEST), padding.PSS.DIGEST_LENGTH)

_MAKE_ANOTHER: Final = "Have the certificate issued for a key of a supported algorithm."
_NOT_WHOLE: Final = "Copy the key file again; if it stays so, the key is lost: make a new one and a new CSR."


@asn1.sequence
class _RsaNumbers:
    """RSAPrivateKey of two primes (RFC 8017, A.1.2)."""

    version: int
    n: int
    e: int
    d: int
    p: int
    q: int
    dp: int
    dq: int
    qinv: int


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A private key that can be used. Its repr shows no part of it.

    Attributes:
        public: kind, size and fingerprint of its public half, as certificates have them.
        pkcs8: PKCS #8 in DER, not encrypted (RFC 5958).
        native: the library's key, or the scalar of an SM2 key.
    """

    public: PublicKey
    pkcs8: bytes
    native: NativeKey | int

    def __repr__(self) -> str:
        return f"<PrivateKey {self.label}>"

    @property
    def kind(self) -> str:
        """RSA, RSA-PSS, ECDSA, Ed25519, Ed448 or SM2."""
        return self.public.kind

    @property
    def size(self) -> int:
        """In bits."""
        return self.public.size

    @property
    def curve(self) -> str:
        """P-256, P-384 or P-521 for ECDSA, else empty."""
        return self.public.curve

    @property
    def label(self) -> str:
        """As people write it: ``RSA 2048``, ``ECDSA P-256``, ``SM2``."""
        return self.public.label

    @property
    def public_fingerprint(self) -> str:
        """SHA-256 (hex) of the SubjectPublicKeyInfo in its canonical encoding."""
        return self.public.fingerprint

    def pem(self) -> bytes:
        """Canonical PEM of the PKCS #8 form, not encrypted."""
        return encode("PRIVATE KEY", self.pkcs8).encode("ascii")


class _RefusalError(Exception):
    """Carries a finding out of a loader."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.code)
        self.finding = finding


def classify(block: Block, param: str = "private_key") -> Finding | None:
    """Why a block cannot be a private key that is ready for use: encrypted, or something else.

    Returns:
        the finding, or ``None`` when it is worth loading.
    """
    if not block.is_private_key or block.label.startswith(("PGP", "SSH2")):
        what, hint = describe(block)
        return error("PrivateKeyFormatIncorrect", f"{block.where} is {what}.", hint, param)
    if not _is_encrypted(block):
        return None
    command = "rsa" if block.original_label == "RSA PRIVATE KEY" else "pkey"
    return error(
        "PrivateKeyEncrypted",
        f"{block.where} is protected by a passphrase; the key is wanted without one.",
        f"Decrypt it with `openssl {command} -in encrypted.key -out decrypted.key` and send decrypted.key."
        if block.label != "OPENSSH PRIVATE KEY"
        else "Remove the passphrase with `ssh-keygen -p -N '' -f encrypted.key` and send that file. (For a key in "
        "PEM form: `openssl pkey -in encrypted.key -out decrypted.key`.)",
        param,
    )


def _is_encrypted(block: Block) -> bool:
    if block.label == "ENCRYPTED PRIVATE KEY" or block.kind is Kind.ENCRYPTED_PKCS8:
        return True
    if block.label == "OPENSSH PRIVATE KEY":
        return block.der.startswith(OPENSSH_PLAIN[:15]) and not block.der.startswith(OPENSSH_PLAIN)
    return any(name.upper() == "PROC-TYPE" and "ENCRYPTED" in value for name, value in block.headers)


def load(block: Block, param: str = "private_key") -> PrivateKey | Finding:
    """Load a private key from a block, whatever its label says of its form.

    Primes are not tested (that is slow, and proves nothing about the certificate): `matches` must hold before
    the key is relied upon.

    Args:
        block: from `pem.private_key_blocks` or `pem.certificate_blocks`.
        param: name of the field, for the finding.

    Returns:
        the key, or the finding that refuses it: PrivateKeyEncrypted, PrivateKeyFormatIncorrect,
        UnsupportedAlgorithm or WeakKey.
    """
    if refusal := classify(block, param):
        return refusal
    try:
        return _load(block, param)
    except _RefusalError as refused:
        return refused.finding
    except UnsupportedAlgorithm:
        return _unsupported("of an algorithm, or in a form, that is not known here", block, param).finding
    except (ValueError, TypeError, OverflowError, InternalError):
        # An internal error is what the library makes of, for example, an Ed448 key of 32 bytes.
        return error(
            "PrivateKeyFormatIncorrect",
            f"{block.where} cannot be read as a private key: its content is damaged, or not a private key.",
            _NOT_WHOLE,
            param,
        )


def _load(block: Block, param: str) -> PrivateKey:
    if len(block.der) > MAX_KEY_BYTES:
        what = f"has {len(block.der)} bytes; no supported key has more than {MAX_KEY_BYTES}"
        finding = error("PrivateKeyFormatIncorrect", f"{block.where} {what}.", _NOT_WHOLE, param)
        raise _RefusalError(finding)
    if block.label == "OPENSSH PRIVATE KEY":
        block = _from_openssh(block)
    algorithm, identifier = _algorithm(block)
    if algorithm in {"EC", "SM2"} and identifier not in _NIST_IDENTIFIERS:
        try:
            pair = sm2.load_private_key(block.label, block.der)
        except sm2.Sm2Error:
            raise _damaged("SM2", block, param) from None
        if pair is not None:
            return _from_sm2(*pair)
    if algorithm not in _LOADABLE:
        raise _unsupported(algorithm if algorithm.startswith("of ") else f"of {algorithm}", block, param)
    if algorithm in {"RSA", "RSA-PSS"}:
        _check_rsa(block, param)
    native = load_der_private_key(block.der, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(native, NativeKey):
        raise TypeError("a key of another algorithm than it says")
    public = describe_public_key(native.public_key(), pss=algorithm == "RSA-PSS")
    _require_curve(public, block, param)
    return PrivateKey(public, _pkcs8(native, identifier if algorithm == "RSA-PSS" else b""), native)


def _from_openssh(block: Block) -> Block:
    """The same key as PKCS #8. Raises: ValueError or UnsupportedAlgorithm when it cannot be read."""
    native = load_ssh_private_key(encode(block.label, block.der).encode(), None, unsafe_skip_rsa_key_validation=True)
    content = native.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return block._replace(label="PRIVATE KEY", der=content, kind=Kind.PKCS8)


def _algorithm(block: Block) -> tuple[str, bytes]:
    """Name of the key's algorithm (or its OID), and its AlgorithmIdentifier, which only PKCS #8 has.

    Raises:
        ValueError: the content has the shape of no private key.
    """
    if block.kind is not Kind.PKCS8:
        if block.label == "SM2 PRIVATE KEY":
            return "SM2", b""
        if block.kind not in _ALGORITHM_OF_KIND:
            raise ValueError("no shape of a private key")
        return _ALGORITHM_OF_KIND[block.kind], b""
    version, identifier, _ = _pkcs8_parts(block.der)
    oid = next(der.children(block.der, identifier), None)
    if oid is None or oid.tag != der.OBJECT_IDENTIFIER:
        raise ValueError("no algorithm identifier")
    dotted = asn1.decode_der(x509.ObjectIdentifier, block.der[identifier.start : oid.end]).dotted_string
    return _ALGORITHMS.get(dotted, f"of algorithm {dotted}"), block.der[version.end : identifier.end]


def _pkcs8_parts(content: bytes) -> list[der.Element]:
    """Version, algorithm identifier and private key. Raises: ValueError when there are fewer parts."""
    outer = der.element(content)
    parts = [] if outer is None else list(islice(der.children(content, outer), 3))
    if len(parts) < 3:
        raise ValueError("no shape of PKCS #8")
    return parts


def _unsupported(what: str, block: Block, param: str) -> _RefusalError:
    message = f"{block.where} is a key {what}; supported are {SUPPORTED}."
    return _RefusalError(error("UnsupportedAlgorithm", message, _MAKE_ANOTHER, param))


def _weak(what: str, block: Block, param: str) -> _RefusalError:
    return _RefusalError(error("WeakKey", f"{block.where} is {what}.", _MAKE_ANOTHER, param))


def _damaged(what: str, block: Block, param: str) -> _RefusalError:
    message = f"{block.where} is a damaged {what} private key: its numbers do not belong together."
    return _RefusalError(error("PrivateKeyFormatIncorrect", message, _NOT_WHOLE, param))


def _check_rsa(block: Block, param: str) -> None:
    """Bound the size of an RSA key, then hold its numbers against each other, before the library sees them."""
    content = block.der
    if block.kind is Kind.PKCS8:
        *_, inner = _pkcs8_parts(content)
        content = content[inner.start : inner.end]
    numbers = asn1.decode_der(_RsaNumbers, content)
    bits = numbers.n.bit_length()
    if bits > MAX_RSA_BITS:
        what = f"an RSA key of {bits} bits; RSA keys of up to {MAX_RSA_BITS} bits are supported"
        finding = error("UnsupportedAlgorithm", f"{block.where} is {what}.", _MAKE_ANOTHER, param)
        raise _RefusalError(finding)
    if bits < MIN_RSA_BITS:
        raise _weak(f"an RSA key of {bits} bits; at least 2048 are wanted", block, param)
    if not _belong_together(numbers):
        raise _damaged("RSA", block, param)


def _belong_together(k: _RsaNumbers) -> bool:
    """Whether the numbers fit (RFC 8017, 3.2): all but that the two primes are prime."""
    odd = all(number > 1 and number % 2 for number in (k.p, k.q, k.e))
    if k.version or not odd or k.e.bit_length() > MAX_RSA_EXPONENT_BITS or k.p * k.q != k.n or k.p == k.q:
        return False
    return (
        1 < k.d < k.n
        and k.d * k.e % (k.p - 1) == 1
        and k.d * k.e % (k.q - 1) == 1
        and k.dp == k.d % (k.p - 1)
        and k.dq == k.d % (k.q - 1)
        and 0 < k.qinv < k.p
        and k.qinv * k.q % k.p == 1
    )


def _require_curve(public: PublicKey, block: Block, param: str) -> None:
    if public.kind != "ECDSA" or public.curve in SUPPORTED_CURVES:
        return
    if public.size < MIN_EC_BITS:
        what = f"an EC key on {public.curve} of {public.size} bits; at least {MIN_EC_BITS} are wanted"
        raise _weak(what, block, param)
    raise _unsupported(f"on the curve {public.curve}", block, param)


def _pkcs8(native: NativeKey, identifier: bytes) -> bytes:
    """PKCS #8 of a key; with `identifier`, under that AlgorithmIdentifier, which the library forgets for RSA-PSS."""
    if not identifier:
        return native.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    numbers = native.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    version = der.encode(der.INTEGER, b"\0")
    return der.encode(der.SEQUENCE, version, identifier, der.encode(der.OCTET_STRING, numbers))


def _from_sm2(scalar: int, point: sm2.Point) -> PrivateKey:
    return PrivateKey(describe_sm2_point(point), sm2.encode_private_key(scalar, point), scalar)


def matches(key: PrivateKey, public: PublicKey) -> bool:
    """Whether `key` is the private half of `public`.

    The public half of a key was worked out from its number when it was loaded (SM2, Ed25519, Ed448), or held against
    it by the library (ECDSA, SEC 1, 3.2.2.1), so that the same public key is proof. Of RSA the library checked nothing,
    which would take 38 ms: there, what the key signs must verify.
    """
    if not key.public.same_as(public):
        return False
    native, other = key.native, public.native
    if not isinstance(native, rsa.RSAPrivateKey):
        return True
    if not isinstance(other, rsa.RSAPublicKey):
        return False
    scheme = _PSS if "RSA-PSS" in {key.kind, public.kind} else padding.PKCS1v15()
    try:
        other.verify(native.sign(_PROOF, scheme, _DIGEST), _PROOF, scheme, _DIGEST)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def generate(algorithm: str, size: int) -> PrivateKey:
    """A new key.

    Args:
        algorithm: a name in `SIZES`.
        size: in bits, one of its sizes there.

    Raises:
        KeyError: there is no such algorithm, or not in this size.
    """
    if size not in SIZES[algorithm]:
        raise KeyError(size)
    if algorithm == "SM2":
        scalar = sm2.generate_private_key()
        return _from_sm2(scalar, sm2.public_point(scalar))
    native: NativeKey
    if algorithm == "RSA":
        native = rsa.generate_private_key(public_exponent=65537, key_size=size)
    else:
        native = ec.generate_private_key(_CURVE_OF_SIZE[size]())
    return PrivateKey(describe_public_key(native.public_key()), _pkcs8(native, b""), native)
