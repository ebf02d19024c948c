"""Answers remembered for a day, so that a repeated write is answered and not repeated."""

from __future__ import annotations

import secrets
import zlib
from datetime import datetime, timedelta
from typing import Final

from pynamodb.exceptions import PutError
from pynamodb.expressions.update import Action

from chalicelib.domain.errors import Conflict
from chalicelib.ports import Remembered
from chalicelib.store.tables import IdempotencyRow, may_be_outdated, read

REMEMBERED_FOR: Final = timedelta(hours=24)
#: A claim older than this belongs to a function that has died: API functions end after 30 s.
ABANDONED_AFTER: Final = timedelta(minutes=2)
#: Answers that are longer when compressed are not remembered whole; DynamoDB's items end at 400 KB.
MAX_BODY: Final = 390_000


class DynamoIdempotencyStore:
    """Implements `chalicelib.ports.IdempotencyStore`."""

    def begin(self, key: str, request_digest: str, now: datetime) -> Remembered | None:
        """Claim a key: 1 write unit; when it is claimed, 1 read unit for each 4 KB of the answer too."""
        owner = secrets.token_hex(8)
        row = IdempotencyRow(
            key, owner=owner, request_digest=request_digest, claimed_at=now, expires_at=now + REMEMBERED_FOR
        )
        free = IdempotencyRow.claim.does_not_exist() | (IdempotencyRow.expires_at <= now)
        dead = IdempotencyRow.status.does_not_exist() & (IdempotencyRow.claimed_at < now - ABANDONED_AFTER)
        try:
            row.save(free | dead)
        except PutError as error:
            if error.cause_response_code != "ConditionalCheckFailedException":
                raise
        else:
            return None
        held = read(IdempotencyRow, key)
        if held is None:
            raise _in_progress()
        if held.owner == owner:
            return None  # our own claim, in a try whose answer was lost
        if held.request_digest != request_digest:
            raise Conflict("IdempotencyKeyReused", "This Idempotency-Key was used for another request.")
        if held.status is None:
            raise _in_progress()
        return Remembered(int(held.status), zlib.decompress(held.body) if held.body else None)

    def finish(self, key: str, answer: Remembered, now: datetime) -> None:
        """Remember the answer, compressed: 1 write unit for each begun KB."""
        body = None if answer.body is None else zlib.compress(answer.body)
        actions: list[Action] = [
            IdempotencyRow.status.set(answer.status),
            IdempotencyRow.expires_at.set(now + REMEMBERED_FOR),
        ]
        if body is not None and len(body) <= MAX_BODY:
            actions.append(IdempotencyRow.body.set(body))
        # A claim that was given back in the meantime stays so: the repeat is carried out anew.
        with may_be_outdated():
            IdempotencyRow(key).update(actions, condition=IdempotencyRow.claim.exists())

    def abandon(self, key: str) -> None:
        """Give the claim back: 1 write unit."""
        IdempotencyRow(key).delete()


def _in_progress() -> Conflict:
    return Conflict("IdempotencyInProgress", "A request with this Idempotency-Key is being carried out.")
