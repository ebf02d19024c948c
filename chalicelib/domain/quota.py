"""The notification quota: units that notices take, reservations of many at once, and purchases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chalicelib.domain.errors import Conflict, NotFound
from chalicelib.domain.model import Caller, Certificate, Source

#: The most units that one purchase brings, and how many purchases of an account may wait to be fulfilled.
MAX_UNITS = 100_000
MAX_OPEN = 20
#: How many certificates may be enabled by one request.
MAX_ENABLED = 500


def takes_a_unit(certificate: Certificate) -> bool:
    """Whether notices for it take a unit: those of official and of shared certificates are free."""
    return certificate.source in {Source.UPLOAD, Source.PCA}


def units_of(certificate: Certificate) -> int:
    """How many units a certificate takes as it is."""
    return int(certificate.notifications and takes_a_unit(certificate))


@dataclass(frozen=True, slots=True)
class Quota:
    """Units of an account. Lowering what is free takes nothing from anybody: then `remaining` is 0 for a while.

    Attributes:
        free: what every account has.
        bought: what was bought.
        used: what notices and reservations take.
    """

    free: int
    bought: int = 0
    used: int = 0

    @property
    def total(self) -> int:
        """All units."""
        return self.free + self.bought

    @property
    def remaining(self) -> int:
        """What is left to be taken."""
        return max(0, self.total - self.used)


class QuotaInsufficient(Conflict):
    """Fewer units `remaining` than are `required`; nothing was taken."""

    def __init__(self, remaining: int, required: int) -> None:
        super().__init__(
            "QuotaInsufficient",
            f"Switching these notices on takes {required} unit{'s' * (required != 1)} of the notification quota;"
            f" {remaining} remain{'s' * (remaining == 1)}. Nothing was changed.",
        )
        self.figures = {"remaining": remaining, "required": required}


@dataclass(frozen=True, slots=True)
class Reservation:
    """Units that were taken at once for many certificates, each of which has its own from it.

    Attributes:
        certificate_ids: for which ones.
        units: how many are in it.
        caller: who asked for it.
    """

    id: str
    account_id: str
    certificate_ids: tuple[str, ...]
    units: int
    made_at: datetime
    caller: Caller


class PurchaseState(StrEnum):
    """Where a purchase stands."""

    OPEN = "open"
    FULFILLED = "fulfilled"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Purchase:
    """An order of units.

    Attributes:
        ordered_by: the token's id.
        closed_at: when it was fulfilled or declined.
        closed_by: the operator's token, or ``automatic``.
    """

    id: str
    account_id: str
    units: int
    state: PurchaseState
    ordered_at: datetime
    ordered_by: str
    closed_at: datetime | None = None
    closed_by: str | None = None


def unknown_purchase(purchase_id: str) -> NotFound:
    """What is said of a purchase that is not there."""
    return NotFound("NotFound", f"There is no purchase {purchase_id!r:.70}.")


def closed_purchase(purchase: Purchase) -> Conflict:
    """What is said when a purchase was fulfilled or declined already."""
    return Conflict("PurchaseClosed", f"Purchase {purchase.id} is {purchase.state} already.")


def too_many_open() -> Conflict:
    """What is said when too many purchases wait."""
    return Conflict("TooManyPurchases", f"{MAX_OPEN} purchases of the account wait to be fulfilled.")
