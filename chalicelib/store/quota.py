"""The notification quota in its table.

What is left is one number in one row: it is changed and checked in the transaction of whatever takes a unit or gives
one back, so that no two requests can have the same one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from pynamodb.expressions.update import Action

from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.model import AuditEvent, Caller, Page, Role
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
from chalicelib.store.audit import audit_row
from chalicelib.store.tables import QuotaRow, fits_key, read
from chalicelib.store.transactions import ConditionFailedError, Writes

#: Units that every account has, unless the setting says otherwise.
FREE: Final = 20
#: The label of the write that fails when units are short.
LABEL: Final = "quota"
#: Everybody who takes units meets at one row: 64 at once have to be told apart.
ATTEMPTS: Final = 14
_BALANCE: Final = "balance"
_PURCHASE: Final = "purchase#"
_RESERVATION: Final = "reservation#"
_OPEN: Final = "purchases"
_RESERVED: Final = "reservations"


def put_units(writes: Writes, account_id: str, units: int, free: int, reservation: str | None = None) -> None:
    """Have a transaction take units, or give them back with a negative number: 2 write units, none for 0.

    Args:
        writes: of the transaction; the write has `LABEL`.
        account_id: whose.
        units: how many are taken.
        free: how many an account has without buying any.
        reservation: take them from this one instead.
    """
    if units > 0 and reservation is not None:
        row = QuotaRow(account_id, _RESERVATION + reservation)
        writes.update(row, [QuotaRow.units.add(-units)], QuotaRow.units >= units, LABEL)
    elif units:
        fits = QuotaRow.balance >= units - free
        if units <= free:
            fits |= QuotaRow.balance.does_not_exist()
        row = QuotaRow(account_id, _BALANCE)
        writes.update(row, [QuotaRow.balance.add(-units)], fits if units > 0 else None, LABEL)


def quota_of(account_id: str, free: int) -> Quota:
    """An account's units: 1 read unit."""
    row = read(QuotaRow, account_id, _BALANCE)
    if row is None:
        return Quota(free)
    bought = int(row.bought or 0)
    return Quota(free, bought, bought - int(row.balance or 0))


