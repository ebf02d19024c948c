"""Requests and answers of private CAs as lists show them, and of batch synchronisation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from chalicelib.api.types import Answer, PageQuery, Request

SourceId = Annotated[str, Meta(min_length=1, max_length=32)]
Region = Annotated[str, Meta(min_length=1, max_length=32)]
AuthorityId = Annotated[str, Meta(min_length=1, max_length=128)]
#: One certificate, by its id at its CA.
IssuedId = Annotated[str, Meta(min_length=1, max_length=128)]
OutcomeName = Literal["uploaded", "skipped", "failed"]


class PlaceQuery(PageQuery, kw_only=True):
    """Of which source, in which region."""

    source: SourceId | None = None
    region: Region | None = None


class JobQuery(Request, kw_only=True):
    """Where the results go on."""

    cursor: Annotated[str, Meta(max_length=512)] | None = None


class SourceView(Answer, kw_only=True):
    """A system of private CAs. `how_to` says what is missing when it is not configured."""

    id: str
    name: str
    configured: bool
    how_to: str
    regions: list[str]
    emulated: bool


class SyncJobRequest(Request, kw_only=True):
    """What is to be synchronised: certificates by their ids at the CA, all of them when none are named."""

    ca: AuthorityId
    source: SourceId | None = None
    region: Region | None = None
    certificate_ids: Annotated[list[IssuedId], Meta(min_length=1)] | None = None


class SyncResultView(Answer, kw_only=True):
    """What came of a certificate; `inventory_id` is its id in the inventory, `certificate_id` that at its CA."""

    certificate_id: str
    outcome: OutcomeName
    code: str | None
    reason: str | None
    inventory_id: str | None


class SyncProblemView(Answer, kw_only=True):
    """Why a job ended before its time."""

    code: str
    message: str


class SyncJobSummary(Answer, kw_only=True):
    """A job of batch synchronisation, and how far it is."""

    id: str
    source: str
    region: str
    ca: str
    state: Literal["running", "done"]
    total: int
    uploaded: int
    skipped: int
    failed: int
    problem: SyncProblemView | None
    created_at: datetime
    updated_at: datetime


class SyncJobView(SyncJobSummary, kw_only=True):
    """A job with results, up to a thousand at once."""

    results: list[SyncResultView]
    next_cursor: str | None


class ScheduleRequest(Request, kw_only=True):
    """How often a CA is synchronised."""

    every_hours: Annotated[int, Meta(ge=1, le=720)] = 24


class ScheduleView(Answer, kw_only=True):
    """A schedule of a CA."""

    ca: str
    source: str
    region: str
    every_hours: int
    next_at: datetime
    last_job: str | None
