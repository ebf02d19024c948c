"""What every store of contacts does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.contacts import MAX_CONTACTS, ChannelState, Hours
from chalicelib.domain.errors import CerthavenError, Conflict, NotFound
from chalicelib.domain.model import SealedKeys
from chalicelib.domain.reminders import ReminderPolicy
from chalicelib.store.audit import DynamoAuditStore
from chalicelib.store.contacts import DynamoContactStore
from tests.support.authority import NOW
from tests.support.fake_contacts import MemoryContactStore, channel, contact
from tests.support.fakes import MemoryAuditStore
from tests.support.records import event, ulid

LATER = NOW + timedelta(hours=3)
SEALED = SealedKeys("key-1", b"wrapped", {"one": b"\0box", "two": bytes(range(256))})


@pytest.fixture(params=["fake", "dynamo"])
def store(request):
    if request.param == "fake":
        return MemoryContactStore(MemoryAuditStore())
    request.getfixturevalue("aws")
    return DynamoContactStore()


def trail(store, account_id):
    audit = store.audit if isinstance(store, MemoryContactStore) else DynamoAuditStore()
    return [one.id for one in audit.page(account_id, limit=100, cursor=None).items]


def added(store, **fields):
    made = contact(**({"account_id": ulid()} | fields))
    store.add(made, event(made.account_id))
    return made


def changed(held, **fields):
    return replace(held, version=held.version + 1, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"hours": Hours("22:30", "06:00"), "time_zone": "Asia/Shanghai", "name": "夜間 “ops”"},
        {"sealed": SEALED, "channels": (channel(), channel(kind="apprise", address="slack://"))},
        {"channels": (channel(state=ChannelState(NOW, LATER, "The mail server is away.")), channel())},
    ],
    ids=["plain", "hours", "sealed", "states"],
)
def test_a_contact_comes_back_as_it_was_stored(store, fields):
    made = added(store, **fields)
    assert store.get(made.account_id, made.id) == made
    assert list(store.several(made.account_id)) == [made]
    assert len(trail(store, made.account_id)) == 1


def test_contacts_are_listed_in_the_order_in_which_they_were_made_and_for_their_account_only(store):
    mine = ulid()
    made = [added(store, account_id=mine) for _ in range(3)]
    added(store)
    store.set_policy(mine, ReminderPolicy(), event(mine))
    assert list(store.several(mine)) == made
    assert list(store.several(ulid())) == []


@pytest.mark.parametrize("contact_id", ["", "nothing", "x" * 2000, "\ud800", "contact#"])
def test_what_is_not_there_is_not_found(store, contact_id):
    mine = ulid()
    for ask in (lambda: store.get(mine, contact_id), lambda: store.delete(mine, contact_id, event(mine))):
        with pytest.raises(NotFound):
            ask()
    assert trail(store, mine) == []


def test_a_contact_is_neither_read_nor_deleted_for_another_account(store):
    made, stranger = added(store), ulid()
    with pytest.raises(NotFound):
        store.get(stranger, made.id)
    with pytest.raises(NotFound):
        store.delete(stranger, made.id, event(stranger))
    assert store.get(made.account_id, made.id) == made


def test_a_change_replaces_everything_but_the_states_of_channels_that_stay(store):
    stays, goes, comes = channel(), channel(), channel(address="new@example.com")
    held = added(store, channels=(stays, goes), sealed=SEALED, hours=Hours("09:00", "17:00"))
    state = ChannelState(NOW, None)
    store.mark(held, {stays.id: state, goes.id: state})
    fields = {"name": "New", "time_zone": "UTC", "hours": None, "sealed": None, "updated_at": LATER}
    wanted = changed(held, channels=(comes, stays), **fields)
    store.update(held, wanted, event(held.account_id))
    found = store.get(held.account_id, held.id)
    assert found == replace(wanted, channels=(comes, replace(stays, state=state)))
    assert len(trail(store, held.account_id)) == 2


def test_a_channel_that_comes_back_under_its_id_knows_nothing_of_its_past(store):
    gone = channel()
    held = added(store, channels=(gone, channel()))
    store.mark(held, {gone.id: ChannelState(None, NOW, "Away.")})
    without = changed(held, channels=held.channels[1:])
    store.update(held, without, event(held.account_id))
    store.update(without, changed(without, channels=held.channels), event(held.account_id))
    assert store.get(held.account_id, held.id).channels == held.channels


def test_a_change_may_forget_the_state_of_a_channel(store):
    held = added(store, channels=(channel(state=ChannelState(None, NOW, "Away.")), channel()))
    forgetful = changed(held, channels=tuple(replace(c, state=ChannelState()) for c in held.channels))
    store.update(held, forgetful, event(held.account_id))
    assert store.get(held.account_id, held.id) == forgetful


def test_a_change_of_what_was_changed_or_deleted_is_refused(store):
    held = added(store)
    first = changed(held, name="First")
    store.update(held, first, event(held.account_id))
    with pytest.raises(Conflict) as refused:
        store.update(held, changed(held, name="Second"), event(held.account_id))
    assert refused.value.code == "ConcurrentChange"
    assert store.get(held.account_id, held.id) == first
    store.delete(held.account_id, held.id, event(held.account_id))
    with pytest.raises(NotFound):
        store.update(first, changed(first, name="Third"), event(held.account_id))


def test_of_simultaneous_changes_one_is_carried_out(store):
    held, start = added(store), threading.Barrier(4)

    def change(number):
        start.wait()
        try:
            store.update(held, changed(held, name=f"Name {number}"), event(held.account_id))
        except CerthavenError as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(change, range(4)))
    assert outcomes == ["ConcurrentChange"] * 3 + ["done"]


def test_marks_change_neither_the_version_nor_each_other(store):
    one, two = channel(), channel()
    held = added(store, channels=(one, two))
    store.mark(held, {one.id: ChannelState(NOW, None)})
    store.mark(held, {two.id: ChannelState(None, LATER, "Nobody answers.")})
    found = store.get(held.account_id, held.id)
    assert [c.state for c in found.channels] == [ChannelState(NOW), ChannelState(None, LATER, "Nobody answers.")]
    assert found.version == held.version
    store.mark(held, {two.id: ChannelState(LATER, None)})
    assert store.get(held.account_id, held.id).channels[1].state == ChannelState(LATER)


def test_a_mark_on_what_is_gone_does_nothing(store):
    held = added(store)
    store.mark(held, {ulid(): ChannelState(NOW)})
    assert store.get(held.account_id, held.id) == held
    store.delete(held.account_id, held.id, event(held.account_id))
    store.mark(held, {held.channels[0].id: ChannelState(NOW)})
    assert list(store.several(held.account_id)) == []


def test_an_account_has_ten_contacts_and_room_for_another_when_one_is_deleted(store):
    mine = ulid()
    made = [added(store, account_id=mine) for _ in range(MAX_CONTACTS)]
    with pytest.raises(Conflict) as refused:
        added(store, account_id=mine)
    assert refused.value.code == "TooManyContacts"
    added(store)
    store.delete(mine, made[3].id, event(mine))
    with pytest.raises(NotFound):
        store.delete(mine, made[3].id, event(mine))
    added(store, account_id=mine)
    with pytest.raises(Conflict):
        added(store, account_id=mine)
    assert len(store.several(mine)) == MAX_CONTACTS


def test_of_simultaneous_contacts_no_more_than_ten_are_stored(store):
    mine, start = ulid(), threading.Barrier(8)
    for _ in range(MAX_CONTACTS - 3):
        added(store, account_id=mine)

    def add(_):
        start.wait()
        try:
            added(store, account_id=mine)
        except CerthavenError as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(add, range(8)))
    assert outcomes.count("done") == 3
    assert outcomes.count("TooManyContacts") == 5
    assert len(store.several(mine)) == MAX_CONTACTS
    assert len(trail(store, mine)) == MAX_CONTACTS


def test_the_policy_is_the_usual_one_until_one_is_set(store):
    mine = ulid()
    assert store.policy(mine) == ReminderPolicy()
    for policy in (ReminderPolicy((60, 7), (2,), renew_redeploys=True), ReminderPolicy((1,), ())):
        store.set_policy(mine, policy, event(mine))
        assert store.policy(mine) == policy
    assert store.policy(ulid()) == ReminderPolicy()
    assert len(trail(store, mine)) == 2