class DynamoQuotaStore:
    """Implements `chalicelib.ports.QuotaStore`."""

    def __init__(self, free: int = FREE) -> None:
        self._free = free

    def read(self, account_id: str) -> Quota:
        """An account's units: 1 read unit."""
        return quota_of(account_id, self._free)

    def reserve(self, reservation: Reservation) -> None:
        """Take the units of a reservation: 6 write units, and 2 for each further begun KB of ids (some 30)."""
        writes = Writes()
        put_units(writes, reservation.account_id, reservation.units, self._free)
        writes.put(_reservation_row(reservation), QuotaRow.item.does_not_exist(), "id")
        writes.put(QuotaRow(_RESERVED, reservation.id, owner=reservation.account_id, made_at=reservation.made_at))
        try:
            writes.commit(attempts=ATTEMPTS)
        except ConditionFailedError as failed:
            if "id" in failed.labels:
                return
            raise QuotaInsufficient(self.read(reservation.account_id).remaining, reservation.units) from None

    def reservations(self, before: datetime) -> Iterator[Reservation]:
        """Reservations made before a moment, all accounts': 1 read unit for each, and one for each 4 KB of the list."""
        for entry in QuotaRow.query(_RESERVED, consistent_read=True):
            if _there(entry.made_at) < before:
                row = read(QuotaRow, entry.owner, _RESERVATION + entry.item)
                if row is not None:
                    yield _reservation(row)

    def settle(self, account_id: str, reservation_id: str) -> None:
        """End a reservation and give back what is left in it: 1 read and 6 write units."""
        while (row := read(QuotaRow, account_id, _RESERVATION + reservation_id)) is not None:
            writes = Writes()
            writes.delete(row, QuotaRow.units == row.units, LABEL)
            writes.delete(QuotaRow(_RESERVED, reservation_id))
            put_units(writes, account_id, -int(row.units), self._free)
            try:
                writes.commit(attempts=ATTEMPTS)
            except ConditionFailedError:
                continue
            return

    def order(self, purchase: Purchase, audit: AuditEvent) -> None:
        """Store a purchase: 6 write units fulfilled at once, 8 when it is to wait."""
        writes = Writes()
        writes.put(_purchase_row(purchase), QuotaRow.item.does_not_exist(), "id")
        writes.put(audit_row(audit))
        balance = QuotaRow(purchase.account_id, _BALANCE)
        if purchase.state is PurchaseState.FULFILLED:
            added: list[Action] = [QuotaRow.balance.add(purchase.units), QuotaRow.bought.add(purchase.units)]
            writes.update(balance, added, None, "balance")
        else:
            writes.put(QuotaRow(_OPEN, purchase.id, owner=purchase.account_id))
            room = QuotaRow.open.does_not_exist() | (QuotaRow.open < MAX_OPEN)
            writes.update(balance, [QuotaRow.open.add(1)], room, "open")
        try:
            writes.commit(attempts=ATTEMPTS)
        except ConditionFailedError as failed:
            if "open" in failed.labels:
                raise too_many_open() from None

    def close(self, purchase: Purchase, audit: AuditEvent) -> None:
        """Store how a purchase that waited ended: 8 write units."""
        writes = Writes()
        writes.delete(QuotaRow(_OPEN, purchase.id))
        writes.put(_purchase_row(purchase), QuotaRow.state == PurchaseState.OPEN.value, "state")
        writes.put(audit_row(audit))
        actions: list[Action] = [QuotaRow.open.add(-1)]
        if purchase.state is PurchaseState.FULFILLED:
            actions += [QuotaRow.balance.add(purchase.units), QuotaRow.bought.add(purchase.units)]
        writes.update(QuotaRow(purchase.account_id, _BALANCE), actions, None, "balance")
        try:
            writes.commit(attempts=ATTEMPTS)
        except ConditionFailedError:
            raise closed_purchase(self.purchase(purchase.account_id, purchase.id)) from None

    def purchase(self, account_id: str, purchase_id: str) -> Purchase:
        """One purchase: 1 read unit."""
        row = read(QuotaRow, account_id, _PURCHASE + purchase_id) if fits_key(purchase_id) else None
        if row is None:
            raise unknown_purchase(purchase_id)
        return _purchase(row)

    def purchases(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Purchase]:
        """Purchases, newest first: 1 read unit for each 4 KB, some 20 of them."""
        scope = f"purchases#{account_id}"
        before = decode_cursor(scope, cursor)
        rows = list(
            QuotaRow.query(
                account_id,
                QuotaRow.item.between(_PURCHASE, _PURCHASE + (before or "~")),
                scan_index_forward=False,
                limit=limit + 2,
                page_size=limit + 2,
                consistent_read=True,
            )
        )
        found = [one for one in map(_purchase, rows) if one.id != before][: limit + 1]
        return Page(tuple(found[:limit]), encode_cursor(scope, found[limit - 1].id) if len(found) > limit else None)

    def open_purchases(self, *, limit: int, cursor: str | None) -> Page[Purchase]:
        """What waits to be fulfilled, oldest first, all accounts': 1 read unit for each, and one for each 4 KB."""
        after = decode_cursor(_OPEN, cursor)
        later = None if after is None else QuotaRow.item > after
        entries = list(QuotaRow.query(_OPEN, later, limit=limit + 1, consistent_read=True))
        rows = [read(QuotaRow, entry.owner or "", _PURCHASE + entry.item) for entry in entries[:limit]]
        found = tuple(_purchase(row) for row in rows if row is not None)
        return Page(found, encode_cursor(_OPEN, entries[limit - 1].item) if len(entries) > limit else None)


def _reservation_row(reservation: Reservation) -> QuotaRow:
    return QuotaRow(
        reservation.account_id,
        _RESERVATION + reservation.id,
        units=reservation.units,
        certificate_ids=list(reservation.certificate_ids),
        caller=asdict(reservation.caller),
        made_at=reservation.made_at,
    )


def _reservation(row: QuotaRow) -> Reservation:
    caller: Any = row.caller
    return Reservation(
        id=row.item.removeprefix(_RESERVATION),
        account_id=row.account_id,
        certificate_ids=tuple(row.certificate_ids or ()),
        units=int(row.units or 0),
        made_at=_there(row.made_at),
        caller=Caller(**{**caller, "role": Role(caller["role"])}),
    )


def _purchase_row(purchase: Purchase) -> QuotaRow:
    return QuotaRow(
        purchase.account_id,
        _PURCHASE + purchase.id,
        units=purchase.units,
        state=purchase.state.value,
        made_at=purchase.ordered_at,
        made_by=purchase.ordered_by,
        closed_at=purchase.closed_at,
        closed_by=purchase.closed_by,
    )


def _purchase(row: QuotaRow) -> Purchase:
    return Purchase(
        id=row.item.removeprefix(_PURCHASE),
        account_id=row.account_id,
        units=int(row.units or 0),
        state=PurchaseState(row.state),
        ordered_at=_there(row.made_at),
        ordered_by=row.made_by or "",
        closed_at=row.closed_at,
        closed_by=row.closed_by,
    )


def _there(moment: datetime | None) -> datetime:
    assert moment is not None
    return moment
