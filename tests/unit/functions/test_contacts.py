"""Contacts, their channels, and what comes of sending."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.contacts import ChannelSpec, ChannelState, ContactSpec, Hours
from chalicelib.domain.digests import Message
from chalicelib.domain.errors import CertificateRefused, Conflict, NotFound
from chalicelib.domain.model import Role
from chalicelib.domain.reminders import ReminderPolicy
from chalicelib.functions.audit import Audit
from chalicelib.functions.contacts import ContactChange, Contacts
from chalicelib.ports import NotifyError
from tests.support.fake_contacts import MemoryContactStore, memory_notifiers
from tests.support.fakes import FixedClock, MemoryAuditStore, MemoryKeyVault
from tests.support.records import ACCOUNT, MANAGER

ADMIN = replace(MANAGER, role=Role.ADMIN)
STRANGER = replace(ADMIN, account_id="2000000000000002")
URL, OTHER_URL = "slack://T1/A1/s3cr3t", "jsons://example.com/0th3r"
MAIL, HOOK = ChannelSpec("email", "ops@example.com"), ChannelSpec("apprise", URL)
MESSAGE = Message("Subject", "Text", "<p>Text</p>")


class CountingVault(MemoryKeyVault):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def seal(self, context, keys):
        self.asked.append("seal")
        return super().seal(context, keys)

    def open(self, context, sealed):
        self.asked.append("open")
        return super().open(context, sealed)


class World:
    """Contacts over fakes."""

    def __init__(self, patience: float = 10.0) -> None:
        self.trail = MemoryAuditStore()
        self.store = MemoryContactStore(self.trail)
        self.vault = CountingVault()
        self.notifiers = memory_notifiers()
        self.clock = FixedClock()
        audit = Audit(self.trail, self.clock)
        self.contacts = Contacts(
            self.store, self.vault, self.notifiers, audit=audit, clock=self.clock, patience=patience
        )

    def create(self, *channels: ChannelSpec, **fields):
        return self.contacts.create(ADMIN, spec(*channels, **fields))

    def change(self, made, **fields):
        return self.contacts.change(ADMIN, made.id, ContactChange(**fields))

    def reached(self) -> list[str]:
        """The addresses that were sent to."""
        return [address for notifier in self.notifiers.values() for address, _ in notifier.sent]


def spec(*channels: ChannelSpec, **fields) -> ContactSpec:
    defaults = {"name": "Ops", "channels": channels or (MAIL, HOOK), "time_zone": "Europe/Berlin", "hours": None}
    return ContactSpec(**(defaults | fields))


def listed(world, caller=ADMIN):
    return world.contacts.page(caller, limit=100, cursor=None).items


@pytest.fixture
def world():
    return World()


def test_a_new_contact_is_stored_and_its_secret_address_sealed(world):
    made = world.create(hours=("09:00", "17:00"))
    assert world.store.get(ACCOUNT, made.id) == made
    assert [(c.kind, c.address) for c in made.channels] == [("email", "ops@example.com"), ("apprise", "slack://")]
    assert made.hours == Hours("09:00", "17:00")
    assert dict(world.vault.open(made.key_context, made.sealed)) == {made.channels[1].id: URL.encode()}
    assert "s3cr3t" not in repr(made)


def test_without_a_secret_address_the_vault_is_not_asked(world):
    made = world.create(MAIL)
    assert made.sealed is None
    world.contacts.deliver(made, MESSAGE)
    world.change(made, name="New", channels=(MAIL,))
    assert world.vault.asked == []


def test_every_problem_is_found_at_once_and_nothing_is_stored(world):
    wrong = spec(ChannelSpec("email", "ops"), ChannelSpec("apprise", "x"), ChannelSpec("fax", "1"), time_zone="Mars")
    with pytest.raises(CertificateRefused) as refused:
        world.contacts.create(ADMIN, wrong)
    found = [(f.code, f.param) for f in refused.value.findings]
    params = ["channels[0].address", "channels[1].url", "channels[2].address", "time_zone"]
    assert found == [("ContactFieldIncorrect", param) for param in params]
    assert listed(world) == ()


def test_a_change_leaves_what_it_does_not_name(world):
    made = world.create(hours=("09:00", "17:00"))
    world.vault.asked.clear()
    world.clock.advance(timedelta(hours=1))
    renamed = world.change(made, name="New")
    assert renamed == replace(made, name="New", version=2, updated_at=world.clock())
    free = world.change(renamed, any_hours=True)
    assert free.hours is None
    moved = world.change(free, time_zone="UTC", hours=("22:00", "06:00"))
    assert (moved.time_zone, moved.hours) == ("UTC", Hours("22:00", "06:00"))
    assert moved.channels == made.channels
    assert world.vault.asked == []


def test_a_secret_address_stays_by_the_id_of_its_channel(world):
    made = world.create()
    mail, hook = made.channels
    added = ChannelSpec("apprise", OTHER_URL)
    new = world.change(made, channels=(added, ChannelSpec("apprise", None, hook.id)))
    assert [c.address for c in new.channels] == ["jsons://", "slack://"]
    assert new.channels[1] == hook
    world.contacts.deliver(new, MESSAGE)
    assert sorted(world.reached()) == sorted([OTHER_URL, URL])
    assert mail.id not in {c.id for c in new.channels}


def test_a_channel_keeps_what_is_known_of_it_as_long_as_its_address_is_the_same(world):
    made = world.create()
    mail, hook = made.channels
    world.contacts.deliver(made, MESSAGE)
    sent = ChannelState(world.clock())
    again = world.change(made, channels=(HOOK, MAIL))
    assert again.channels == (replace(hook, state=sent), replace(mail, state=sent))
    named = ChannelSpec("email", "ops@example.com", mail.id), ChannelSpec("apprise", URL, hook.id)
    assert [c.state for c in world.change(again, channels=named).channels] == [sent, sent]
    other = ChannelSpec("email", "new@example.com", mail.id), ChannelSpec("apprise", "slack://T1/A1/n3w", hook.id)
    changed = world.change(made, channels=other)
    assert [c.id for c in changed.channels] == [mail.id, hook.id]
    assert [c.state for c in changed.channels] == [ChannelState(), ChannelState()]


@pytest.mark.parametrize(
    "fields", [{"channels": ()}, {"channels": (HOOK, HOOK)}, {"time_zone": "Mars"}, {"hours": ("1", "2")}]
)
def test_a_change_is_held_to_the_same_rules(world, fields):
    made = world.create()
    with pytest.raises(CertificateRefused):
        world.change(made, **fields)
    assert world.store.get(ACCOUNT, made.id) == made


def test_a_contact_of_another_account_is_not_found(world):
    made, before = world.create(), None
    before = len(world.trail.events)
    for attempt in (
        lambda: world.contacts.change(STRANGER, made.id, ContactChange(name="Mine")),
        lambda: world.contacts.delete(STRANGER, made.id),
        lambda: world.contacts.test(STRANGER, made.id),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert listed(world, STRANGER) == ()
    assert world.reached() == []
    assert len(world.trail.events) == before


def test_an_eleventh_contact_is_refused(world):
    for _ in range(10):
        world.create(MAIL)
    with pytest.raises(Conflict) as refused:
        world.create(MAIL)
    assert refused.value.code == "TooManyContacts"


def test_a_message_goes_over_every_channel_and_that_is_noted(world):
    made = world.create()
    deliveries = world.contacts.deliver(made, MESSAGE)
    assert [(d.channel, d.sent, d.problem) for d in deliveries] == [(c, True, "") for c in made.channels]
    assert world.notifiers["email"].sent == [("ops@example.com", MESSAGE)]
    assert world.notifiers["apprise"].sent == [(URL, MESSAGE)]
    assert [c.state for c in world.store.get(ACCOUNT, made.id).channels] == [ChannelState(world.clock())] * 2


def test_a_channel_that_fails_does_not_stop_the_others_and_is_shown_until_it_works_again(world):
    made = world.create()
    world.notifiers["email"].failing["ops@example.com"] = NotifyError("The mail server is away.", permanent=False)
    failed, sent = world.contacts.deliver(made, MESSAGE)
    assert (failed.sent, failed.problem, failed.permanent) == (False, "The mail server is away.", False)
    assert sent.sent
    first = world.clock()
    held = world.store.get(ACCOUNT, made.id)
    assert held.channels[0].state == ChannelState(None, first, "The mail server is away.")
    world.notifiers["email"].failing.clear()
    world.clock.advance(timedelta(hours=1))
    world.contacts.deliver(held, MESSAGE, [held.channels[0].id])
    states = [c.state for c in world.store.get(ACCOUNT, made.id).channels]
    assert states == [ChannelState(world.clock(), first), ChannelState(first)]
    assert world.reached() == ["ops@example.com", URL]


def test_only_the_channels_that_are_asked_for_are_sent_to(world):
    made = world.create()
    assert world.contacts.deliver(made, MESSAGE, []) == []
    world.contacts.deliver(made, MESSAGE, [made.channels[1].id, "another"])
    assert world.reached() == [URL]


def test_an_address_that_cannot_be_opened_is_a_failure_of_its_channel_alone(world):
    made = world.create()
    broken = replace(made, sealed=replace(made.sealed, data_key=b"changed"))
    mail, hook = world.contacts.deliver(broken, MESSAGE)
    assert mail.sent
    assert not hook.sent
    assert hook.permanent
    assert "give it anew" in hook.problem


def test_a_failure_that_nobody_foresaw_is_a_failure_of_its_channel_alone_and_tells_nothing(world):
    made = world.create()

    def explode(address, message):
        raise RuntimeError(address)

    world.notifiers["apprise"].send = explode
    mail, hook = world.contacts.deliver(made, MESSAGE)
    assert mail.sent
    assert hook.problem == "Sending failed in a way that was not foreseen (RuntimeError)."
    assert not hook.permanent


def test_a_channel_that_does_not_end_is_given_up():
    world, released = World(patience=0.05), threading.Event()
    made = world.create()

    def hang(address, message):
        released.wait(30)

    world.notifiers["apprise"].send = hang
    mail, hook = world.contacts.deliver(made, MESSAGE)
    released.set()
    assert mail.sent
    assert hook.problem == "The service did not answer in time."
    assert world.store.get(ACCOUNT, made.id).channels[1].state.last_failed_at == world.clock()


def test_a_test_message_is_sent_at_any_hour(world):
    made = world.create(MAIL, hours=("03:00", "04:00"))
    (delivery,) = world.contacts.test(ADMIN, made.id)
    assert delivery.sent
    ((address, message),) = world.notifiers["email"].sent
    assert address == "ops@example.com"
    assert "from 03:00 to 04:00, Europe/Berlin" in message.text


def test_everything_that_is_done_is_in_the_trail_without_an_address(world):
    made = world.create()
    world.change(made, name="New")
    world.contacts.test(ADMIN, made.id)
    world.contacts.set_policy(ADMIN, ReminderPolicy((7, 30), (3,), renew_redeploys=True))
    world.contacts.delete(ADMIN, made.id)
    told = [(e.action, e.target, dict(e.detail)) for e in world.trail.events]
    contact = {"channels": "email, apprise"}
    policy = {"days": "30, 7", "fractions": "3", "renew_redeploys": "yes"}
    assert told == [
        ("contact.create", made.id, contact | {"name": "Ops"}),
        ("contact.change", made.id, contact | {"name": "New"}),
        ("contact.test", made.id, contact | {"name": "New"}),
        ("reminder-policy.set", ACCOUNT, policy),
        ("contact.delete", made.id, contact | {"name": "New"}),
    ]
    assert listed(world) == ()


def test_the_policy_is_kept_in_order_and_held_to_its_bounds(world):
    assert world.contacts.policy(ACCOUNT) == ReminderPolicy()
    kept = world.contacts.set_policy(ADMIN, ReminderPolicy((1, 30, 7, 7), (12, 3)))
    assert kept == world.contacts.policy(ACCOUNT) == ReminderPolicy((30, 7, 1), (3, 12))
    with pytest.raises(CertificateRefused) as refused:
        world.contacts.set_policy(ADMIN, ReminderPolicy((400,), (1,)))
    assert [f.param for f in refused.value.findings] == ["days", "fractions"]
    assert world.contacts.policy(ACCOUNT) == kept
