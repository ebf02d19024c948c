"""Batch synchronisation: certificates of a private CA into the inventory, in chunks by a queue.

What a job does is written down before it is done, and done things are known by their keys: a message may come twice,
late or not at all, a worker may be killed anywhere, and two jobs may bring the same certificates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from chalicelib.domain.errors import CerthavenError, Conflict, NotFound, TooLarge, TooManyRequests
from chalicelib.domain.model import Caller, Certificate, Page, Role, certificate_id
from chalicelib.domain.pca import Authority, AuthorityRef, AuthorityStatus, IssuedCertificate, Unavailable
from chalicelib.domain.sync import (
    CHUNK,
    LONGEST_JOB,
    MAX_SELECTED,
    Chunk,
    Link,
    Outcome,
    Result,
    SyncJob,
    SyncSchedule,
    Task,
    Wanted,
    in_chunks,
    job_of,
)
from chalicelib.functions.audit import Audit, new_id
from chalicelib.functions.pca_intake import MAX_REASON, PcaIntake, Taken, revoked
from chalicelib.functions.private_cas import PrivateCas
from chalicelib.ports import CertificateStore, Clock, SyncStore, TaskQueue

#: How many certificates of a CA's list are asked for at once, and how many such pages one message reads. AWS tells
#: them in one large report, which is read anew for each page.
PAGE: Final = 10 * CHUNK
PAGES_A_STEP: Final = 2
#: A message whose source is busy comes again after so many seconds, which double each time; so often at most, which
#: is about two hours.
FIRST_DELAY: Final = 15
LONGEST_DELAY: Final = 300
MOST_WAITS: Final = 30
#: A worker stops fetching after that, far before its own time is over, and leaves the rest to another message.
LONGEST_WORK: Final = timedelta(seconds=60)
#: After so many certificates of a chunk that could not be fetched, the source itself is taken for the cause.
MOST_FAILURES: Final = 3
#: A job that did not move for so long has lost a message: all that is open is sent again.
STALLED: Final = timedelta(minutes=30)


class PcaBatchSync:
    """Synchronises private CAs into the inventory."""

    def __init__(
        self,
        cas: PrivateCas,
        store: SyncStore,
        certificates: CertificateStore,
        intake: PcaIntake,
        queue: TaskQueue,
        *,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._cas = cas
        self._store = store
        self._certificates = certificates
        self._intake = intake
        self._queue = queue
        self._audit = audit
        self._clock = clock

    def start(
        self,
        caller: Caller,
        ca: str,
        ids: Sequence[str] | None,
        *,
        source: str | None,
        region: str | None,
        void_since: datetime | None = None,
    ) -> SyncJob:
        """Start a job over certificates of a CA, or all of them.

        Args:
            caller: for whose account.
            ca: the CA.
            ids: certificates by their ids at the CA; ``None`` for all.
            source: of the CA, when it is to be checked.
            region: so too.
            void_since: when the CA lost its worth, for a job that only follows that.

        Raises:
            NotFound: `SourceNotFound`, `AuthorityNotFound`. Conflict: `AuthorityNotActive`, it was revoked.
            Unprocessable: `SourceNotConfigured`, `SourceRefused`, `RegionNotSupported`.
            TooLarge: `TooManyCertificates`. TooManyRequests: `SourceBusy`.
        """
        chosen = None if ids is None else tuple(Wanted(one) for one in dict.fromkeys(ids))
        if chosen is not None and len(chosen) > MAX_SELECTED:
            raise TooLarge(
                "TooManyCertificates",
                f"The request names {len(chosen)} certificates; at most {MAX_SELECTED} are taken.",
            )
        authority = self._cas.authority(caller, ca, source=source, region=region)
        if authority.status is AuthorityStatus.REVOKED and void_since is None:
            raise Conflict("AuthorityNotActive", f"The CA {ca} was revoked: its certificates are worth nothing.")
        chunks = in_chunks(chosen or ())
        job = SyncJob(
            id=new_id(self._clock),
            account_id=caller.account_id,
            source=authority.ref.source,
            region=authority.region,
            ca=authority.id,
            selected=chosen is not None,
            started_by=caller.token_id,
            created_at=self._clock(),
            planned=chosen is not None,
            total=len(chosen or ()),
            chunks=len(chunks),
            void_since=void_since,
        )
        self._store.start(job, chunks, self._audit.event(caller, "pca.sync", job.id, ca=job.ca, named=str(job.total)))
        self._queue.send([_chunk_task(job, c.number) for c in chunks] if job.selected else [_step_task(job, 0)])
        return job

    def jobs(self, caller: Caller, *, limit: int, cursor: str | None) -> Page[SyncJob]:
        """Jobs of the caller's account, newest first. Raises: InvalidRequest: `InvalidCursor`."""
        return self._store.page(caller.account_id, limit=limit, cursor=cursor)

    def job(self, caller: Caller, job_id: str, *, first: int = 0, limit: int = 10) -> tuple[SyncJob, Sequence[Chunk]]:
        """A job and some of its chunks, from number `first` on. Raises: NotFound."""
        job = self._store.job(caller.account_id, job_id)
        return job, self._store.chunks(caller.account_id, job_id, first, limit)

    def follow_authority(self, caller: Caller, revoked_ca: Authority) -> None:
        """Start jobs that mark what a revoked CA of the built-in one issued, and the CAs below it."""
        since = revoked_ca.revoked_at or self._clock()
        void, cursor = {revoked_ca.id}, None
        while True:
            page = self._cas.authorities(caller, revoked_ca.ref.source, None, limit=100, cursor=cursor)
            void |= {one.id for one in page.items if one.parent in void}  # each comes after its parent
            cursor = page.cursor
            if cursor is None:
                break
        for ca in sorted(void):
            self.start(caller, ca, None, source=None, region=None, void_since=since)

    def follow_revocation(self, caller: Caller, certificate: IssuedCertificate) -> None:
        """Mark a certificate that the built-in CA revoked in the inventory too, if it is there."""
        one = certificate_id(certificate.not_after, certificate.fingerprint)
        held = self._certificates.several(caller.account_id, [one]).get(one)
        if held is not None and certificate.revoked_at is not None:
            self._intake.mark_revoked(caller, held, certificate.revoked_at)

    def postpone(self, task: Task) -> bool:
        """Have a message come again later because its source is too busy; ``False`` when it waited long enough."""
        if task.waits >= MOST_WAITS:
            return False
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(task.waits, 10))
        self._queue.send([replace(task, waits=task.waits + 1)], delay=delay)
        return True

    def run(self, task: Task, *, last_try: bool) -> None:
        """Carry out a queue message.

        Args:
            task: what it says.
            last_try: whether it will not come again; then what cannot be done is marked as failed.

        Raises:
            Exception: whatever stood in the way, for the message to come again.
        """
        try:
            job = self._store.job(task.account_id, task.job_id)
        except NotFound:
            return
        if task.step is not None:
            self._plan(job, task.step, last_try=last_try)
        elif task.chunk is not None:
            self._carry_out(job, task.chunk, last_try=last_try)
        self._end_if_done(job)

    def _plan(self, job: SyncJob, step: int, *, last_try: bool) -> None:
        if not job.planned and job.step == step + 1:
            # Planned by a worker that was killed before it said so, perhaps.
            self._queue.send([_step_task(job, job.step)])
        if job.planned or job.step != step:
            return
        try:
            cursor = self._plan_pages(job)
        except CerthavenError as refusal:
            if isinstance(refusal, TooManyRequests) and not last_try:
                raise
            self._store.stop(job, refusal.code, refusal.message[:MAX_REASON], self._clock())
            return
        except Exception:
            if not last_try:
                raise
            self._store.stop(job, "InternalError", "The list of the CA could not be read.", self._clock())
            return
        if self._store.planned(job, cursor, self._clock()) and cursor is not None:
            self._queue.send([_step_task(job, step + 1)])

    def _plan_pages(self, job: SyncJob) -> str | None:
        """Read some pages of the CA's list into chunks; gives where it goes on."""
        source, ref = self._cas.source(job.source), AuthorityRef.parse(job.ca)
        cursor = job.cursor
        for page_number in range(job.step * PAGES_A_STEP, (job.step + 1) * PAGES_A_STEP):
            page = source.certificates(job.account_id, ref, limit=PAGE, cursor=cursor)
            wanted = tuple(_wanted(certificate, job) for certificate in page.items)
            chunks = in_chunks(wanted, first=page_number * (PAGE // CHUNK))
            for chunk in chunks:
                self._store.add_chunk(job.account_id, job.id, chunk)
            self._queue.send([_chunk_task(job, chunk.number) for chunk in chunks])
            cursor = page.cursor
            if cursor is None:
                break
        return cursor

    def _carry_out(self, job: SyncJob, number: int, *, last_try: bool) -> None:
        chunk = next((c for c in self._store.chunks(job.account_id, job.id, number, 1) if c.number == number), None)
        if chunk is None or chunk.results is not None:
            return
        taken: dict[str, Taken] = {}
        problem: CerthavenError | None = None
        try:
            for one in self._results(job, chunk):
                taken[one.result.id] = one
        except CerthavenError as refusal:
            if isinstance(refusal, TooManyRequests) and not last_try:
                raise
            problem = refusal
        except Exception:
            if not last_try:
                raise
        left = [w for w in chunk.wanted if w.id not in taken]
        self._finish(job, chunk, [*taken.values(), *self._given_up(job, left, lambda one: _failed(one, problem))])

    def _results(self, job: SyncJob, chunk: Chunk) -> Iterator[Taken]:
        """What comes of each certificate of a chunk: what is held is known by its key, the rest is fetched."""
        held = self._held(job, chunk.wanted)
        missing = []
        for wanted in chunk.wanted:
            certificate = held.get(wanted.id)
            if certificate is not None:
                yield self._intake.follow(job, wanted.id, certificate, wanted.revoked_at)
            elif wanted.revoked_at is not None:
                yield Taken(revoked(wanted.id))
            else:
                missing.append(wanted.id)
        if missing:
            yield from self._fetched(job, missing)

    def _held(self, job: SyncJob, wanted: Sequence[Wanted]) -> Mapping[str, Certificate]:
        """Which of the wanted certificates are in the inventory, as far as that is known without asking the CA."""
        links = self._store.links(job.account_id, job.ca, [w.id for w in wanted if w.certificate_id is None])
        known = {w.id: w.certificate_id or _linked(links.get(w.id)) for w in wanted}
        held = self._certificates.several(job.account_id, [one for one in known.values() if one])
        return {one: held[there] for one, there in known.items() if there is not None and there in held}

    def _given_up(self, job: SyncJob, left: Sequence[Wanted], failed: Callable[[str], Result]) -> Iterator[Taken]:
        """What is said of certificates that are not tried again: an earlier try may have brought them all the same."""
        held = self._held(job, left) if left else {}
        for wanted in left:
            certificate = held.get(wanted.id)
            if certificate is not None and job_of(certificate) == job.id:
                yield self._intake.follow(job, wanted.id, certificate, None)
            else:
                yield Taken(failed(wanted.id))

    def _fetched(self, job: SyncJob, ids: Sequence[str]) -> Iterator[Taken]:
        """Fetch and store. One that fails does not stop the others, and is told of when they are done.

        Raises:
            TooManyRequests: `SourceBusy`, there is more to do than time; what was brought is known from then on.
            Exception: the first of what failed; or a refusal of the source that is not about one certificate.
        """
        failures: list[Exception] = []
        began, links, left = self._clock(), dict[str, Link](), list(ids)
        try:
            while left and len(failures) < MOST_FAILURES:
                for taken in self._fetched_until_failure(job, left, failures, links):
                    yield taken
                    if self._clock() - began > LONGEST_WORK:
                        raise TooManyRequests("SourceBusy", "The source of the CA answers too slowly.")
        finally:
            self._store.link(job.account_id, job.ca, links)
        if failures:
            raise failures[0]

    def _fetched_until_failure(
        self, job: SyncJob, left: list[str], failures: list[Exception], links: dict[str, Link]
    ) -> Iterator[Taken]:
        """Results of what is left, taken off it one by one, up to the first that cannot be fetched."""
        source, ref = self._cas.source(job.source), AuthorityRef.parse(job.ca)
        try:
            for one, found in source.fetch(job.account_id, ref, list(left)):
                left.remove(one)
                if isinstance(found, Unavailable):
                    yield Taken(Result(one, Outcome.FAILED, found.code, found.reason[:MAX_REASON]))
                    continue
                try:
                    taken = self._intake.take(job, one, found)
                except Exception as failure:  # noqa: BLE001 - raised when the others are done
                    failures.append(failure)
                    continue
                if found.material_id is None and taken.result.certificate_id is not None:
                    links[one] = Link(taken.result.certificate_id, self._clock())
                yield taken
        except TooManyRequests as busy:
            failures.append(busy)
        except CerthavenError:
            raise
        except Exception as failure:  # noqa: BLE001 - raised when the others are done
            failures.append(failure)
        else:
            left.clear()
            return
        if left:
            left.pop(0)

    def _finish(self, job: SyncJob, chunk: Chunk, taken: Sequence[Taken]) -> None:
        now, results = self._clock(), [one.result for one in taken]
        failed = {r.id: Link(None, now, r.code, r.reason) for r in results if r.outcome is Outcome.FAILED}
        known = self._store.links(job.account_id, job.ca, list(failed))
        # What another job brought meanwhile stays known.
        self._store.link(
            job.account_id, job.ca, {one: link for one, link in failed.items() if _linked(known.get(one)) is None}
        )
        uploaded = [r.certificate_id or "" for r in results if r.outcome is Outcome.UPLOADED]
        event = self._audit.event(
            Caller(job.account_id, Role.MANAGER, job.started_by, "", job.id),
            "pca.synchronised",
            job.id,
            ca=job.ca,
            chunk=str(chunk.number),
            uploaded=" ".join(uploaded),
            failed=str(len(failed)),
        )
        brought = [one.brought for one in taken if one.brought is not None]
        self._store.finish_chunk(job, chunk, results, now, event, brought=brought)

    def _end_if_done(self, job: SyncJob) -> None:
        now = self._store.job(job.account_id, job.id)
        if now.done:
            self._store.end(now)

    def sweep(self) -> Mapping[str, int]:
        """Send what was lost again, end what never ends, and start what is scheduled.

        Returns:
            How many jobs were sent again and ended, and how many were started.

        Raises:
            ExceptionGroup: what failed, after everything else was done.
        """
        counts = {"resent": 0, "ended": 0, "started": 0}
        failures: list[Exception] = []
        for job in self._store.active():
            try:
                self._look_after(job, counts)
            except Exception as failure:  # noqa: BLE001 - raised below
                failures.append(failure)
        for schedule in self._store.due(self._clock()):
            try:
                counts["started"] += self._run_schedule(schedule)
            except Exception as failure:  # noqa: BLE001 - raised below
                failures.append(failure)
        if failures:
            raise ExceptionGroup("jobs or schedules failed", failures)
        return counts

    def _look_after(self, job: SyncJob, counts: dict[str, int]) -> None:
        now = self._clock()
        if not job.done and now - job.created_at > LONGEST_JOB:
            self._abandon(job)
            job = self._store.job(job.account_id, job.id)
        if job.done:
            self._store.end(job)
            counts["ended"] += 1
        elif now - (job.updated_at or job.created_at) > STALLED:
            self._store.touch(job, now)
            tasks = [] if job.planned else [_step_task(job, job.step)]
            self._queue.send(tasks + [_chunk_task(job, c.number) for c in self._open_chunks(job)])
            counts["resent"] += 1

    def _abandon(self, job: SyncJob) -> None:
        words = f"The job did not end within {LONGEST_JOB.total_seconds() / 3600:.0f} hours. Start another one."
        if not job.planned:
            self._store.stop(job, "JobAbandoned", words, self._clock())
        for chunk in self._open_chunks(job):
            taken = self._given_up(job, chunk.wanted, lambda one: Result(one, Outcome.FAILED, "JobAbandoned", words))
            self._finish(job, chunk, list(taken))

    def _open_chunks(self, job: SyncJob) -> Iterator[Chunk]:
        first = 0
        while chunks := self._store.chunks(job.account_id, job.id, first, 50):
            yield from (c for c in chunks if c.results is None)
            first = chunks[-1].number + 1

    def schedule(self, caller: Caller, ca: str, every_hours: int) -> SyncSchedule:
        """Synchronise a whole CA every so many hours, for the first time at once. Raises: as `start` does."""
        authority = self._cas.authority(caller, ca, source=None, region=None)
        if authority.status is AuthorityStatus.REVOKED:
            raise Conflict("AuthorityNotActive", f"The CA {ca} was revoked: it issues nothing that could be brought.")
        made = SyncSchedule(
            caller.account_id,
            authority.ref.source,
            authority.region,
            authority.id,
            every_hours,
            self._clock(),
            caller.token_id,
        )
        self._store.schedule(made, self._audit.event(caller, "pca.schedule", made.ca, every_hours=str(every_hours)))
        return made

    def scheduled(self, caller: Caller, ca: str) -> SyncSchedule:
        """The schedule of a CA. Raises: NotFound."""
        found = self._store.scheduled(caller.account_id, ca)
        if found is None:
            raise NotFound("NotFound", f"The CA {ca!r:.140} has no schedule.")
        return found

    def unschedule(self, caller: Caller, ca: str) -> None:
        """Remove the schedule of a CA. Raises: NotFound."""
        self._store.unschedule(caller.account_id, ca, self._audit.event(caller, "pca.unschedule", ca))

    def _run_schedule(self, schedule: SyncSchedule) -> bool:
        """Start a schedule's job, unless the last one still runs or the source is busy; whether that was done."""
        caller = Caller(schedule.account_id, Role.MANAGER, schedule.created_by, "", "schedule")
        started = None
        if all(job.selected for job in self._store.active_for(schedule.account_id, schedule.ca)):
            try:
                started = self._started_by(caller, schedule)
            except TooManyRequests:
                return False
            except CerthavenError as refusal:
                self._audit.refused(caller, "pca.sync", schedule.ca, refusal.code)
        self._store.ran(schedule, _next(schedule, self._clock()), started)
        return started is not None

    def _started_by(self, caller: Caller, schedule: SyncSchedule) -> str:
        """The job of a schedule; over a CA that was revoked meanwhile, one that follows that."""
        authority = self._cas.authority(caller, schedule.ca, source=None, region=None)
        void = authority.status is AuthorityStatus.REVOKED
        since = (authority.revoked_at or self._clock()) if void else None
        return self.start(caller, schedule.ca, None, source=None, region=None, void_since=since).id


def _next(schedule: SyncSchedule, now: datetime) -> datetime:
    """When a schedule runs next: at its own hour, and not for what it missed."""
    every = timedelta(hours=schedule.every_hours)
    missed = (now - schedule.due_at) // every
    return schedule.due_at + every * (missed + 1)


def _wanted(certificate: IssuedCertificate, job: SyncJob) -> Wanted:
    """What a job wants of a listed certificate."""
    one = certificate_id(certificate.not_after, certificate.fingerprint) if certificate.fingerprint else None
    return Wanted(certificate.id, one, certificate.revoked_at or job.void_since)


def _linked(link: Link | None) -> str | None:
    return None if link is None else link.certificate_id


def _failed(one: str, problem: CerthavenError | None) -> Result:
    if problem is None:
        return Result(one, Outcome.FAILED, "InternalError", "The service failed over it; nothing of it is at fault.")
    return Result(one, Outcome.FAILED, problem.code, problem.message[:MAX_REASON])


def _chunk_task(job: SyncJob, number: int) -> Task:
    return Task(job.account_id, job.id, chunk=number)


def _step_task(job: SyncJob, step: int) -> Task:
    return Task(job.account_id, job.id, step=step)
