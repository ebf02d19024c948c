"""Requests and answers of the notification quota."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from chalicelib.api.types import Answer, CertificateFilterFields, Request
from chalicelib.domain.quota import MAX_ENABLED, MAX_UNITS

PurchaseStateName = Literal["open", "fulfilled", "declined"]


class QuotaView(Answer, kw_only=True):
    """Units: what is left, what all with notices off would take, and how many there are of which so many are taken."""

    remaining: int
    required: int
    total: int
    used: int


class PurchaseRequest(Request, kw_only=True):
    """How many units are ordered."""

    units: Annotated[int, Meta(ge=1, le=MAX_UNITS)]


class PurchaseView(Answer, kw_only=True):
    """An order of units; they are there once it is `fulfilled`."""

    id: str
    account_id: str
    units: int
    state: PurchaseStateName
    ordered_at: datetime
    closed_at: datetime | None


class PurchaseClosing(Request, kw_only=True):
    """How a purchase ends."""

    state: Literal["fulfilled", "declined"]


class EnableRequest(Request, kw_only=True):
    """Certificates by their ids, or by what they are; an empty filter means all of which notices are a pending item."""

    certificate_ids: (
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(min_length=1, max_length=MAX_ENABLED)]
        | None
    ) = None
    filter: CertificateFilterFields | None = None


class EnabledView(Answer, kw_only=True):
    """How many notices went on, how many were on, and the units that are left."""

    enabled: int
    already_enabled: int
    remaining: int
