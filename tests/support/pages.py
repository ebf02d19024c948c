"""Lists of the fakes, page by page."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from chalicelib.domain.errors import InvalidRequest
from chalicelib.domain.model import Page

T = TypeVar("T")


def page_of(
    ordered: Iterable[T],
    place: Callable[[T], str],
    scope: str,
    limit: int,
    cursor: str | None,
    *,
    newest_first: bool = False,
) -> Page[T]:
    """The next `limit` of `ordered` after the cursor, which is bound to its scope."""
    mark = hashlib.sha256(scope.encode(errors="surrogatepass")).hexdigest()[:16]
    if cursor is not None and not cursor.startswith(f"{mark}."):
        raise InvalidRequest("InvalidCursor", "The cursor does not belong to this list.")
    after = "" if cursor is None else cursor.removeprefix(f"{mark}.")
    rest = [x for x in ordered if not after or (place(x) < after if newest_first else place(x) > after)]
    more = f"{mark}.{place(rest[limit - 1])}" if len(rest) > limit else None
    return Page(tuple(rest[:limit]), more)
