"""Figures of the inventory: the dashboard, pending items, and counting anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from chalicelib.domain.errors import Conflict, NotFound
from chalicelib.domain.model import Caller, Certificate, CertificateFilter, Page, PendingKind
from chalicelib.domain.summary import Figures
from chalicelib.functions.audit import Audit
from chalicelib.ports import CertificateStore, Clock, QuotaStore, SummaryStore, SyncStore

#: How many certificates are read at once when they are counted anew.
PAGE: Final = 500
#: How often counting begins anew because something was changed meanwhile.
ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Pending:
    """How many pending items there are of each kind, and until when they are put off.

    Attributes:
        remaining: units of the notification quota that are left.
        required: units that all would take that have their notices off.
    """

    counts: Mapping[PendingKind, int]
    remaining: int
    required: int
    snoozed_until: datetime | None


class Summary:
    """The figures of the caller's account."""

    def __init__(
        self,
        store: SummaryStore,
        certificates: CertificateStore,
        syncs: SyncStore,
        quota: QuotaStore,
        *,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._store = store
        self._certificates = certificates
        self._syncs = syncs
        self._audit = audit
        self._clock = clock
        self._quota = quota

    def figures(self, caller: Caller) -> Figures:
        """The inventory in figures, as of now."""
        return self._store.read(caller.account_id, self._clock()).figures

    def pending(self, caller: Caller) -> Pending:
        """How many pending items there are, as of now."""
        now = self._clock()
        found = self._store.read(caller.account_id, now)
        remaining = self._quota.read(caller.account_id).remaining
        off = found.snoozed_until
        return Pending(
            found.figures.pending, remaining, found.figures.units, off if off is not None and off > now else None
        )

    def items(self, caller: Caller, kind: str, *, limit: int, cursor: str | None) -> Page[Certificate]:
        """The certificates of one kind of pending item, soonest expiry first.

        Raises: NotFound, there is no such kind. InvalidRequest: `InvalidCursor`.
        """
        if kind not in list(PendingKind):
            known = ", ".join(PendingKind)
            raise NotFound("NotFound", f"There is no kind of pending item {kind!r:.70}.", f"There are {known}.")
        wanted = CertificateFilter(pending=PendingKind(kind))
        return self._certificates.page(caller.account_id, wanted, now=self._clock(), limit=limit, cursor=cursor)

    def snooze(self, caller: Caller, days: int) -> datetime:
        """Put pending items off for so many days, for all of the account; gives until when."""
        until = self._clock() + timedelta(days=days)
        event = self._audit.event(caller, "pending.snooze", caller.account_id, days=str(days))
        self._store.snooze(caller.account_id, until, event)
        return until

    def reopen(self, caller: Caller) -> None:
        """Show pending items again."""
        event = self._audit.event(caller, "pending.reopen", caller.account_id)
        self._store.snooze(caller.account_id, None, event)

    def recount(self, account_id: str) -> tuple[Figures, Figures]:
        """Count an account's certificates anew, by reading all of them: a quarter of a read unit for each.

        Counting is atomic with every change, so this is for what was changed past the service; and for what a running
        synchronisation brought, somebody deleted, and it brought again before that part of it was done.

        Returns:
            The figures before and after.

        Raises:
            Conflict: `ConcurrentChange`, the inventory was changed each time before it was read to the end, or a batch
                synchronisation is running.
        """
        self._refuse_while_jobs_run(account_id)
        before = self._store.read(account_id, self._clock()).figures
        for _ in range(ATTEMPTS):
            standing = self._store.standing(account_id, self._clock())
            if self._store.replace(account_id, standing, self._held(account_id), self._clock()):
                return before, self._store.read(account_id, self._clock()).figures
        raise Conflict(
            "ConcurrentChange",
            "The inventory was changed each time while it was counted.",
            "Count again when fewer changes are made.",
        )

    def _held(self, account_id: str) -> Iterator[tuple[Certificate, int]]:
        """All certificates, once it is sure that none of them is of a job that has yet to count it.

        Whatever a job had brought when it was read, the job was running then; and if it ended since, it has counted
        and the counters are no longer what they were.
        """
        for certificate in self._every(account_id):
            yield certificate, 1
        self._refuse_while_jobs_run(account_id)

    def _refuse_while_jobs_run(self, account_id: str) -> None:
        jobs = (job for job in self._syncs.active() if job.account_id == account_id)
        running = next((job.id for job in jobs if not job.done), None)
        if running is not None:
            raise Conflict(
                "ConcurrentChange",
                f"The synchronisation {running} is running: what it brings is counted when its parts are done.",
                "Count again when no synchronisation of the account is running.",
            )

    def _every(self, account_id: str) -> Iterator[Certificate]:
        cursor = None
        while True:
            page = self._certificates.page(
                account_id, CertificateFilter(), now=self._clock(), limit=PAGE, cursor=cursor
            )
            yield from page.items
            cursor = page.cursor
            if cursor is None:
                return
