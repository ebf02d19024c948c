"""Encryption under a passphrase, in every form that key files come in, with its cost bounded before it is paid.

PKCS #5 (RFC 8018) schemes 1 and 2, PKCS #12 (RFC 7292, appendices B and C), scrypt (RFC 7914), SM4 (GM/T 0091), and
the headers of old PEM keys. The library's own loaders do all of this but SM4, yet they neither bound the
iterations nor hand out what they decrypt before they judge it: a key of 16384 bits costs them half a minute.
"""

from __future__ import annotations

import binascii
import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from chalicelib.domain import ber, der
from chalicelib.domain.ber import BerError, Node
from chalicelib.domain.errors import Unprocessable

#: Programs write 2,000 to 600,000.
MAX_ITERATIONS: Final = 1_000_000
#: What all derivations of one request may cost together, in runs of a hash: at most 1.5 s.
TOTAL_ITERATIONS: Final = 4_000_000
#: Memory of scrypt, 128 · N · r octets (RFC 7914, 2); openssl writes 16 MiB.
MAX_SCRYPT_OCTETS: Final = 64 * 1024 * 1024
#: More than any cipher or MAC takes.
MAX_KEY_OCTETS: Final = 128
#: What is written: OWASP's figure for PBKDF2 with HMAC-SHA-256.
WRITTEN_ITERATIONS: Final = 600_000

_ENCRYPTION, _IV, MAC = 1, 2, 3

PBES2: Final = "1.2.840.113549.1.5.13"
PBKDF2: Final = "1.2.840.113549.1.5.12"
_SCRYPT: Final = "1.3.6.1.4.1.11591.4.11"
_AES_256_CBC: Final = "2.16.840.1.101.3.4.1.42"
_RC2_CBC: Final = "1.2.840.113549.3.2"
_HMAC_SHA256: Final = "1.2.840.113549.2.9"

