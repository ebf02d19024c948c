"""Contacts kept in memory, and notifiers that keep what they are to send; each passes the contract of the real one."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from chalicelib.domain.contacts import (
    MAX_CONTACTS,
    AddressProblem,
    Channel,
    ChannelState,
    Contact,
    mail_problem,
    not_found,
)
from chalicelib.domain.digests import Digest, Message, Notice
from chalicelib.domain.errors import Conflict
from chalicelib.domain.model import AuditEvent
from chalicelib.domain.reminders import ReminderPolicy
from chalicelib.ports import NotifyError
from tests.support.authority import NOW
from tests.support.fakes import MemoryAuditStore
from tests.support.records import ACCOUNT, ulid


def channel(**fields) -> Channel:
    """A channel by mail."""
    return Channel(**({"id": ulid(), "kind": "email", "address": "ops@example.com"} | fields))


def contact(**fields) -> Contact:
    """A contact with one channel by mail."""
    defaults = {
        "id": ulid(),
        "account_id": ACCOUNT,
        "name": "Operations",
        "channels": (channel(),),
        "time_zone": "Europe/Berlin",
        "hours": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Contact(**(defaults | fields))


def notice(**fields) -> Notice:
    """A notice of a certificate that is due."""
    defaults = {
        "certificate_id": ulid(),
        "name": "www.example.com-2026-rsa2048",
        "domains": ("www.example.com",),
        "deployments": (),
        "not_after": datetime(2026, 5, 12, 12, 0, tzinfo=UTC),
        "threshold": "7d",
        "due_at": datetime(2026, 5, 5, 12, 0, tzinfo=UTC),
        "late": False,
    }
    return Notice(**(defaults | fields))


def digest(*notices: Notice, **fields) -> Digest:
    """A digest of notices, made six days before the usual one's certificate expires."""
    defaults = {
        "id": ulid(),
        "account_id": ACCOUNT,
        "contact": contact(),
        "notices": notices,
        "made_at": datetime(2026, 5, 6, 12, 0, tzinfo=UTC),
        "console_url": "https://certs.example.com/console",
    }
    return Digest(**(defaults | fields))


class MemoryContactStore:
    """Contacts and policies as dictionaries; one lock makes every method atomic."""

    def __init__(self, audit: MemoryAuditStore | None = None) -> None:
        self.audit = audit or MemoryAuditStore()
        self.contacts: dict[tuple[str, str], Contact] = {}
        self.policies: dict[str, ReminderPolicy] = {}
        self._lock = threading.RLock()

    def add(self, contact: Contact, audit: AuditEvent) -> None:
        with self._lock:
            if len(self.several(contact.account_id)) >= MAX_CONTACTS:
                raise Conflict("TooManyContacts", f"The account has {MAX_CONTACTS} contacts.")
            self.contacts[contact.account_id, contact.id] = contact
            self.audit.record(audit)

    def get(self, account_id: str, contact_id: str) -> Contact:
        try:
            return self.contacts[account_id, contact_id]
        except KeyError:
            raise not_found(contact_id) from None

    def several(self, account_id: str) -> list[Contact]:
        with self._lock:
            own = [c for (owner, _), c in self.contacts.items() if owner == account_id]
        return sorted(own, key=lambda c: c.id)

    def update(self, old: Contact, new: Contact, audit: AuditEvent) -> None:
        with self._lock:
            held = self.get(old.account_id, old.id)
            if held.version != old.version:
                raise Conflict("ConcurrentChange", "The contact was changed in the meantime.")
            before, now = ({c.id: c.state for c in one.channels} for one in (old, held))
            channels = tuple(replace(c, state=now[c.id]) if before.get(c.id) == c.state else c for c in new.channels)
            self.contacts[new.account_id, new.id] = replace(new, channels=channels)
            self.audit.record(audit)

    def mark(self, contact: Contact, states: Mapping[str, ChannelState]) -> None:
        with self._lock:
            held = self.contacts.get((contact.account_id, contact.id))
            if held is not None:
                channels = tuple(replace(c, state=states.get(c.id, c.state)) for c in held.channels)
                self.contacts[contact.account_id, contact.id] = replace(held, channels=channels)

    def delete(self, account_id: str, contact_id: str, audit: AuditEvent) -> None:
        with self._lock:
            self.get(account_id, contact_id)
            del self.contacts[account_id, contact_id]
            self.audit.record(audit)

    def policy(self, account_id: str) -> ReminderPolicy:
        return self.policies.get(account_id, ReminderPolicy())

    def set_policy(self, account_id: str, policy: ReminderPolicy, audit: AuditEvent) -> None:
        with self._lock:
            self.policies[account_id] = policy
            self.audit.record(audit)


class MemoryNotifier:
    """Keeps what it is to send in `sent`, as (address, message); `failing` has the error for an address."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.secret = kind == "apprise"
        self.sent: list[tuple[str, Message]] = []
        self.failing: dict[str, NotifyError] = {}

    def check(self, address: str) -> AddressProblem | None:
        if not self.secret:
            return mail_problem(address)
        if address.partition("://")[0] in {"slack", "jsons"}:
            return None
        return AddressProblem("This is no URL that Apprise knows.", "Take one of its documentation.")

    def shown(self, address: str) -> str:
        return address.partition("://")[0] + "://" if self.secret else address

    def send(self, address: str, message: Message) -> None:
        problem = self.check(address)
        if problem is not None:
            raise NotifyError(problem.message, permanent=True)
        if address in self.failing:
            raise self.failing[address]
        self.sent.append((address, message))


def memory_notifiers() -> dict[str, MemoryNotifier]:
    """One of each kind."""
    return {kind: MemoryNotifier(kind) for kind in ("email", "apprise")}
