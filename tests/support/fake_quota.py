"""The notification quota without a table."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from chalicelib.domain.model import AuditEvent, Page
from chalicelib.domain.quota import (
    MAX_OPEN,
    Purchase,
    PurchaseState,
    Quota,
    QuotaInsufficient,
    Reservation,
    closed_purchase,
    too_many_open,
    unknown_purchase,
)
from tests.support.pages import page_of


class MemoryQuotaStore:
    """Units in dictionaries."""

    def __init__(self, audit, free: int = 1_000_000) -> None:
        self.audit = audit
        self.free = free
        self.bought: dict[str, int] = {}
        self.used: dict[str, int] = {}
        self.held: dict[tuple[str, str], Reservation] = {}
        self.orders: dict[tuple[str, str], Purchase] = {}
        self._lock = threading.RLock()

    def read(self, account_id: str) -> Quota:
        return Quota(self.free, self.bought.get(account_id, 0), self.used.get(account_id, 0))

    def take(self, account_id: str, units: int, reservation: str | None = None) -> None:
        with self._lock:
            if units > 0 and reservation is not None:
                held = self.held.get((account_id, reservation))
                if held is None or held.units < units:
                    raise QuotaInsufficient(self.read(account_id).remaining, units)
                self.held[account_id, reservation] = replace(held, units=held.units - units)
                return
            if units > self.read(account_id).remaining:
                raise QuotaInsufficient(self.read(account_id).remaining, units)
            self.used[account_id] = self.used.get(account_id, 0) + units

    def reserve(self, reservation: Reservation) -> None:
        with self._lock:
            if (reservation.account_id, reservation.id) not in self.held:
                self.take(reservation.account_id, reservation.units)
                self.held[reservation.account_id, reservation.id] = reservation

    def reservations(self, before: datetime) -> Iterator[Reservation]:
        yield from [one for one in self.held.values() if one.made_at < before]

    def settle(self, account_id: str, reservation_id: str) -> None:
        with self._lock:
            held = self.held.pop((account_id, reservation_id), None)
            if held is not None:
                self.take(account_id, -held.units)

    def order(self, purchase: Purchase, audit: AuditEvent) -> None:
        with self._lock:
            place = purchase.account_id, purchase.id
            if place in self.orders:
                return
            waiting = [p for p in self.orders.values() if p.account_id == purchase.account_id and _is_open(p)]
            if _is_open(purchase) and len(waiting) >= MAX_OPEN:
                raise too_many_open()
            self._store(purchase, audit)

    def close(self, purchase: Purchase, audit: AuditEvent) -> None:
        with self._lock:
            known = self.purchase(purchase.account_id, purchase.id)
            if not _is_open(known):
                raise closed_purchase(known)
            self._store(purchase, audit)

    def _store(self, purchase: Purchase, audit: AuditEvent) -> None:
        self.orders[purchase.account_id, purchase.id] = purchase
        self.audit.record(audit)
        if purchase.state is PurchaseState.FULFILLED:
            self.bought[purchase.account_id] = self.bought.get(purchase.account_id, 0) + purchase.units

    def purchase(self, account_id: str, purchase_id: str) -> Purchase:
        try:
            return self.orders[account_id, purchase_id]
        except KeyError:
            raise unknown_purchase(purchase_id) from None

    def purchases(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Purchase]:
        own = sorted((p for p in self.orders.values() if p.account_id == account_id), key=_by_id, reverse=True)
        return page_of(own, _by_id, f"purchases {account_id}", limit, cursor, newest_first=True)

    def open_purchases(self, *, limit: int, cursor: str | None) -> Page[Purchase]:
        waiting = sorted(filter(_is_open, self.orders.values()), key=_by_id)
        return page_of(waiting, _by_id, "open purchases", limit, cursor)


def _is_open(purchase: Purchase) -> bool:
    return purchase.state is PurchaseState.OPEN


def _by_id(purchase: Purchase) -> str:
    return purchase.id
