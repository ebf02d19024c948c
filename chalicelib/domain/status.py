"""Where a certificate stands at a moment; right at every moment because it is never stored."""

from __future__ import annotations

from datetime import datetime, timedelta

from chalicelib.domain.model import Certificate, Status

RENEWAL_WINDOW = timedelta(days=30)
SHORT_LIFETIME = timedelta(days=90)


def renewal_due_at(not_before: datetime, not_after: datetime) -> datetime:
    """When a certificate becomes `to_be_renewed`: 30 days, or a third of a short lifetime, before its end."""
    lifetime = not_after - not_before
    return not_after - (lifetime / 3 if lifetime < SHORT_LIFETIME else RENEWAL_WINDOW)


def status_at(certificate: Certificate, now: datetime) -> Status:
    """The status of a held certificate at `now` (aware UTC)."""
    if certificate.revoked_at is not None:
        return Status.REVOKED
    return status_between(certificate.not_before, certificate.not_after, now)


def status_between(not_before: datetime, not_after: datetime, now: datetime) -> Status:
    """The status that a validity alone gives; its last second is within it (RFC 5280, 4.1.2.5)."""
    if now > not_after:
        return Status.EXPIRED
    return Status.TO_BE_RENEWED if now >= renewal_due_at(not_before, not_after) else Status.ISSUED


def days_left(not_after: datetime, now: datetime) -> int:
    """Whole days from `now` to the end of validity; negative once it has passed."""
    return (not_after - now).days
