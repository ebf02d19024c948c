"""When certificates renew by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from chalicelib.domain.model import Certificate

#: Renewals of certificates that were issued together are spread over so much of their lifetime.
SPREAD: Final = 30
#: How long a renewal that failed waits: it doubles with each try, up to a day.
FIRST_WAIT: Final = timedelta(hours=1)
LONGEST_WAIT: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PlannedRenewal:
    """A certificate that is to be renewed at a moment; `tries` counts what failed."""

    account_id: str
    certificate_id: str
    at: datetime
    tries: int = 0


def renewal_at(certificate: Certificate) -> datetime:
    """When a certificate renews by itself: at a third of its lifetime left, or up to a thirtieth of it before.

    How much before is made of its fingerprint: the same at every look, and another for every certificate.
    """
    lifetime = certificate.not_after - certificate.not_before
    share = int(certificate.fingerprint[:8], 16) / 16**8
    return (certificate.not_after - lifetime / 3 - share * lifetime / SPREAD).replace(microsecond=0)


def wait_after(tries: int) -> timedelta:
    """How long a renewal waits that failed so many times before."""
    return min(LONGEST_WAIT, FIRST_WAIT * (1 << min(tries, 10)))
