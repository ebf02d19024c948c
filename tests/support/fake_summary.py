"""A fake `SummaryStore`, which knows what is counted and works every figure out from it each time it is asked."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chalicelib.domain.model import AuditEvent, Certificate, PendingKind, Source, Status
from chalicelib.domain.status import status_at
from chalicelib.domain.summary import Figures, Overview, WeekFigure
from chalicelib.ports import Standing


def pending_kinds(certificate: Certificate, now: datetime) -> set[PendingKind]:
    """What is left to do about a certificate."""
    status = status_at(certificate, now)
    if certificate.replaced_by or status in {Status.REVOKED, Status.EXPIRED}:
        return set()
    renewal = status is Status.TO_BE_RENEWED or certificate.renewal_problem
    left = {
        PendingKind.NOTIFICATION_DISABLED: not certificate.notifications,
        PendingKind.NOT_DEPLOYED: not certificate.deployed,
        PendingKind.PENDING_RENEWAL: renewal,
        PendingKind.RISK: certificate.risks,
    }
    return {kind for kind, is_left in left.items() if is_left}


def figures_of(counted: Iterable[tuple[Certificate, int]], now: datetime) -> Figures:
    """The figures of certificates, each counted so many times, at a moment."""
    statuses, sources, algorithms, pending = Counter(), Counter(), Counter(), Counter()
    weeks, replaced, units = Counter(), Counter(), 0
    for one, number in counted:
        status = status_at(one, now)
        statuses[status] += number
        sources[one.source] += number
        algorithms[one.algorithm, one.key_size] += number
        kinds = pending_kinds(one, now)
        pending.update(dict.fromkeys(kinds, number))
        if PendingKind.NOTIFICATION_DISABLED in kinds and one.source in {Source.UPLOAD, Source.PCA}:
            units += number
        if status in {Status.ISSUED, Status.TO_BE_RENEWED}:
            weeks[_monday(one.not_after)] += number
            replaced[_monday(one.not_after)] += number * (one.replaced_by is not None)
    most = sorted((-number, kind) for kind, number in algorithms.items() if number > 0)
    mondays = [_monday(now) + timedelta(weeks=number) for number in range(53)]
    return Figures(
        total=sum(max(0, sources[source]) for source in Source),
        statuses={status: max(0, statuses[status]) for status in Status},
        sources={source: max(0, sources[source]) for source in Source},
        algorithms=tuple((algorithm, size, -number) for number, (algorithm, size) in most),
        pending={kind: max(0, pending[kind]) for kind in PendingKind},
        units=max(0, units),
        weeks=tuple(WeekFigure(m.date(), max(0, weeks[m]), max(0, replaced[m])) for m in mondays),
    )


def _monday(moment: datetime) -> datetime:
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


@dataclass
class _Kept:
    """What is counted of an account: certificates by all that matters of them."""

    counted: dict[str, list]
    changes: int = 0


class MemorySummaryStore:
    """Implements `chalicelib.ports.SummaryStore`; `audit` is the trail that its events go to."""

    def __init__(self, audit) -> None:
        self.audit = audit
        self.kept: dict[str, _Kept] = defaultdict(lambda: _Kept({}))
        self.put_off: dict[str, datetime] = {}
        self._lock = threading.RLock()

    def count(self, *counted: tuple[Certificate, int]) -> None:
        """Count certificates, or take them off; for the stores that write them."""
        with self._lock:
            for certificate, number in counted:
                kept = self.kept[certificate.account_id]
                kept.changes += 1
                kept.counted.setdefault(_what_counts(certificate), [certificate, 0])[1] += number

    def read(self, account_id: str, now: datetime) -> Overview:
        with self._lock:
            counted = list(self.kept[account_id].counted.values())
        return Overview(figures_of(counted, now), self.put_off.get(account_id))

    def snooze(self, account_id: str, until: datetime | None, audit: AuditEvent) -> None:
        with self._lock:
            self.put_off.pop(account_id, None)
            if until is not None:
                self.put_off[account_id] = until
            self.audit.record(audit)

    def standing(self, account_id: str, now: datetime) -> Standing:
        return Standing(self.kept[account_id].changes, ())

    def replace(
        self, account_id: str, standing: Standing, held: Iterable[tuple[Certificate, int]], now: datetime
    ) -> bool:
        new = _Kept({}, standing.version + 1)
        for certificate, number in held:
            new.counted.setdefault(_what_counts(certificate), [certificate, 0])[1] += number
        with self._lock:
            if self.kept[account_id].changes != standing.version:
                return False
            self.kept[account_id] = new
            return True


def _what_counts(certificate: Certificate) -> str:
    one = certificate
    return repr(
        (
            (one.source, one.algorithm, one.key_size, one.not_before, one.not_after, one.notifications, one.deployed),
            (one.revoked_at is None, one.replaced_by is None, one.renewal_problem is None, bool(one.risks)),
        )
    )
