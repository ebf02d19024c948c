"""The notification quota: switching notices on for many certificates at once, and buying units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from chalicelib.domain.errors import Conflict, NotFound, Unprocessable
from chalicelib.domain.model import Caller, Certificate, CertificateFilter, Page, PendingKind
from chalicelib.domain.naming import to_ascii_domain
from chalicelib.domain.quota import (
    MAX_ENABLED,
    Purchase,
    PurchaseState,
    Quota,
    QuotaInsufficient,
    Reservation,
    closed_purchase,
    takes_a_unit,
)
from chalicelib.functions.audit import Audit, new_id
from chalicelib.ports import CertificateStore, Clock, QuotaStore

#: Who closes purchases that need no operator.
AUTOMATIC: Final = "automatic"
#: After so long a request that reserved units is given up, and what it left undone is done for it.
GIVEN_UP: Final = timedelta(minutes=15)
#: How often a certificate is read again that others change at the same time.
ATTEMPTS: Final = 4
PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Enabled:
    """What switching notices on came to: how many are on now that were off, and how many were on already."""

    enabled: int
    already: int
    quota: Quota


class NotificationQuota:
    """The units of the caller's account.

    Args:
        store: keeps units.
        certificates: the inventory.
        audit: makes audit events.
        clock: tells the time.
        needed: how many units an account would need for all that have their notices off.
        by_operator: whether purchases wait for the operator; else they are fulfilled at once.
    """

    def __init__(
        self,
        store: QuotaStore,
        certificates: CertificateStore,
        *,
        audit: Audit,
        clock: Clock,
        needed: Callable[[str], int],
        by_operator: bool,
    ) -> None:
        self._store = store
        self._certificates = certificates
        self._audit = audit
        self._clock = clock
        self._needed = needed
        self._by_operator = by_operator

    def show(self, caller: Caller) -> tuple[Quota, int]:
        """The account's units, and how many it would take to switch on all that have their notices off."""
        return self._store.read(caller.account_id), self._needed(caller.account_id)

    def enable(self, caller: Caller, certificate_ids: Sequence[str]) -> Enabled:
        """Switch the notices of certificates on: of all or none.

        Raises:
            NotFound: one of them is not the account's.
            Conflict: `QuotaInsufficient`.
        """
        ids = tuple(dict.fromkeys(certificate_ids))
        held = self._certificates.several(caller.account_id, ids)
        missing = [one for one in ids if one not in held]
        if missing:
            more = f", nor are {len(missing) - 1} others of them" if len(missing) > 1 else ""
            raise NotFound("NotFound", f"There is no certificate {missing[0]!r:.70} in this account{more}.")
        return self._enable(caller, [held[one] for one in ids])

    def enable_all(self, caller: Caller, wanted: CertificateFilter) -> Enabled:
        """The same for whatever is a pending item for its notices and fits a filter.

        Raises:
            Unprocessable: `TooManyCertificates` fit. Conflict: `QuotaInsufficient`.
        """
        if wanted.domain is not None:
            wanted = replace(wanted, domain=to_ascii_domain(wanted.domain))
        found: list[Certificate] = []
        for certificate in self._fitting(caller, replace(wanted, pending=PendingKind.NOTIFICATION_DISABLED)):
            found.append(certificate)
            if len(found) > MAX_ENABLED:
                raise Unprocessable(
                    "TooManyCertificates",
                    f"More than {MAX_ENABLED} certificates fit; so many are switched on by one request at most.",
                )
        return self._enable(caller, found)

    def _fitting(self, caller: Caller, wanted: CertificateFilter) -> Iterator[Certificate]:
        cursor = None
        while True:
            page = self._certificates.page(caller.account_id, wanted, now=self._clock(), limit=PAGE, cursor=cursor)
            yield from page.items
            cursor = page.cursor
            if cursor is None:
                return

    def _enable(self, caller: Caller, certificates: Sequence[Certificate]) -> Enabled:
        off = [certificate for certificate in certificates if not certificate.notifications]
        units = sum(takes_a_unit(certificate) for certificate in off)
        if off:
            ids = tuple(certificate.id for certificate in off)
            reservation = Reservation(new_id(self._clock), caller.account_id, ids, units, self._clock(), caller)
            if units:
                self._store.reserve(reservation)
            self._use(reservation, off)
        return Enabled(len(off), len(certificates) - len(off), self._store.read(caller.account_id))

    def _use(self, reservation: Reservation, certificates: Sequence[Certificate]) -> None:
        """Switch on what a reservation is for. What is killed in it is done by `finish_reservations`."""
        for certificate in certificates:
            self._switch_on(reservation, certificate)
        self._store.settle(reservation.account_id, reservation.id)

    def _switch_on(self, reservation: Reservation, certificate: Certificate) -> None:
        event = self._audit.event(reservation.caller, "certificate.change", certificate.id, fields="notifications")
        for attempt in range(ATTEMPTS):
            if certificate.notifications:
                return
            now = self._clock()
            new = replace(certificate, notifications=True, version=certificate.version + 1, updated_at=now)
            try:
                self._certificates.update(certificate, new, event, reservation=reservation.id)
            except NotFound:
                return
            except QuotaInsufficient:
                # Its unit went to another worker that does the same.
                return
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
                held = self._certificates.several(reservation.account_id, [certificate.id])
                if certificate.id not in held:
                    return
                certificate = held[certificate.id]
            else:
                return

    def finish_reservations(self) -> int:
        """Do what requests left undone that were killed after they had taken their units; gives how many those were."""
        number = 0
        for reservation in self._store.reservations(self._clock() - GIVEN_UP):
            held = self._certificates.several(reservation.account_id, reservation.certificate_ids)
            self._use(reservation, list(held.values()))
            number += 1
        return number

    def order(self, caller: Caller, units: int) -> Purchase:
        """Order units. Raises: Conflict: `TooManyPurchases` wait for the operator."""
        now = self._clock()
        purchase = Purchase(new_id(self._clock), caller.account_id, units, PurchaseState.OPEN, now, caller.token_id)
        if not self._by_operator:
            purchase = replace(purchase, state=PurchaseState.FULFILLED, closed_at=now, closed_by=AUTOMATIC)
        event = self._audit.event(caller, "quota.purchase", purchase.id, units=str(units), state=purchase.state)
        self._store.order(purchase, event)
        return purchase

    def purchases(self, caller: Caller, *, limit: int, cursor: str | None) -> Page[Purchase]:
        """The account's purchases, newest first."""
        return self._store.purchases(caller.account_id, limit=limit, cursor=cursor)

    def open_purchases(self, *, limit: int, cursor: str | None) -> Page[Purchase]:
        """For the operator: what waits, oldest first."""
        return self._store.open_purchases(limit=limit, cursor=cursor)

    def close(self, caller: Caller, account_id: str, purchase_id: str, *, fulfilled: bool) -> Purchase:
        """For the operator: fulfil a purchase or decline it. Raises: NotFound. Conflict: `PurchaseClosed`."""
        purchase = self._store.purchase(account_id, purchase_id)
        if purchase.state is not PurchaseState.OPEN:
            raise closed_purchase(purchase)
        state = PurchaseState.FULFILLED if fulfilled else PurchaseState.DECLINED
        closed = replace(purchase, state=state, closed_at=self._clock(), closed_by=caller.token_id)
        event = self._audit.event(
            caller, "quota.close", purchase.id, account_id=account_id, units=str(purchase.units), state=state
        )
        self._store.close(closed, event)
        return closed
