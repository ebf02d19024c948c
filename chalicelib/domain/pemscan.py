"""PEM blocks (RFC 7468): what they are, and the quick way through a text that nothing is wrong with.

What people paste is seldom so; `pemtolerant` reads the rest, mends what loses nothing, and names what is damaged.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from chalicelib.domain import der
from chalicelib.domain.der import Kind

#: More blocks than any chain, key and leftovers have.
MAX_BLOCKS: Final = 64

#: The markers that a kind of DER goes between.
LABELS: Final = {
    Kind.CERTIFICATE: "CERTIFICATE",
    Kind.CSR: "CERTIFICATE REQUEST",
    Kind.CRL: "X509 CRL",
    Kind.PKCS8: "PRIVATE KEY",
    Kind.ENCRYPTED_PKCS8: "ENCRYPTED PRIVATE KEY",
    Kind.RSA_PRIVATE: "RSA PRIVATE KEY",
    Kind.EC_PRIVATE: "EC PRIVATE KEY",
    Kind.DSA_PRIVATE: "DSA PRIVATE KEY",
    Kind.PUBLIC_KEY: "PUBLIC KEY",
    Kind.RSA_PUBLIC: "RSA PUBLIC KEY",
    Kind.PKCS12: "PKCS12",
    Kind.PKCS7: "PKCS7",
}

#: Labels in use, and what each is called here.
CANONICAL_LABELS: Final = {
    **{label: label for label in LABELS.values()},
    "TRUSTED CERTIFICATE": "CERTIFICATE",
    "X509 CERTIFICATE": "CERTIFICATE",
    "X.509 CERTIFICATE": "CERTIFICATE",
    "NEW CERTIFICATE REQUEST": "CERTIFICATE REQUEST",
    "ANY PRIVATE KEY": "PRIVATE KEY",
    "PKCS #7 SIGNED DATA": "PKCS7",
    **{
        label: label
        for label in (
            "SM2 PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "SSH2 ENCRYPTED PRIVATE KEY",
            "SSH2 PUBLIC KEY",
            "EC PUBLIC KEY",
            "EC PARAMETERS",
            "SM2 PARAMETERS",
            "DH PARAMETERS",
            "X9.42 DH PARAMETERS",
            "DSA PARAMETERS",
            "ATTRIBUTE CERTIFICATE",
            "CERTIFICATE CHAIN",
            "CMS",
            "PGP PUBLIC KEY BLOCK",
            "PGP PRIVATE KEY BLOCK",
            "PGP MESSAGE",
            "PGP SIGNATURE",
        )
    },
}

#: How an OpenSSH key that no passphrase protects begins: magic, then the cipher's name (PROTOCOL.key).
OPENSSH_PLAIN: Final = b"openssh-key-v1\0\0\0\0\x04none"

#: The first line of a block as openssl writes it, for the labels that are most in use.
_SOUND: Final = re.compile(r"-----BEGIN (CERTIFICATE|(?:RSA |EC )?PRIVATE KEY)-----\n")
_WIDTH: Final = 64


class Repair(StrEnum):
    """Damage that was mended without loss; the value is how a message names it."""

    LINE_ENDINGS = "Windows or old Mac line endings"
    BYTE_ORDER_MARK = "a byte order mark"
    INDENTATION = "spaces around lines"
    SURROUNDING_TEXT = "text outside the blocks"
    FINAL_NEWLINE = "a missing final newline"
    UTF16 = "UTF-16 text read as single bytes"
    INVISIBLE = "invisible characters"
    ESCAPES = "backslash escapes such as \\n"
    HTML = "HTML escapes"
    URL = "URL escapes"
    QUOTES = "quotation marks around lines"
    MAIL_QUOTING = "the quoting marks of a mail (>)"
    BLANK_LINES = "blank lines inside a block"
    LINE_WIDTH = "lines of unusual width"
    ONE_LINE = "missing line breaks"
    JOINED = "markers run together"
    MARKER = "markers in an unusual spelling"
    LABEL = "labels that do not name their content as RFC 7468 does"
    TRUST = "trust settings of OpenSSL after the certificate, which were left out"
    PLUS_SIGNS = "plus signs that had become spaces"
    PADDING = "wrong base64 padding"
    OPENSSH = "a key in the format of OpenSSH"


#: Repairs that every other tool makes without a word.
TRIVIAL: Final = frozenset(
    {
        Repair.LINE_ENDINGS,
        Repair.BYTE_ORDER_MARK,
        Repair.INDENTATION,
        Repair.SURROUNDING_TEXT,
        Repair.FINAL_NEWLINE,
    }
)


class Fault(StrEnum):
    """What is wrong with a damaged block."""

    BEGIN_WITHOUT_END = "begin_without_end"
    END_WITHOUT_BEGIN = "end_without_begin"
    LABELS_DIFFER = "labels_differ"
    MARKER_DAMAGED = "marker_damaged"
    BAD_CHARACTER = "bad_character"
    BAD_LENGTH = "bad_length"
    EMPTY = "empty"
    NOT_DER = "not_der"
    TRUNCATED = "truncated"
    TRAILING_DATA = "trailing_data"
    STRAY_BASE64 = "stray_base64"
    TOO_MANY_BLOCKS = "too_many_blocks"


class Block(NamedTuple):
    """One sound block. Its repr does not show its content.

    Attributes:
        label: what it holds, by the name RFC 7468 has for that, in upper case.
        der: the decoded content.
        headers: PEM headers in order, such as ``Proc-Type`` and ``DEK-Info``.
        line: where its BEGIN marker stands, from 1.
        number: its place among all blocks of the text, damaged ones included, from 1.
        original_label: the label as it stood there.
        kind: what the content looks like; ``None`` when unknown, or hidden by encryption.
    """

    label: str
    der: bytes
    headers: tuple[tuple[str, str], ...] = ()
    line: int = 1
    number: int = 1
    original_label: str = ""
    kind: Kind | None = None

    def __repr__(self) -> str:
        return f"<Block {self.label}, {len(self.der)} bytes>"

    @property
    def is_private_key(self) -> bool:
        """Whether the label is that of a private key, in whatever form."""
        return self.label.endswith("PRIVATE KEY")

    @property
    def where(self) -> str:
        """How a message names the block."""
        return where(self.number, self.line, self.original_label, self.label)


@dataclass(frozen=True, slots=True)
class Problem:
    """One damaged block, told so that it can be mended. `label` is empty when it could not be read."""

    fault: Fault
    number: int
    line: int
    label: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Scan:
    """All that was found in a text. `markers` counts everything that looks like BEGIN or END."""

    blocks: tuple[Block, ...] = ()
    problems: tuple[Problem, ...] = ()
    repairs: tuple[Repair, ...] = ()
    markers: int = 0


def quoted(*labels: str) -> str:
    """The first label that is in use. Others are not quoted: they may be text of a key that lost its line break."""
    return next((label for label in labels if label in CANONICAL_LABELS), "unknown label")


def where(number: int, line: int, *labels: str) -> str:
    """How a message names a block."""
    return f"Block {number} ({quoted(*labels)}, line {line})"


def scan(text: str) -> Scan:
    """Every PEM block of `text` in order, what was repaired, and every block that is damaged."""
    if sound := _scan_sound(text):
        return sound
    from chalicelib.domain import pemtolerant  # 6 ms that sound texts need not wait for

    return pemtolerant.scan(text)


def _scan_sound(text: str) -> Scan | None:
    """The quick way for what openssl writes: sound blocks and nothing else. ``None`` sends the text the long way."""
    blocks: list[Block] = []
    position, line = 0, 1
    while position < len(text) and len(blocks) < MAX_BLOCKS:
        begin = _SOUND.match(text, position)
        if begin is None:
            return None
        label = begin[1]
        end_line = f"-----END {label}-----\n"
        end = text.find(end_line, begin.end())
        content = _sound_body(text[begin.end() : max(end, begin.end())])
        kind = None if content is None else _whole_kind(content)
        if content is None or kind is None or LABELS[kind] != label:
            return None
        blocks.append(Block(label, content, (), line, len(blocks) + 1, label, kind))
        line += 2 + text.count("\n", begin.end(), end)
        position = end + len(end_line)
    return Scan(tuple(blocks), (), (), 2 * len(blocks)) if position == len(text) and blocks else None


def _sound_body(body: str) -> bytes | None:
    """The content of base64 in lines of 64 characters, the last one perhaps shorter, and nothing else."""
    bare = body.replace("\n", "")
    line_ends = body[_WIDTH :: _WIDTH + 1]
    if not bare or len(body) - len(bare) != -(-len(bare) // _WIDTH) or body[-1] != "\n" or line_ends.strip("\n"):
        return None
    try:
        return binascii.a2b_base64(bare, strict_mode=True)
    except ValueError:  # not ASCII, or not base64
        return None


def _whole_kind(content: bytes) -> Kind | None:
    """What a DER value of exactly this length is."""
    outer = der.element(content)
    if outer is None or outer.tag != der.SEQUENCE or outer.end != len(content):
        return None
    is_v3 = content[4:6] == b"\x30\x82" and content[8:10] == b"\xa0\x03"
    return Kind.CERTIFICATE if is_v3 else der.kind(content)
