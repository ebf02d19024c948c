"""Routes of pending items and of the dashboard's figures."""

from __future__ import annotations

from typing import Any

from chalicelib.api import summary_types, types, views
from chalicelib.api.routes import MANAGERS, VIEWERS, Call, Routes
from chalicelib.domain.summary import Figures
from chalicelib.functions.summary import Pending

routes = Routes("summary")


@routes.add("GET", "/v1/summary", roles=VIEWERS, answer=summary_types.SummaryView)
def figures(call: Call[types.EmptyQuery, None]) -> summary_types.SummaryView:
    """Show the inventory in figures: by status, source and algorithm, and what expires in each week of a year."""
    return _summary_view(call, call.services.summary.figures(call.caller))


@routes.add("GET", "/v1/pending-items", roles=VIEWERS, answer=summary_types.PendingView)
def pending(call: Call[types.EmptyQuery, None]) -> summary_types.PendingView:
    """Count the pending items of each kind."""
    return _pending_view(call.services.summary.pending(call.caller))


@routes.add(
    "GET",
    "/v1/pending-items/{kind}",
    roles=VIEWERS,
    query=types.PageQuery,
    answer=types.Listing[types.CertificateView],
    statuses=(404,),
)
def pending_list(call: Call[types.PageQuery, None]) -> types.Listing[types.CertificateView]:
    """List the certificates of one kind of pending item, soonest expiry first."""
    page = call.services.summary.items(call.caller, call.path["kind"], limit=call.query.limit, cursor=call.query.cursor)
    now = call.services.clock()
    return types.Listing(items=[views.certificate_view(c, now) for c in page.items], next_cursor=page.cursor)


@routes.add(
    "POST",
    "/v1/pending-items/snooze",
    roles=MANAGERS,
    body=summary_types.SnoozeRequest,
    answer=summary_types.SnoozeView,
    action="pending.snooze",
)
def snooze(call: Call[types.EmptyQuery, summary_types.SnoozeRequest]) -> summary_types.SnoozeView:
    """Put pending items off for some days, for the whole account."""
    return summary_types.SnoozeView(snoozed_until=call.services.summary.snooze(call.caller, call.body.days))


@routes.add("DELETE", "/v1/pending-items/snooze", roles=MANAGERS, status=204, action="pending.reopen")
def reopen(call: Call[types.EmptyQuery, None]) -> None:
    """Show pending items again, whether they were put off or not."""
    call.services.summary.reopen(call.caller)


def _summary_view(call: Call[Any, Any], found: Figures) -> summary_types.SummaryView:
    statuses: Any = {status.value: number for status, number in found.statuses.items()}
    sources: Any = {source.value: number for source, number in found.sources.items()}
    return summary_types.SummaryView(
        as_of=call.services.clock(),
        total=found.total,
        by_status=statuses,
        by_source=sources,
        by_algorithm=[
            summary_types.AlgorithmFigure(algorithm=algorithm, key_size=size, certificates=number)
            for algorithm, size, number in found.algorithms
        ],
        by_week=[
            summary_types.WeekView(start=week.start, certificates=week.certificates, replaced=week.replaced)
            for week in found.weeks
        ],
    )


def _pending_view(found: Pending) -> summary_types.PendingView:
    return summary_types.PendingView(
        counts=summary_types.PendingCounts(**{kind.value: number for kind, number in found.counts.items()}),
        quota=summary_types.QuotaFigures(remaining=found.remaining, required=found.required),
        snoozed_until=found.snoozed_until,
    )
