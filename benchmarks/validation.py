"""Validating an upload and sealing its key, against the bare cryptographic work that no one can leave out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from benchmarks.measure import Ratio, side_by_side
from chalicelib.domain import pem, sm2
from chalicelib.domain.reading import Bundle, read
from chalicelib.domain.validation import judge
from tests.support import sm2_builder
from tests.support.authority import NOW, Authority

LIMIT = 1.5
_MESSAGE = b"this key belongs to this certificate"
_CIPHER = AESGCM(os.urandom(32))


@dataclass(frozen=True)
class Case:
    """One kind of upload: the service's work, and the floor below it."""

    name: str
    ours: Callable[[], object]
    floor: Callable[[], object]


def cases() -> list[Case]:
    """A leaf with two intermediates and its key, in each kind."""
    return [_international("RSA-2048", "rsa2048"), _international("ECDSA P-256", "p256"), _sm2()]


def measure() -> list[tuple[str, Ratio]]:
    """Every case, measured."""
    return [(case.name, side_by_side(case.ours, case.floor)) for case in cases()]


def _seal(key_pem: bytes) -> bytes:
    return _CIPHER.encrypt(os.urandom(12), key_pem, b"associated data")


def _ours(bundle: Bundle) -> Callable[[], object]:
    def work() -> None:
        verdict = judge(read(bundle), NOW)
        assert not verdict.findings, verdict.findings
        for key in (verdict.key, verdict.encryption_key):
            if key is not None:
                _seal(key.pem())

    return work


def _parse(text: str) -> x509.Certificate:
    """Parse a certificate: the library does so in parts, when each is first asked for."""
    made = x509.load_pem_x509_certificate(text.encode())
    _ = (made.subject, made.issuer, made.extensions, made.not_valid_before_utc, made.not_valid_after_utc)
    return made


def _international(name: str, kind: str) -> Case:
    root = Authority.root(kind=kind)
    upper = root.intermediate("Upper", number=1001, kind=kind)
    lower = upper.intermediate("Lower", number=1002, kind=kind)
    leaf = lower.issue("www.example.com", "example.com", kind=kind)
    texts = [leaf.pem, lower.pem, upper.pem]

    def floor() -> None:
        parsed = [_parse(text) for text in texts]
        for child, issuer in pairwise(parsed):
            child.verify_directly_issued_by(issuer)
        key = load_pem_private_key(leaf.key_pem.encode(), None, unsafe_skip_rsa_key_validation=True)
        _match(key, parsed[0].public_key())
        _seal(leaf.key_pem.encode())

    return Case(name, _ours(Bundle(leaf.pem, leaf.key_pem, lower.pem + upper.pem)), floor)


def _match(key: Any, public: Any) -> None:  # noqa: ANN401 - the library's keys have no common type
    assert key.public_key() == public
    if isinstance(public, rsa.RSAPublicKey):
        how = padding.PKCS1v15()
        public.verify(key.sign(_MESSAGE, how, hashes.SHA256()), _MESSAGE, how, hashes.SHA256())
    else:
        algorithm = ec.ECDSA(hashes.SHA256())
        public.verify(key.sign(_MESSAGE, algorithm), _MESSAGE, algorithm)


def _sm2() -> Case:
    """The double certificate; its floor does the same curve arithmetic, since the library has none for SM2."""
    upper = sm2_builder.Sm2Authority.root().intermediate("Upper", number=1001)
    lower = upper.intermediate("Lower", number=1002)
    signing, encryption = lower.issue_pair("www.example.com")
    texts = [signing.pem, encryption.pem, lower.pem, upper.pem]
    links = [(0, 2), (1, 2), (2, 3)]

    def floor() -> None:
        parsed = [_parse(text) for text in texts]
        points = [sm2.spki_point(sm2.certificate_spki(c)) for c in parsed]
        for child, issuer in links:
            point = points[issuer]
            assert point
            assert sm2.verify(point, parsed[child].signature, parsed[child].tbs_certificate_bytes)
        for number, issued in enumerate((signing, encryption)):
            (block,) = pem.private_key_blocks(issued.key_pem, "private_key").private_keys
            _, point = sm2.load_private_key("PRIVATE KEY", block.der) or (0, None)
            assert point == points[number]
            _seal(issued.key_pem.encode())

    bundle = Bundle(signing.pem, signing.key_pem, lower.pem + upper.pem, encryption.pem, encryption.key_pem)
    return Case("SM2 double", _ours(bundle), floor)
