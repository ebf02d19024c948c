"""Fakes of what the scan keeps and sends; each passes the same contract test as the real one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from chalicelib.domain.errors import NotFound
from chalicelib.domain.model import Page
from chalicelib.domain.scans import BUNDLE, AccountScan, Bundle, Outbox, Reminder, ScanRun, ScanTask
from tests.support.pages import page_of


class MemoryScanStore:
    """Runs, ledger and outboxes as dictionaries; one lock makes every method atomic."""

    def __init__(self) -> None:
        self.all_runs: dict[str, ScanRun] = {}
        self.parts: dict[tuple[str, str], AccountScan] = {}
        self.progress: dict[str, datetime] = {}
        self.ledger: dict[tuple[str, str, str, str], str] = {}
        self.open: dict[tuple[str, str], Outbox] = {}
        self.waiting: dict[tuple[str, str], dict[str, Bundle]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def start(self, run: ScanRun) -> bool:
        with self._lock:
            return self.all_runs.setdefault(run.id, run) is run

    def run(self, run_id: str) -> ScanRun:
        try:
            return self.all_runs[run_id]
        except KeyError:
            raise NotFound("NotFound", f"There is no run {run_id!r:.70}.") from None

    def runs(self, *, limit: int, cursor: str | None) -> Page[ScanRun]:
        newest = sorted(self.all_runs.values(), key=lambda r: r.id, reverse=True)
        return page_of(newest, lambda r: r.id, "scans", limit, cursor, newest_first=True)

    def planned(self, run: ScanRun, cursor: str | None, accounts: int, at: datetime) -> bool:
        with self._lock:
            now = self.all_runs.get(run.id)
            if now is None or now.planned or now.cursor != run.cursor:
                return False
            more = replace(now, accounts=now.accounts + accounts, updated_at=at, planned=cursor is None)
            self.all_runs[run.id] = more if cursor is None else replace(more, cursor=cursor)
            return True

    def abandon(self, run_id: str, problem: str, at: datetime) -> None:
        with self._lock:
            now = self.all_runs.get(run_id)
            if now is not None and not now.problem:
                self.all_runs[run_id] = replace(now, problem=problem, updated_at=at)

    def begin(self, account_id: str, run_id: str, at: datetime) -> AccountScan:
        with self._lock:
            return self.parts.setdefault((account_id, run_id), AccountScan(account_id, run_id, at))

    def finish(self, account_id: str, run_id: str, at: datetime, *, held: int = 0, problem: str = "") -> bool:
        with self._lock:
            part, run = self.parts.get((account_id, run_id)), self.all_runs.get(run_id)
            if part is None or run is None or part.done_at is not None:
                return False
            more = 1 if problem else 0
            ended = replace(part, done_at=at, held=held, problem=problem, failed=part.failed + more)
            self.parts[account_id, run_id] = ended
            self.all_runs[run_id] = replace(
                run,
                accounts_done=run.accounts_done + 1,
                notices=run.notices + part.notices,
                held=run.held + held,
                failed=run.failed + more,
                updated_at=at,
            )
            return True

    def account_scans(self, account_id: str, *, limit: int, cursor: str | None) -> Page[AccountScan]:
        own = sorted((p for p in self.parts.values() if p.account_id == account_id), key=_run_id, reverse=True)
        return page_of(own, _run_id, f"scans {account_id}", limit, cursor, newest_first=True)

    def scanned_until(self, account_id: str) -> datetime | None:
        return self.progress.get(account_id)

    def scanned(self, account_id: str, until: datetime) -> None:
        with self._lock:
            self.progress[account_id] = max(until, self.progress.get(account_id, until))

    def claim(
        self, account_id: str, contact_id: str, run_id: str, reminders: Sequence[Reminder], at: datetime
    ) -> Bundle | None:
        assert len({(r.certificate_id, r.key) for r in reminders}) == len(reminders) <= BUNDLE
        with self._lock:
            new = [r for r in reminders if (account_id, contact_id, r.certificate_id, r.key) not in self.ledger]
            if not new:
                return None
            bundle = Bundle(f"{next(self._numbers):026}", run_id, at, tuple(new))
            self.ledger |= {(account_id, contact_id, r.certificate_id, r.key): bundle.id for r in new}
            place = account_id, contact_id
            self.waiting.setdefault(place, {})[bundle.id] = bundle
            known = self.open.get(place, Outbox(account_id, contact_id, ""))
            self.open[place] = replace(known, last=bundle.id)
            part = self.parts[account_id, run_id]
            self.parts[account_id, run_id] = replace(part, notices=part.notices + len(new))
            return bundle

    def outboxes(self, account_id: str | None = None) -> Iterator[Outbox]:
        with self._lock:
            yield from [o for _, o in sorted(self.open.items()) if account_id in {None, o.account_id}]

    def lease(self, account_id: str, contact_id: str, at: datetime, until: datetime) -> Outbox | None:
        with self._lock:
            known = self.open.get((account_id, contact_id))
            if known is None or (known.leased_until is not None and known.leased_until > at):
                return None
            self.open[account_id, contact_id] = replace(known, leased_until=until)
            return self.open[account_id, contact_id]

    def bundles(self, account_id: str, contact_id: str, limit: int) -> Sequence[Bundle]:
        with self._lock:
            return list(self.waiting.get((account_id, contact_id), {}).values())[:limit]

    def sent(
        self, outbox: Outbox, bundles: Sequence[Bundle], *, done: bool, run_id: str, in_run: bool, messages: int
    ) -> None:
        with self._lock:
            held = self.waiting.get((outbox.account_id, outbox.contact_id), {})
            if not done and any(bundle.id not in held for bundle in bundles):
                return
            for bundle in bundles:
                if done:
                    held.pop(bundle.id, None)
                else:
                    held[bundle.id] = replace(held[bundle.id], sent_to=bundle.sent_to)
            self._count(outbox.account_id, run_id, "sent" if in_run else "made_up", messages)

    def failed(self, outbox: Outbox, run_id: str | None, at: datetime, *, channels: int) -> None:
        with self._lock:
            place = outbox.account_id, outbox.contact_id
            if place in self.open:
                self.open[place] = replace(self.open[place], failed_at=at)
                self._count(outbox.account_id, run_id, "failed", channels)

    def release(self, outbox: Outbox, *, empty: bool) -> None:
        with self._lock:
            place = outbox.account_id, outbox.contact_id
            now = self.open.get(place)
            if now is None or now.leased_until != outbox.leased_until:
                return
            if empty and now.last == outbox.last:
                del self.open[place]
            else:
                self.open[place] = replace(now, leased_until=None)

    def discard(self, account_id: str, contact_id: str) -> None:
        with self._lock:
            self.open.pop((account_id, contact_id), None)
            self.waiting.pop((account_id, contact_id), None)

    def _count(self, account_id: str, run_id: str | None, counter: str, number: int) -> None:
        run, part = self.all_runs.get(run_id or ""), self.parts.get((account_id, run_id or ""))
        if run is not None and part is not None:
            self.all_runs[run.id] = replace(run, **{counter: getattr(run, counter) + number})
            self.parts[account_id, run.id] = replace(part, **{counter: getattr(part, counter) + number})

    def rows(self, account_id: str) -> list[object]:
        """All that is held of an account."""
        held = (self.parts, self.open, self.waiting, self.ledger)
        return [row for kind in held for place, row in sorted(kind.items()) if place[0] == account_id]


class MemoryScanQueue:
    """Keeps messages, for tests to deliver as they like."""

    def __init__(self) -> None:
        self.tasks: list[ScanTask] = []

    def send(self, tasks: Sequence[ScanTask]) -> None:
        self.tasks += tasks

    def take(self) -> list[ScanTask]:
        """All that waits, taken out."""
        taken, self.tasks = self.tasks, []
        return taken


def _run_id(part: AccountScan) -> str:
    return part.run_id
