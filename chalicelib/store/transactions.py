"""Writing several rows at once or none, with the reasons told apart and collisions tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from pynamodb.connection import Connection
from pynamodb.exceptions import TransactWriteError
from pynamodb.transactions import TransactWrite

from chalicelib.store.tables import CertificateRow

#: How often a transaction that met another one is tried, and the longest first pause in seconds.
ATTEMPTS: Final = 6
FIRST_PAUSE: Final = 0.05


class ConditionFailedError(Exception):
    """A condition of a transaction did not hold; `at` are the positions of the writes it was on."""

    def __init__(self, at: frozenset[int]) -> None:
        super().__init__(f"conditions failed at {sorted(at)}")
        self.at = at


def transact(write: Callable[[TransactWrite], None], sleep: Callable[[float], None] = time.sleep) -> None:
    """Carry out what `write` puts into a transaction, all or nothing.

    A transaction that collided with another one is tried again after a random pause that doubles.

    Raises:
        ConditionFailedError: a condition did not hold.
        TransactWriteError: DynamoDB failed otherwise, or the collisions did not end.
    """
    for attempt in range(ATTEMPTS):
        transaction = TransactWrite(connection=_connection())
        write(transaction)
        try:
            transaction._commit()  # noqa: SLF001 - what the context manager does, without its swallowing of ours
        except TransactWriteError as error:
            reasons = [reason.code if reason else "" for reason in error.cancellation_reasons]
            failed = frozenset(i for i, code in enumerate(reasons) if code == "ConditionalCheckFailed")
            if failed:
                raise ConditionFailedError(failed) from None
            if "TransactionConflict" not in reasons or attempt == ATTEMPTS - 1:
                raise
            sleep(random.uniform(0, FIRST_PAUSE * 2**attempt))  # noqa: S311 - jitter, not a secret
        else:
            return


def _connection() -> Connection:
    return Connection(region=CertificateRow.Meta.region)