#: Hashes of PKCS #12 and of HMAC in PBKDF2, by OID.
_DIGESTS: Final = {
    "1.2.840.113549.2.5": "md5",
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_HMACS: Final[dict[str, hashes.HashAlgorithm]] = {
    "1.2.840.113549.2.7": hashes.SHA1(),  # noqa: S303 - what files say; as HMAC it still holds
    "1.2.840.113549.2.8": hashes.SHA224(),
    _HMAC_SHA256: hashes.SHA256(),
    "1.2.840.113549.2.10": hashes.SHA384(),
    "1.2.840.113549.2.11": hashes.SHA512(),
    "1.2.840.113549.2.12": hashes.SHA512_224(),
    "1.2.840.113549.2.13": hashes.SHA512_256(),
    "1.2.156.10197.1.401.2": hashes.SM3(),
    "1.2.156.10197.1.401.3.1": hashes.SM3(),
}


class Budget:
    """How much work one request may still cause."""

    def __init__(self, iterations: int = TOTAL_ITERATIONS) -> None:
        self._left = iterations

    def spend(self, iterations: int, times: int = 1) -> None:
        """Take a derivation's cost, before it is paid.

        Args:
            iterations: as the file says.
            times: how often they are run, since one run gives only so many octets.

        Raises:
            Unprocessable: `IterationsExceeded`. BerError: less than one iteration.
        """
        if iterations < 1:
            raise BerError("the number of iterations is not positive")
        self._left -= iterations * times
        if iterations > MAX_ITERATIONS or self._left < 0:
            raise Unprocessable(
                "IterationsExceeded",
                f"The file asks for {iterations} iterations to open a part of it; at most {MAX_ITERATIONS} for a part "
                f"are worked through, and at most {TOTAL_ITERATIONS} for the whole.",
            )


def incorrect() -> Unprocessable:
    """The refusal of a passphrase that does not fit."""
    return Unprocessable("PassphraseIncorrect", "The passphrase does not open the input.")


def _unsupported(what: str) -> Unprocessable:
    return Unprocessable(
        "FormatUnsupported",
        f"The input is encrypted with {what}, which is not supported.",
        "Write it anew with AES-256, for example with `openssl pkcs12 -export` or `openssl pkcs8 -topk8`.",
    )


@dataclass(frozen=True, slots=True)
class _Form:
    """A cipher in CBC mode, or a stream cipher (then `block` is 0), and how it decrypts (key, iv, data).

    `key` and `block` are lengths in octets.
    """

    key: int
    block: int
    decrypt: Callable[[bytes, bytes, bytes], bytes]


def _aes(key: bytes, iv: bytes, data: bytes) -> bytes:
    return _finish(Cipher(algorithms.AES(key), modes.CBC(iv)), data)


def _sm4(key: bytes, iv: bytes, data: bytes) -> bytes:
    return _finish(Cipher(algorithms.SM4(key), modes.CBC(iv)), data)


def _finish(cipher: Cipher[modes.CBC], data: bytes) -> bytes:
    worker = cipher.decryptor()
    return worker.update(data) + worker.finalize()


def _des(key: bytes, iv: bytes, data: bytes) -> bytes:
    from Cryptodome.Cipher import DES  # for old files only; pycryptodomex is kept

    return DES.new(key, DES.MODE_CBC, iv=iv).decrypt(data)  # noqa: S304 - what the file was written with


def _des3(key: bytes, iv: bytes, data: bytes) -> bytes:
    from Cryptodome.Cipher import DES3  # as above

    return DES3.new(key, DES3.MODE_CBC, iv=iv).decrypt(data)


def _rc4(key: bytes, iv: bytes, data: bytes) -> bytes:
    from Cryptodome.Cipher import ARC4  # as above

    del iv
    return ARC4.new(key).decrypt(data)


def _rc2(bits: int) -> Callable[[bytes, bytes, bytes], bytes]:
    """RC2 with an effective key length in bits (RFC 2268, 6)."""

    def decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
        from Cryptodome.Cipher import ARC2  # as above

        # Old files were written with it; the stub lacks the keyword.
        cipher = ARC2.new(key, ARC2.MODE_CBC, iv=iv, effective_keylen=bits)  # type: ignore[call-arg]  # noqa: S304
        return cipher.decrypt(data)

    return decrypt


#: Ciphers of PBES2, by OID.
_CIPHERS: Final = {
    "2.16.840.1.101.3.4.1.2": _Form(16, 16, _aes),
    "2.16.840.1.101.3.4.1.22": _Form(24, 16, _aes),
    _AES_256_CBC: _Form(32, 16, _aes),
    "1.2.156.10197.1.104.2": _Form(16, 16, _sm4),
    "1.2.840.113549.3.7": _Form(24, 8, _des3),
    "1.3.14.3.2.7": _Form(8, 8, _des),
}
#: Key and initial value both out of the PKCS #12 derivation with SHA-1 (RFC 7292, C).
_PKCS12_SCHEMES: Final = {
    "1.2.840.113549.1.12.1.1": _Form(16, 0, _rc4),
    "1.2.840.113549.1.12.1.2": _Form(5, 0, _rc4),
    "1.2.840.113549.1.12.1.3": _Form(24, 8, _des3),
    "1.2.840.113549.1.12.1.4": _Form(16, 8, _des3),
    "1.2.840.113549.1.12.1.5": _Form(16, 8, _rc2(128)),
    "1.2.840.113549.1.12.1.6": _Form(5, 8, _rc2(40)),
}
#: Key and initial value out of PBKDF1 (RFC 8018, 6.1).
_PBES1_SCHEMES: Final = {
    "1.2.840.113549.1.5.3": ("md5", _Form(8, 8, _des)),
    "1.2.840.113549.1.5.6": ("md5", _Form(8, 8, _rc2(64))),
    "1.2.840.113549.1.5.10": ("sha1", _Form(8, 8, _des)),
    "1.2.840.113549.1.5.11": ("sha1", _Form(8, 8, _rc2(64))),
}
#: Ciphers of encrypted PEM headers, by the names OpenSSL writes.
_PEM_CIPHERS: Final = {
    "AES-128-CBC": _Form(16, 16, _aes),
    "AES-192-CBC": _Form(24, 16, _aes),
    "AES-256-CBC": _Form(32, 16, _aes),
    "SM4-CBC": _Form(16, 16, _sm4),
    "DES-EDE3-CBC": _Form(24, 8, _des3),
    "DES-CBC": _Form(8, 8, _des),
}


def decrypt(algorithm: Node, ciphertext: bytes, passphrase: str, budget: Budget) -> bytes:
    """Decrypt what an AlgorithmIdentifier says how to.

    A wrong passphrase is noticed by the padding only: in one of 256 cases the result is noise.

    Args:
        algorithm: AlgorithmIdentifier of PBES1, PBES2 or a PKCS #12 scheme.
        ciphertext: what was encrypted.
        passphrase: as the user typed it.
        budget: what may still be spent.

    Raises:
        Unprocessable: `PassphraseIncorrect`, `IterationsExceeded`, or `FormatUnsupported`.
        BerError: the parameters cannot be read.
    """
    oid = algorithm.child(0).oid()
    if oid == PBES2:
        return _pbes2(algorithm.child(1), ciphertext, passphrase, budget)
    if oid in _PKCS12_SCHEMES:
        form = _PKCS12_SCHEMES[oid]
        # SHA-1 gives 20 octets a run; the key takes one or two, the initial value one.
        times = (-(-form.key // 20) + bool(form.block)) * len(pkcs12_secrets(passphrase))
        salt, count = _salt_and_count(algorithm, budget, times)
        return _pkcs12_decrypt(form, ciphertext, passphrase, salt, count)
    if oid in _PBES1_SCHEMES:
        digest, form = _PBES1_SCHEMES[oid]
        salt, count = _salt_and_count(algorithm, budget)
        derived = _encoded(passphrase) + salt
        for _ in range(count):
            derived = hashlib.new(digest, derived, usedforsecurity=False).digest()
        return _opened(form, derived[:8], derived[8:16], ciphertext)
    raise _unsupported(f"the scheme {oid}")


def _salt_and_count(algorithm: Node, budget: Budget, times: int = 1) -> tuple[bytes, int]:
    parameters = algorithm.child(1, der.SEQUENCE)
    count = parameters.child(1).integer()
    budget.spend(count, times)
    return parameters.child(0, der.OCTET_STRING).octets(), count


def _opened(form: _Form, key: bytes, iv: bytes, data: bytes) -> bytes:
    """Decrypt and take the padding off (RFC 8018, 6.1.1). Raises: Unprocessable: `PassphraseIncorrect`."""
    if form.block == 0:
        return form.decrypt(key, iv, data)
    if len(iv) != form.block or len(key) != form.key or not data or len(data) % form.block:
        raise BerError("the encrypted data, its key or initial value has a wrong length")
    try:
        plain = form.decrypt(key, iv, data)
    except ValueError:
        # A key that the cipher forbids, such as triple DES with equal parts.
        raise incorrect() from None
    padding = plain[-1]
    if not 1 <= padding <= form.block or plain[-padding:] != bytes((padding,)) * padding:
        raise incorrect()
    return plain[:-padding]


def _pkcs12_decrypt(form: _Form, ciphertext: bytes, passphrase: str, salt: bytes, count: int) -> bytes:
    """Decrypt; an empty passphrase is written in two ways, and both are tried (RFC 7292, B.1, is silent)."""
    for secret in pkcs12_secrets(passphrase):
        key = pkcs12_key("sha1", _ENCRYPTION, secret, salt, count, length=form.key)
        iv = pkcs12_key("sha1", _IV, secret, salt, count, length=form.block)
        with suppress(Unprocessable):
            return _opened(form, key, iv, ciphertext)
    raise incorrect()


def pkcs12_secrets(passphrase: str) -> tuple[bytes, ...]:
    """The forms in which PKCS #12 takes a passphrase (RFC 7292, B.1). Raises: Unprocessable."""
    try:
        secret = passphrase.encode("utf-16-be") + b"\0\0"
    except UnicodeEncodeError:
        raise incorrect() from None
    return (secret,) if passphrase else (secret, b"")


def pkcs12_key(digest: str, purpose: int, secret: bytes, salt: bytes, count: int, *, length: int) -> bytes:
    """Derive `length` octets by the method of PKCS #12 (RFC 7292, B.2). The cost is the caller's business."""
    # The constructor itself takes half the time of hashlib.new.
    hashed = getattr(hashlib, digest)
    block = hashed().block_size
    modulus = 1 << 8 * block
    state = [*_blocks(salt, block), *_blocks(secret, block)]
    derived = b""
    while len(derived) < length:
        part = bytes((purpose,)) * block + b"".join(number.to_bytes(block, "big") for number in state)
        for _ in range(count):
            part = hashed(part).digest()
        derived += part
        step = int.from_bytes(next(_repeated(part, block)), "big") + 1
        state = [(number + step) % modulus for number in state]
    return derived[:length]


def _blocks(text: bytes, size: int) -> list[int]:
    """`text` repeated to the next multiple of `size` octets, as numbers of that size."""
    count = -(-len(text) // size)
    return [int.from_bytes(piece, "big") for piece in islice(_repeated(text, size), count)]


def _repeated(text: bytes, size: int) -> Iterator[bytes]:
    """Pieces of `size` octets out of endless copies of `text`."""
    pool = text * (-(-size // len(text)) + 1) if text else b""
    position = 0
    while True:
        yield pool[position : position + size]
        position = (position + size) % len(text)


def digest_name(algorithm: Node) -> str:
    """Name of the hash in a digest AlgorithmIdentifier. Raises: Unprocessable, BerError."""
    oid = algorithm.child(0).oid()
    if oid not in _DIGESTS:
        raise _unsupported(f"the hash {oid}")
    return _DIGESTS[oid]


def hmac_hash(algorithm: Node) -> hashes.HashAlgorithm:
    """The hash in an HMAC AlgorithmIdentifier. Raises: Unprocessable, BerError."""
    oid = algorithm.child(0).oid()
    if oid not in _HMACS:
        raise _unsupported(f"the pseudo-random function {oid}")
    return _HMACS[oid]


def _pbes2(parameters: Node, ciphertext: bytes, passphrase: str, budget: Budget) -> bytes:
    """PBES2 (RFC 8018, 6.2)."""
    scheme = parameters.child(1, der.SEQUENCE)
    oid = scheme.child(0).oid()
    if oid == _RC2_CBC:
        form, iv = _rc2_of_pbes2(scheme.child(1, der.SEQUENCE))
    elif oid in _CIPHERS:
        form, iv = _CIPHERS[oid], scheme.child(1, der.OCTET_STRING).octets()
    else:
        raise _unsupported(f"the cipher {oid}")
    key = derive(parameters.child(0, der.SEQUENCE), passphrase, form.key, budget)
    return _opened(form if oid != _RC2_CBC else replace(form, key=len(key)), key, iv, ciphertext)


def _rc2_of_pbes2(parameters: Node) -> tuple[_Form, bytes]:
    """RC2-CBC-Parameter: the version hides the effective key bits (RFC 8018, B.2.3)."""
    version, bits = parameters.tagged(der.INTEGER), 32
    if version is not None:
        number = version.integer()
        bits = {160: 40, 120: 64, 58: 128}.get(number, number)
    if not 40 <= bits <= 1024:
        raise _unsupported(f"RC2 of {bits} bits")
    iv = parameters.tagged(der.OCTET_STRING)
    return _Form(min(bits // 8, 16), 8, _rc2(bits)), b"" if iv is None else iv.octets()


def derive(algorithm: Node, passphrase: str, length: int, budget: Budget) -> bytes:
    """A key by PBKDF2 or scrypt.

    Args:
        algorithm: the key derivation's AlgorithmIdentifier.
        passphrase: as the user typed it.
        length: of the key in octets, unless the parameters say another.
        budget: what may still be spent.

    Raises:
        Unprocessable: `PassphraseIncorrect`, `IterationsExceeded`, `FormatUnsupported`. BerError.
    """
    oid, parameters = algorithm.child(0).oid(), algorithm.child(1, der.SEQUENCE)
    if oid == _SCRYPT:
        return _scrypt(parameters, passphrase, length, budget)
    if oid != PBKDF2:
        raise _unsupported(f"the key derivation {oid}")
    salt, count = parameters.child(0, der.OCTET_STRING).octets(), parameters.child(1).integer()
    prf = parameters.tagged(der.SEQUENCE)
    algorithm_of_prf = hashes.SHA1() if prf is None else hmac_hash(prf)  # noqa: S303 - the default of RFC 8018, A.2
    length = _key_length(parameters.children[2:], length)
    budget.spend(count, -(-length // algorithm_of_prf.digest_size))
    return PBKDF2HMAC(algorithm_of_prf, length, salt, count).derive(_encoded(passphrase))


def _key_length(parameters: Iterable[Node], usual: int) -> int:
    """The key length that the parameters state, or the usual one."""
    stated = next((n.integer() for n in parameters if n.tag == der.INTEGER), usual)
    if not 1 <= stated <= MAX_KEY_OCTETS:
        raise BerError("the key length is out of bounds")
    return stated


def _scrypt(parameters: Node, passphrase: str, length: int, budget: Budget) -> bytes:
    """scrypt-params: salt, N, r, p, and perhaps the key length (RFC 7914, 7)."""
    salt = parameters.child(0, der.OCTET_STRING).octets()
    cost, block_size, parallel = (parameters.child(i).integer() for i in (1, 2, 3))
    if min(cost, block_size, parallel) < 1 or 128 * cost * block_size > MAX_SCRYPT_OCTETS:
        raise Unprocessable(
            "IterationsExceeded",
            f"The file asks for scrypt with N = {cost} and r = {block_size}; at most "
            f"{MAX_SCRYPT_OCTETS >> 20} MiB of memory are spent on one.",
        )
    budget.spend(cost * block_size * parallel)
    length = _key_length(parameters.children[4:], length)
    try:
        return Scrypt(salt, length, cost, block_size, parallel).derive(_encoded(passphrase))
    except ValueError:
        raise BerError("the parameters of scrypt do not fit each other") from None


def _encoded(passphrase: str) -> bytes:
    """The passphrase in UTF-8. Raises: Unprocessable: it holds half of a surrogate pair, so no file has it."""
    try:
        return passphrase.encode("utf-8")
    except UnicodeEncodeError:
        raise incorrect() from None


def decrypt_pkcs8(content: bytes, passphrase: str, budget: Budget) -> bytes:
    """The PKCS #8 key inside an EncryptedPrivateKeyInfo (RFC 5958, 3).

    Raises:
        Unprocessable: `PassphraseIncorrect`, `IterationsExceeded`, `FormatUnsupported`. BerError.
    """
    outer = ber.read(content).expect(der.SEQUENCE)
    algorithm, data = outer.child(0, der.SEQUENCE), outer.child(1, der.OCTET_STRING).octets()
    plain = decrypt(algorithm, data, passphrase, budget)
    if der.kind(plain) is not der.Kind.PKCS8:
        raise incorrect()
    return plain


def encrypt_pkcs8(content: bytes, passphrase: str) -> bytes:
    """An EncryptedPrivateKeyInfo: PBES2 with PBKDF2 (HMAC-SHA-256) and AES-256-CBC, which every OpenSSL reads.

    Args:
        content: PKCS #8 of a key of any algorithm.
        passphrase: not empty.

    Raises:
        Unprocessable: `PassphraseIncorrect`, it holds half of a surrogate pair.
    """
    salt, iv = secrets.token_bytes(16), secrets.token_bytes(16)
    key = PBKDF2HMAC(hashes.SHA256(), 32, salt, WRITTEN_ITERATIONS).derive(_encoded(passphrase))
    padding = 16 - len(content) % 16
    worker = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    data = worker.update(content + bytes((padding,)) * padding) + worker.finalize()
    prf = _sequence(ber.encode_oid(_HMAC_SHA256), der.encode(0x05))
    iterations = ber.encode_integer(WRITTEN_ITERATIONS)
    derivation = _sequence(ber.encode_oid(PBKDF2), _sequence(_octets(salt), iterations, prf))
    cipher = _sequence(ber.encode_oid(_AES_256_CBC), _octets(iv))
    return _sequence(_sequence(ber.encode_oid(PBES2), _sequence(derivation, cipher)), _octets(data))


def _sequence(*parts: bytes) -> bytes:
    return der.encode(der.SEQUENCE, *parts)


def _octets(content: bytes) -> bytes:
    return der.encode(der.OCTET_STRING, content)


def decrypt_pem(dek_info: str, content: bytes, passphrase: str) -> bytes:
    """The key of a PEM block with ``Proc-Type: 4,ENCRYPTED`` (RFC 1421, 4.6.1.3), as OpenSSL derives its key.

    Args:
        dek_info: value of the header ``DEK-Info``: cipher, comma, initial value in hex.
        content: of the block.
        passphrase: as the user typed it.

    Raises:
        Unprocessable: `PassphraseIncorrect`, `FormatUnsupported`. BerError.
    """
    name, _, hexadecimal = dek_info.partition(",")
    form = _PEM_CIPHERS.get(name.strip().upper())
    if form is None:
        raise _unsupported("a cipher of old PEM files other than AES, SM4 and DES")
    try:
        iv = binascii.unhexlify(hexadecimal.strip())
    except ValueError:
        raise BerError("the initial value in DEK-Info is not hexadecimal") from None
    secret, key, step = _encoded(passphrase), b"", b""
    while len(key) < form.key:
        step = hashlib.md5(step + secret + iv[:8], usedforsecurity=False).digest()
        key += step
    plain = _opened(form, key[: form.key], iv, content)
    if der.kind(plain) is None:
        raise incorrect()
    return plain
