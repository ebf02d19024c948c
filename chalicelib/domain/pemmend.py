"""Damage that is the same all over a pasted text, undone: encodings, line ends, escapes."""

from __future__ import annotations

import re
from typing import Final

from chalicelib.domain.pemmarkers import MAX_DASHES
from chalicelib.domain.pemscan import Repair

_BEGIN: Final = re.compile("[Bb][Ee][Gg][Ii][Nn]")

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


def mend(text: str) -> tuple[str, dict[Repair, None]]:
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
    reach = max(0, first.start() - MAX_DASHES)
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
