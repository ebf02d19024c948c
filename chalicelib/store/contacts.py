"""Contacts and the policy of reminders in their table."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pynamodb.attributes import Attribute
from pynamodb.expressions.update import Action

from chalicelib.domain.contacts import MAX_CONTACTS, Channel, ChannelState, Contact, Hours, not_found
from chalicelib.domain.errors import Conflict
from chalicelib.domain.model import AuditEvent, SealedKeys
from chalicelib.domain.reminders import ReminderPolicy
from chalicelib.store.audit import audit_row
from chalicelib.store.tables import ContactRow, fits_key, may_be_outdated, read
from chalicelib.store.transactions import ConditionFailedError, Writes

_CONTACT: Final = "contact#"
_COUNT: Final = "contacts"
_POLICY: Final = "policy"


class DynamoContactStore:
    """Implements `chalicelib.ports.ContactStore`.

    A contact with mail alone is under half a KB; with a secret address it is about 1 KB, once sent to a little more.
    """

    def add(self, contact: Contact, audit: AuditEvent) -> None:
        """Store a new contact: 6 write units; the number of contacts is kept beside them."""
        writes = Writes()
        writes.put(_row(contact), ContactRow.item.does_not_exist(), "id")
        free = ContactRow.held.does_not_exist() | (ContactRow.held < MAX_CONTACTS)
        writes.update(ContactRow(contact.account_id, _COUNT), [ContactRow.held.add(1)], free, "count")
        writes.put(audit_row(audit))

        try:
            writes.commit()
        except ConditionFailedError:
            words = f"The account has {MAX_CONTACTS} contacts, which is all that it can have."
            raise Conflict("TooManyContacts", words) from None

    def get(self, account_id: str, contact_id: str) -> Contact:
        """One contact: 1 read unit."""
        row = read(ContactRow, account_id, _CONTACT + contact_id)
        if row is None:
            raise not_found(contact_id)
        return _contact(row)

    def several(self, account_id: str) -> Sequence[Contact]:
        """All contacts of an account: 1 read unit for each begun 4 KB, four contacts or more."""
        rows = ContactRow.query(account_id, ContactRow.item.startswith(_CONTACT), consistent_read=True)
        return [_contact(row) for row in rows]

    def update(self, old: Contact, new: Contact, audit: AuditEvent) -> None:
        """Replace `old` by `new`: 4 write units, 6 with a secret address."""
        row, states = _row(new), ContactRow.states
        actions = [_set(attribute, getattr(row, name)) for name, attribute in _CHANGING.items()]
        before, after = ({c.id: c.state for c in contact.channels} for contact in (old, new))
        actions += [states[channel_id].remove() for channel_id in before if channel_id not in after]
        actions += [states[i].set(_state_fields(state)) for i, state in after.items() if before.get(i) != state]
        writes = Writes()
        writes.update(row, actions, ContactRow.version == old.version, "version")
        writes.put(audit_row(audit))

        try:
            writes.commit()
        except ConditionFailedError:
            self.get(old.account_id, old.id)
            raise Conflict("ConcurrentChange", "The contact was changed in the meantime.") from None

    def mark(self, contact: Contact, states: Mapping[str, ChannelState]) -> None:
        """Note how sending went: for each channel 1 write unit, or 2 with a secret address."""
        for channel_id, state in states.items():
            kept = ContactRow.states[channel_id]
            with may_be_outdated():
                row = ContactRow(contact.account_id, _CONTACT + contact.id)
                row.update(actions=[kept.set(_state_fields(state))], condition=kept.exists())

    def delete(self, account_id: str, contact_id: str, audit: AuditEvent) -> None:
        """Delete a contact: 6 write units, 8 with a secret address."""
        if not fits_key(_CONTACT + contact_id):
            raise not_found(contact_id)
        writes = Writes()
        writes.delete(ContactRow(account_id, _CONTACT + contact_id), ContactRow.item.exists(), "id")
        writes.update(ContactRow(account_id, _COUNT), [ContactRow.held.add(-1)], ContactRow.held > 0, "count")
        writes.put(audit_row(audit))

        try:
            writes.commit()
        except ConditionFailedError:
            raise not_found(contact_id) from None

    def policy(self, account_id: str) -> ReminderPolicy:
        """The policy of reminders: 1 read unit."""
        row = read(ContactRow, account_id, _POLICY)
        if row is None:
            return ReminderPolicy()
        return ReminderPolicy(tuple(row.days), tuple(row.fractions), row.renew_redeploys)

    def set_policy(self, account_id: str, policy: ReminderPolicy, audit: AuditEvent) -> None:
        """Set the policy of reminders: 4 write units."""
        row = ContactRow(
            account_id,
            _POLICY,
            days=list(policy.days),
            fractions=list(policy.fractions),
            renew_redeploys=policy.renew_redeploys,
        )
        writes = Writes()
        writes.put(row)
        writes.put(audit_row(audit))
        writes.commit()


#: What a change writes; the rest is the key, the moment of creation, and the states of channels.
_CHANGING: Final[dict[str, Attribute[Any]]] = {
    name: getattr(ContactRow, name)
    for name in ("name", "channels", "time_zone", "hours", "kms_key_id", "data_key", "boxes", "updated_at", "version")
}


def _set(attribute: Attribute[Any], value: object) -> Action:
    return attribute.remove() if value is None else attribute.set(value)


def _row(contact: Contact) -> ContactRow:
    sealed = contact.sealed
    return ContactRow(
        contact.account_id,
        _CONTACT + contact.id,
        name=contact.name,
        channels=[[channel.id, channel.kind, channel.address] for channel in contact.channels],
        states={channel.id: _state_fields(channel.state) for channel in contact.channels},
        time_zone=contact.time_zone,
        hours=None if contact.hours is None else [contact.hours.start, contact.hours.end],
        kms_key_id=None if sealed is None else sealed.kms_key_id,
        data_key=None if sealed is None else sealed.data_key,
        boxes=None if sealed is None else {i: base64.b64encode(box).decode() for i, box in sealed.boxes.items()},
        created_at=contact.created_at,
        updated_at=contact.updated_at,
        version=contact.version,
    )


def _contact(row: ContactRow) -> Contact:
    states: Mapping[str, Mapping[str, str]] = row.states.as_dict()  # type: ignore[no-untyped-call] # PynamoDB's own
    sealed = None
    if row.boxes is not None:
        boxes = {i: base64.b64decode(box) for i, box in row.boxes.items()}
        sealed = SealedKeys(row.kms_key_id, row.data_key, boxes)
    return Contact(
        id=row.item.removeprefix(_CONTACT),
        account_id=row.account_id,
        name=row.name,
        channels=tuple(Channel(i, kind, address, _state(states.get(i, {}))) for i, kind, address in row.channels),
        time_zone=row.time_zone,
        hours=None if row.hours is None else Hours(*row.hours),
        created_at=row.created_at,
        updated_at=row.updated_at,
        sealed=sealed,
        version=int(row.version),
    )


def _state_fields(state: ChannelState) -> dict[str, str]:
    fields = {
        "sent": state.last_sent_at and state.last_sent_at.isoformat(),
        "failed": state.last_failed_at and state.last_failed_at.isoformat(),
        "problem": state.problem,
    }
    return {name: text for name, text in fields.items() if text}


def _state(fields: Mapping[str, str]) -> ChannelState:
    sent, failed = (fields.get(name) for name in ("sent", "failed"))
    return ChannelState(
        datetime.fromisoformat(sent) if sent else None,
        datetime.fromisoformat(failed) if failed else None,
        fields.get("problem", ""),
    )
