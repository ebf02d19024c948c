"""Finding PEM blocks (RFC 7468) in what people paste, mending what loses nothing, and naming what is damaged.

Every marker is accounted for: a block is read, or there is a `Problem` for it. The work is linear in the length
of the text: every expression is bounded, and no part is read more often than a fixed number of times.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

from chalicelib.domain import der
from chalicelib.domain.der import Kind
from chalicelib.domain.looks import LABELS

#: More blocks than any chain, key and leftovers have.
MAX_BLOCKS: Final = 64
#: How much of a marker's label is read.
MAX_LABEL: Final = 40


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


@dataclass(frozen=True, slots=True)
class Block:
    """One sound block.

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
    der: bytes = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    line: int = 1
    number: int = 1
    original_label: str = ""
    kind: Kind | None = None

    @property
    def is_private_key(self) -> bool:
        """Whether the label is that of a private key, in whatever form."""
        return self.label.endswith("PRIVATE KEY")

    @property
    def where(self) -> str:
        """How a message names the block."""
        return _where(self.number, self.line, self.original_label, self.label)


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


#: Labels in use, and what each is called here.
_CANONICAL_LABELS: Final = {
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
_RENAMED_WITHOUT_A_WORD: Final = frozenset({"NEW CERTIFICATE REQUEST", "PKCS #7 SIGNED DATA"})
_BY_LETTERS: Final = {label.replace(" ", ""): label for label in _CANONICAL_LABELS}
_LONGEST_FIRST: Final = sorted(_CANONICAL_LABELS, key=len, reverse=True)
#: Labels whose content is one DER value of a known length, unless it is encrypted.
_DER_LABELS: Final = frozenset({*LABELS.values(), "SM2 PRIVATE KEY"} - {"PKCS7", "PKCS12"})

#: How an OpenSSH key that no passphrase protects begins: magic, then the cipher's name (PROTOCOL.key).
OPENSSH_PLAIN: Final = b"openssh-key-v1\0\0\0\0\x04none"

_EC_LABELS: Final = frozenset({"EC PRIVATE KEY", "SM2 PRIVATE KEY"})

_DASHES: Final = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_BLANKS: Final = " \t\u00a0"
_MAX_DASHES: Final = 32
#: BEGIN or END in any case, three times as quick as with IGNORECASE; what else it finds is sorted out after.
_WORD: Final = re.compile("[BEbe](?:[Ee][Gg][Ii][Nn]|[Nn][Dd])")
_BEGIN: Final = re.compile("[Bb][Ee][Gg][Ii][Nn]")
_LABEL: Final = re.compile(
    rf"([{_BLANKS}]{{0,4}})([A-Za-z0-9#./{_BLANKS}]{{0,{MAX_LABEL}}}?)([{_BLANKS}]{{0,4}})([{_DASHES}]{{1,{_MAX_DASHES}}})"
)
_LABEL_REACH: Final = MAX_LABEL + _MAX_DASHES + 8

_INVISIBLE: Final = (
    "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad\u180e\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_TRANSLATION: Final = {
    **{ord(c): None for c in _INVISIBLE},
    **dict.fromkeys([0x2028, 0x2029, 0x85], "\n"),
    **dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " "),
}
_LINE_END: Final = re.compile(r"\r\r?\n|\r")
_HTML_BREAK: Final = re.compile(r"<br ?/?>\n?", re.IGNORECASE)
_HTML_ESCAPE: Final = re.compile(
    r"&(?:#0{0,4}([0-9]{1,3})|#[xX]0{0,4}([0-9A-Fa-f]{1,2})|(plus|equals|sol|nbsp|hyphen|dash|quot|apos|amp|gt|lt|NewLine|Tab));"
)
_HTML_NAMES: Final = dict(
    zip(
        ("plus", "equals", "sol", "nbsp", "hyphen", "dash", "quot", "apos", "amp", "gt", "lt", "NewLine", "Tab"),
        "+=/ --\"'&><\n\t",
        strict=True,
    )
)
_URL_ESCAPE: Final = re.compile(r"%([0-7][0-9A-Fa-f])")
_FORM_MARKER: Final = re.compile(r"(?:BEGIN|END)\+[A-Z0-9+]{1,40}(?:-|%2[Dd])")
_ESCAPED_BREAK: Final = re.compile(r"\\{1,4}(?:r\\{1,4}n|n|r)")
_ESCAPED_CHARACTER: Final = re.compile(r"\\{1,4}(?:[uU]00|x)([2-7][0-9A-Fa-f])|\\{1,4}([/\"'=+-])|\\{1,4}t")

