"""What every certificate store tells the scan for what is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.model import Source
from chalicelib.domain.reminders import Watched
from chalicelib.store.certificates import DynamoCertificateStore
from tests.support.authority import NOW
from tests.support.fakes import MemoryCertificateStore
from tests.support.records import event, material, record, ulid
from tests.support.tables import moto_aws

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


class Inventory:
    def __init__(self, store):
        self.store = store
        self.account = ulid()

    def add(self, **fields):
        made = record(account_id=self.account, **fields)
        self.store.add(made, material(made), event(self.account))
        return made

    def change(self, old, **fields):
        new = replace(old, version=old.version + 1, updated_at=old.updated_at + SECOND, **fields)
        self.store.update(old, new, event(self.account))
        return new

    def unseen(self):
        return [one.id for one in self.store.unseen(self.account)]

    def short(self, low=NOW, high=NOW + 100 * DAY):
        return [one.id for one in self.store.short_lived(self.account, low, high)]


@pytest.fixture(params=["fake", "dynamo"])
def held(request):
    if request.param == "fake":
        return Inventory(MemoryCertificateStore())
    request.getfixturevalue("aws")
    return Inventory(DynamoCertificateStore())


def test_what_expires_in_a_range_is_found_in_order_without_its_begin_and_with_its_end(held):
    made = {seconds: held.add(not_after=NOW + seconds * SECOND) for seconds in (3, 1, 0, 2, 4)}
    found = list(held.store.expiring(held.account, NOW + SECOND, NOW + 3 * SECOND))
    assert found == [made[2], made[3]]


def test_two_ranges_that_meet_share_nothing(held):
    made = [held.add(not_after=NOW + hours * timedelta(hours=1)) for hours in range(6)]
    moments = [NOW - SECOND, NOW + timedelta(hours=2), NOW + timedelta(hours=2, milliseconds=400), NOW + DAY]
    found = [c for low, high in pairwise(moments) for c in held.store.expiring(held.account, low, high)]
    assert found == made


@pytest.mark.parametrize("high", [NOW, NOW - SECOND])
def test_an_empty_range_holds_nothing(held, high):
    held.add(not_after=NOW, not_before=NOW - DAY, notifications=True)
    assert list(held.store.expiring(held.account, NOW, high)) == []
    assert list(held.store.short_lived(held.account, NOW, high)) == []


def test_another_account_has_nothing_due(held):
    held.add(notifications=True, not_after=NOW + DAY)
    for found in (
        held.store.expiring("another", NOW, NOW + 9 * DAY),
        held.store.short_lived("another", NOW, NOW + 9 * DAY),
        held.store.unseen("another"),
    ):
        assert list(found) == []


def test_a_reader_in_a_hurry_is_told_the_same(held):
    made = held.add()
    assert held.store.several(held.account, [made.id, "nothing"], consistent=False) == {made.id: made}


def test_short_lifetimes_are_told_with_their_validity_as_long_as_notices_are_on(held):
    short = held.add(notifications=True, not_before=NOW - DAY, not_after=NOW + 9 * DAY)
    held.add(notifications=True, not_before=NOW - 300 * DAY)
    held.add(notifications=False, not_before=NOW - DAY, not_after=NOW + 9 * DAY + SECOND)
    (found,) = held.store.short_lived(held.account, NOW, NOW + 9 * DAY)
    assert found == Watched(short.id, short.not_before, short.not_after, short.version, short.updated_at)
    assert held.short(high=NOW + 9 * DAY - SECOND) == []
    held.change(short, notifications=False)
    assert held.short() == []


def test_what_comes_with_notices_on_is_unseen_until_it_was_seen(held):
    one, other = (held.add(notifications=True, not_before=NOW - 300 * DAY) for _ in range(2))
    held.add(notifications=False)
    expected = [Watched(c.id, c.not_before, c.not_after, c.version, c.updated_at) for c in (one, other)]
    assert list(held.store.unseen(held.account)) == expected
    held.store.seen(held.account, [one.id, "nothing"])
    assert held.unseen() == [other.id]
    held.change(one, name="other-name")
    assert held.unseen() == [other.id]


def test_a_certificate_whose_notices_are_switched_on_again_is_unseen_again(held):
    first = held.add(notifications=True)
    held.store.seen(held.account, [first.id])
    second = held.change(first, notifications=False)
    assert held.unseen() == []
    third = held.change(second, notifications=True)
    (found,) = held.store.unseen(held.account)
    assert (found.version, found.since) == (third.version, third.updated_at)


def test_a_newer_entry_is_not_forgotten_with_an_older_one(held):
    first = held.add(notifications=True)
    (entry,) = held.store.unseen(held.account)
    held.change(held.change(first, notifications=False), notifications=True)
    held.store.forget(held.account, entry)
    assert held.unseen() == [first.id]
    (entry,) = held.store.unseen(held.account)
    held.store.forget(held.account, entry)
    held.store.forget(held.account, entry)
    assert held.unseen() == []


def test_a_certificate_that_is_deleted_or_retired_is_watched_no_more(held):
    gone = held.add(notifications=True, not_before=NOW)
    held.store.delete(gone, event(held.account))
    old = held.add(notifications=True, not_before=NOW, not_after=NOW + 9 * DAY)
    new = record(account_id=held.account, name=old.name, notifications=True, not_before=NOW, not_after=NOW + 10 * DAY)
    retired = replace(old, name="retired", notifications=False, replaced_by=new.id, version=old.version + 1)
    held.store.replace(old, retired, new, material(new), event(held.account))
    assert held.unseen() == held.short() == [new.id]


def test_a_certificate_of_a_private_ca_is_watched_when_its_notices_are_on(held):
    made = record(account_id=held.account, notifications=True, source=Source.PCA, not_before=NOW)
    held.store.take_in(made, material(made))
    assert held.unseen() == held.short() == [made.id]


changes = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["switch", "switch", "see", "delete"])), max_size=10)


def test_both_stores_watch_the_same():
    @settings(max_examples=15)
    @given(lives=st.lists(st.sampled_from([2, 80, 200]), min_size=4, max_size=4), steps=changes)
    def watch_the_same(lives, steps):
        stores = [Inventory(MemoryCertificateStore()), Inventory(DynamoCertificateStore())]
        stores[1].account = stores[0].account
        made = [
            record(account_id=stores[0].account, not_before=NOW, not_after=NOW + n * DAY + i * SECOND)
            for i, n in enumerate(lives)
        ]
        for one in made:
            for held in stores:
                held.store.add(one, material(one), event(held.account))
        for number, step in steps:
            made[number] = follow(stores, made[number], step)
            assert stores[0].unseen() == stores[1].unseen()
            assert stores[0].short() == stores[1].short()

    with moto_aws():  # tables of its own: moto copies a table whole for every transaction
        watch_the_same()


def follow(stores, one, step):
    """Do the same to both stores; gives the certificate as it is then."""
    if one is None:
        return None
    if step == "switch":
        one, _ = (held.change(one, notifications=not one.notifications) for held in stores)
        return one
    for held in stores:
        if step == "see":
            held.store.seen(held.account, [one.id])
        else:
            held.store.delete(one, event(held.account))
    return one if step == "see" else None


def test_those_whose_renewal_failed_are_found_and_no_others(held):
    made = {days: held.add(not_after=NOW + days * DAY, renewal_problem="InternalError") for days in (3, 1, 2)}
    held.add(not_after=NOW + DAY)
    Inventory(held.store).add(not_after=NOW + DAY, renewal_problem="InternalError")
    assert list(held.store.stuck(held.account)) == [made[1], made[2], made[3]]
    held.change(made[1], renewal_problem=None)
    assert list(held.store.stuck(held.account)) == [made[2], made[3]]
