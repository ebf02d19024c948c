"""Java keystores (JKS, and JCEKS for reading), by way of pyjks, which reads and writes what keytool does.

The format seals with SHA-1 and hides keys with a scheme of Sun's own that is quickly tried: a JKS file is as
safe as the place it lies in. keytool itself has written PKCS #12 into ``.jks`` files since Java 9.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from chalicelib.domain import ber, der, pbe
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.errors import TooLarge, Unprocessable
from chalicelib.domain.keys import PrivateKey
from chalicelib.domain.pbe import Budget
from chalicelib.domain.pkcs12 import MAX_CERTIFICATES, Opened

MAGICS: Final = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")
#: An encrypted RSA key of 8192 bits has under 7,000 octets.
MAX_KEY_OCTETS: Final = 16_384
#: Sun's PBEWithMD5AndTripleDES, in JCEKS.
_JCE: Final = "1.3.6.1.4.1.42.2.19.1"


class JksError(ValueError):
    """The keystore is damaged. The text says where."""


def is_keystore(data: bytes) -> bool:
    """Whether `data` begins as a JKS or JCEKS file."""
    return data.startswith(MAGICS)


def read(data: bytes, passphrase: str, budget: Budget) -> Opened:
    """Open a keystore: the certificates of every alias, and every private key.

    Args:
        data: the file.
        passphrase: of the store, and of every key in it.
        budget: what may still be spent on derivations.

    Raises:
        Unprocessable: `PassphraseIncorrect`, `IterationsExceeded`, or `FormatUnsupported`, for secret keys.
        TooLarge: more entries than are taken. JksError: it is damaged.
    """
    store = _load(data, passphrase)
    opened = Opened()
    for entry in store.entries.values():
        if hasattr(entry, "cert_chain"):
            opened.expect_key()
            opened.add_key(_key_of(entry, passphrase, budget))
            chain = [content for _, content in entry.cert_chain]
        else:
            chain = [entry.cert]
        for content in chain:
            opened.add_certificate(content)
    return opened


def _load(data: bytes, passphrase: str) -> Any:  # noqa: ANN401 - pyjks has no types
    import jks  # 137 ms that only keystores need

    class Store(jks.KeyStore):  # type: ignore[misc]  # as above
        """Leaves out secret keys: they are serialised Java objects, which are not for opening."""

        @classmethod
        def _read_secret_key(cls, data: bytes, pos: int, store_type: str) -> None:
            del data, pos, store_type
            raise Unprocessable(
                "FormatUnsupported",
                "The keystore holds a secret (symmetric) key, which has no form in PEM.",
                "Delete the alias of the secret key with `keytool -delete` from a copy, and convert that.",
            )

    _bound_entries(data)
    try:
        return Store.loads(data, passphrase, try_decrypt_keys=False)
    except (jks.KeystoreSignatureException, UnicodeEncodeError):
        raise pbe.incorrect() from None
    except (jks.KeystoreException, ValueError, struct.error):
        raise JksError("the entries cannot be read") from None


def _bound_entries(data: bytes) -> None:
    if len(data) < 12:
        raise JksError("the file is cut off")
    (entries,) = struct.unpack_from(">L", data, 8)
    if entries > MAX_CERTIFICATES:
        raise TooLarge("RequestTooLarge", f"The keystore says that it has {entries} entries.")


def _key_of(entry: Any, passphrase: str, budget: Budget) -> bytes:  # noqa: ANN401 - pyjks has no types
    """PKCS #8 of a key entry, its cost bounded first."""
    import jks  # loaded already
    from pyasn1.error import PyAsn1Error  # as above

    encrypted: bytes = entry._encrypted  # noqa: SLF001 - pyjks decrypts without asking what it costs
    if len(encrypted) > MAX_KEY_OCTETS:
        raise JksError("a private key is longer than any supported one")
    try:
        algorithm = ber.read(encrypted).expect(der.SEQUENCE).child(0, der.SEQUENCE)
        if algorithm.child(0).oid() == _JCE:
            budget.spend(algorithm.child(1, der.SEQUENCE).child(1).integer(), 2)
            if not passphrase.isascii():
                # Java takes nothing else for this scheme, so the key was not written under it.
                raise pbe.incorrect()
        entry.decrypt(passphrase)
    except jks.DecryptionFailureException:
        raise Unprocessable(
            "PassphraseIncorrect",
            "The passphrase opens the keystore, and not the private key in it.",
            "Give the key the passphrase of the store with `keytool -keypasswd`, and convert again.",
        ) from None
    except (jks.KeystoreException, PyAsn1Error, ValueError, IndexError, TypeError) as error:
        raise JksError(f"a private key cannot be read ({type(error).__name__})") from None
    pkcs8: bytes = entry.pkey_pkcs8
    return pkcs8


def write(
    name: str, key: PrivateKey, leaf: ParsedCertificate, chain: Sequence[ParsedCertificate], passphrase: str
) -> bytes:
    """A JKS file with one key entry, its key under the passphrase of the store.

    Args:
        name: becomes the alias, in lower case.
        key: not SM2, which Java does not know.
        leaf: the certificate of the key.
        chain: its issuers, in order.
        passphrase: not empty; keytool asks for at least six characters when it changes the store.

    Raises:
        ValueError: the passphrase holds half of a surrogate pair.
    """
    import jks  # 137 ms that only keystores need

    entry = jks.PrivateKeyEntry.new(alias_of(name), [leaf.der, *(c.der for c in chain)], key.pkcs8)
    content: bytes = jks.KeyStore.new("jks", [entry]).saves(passphrase)
    return content


def alias_of(name: str) -> str:
    """The alias for a name: lower case, and no characters beyond U+FFFF, which Java writes in its own UTF-8."""
    return "".join(c if "\0" < c <= "\uffff" else "_" for c in name.lower())
