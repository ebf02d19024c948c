"""The audit trail: who did what, on what, from where, when, with what result."""

from __future__ import annotations

from ulid import ULID

from chalicelib.domain.model import AuditEvent, Caller, Page
from chalicelib.ports import AuditStore, Clock


def new_id(clock: Clock) -> str:
    """A new ULID of this moment: unique, and sorting by time."""
    return str(ULID.from_datetime(clock()))


class Audit:
    """Makes audit events, and reads them back."""

    def __init__(self, store: AuditStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def event(
        self,
        caller: Caller,
        action: str,
        target: str,
        *,
        account_id: str = "",
        result: str = "ok",
        **detail: str,
    ) -> AuditEvent:
        """An event of now, to be written together with the change it tells of.

        Args:
            caller: who acts.
            action: what, as ``certificate.upload``.
            target: id of what it is done to.
            account_id: whose trail it belongs to, when not the caller's.
            result: ``ok``, or the code of the refusal.
            detail: small facts; never key, token or passphrase text.
        """
        now = self._clock()
        return AuditEvent(
            id=str(ULID.from_datetime(now)),
            account_id=account_id or caller.account_id,
            at=now,
            actor=caller.token_id,
            role=caller.role.label,
            action=action,
            target=target,
            source_ip=caller.source_ip,
            request_id=caller.request_id,
            result=result,
            detail=detail,
        )

    def accessed(self, caller: Caller, action: str, target: str, **detail: str) -> None:
        """Record an access to a private key, before the key is handed out."""
        self._store.record(self.event(caller, action, target, account_id="", result="ok", **detail))

    def refused(self, caller: Caller, action: str, target: str, code: str) -> None:
        """Record an attempt that was refused with `code`."""
        self._store.record(self.event(caller, action, target, account_id="", result=code))

    def page(self, caller: Caller, *, limit: int, cursor: str | None) -> Page[AuditEvent]:
        """The trail of the caller's account, newest first."""
        return self._store.page(caller.account_id, limit=limit, cursor=cursor)
