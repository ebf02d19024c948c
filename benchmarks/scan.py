"""The daily scan over inventories of which 1 % is due: read units against what is due alone, time, and memory."""

from __future__ import annotations

import copy
import math
import time
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from unittest import mock

from moto.dynamodb import models
from moto.dynamodb.models.table import Table

from chalicelib.domain.model import Certificate
from chalicelib.domain.reminders import ReminderPolicy, Watched, short_window, windows
from chalicelib.functions.due import DueReader
from chalicelib.store.certificates import DynamoCertificateStore
from chalicelib.store.tables import CertificateRow, TermRow
from tests.support.authority import NOW
from tests.support.capacity import item_size, metered, moto_table
from tests.support.inventories import DAY, SHORT_LIFE, inventory
from tests.support.records import record
from tests.support.scanning import World
from tests.support.tables import moto_aws

SIZES = (1_000, 10_000, 100_000)
CALCULATED = 1_000_000
MEMORY_SIZES = (1_000, 10_000, 100_000)
#: What `inventory` makes: a twentieth lives shortly, the rest expires over so many days.
SHORT_PART = 0.05
SPAN_DAYS = 1025
UNTIL = NOW + 40 * DAY
_BLOCK = 4096


@dataclass(frozen=True)
class Figures:
    """What a run took.

    Attributes:
        held: certificates in the inventory; `due` of them are.
        alone: read units of those by their ids, eventually consistent.
        finding: read units of finding them.
        seconds: what the account's whole run took, moto's own work included; 0 when it was calculated.
    """

    held: int
    due: int
    alone: float
    finding: float
    seconds: float = 0.0

    @property
    def ratio(self) -> float:
        """How many times the units of what is due alone."""
        return self.finding / self.alone


def measure() -> Iterator[Figures]:
    """Each inventory on moto, filled behind its back; then a million, calculated from the sizes of items."""
    for size in SIZES:
        with moto_aws(), mock.patch.object(models, "copy", _ShallowTables()):
            yield _measured(size)
    yield _calculated(CALCULATED)


class _ShallowTables:
    """The module `copy`, but that whole tables are not copied, as moto does for each transaction to undo it."""

    def deepcopy(self, value: object, *more: Any) -> object:  # noqa: ANN401 - as copy.deepcopy has it
        """A copy, unless it is of a table."""
        return value if isinstance(value, Table) else copy.deepcopy(value, *more)

    def __getattr__(self, name: str) -> object:
        return getattr(copy, name)


def _measured(size: int) -> Figures:
    world = World(dynamo=True)
    world.clock.now = UNTIL
    inventory(size, account_id=world.account)
    world.contact()
    world.stores.scans.scanned(world.account, UNTIL - DAY)
    store = DynamoCertificateStore()
    with metered() as finding:
        found = list(DueReader(store).in_window(world.account, ReminderPolicy(), UNTIL - DAY, UNTIL))
    with metered() as alone:
        store.several(world.account, [one.certificate.id for one in found], consistent=False)
    world.scan.tick(force=True)
    (task,) = world.queue.take()
    began = time.perf_counter()
    world.scan.work(task)
    seconds = time.perf_counter() - began
    assert {one for _, one, _ in world.said} == {one.certificate.id for one in found}
    return Figures(size, len(found), alone.read, finding.read, seconds)


def _calculated(size: int) -> Figures:
    """A day's units for an inventory too large to be filled here, by the mean sizes of its items."""
    with moto_aws():
        inventory(200)
        heavy, entry = _mean_size(CertificateRow), _mean_size(TermRow, "#short")
    policy, short, long = ReminderPolicy(), SHORT_PART * size, (1 - SHORT_PART) * size
    ranges = windows(policy, UNTIL - DAY, UNTIL)
    days = sum((high - low) / DAY for low, high in ranges)
    low, high = short_window(policy, UNTIL - DAY, UNTIL)
    short_days = SHORT_LIFE / DAY
    in_ranges = long * days / SPAN_DAYS + short * days / short_days
    by_fraction = short * len(policy.fractions) / short_days
    due = (
        long * len(policy.days) / SPAN_DAYS
        + short * (len(policy.fractions) + sum(d <= 0 for d in policy.days)) / short_days
    )
    index = short * ((high - low) / DAY) / short_days
    pages = math.ceil(in_ranges * heavy / _BLOCK) + len(ranges) + math.ceil(index * entry / _BLOCK)
    return Figures(size, round(due), round(due) * 0.5, 0.5 * (pages + by_fraction))


def _mean_size(model: Any, partition: str = "") -> float:  # noqa: ANN401 - a PynamoDB model
    partitions = moto_table(model.Meta.table_name).items.items()
    sizes = [
        item_size(item.to_json()["Attributes"])
        for key, rows in partitions
        if str(key.value).endswith(partition)
        for item in rows.values()
    ]
    return sum(sizes) / len(sizes)


class _Endless(DynamoCertificateStore):
    """An inventory that is never held in memory: certificates are made as they are read."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._left = count
        self._first = record(notifications=True, not_before=UNTIL - 400 * DAY)

    def unseen(self, account_id: str) -> Iterator[Watched]:
        """None."""
        del account_id
        return iter(())

    def short_lived(self, account_id: str, low: datetime, high: datetime) -> Iterator[Watched]:
        """None."""
        del account_id, low, high
        return iter(())

    def stuck(self, account_id: str) -> Iterator[Certificate]:
        """None."""
        del account_id
        return iter(())

    def expiring(self, account_id: str, low: datetime, high: datetime) -> Iterator[Certificate]:
        """So many certificates, all in the first range that lies around now."""
        if not low < UNTIL <= high:
            return
        step = (high - low) / (self._left + 1)
        for number in range(1, self._left + 1):
            yield replace(self._first, id=f"{number:026}", account_id=account_id, not_after=low + step * number)
        self._left = 0

    def several(self, account_id: str, ids: Sequence[str], *, consistent: bool = True) -> Mapping[str, Certificate]:
        """None is asked for again."""
        del account_id, ids, consistent
        return {}

    def seen(self, account_id: str, ids: Sequence[str]) -> None:
        """Nothing was unseen."""
        del account_id, ids


def peaks() -> Iterator[tuple[int, float]]:
    """How many certificates are due, and the most MB that finding and claiming them holds at once."""
    for count in MEMORY_SIZES:
        world = World()
        world.clock.now = UNTIL
        setattr(world.stores, "certificates", _Endless(count))  # noqa: B010 - a third kind of store
        setattr(world.stores.scans, "claim", lambda *_: None)  # noqa: B010 - what the fake would keep is no memory of ours
        world.stores.scans.scanned(world.account, UNTIL - DAY)
        world.contact()
        world.scan.tick(force=True)
        (task,) = world.queue.take()
        tracemalloc.start()
        world.scan.work(task)
        yield count, tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
