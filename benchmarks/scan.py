"""The daily scan over inventories of which 1 % is due: DynamoDB's read units against what is due alone, time, memory."""

from __future__ import annotations

import copy
import math
import time
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from unittest import mock

from moto.dynamodb import models
from moto.dynamodb.models import Table

from chalicelib.domain.model import Certificate
from chalicelib.domain.reminders import ReminderPolicy, Watched, due
from chalicelib.functions.due import DueReader
from chalicelib.store.certificates import DynamoCertificateStore
from chalicelib.store.tables import CertificateRow
from tests.support.capacity import item_size, metered, moto_table
from tests.support.inventories import DAY, NOW, inventory
from tests.support.records import record
from tests.support.scanning import World
from tests.support.tables import moto_aws

SIZES = (1_000, 10_000, 100_000)
CALCULATED = 1_000_000
UNTIL = NOW + 40 * DAY
#: Ranges of expiry that a day's scan reads by the usual policy: 0, 1 and -1 days lie side by side.
RANGES = 5


@dataclass(frozen=True)
class Figures:
    """What a run took.

    Attributes:
        held: certificates in the inventory; `due` of them are.
        alone: read units of those by their ids, eventually consistent.
        finding: read units of finding them.
        run: read units of the account's whole run.
        seconds: what that run took, moto's own work included.
    """

    held: int
    due: int
    alone: float
    finding: float
    run: float
    seconds: float


def measure() -> Iterator[Figures]:
    """Each inventory on moto, filled behind its back."""
    for size in SIZES:
        with moto_aws(), mock.patch.object(models.copy, "deepcopy", _without_tables(copy.deepcopy)):
            yield _measured(size)


def _without_tables(deepcopy):  # type: ignore[no-untyped-def]
    """`copy.deepcopy`, but for whole tables, which moto copies for each write of a transaction to undo it."""
    return lambda value, *more: value if isinstance(value, Table) else deepcopy(value, *more)


def _measured(size: int) -> Figures:
    world = World(dynamo=True)
    world.clock.now = UNTIL
    inventory(size, account_id=world.account)
    world.contact()
    world.stores.scans.scanned(world.account, UNTIL - DAY)
    store = DynamoCertificateStore()
    with metered() as finding:
        found = list(DueReader(store).in_window(world.account, ReminderPolicy(), UNTIL - DAY, UNTIL))
        list(store.unseen(world.account))
    with metered() as alone:
        store.several(world.account, [one.certificate.id for one in found], consistent=False)
    world.scan.tick(force=True)
    (task,) = world.queue.take()
    began = time.perf_counter()
    with metered() as run:
        world.scan.work(task)
    seconds = time.perf_counter() - began
    assert {one for _, one, _ in world.said} == {one.certificate.id for one in found}
    return Figures(size, len(found), alone.read, finding.read, run.read, seconds)


def calculated(size: int = CALCULATED) -> Figures:
    """The same for an inventory too large to be filled here, from the sizes of items."""
    with moto_aws():
        owner = inventory(100)
        items = [i.to_json()["Attributes"] for h in moto_table(CertificateRow.Meta.table_name).items.values() for i in h.values()]
        heavy = sum(map(item_size, items)) / len(items)
        entries = [entry for entry in DynamoCertificateStore().short_lived(owner, NOW - DAY, NOW + 200 * DAY)]
    short, long = 0.05 * size, 0.95 * size
    policy = ReminderPolicy()
    due_short = short * (len(policy.fractions) + 2) / 89
    due_long = long * len(policy.days) / 1025
    in_ranges = (due_long + short * len(policy.days) / 89) * heavy
    index = short * 31 / 89 * _entry_size(len(entries))
    by_id = due_short * len(policy.fractions) / (len(policy.fractions) + 2)
    finding = 0.5 * (math.ceil(in_ranges / 4096) + RANGES + math.ceil(index / 4096) + 1) + 0.5 * by_id
    total = round(due_short + due_long)
    return Figures(size, total, total * 0.5, round(finding, 1), round(finding + 5 + total * 45 / 4096), math.nan)


def _entry_size(count: int) -> float:
    assert count
    return 130.0


class _Endless:
    """An inventory that is never held in memory: certificates are made as they are read."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._first = record(notifications=True, not_before=UNTIL - 400 * DAY)

    def unseen(self, account_id: str) -> Iterator[Watched]:
        """None."""
        del account_id
        return iter(())

    def short_lived(self, account_id: str, low: datetime, high: datetime) -> Iterator[Watched]:
        """None."""
        del account_id, low, high
        return iter(())

    def expiring(self, account_id: str, low: datetime, high: datetime) -> Iterator[Certificate]:
        """So many certificates, all in the first range that holds a threshold."""
        if low < UNTIL < high:
            return
        step = (high - low) / (self._count + 1)
        for number in range(1, self._count + 1):
            end = low + step * number
            yield replace(self._first, id=f"{number:026}", account_id=account_id, not_after=end)
        self._count = 0

    def several(self, account_id: str, ids: Sequence[str], *, consistent: bool = True) -> Mapping[str, Certificate]:
        """None is asked for again."""
        del account_id, ids, consistent
        return {}

    def seen(self, account_id: str, ids: Sequence[str]) -> None:
        """Nothing was unseen."""


def peaks() -> Iterator[tuple[int, float]]:
    """How many certificates are due, and the most MB that a run over them holds at once."""
    for count in (1_000, 10_000, 100_000):
        world = World()
        world.clock.now = UNTIL
        world.stores.certificates = _Endless(count)
        world.stores.scans.scanned(world.account, UNTIL - DAY)
        world.stores.scans.claim = lambda *_: None
        world.contact()
        world.scan.tick(force=True)
        (task,) = world.queue.take()
        tracemalloc.start()
        world.scan.work(task)
        yield count, tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
