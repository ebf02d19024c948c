"""Pending items: what is left to do about certificates that are in use, or should be."""

from __future__ import annotations

from datetime import datetime

from chalicelib.domain.model import Certificate, PendingKind, Status
from chalicelib.domain.status import status_at


def is_pending(certificate: Certificate, kind: PendingKind, now: datetime) -> bool:
    """Whether a certificate is a pending item of a kind at `now`.

    Nothing is left to do about one that was revoked, has expired, or was replaced. Pending renewal is what is
    `to_be_renewed`, and what was to renew by itself and failed to.
    """
    status = status_at(certificate, now)
    if status in {Status.REVOKED, Status.EXPIRED} or certificate.replaced_by is not None:
        return False
    if kind is PendingKind.NOTIFICATION_DISABLED:
        return not certificate.notifications
    if kind is PendingKind.NOT_DEPLOYED:
        return not certificate.deployed
    if kind is PendingKind.RISK:
        return bool(certificate.risks)
    return status is Status.TO_BE_RENEWED or certificate.renewal_problem is not None
