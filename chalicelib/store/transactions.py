"""Writing several rows at once or none, with the reasons told apart and collisions tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from pynamodb.exceptions import TransactWriteError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from chalicelib.domain.errors import TooManyRequests
from chalicelib.store.tables import connection

#: How often a transaction that met another one is tried, and the longest first pause in seconds.
ATTEMPTS: Final = 6
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
#: Reasons that pass: another transaction on the same rows, or too much at once.
PASSING: Final = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})


class ConditionFailedError(Exception):
    """Conditions of a transaction did not hold; `labels` are those of the writes they were on."""

    def __init__(self, labels: frozenset[str]) -> None:
        super().__init__(f"conditions failed: {', '.join(sorted(labels))}")
        self.labels = labels


@dataclass(slots=True)
class Writes:
    """The writes of one transaction; a write with a condition has a label, by which its failure is told."""

    deletes: list[tuple[str, Model, Condition | None]] = field(default_factory=list)
    puts: list[tuple[str, Model, Condition | None]] = field(default_factory=list)
    updates: list[tuple[str, Model, list[Action], Condition | None]] = field(default_factory=list)

    def put(self, row: Model, condition: Condition | None = None, label: str = "") -> None:
        """Write a row whole."""
        self.puts.append((label, row, condition))

    def delete(self, row: Model, condition: Condition | None = None, label: str = "") -> None:
        """Delete a row by its key."""
        self.deletes.append((label, row, condition))

    def update(self, row: Model, actions: list[Action], condition: Condition | None, label: str = "") -> None:
        """Change attributes of a row; without a condition, one that does not exist is made."""
        self.updates.append((label, row, actions, condition))

    @property
    def labels(self) -> list[str]:
        """Labels in the order in which PynamoDB sends the writes, which is that of DynamoDB's reasons."""
        return [*(d[0] for d in self.deletes), *(p[0] for p in self.puts), *(u[0] for u in self.updates)]

    def commit(self, sleep: Callable[[float], None] = time.sleep, attempts: int = ATTEMPTS) -> None:
        """Carry all out, or none. A collision with another transaction is tried again after a random pause.

        Raises:
            ConditionFailedError: a condition did not hold.
            TooManyRequests: the collisions did not end.
            TransactWriteError: DynamoDB failed otherwise.
        """
        for attempt in range(attempts):
            try:
                self._send()
            except TransactWriteError as error:
                reasons = [reason.code if reason else "" for reason in error.cancellation_reasons]
                told = zip(self.labels, reasons, strict=False)
                failed = frozenset(label for label, code in told if code == "ConditionalCheckFailed")
                if failed:
                    raise ConditionFailedError(failed) from None
                if PASSING.isdisjoint(reasons):
                    raise
                if attempt == attempts - 1:
                    raise TooManyRequests(
                        "TooManyRequests", "Too many requests change the same records at once."
                    ) from None
                sleep(random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)))  # noqa: S311 - jitter, not a secret
            else:
                return

    def _send(self) -> None:
        transaction: Any
        with TransactWrite(connection=connection()) as transaction:
            for _, row, condition in self.deletes:
                transaction.delete(row, condition)
            for _, row, condition in self.puts:
                transaction.save(row, condition)
            for _, row, actions, condition in self.updates:
                transaction.update(row, actions, condition)
