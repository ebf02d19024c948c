"""Fakes of what batch synchronisation keeps and sends; each passes the same contract test as the real one."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from chalicelib.domain.errors import NotFound
from chalicelib.domain.model import AuditEvent, Certificate, Page
from chalicelib.domain.renewals import PlannedRenewal
from chalicelib.domain.sync import Chunk, Link, Outcome, Result, SyncJob, SyncSchedule, Task, Wanted
from tests.support.fake_summary import MemorySummaryStore
from tests.support.fakes import MemoryAuditStore
from tests.support.pages import page_of


class MemorySyncStore:
    """Jobs, chunks, links and schedules as dictionaries; one lock makes every method atomic."""

    def __init__(self, audit: MemoryAuditStore | None = None, summary: MemorySummaryStore | None = None) -> None:
        self.audit = audit or MemoryAuditStore()
        self.summary = summary or MemorySummaryStore(self.audit)
        self.jobs: dict[tuple[str, str], SyncJob] = {}
        self.parts: dict[tuple[str, str], dict[int, Chunk]] = {}
        self.open: set[tuple[str, str]] = set()
        self.known: dict[tuple[str, str, str], Link] = {}
        self.schedules: dict[tuple[str, str], SyncSchedule] = {}
        self._lock = threading.RLock()

    def start(self, job: SyncJob, chunks: Sequence[Chunk], audit: AuditEvent) -> None:
        place = job.account_id, job.id
        with self._lock:
            self.jobs[place] = job
            self.parts[place] = {chunk.number: chunk for chunk in chunks}
            self.open.add(place)
            self.audit.record(audit)

    def job(self, account_id: str, job_id: str) -> SyncJob:
        try:
            return self.jobs[account_id, job_id]
        except KeyError:
            raise NotFound("NotFound", f"There is no sync job {job_id!r:.70} in this account.") from None

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[SyncJob]:
        own = sorted((j for (owner, _), j in self.jobs.items() if owner == account_id), key=_id, reverse=True)
        return page_of(own, _id, f"sync-jobs {account_id}", limit, cursor, newest_first=True)

    def add_chunk(self, account_id: str, job_id: str, chunk: Chunk) -> None:
        with self._lock:
            job = self.job(account_id, job_id)
            parts = self.parts[account_id, job_id]
            if chunk.number not in parts:
                parts[chunk.number] = chunk
                counted = replace(job, total=job.total + len(chunk.wanted), chunks=job.chunks + 1)
                self.jobs[account_id, job_id] = counted

    def planned(self, job: SyncJob, cursor: str | None, at: datetime) -> bool:
        with self._lock:
            now = self.jobs.get((job.account_id, job.id))
            if now is None or now.planned or now.step != job.step:
                return False
            went_on = replace(
                now, step=now.step + 1, updated_at=at, planned=cursor is None, cursor=cursor or now.cursor
            )
            self.jobs[job.account_id, job.id] = went_on
            return True

    def chunks(self, account_id: str, job_id: str, first: int, limit: int) -> Sequence[Chunk]:
        parts = self.parts.get((account_id, job_id), {})
        return [parts[number] for number in sorted(parts) if number >= first][:limit]

    def finish_chunk(
        self,
        job: SyncJob,
        chunk: Chunk,
        results: Sequence[Result],
        at: datetime,
        audit: AuditEvent,
        *,
        brought: Sequence[Certificate] = (),
    ) -> bool:
        place = job.account_id, job.id
        with self._lock:
            held = self.parts.get(place, {}).get(chunk.number)
            if held is None or held.results is not None:
                return False
            wanted = tuple(Wanted(result.id) for result in results)
            self.parts[place][chunk.number] = Chunk(chunk.number, wanted, tuple(results))
            now = self.jobs[place]
            counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
            self.jobs[place] = replace(
                now,
                chunks_done=now.chunks_done + 1,
                uploaded=now.uploaded + counts[Outcome.UPLOADED],
                skipped=now.skipped + counts[Outcome.SKIPPED],
                failed=now.failed + counts[Outcome.FAILED],
                updated_at=at,
            )
            self.summary.count(*((certificate, 1) for certificate in brought))
            self.audit.record(audit)
            return True

    def stop(self, job: SyncJob, code: str, reason: str, at: datetime) -> None:
        with self._lock:
            now = self.jobs.get((job.account_id, job.id))
            if now is not None and not now.planned:
                stopped = replace(now, planned=True, problem=(code, reason), updated_at=at)
                self.jobs[job.account_id, job.id] = stopped

    def touch(self, job: SyncJob, at: datetime) -> None:
        with self._lock:
            now = self.jobs[job.account_id, job.id]
            self.jobs[job.account_id, job.id] = replace(now, updated_at=at)

    def end(self, job: SyncJob) -> None:
        with self._lock:
            self.open.discard((job.account_id, job.id))

    def active(self) -> Iterator[SyncJob]:
        yield from [self.jobs[place] for place in sorted(self.open)]

    def active_for(self, account_id: str, ca: str) -> Sequence[SyncJob]:
        own = [self.jobs[place] for place in sorted(self.open) if place[0] == account_id]
        return [job for job in own if job.ca == ca and not job.done]

    def links(self, account_id: str, ca: str, ids: Sequence[str]) -> Mapping[str, Link]:
        return {one: self.known[account_id, ca, one] for one in ids if (account_id, ca, one) in self.known}

    def link(self, account_id: str, ca: str, links: Mapping[str, Link]) -> None:
        with self._lock:
            self.known |= {(account_id, ca, one): link for one, link in links.items()}

    def schedule(self, schedule: SyncSchedule, audit: AuditEvent) -> None:
        with self._lock:
            self.schedules[schedule.account_id, schedule.ca] = schedule
            self.audit.record(audit)

    def scheduled(self, account_id: str, ca: str) -> SyncSchedule | None:
        return self.schedules.get((account_id, ca))

    def unschedule(self, account_id: str, ca: str, audit: AuditEvent) -> None:
        with self._lock:
            if self.schedules.pop((account_id, ca), None) is None:
                raise NotFound("NotFound", f"The CA {ca!r:.140} has no schedule.")
            self.audit.record(audit)

    def due(self, now: datetime) -> Iterator[SyncSchedule]:
        yield from sorted((s for s in self.schedules.values() if s.due_at <= now), key=lambda s: s.due_at)

    def ran(self, schedule: SyncSchedule, due_at: datetime, job_id: str | None) -> None:
        with self._lock:
            now = self.scheduled(schedule.account_id, schedule.ca)
            if now is not None and (now.due_at, now.every_hours) == (schedule.due_at, schedule.every_hours):
                later = replace(now, due_at=due_at, last_job=job_id or now.last_job)
                self.schedules[schedule.account_id, schedule.ca] = later

    def rows(self, account_id: str) -> list[object]:
        """All that is held of an account."""
        held = (self.jobs, self.parts, self.known, self.schedules)
        return [row for kind in held for place, row in sorted(kind.items()) if place[0] == account_id]


class MemoryRenewalStore:
    """Planned renewals as a dictionary."""

    def __init__(self) -> None:
        self.plans: dict[tuple[datetime, str, str], PlannedRenewal] = {}

    def plan(self, renewal: PlannedRenewal) -> None:
        self.plans[renewal.at, renewal.account_id, renewal.certificate_id] = renewal

    def due(self, now: datetime) -> Iterator[PlannedRenewal]:
        yield from [self.plans[place] for place in sorted(self.plans) if place[0] <= now]

    def done(self, renewal: PlannedRenewal) -> None:
        self.plans.pop((renewal.at, renewal.account_id, renewal.certificate_id), None)


class MemoryTaskQueue:
    """Keeps messages, for tests to deliver as they like."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.delays: list[int] = []

    def send(self, tasks: Sequence[Task], *, delay: int = 0) -> None:
        assert 0 <= delay <= 900
        self.tasks += tasks
        self.delays += [delay] * len(tasks)

    def take(self) -> list[Task]:
        """All that waits, taken out."""
        taken, self.tasks = self.tasks, []
        return taken


class MemoryCredentials:
    """What accounts gave for their other clouds."""

    def __init__(self) -> None:
        self.given: dict[tuple[str, str], Mapping[str, str]] = {}

    def get(self, account_id: str, provider: str) -> Mapping[str, str] | None:
        return self.given.get((account_id, provider))

    def place(self, account_id: str, provider: str) -> str:
        return f"the secret test/{provider}/{account_id} of AWS Secrets Manager"


def _id(job: SyncJob) -> str:
    return job.id
