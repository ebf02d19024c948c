"""The audit trail in its table."""

from __future__ import annotations

from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.model import AuditEvent, Page
from chalicelib.store.tables import AuditRow, may_be_outdated


def audit_row(event: AuditEvent) -> AuditRow:
    """The row of an event, for a transaction or by itself."""
    return AuditRow(
        event.account_id,
        event.id,
        at=event.at,
        actor=event.actor,
        role=event.role,
        action=event.action,
        target=event.target,
        source_ip=event.source_ip,
        request_id=event.request_id,
        result=event.result,
        detail=dict(event.detail),
    )


def _event(row: AuditRow) -> AuditEvent:
    return AuditEvent(
        id=row.event_id,
        account_id=row.account_id,
        at=row.at,
        actor=row.actor,
        role=row.role,
        action=row.action,
        target=row.target,
        source_ip=row.source_ip,
        request_id=row.request_id,
        result=row.result,
        detail=row.detail,
    )


class DynamoAuditStore:
    """Implements `chalicelib.ports.AuditStore`."""

    def record(self, event: AuditEvent) -> None:
        """Append one event: 1 write unit."""
        # The id is half chance: what has it already is this very event, in a try whose answer was lost.
        with may_be_outdated():
            audit_row(event).save(AuditRow.event_id.does_not_exist())

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[AuditEvent]:
        """Events, newest first: half a read unit per 4 KB returned (an event is about 300 bytes)."""
        scope = f"audit#{account_id}"
        before = decode_cursor(scope, cursor)
        condition = None if before is None else AuditRow.event_id < before
        rows = list(
            AuditRow.query(account_id, condition, scan_index_forward=False, limit=limit + 1, page_size=limit + 1)
        )
        more = encode_cursor(scope, rows[limit - 1].event_id) if len(rows) > limit else None
        return Page(tuple(_event(row) for row in rows[:limit]), more)
