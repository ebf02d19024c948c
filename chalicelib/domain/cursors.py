"""Cursors of lists: where a page ended, bound to the account and question it was made for."""

from __future__ import annotations

import base64
import binascii
import hashlib

from chalicelib.domain.errors import InvalidRequest

_MARK = 12
#: Longest position that any list has: an expiry with an id.
_MAX_POSITION = 100


def _mark(scope: str) -> bytes:
    return hashlib.sha256(scope.encode()).digest()[:_MARK]


def encode_cursor(scope: str, position: str) -> str:
    """The cursor for going on after `position` in the list that `scope` names (account and filter)."""
    return base64.urlsafe_b64encode(_mark(scope) + position.encode()).decode().rstrip("=")


def decode_cursor(scope: str, cursor: str | None) -> str | None:
    """The position in a cursor; the account is never taken from it.

    Raises:
        InvalidRequest: `InvalidCursor`, it was not made for this list.
    """
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        position = raw[_MARK:].decode()
    except (binascii.Error, ValueError):
        raw, position = b"", ""
    sound = position.isascii() and position.isprintable() and 0 < len(position) <= _MAX_POSITION
    if raw[:_MARK] != _mark(scope) or not sound:
        raise InvalidRequest("InvalidCursor", "The cursor does not belong to this list.")
    return position
