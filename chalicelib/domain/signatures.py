"""Checking the signature of a certificate or a signing request, by whichever algorithm it was made."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from chalicelib.domain import sm2

#: Made once: they hold nothing but a name.
_ECDSA: Final = {
    algorithm.name: ec.ECDSA(algorithm)
    for algorithm in (hashes.SHA1(), hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())  # noqa: S303
}


def holds(signed: x509.Certificate | x509.CertificateSigningRequest, content: bytes, key: object) -> bool:
    """Whether `key` made the signature over `content`. Says nothing of names, dates or strength.

    `x509.Certificate.verify_directly_issued_by` would refuse SHA-1, which is policy's business, and knows no SM2.

    Args:
        signed: what carries the signature and says how it was made.
        content: the octets that were signed.
        key: the library's public key, or an SM2 point.
    """
    try:
        return _verify(signed, content, key)
    except (InvalidSignature, InternalError, UnsupportedAlgorithm, ValueError, TypeError):
        return False


def _verify(signed: x509.Certificate | x509.CertificateSigningRequest, content: bytes, key: object) -> bool:
    """True, False, or one of the library's errors, mostly `InvalidSignature`."""
    signature = signed.signature
    if isinstance(key, tuple):
        named = signed.signature_algorithm_oid.dotted_string == sm2.SIGNATURE_OID
        return named and sm2.verify_any(key, signature, content) is not None
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(signature, content)
        return True
    algorithm = signed.signature_hash_algorithm
    if algorithm is None:
        return False
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, content, _ECDSA.get(algorithm.name) or ec.ECDSA(algorithm))
    elif isinstance(key, rsa.RSAPublicKey):
        how = signed.signature_algorithm_parameters
        if not isinstance(how, padding.PSS | padding.PKCS1v15):
            return False
        key.verify(signature, content, how, algorithm)
    elif isinstance(key, dsa.DSAPublicKey):
        key.verify(signature, content, algorithm)
    else:
        return False
    return True
