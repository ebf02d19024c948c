"""Cursors of lists: where a page ended, bound to the account and question it was made for."""

from __future__ import annotations

import base64
import binascii
import hashlib

from chalicelib.domain.errors import InvalidRequest

_MARK = 12
#: Longest position that a list of our own has: an expiry with an id. It bounds what reaches a key of a table.
_MAX_POSITION = 100


def _mark(scope: str) -> bytes:
    return hashlib.sha256(scope.encode()).digest()[:_MARK]


def encode_cursor(scope: str, position: str) -> str:
    """The cursor for going on after `position` in the list that `scope` names (account and filter)."""
    return base64.urlsafe_b64encode(_mark(scope) + position.encode()).decode().rstrip("=")


def decode_cursor(scope: str, cursor: str | None, *, longest: int = _MAX_POSITION) -> str | None:
    """The position in a cursor; the account is never taken from it.

    Args:
        scope: names the list.
        cursor: as it was sent; ``None`` for the beginning.
        longest: most characters that a position of this list has; more than usual where another cloud names it.

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
    sound = position.isascii() and position.isprintable() and 0 < len(position) <= longest
    if raw[:_MARK] != _mark(scope) or not sound:
        raise InvalidRequest("InvalidCursor", "The cursor does not belong to this list.")
    return position
