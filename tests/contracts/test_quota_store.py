"""What every store of the notification quota does, and the inventory with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.errors import CerthavenError, Conflict, NotFound
from chalicelib.domain.model import Source
from chalicelib.domain.quota import MAX_OPEN, Purchase, PurchaseState, Quota, QuotaInsufficient, Reservation
from chalicelib.store.certificates import DynamoCertificateStore
from chalicelib.store.quota import DynamoQuotaStore
from tests.support.authority import NOW
from tests.support.fake_quota import MemoryQuotaStore
from tests.support.fakes import MemoryAuditStore, MemoryCertificateStore
from tests.support.records import MANAGER, event, material, record, ulid

FREE = 3


class Stores:
    """The quota and the inventory that takes its units, of one account."""

    def __init__(self, quota, certificates) -> None:
        self.quota = quota
        self.certificates = certificates
        self.account = ulid()

    def add(self, **fields):
        made = record(**({"account_id": self.account} | fields))
        self.certificates.add(made, material(made), event(made.account_id))
        return made

    def change(self, old, reservation=None, **fields):
        new = replace(old, version=old.version + 1, **fields)
        self.certificates.update(old, new, event(self.account), reservation=reservation)
        return new

    def reserve(self, units, made_at=NOW):
        made = Reservation(ulid(), self.account, ("one", "two"), units, made_at, MANAGER)
        self.quota.reserve(made)
        return made

    def order(self, units=5, state=PurchaseState.FULFILLED):
        made = Purchase(ulid(), self.account, units, state, NOW, "token")
        self.quota.order(made, event(self.account))
        return made

    @property
    def used(self):
        return self.quota.read(self.account).used


@pytest.fixture(params=["fake", "dynamo"])
def stores(request):
    if request.param == "fake":
        quota = MemoryQuotaStore(MemoryAuditStore(), FREE)
        return Stores(quota, MemoryCertificateStore(quota=quota))
    request.getfixturevalue("aws")
    return Stores(DynamoQuotaStore(FREE), DynamoCertificateStore(free_units=FREE))


def test_an_account_begins_with_its_free_units(stores):
    assert stores.quota.read(stores.account) == Quota(FREE)
    assert stores.quota.read(stores.account).remaining == FREE


@pytest.mark.parametrize("source", list(Source))
def test_notices_take_a_unit_unless_the_certificate_is_official_or_shared(stores, source):
    stores.add(source=source, notifications=True)
    assert stores.used == (source in {Source.UPLOAD, Source.PCA})


def test_units_come_back_with_notices_off_and_with_deletion_and_no_other_change_touches_them(stores):
    one, two = stores.add(notifications=True), stores.add()
    assert stores.used == 1
    two = stores.change(two, notifications=True)
    two = stores.change(two, deployed=True)
    assert stores.used == 2
    stores.change(two, notifications=False)
    assert stores.used == 1
    stores.certificates.delete(one, event(stores.account))
    assert stores.used == 0


def test_a_replacement_takes_over_the_unit(stores):
    for _ in range(FREE - 1):
        stores.add(notifications=True)
    old = stores.add(notifications=True)
    assert stores.quota.read(stores.account).remaining == 0
    new = record(account_id=stores.account, notifications=True, name="new")
    retired = replace(old, notifications=False, replaced_by=new.id, version=old.version + 1)
    stores.certificates.replace(old, retired, new, material(new), event(stores.account))
    assert stores.used == FREE


def test_what_finds_no_unit_changes_nothing(stores):
    silent = stores.add()
    held = [stores.add(notifications=True) for _ in range(FREE)]
    other = record(account_id=stores.account, notifications=True)
    for attempt in (
        lambda: stores.add(notifications=True),
        lambda: stores.change(silent, notifications=True),
        lambda: stores.certificates.replace(
            silent,
            replace(silent, version=2, replaced_by=other.id),
            other,
            material(other),
            event(stores.account),
        ),
    ):
        with pytest.raises(QuotaInsufficient) as refused:
            attempt()
        assert refused.value.figures == {"remaining": 0, "required": 1}
    kept = stores.certificates.several(stores.account, [silent.id, other.id, *(one.id for one in held)])
    assert set(kept) == {silent.id, *(one.id for one in held)}
    assert kept[silent.id] == silent
    assert stores.used == FREE


def test_of_64_simultaneous_requests_for_the_last_10_units_exactly_10_succeed(stores):
    stores.order(10 - FREE)
    silent = [stores.add() for _ in range(64)]

    def switch_on(one):
        try:
            stores.change(one, notifications=True)
        except QuotaInsufficient:
            return False
        return True

    with ThreadPoolExecutor(64) as pool:
        outcomes = list(pool.map(switch_on, silent))
    held = stores.certificates.several(stores.account, [one.id for one in silent])
    assert sum(outcomes) == sum(one.notifications for one in held.values()) == 10
    assert stores.quota.read(stores.account).remaining == 0


def test_a_reservation_takes_all_units_or_none(stores):
    with pytest.raises(QuotaInsufficient) as refused:
        stores.reserve(FREE + 1)
    assert refused.value.figures == {"remaining": FREE, "required": FREE + 1}
    assert stores.used == 0
    assert list(stores.quota.reservations(NOW + timedelta(days=1))) == []
    made = stores.reserve(FREE)
    stores.quota.reserve(made)
    assert stores.used == FREE


def test_units_of_a_reservation_are_used_one_by_one_and_the_rest_comes_back_once(stores):
    one, two = stores.add(), stores.add()
    made = stores.reserve(FREE)
    one = stores.change(one, made.id, notifications=True)
    assert stores.used == FREE
    stores.quota.settle(stores.account, made.id)
    stores.quota.settle(stores.account, made.id)
    assert stores.used == 1
    with pytest.raises(QuotaInsufficient):
        stores.change(two, made.id, notifications=True)
    assert stores.used == 1


def test_reservations_are_found_by_their_age_with_all_that_is_needed_to_finish_them(stores):
    old, new = stores.reserve(1, NOW - timedelta(hours=1)), stores.reserve(1)
    found = [one for one in stores.quota.reservations(NOW) if one.account_id == stores.account]
    assert found == [old]
    later = {one.id for one in stores.quota.reservations(NOW + timedelta(seconds=1))}
    assert {old.id, new.id} <= later


def test_a_purchase_adds_its_units_once(stores):
    made = stores.order(100)
    stores.quota.order(made, event(stores.account))
    assert stores.quota.read(stores.account) == Quota(FREE, 100, 0)
    assert stores.quota.purchase(stores.account, made.id) == made


@pytest.mark.parametrize(("state", "units"), [(PurchaseState.FULFILLED, 5), (PurchaseState.DECLINED, 0)])
def test_a_purchase_that_waits_is_closed_once(stores, state, units):
    made = stores.order(5, PurchaseState.OPEN)
    assert stores.quota.read(stores.account).bought == 0
    assert made in stores.quota.open_purchases(limit=100, cursor=None).items
    closed = replace(made, state=state, closed_at=NOW, closed_by="operator")
    stores.quota.close(closed, event(stores.account))
    for again in (PurchaseState.FULFILLED, PurchaseState.DECLINED):
        with pytest.raises(Conflict) as refused:
            stores.quota.close(replace(closed, state=again), event(stores.account))
        assert refused.value.code == "PurchaseClosed"
    assert stores.quota.read(stores.account).bought == units
    assert stores.quota.purchase(stores.account, made.id) == closed
    assert made.id not in {p.id for p in stores.quota.open_purchases(limit=100, cursor=None).items}


def test_a_purchase_is_closed_once_however_many_try_at_once(stores):
    made = stores.order(5, PurchaseState.OPEN)

    def close(state):
        try:
            stores.quota.close(replace(made, state=state, closed_at=NOW, closed_by="me"), event(stores.account))
        except CerthavenError as refusal:
            return refusal.code
        return "done"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(close, [PurchaseState.FULFILLED] * 8))
    assert sorted(outcomes) == ["PurchaseClosed"] * 7 + ["done"]
    assert stores.quota.read(stores.account).bought == 5


def test_so_many_purchases_may_wait_and_no_more(stores):
    waiting = [stores.order(1, PurchaseState.OPEN) for _ in range(MAX_OPEN)]
    with pytest.raises(Conflict) as refused:
        stores.order(1, PurchaseState.OPEN)
    assert refused.value.code == "TooManyPurchases"
    closed = replace(waiting[0], state=PurchaseState.DECLINED, closed_at=NOW, closed_by="operator")
    stores.quota.close(closed, event(stores.account))
    stores.order(1, PurchaseState.OPEN)


def test_purchases_are_listed_page_by_page_newest_first_and_of_one_account_only(stores):
    made = [stores.order().id for _ in range(5)]
    other = Purchase(ulid(), ulid(), 1, PurchaseState.FULFILLED, NOW, "token")
    stores.quota.order(other, event(other.account_id))
    found, cursor = [], None
    while True:
        page = stores.quota.purchases(stores.account, limit=2, cursor=cursor)
        found += [one.id for one in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == sorted(made, reverse=True)
    with pytest.raises(NotFound):
        stores.quota.purchase(stores.account, other.id)


def test_what_waits_is_listed_page_by_page_oldest_first(stores):
    made = sorted(stores.order(1, PurchaseState.OPEN).id for _ in range(3))
    found, cursor = [], None
    while True:
        page = stores.quota.open_purchases(limit=2, cursor=cursor)
        found += [one.id for one in page.items if one.account_id == stores.account]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == made
