"""Routes of private CAs of every source: the tree, the certificates, and batch synchronisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chalicelib.api import pca_types, pca_views, sync_types, sync_views, types
from chalicelib.api.routes import MANAGERS, VIEWERS, Call, Routes
from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.model import Caller
from chalicelib.wiring import Services

if TYPE_CHECKING:  # a cold start does without
    from chalicelib.domain.sync import SyncJob

routes = Routes("pca")

#: How many chunks of results, a hundred each, an answer has.
CHUNKS_A_PAGE: Final = 10
SEND_LESS: Final = "Leave `certificate_ids` out to take the whole CA, or send several requests."


@routes.add("GET", "/v1/pca/sources", roles=VIEWERS, answer=types.Listing[sync_types.SourceView])
def sources(call: Call[types.EmptyQuery, None]) -> types.Listing[sync_types.SourceView]:
    """List the systems of private CAs, those that are not configured too."""
    emulated = {"alibaba"} if call.services.settings.alibaba_endpoint else frozenset[str]()
    found = call.services.private_cas.sources(call.caller)
    items = [sync_views.source_view(state, emulated=state.source.id in emulated) for state in found]
    return types.Listing(items=items, next_cursor=None)


@routes.add(
    "GET",
    "/v1/pca/cas",
    roles=VIEWERS,
    query=sync_types.PlaceQuery,
    answer=types.Listing[pca_types.CaView],
    statuses=(404, 422),
)
def authorities(call: Call[sync_types.PlaceQuery, None]) -> types.Listing[pca_types.CaView]:
    """List the CAs of a source in a region, each with its parent: a tree."""
    query = call.query
    page = call.services.private_cas.authorities(
        call.caller, query.source, query.region, limit=query.limit, cursor=query.cursor
    )
    return types.Listing(items=[pca_views.authority_view(a) for a in page.items], next_cursor=page.cursor)


@routes.add(
    "GET",
    "/v1/pca/cas/{ca}/certificates",
    roles=VIEWERS,
    query=sync_types.PlaceQuery,
    answer=types.Listing[pca_types.IssuedView],
    statuses=(404, 422),
)
def certificates(call: Call[sync_types.PlaceQuery, None]) -> types.Listing[pca_types.IssuedView]:
    """List what a CA issued to servers and clients, with each certificate's status of synchronisation."""
    query, now = call.query, call.services.clock()
    page = call.services.private_cas.certificates(
        call.caller,
        call.path["ca"],
        source=query.source,
        region=query.region,
        limit=query.limit,
        cursor=query.cursor,
    )
    return types.Listing(items=[pca_views.listed_view(c, now) for c in page.items], next_cursor=page.cursor)


@routes.add(
    "POST",
    "/v1/pca/sync-jobs",
    roles=MANAGERS,
    body=sync_types.SyncJobRequest,
    answer=sync_types.SyncJobView,
    status=202,
    action="pca.sync",
    statuses=(404, 422),
    when_large=SEND_LESS,
)
def synchronise(call: Call[types.EmptyQuery, sync_types.SyncJobRequest]) -> sync_types.SyncJobView:
    """Synchronise certificates of a CA into the inventory, or all of them; answers with a job at once."""
    return sync_views.job_view(start_sync(call.services, call.caller, call.body), ())


def start_sync(services: Services, caller: Caller, body: sync_types.SyncJobRequest) -> SyncJob:
    """Start the job that a request asks for."""
    return services.pca_batch_sync.start(caller, body.ca, body.certificate_ids, source=body.source, region=body.region)


@routes.add(
    "GET", "/v1/pca/sync-jobs", roles=VIEWERS, query=types.PageQuery, answer=types.Listing[sync_types.SyncJobSummary]
)
def jobs(call: Call[types.PageQuery, None]) -> types.Listing[sync_types.SyncJobSummary]:
    """List jobs of batch synchronisation, newest first."""
    page = call.services.pca_batch_sync.jobs(call.caller, limit=call.query.limit, cursor=call.query.cursor)
    return types.Listing(items=[sync_views.job_summary(job) for job in page.items], next_cursor=page.cursor)


@routes.add(
    "GET",
    "/v1/pca/sync-jobs/{job_id}",
    roles=VIEWERS,
    query=sync_types.JobQuery,
    answer=sync_types.SyncJobView,
    statuses=(404,),
)
def job(call: Call[sync_types.JobQuery, None]) -> sync_types.SyncJobView:
    """Show how far a job is, with its results, up to a thousand at once."""
    job_id = call.path["job_id"]
    scope = f"sync-results#{call.caller.account_id}#{job_id}"
    first = int(decode_cursor(scope, call.query.cursor) or 0)
    found, chunks = call.services.pca_batch_sync.job(call.caller, job_id, first=first, limit=CHUNKS_A_PAGE + 1)
    more = encode_cursor(scope, str(chunks[CHUNKS_A_PAGE].number)) if len(chunks) > CHUNKS_A_PAGE else None
    return sync_views.job_view(found, chunks[:CHUNKS_A_PAGE], more)


@routes.add(
    "PUT",
    "/v1/pca/cas/{ca}/schedule",
    roles=MANAGERS,
    body=sync_types.ScheduleRequest,
    answer=sync_types.ScheduleView,
    action="pca.schedule",
    statuses=(404, 422),
)
def set_schedule(call: Call[types.EmptyQuery, sync_types.ScheduleRequest]) -> sync_types.ScheduleView:
    """Synchronise a whole CA every so many hours, beginning now; new and revoked certificates are followed."""
    made = call.services.pca_batch_sync.schedule(call.caller, call.path["ca"], call.body.every_hours)
    return sync_views.schedule_view(made)


@routes.add("GET", "/v1/pca/cas/{ca}/schedule", roles=VIEWERS, answer=sync_types.ScheduleView, statuses=(404,))
def schedule(call: Call[types.EmptyQuery, None]) -> sync_types.ScheduleView:
    """Show the schedule of a CA."""
    return sync_views.schedule_view(call.services.pca_batch_sync.scheduled(call.caller, call.path["ca"]))


@routes.add("DELETE", "/v1/pca/cas/{ca}/schedule", roles=MANAGERS, status=204, action="pca.unschedule", statuses=(404,))
def remove_schedule(call: Call[types.EmptyQuery, None]) -> None:
    """Synchronise a CA on request only."""
    call.services.pca_batch_sync.unschedule(call.caller, call.path["ca"])