#: A block as openssl writes it.
_SOUND: Final = re.compile(
    r"-----BEGIN (CERTIFICATE|(?:RSA |EC )?PRIVATE KEY)-----\n"
    r"((?:[A-Za-z0-9+/]{64}\n)*(?:[A-Za-z0-9+/]{4}){0,15}(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)\n)"
    r"-----END \1-----\n"
)
_CANONICAL_BODY: Final = re.compile(r"\n(?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{1,64}={0,2}\n")
_BAD: Final = re.compile(r"[^A-Za-z0-9+/= \t]")
_CONCATENATION: Final = re.compile(r"[\"'`][ \t]{0,8}[+.&][ \t]{0,8}$")
_AROUND: Final = " \t\"'`,;\\\u2018\u2019\u201c\u201d"
_KNOWN_HEADER: Final = re.compile(
    r"[\s>\"']{0,32}(?:(Proc-Type)\s{0,8}:\s{0,8}([0-9]\s?,\s?[A-Z-]{1,20})"
    r"|(DEK-Info)\s{0,8}:\s{0,8}([A-Za-z0-9-]{1,40}\s?,\s?[0-9A-Fa-f]{1,64}))"
)
_HEADER: Final = re.compile(r"[\s>\"']{0,32}([A-Za-z][A-Za-z-]{0,63})[ \t]{0,8}:[ \t]([^\n]{0,1000})(?=\n)")
_MAX_HEADERS: Final = 16
_WIDEST: Final = 76
#: A line that can only be the start of a certificate or key whose markers were lost.
_STRAY: Final = re.compile(r"^[ \t>\"']{0,8}MI[A-Za-z0-9+/]{46}", re.MULTILINE)

#: A text that breaks off inside the word BEGIN of one more block.
_HALF_MARKER: Final = re.compile(r"-{4,6}B(?:E|EG|EGI)?$")

_COPY: Final = "Copy the file again, whole: from -----BEGIN … to the last dash of -----END …."
_FIVE: Final = "Every marker has exactly five dashes before and five after its words: -----BEGIN CERTIFICATE-----."


def scan(text: str) -> Scan:
    """Every PEM block of `text` in order, what was repaired, and every block that is damaged."""
    if sound := _scan_sound(text):
        return sound
    mended, repairs = _mend(text)
    return _Scanner(mended, repairs).scan()


def _scan_sound(text: str) -> Scan | None:
    """The quick way for what openssl writes: sound blocks and nothing else. ``None`` sends the text the long way."""
    blocks: list[Block] = []
    position, line = 0, 1
    while position < len(text) and len(blocks) < MAX_BLOCKS:
        found = _SOUND.match(text, position)
        if found is None:
            return None
        label = found[1]
        content = binascii.a2b_base64(found[2])
        outer = der.element(content)
        if outer is None or outer.tag != der.SEQUENCE or outer.end != len(content):
            return None
        is_v3 = content[4:6] == b"\x30\x82" and content[8:10] == b"\xa0\x03"
        kind = Kind.CERTIFICATE if is_v3 else der.kind(content)
        if kind is None or LABELS[kind] != label:
            return None
        blocks.append(Block(label, content, (), line, len(blocks) + 1, label, kind))
        position = found.end()
        line += found[0].count("\n")
    return Scan(tuple(blocks), (), (), 2 * len(blocks)) if position == len(text) and blocks else None


# --- damage that is the same all over the text -------------------------------------------------------------------


