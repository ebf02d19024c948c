"""Finding the certificates whose reminders became due: by ranges of expiry, and never by reading all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from chalicelib.domain.model import Certificate
from chalicelib.domain.reminders import (
    LONG_AGO,
    RENEWAL_FAILED,
    ReminderPolicy,
    Threshold,
    Valid,
    Watched,
    due,
    is_silent,
    is_to_be_told,
    short_window,
    windows,
)
from chalicelib.domain.scans import Reminder
from chalicelib.ports import CertificateStore

#: A scan that runs daily finds a reminder within a day; one found so much later is late.
LATE: Final = timedelta(hours=25)
#: A record that an entry of the index tells of is written within moments, or, its function killed, never.
SETTLED: Final = timedelta(hours=1)
#: How many records are read at once.
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Found:
    """A certificate with the most urgent of its reminders that became due."""

    certificate: Certificate
    reminder: Reminder


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of some certificates that no scan had looked at.

    Attributes:
        found: those of which something is due.
        seen: ids of those that need not be looked at again.
        void: entries that tell of nothing.
    """

    found: list[Found]
    seen: list[str]
    void: list[Watched]


class DueReader:
    """Reads what is due from an inventory."""

    def __init__(self, certificates: CertificateStore) -> None:
        self._certificates = certificates

    def unseen(self, account_id: str, policy: ReminderPolicy, until: datetime) -> Iterator[Looked]:
        """Certificates that came since the last scan, or whose notices were switched on: what was due before counts."""
        entries = self._certificates.unseen(account_id)
        while batch := list(islice(entries, BATCH)):
            told = {w.id: t for w in batch if (t := _most_urgent(w, policy, LONG_AGO, until)) is not None}
            records = self._certificates.several(account_id, list(told), consistent=False) if told else {}
            looked = Looked([], [w.id for w in batch if w.id not in told], [])
            for entry in batch:
                if entry.id in told:
                    _look(looked, entry, records.get(entry.id), told[entry.id], until)
            yield looked

    def in_window(self, account_id: str, policy: ReminderPolicy, after: datetime, until: datetime) -> Iterator[Found]:
        """Certificates of which something became due after one moment and until another, each once."""
        for certificate in self._read(account_id, policy, after, until):
            told = _most_urgent(certificate, policy, after, until)
            if told is not None and not is_silent(certificate):
                yield _found(certificate, told, until)

    def stuck(self, account_id: str, until: datetime) -> Iterator[Found]:
        """Certificates that were to renew by themselves and could not; the ledger knows of which it was told."""
        for certificate in self._certificates.stuck(account_id):
            if is_to_be_told(certificate, RENEWAL_FAILED):
                yield Found(certificate, Reminder(certificate.id, RENEWAL_FAILED, until, late=False))

    def _read(self, account_id: str, policy: ReminderPolicy, after: datetime, until: datetime) -> Iterator[Certificate]:
        ranges = windows(policy, after, until)
        for low, high in ranges:
            yield from self._certificates.expiring(account_id, low, high)
        low, high = short_window(policy, after, until)
        wanted = (
            entry.id
            for entry in self._certificates.short_lived(account_id, low, high)
            if due(entry, policy, after, until) and not any(a < entry.not_after <= b for a, b in ranges)
        )
        while batch := list(islice(wanted, BATCH)):
            yield from self._certificates.several(account_id, batch, consistent=False).values()


def _most_urgent(one: Valid, policy: ReminderPolicy, after: datetime, until: datetime) -> Threshold | None:
    return (due(one, policy, after, until) or (None,))[-1]


def _look(looked: Looked, entry: Watched, record: Certificate | None, told: Threshold, until: datetime) -> None:
    """See what came of an entry of which something is due."""
    if record is not None and record.version >= entry.version and not is_silent(record):
        looked.found.append(_found(record, told, until, entry.since))
        looked.seen.append(entry.id)
    elif until - entry.since > SETTLED:
        looked.void.append(entry)


def _found(certificate: Certificate, told: Threshold, until: datetime, since: datetime = LONG_AGO) -> Found:
    late = until - max(told.at, since) > LATE
    return Found(certificate, Reminder(certificate.id, told.key, told.at, late))
