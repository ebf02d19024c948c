"""Requests and answers of pending items and of the dashboard's figures."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta

from chalicelib.api.types import Answer, Request, SourceName, StatusName


class PendingCounts(Answer, kw_only=True):
    """How many certificates there are of each kind of pending item."""

    notification_disabled: int
    not_deployed: int
    pending_renewal: int
    risk: int


class QuotaFigures(Answer, kw_only=True):
    """Units of the notification quota: left, and what all with notices off would take."""

    remaining: int
    required: int


class PendingView(Answer, kw_only=True):
    """Pending items in figures; `snoozed_until` is `null` unless they are put off."""

    counts: PendingCounts
    quota: QuotaFigures
    snoozed_until: datetime | None


class SnoozeRequest(Request, kw_only=True):
    """For how many days pending items are put off."""

    days: Annotated[int, Meta(ge=1, le=30)] = 7


class SnoozeView(Answer, kw_only=True):
    """Until when pending items are put off."""

    snoozed_until: datetime


class AlgorithmFigure(Answer, kw_only=True):
    """How many certificates have keys of this kind; `key_size` 0 stands for unusual sizes of RSA."""

    algorithm: str
    key_size: int
    certificates: int


class WeekView(Answer, kw_only=True):
    """How many certificates expire from `start` (a Monday, UTC) on for a week; `replaced` of them were replaced."""

    start: date
    certificates: int
    replaced: int


class SummaryView(Answer, kw_only=True):
    """The inventory in figures; `by_week` has this week and 52 more, without what was revoked or has expired."""

    as_of: datetime
    total: int
    by_status: dict[StatusName, int]
    by_source: dict[SourceName, int]
    by_algorithm: list[AlgorithmFigure]
    by_week: list[WeekView]
