"""What every contact gets is exactly what was due, once: held against a model that keeps no ledger of windows.

The model looks at every certificate at every run, and knows nothing of indexes, ranges, bundles or queues.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.domain.contacts import Hours
from chalicelib.domain.reminders import ReminderPolicy
from chalicelib.domain.scans import RunState
from tests.support.records import event
from tests.support.scanning import DAY, Told, World
from tests.support.tables import moto_aws

ADDRESSES = ["a@example.com", "b@example.com", "c@example.com"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]
HOURS = [None, None, ("09:00", "17:00"), ("22:30", "06:00"), ("06:15", "07:15")]
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Person:
    """A contact as the model has it: what is still to be said at each address, with when it was found."""

    zone: str
    hours: tuple[str, str] | None
    waiting: dict[str, list] = field(default_factory=dict)
    claimed: set = field(default_factory=set)
    failed_at: datetime | None = None

    def hears(self, now):
        if self.hours is None:
            return True
        here, (start, end) = f"{now.astimezone(ZoneInfo(self.zone)):%H:%M}", self.hours
        return start <= here < end if start < end else here >= start or here < end


@dataclass
class Model:
    """Everything that is to be told, by looking at everything."""

    policy: ReminderPolicy = field(default_factory=ReminderPolicy)
    people: dict = field(default_factory=dict)
    #: By certificate: its record, and since when it is watched, unless a run has looked at it.
    held: dict = field(default_factory=dict)
    fresh: dict = field(default_factory=dict)
    scanned: datetime | None = None
    down: dict = field(default_factory=dict)
    told: list = field(default_factory=list)
    last_day: str = ""

    def due(self, certificate):
        """Moments and keys of all reminders of a certificate, in order."""
        begin, end = certificate.not_before, certificate.not_after
        seconds = (end - begin).total_seconds()
        short = seconds < 90 * 86400
        found = [(end - timedelta(seconds=86400 * n), f"{n}d") for n in self.policy.days if n <= 0 or not short]
        found += [(end - timedelta(seconds=seconds / n), f"1/{n}") for n in self.policy.fractions if short]
        return sorted({one for one in found if one[0] > begin})

    def run(self, now):
        if self.people:
            for one, certificate in self.held.items():
                if certificate.notifications and certificate.revoked_at is None and certificate.replaced_by is None:
                    self._look(one, certificate, now)
            self.fresh.clear()
            self.scanned = now
        self.send(now)

    def _look(self, one, certificate, now):
        since = self.fresh.get(one)
        after = LONG_AGO if one in self.fresh else self.scanned
        reached = [(at, key) for at, key in self.due(certificate) if at <= now]
        if not reached or reached[-1][0] <= after:
            return
        at, key = reached[-1]
        late = now - (at if since is None else max(at, since)) > timedelta(hours=25)
        for person in self.people.values():
            if (one, key) not in person.claimed:
                person.claimed.add((one, key))
                for waiting in person.waiting.values():
                    waiting.append((one, key, late, now))

    def send(self, now):
        for person in self.people.values():
            left = any(person.waiting.values())
            if not left or not person.hears(now):
                continue
            failures = [a for a, waiting in person.waiting.items() if self._send(person, a, waiting, now)]
            person.failed_at = now if failures else None

    def _send(self, person, address, waiting, now):
        """Say what waits for an address; whether that failed."""
        said = frozenset(
            (one, key, late or (person.failed_at is not None and found <= person.failed_at))
            for one, key, late, found in waiting
            if (c := self.held.get(one)) and c.notifications and c.revoked_at is None and c.replaced_by is None
        )
        if said and address in self.down:
            return True
        if said:
            self.told.append(Told(now, address, said))
        waiting.clear()
        return False

    def tick(self, now):
        day = f"{now:%Y-%m-%d}"
        if now.hour >= 6 and day != self.last_day:
            self.last_day = day
            self.run(now)
        else:
            self.send(now)


#: What people do, and how time goes by.
certificates = st.tuples(
    st.just("add"),
    st.one_of(st.integers(1, 45 * 24 * 60), st.sampled_from([24 * 60 * n for n in (1, 3, 7, 14, 30)])),
    st.sampled_from([2, 20, 89, 90, 200]),
    st.booleans(),
)
contacts = st.tuples(
    st.just("contact"),
    st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=2, unique=True),
    st.sampled_from(ZONES),
    st.sampled_from(HOURS),
)
policies = st.builds(
    ReminderPolicy,
    days=st.lists(st.sampled_from([40, 30, 14, 7, 3, 1, 0, -1, -2]), min_size=1, max_size=5).map(tuple),
    fractions=st.lists(st.sampled_from([2, 3, 6, 12, 24]), max_size=3).map(tuple),
)
passing = st.tuples(
    st.just("pass"), st.sampled_from([1, 5, 24, 24, 72, 120]), st.sampled_from([False, False, True]), st.integers(1, 2)
)
changes = st.one_of(
    certificates,
    contacts,
    st.tuples(st.just("break"), st.sampled_from(ADDRESSES), st.booleans()),
    st.tuples(st.just("mend"), st.sampled_from(ADDRESSES)),
    st.tuples(st.sampled_from(["switch", "revoke", "replace", "delete"]), st.integers(0, 9)),
    st.tuples(st.just("leave"), st.integers(0, 3)),
    st.tuples(st.just("policy"), policies),
)


def stories(length):
    """An inventory with its contacts, then changes, with time going by between them."""
    begin = st.tuples(
        st.lists(contacts, min_size=1, max_size=2),
        st.lists(certificates, min_size=2, max_size=8),
    ).map(lambda made: [*made[0], *made[1]])
    days = st.lists(st.tuples(changes, passing), min_size=length // 2, max_size=length)
    return st.tuples(begin, days).map(lambda made: [*made[0], *(step for day in made[1] for step in day)])


class Both:
    """The scan and its model, to which the same happens."""

    def __init__(self, *, dynamo=False):
        self.world = World(dynamo=dynamo)
        self.model = Model()
        self.records = []
        self.contacts = []

    def add(self, minutes, days, notices):
        made = self.world.certificate(timedelta(minutes=minutes), days * DAY, notifications=notices)
        self.records.append(made.id)
        self._hold(made, newly=notices)

    def _hold(self, record, *, newly=False):
        self.model.held[record.id] = record
        self.model.fresh.pop(record.id, None) if not record.notifications else None
        if newly:
            self.model.fresh[record.id] = self.world.clock()

    def _change(self, number, **fields):
        held = [self.model.held[one] for one in self.records if one in self.model.held]
        if held:
            old = held[number % len(held)]
            new = {name: make(old) for name, make in fields.items()}
            if any(new[name] != getattr(old, name) for name in new):
                self._hold(self.world.change(old, **new), newly=new.get("notifications", False))

    def switch(self, number):
        self._change(number, notifications=lambda old: not old.notifications)

    def revoke(self, number):
        self._change(number, revoked_at=lambda old: old.revoked_at or self.world.clock())

    def replace(self, number):
        self._change(number, replaced_by=lambda _: "another")

    def delete(self, number):
        held = [one for one in self.records if one in self.model.held]
        if held:
            old = self.model.held.pop(held[number % len(held)])
            self.model.fresh.pop(old.id, None)
            self.world.stores.certificates.delete(old, event(old.account_id))

    def contact(self, addresses, zone, hours):
        if len(self.model.people) < 3:
            made = self.world.contact(*addresses, time_zone=zone, hours=None if hours is None else Hours(*hours))
            self.contacts.append(made.id)
            self.model.people[made.id] = Person(zone, hours, {address: [] for address in addresses})

    def leave(self, number):
        here = [one for one in self.contacts if one in self.model.people]
        if here:
            one = here[number % len(here)]
            del self.model.people[one]
            self.world.stores.contacts.delete(self.world.account, one, event())

    def break_(self, address, permanent):
        self.world.post.down[address] = self.model.down[address] = permanent

    def mend(self, address):
        self.world.post.down.pop(address, None)
        self.model.down.pop(address, None)

    def policy(self, policy):
        self.world.stores.contacts.set_policy(self.world.account, policy, event())
        self.model.policy = policy

    def pass_(self, hours, down, copies):
        for _ in range(hours):
            self.world.pass_time(1, down=down, copies=copies)
            if not down:
                self.model.tick(self.world.clock())

    def play(self, story):
        for name, *arguments in story:
            getattr(self, f"{name}_" if name in {"break", "pass"} else name)(*arguments)
        for address in ADDRESSES:
            self.mend(address)
        self.pass_(49, False, 1)

    def check(self):
        key = lambda told: (told.at, told.address, sorted(told.notices))  # noqa: E731
        assert sorted(self.world.post.told, key=key) == sorted(self.model.told, key=key)
        waiting = {one for one, person in self.model.people.items() if any(person.waiting.values())}
        assert {outbox.contact_id for outbox in self.world.stores.scans.outboxes()} == waiting
        assert self.world.latest.state is RunState.DONE


@settings(max_examples=150)
@given(stories(14))
def test_every_contact_gets_exactly_what_was_due(story):
    both = Both()
    both.play(story)
    both.check()


@settings(max_examples=6, suppress_health_check=[HealthCheck.data_too_large])
@given(stories(5))
def test_over_the_real_tables_too(story):
    with moto_aws():
        both = Both(dynamo=True)
        both.play(story)
        both.check()
