"""Reading BER (X.690) into a tree, within bounds: containers come in the indefinite form that DER forbids.

Only what PKCS #7, PKCS #8 and PKCS #12 need. Nothing is trusted: lengths, depth and the number of elements are
checked before anything is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat import asn1

from chalicelib.domain import der

#: Deeper than any container; Python's own recursion ends at 1,000.
MAX_DEPTH: Final = 32
#: More elements than any container of certificates within the size limits has.
MAX_ELEMENTS: Final = 50_000
#: Longest integer read as a number: counts and sizes, not keys.
MAX_INTEGER_OCTETS: Final = 8

_CONSTRUCTED: Final = 0x20
_OCTET_STRINGS: Final = frozenset({der.OCTET_STRING, der.OCTET_STRING | _CONSTRUCTED})


class BerError(ValueError):
    """The data is not the BER that was expected."""


@dataclass(frozen=True, slots=True, repr=False)
class Node:
    """One element. Its repr shows no content.

    Attributes:
        tag: identifier octet.
        content: the content octets as they stand, for a primitive or definite element.
        children: the elements inside a constructed one.
        raw: the whole element, as it stood; with definite lengths if it came in the indefinite form.
    """

    tag: int
    content: bytes
    children: tuple[Node, ...]
    raw: bytes

    def __repr__(self) -> str:
        return f"<Node {self.tag:#04x}, {len(self.content)} bytes>"

    def child(self, index: int, tag: int | None = None) -> Node:
        """One of the children. Raises: BerError: there is none there, or it has another tag."""
        if index >= len(self.children):
            raise BerError(f"element {index} is missing")
        found = self.children[index]
        return found if tag is None else found.expect(tag)

    def tagged(self, tag: int) -> Node | None:
        """The first child with this tag."""
        return next((c for c in self.children if c.tag == tag), None)

    def expect(self, tag: int) -> Node:
        """This element, if it has the tag. Raises: BerError."""
        if self.tag != tag:
            raise BerError(f"element with tag {self.tag:#04x} where {tag:#04x} is wanted")
        return self

    def oid(self) -> str:
        """The value of an OBJECT IDENTIFIER, dotted. Raises: BerError."""
        self.expect(der.OBJECT_IDENTIFIER)
        try:
            return asn1.decode_der(x509.ObjectIdentifier, self.raw).dotted_string
        except ValueError:
            raise BerError("an object identifier cannot be read") from None

    def integer(self) -> int:
        """The value of a small INTEGER. Raises: BerError, also for one that is longer than counts are."""
        self.expect(der.INTEGER)
        if not 0 < len(self.content) <= MAX_INTEGER_OCTETS:
            raise BerError("a number is empty or too long")
        return int.from_bytes(self.content, "big", signed=True)

    def octets(self) -> bytes:
        """The value of an OCTET STRING, or of an implicitly tagged one, put together from its pieces.

        Raises: BerError.
        """
        if not self.tag & _CONSTRUCTED:
            return self.content
        if any(c.tag not in _OCTET_STRINGS for c in self.children):
            raise BerError("a piece of an octet string is something else")
        return b"".join(c.octets() for c in self.children)


def read(data: bytes) -> Node:
    """The one element that `data` is. Raises: BerError, also for anything after it."""
    node, end = read_first(data)
    if end != len(data):
        raise BerError("there is more data after the end")
    return node


def read_first(data: bytes) -> tuple[Node, int]:
    """The element at the start of `data`, and where it ends. Raises: BerError."""
    remaining = MAX_ELEMENTS

    def take() -> None:
        nonlocal remaining
        remaining -= 1
        if remaining < 0:
            raise BerError(f"more than {MAX_ELEMENTS} elements")

    return _read(data, 0, len(data), take, 0)


def _read(data: bytes, offset: int, limit: int, take: Callable[[], None], depth: int) -> tuple[Node, int]:
    take()
    header = der.element(data, offset)
    if header is None or header.start > limit or depth > MAX_DEPTH:
        raise BerError("an element has no readable header, or lies too deep")
    if header.end is None:
        return _read_indefinite(data, header, limit, take, depth)
    if header.end > limit:
        raise BerError("an element is cut off")
    content = data[header.start : header.end]
    children = []
    if header.tag & _CONSTRUCTED:
        position = header.start
        while position < header.end:
            child, position = _read(data, position, header.end, take, depth + 1)
            children.append(child)
    return Node(header.tag, content, tuple(children), data[offset : header.end]), header.end


def _read_indefinite(
    data: bytes, header: der.Element, limit: int, take: Callable[[], None], depth: int
) -> tuple[Node, int]:
    """An element that ends with two zero octets (X.690, 8.1.5)."""
    if not header.tag & _CONSTRUCTED:
        raise BerError("a primitive element has no length")
    children, position = [], header.start
    while data[position : position + 2] != b"\0\0":
        child, position = _read(data, position, limit, take, depth + 1)
        children.append(child)
    if position + 2 > limit:
        raise BerError("an element is cut off")
    content = b"".join(c.raw for c in children)
    return Node(header.tag, content, tuple(children), der.encode(header.tag, content)), position + 2


def encode_oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER in DER."""
    return asn1.encode_der(x509.ObjectIdentifier(dotted))


def encode_integer(value: int) -> bytes:
    """An INTEGER in DER."""
    return asn1.encode_der(value)
