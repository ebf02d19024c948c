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

from chalicelib.domain.contacts import Channel, Contact
from chalicelib.domain.digests import MAX_ENTRIES, Digest, Message, Notice, render
from chalicelib.domain.model import Certificate
from chalicelib.domain.reminders import is_silent
from chalicelib.domain.scans import BUNDLE, Bundle, Outbox, Reminder
from chalicelib.ports import (
    CertificateStore,
    Clock,
    ContactStore,
    KeyVault,
    KeyVaultError,
    Notifier,
    NotifyError,
    ScanStore,
)

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
    #: Another worker has it, or it is of no use to try before something changes.
    LEFT = "left"


class Delivery:
    """Sends what waits in outboxes."""

    def __init__(
        self,
        scans: ScanStore,
        contacts: ContactStore,
        certificates: CertificateStore,
        *,
        notifiers: Mapping[str, Notifier],
        vault: KeyVault,
        clock: Clock,
        console_url: str = "",
        render: Callable[[Digest], Message] = render,
    ) -> None:
        """Take the stores, the notifiers by kind of channel, and what makes a message of a digest."""
        self._scans = scans
        self._contacts = contacts
        self._certificates = certificates
        self._notifiers = notifiers
        self._vault = vault
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
        if run_id is None and outbox.permanent and outbox.contact_version == contact.version:
            self._scans.release(outbox, empty=False)
            return Delivered.LEFT
        return self._empty(_Attempt(contact, outbox, run_id, known or {}, now))

    def _empty(self, attempt: _Attempt) -> Delivered:
        contact, outbox = attempt.contact, attempt.outbox
        while bundles := self._scans.bundles(contact.account_id, contact.id, BUNDLES_A_MESSAGE):
            totals = accumulate(len(bundle.reminders) for bundle in bundles)
            failures = self._send(
                attempt, [b for b, total in zip(bundles, totals, strict=True) if total <= REMINDERS_A_MESSAGE]
            )
            for _ in failures:
                permanent = all(failure.permanent for failure in failures)
                version = contact.version
                self._scans.failed(outbox, attempt.run_id, attempt.now, permanent=permanent, contact_version=version)
            if failures:
                self._scans.release(outbox, empty=False)
                return Delivered.FAILED
        self._scans.release(outbox, empty=True)
        return Delivered.SENT

    def _send(self, attempt: _Attempt, bundles: Sequence[Bundle]) -> Sequence[NotifyError]:
        """Send bundles over every channel that has not sent them; gives what failed."""
        notices = self._notices(attempt, bundles)
        held = {bundle.id: bundle for bundle in bundles}
        failures = []
        for channel in attempt.contact.channels:
            todo = [bundle for bundle in held.values() if channel.id not in bundle.sent_to]
            told = [notice for bundle in todo for notice in notices[bundle.id]]
            try:
                if told:
                    self._send_over(
                        attempt,
                        channel,
                        Digest(
                            id=todo[-1].id,
                            account_id=attempt.contact.account_id,
                            contact=attempt.contact,
                            notices=tuple(told),
                            made_at=attempt.now,
                            console_url=self._console_url,
                        ),
                    )
            except NotifyError as failure:
                failures.append(failure)
            else:
                sent = [replace(bundle, sent_to=(*bundle.sent_to, channel.id)) for bundle in todo]
                self._note(attempt, sent, counted=bool(told))
                if told:
                    self._contacts.mark(attempt.contact, {channel.id: channel.state.sent(attempt.now)})
                held |= {bundle.id: bundle for bundle in sent}
        if not failures:  # what was sent over channels that the contact had is left
            self._note(attempt, [bundle for bundle in bundles if held[bundle.id] is bundle], counted=False)
        return failures

    def _send_over(self, attempt: _Attempt, channel: Channel, digest: Digest) -> None:
        """Send a digest; that it failed is noted on the contact. Raises: NotifyError."""
        contact = attempt.contact
        try:
            notifier = self._notifier(channel.kind)
            address = self._secret_address(contact, channel) if notifier.secret else channel.address
            notifier.send(address, self._render(digest))
        except NotifyError as failure:
            self._contacts.mark(contact, {channel.id: channel.state.failed(attempt.now, failure.problem)})
            raise

    def _notifier(self, kind: str) -> Notifier:
        if kind not in self._notifiers:
            raise NotifyError(f"There is no way to send over {kind!r:.20} here.", permanent=True)
        return self._notifiers[kind]

    def _secret_address(self, contact: Contact, channel: Channel) -> str:
        try:
            keys = {} if contact.sealed is None else self._vault.open(contact.key_context, contact.sealed)
            return keys[channel.id].decode()
        except (KeyVaultError, KeyError):
            raise NotifyError("The address cannot be read any more. Set it again.", permanent=True) from None

    def _note(self, attempt: _Attempt, bundles: Sequence[Bundle], *, counted: bool) -> None:
        """Note bundles with the channels that have sent them; those that all have sent are gone."""
        channels = {channel.id for channel in attempt.contact.channels}
        for done in (True, False):
            part = [bundle for bundle in bundles if channels.issubset(bundle.sent_to) is done]
            if part:
                run_id = (attempt.run_id or part[0].run_id) if counted else None
                in_run = attempt.run_id is not None
                self._scans.sent(attempt.outbox, part, done=done, run_id=run_id, in_run=in_run)
                counted = False

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
                if certificate is not None and not is_silent(certificate):
                    found[bundle.id].append(_notice(certificate, reminder, late=late or reminder.late))
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
    )
