"""Planned renewals, in the table of synchronisation: one partition, by the moment they are due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from chalicelib.domain.renewals import PlannedRenewal
from chalicelib.store.tables import SyncRow

RENEWALS: Final = "renewals"


class DynamoRenewalStore:
    """Implements `chalicelib.ports.RenewalStore`."""

    def plan(self, renewal: PlannedRenewal) -> None:
        """Keep a plan: 1 write unit."""
        _row(renewal).save()

    def due(self, now: datetime) -> Iterator[PlannedRenewal]:
        """Renewals that are due: 1 read unit for about 20 of them."""
        for row in SyncRow.query(RENEWALS, SyncRow.item <= f"{_sortable(now)}~", consistent_read=True):
            yield PlannedRenewal(row.account_id, row.certificate_id, row.due_at, int(row.step))

    def done(self, renewal: PlannedRenewal) -> None:
        """Forget a plan: 1 write unit."""
        _row(renewal).delete()


def _sortable(moment: datetime) -> str:
    return f"{moment:%Y%m%d%H%M%S}"


def _row(renewal: PlannedRenewal) -> SyncRow:
    return SyncRow(
        RENEWALS,
        f"{_sortable(renewal.at)}#{renewal.account_id}#{renewal.certificate_id}",
        account_id=renewal.account_id,
        certificate_id=renewal.certificate_id,
        due_at=renewal.at,
        step=renewal.tries,
    )
