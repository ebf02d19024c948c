"""The conversion tool: which formats become which, and how each is written. Nothing is kept.

======================  ==========================================
from                    to
======================  ==========================================
pem                     der, pfx, p12, jks, pkcs7, p7b, pkcs8
der                     pem
pfx, p12                pem, jks
jks                     pem, pfx, p12
pkcs7, p7b              pem
pkcs8                   pem, der
======================  ==========================================

``pkcs7`` is written as PEM text, ``p7b`` as DER; both are read in either form.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from chalicelib.domain import contents, jks, keys, looks, naming, pbe, pem, pkcs12
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.contents import Contents, incorrect
from chalicelib.domain.csr import ParsedCsr
from chalicelib.domain.errors import CertificateRefused, InvalidRequest, TooLarge, Unprocessable
from chalicelib.domain.findings import Finding, error
from chalicelib.domain.keys import PrivateKey
from chalicelib.domain.pem import Block

#: Largest file, in octets; a trust store of 150 CAs has 250,000.
MAX_OCTETS: Final = 512 * 1024
#: Base64 with line breaks takes 1.37 times that; UTF-8 text is never longer in characters.
MAX_CHARACTERS: Final = 740_000

#: Which conversions there are.
PAIRS: Final[Mapping[str, tuple[str, ...]]] = {
    "pem": ("der", "pfx", "p12", "jks", "pkcs7", "p7b", "pkcs8"),
    "der": ("pem",),
    "pfx": ("pem", "jks"),
    "p12": ("pem", "jks"),
    "jks": ("pem", "pfx", "p12"),
    "pkcs7": ("pem",),
    "p7b": ("pem",),
    "pkcs8": ("pem", "der"),
}
_TEXT_FORMATS: Final = frozenset({"pem", "pkcs7", "pkcs8"})
#: Formats that are nothing without a passphrase.
_SEALED: Final = frozenset({"pfx", "p12", "jks"})
_EXTENSIONS: Final = {"pkcs7": "p7b", "pkcs8": "key"}

_READERS: Final[Mapping[str, Callable[[bytes, str | None], Contents]]] = {
    "der": contents.read_der,
    "pfx": contents.read_pkcs12,
    "p12": contents.read_pkcs12,
    "jks": contents.read_jks,
    "pkcs7": contents.read_pkcs7,
    "p7b": contents.read_pkcs7,
    "pkcs8": contents.read_pkcs8,
}
_DATA_URL: Final = re.compile(r"data:[^,]{0,200};base64,")


@dataclass(frozen=True, slots=True, repr=False)
class Conversion:
    """A converted file. It may hold a private key: its repr shows none of it.

    Attributes:
        format: as asked for.
        content: the file.
        is_text: whether it is text (PEM), and not binary.
        file_name: what to save it as.
        contents: what is inside, one line each.
    """

    format: str
    content: bytes
    is_text: bool
    file_name: str
    contents: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Conversion {self.file_name}, {len(self.content)} bytes>"

    @property
    def output(self) -> str:
        """The file as JSON carries it: text as it is, binary in base64."""
        return self.content.decode("ascii") if self.is_text else base64.b64encode(self.content).decode("ascii")


@dataclass(frozen=True, slots=True, repr=False)
class Bundle:
    """A stored certificate with all that belongs to it, as PEM. Its repr shows no key.

    Attributes:
        certificate: the leaf.
        chain: its issuers, in order.
        private_key: PKCS #8, not encrypted; ``None`` when it is held elsewhere.
        encryption_certificate: the second certificate of an SM2 pair.
        encryption_private_key: its key.
    """

    certificate: str
    chain: tuple[str, ...] = ()
    private_key: bytes | None = None
    encryption_certificate: str | None = None
    encryption_private_key: bytes | None = None

    def __repr__(self) -> str:
        return f"<Bundle of {1 + len(self.chain)} certificates>"

    def pem(self) -> bytes:
        """The leaf, the chain, the key; for an SM2 pair then the encryption certificate and its key."""
        parts = (
            self.certificate.encode(),
            *(c.encode() for c in self.chain),
            self.private_key,
            self.encryption_certificate.encode() if self.encryption_certificate else None,
            self.encryption_private_key,
        )
        return b"".join(part if part.endswith(b"\n") else part + b"\n" for part in parts if part)


def to_pfx(bundle: Bundle, name: str, passphrase: str) -> bytes:
    """A bundle as PKCS #12, see `pkcs12.write`.

    Args:
        bundle: with its private key.
        name: friendly name of the certificate.
        passphrase: protects the file; not empty.

    Raises:
        Unprocessable: `FormatUnsupported`, for SM2; `PrivateKeyAbsent`.
        InvalidRequest: `PassphraseMissing`, it is empty, or no file can have it.
    """
    return _sealed("pfx", name, *_parts(bundle, "pfx"), passphrase)


def to_jks(bundle: Bundle, name: str, passphrase: str) -> bytes:
    """A bundle as a Java keystore, see `jks.write`. Arguments and errors: as `to_pfx`."""
    return _sealed("jks", name, *_parts(bundle, "jks"), passphrase)


def _parts(bundle: Bundle, target: str) -> tuple[PrivateKey, list[ParsedCertificate]]:
    if bundle.private_key is None:
        raise Unprocessable("PrivateKeyAbsent", f"A {target} file needs the private key, which is not held here.")
    key = keys.load(_only_block(bundle.private_key.decode("ascii")))
    if isinstance(key, Finding):
        raise CertificateRefused([key])
    certificates = [ParsedCertificate(_only_block(text).der) for text in (bundle.certificate, *bundle.chain)]
    return key, certificates


def _only_block(text: str) -> Block:
    (block,) = pem.scan(text).blocks
    return block


def _sealed(
    target: str, name: str, key: PrivateKey, certificates: Sequence[ParsedCertificate], passphrase: str | None
) -> bytes:
    """Write a key with its certificates, the leaf first, under a passphrase."""
    leaf, *chain = certificates
    if "SM2" in {key.kind, leaf.public_key.kind}:
        raise Unprocessable(
            "FormatUnsupported",
            f"An SM2 certificate cannot be written as {target}: PKCS #12 and Java keystores have no form for SM2 keys.",
            "Use the PEM format.",
        )
    if not passphrase:
        raise InvalidRequest(
            "PassphraseMissing",
            f"A {target} file is protected by a passphrase, and none was given, or an empty one.",
            "Send the passphrase for the new file as `output_passphrase`.",
        )
    write = jks.write if target == "jks" else pkcs12.write
    try:
        return write(name, key, leaf, chain, passphrase)
    except (ValueError, TypeError):
        raise InvalidRequest(
            "PassphraseMissing",
            f"The passphrase or the name holds characters that a {target} file cannot have.",
            "Choose a passphrase of letters, digits and punctuation.",
        ) from None


def convert(
    source: str, target: str, text: str, passphrase: str | None = None, output_passphrase: str | None = None
) -> Conversion:
    """Convert a file.

    Args:
        source: format of the input.
        target: format wanted.
        text: PEM text, or a binary file in base64 (plain or URL-safe, with or without line breaks and padding).
        passphrase: opens the input.
        output_passphrase: protects the output: the private keys of PEM and PKCS #8 if given, and always PFX, P12
            and JKS, for which `passphrase` is taken when this is absent.

    Raises:
        InvalidRequest: `FormatUnsupported`, there is no such conversion; `PassphraseMissing`.
        Unprocessable: `PassphraseIncorrect`, `IterationsExceeded`, `FormatUnsupported` (for what is inside),
            `ConversionInputIncorrect`, or a finding on a private key (`CertificateRefused`).
        TooLarge: `RequestTooLarge`.
    """
    if target not in PAIRS.get(source, ()):
        _refuse_pair(source, target)
    if output_passphrase == "":
        raise InvalidRequest("PassphraseMissing", "`output_passphrase` is empty.", "Leave it out, or choose one.")
    if len(text) > MAX_CHARACTERS:
        raise TooLarge("RequestTooLarge", f"The input has {len(text)} characters; at most {MAX_CHARACTERS} are taken.")
    if source == "pem":
        held = contents.read_pem(_pem_text(text), passphrase)
    else:
        held = _READERS[source](_binary(text, source), passphrase)
    if target in _SEALED and output_passphrase is None:
        output_passphrase = passphrase
    content, inside = _WRITERS[target](held, target, output_passphrase)
    return Conversion(target, content, target in _TEXT_FORMATS, _file_name(inside, target), inside.listing())


def _refuse_pair(source: str, target: str) -> NoReturn:
    offered = "; ".join(f"{one} to {', '.join(others)}" for one, others in PAIRS.items())
    raise InvalidRequest(
        "FormatUnsupported",
        f"There is no conversion from {source[:20]!r} to {target[:20]!r}.",
        f"There are: {offered}.",
    )


def _pem_text(text: str) -> str:
    """The text, taken out of one more layer of base64 if it is in one."""
    if "BEGIN" in text:
        return text
    data = _base64(text)
    return looks.decode(data) if data is not None and b"-BEGIN" in data[:4096] else text


def _binary(text: str, source: str) -> bytes:
    """The octets of a binary file: out of base64, or out of the one PEM block that holds it."""
    data = _from_block(text) if "-BEGIN" in text else _base64(text)
    if data is None:
        look = looks.looks_like(text)
        raise incorrect(
            f"The input is not base64 of a {source} file: it looks like {look.what}.", "Encode the file in base64."
        )
    if b"-----BEGIN" in data[:4096]:
        # The file itself is PEM, as .p7b, .p8 and .crt files often are.
        data = _from_block(looks.decode(data))
    if len(data) > MAX_OCTETS:
        raise TooLarge("RequestTooLarge", f"The file has {len(data)} bytes; at most {MAX_OCTETS} are taken.")
    return data


def _from_block(text: str) -> bytes:
    """The content of the only block, apart from EC parameters."""
    found = pem.scan(text)
    blocks = [b for b in found.blocks if not b.label.endswith("PARAMETERS")]
    if found.problems:
        raise incorrect(found.problems[0].message, found.problems[0].hint)
    if len(blocks) != 1 or blocks[0].headers:
        raise incorrect(
            f"The input is PEM text with {len(blocks)} blocks; one block without headers holds a binary file.",
            "Let `from` be `pem`.",
        )
    return blocks[0].der


def _base64(text: str) -> bytes | None:
    """The octets, or ``None`` when this is no base64."""
    start = _DATA_URL.match(text.lstrip())
    bare = "".join(text.lstrip()[start.end() :].split() if start else text.split())
    bare = bare.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True) if bare else None
    except ValueError:
        return None


def _write_pem(held: Contents, target: str, passphrase: str | None) -> tuple[bytes, Contents]:
    del target
    if not (held.certificates or held.keys or held.requests):
        raise incorrect("The input holds no certificate, private key or request.")
    parts = [pem.encode("CERTIFICATE", c.der) for c in held.certificates]
    parts += [_key_text(k, passphrase) for k in held.keys]
    parts += [pem.encode("CERTIFICATE REQUEST", r.der) for r in held.requests]
    return "".join(parts).encode("ascii"), held


def _key_text(key: PrivateKey, passphrase: str | None) -> str:
    if passphrase is None:
        return pem.encode("PRIVATE KEY", key.pkcs8)
    return pem.encode("ENCRYPTED PRIVATE KEY", pbe.encrypt_pkcs8(key.pkcs8, passphrase))


def _write_der(held: Contents, target: str, passphrase: str | None) -> tuple[bytes, Contents]:
    del target
    parts = [
        *(c.der for c in held.certificates),
        *(pbe.encrypt_pkcs8(k.pkcs8, passphrase) if passphrase else k.pkcs8 for k in held.keys),
        *(r.der for r in held.requests),
    ]
    if len(parts) != 1:
        raise incorrect(
            f"A DER file holds one object, and the input holds {len(parts)}: {', '.join(held.listing()) or 'nothing'}.",
            "Send one certificate, private key or request at a time, or convert to p7b or pfx.",
        )
    return parts[0], held


def _write_pkcs7(held: Contents, target: str, passphrase: str | None) -> tuple[bytes, Contents]:
    del passphrase
    if not held.certificates:
        raise incorrect("The input holds no certificate, and PKCS #7 is written for certificates only.")
    encoding = Encoding.PEM if target == "pkcs7" else Encoding.DER
    content = pkcs7.serialize_certificates([c.x509 for c in held.certificates], encoding)
    return content, Contents(certificates=held.certificates)


def _write_pkcs8(held: Contents, target: str, passphrase: str | None) -> tuple[bytes, Contents]:
    del target
    key = _only_key(held, "PKCS #8")
    return _key_text(key, passphrase).encode("ascii"), Contents(keys=(key,))


def _write_sealed(held: Contents, target: str, passphrase: str | None) -> tuple[bytes, Contents]:
    key = _only_key(held, target)
    leaf = held.leaf_of(key)
    if leaf is None or not keys.matches(key, leaf.public_key):
        if not held.certificates:
            raise incorrect(f"The input holds no certificate; a {target} file is written with key and certificate.")
        raise CertificateRefused(
            [
                error(
                    "KeyMismatch",
                    f"Certificate and private key do not match: the key ({key.label}) belongs to none of the "
                    f"{len(held.certificates)} certificates.",
                    "Check that the files of two domains were not mixed.",
                    "input",
                )
            ]
        )
    chain = held.issuers_of(leaf)
    content = _sealed(target, naming.suggested_name(leaf), key, (leaf, *chain), passphrase)
    return content, replace(held, certificates=(leaf, *chain), requests=())


def _only_key(held: Contents, target: str) -> PrivateKey:
    if len(held.keys) != 1:
        what = "no private key" if not held.keys else f"{len(held.keys)} private keys"
        raise incorrect(
            f"The input holds {what}; {target} is written with exactly one.",
            "Send the certificate, its chain and its private key together, one certificate at a time.",
        )
    return held.keys[0]


_WRITERS: Final[Mapping[str, Callable[[Contents, str, str | None], tuple[bytes, Contents]]]] = {
    "pem": _write_pem,
    "der": _write_der,
    "pfx": _write_sealed,
    "p12": _write_sealed,
    "jks": _write_sealed,
    "pkcs7": _write_pkcs7,
    "p7b": _write_pkcs7,
    "pkcs8": _write_pkcs8,
}


def _file_name(held: Contents, target: str) -> str:
    """Of the first certificate or request: ``example.com.pfx``."""
    holders: tuple[ParsedCertificate | ParsedCsr, ...] = (*held.certificates, *held.requests)
    named = next(iter(holders), None)
    stem = "private-key" if named is None else contents.name_of(named).replace("*", "wildcard")
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in stem)[:100].strip("._")
    return f"{safe or 'certificate'}.{_EXTENSIONS.get(target, target)}"