def _mend(text: str) -> tuple[str, dict[Repair, None]]:
    """`text` with what happens to whole texts undone: encodings, line ends, escapes."""
    repairs: dict[Repair, None] = {}
    if "\0" in text:
        repairs[Repair.UTF16 if 3 * text.count("\0") > len(text) else Repair.INVISIBLE] = None
        text = text.replace("\0", "")
    if not text.isascii():
        if text.startswith(("\ufeff", "\xff\xfe", "\xfe\xff", "\xef\xbb\xbf")):
            repairs[Repair.BYTE_ORDER_MARK] = None
            text = text.lstrip("\ufeff\xff\xfe\xef\xbb\xbf")
        visible = text.translate(_TRANSLATION)
        if visible != text:
            repairs[Repair.INVISIBLE] = None
            text = visible
    if "\r" in text:
        repairs[Repair.LINE_ENDINGS] = None
        text = _LINE_END.sub("\n", text)
    if "\\" in text or "&" in text or "%" in text or "<" in text:
        text = _unescape(text, repairs)
    return text, repairs


def _unescape(text: str, repairs: dict[Repair, None]) -> str:
    """Undo escapes from the first marker on; none of their signs can stand in PEM itself."""
    first = _BEGIN.search(text)
    if first is None:
        return text
    # The dashes before the word may be escaped too, but not the line before.
    reach = max(0, first.start() - _MAX_DASHES)
    start = max(reach, text.rfind("\n", reach, first.start()) + 1)
    head, tail = text[:start], text[start:]
    for repair, undo in (
        (Repair.HTML, _unescape_html),
        (Repair.URL, _unescape_url),
        (Repair.ESCAPES, _unescape_backslashes),
    ):
        undone = undo(tail)
        if undone != tail:
            repairs[repair] = None
            tail = undone
    return head + tail


def _unescape_html(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        decimal, hexadecimal, name = found.groups()
        if name:
            return _HTML_NAMES[name]
        code = int(decimal) if decimal else int(hexadecimal, 16)
        return chr(code) if code < 0x80 else found[0]

    if "<" in text:
        text = _HTML_BREAK.sub("\n", text)
    return _HTML_ESCAPE.sub(character, text) if "&" in text else text


def _unescape_url(text: str) -> str:
    if "%" not in text or not _URL_ESCAPE.search(text):
        return text
    if _FORM_MARKER.search(text):
        # In a form, a plus sign is a space; real ones are written %2B.
        text = text.replace("+", " ")
    return _LINE_END.sub("\n", _URL_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text))


