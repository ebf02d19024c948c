"""The daily scan: finds what is due in every account, and sees to it that each contact is told once.

A tick comes every hour. The first one of a day at or after the set hour starts the day's run: it tells the workers of
every account, by a queue. A worker puts what became due since the account's last scan into the ledger, for each
contact, and then sends. The ledger makes it right: of two workers, two runs or two tries, one claims a reminder, and
what was claimed waits in the contact's outbox until it was sent. Every other tick has sent what waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from chalicelib.domain.contacts import Contact
from chalicelib.domain.errors import NotFound
from chalicelib.domain.model import Caller, Certificate, Page
from chalicelib.domain.scans import BUNDLE, AccountScan, RunState, ScanRun, ScanTask
from chalicelib.functions.access import PLATFORM_ACCOUNT_ID
from chalicelib.functions.delivery import Delivered, Delivery
from chalicelib.functions.due import DueReader, Found
from chalicelib.ports import AccountStore, CertificateStore, Clock, ContactStore, ScanQueue, ScanStore

#: How many accounts are read, and workers told of, at once.
PAGE: Final = 100
#: So many runs are looked after: more than can go on at once.
RECENT: Final = 10
#: A run that did not move for so long has lost messages: the workers are told of every account again.
STALLED: Final = timedelta(minutes=50)
#: A run that has not ended by then is ended; the next one finds what it left.
LONGEST_RUN: Final = timedelta(hours=23)
#: So many certificates that no scan had looked at are crossed off at once: a worker that is killed has less to repeat.
SEEN: Final = 1_000
#: How many certificates are remembered until their messages are sent; those beyond are read again.
REMEMBERED: Final = 2_000


class ScanFailedError(Exception):
    """Something could not be sent or scanned: it is kept, shown, and tried again. Names no address."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """What a tick did: the run that it started, if any, and how many accounts it sent the workers to again."""

    run_id: str | None
    retried: int
    problems: tuple[str, ...]


class Scan:
    """Runs of the scan, and an account's part in them."""

    def __init__(
        self,
        accounts: AccountStore,
        certificates: CertificateStore,
        contacts: ContactStore,
        scans: ScanStore,
        *,
        delivery: Delivery,
        queue: ScanQueue,
        clock: Clock,
        hour: int = 6,
    ) -> None:
        """Take the stores, what sends, the workers' queue, and the hour of the daily run (UTC)."""
        self._accounts = accounts
        self._certificates = certificates
        self._contacts = contacts
        self._scans = scans
        self._delivery = delivery
        self._queue = queue
        self._due = DueReader(certificates)
        self._clock = clock
        self._hour = hour

    def runs(self, *, limit: int, cursor: str | None) -> Page[ScanRun]:
        """Runs over all accounts, newest first. Raises: InvalidRequest: `InvalidCursor`."""
        return self._scans.runs(limit=limit, cursor=cursor)

    def account_scans(self, caller: Caller, *, limit: int, cursor: str | None) -> Page[AccountScan]:
        """The caller's account's parts of runs, newest first. Raises: InvalidRequest: `InvalidCursor`."""
        return self._scans.account_scans(caller.account_id, limit=limit, cursor=cursor)

    # --- ticks -----------------------------------------------------------------------------------------------------

    def tick(self, *, force: bool = False) -> Ticked:
        """Start the day's run when it is time, or one more when forced; look after runs; send what waits.

        Raises:
            ExceptionGroup: what failed unforeseen, after everything else was done.
        """
        now = self._clock()
        failures: list[Exception] = []
        problems: list[str] = []
        started = self._start(now, force=force)
        for run in self._scans.runs(limit=RECENT, cursor=None).items:
            try:
                problems += self._look_after(run, now)
            except Exception as failure:  # noqa: BLE001 - raised below
                failures.append(failure)
        waiting = list(self._scans.outboxes())
        problems += [f"a message to contact {o.contact_id} of {o.account_id} failed" for o in waiting if o.failed_at]
        retried = sorted({outbox.account_id for outbox in waiting}) if started is None else []
        self._queue.send([ScanTask(one) for one in retried])
        if failures:
            raise ExceptionGroup("runs of the scan could not be looked after", failures)
        return Ticked(started, len(retried), tuple(problems))

    def _start(self, now: datetime, *, force: bool) -> str | None:
        """The id of the run that begins now, if one does; of two that are wanted in the same moment, there is one."""
        if not force and now.hour < self._hour:
            return None
        run_id = f"{now:%Y-%m-%dT%H:%M:%S.%f}" if force else f"{now:%Y-%m-%d}T{self._hour:02}"
        return run_id if self._scans.start(ScanRun(run_id, now, now)) or force else None

    def _look_after(self, run: ScanRun, now: datetime) -> Iterator[str]:
        """Have a run go on; gives what is wrong with it."""
        if run.state is not RunState.RUNNING:
            return
        if now - run.started_at > LONGEST_RUN:
            self._scans.abandon(run.id, "RunAbandoned", now)
            yield f"the run {run.id} did not end"
        elif not run.planned:
            self._plan(run, now)
        elif now - run.updated_at > STALLED:
            for _ in self._tell_workers(run.id, None):
                pass

    def _plan(self, run: ScanRun, now: datetime) -> None:
        for count, cursor in self._tell_workers(run.id, run.cursor):
            if not self._scans.planned(run, cursor, count, now):
                return  # another tick goes on with it
            run = replace(run, cursor=cursor)

    def _tell_workers(self, run_id: str, cursor: str | None) -> Iterator[tuple[int, str | None]]:
        """Send a message for each account; gives, page by page, how many there were and where the list goes on."""
        while True:
            page = self._accounts.page(limit=PAGE, cursor=cursor)
            tasks = [ScanTask(a.id, run_id) for a in page.items if a.id != PLATFORM_ACCOUNT_ID]
            self._queue.send(tasks)
            yield len(tasks), page.cursor
            cursor = page.cursor
            if cursor is None:
                return

    # --- workers ---------------------------------------------------------------------------------------------------

    def work(self, task: ScanTask, *, last_try: bool = False) -> None:
        """Carry out a queue message.

        Args:
            task: what it says.
            last_try: whether it will not come again; then an account that cannot be scanned is marked as failed.

        Raises:
            ScanFailedError: a message of this run could not be sent. It will be by a later tick; to repeat the task
                does nothing.
            Exception: whatever else stood in the way, for the task to come again.
        """
        if task.run_id is None:
            contacts = self._contacts.several(task.account_id)
            self._deliver(_Work(task.account_id, None, contacts, self._clock()))
            return
        try:
            self._run_account(task.account_id, task.run_id)
        except ScanFailedError:
            raise
        except Exception:
            if last_try:
                self._scans.finish(task.account_id, task.run_id, self._clock(), problem="InternalError")
            raise

    def _run_account(self, account_id: str, run_id: str) -> None:
        now = self._clock()
        if self._scans.begin(account_id, run_id, now).done_at is not None:
            return
        worked = _Work(account_id, run_id, self._contacts.several(account_id), now)
        if worked.contacts:  # what becomes due while there is nobody to tell is told to the first contact
            self._claim_all(worked)
        outcomes = self._deliver(worked)
        self._scans.finish(account_id, run_id, self._clock(), held=outcomes.count(Delivered.HELD))
        failed = outcomes.count(Delivered.FAILED)
        if failed:
            raise ScanFailedError(f"{failed} contacts of {account_id} could not be told of all that is due")

    def _claim_all(self, work: _Work) -> None:
        """Put everything that became due until now into the ledger."""
        account_id, now = work.account_id, work.now
        policy, after = self._contacts.policy(account_id), self._scans.scanned_until(account_id)
        found: list[Found] = []
        seen: list[str] = []
        for looked in self._due.unseen(account_id, policy, now):
            found += looked.found
            seen += looked.seen
            for entry in looked.void:
                self._certificates.forget(account_id, entry)
            if len(found) >= BUNDLE or len(seen) >= SEEN:
                self._claim_unseen(work, found, seen)
        self._claim_unseen(work, found, seen)
        if after is not None:
            self._claim(work, self._due.in_window(account_id, policy, after, now))
        self._claim(work, self._due.stuck(account_id, now))
        self._scans.scanned(account_id, now)

    def _claim_unseen(self, work: _Work, found: list[Found], seen: list[str]) -> None:
        """Claim what was found among certificates that no scan had looked at, and cross them off."""
        self._claim(work, found)
        self._certificates.seen(work.account_id, seen)
        found.clear()
        seen.clear()

    def _claim(self, work: _Work, found: Iterable[Found]) -> None:
        rest = iter(found)
        while part := list(islice(rest, BUNDLE)):
            if len(work.read) < REMEMBERED:
                work.read |= {one.certificate.id: one.certificate for one in part}
            reminders = [one.reminder for one in part]
            for contact in work.contacts:
                if self._scans.claim(work.account_id, contact.id, work.run_id or "", reminders, work.now) is not None:
                    work.waiting.add(contact.id)

    def _deliver(self, work: _Work) -> list[Delivered]:
        """Send what waits in the account's outboxes; gives what came of each."""
        known = {contact.id: contact for contact in work.contacts}
        waiting = work.waiting | {outbox.contact_id for outbox in self._scans.outboxes(work.account_id)}
        outcomes = []
        for contact_id in sorted(waiting):
            try:
                contact = known.get(contact_id) or self._contacts.get(work.account_id, contact_id)
            except NotFound:
                self._scans.discard(work.account_id, contact_id)
                continue
            outcomes.append(self._delivery.deliver(contact, run_id=work.run_id, known=work.read))
        return outcomes


@dataclass(slots=True)
class _Work:
    """An account's part of a run, or, without one, its outboxes.

    Attributes:
        read: certificates that were found due, by id, so that they need not be read again.
        waiting: contacts that something was claimed for.
    """

    account_id: str
    run_id: str | None
    contacts: Sequence[Contact]
    now: datetime
    read: dict[str, Certificate] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
