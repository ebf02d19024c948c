"""Looking for a key wherever it must not be."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric import rsa


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """All that comes to the root logger, down to the last detail: what a function's log would have of libraries."""
    root, stream = logging.getLogger(), io.StringIO()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def secret_numbers(key) -> list[int]:
    if isinstance(key, int):
        return [key]
    numbers = key.private_numbers()
    return [numbers.d, numbers.p, numbers.q] if isinstance(key, rsa.RSAPrivateKey) else [numbers.private_value]


def traces(number: int) -> list[bytes]:
    """A number as it could stand somewhere: octets, hex, decimal, and base64 at each of the three alignments."""
    octets = number.to_bytes((number.bit_length() + 7) // 8, "big")[:24]
    shifted = [base64.b64encode(bytes(shift) + octets)[4 if shift else 0 : -4] for shift in range(3)]
    return [octets, octets.hex().encode(), octets.hex().upper().encode(), str(number)[:30].encode(), *shifted]


def found(haystack: bytes, needles: list[bytes]) -> list[bytes]:
    return [needle for needle in needles if needle in haystack]


def plain(value) -> bytes:
    """An item or line with all that it holds, binary values as they are."""
    if isinstance(value, dict):
        return b"\n".join(plain(k) + b"=" + plain(v) for k, v in value.items())
    if isinstance(value, list | tuple | set):
        return b"\n".join(plain(v) for v in value)
    return value if isinstance(value, bytes) else str(value).encode()