def _unescape_backslashes(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        return chr(int(found[1], 16)) if found[1] else found[2] or " "

    if "\\" not in text:
        return text
    return _ESCAPED_CHARACTER.sub(character, _ESCAPED_BREAK.sub("\n", text))


# --- markers -----------------------------------------------------------------------------------------------------


class _Marker(NamedTuple):
    """Something that is, or was meant as, a BEGIN or END marker.

    `label` is canonical, `written` as it stands but for case and spaces; both are empty when unreadable.
    `lead` and `trail` count the dashes; `plain` is whether it stands as RFC 7468 writes it.
    """

    opens: bool
    label: str
    written: str
    start: int
    end: int
    line: int
    lead: int
    trail: int
    plain: bool
    fancy: bool
    joined: bool = False

    @property
    def clear(self) -> bool:
        """Whether there is no doubt what it means."""
        fewest = 1 if self.fancy else 4
        return bool(self.label) and all(fewest <= dashes <= 6 for dashes in (self.lead, self.trail))

    @property
    def words(self) -> str:
        """How a message quotes the marker."""
        return f"{'BEGIN' if self.opens else 'END'} {_quoted(self.written)}"


def _markers(text: str) -> list[_Marker]:
    found: list[_Marker] = []
    line, counted = 1, 0
    for word in _WORD.finditer(text):
        marker = _marker_at(text, word)
        if marker is None:
            continue
        line += text.count("\n", counted, marker.start)
        counted = marker.start
        found.append(marker._replace(line=line))
        if len(found) > 2 * MAX_BLOCKS + 1:
            break
    return _parted(found)


def _back(text: str, position: int, characters: str, most: int) -> int:
    """Where a run of `characters` before `position` starts, looking back at most so far."""
    start = position
    while start > 0 and position - start < most and text[start - 1] in characters:
        start -= 1
    return start


def _marker_at(text: str, word: re.Match[str]) -> _Marker | None:
    left = _back(text, word.start(), _BLANKS, 3)
    start = _back(text, left, _DASHES, _MAX_DASHES)
    lead = left - start
    at_line_start = start == 0 or text[start - 1] == "\n"
    if (lead == 0 and not at_line_start) or word[0].upper() not in {"BEGIN", "END"}:
        return None
    rest = text[word.end() : word.end() + _LABEL_REACH]
    written, trail, plain, length = _label_in(rest)
    known = written in _CANONICAL_LABELS
    tight = left == word.start()
    if not known and not (lead >= 4 and tight and word[0].isupper() and (rest[:1] in _BLANKS or trail)):
        return None
    if lead < 4 and not (word[0].isupper() and plain and (trail or at_line_start)):
        # Prose has dashes too: "front-end certificate".
        return None
    dashes = text[start:left] + rest[length - trail : length]
    return _Marker(
        opens=word[0].upper() == "BEGIN",
        label=_CANONICAL_LABELS.get(written, written),
        written=written,
        start=start,
        end=word.end() + length,
        line=0,
        lead=lead,
        trail=trail,
        plain=plain and tight and word[0].isupper() and lead == trail == 5 and dashes.isascii(),
        fancy=not dashes.isascii(),
    )


def _label_in(rest: str) -> tuple[str, int, bool, int]:
    """The label at the start of `rest`: as written, dashes after it, whether spelt plainly, and its length."""
    if found := _LABEL.match(rest):
        before, raw, after, dashes = found.groups()
        written = " ".join(raw.upper().split())
        if written not in _CANONICAL_LABELS:
            written = _BY_LETTERS.get(written.replace(" ", ""), written)
            if written and not before and written not in _CANONICAL_LABELS:
                return "", 0, False, 0
        return written, len(dashes), before == " " and raw == written and not after, found.end()
    # No dashes follow: only a known label tells where it ends, and nothing else of the text may be quoted.
    trimmed = rest.lstrip(_BLANKS)
    upper = trimmed.upper()
    for label in _LONGEST_FIRST:
        if upper.startswith(label) and not upper[len(label) : len(label) + 1].isalnum():
            return label, 0, trimmed.startswith(label), len(rest) - len(trimmed) + len(label)
    return "", 0, False, 0


def _parted(markers: list[_Marker]) -> list[_Marker]:
    """Share out the dashes between markers that run together."""
    for index, (one, other) in enumerate(pairwise(markers)):
        if other.start < one.end and (4 <= other.lead <= 12):
            markers[index] = one._replace(trail=5, joined=True)
            markers[index + 1] = other._replace(lead=5, joined=True)
    return markers


# --- bodies ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Body:
    """The base64 between two markers, with what was mended and where the first bad character stands."""

    data: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    repairs: dict[Repair, None] = field(default_factory=dict)
    bad_at: int | None = None
    raw: str = ""


def _read_body(text: str, start: int, end: int) -> _Body:
    raw = text[start:end]
    if _CANONICAL_BODY.fullmatch(raw):
        return _Body(raw.replace("\n", ""))
    headers, length = _read_headers(raw) if ":" in raw else ((), 0)
    body = _Body(headers=headers, raw=raw[length:])
    position = start + length
    lines: list[str] = []
    blank = one_line = False
    for index, line in enumerate(body.raw.split("\n")):
        content = _strip_line(line, body.repairs)
        if not content:
            blank = bool(lines) and not line.strip()
        else:
            if blank:
                body.repairs[Repair.BLANK_LINES] = None
                blank = False
            if body.bad_at is None and (bad := _BAD.search(content)):
                body.bad_at = position + line.index(content) + bad.start()
            pieces = content.split()
            one_line |= len(pieces) > 1 or index == length == 0
            lines.append("".join(pieces))
        position += len(line) + 1
    body.data = "".join(lines)
    if one_line:
        body.repairs[Repair.ONE_LINE] = None
    elif lines:
        _judge_widths([len(line) for line in lines], body.repairs)
    return body


def _read_headers(raw: str) -> tuple[tuple[tuple[str, str], ...], int]:
    """PEM headers (RFC 1421, 4.4) at the start of a body, and how far they reach."""
    headers: list[tuple[str, str]] = []
    position = 0
    while len(headers) < _MAX_HEADERS:
        if found := _KNOWN_HEADER.match(raw, position):
            name, value = (found[1], found[2]) if found[1] else (found[3], found[4])
            headers.append((name, "".join(value.split())))
        elif found := _HEADER.match(raw, position):
            headers.append((found[1], found[2].strip()))
        else:
            break
        position = found.end()
    return tuple(headers), position


def _strip_line(line: str, repairs: dict[Repair, None]) -> str:
    """A line of base64 without indentation, mail quoting and string quotes."""
    content = line.strip(" \t")
    if content != line:
        repairs[Repair.INDENTATION] = None
    if content.startswith(">"):
        content = content.lstrip("> \t")
        repairs[Repair.MAIL_QUOTING] = None
    if content and (content[0] in _AROUND or content[-1] in _AROUND or content[-1] in "+.&"):
        bare = _CONCATENATION.sub("", content).strip(_AROUND)
        if bare != content:
            repairs[Repair.QUOTES] = None
            content = bare
    return content


def _judge_widths(widths: list[int], repairs: dict[Repair, None]) -> None:
    if len(widths) == 1 and widths[0] > _WIDEST:
        repairs[Repair.ONE_LINE] = None
    elif widths[0] > _WIDEST or any(w != widths[0] for w in widths[:-1]) or widths[-1] > widths[0]:
        repairs[Repair.LINE_WIDTH] = None


class _DamageError(Exception):
    """A body cannot be decoded; holds the fault and what to say after the block's name."""

    def __init__(self, fault: Fault, what: str, hint: str = _COPY) -> None:
        super().__init__(fault)
        self.fault = fault
        self.what = what
        self.hint = hint


def _decode(data: str) -> tuple[bytes, bool]:
    """The bytes of base64 without spaces, and whether its padding was right."""
    bare = data.rstrip("=")
    if not bare:
        raise _DamageError(Fault.EMPTY, "has nothing between its markers")
    if "=" in bare:
        raise _DamageError(
            Fault.BAD_CHARACTER,
            "has base64 padding (=) in its middle: two blocks may have run into one",
        )
    if len(bare) % 4 == 1:
        raise _DamageError(
            Fault.BAD_LENGTH, f"has {len(bare)} base64 characters, which cannot be whole: it was cut off"
        )
    padded = bare + "=" * (-len(bare) % 4)
    return binascii.a2b_base64(padded), padded == data


def _fit(content: bytes, label: str, repairs: dict[Repair, None]) -> bytes:
    """Hold the length that DER says of itself against the length that is there.

    Returns:
        `content`, without the trust settings that follow in a TRUSTED CERTIFICATE.
    """
    outer = der.element(content)
    if outer is None or outer.end is None or outer.tag != der.SEQUENCE:
        raise _DamageError(Fault.NOT_DER, f"does not hold a {label}, but something else in base64")
    if outer.end > len(content):
        raise _DamageError(
            Fault.TRUNCATED,
            f"is not whole: it should hold {outer.end} bytes, and holds {len(content)}",
        )
    if outer.end == len(content):
        return content
    if label != "TRUSTED CERTIFICATE":
        raise _DamageError(
            Fault.TRAILING_DATA,
            f"has {len(content) - outer.end} bytes more than the {outer.end} that belong to it",
        )
    repairs[Repair.TRUST] = None
    return content[: outer.end]


def _is_open_to_content(label: str) -> bool:
    """Whether a block of this label is called by what it holds: DER labels, and those nobody knows."""
    return label in _DER_LABELS or label not in _CANONICAL_LABELS.values()


# --- blocks ------------------------------------------------------------------------------------------------------


def _quoted(*labels: str) -> str:
    """The first label that is in use. Others are not quoted: they may be text of a key that lost its line break."""
    return next((label for label in labels if label in _CANONICAL_LABELS), "unknown label")


def _where(number: int, line: int, *labels: str) -> str:
    return f"Block {number} ({_quoted(*labels)}, line {line})"


class _Scanner:
    """One pass over the markers of a mended text."""

    def __init__(self, text: str, repairs: dict[Repair, None]) -> None:
        self._text = text
        self._repairs = repairs
        self._blocks: list[Block] = []
        self._problems: list[Problem] = []
        self._number = 0
        self._done = 0

    def scan(self) -> Scan:
        markers = _markers(self._text)
        opened: _Marker | None = None
        left_over = False
        for marker in markers:
            if self._number >= MAX_BLOCKS:
                left_over = True
                break
            if marker.opens:
                if opened:
                    self._unended(opened)
                else:
                    self._outside(marker.start)
                opened = marker
            elif opened:
                self._block(opened, marker)
                opened = None
            else:
                self._unbegun(marker)
            self._done = marker.end
        if left_over or (opened and self._number >= MAX_BLOCKS):
            self._too_many(markers[-1].line)
        elif opened:
            self._unended(opened)
        elif markers:
            self._outside(len(self._text))
            if not self._text.endswith("\n"):
                self._repairs[Repair.FINAL_NEWLINE] = None
        return Scan(tuple(self._blocks), tuple(self._problems), tuple(self._repairs), len(markers))

    def _block(self, begin: _Marker, end: _Marker) -> None:
        self._number += 1
        damaged = next((m for m in (begin, end) if not m.clear), None)
        if damaged:
            self._damaged_marker(damaged, begin)
            return
        if begin.label != end.label:
            self._problem(
                Fault.LABELS_DIFFER,
                begin,
                f"begins as “{begin.words}” and ends as “{end.words}” on line {end.line}",
                "One END and one BEGIN line may be missing between them. " + _COPY,
            )
            return
        body = _read_body(self._text, begin.end, max(begin.end, end.start))
        try:
            self._blocks.append(self._decoded(begin, body))
        except _DamageError as damage:
            self._problem(damage.fault, begin, damage.what, damage.hint)
            return
        self._repairs.update(body.repairs)
        for marker in (begin, end):
            if marker.joined:
                self._repairs[Repair.JOINED] = None
            elif not marker.plain:
                self._repairs[Repair.MARKER] = None

    def _decoded(self, begin: _Marker, body: _Body) -> Block:
        if body.bad_at is not None:
            line = begin.line + self._text.count("\n", begin.start, body.bad_at)
            column = body.bad_at - self._text.rfind("\n", 0, body.bad_at)
            raise _DamageError(Fault.BAD_CHARACTER, f"has a character that is not base64: line {line}, column {column}")
        encrypted = any(name.upper() == "PROC-TYPE" and "ENCRYPTED" in value for name, value in body.headers)
        checked = _is_open_to_content(begin.label) and not encrypted
        try:
            content, padded = _decode(body.data)
            if begin.label not in _DER_LABELS and der.kind(content) is None:
                checked = False
            if checked:
                content = _fit(content, begin.written, body.repairs)
        except _DamageError:
            recovered = _with_plus_signs(body) if checked else None
            if recovered is None:
                raise
            content, padded = recovered, True
            body.repairs = {Repair.PLUS_SIGNS: None}
        if not padded:
            if not checked or der.kind(content) is None:
                raise _DamageError(Fault.BAD_LENGTH, "has base64 that was cut off, or lacks its padding (=)")
            body.repairs[Repair.PADDING] = None
        if begin.label == "OPENSSH PRIVATE KEY" and content.startswith(OPENSSH_PLAIN):
            body.repairs[Repair.OPENSSH] = None
        block = Block(begin.label, content, body.headers, begin.line, self._number, begin.written, kind=None)
        return block if encrypted else self._named(block, body.repairs)

    @staticmethod
    def _named(block: Block, repairs: dict[Repair, None]) -> Block:
        """The block under the label that its content calls for."""
        kind = der.kind(block.der)
        label = block.label
        if kind and _is_open_to_content(label) and not (kind is Kind.EC_PRIVATE and label in _EC_LABELS):
            label = LABELS[kind]
        if label != block.original_label and block.original_label not in _RENAMED_WITHOUT_A_WORD:
            repairs[Repair.LABEL] = None
        return replace(block, label=label, kind=kind)

    def _outside(self, end: int) -> None:
        """Look at the text between blocks: ignored, unless it is a block without its markers."""
        gap = self._text[self._done : end]
        if not gap.strip():
            return
        self._repairs[Repair.SURROUNDING_TEXT] = None
        if stray := _STRAY.search(gap):
            hint = "Put its -----BEGIN … and -----END … lines back, or take it out."
            self._loose(Fault.STRAY_BASE64, stray.end(), "begins base64 that stands between no markers", hint)
        elif half := _HALF_MARKER.search(gap.rstrip()[-10:]):
            at = len(gap.rstrip()) - len(half[0])
            self._loose(Fault.BEGIN_WITHOUT_END, at, "breaks off inside a marker: the text was cut off", _COPY)

    def _loose(self, fault: Fault, offset: int, what: str, hint: str) -> None:
        """A problem with text `offset` characters after the last marker."""
        self._number += 1
        line = 1 + self._text.count("\n", 0, self._done + offset)
        self._problems.append(Problem(fault, self._number, line, "", f"Line {line} {what}.", hint))

    def _unended(self, begin: _Marker) -> None:
        self._number += 1
        if begin.clear:
            self._problem(Fault.BEGIN_WITHOUT_END, begin, "has no END line: the text was cut off", _COPY)
        else:
            self._damaged_marker(begin, begin)

    def _unbegun(self, end: _Marker) -> None:
        self._number += 1
        if not end.clear:
            self._damaged_marker(end, end)
            return
        self._problems.append(
            Problem(
                Fault.END_WITHOUT_BEGIN,
                self._number,
                end.line,
                end.label,
                f"Line {end.line} is “{end.words}”, and no BEGIN line stands before it.",
                _COPY,
            )
        )

    def _damaged_marker(self, marker: _Marker, begin: _Marker) -> None:
        what = (
            f"has {marker.lead} dashes before and {marker.trail} after its words"
            if marker.label
            else "has no label that can be read"
        )
        self._problems.append(
            Problem(
                Fault.MARKER_DAMAGED,
                self._number,
                marker.line,
                marker.label or begin.label,
                f"{_where(self._number, begin.line, begin.written)}: the marker “{marker.words}” on line "
                f"{marker.line} {what}.",
                _FIVE,
            )
        )

    def _problem(self, fault: Fault, begin: _Marker, what: str, hint: str) -> None:
        message = f"{_where(self._number, begin.line, begin.written)} {what}."
        self._problems.append(Problem(fault, self._number, begin.line, begin.label, message, hint))

    def _too_many(self, line: int) -> None:
        self._problems.append(
            Problem(
                Fault.TOO_MANY_BLOCKS,
                self._number,
                line,
                "",
                f"The text holds more than {MAX_BLOCKS} blocks.",
                "Send one certificate with its chain and key; a bundle of trusted roots is not a chain.",
            )
        )


def _with_plus_signs(body: _Body) -> bytes | None:
    """The content if every plus sign became a space, as when a form is decoded twice.

    None is left then, and the length and shape of the content must agree.
    """
    if " " not in body.raw or "+" in body.raw:
        return None
    try:
        content, padded = _decode(body.raw.replace(" ", "+").replace("\n", ""))
    except (_DamageError, binascii.Error):
        return None
    outer = der.element(content)
    fits = padded and outer is not None and outer.end == len(content) and der.kind(content) is not None
    return content if fits else None
