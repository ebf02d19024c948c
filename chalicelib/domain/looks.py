"""What data that is not PEM looks like, and what to do with it: the answers to what people really send."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Final

from chalicelib.domain import der
from chalicelib.domain.pemscan import LABELS

#: Where files of other formats are turned into PEM.
_CONVERT: Final = "Convert it with POST /v1/conversions (`from`: `{}`, `to`: `pem`), then send the PEM text."
_AGAIN: Final = "Open the file in a text editor and copy it whole, from -----BEGIN … to -----END …."
_EXPORT: Final = "Export it as PEM (also called Base64 or X.509 text), and send that text."

#: First bytes of files that are not text, with what they are and what helps.
_MAGICS: Final = (
    (b"\xfe\xed\xfe\xed", "a Java keystore (JKS)", _CONVERT.format("jks")),
    (
        b"\xce\xce\xce\xce",
        "a Java keystore (JCEKS)",
        "Turn it into PKCS #12 with `keytool -importkeystore -deststoretype pkcs12`; "
        + _CONVERT.format("pfx").replace("Convert it", "convert that"),
    ),
    (b"PK\x03\x04", "a ZIP archive", "Unpack it, and send the PEM files inside."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it, and send the PEM files inside."),
    (b"Rar!", "a RAR archive", "Unpack it, and send the PEM files inside."),
    (b"%PDF", "a PDF document", _EXPORT),
)

#: What helps with each kind of DER.
_DER_HINTS: Final = {
    der.Kind.PKCS12: _CONVERT.format("pfx"),
    der.Kind.PKCS7: _CONVERT.format("pkcs7"),
    der.Kind.CSR: "Send the certificate that the CA issued for this request.",
}
_SPACE: Final = re.compile(r"\s+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x19\x1b-\x1f\x7f]")
_PATH: Final = re.compile(
    r"(?:~?/|\.{1,2}/|[A-Za-z]:[\\/]|\\\\|file://)[^\n]{1,400}|[^\s/\\]{1,120}\.(?:pem|crt|cer|key|pfx|p12|jks|p7b|der)"
)
_OPENSSH_PUBLIC: Final = re.compile(r"(?:ssh-(?:rsa|dss|ed25519|ed448)\S{0,40}|ecdsa-sha2-\S{1,40}|sk-\S{1,60}) AAAA")
_HTML: Final = re.compile(r"<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Look:
    """What some data looks like: a noun phrase for a message (``a PKCS #12 (PFX, P12) file``), and a hint.

    `kind` is set when the data is DER, bare or in base64.
    """

    what: str
    hint: str
    kind: der.Kind | None = None


EMPTY: Final = Look("nothing at all", "Send the PEM text.")
UNKNOWN: Final = Look("text without PEM markers", _AGAIN)


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, UTF-16 with or without a byte order mark, else Latin-1.

    Never fails: a binary file becomes Latin-1, in which `looks_like` knows it again, byte for byte.

    Returns:
        the text, without a byte order mark.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decoded(data, "utf-16")
    if b"\0" in data and _look_at_bytes(data) is None:
        # The letters of PEM in UTF-16 have a zero for one of their two bytes.
        odd, even = data[1::2].count(0), data[0::2].count(0)
        if 5 * max(odd, even) > len(data):
            return _decoded(data, "utf-16-le" if odd > even else "utf-16-be")
    return _decoded(data, "utf-8-sig")


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("latin-1")


def looks_like(data: str | bytes) -> Look:
    """What `data`, in which there is no PEM, looks like. Never quotes it."""
    if isinstance(data, bytes):
        return _look_at_bytes(data) or looks_like(decode(data))
    text = data.strip().strip("-\ufeff\"'` \t\r\n\0")
    if not text:
        return EMPTY
    return _look_at_binary_text(data) or _look_at_text(text) or _look_at_base64(text) or UNKNOWN


def _look_at_bytes(data: bytes) -> Look | None:
    for magic, what, hint in _MAGICS:
        if data.startswith(magic):
            return Look(what, hint)
    kind = der.kind(data)
    if kind is None:
        return None
    article = "an" if kind.value.startswith(("R", "E", "en")) else "a"
    return Look(f"{article} {kind.value} in binary (DER) form", _DER_HINTS.get(kind, _CONVERT.format("der")), kind)


def _look_at_binary_text(text: str) -> Look | None:
    """Bytes that somebody read as text: whole in Latin-1, or mangled on the way."""
    if not _CONTROL.search(text) and "\ufffd" not in text:
        return None
    try:
        look = _look_at_bytes(text.encode("latin-1"))
    except UnicodeEncodeError:
        look = None
    return look or Look("a binary file that was read as text", _EXPORT)


def _look_at_text(text: str) -> Look | None:
    if text.startswith("PuTTY-User-Key-File"):
        return Look(
            "a PuTTY key (.ppk)",
            "A key for logging in is seldom a certificate's key. If this one is, convert it with "
            "`puttygen key.ppk -O private-openssh -o key.pem`.",
        )
    if _OPENSSH_PUBLIC.match(text):
        return Look("an OpenSSH public key", "Send the PEM files of the certificate and of its private key instead.")
    if _HTML.match(text):
        return Look("a web page", "The download answered with a page, not with the file: sign in and fetch again.")
    if "\n" not in text and _PATH.fullmatch(text):
        return Look("the name of a file", "Send what is in the file, not its name.")
    return None


def _look_at_base64(text: str) -> Look | None:
    joined = _SPACE.sub("", text)
    if not _BASE64.fullmatch(joined):
        return None
    bare = joined.rstrip("=")
    try:
        data = binascii.a2b_base64(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        return Look("base64 without markers, cut off at its end", _AGAIN)
    if b"-----BEGIN" in data[:4096]:
        return Look(
            "PEM text encoded in base64 once more (as in a Kubernetes secret)",
            "Decode it once, for example with `base64 -d`, and send the result.",
        )
    look = _look_at_bytes(data)
    if look is None:
        return Look("base64 without markers", _AGAIN)
    if look.kind is None or look.kind in _DER_HINTS:
        return Look(f"{look.what.removesuffix(' in binary (DER) form')} in base64", look.hint, look.kind)
    label = LABELS[look.kind]
    return Look(
        f"{look.what.removesuffix(' in binary (DER) form')} in base64 without its markers",
        f"Put the line -----BEGIN {label}----- before it and -----END {label}----- after it.",
        look.kind,
    )
