"""Sending what waits for contacts: one message for all of it, over each of a contact's channels, in its hours.

What was sent is noted at once. A worker that is killed between the two sends again: a reminder may come twice then, but
is never lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import Final

from chalicelib.domain.contacts import Contact
from chalicelib.domain.digests import MAX_ENTRIES, Digest, Message, Notice, render
from chalicelib.domain.model import Certificate
from chalicelib.domain.reminders import is_to_be_told
from chalicelib.domain.scans import BUNDLE, Bundle, Outbox, Reminder
from chalicelib.functions.contacts import Contacts
from chalicelib.functions.contacts import Delivery as Sent
from chalicelib.ports import CertificateStore, Clock, ScanStore

#: For so long a worker has an outbox to itself: longer than it may run.
LEASE: Final = timedelta(minutes=10)
#: How many bundles, and reminders, one message has at most; what is more goes in another.
BUNDLES_A_MESSAGE: Final = BUNDLE
REMINDERS_A_MESSAGE: Final = MAX_ENTRIES


class Delivered(StrEnum):
    """What came of an outbox."""

    SENT = "sent"
    #: Outside of the contact's hours.
    HELD = "held"
    FAILED = "failed"
    #: Another worker has it.
    LEFT = "left"


class Delivery:
    """Sends what waits in outboxes."""

    def __init__(
        self,
        scans: ScanStore,
        certificates: CertificateStore,
        contacts: Contacts,
        *,
        clock: Clock,
        console_url: str = "",
        render: Callable[[Digest], Message] = render,
    ) -> None:
        """Take the stores, what sends, and what makes a message of a digest."""
        self._scans = scans
        self._certificates = certificates
        self._contacts = contacts
        self._clock = clock
        self._console_url = console_url
        self._render = render

    def deliver(
        self, contact: Contact, *, run_id: str | None = None, known: Mapping[str, Certificate] | None = None
    ) -> Delivered:
        """Send all that waits for a contact.

        Args:
            contact: who is told.
            run_id: the run that sends; ``None`` to make up for what was held or failed before.
            known: certificates that were just read, by id; the others are read.
        """
        now = self._clock()
        if not contact.hears_at(now):
            return Delivered.HELD
        outbox = self._scans.lease(contact.account_id, contact.id, now, now + LEASE)
        if outbox is None:
            return Delivered.LEFT
        return self._empty(_Attempt(contact, outbox, run_id, known or {}, now))

    def _empty(self, attempt: _Attempt) -> Delivered:
        contact, outbox = attempt.contact, attempt.outbox
        while bundles := self._scans.bundles(contact.account_id, contact.id, BUNDLES_A_MESSAGE):
            totals = accumulate(len(bundle.reminders) for bundle in bundles)
            part = [b for b, total in zip(bundles, totals, strict=True) if total <= REMINDERS_A_MESSAGE]
            failures = self._send(attempt, part)
            if failures:
                self._scans.failed(outbox, attempt.run_id, attempt.now, channels=failures)
                self._scans.release(outbox, empty=False)
                return Delivered.FAILED
        self._scans.release(outbox, empty=True)
        return Delivered.SENT

    def _send(self, attempt: _Attempt, bundles: Sequence[Bundle]) -> int:
        """Send bundles over every channel that has not sent them; gives how many channels failed."""
        notices = self._notices(attempt, bundles)
        held = {bundle.id: bundle for bundle in bundles}
        failures = 0
        for ids, channels in _by_bundles(attempt.contact, bundles).items():
            told = [notice for one in ids for notice in notices[one]]
            sent = self._send_over(attempt, channels, told) if told else []
            failed = {one.channel.id for one in sent if not one.sent}
            done = [one for one in channels if one not in failed]
            held |= {one: replace(held[one], sent_to=(*held[one].sent_to, *done)) for one in ids}
            # First of all, so that no crash has it sent again.
            self._note(attempt, [held[one] for one in ids] if done else [], messages=len(done) if told else 0)
            self._contacts.note(attempt.contact, sent)
            failures += len(failed)
        if not failures:  # what was sent over channels that the contact had is left
            self._note(attempt, [bundle for bundle in bundles if held[bundle.id] is bundle], messages=0)
        return failures

    def _send_over(self, attempt: _Attempt, channels: Sequence[str], told: Sequence[Notice]) -> Sequence[Sent]:
        contact, outbox = attempt.contact, attempt.outbox
        digest = Digest(outbox.last, contact.account_id, contact, tuple(told), attempt.now, self._console_url)
        return self._contacts.send(contact, self._render(digest), channels)

    def _note(self, attempt: _Attempt, bundles: Sequence[Bundle], *, messages: int) -> None:
        """Note bundles with the channels that have sent them; those that all have sent are gone."""
        channels = {channel.id for channel in attempt.contact.channels}
        in_run = attempt.run_id is not None
        for done in (True, False):
            part = [bundle for bundle in bundles if channels.issubset(bundle.sent_to) is done]
            if part:
                run_id = attempt.run_id or part[0].run_id
                self._scans.sent(attempt.outbox, part, done=done, run_id=run_id, in_run=in_run, messages=messages)
                messages = 0

    def _notices(self, attempt: _Attempt, bundles: Sequence[Bundle]) -> Mapping[str, Sequence[Notice]]:
        """What is to be said of each bundle now: what was deleted, revoked or replaced since is not."""
        ids = dict.fromkeys(r.certificate_id for bundle in bundles for r in bundle.reminders)
        unknown = [one for one in ids if one not in attempt.known]
        read = self._certificates.several(attempt.contact.account_id, unknown, consistent=False) if unknown else {}
        failed_at = attempt.outbox.failed_at
        found: dict[str, list[Notice]] = {}
        for bundle in bundles:
            late = failed_at is not None and bundle.at <= failed_at
            found[bundle.id] = []
            for reminder in bundle.reminders:
                certificate = attempt.known.get(reminder.certificate_id) or read.get(reminder.certificate_id)
                if certificate is not None and is_to_be_told(certificate, reminder.key):
                    found[bundle.id].append(_notice(certificate, reminder, late=late or reminder.late))
        return found


def _by_bundles(contact: Contact, bundles: Sequence[Bundle]) -> Mapping[tuple[str, ...], Sequence[str]]:
    """The channels by the bundles that they have to send; mostly all have to send all."""
    found: dict[tuple[str, ...], list[str]] = {}
    for channel in contact.channels:
        todo = tuple(bundle.id for bundle in bundles if channel.id not in bundle.sent_to)
        if todo:
            found.setdefault(todo, []).append(channel.id)
    return found


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt at emptying a leased outbox."""

    contact: Contact
    outbox: Outbox
    run_id: str | None
    known: Mapping[str, Certificate]
    now: datetime


def _notice(certificate: Certificate, reminder: Reminder, *, late: bool) -> Notice:
    return Notice(
        certificate_id=certificate.id,
        name=certificate.name,
        domains=certificate.domains,
        deployments=(),
        not_after=certificate.not_after,
        threshold=reminder.key,
        due_at=reminder.due_at,
        late=late,
        domains_total=certificate.domains_total,
        renewal_problem=certificate.renewal_problem or "",
    )
