"""PKCS #12 files (PFX, P12; RFC 7292): reading all that is inside, writing a certificate with its key.

The library's own reader gives one key only, tests its primes at any size, and works through any number of
iterations. Here the file is taken apart first, and every key goes through `chalicelib.domain.keys`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from chalicelib.domain import ber, der, pbe
from chalicelib.domain.ber import BerError, Node
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.errors import TooLarge, Unprocessable
from chalicelib.domain.keys import PrivateKey
from chalicelib.domain.pbe import Budget

#: More than a bundle or an ordinary trust store holds.
MAX_CERTIFICATES: Final = 300
MAX_KEYS: Final = 20
#: What is written; PBKDF2 with HMAC-SHA-256. Windows reads at most 600,000.
WRITTEN_ITERATIONS: Final = 100_000

_DATA: Final = "1.2.840.113549.1.7.1"
_ENCRYPTED_DATA: Final = "1.2.840.113549.1.7.6"
_PBMAC1: Final = "1.2.840.113549.1.5.14"
_BAG: Final = "1.2.840.113549.1.12.10.1."
_X509_CERTIFICATE: Final = "1.2.840.113549.1.9.22.1"
_IMPLICIT_OCTETS: Final = frozenset({0x80, 0xA0})


@dataclass(slots=True, repr=False)
class Opened:
    """What a container holds. Its repr shows none of it.

    Attributes:
        certificates: in DER, in the order of the file.
        keys: in PKCS #8 (DER), not encrypted.
        left_out: what else is inside and was not taken, in words.
    """

    certificates: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Opened, {len(self.certificates)} certificates, {len(self.keys)} keys>"

    def add_certificate(self, content: bytes) -> None:
        """Take a certificate. Raises: TooLarge."""
        self.certificates.append(content)
        if len(self.certificates) > MAX_CERTIFICATES:
            raise TooLarge("RequestTooLarge", f"The file holds more than {MAX_CERTIFICATES} certificates.")

    def add_key(self, content: bytes) -> None:
        """Take a private key."""
        self.keys.append(content)

    def expect_key(self) -> None:
        """Make sure that one more key is taken, before it is decrypted. Raises: TooLarge."""
        if len(self.keys) >= MAX_KEYS:
            raise TooLarge("RequestTooLarge", f"The file holds more than {MAX_KEYS} private keys.")


def read(data: bytes, passphrase: str, budget: Budget) -> Opened:
    """Open a PKCS #12 file.

    A file without MAC takes any passphrase, as long as nothing in it is encrypted.

    Args:
        data: the file, in DER or BER.
        passphrase: as the user typed it; may be empty.
        budget: what may still be spent on derivations.

    Raises:
        Unprocessable: `PassphraseIncorrect`, `IterationsExceeded`, or `FormatUnsupported`.
        TooLarge: more certificates or keys than are taken. BerError: it is damaged.
    """
    outer = ber.read(data).expect(der.SEQUENCE)
    content = _plain_data(outer.child(1, der.SEQUENCE), "the file is sealed by a signature")
    if len(outer.children) > 2:
        _verify(outer.child(2, der.SEQUENCE), content, passphrase, budget)
    opened = Opened()
    for part in ber.read(content).expect(der.SEQUENCE).children:
        if part.child(0).oid() == _ENCRYPTED_DATA:
            _take_encrypted(part, opened, passphrase, budget)
        else:
            _take_bags(_plain_data(part, "a part is encrypted for a certificate"), opened, passphrase, budget)
    return opened


def _plain_data(content_info: Node, otherwise: str) -> bytes:
    if content_info.child(0).oid() != _DATA:
        raise Unprocessable(
            "FormatUnsupported",
            f"This PKCS #12 file cannot be opened by a passphrase alone: {otherwise}.",
            "Export it anew, protected by a passphrase.",
        )
    return content_info.child(1, der.CONTEXT_0).child(0).octets()


def _verify(mac: Node, content: bytes, passphrase: str, budget: Budget) -> None:
    """Hold the MAC against the content (RFC 7292, 4; RFC 9579 for PBMAC1).

    Raises:
        Unprocessable: `PassphraseIncorrect`, since a damaged file cannot be told from a wrong passphrase.
    """
    info = mac.child(0, der.SEQUENCE)
    algorithm, wanted = info.child(0, der.SEQUENCE), info.child(1, der.OCTET_STRING).octets()
    if algorithm.child(0).oid() == _PBMAC1:
        parameters = algorithm.child(1, der.SEQUENCE)
        name = pbe.hmac_hash(parameters.child(1, der.SEQUENCE)).name
        digests = [(pbe.derive(parameters.child(0, der.SEQUENCE), passphrase, len(wanted), budget), name)]
    else:
        name = pbe.digest_name(algorithm)
        salt = mac.child(1, der.OCTET_STRING).octets()
        count = mac.child(2).integer() if len(mac.children) > 2 else 1
        size = hmac.new(b"", digestmod=name).digest_size
        secrets = pbe.pkcs12_secrets(passphrase)
        budget.spend(count, len(secrets))
        digests = [(pbe.pkcs12_key(name, pbe.MAC, secret, salt, count, length=size), name) for secret in secrets]
    if not any(hmac.compare_digest(hmac.digest(key, content, name), wanted) for key, name in digests):
        raise pbe.incorrect()


def _take_encrypted(content_info: Node, opened: Opened, passphrase: str, budget: Budget) -> None:
    """Decrypt an EncryptedData part (RFC 5652, 8) and take its bags."""
    inner = content_info.child(1, der.CONTEXT_0).child(0, der.SEQUENCE).child(1, der.SEQUENCE)
    data = inner.child(2)
    if data.tag not in _IMPLICIT_OCTETS:
        raise BerError("the encrypted content is not an octet string")
    plain = pbe.decrypt(inner.child(1, der.SEQUENCE), data.octets(), passphrase, budget)
    if plain[:1] != b"\x30":
        raise pbe.incorrect()
    _take_bags(plain, opened, passphrase, budget)


def _take_bags(content: bytes, opened: Opened, passphrase: str, budget: Budget) -> None:
    _take_safe(ber.read(content).expect(der.SEQUENCE), opened, passphrase, budget)


def _take_safe(contents: Node, opened: Opened, passphrase: str, budget: Budget) -> None:
    """Take the bags of a SafeContents (RFC 7292, 4.2); their nesting is bounded by the reader's depth."""
    for bag in contents.children:
        kind = bag.child(0).oid().removeprefix(_BAG)
        value = bag.child(1, der.CONTEXT_0).child(0)
        if kind == "1":
            opened.expect_key()
            opened.add_key(value.raw)
        elif kind == "2":
            opened.expect_key()
            opened.add_key(pbe.decrypt_pkcs8(value.raw, passphrase, budget))
        elif kind == "3" and value.child(0).oid() == _X509_CERTIFICATE:
            opened.add_certificate(value.child(1, der.CONTEXT_0).child(0).octets())
        elif kind == "6":
            _take_safe(value, opened, passphrase, budget)
        else:
            names = {"3": "a certificate that is not X.509", "4": "a revocation list", "5": "a secret key"}
            opened.left_out.append(names.get(kind, "a part of unknown kind"))


def write(
    name: str, key: PrivateKey, leaf: ParsedCertificate, chain: Sequence[ParsedCertificate], passphrase: str
) -> bytes:
    """A PKCS #12 file: PBES2 with AES-256, MAC with SHA-256.

    OpenSSL from 1.0, keytool from 8u301 and Windows from 10 (1709) and Server 2019 read it; the triple DES and
    SHA-1 that older ones want is no longer written. A key that is only for RSA-PSS is written as an RSA key.

    Args:
        name: friendly name of certificate and key.
        key: not SM2, for which PKCS #12 has no form that others read.
        leaf: the certificate of the key.
        chain: its issuers.
        passphrase: protects the file; not empty.

    Raises:
        ValueError: the passphrase or name holds half of a surrogate pair. TypeError: the key is SM2.
    """
    protection = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(WRITTEN_ITERATIONS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(passphrase.encode())
    )
    if isinstance(key.native, int):
        raise TypeError("SM2 keys have no form in PKCS #12")
    native = cast("pkcs12.PKCS12PrivateKeyTypes", key.native)
    issuers = [c.x509 for c in chain]
    return pkcs12.serialize_key_and_certificates(name.encode(), native, leaf.x509, issuers, protection)
