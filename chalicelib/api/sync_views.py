"""Private CAs and batch synchronisation as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chalicelib.api import sync_types
from chalicelib.domain.model import Status
from chalicelib.domain.status import status_between
from chalicelib.domain.sync import Chunk, Result, SyncJob, SyncSchedule
from chalicelib.functions.private_cas import Listed, SourceState


def source_view(state: SourceState, *, emulated: bool) -> sync_types.SourceView:
    """A source of private CAs, configured or not."""
    return sync_types.SourceView(
        id=state.source.id,
        name=state.source.title,
        configured=not state.setup_needed,
        how_to=state.setup_needed,
        regions=list(state.source.regions()),
        emulated=emulated,
    )


def listed_view(listed: Listed, now: datetime) -> sync_types.PcaCertificateView:
    """A certificate of a CA, with its status of synchronisation."""
    one = listed.certificate
    sync_status: Any = listed.status.value
    status: Any = (Status.REVOKED if one.revoked_at else status_between(one.not_before, one.not_after, now)).value
    return sync_types.PcaCertificateView(
        id=one.id,
        common_name=one.common_name,
        sans=list(one.sans),
        serial_number=one.serial_number,
        fingerprint_sha256=one.fingerprint or None,
        not_before=one.not_before,
        not_after=one.not_after,
        status=status,
        revoked_at=one.revoked_at,
        has_private_key=one.has_private_key,
        sync_status=sync_status,
        certificate_id=listed.certificate_id,
        code=listed.code or None,
        reason=listed.reason or None,
    )


def _job_fields(job: SyncJob) -> dict[str, Any]:
    code, message = job.problem
    return {
        "id": job.id,
        "source": job.source,
        "region": job.region,
        "ca": job.ca,
        "state": "done" if job.done else "running",
        "total": job.total,
        "uploaded": job.uploaded,
        "skipped": job.skipped,
        "failed": job.failed,
        "problem": sync_types.SyncProblemView(code=code, message=message) if code else None,
        "created_at": job.created_at,
        "updated_at": job.updated_at or job.created_at,
    }


def job_summary(job: SyncJob) -> sync_types.SyncJobSummary:
    """A job, without its results."""
    return sync_types.SyncJobSummary(**_job_fields(job))


def job_view(job: SyncJob, chunks: Sequence[Chunk], next_cursor: str | None = None) -> sync_types.SyncJobView:
    """A job with the results of some of its chunks."""
    results = [_result_view(result) for chunk in chunks for result in chunk.results or ()]
    return sync_types.SyncJobView(**_job_fields(job), results=results, next_cursor=next_cursor)


def _result_view(result: Result) -> sync_types.SyncResultView:
    outcome: Any = result.outcome.value
    return sync_types.SyncResultView(
        certificate_id=result.id,
        outcome=outcome,
        code=result.code or None,
        reason=result.reason or None,
        inventory_id=result.certificate_id,
    )


def schedule_view(schedule: SyncSchedule) -> sync_types.ScheduleView:
    """The schedule of a CA."""
    return sync_types.ScheduleView(
        ca=schedule.ca,
        source=schedule.source,
        region=schedule.region,
        every_hours=schedule.every_hours,
        next_at=schedule.due_at,
        last_job=schedule.last_job,
    )
