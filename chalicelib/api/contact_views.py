"""Contacts and the policy of reminders as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chalicelib.api import contact_types
from chalicelib.domain.contacts import Channel, Contact
from chalicelib.domain.reminders import ReminderPolicy
from chalicelib.functions.contacts import Delivery


def _channel_fields(channel: Channel) -> dict[str, Any]:
    scheme = channel.address.removesuffix("://") if channel.address.endswith("://") else None
    return {
        "id": channel.id,
        "kind": channel.kind,
        "address": channel.address if scheme is None else None,
        "scheme": scheme,
    }


def contact_view(contact: Contact) -> contact_types.ContactView:
    """A contact with its channels."""
    hours = contact.hours
    return contact_types.ContactView(
        id=contact.id,
        name=contact.name,
        channels=[
            contact_types.ChannelView(
                **_channel_fields(channel),
                last_sent_at=channel.state.last_sent_at,
                last_failed_at=channel.state.last_failed_at,
                problem=channel.state.problem or None,
            )
            for channel in contact.channels
        ],
        time_zone=contact.time_zone,
        hours=None if hours is None else contact_types.HoursView(start=hours.start, end=hours.end),
        created_at=contact.created_at,
        updated_at=contact.updated_at,
    )


def test_view(contact_id: str, deliveries: Sequence[Delivery]) -> contact_types.ContactTestView:
    """What came of a test message."""
    channels = [
        contact_types.DeliveryView(
            **_channel_fields(delivery.channel),
            outcome="sent" if delivery.sent else "failed",
            problem=delivery.problem or None,
            permanent=delivery.permanent,
        )
        for delivery in deliveries
    ]
    return contact_types.ContactTestView(contact_id=contact_id, channels=channels)


def policy_view(policy: ReminderPolicy) -> contact_types.ReminderPolicyView:
    """When reminders come."""
    return contact_types.ReminderPolicyView(
        days=list(policy.days), fractions=list(policy.fractions), renew_redeploys=policy.renew_redeploys
    )
