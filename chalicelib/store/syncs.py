"""Jobs of batch synchronisation in their table.

A job is one row with counters; each chunk is a row that holds, compressed, first what is wanted and then what came of
it. A chunk's results, the job's counters, what it changes in the account's counters and the audit event are written in
one transaction, so each counts once.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pynamodb.expressions.update import Action
from ulid import ULID

from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.errors import NotFound
from chalicelib.domain.model import AuditEvent, Certificate, Page
from chalicelib.domain.summary import Tally
from chalicelib.domain.sync import Chunk, Link, Outcome, Result, SyncJob, SyncSchedule, Wanted
from chalicelib.store.audit import audit_row
from chalicelib.store.counters import fold_now_and_then, put_changes
from chalicelib.store.tables import SyncRow, fits_key, may_be_outdated, read
from chalicelib.store.transactions import ConditionFailedError, Writes

ACTIVE: Final = "active"
SCHEDULES: Final = "schedules"
#: For so long jobs and their results can be looked at.
KEPT: Final = timedelta(days=90)
#: Workers of one job meet at its counters: they wait for one another longer than requests do.
COUNTING_ATTEMPTS: Final = 14
#: About every so many chunks one folds what they change in the account's counters: a chunk's change is a large one.
FOLD_EVERY: Final = 4


class DynamoSyncStore:
    """Implements `chalicelib.ports.SyncStore`. `fold_every` is by how many chunks the folding of counters is shared."""

    def __init__(self, fold_every: int = FOLD_EVERY) -> None:
        self._fold_every = fold_every

    def start(self, job: SyncJob, chunks: Sequence[Chunk], audit: AuditEvent) -> None:
        """Store a new job: 1 write unit for each begun KB of a chunk (some 30 ids), and 8 for the job."""
        with SyncRow.batch_write() as batch:
            for chunk in chunks:
                batch.save(_chunk_row(job.account_id, job.id, chunk))
        writes = Writes()
        writes.put(_job_row(job))
        for pointer in _pointers(job):
            writes.put(pointer)
        writes.put(audit_row(audit))
        writes.commit()

    def job(self, account_id: str, job_id: str) -> SyncJob:
        """One job: 1 read unit."""
        row = read(SyncRow, account_id, _job_item(job_id))
        if row is None:
            raise NotFound("NotFound", f"There is no sync job {job_id!r:.70} in this account.")
        return _job(row)

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[SyncJob]:
        """Jobs, newest first: 1 read unit for each 4 KB, about ten jobs."""
        scope = f"sync-jobs#{account_id}"
        before = decode_cursor(scope, cursor)
        rows = list(
            SyncRow.query(
                account_id,
                SyncRow.item.between("job#", before or "job#~"),
                scan_index_forward=False,
                limit=limit + 2,
                page_size=limit + 2,
                consistent_read=True,
            )
        )
        rows = [row for row in rows if row.item != before][: limit + 1]
        more = encode_cursor(scope, rows[limit - 1].item) if len(rows) > limit else None
        return Page(tuple(_job(row) for row in rows[:limit]), more)

    def add_chunk(self, account_id: str, job_id: str, chunk: Chunk) -> None:
        """Add and count a chunk: 2 write units, and 2 for each begun KB of it (some 30 certificates)."""
        writes = Writes()
        writes.put(_chunk_row(account_id, job_id, chunk), SyncRow.item.does_not_exist(), "chunk")
        counted: list[Action] = [SyncRow.total.add(len(chunk.wanted)), SyncRow.chunks.add(1)]
        writes.update(SyncRow(account_id, _job_item(job_id)), counted, SyncRow.item.exists(), "job")
        try:
            writes.commit(attempts=COUNTING_ATTEMPTS)
        except ConditionFailedError as failed:
            if "job" in failed.labels:
                raise NotFound("NotFound", f"There is no sync job {job_id!r:.70} in this account.") from None

    def planned(self, job: SyncJob, cursor: str | None, at: datetime) -> bool:
        """Note a planned step: 1 write unit."""
        actions: list[Action] = [SyncRow.step.set(job.step + 1), SyncRow.updated_at.set(at)]
        actions.append(SyncRow.planned.set(True) if cursor is None else SyncRow.cursor.set(cursor))
        return _updated(job, actions, (SyncRow.step == job.step) & (SyncRow.planned == False))  # noqa: E712

    def chunks(self, account_id: str, job_id: str, first: int, limit: int) -> Sequence[Chunk]:
        """Chunks of a job: 1 read unit for each 4 KB, one or two of them."""
        rows = SyncRow.query(
            account_id,
            SyncRow.item.between(_chunk_item(job_id, first), _chunk_item(job_id, 99_999_999)),
            limit=limit,
            page_size=limit,
            consistent_read=True,
        )
        return [_chunk(row) for row in rows]

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
        """Store and count results: 4 write units, and 2 for each begun KB of the results (some 20).

        Two more count what it brought, four where that expires in more than 50 different weeks, six in more than 100;
        and folding that comes to about 4 for each chunk.
        """
        counts = {outcome: sum(r.outcome is outcome for r in results) for outcome in Outcome}
        actions: list[Action] = [
            SyncRow.chunks_done.add(1),
            SyncRow.uploaded.add(counts[Outcome.UPLOADED]),
            SyncRow.skipped.add(counts[Outcome.SKIPPED]),
            SyncRow.failed.add(counts[Outcome.FAILED]),
            SyncRow.updated_at.set(at),
        ]
        row = SyncRow(
            job.account_id,
            _chunk_item(job.id, chunk.number),
            results=_packed(map(_listed, results)),
            expires_at=_expiry(job.id),
        )
        writes = Writes()
        writes.put(row, SyncRow.wanted.exists(), "chunk")
        writes.update(SyncRow(job.account_id, _job_item(job.id)), actions, SyncRow.item.exists(), "job")
        writes.put(audit_row(audit))
        tally = Tally()
        for certificate in brought:
            tally.count(certificate)
        counted = put_changes(writes, job.account_id, audit.id, tally)
        try:
            writes.commit(attempts=COUNTING_ATTEMPTS)
        except ConditionFailedError:
            return False
        if counted:
            fold_now_and_then(job.account_id, audit.id, at, self._fold_every)
        return True

    def stop(self, job: SyncJob, code: str, reason: str, at: datetime) -> None:
        """End the planning of a job: 1 write unit."""
        actions: list[Action] = [
            SyncRow.planned.set(True),
            SyncRow.code.set(code),
            SyncRow.reason.set(reason),
            SyncRow.updated_at.set(at),
        ]
        _updated(job, actions, SyncRow.planned == False)  # noqa: E712

    def touch(self, job: SyncJob, at: datetime) -> None:
        """Note that a job was looked after: 1 write unit."""
        _updated(job, [SyncRow.updated_at.set(at)], SyncRow.item.exists())

    def end(self, job: SyncJob) -> None:
        """Take a job off the active ones: 2 write units."""
        for pointer in _pointers(job):
            pointer.delete()

    def active(self) -> Iterator[SyncJob]:
        """Jobs that have not ended, of all accounts: 1 read unit for each, and for each 40 of them."""
        for row in SyncRow.query(ACTIVE, consistent_read=True):
            found = read(SyncRow, row.account_id, _job_item(row.job_id))
            if found is not None:
                yield _job(found)

    def active_for(self, account_id: str, ca: str) -> Sequence[SyncJob]:
        """Jobs over a CA that have not ended: 1 read unit, and 1 for each."""
        rows = SyncRow.query(account_id, SyncRow.item.startswith(f"active#{ca}#"), consistent_read=True)
        found = [read(SyncRow, account_id, _job_item(row.job_id)) for row in rows]
        return [job for job in map(_job, filter(None, found)) if not job.done]

    def links(self, account_id: str, ca: str, ids: Sequence[str]) -> Mapping[str, Link]:
        """What is known of certificates: 1 read unit each, 100 to a request."""
        keys = [(account_id, item) for item in dict.fromkeys(_link_item(ca, one) for one in ids) if fits_key(item)]
        start = len(_link_item(ca, ""))
        return {row.item[start:]: _link(row) for row in SyncRow.batch_get(keys, consistent_read=True)}

    def link(self, account_id: str, ca: str, links: Mapping[str, Link]) -> None:
        """Keep what is known: 1 write unit each, 25 to a request."""
        with SyncRow.batch_write() as batch:
            for one, link in links.items():
                batch.save(_link_row(account_id, ca, one, link))

    def schedule(self, schedule: SyncSchedule, audit: AuditEvent) -> None:
        """Set a schedule: 1 read unit, and 6 write units, 2 more over an earlier one."""
        known = self.scheduled(schedule.account_id, schedule.ca)
        writes = Writes()
        writes.put(_schedule_row(schedule))
        writes.put(_due_row(schedule))
        if known is not None and _due_item(known) != _due_item(schedule):
            writes.delete(_due_row(known))
        writes.put(audit_row(audit))
        writes.commit()

    def scheduled(self, account_id: str, ca: str) -> SyncSchedule | None:
        """The schedule of a CA: 1 read unit."""
        row = read(SyncRow, account_id, _schedule_item(ca))
        return None if row is None else _schedule(row)

    def unschedule(self, account_id: str, ca: str, audit: AuditEvent) -> None:
        """Remove a schedule: 1 read unit, 6 write units."""
        known = self.scheduled(account_id, ca)
        if known is None:
            raise NotFound("NotFound", f"The CA {ca!r:.140} has no schedule.")
        writes = Writes()
        writes.delete(_schedule_row(known))
        writes.delete(_due_row(known))
        writes.put(audit_row(audit))
        writes.commit()

    def due(self, now: datetime) -> Iterator[SyncSchedule]:
        """Schedules that are due: 1 read unit for each 10 of them."""
        for row in SyncRow.query(SCHEDULES, SyncRow.item <= f"{_sortable(now)}~", consistent_read=True):
            yield _schedule(row)

    def ran(self, schedule: SyncSchedule, due_at: datetime, job_id: str | None) -> None:
        """Move a schedule on: 6 write units."""
        later = SyncSchedule(
            schedule.account_id,
            schedule.source,
            schedule.region,
            schedule.ca,
            schedule.every_hours,
            due_at,
            schedule.created_by,
            job_id or schedule.last_job,
        )
        unchanged = (SyncRow.due_at == schedule.due_at) & (SyncRow.every_hours == schedule.every_hours)
        writes = Writes()
        writes.delete(_due_row(schedule))
        writes.put(_schedule_row(later), unchanged, "schedule")
        writes.put(_due_row(later))
        try:
            writes.commit()
        except ConditionFailedError:
            # Changed, which moved its due row, or removed: what was due is left over from that.
            self._forget_stale(schedule)

    def _forget_stale(self, schedule: SyncSchedule) -> None:
        now = self.scheduled(schedule.account_id, schedule.ca)
        if now is None or _due_item(now) != _due_item(schedule):
            _due_row(schedule).delete()


def _updated(job: SyncJob, actions: list[Action], condition: Any) -> bool:  # noqa: ANN401 - PynamoDB's condition
    with may_be_outdated():
        SyncRow(job.account_id, _job_item(job.id)).update(actions, condition & SyncRow.item.exists())
        return True
    return False


def _job_item(job_id: str) -> str:
    return f"job#{job_id}"


def _chunk_item(job_id: str, number: int) -> str:
    return f"chunk#{job_id}#{number:08}"


def _link_item(ca: str, one: str) -> str:
    return f"link#{ca}#{one}"


def _schedule_item(ca: str) -> str:
    return f"schedule#{ca}"


def _sortable(moment: datetime) -> str:
    return f"{moment:%Y%m%d%H%M%S}"


def _due_item(schedule: SyncSchedule) -> str:
    return f"{_sortable(schedule.due_at)}#{schedule.account_id}#{schedule.ca}"


def _pointers(job: SyncJob) -> tuple[SyncRow, SyncRow]:
    """Where a job is found while it is active: among all, and by its CA."""
    places = ((ACTIVE, f"{job.account_id}#{job.id}"), (job.account_id, f"active#{job.ca}#{job.id}"))
    one, other = (SyncRow(*place, account_id=job.account_id, job_id=job.id) for place in places)
    return one, other


def _job_row(job: SyncJob) -> SyncRow:
    code, reason = job.problem
    return SyncRow(
        job.account_id,
        _job_item(job.id),
        code=code or None,
        reason=reason or None,
        expires_at=_expiry(job.id),
        **{name: getattr(job, name) for name in _JOB},
    )


_NUMBERS: Final = ("step", "total", "chunks", "chunks_done", "uploaded", "skipped", "failed")
_JOB: Final = (
    *("source", "region", "ca", "selected", "started_by", "created_at", "planned", "cursor", "updated_at"),
    "void_since",
    *_NUMBERS,
)


def _job(row: SyncRow) -> SyncJob:
    fields = {name: getattr(row, name) for name in _JOB} | {name: int(getattr(row, name)) for name in _NUMBERS}
    return SyncJob(
        id=row.item.removeprefix("job#"),
        account_id=row.partition,
        problem=(row.code or "", row.reason or ""),
        **fields,
    )


def _chunk_row(account_id: str, job_id: str, chunk: Chunk) -> SyncRow:
    wanted = [
        [w.id, w.certificate_id, None if w.revoked_at is None else w.revoked_at.isoformat()] for w in chunk.wanted
    ]
    return SyncRow(account_id, _chunk_item(job_id, chunk.number), wanted=_packed(wanted), expires_at=_expiry(job_id))


def _expiry(job_id: str) -> datetime:
    """Until when a job and its chunks are kept; its id is a ULID, which tells when it was made."""
    return ULID.from_str(job_id).datetime + KEPT


def _chunk(row: SyncRow) -> Chunk:
    number = int(row.item.rpartition("#")[2])
    if row.results is not None:
        results = tuple(Result(i, Outcome(o), c, r, held) for i, o, c, r, held in _unpacked(row.results))
        return Chunk(number, tuple(Wanted(r.id) for r in results), results)
    wanted = tuple(
        Wanted(i, held, None if at is None else datetime.fromisoformat(at)) for i, held, at in _unpacked(row.wanted)
    )
    return Chunk(number, wanted)


def _listed(result: Result) -> list[str | None]:
    return [result.id, result.outcome.value, result.code, result.reason, result.certificate_id]


def _packed(rows: Any) -> bytes:  # noqa: ANN401 - lists of texts
    return zlib.compress(json.dumps(list(rows), separators=(",", ":")).encode())


def _unpacked(content: bytes) -> Any:  # noqa: ANN401 - as above
    return json.loads(zlib.decompress(content))


def _link_row(account_id: str, ca: str, one: str, link: Link) -> SyncRow:
    return SyncRow(
        account_id,
        _link_item(ca, one),
        certificate_id=link.certificate_id,
        code=link.code or None,
        reason=link.reason or None,
        updated_at=link.at,
    )


def _link(row: SyncRow) -> Link:
    return Link(row.certificate_id, row.updated_at, row.code or "", row.reason or "")


def _schedule_fields(schedule: SyncSchedule) -> dict[str, Any]:
    return {
        "account_id": schedule.account_id,
        "source": schedule.source,
        "region": schedule.region,
        "ca": schedule.ca,
        "every_hours": schedule.every_hours,
        "due_at": schedule.due_at,
        "started_by": schedule.created_by,
        "last_job": schedule.last_job,
    }


def _schedule_row(schedule: SyncSchedule) -> SyncRow:
    return SyncRow(schedule.account_id, _schedule_item(schedule.ca), **_schedule_fields(schedule))


def _due_row(schedule: SyncSchedule) -> SyncRow:
    return SyncRow(SCHEDULES, _due_item(schedule), **_schedule_fields(schedule))


def _schedule(row: SyncRow) -> SyncSchedule:
    return SyncSchedule(
        row.account_id,
        row.source,
        row.region,
        row.ca,
        int(row.every_hours),
        row.due_at,
        row.started_by,
        row.last_job,
    )
