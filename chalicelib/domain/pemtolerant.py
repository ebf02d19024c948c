"""PEM blocks out of damaged text: mending what loses nothing, and naming what is lost.

Every marker is accounted for: a block is read, or there is a `Problem` for it. The work is linear in the length
of the text: every expression is bounded, and no part is read more often than a fixed number of times.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from typing import Final

from chalicelib.domain import der
from chalicelib.domain.der import Kind
from chalicelib.domain.pemmarkers import Marker, markers_in
from chalicelib.domain.pemmend import mend
from chalicelib.domain.pemscan import (
    CANONICAL_LABELS,
    LABELS,
    MAX_BLOCKS,
    OPENSSH_PLAIN,
    Block,
    Fault,
    Problem,
    Repair,
    Scan,
    where,
)

_RENAMED_WITHOUT_A_WORD: Final = frozenset({"NEW CERTIFICATE REQUEST", "PKCS #7 SIGNED DATA"})
#: Labels whose content is one DER value of a known length, unless it is encrypted.
_DER_LABELS: Final = frozenset({*LABELS.values(), "SM2 PRIVATE KEY"} - {"PKCS7", "PKCS12"})
_EC_LABELS: Final = frozenset({"EC PRIVATE KEY", "SM2 PRIVATE KEY"})

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
    mended, repairs = mend(text)
    return _Scanner(mended, repairs).scan()


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
    return label in _DER_LABELS or label not in CANONICAL_LABELS.values()


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
        markers = markers_in(self._text)
        opened: Marker | None = None
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

    def _block(self, begin: Marker, end: Marker) -> None:
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

    def _decoded(self, begin: Marker, body: _Body) -> Block:
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
        return block._replace(label=label, kind=kind)

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

    def _unended(self, begin: Marker) -> None:
        self._number += 1
        if begin.clear:
            self._problem(Fault.BEGIN_WITHOUT_END, begin, "has no END line: the text was cut off", _COPY)
        else:
            self._damaged_marker(begin, begin)

    def _unbegun(self, end: Marker) -> None:
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

    def _damaged_marker(self, marker: Marker, begin: Marker) -> None:
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
                f"{where(self._number, begin.line, begin.written)}: the marker “{marker.words}” on line "
                f"{marker.line} {what}.",
                _FIVE,
            )
        )

    def _problem(self, fault: Fault, begin: Marker, what: str, hint: str) -> None:
        message = f"{where(self._number, begin.line, begin.written)} {what}."
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
