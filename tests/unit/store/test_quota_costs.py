"""What units of the quota cost in DynamoDB's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.quota import Purchase, PurchaseState, Reservation
from chalicelib.store.quota import DynamoQuotaStore
from tests.support.authority import NOW
from tests.support.capacity import metered
from tests.support.records import MANAGER, event, ulid
from tests.support.tables import moto_aws


@pytest.fixture(autouse=True)
def _aws():
    with moto_aws():
        yield


def units(use):
    with metered() as meter:
        use()
    assert "Scan" not in meter.operations
    return meter.read, meter.write


def test_units_cost_what_the_docstrings_say():
    store, owner = DynamoQuotaStore(free=1_000), ulid()
    assert units(lambda: store.read(owner)) == (1, 0)
    made = Reservation(ulid(), owner, (ulid(),) * 20, 20, NOW, MANAGER)
    assert units(lambda: store.reserve(made)) == (0, 6)
    assert units(lambda: list(store.reservations(NOW + timedelta(days=1)))) == (2, 0)
    assert units(lambda: store.settle(owner, made.id)) == (1, 6)
    large = replace(made, id=ulid(), certificate_ids=tuple(ulid() for _ in range(500)), units=500)
    assert units(lambda: store.reserve(large)) == (0, 32)


def test_purchases_cost_what_the_docstrings_say():
    store, owner = DynamoQuotaStore(), ulid()
    bought = Purchase(ulid(), owner, 5, PurchaseState.FULFILLED, NOW, "token", NOW, "automatic")
    waiting = replace(bought, id=ulid(), state=PurchaseState.OPEN, closed_at=None, closed_by=None)
    assert units(lambda: store.order(bought, event(owner))) == (0, 6)
    assert units(lambda: store.order(waiting, event(owner))) == (0, 8)
    assert units(lambda: store.purchase(owner, bought.id)) == (1, 0)
    assert units(lambda: store.purchases(owner, limit=20, cursor=None)) == (1, 0)
    assert units(lambda: store.open_purchases(limit=20, cursor=None)) == (2, 0)
    closed = replace(waiting, state=PurchaseState.FULFILLED, closed_at=NOW, closed_by="operator")
    assert units(lambda: store.close(closed, event(owner))) == (0, 8)
