"""What a DER encoding is, told from its outermost shape, without trusting any length in it (X.690).

Good for naming things to people and for bounds before a library loads them; it judges no content.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import Final, NamedTuple

SEQUENCE: Final = 0x30
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
CONTEXT_0: Final = 0xA0
CONTEXT_1: Final = 0xA1
TIMES: Final = (0x17, 0x18)

#: Lengths of more than four octets belong to nothing that the service takes.
_MAX_LENGTH_OCTETS: Final = 4
#: The outer elements that tell one kind from another.
_MAX_CHILDREN: Final = 10


class Kind(StrEnum):
    """What an encoding holds; the value is how a message calls it."""

    CERTIFICATE = "certificate"
    CSR = "certificate signing request (CSR)"
    CRL = "certificate revocation list (CRL)"
    PKCS8 = "private key (PKCS #8)"
    ENCRYPTED_PKCS8 = "encrypted private key (PKCS #8)"
    RSA_PRIVATE = "RSA private key (PKCS #1)"
    EC_PRIVATE = "EC private key (SEC 1)"
    DSA_PRIVATE = "DSA private key"
    PUBLIC_KEY = "public key"
    RSA_PUBLIC = "RSA public key (PKCS #1)"
    PKCS12 = "PKCS #12 (PFX, P12) file"
    PKCS7 = "PKCS #7 (P7B) file"


class Element(NamedTuple):
    """One element: its tag, where its content starts, and where it says that it ends.

    `end` may lie beyond the data when it was cut, and is ``None`` for the indefinite form of BER.
    """

    tag: int
    start: int
    end: int | None


_WHOLE_SHAPES: Final = {
    (INTEGER,) * 6: Kind.DSA_PRIVATE,
    (INTEGER,) * 2: Kind.RSA_PUBLIC,
    (INTEGER, SEQUENCE): Kind.PKCS12,
    (INTEGER, SEQUENCE, SEQUENCE): Kind.PKCS12,
    (SEQUENCE, BIT_STRING): Kind.PUBLIC_KEY,
    (SEQUENCE, OCTET_STRING): Kind.ENCRYPTED_PKCS8,
}


def element(data: bytes, offset: int = 0) -> Element | None:
    """The element whose header stands at `offset`; ``None`` when there is no readable header."""
    if len(data) < offset + 2 or data[offset] & 0x1F == 0x1F:
        return None
    tag, first = data[offset], data[offset + 1]
    start = offset + 2
    if first < 0x80:
        return Element(tag, start, start + first)
    octets = first & 0x7F
    if octets == 0:
        return Element(tag, start, None)
    if octets > _MAX_LENGTH_OCTETS or len(data) < start + octets:
        return None
    length = int.from_bytes(data[start : start + octets], "big")
    return Element(tag, start + octets, start + octets + length)


def children(data: bytes, outer: Element) -> Iterator[Element]:
    """The elements inside `outer`, as far as they can be read; an indefinite one ends the walk."""
    offset: int | None = outer.start
    limit = len(data) if outer.end is None else min(outer.end, len(data))
    while offset is not None and offset < limit:
        inner = element(data, offset)
        if inner is None:
            return
        yield inner
        offset = inner.end


def kind(data: bytes) -> Kind | None:
    """What `data` holds, or ``None`` when its shape is none of the known ones."""
    outer = element(data)
    if outer is None or outer.tag != SEQUENCE:
        return None
    parts = list(islice(children(data, outer), _MAX_CHILDREN))
    tags = [part.tag for part in parts]
    if tags == [SEQUENCE, SEQUENCE, BIT_STRING]:
        return _signed_kind(data, parts[0])
    if tags[:1] == [OBJECT_IDENTIFIER]:
        return Kind.PKCS7 if _is_pkcs7(data, parts[0]) and tags[1:] in ([], [CONTEXT_0]) else None
    return _kind_of_shape(tags)


def _kind_of_shape(tags: list[int]) -> Kind | None:
    """The kinds that their tags alone tell apart (RFC 5958, 5915, 8017, 7292, 5280)."""
    if tags[:3] == [INTEGER, SEQUENCE, OCTET_STRING]:
        return Kind.PKCS8
    if tags[:2] == [INTEGER, OCTET_STRING] and set(tags[2:]) <= {CONTEXT_0, CONTEXT_1}:
        return Kind.EC_PRIVATE
    if tags[:9] == [INTEGER] * 9:
        return Kind.RSA_PRIVATE
    return _WHOLE_SHAPES.get(tuple(tags))


def _signed_kind(data: bytes, signed: Element) -> Kind | None:
    """Certificate, CSR or CRL, from the first elements of the signed part (RFC 5280, 4.1, 5.1; RFC 2986, 4)."""
    tags = [part.tag for part in islice(children(data, signed), 5)]
    if tags[:1] == [CONTEXT_0]:
        return Kind.CERTIFICATE
    if tags[:4] == [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE]:
        return Kind.CERTIFICATE
    unversioned = tags[1:] if tags[:1] == [INTEGER] else tags
    if unversioned[:2] == [SEQUENCE, SEQUENCE] and unversioned[2:3] and unversioned[2] in TIMES:
        return Kind.CRL
    return Kind.CSR if tags[:3] == [INTEGER, SEQUENCE, SEQUENCE] else None


def _is_pkcs7(data: bytes, oid: Element) -> bool:
    """Whether the content type is one of PKCS #7's own (1.2.840.113549.1.7.*)."""
    return data[oid.start : oid.end].startswith(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07")


def encode(tag: int, *parts: bytes) -> bytes:
    """One element holding `parts` in order."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
