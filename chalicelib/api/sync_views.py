"""Private CAs and batch synchronisation as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chalicelib.api import sync_types

if TYPE_CHECKING:  # a cold start does without
    from chalicelib.domain.sync import Chunk, Result, SyncJob, SyncSchedule
    from chalicelib.functions.private_cas import SourceState


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
