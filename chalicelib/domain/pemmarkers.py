"""BEGIN and END markers, and what was meant as one: other dashes, missing spaces, two run together."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, NamedTuple

from chalicelib.domain.pemscan import CANONICAL_LABELS, MAX_BLOCKS, quoted

#: How much of a marker's label is read.
MAX_LABEL: Final = 40

_BY_LETTERS: Final = {label.replace(" ", ""): label for label in CANONICAL_LABELS}
_LONGEST_FIRST: Final = sorted(CANONICAL_LABELS, key=len, reverse=True)

_DASHES: Final = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_BLANKS: Final = " \t\u00a0"
MAX_DASHES: Final = 32
#: BEGIN or END in any case, three times as quick as with IGNORECASE; what else it finds is sorted out after.
_WORD: Final = re.compile("[BEbe](?:[Ee][Gg][Ii][Nn]|[Nn][Dd])")
_LABEL: Final = re.compile(
    rf"([{_BLANKS}]{{0,4}})([A-Za-z0-9#./{_BLANKS}]{{0,{MAX_LABEL}}}?)([{_BLANKS}]{{0,4}})([{_DASHES}]{{1,{MAX_DASHES}}})"
)
_LABEL_REACH: Final = MAX_LABEL + MAX_DASHES + 8


class Marker(NamedTuple):
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
        return f"{'BEGIN' if self.opens else 'END'} {quoted(self.written)}"


def markers_in(text: str) -> list[Marker]:
    """Every marker of a mended text in order; no more than twice the blocks that are taken, and one."""
    found: list[Marker] = []
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


def _marker_at(text: str, word: re.Match[str]) -> Marker | None:
    left = _back(text, word.start(), _BLANKS, 3)
    start = _back(text, left, _DASHES, MAX_DASHES)
    lead = left - start
    at_line_start = start == 0 or text[start - 1] == "\n"
    if (lead == 0 and not at_line_start) or word[0].upper() not in {"BEGIN", "END"}:
        return None
    rest = text[word.end() : word.end() + _LABEL_REACH]
    written, trail, plain, length = _label_in(rest)
    known = written in CANONICAL_LABELS
    tight = left == word.start()
    if not known and not (lead >= 4 and tight and word[0].isupper() and (rest[:1] in _BLANKS or trail)):
        return None
    if lead < 4 and not (word[0].isupper() and plain and (trail or at_line_start)):
        # Prose has dashes too: "front-end certificate".
        return None
    dashes = text[start:left] + rest[length - trail : length]
    return Marker(
        opens=word[0].upper() == "BEGIN",
        label=CANONICAL_LABELS.get(written, written),
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
        if written not in CANONICAL_LABELS:
            written = _BY_LETTERS.get(written.replace(" ", ""), written)
            if written and not before and written not in CANONICAL_LABELS:
                return "", 0, False, 0
        return written, len(dashes), before == " " and raw == written and not after, found.end()
    # No dashes follow: only a known label tells where it ends, and nothing else of the text may be quoted.
    trimmed = rest.lstrip(_BLANKS)
    upper = trimmed.upper()
    for label in _LONGEST_FIRST:
        if upper.startswith(label) and not upper[len(label) : len(label) + 1].isalnum():
            return label, 0, trimmed.startswith(label), len(rest) - len(trimmed) + len(label)
    return "", 0, False, 0


def _parted(markers: list[Marker]) -> list[Marker]:
    """Share out the dashes between markers that run together."""
    for index, (one, other) in enumerate(pairwise(markers)):
        if other.start < one.end and (4 <= other.lead <= 12):
            markers[index] = one._replace(trail=5, joined=True)
            markers[index + 1] = other._replace(lead=5, joined=True)
    return markers
