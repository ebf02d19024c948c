"""Routes of contacts, and of the policy of reminders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from msgspec import UNSET, UnsetType

from chalicelib.api import contact_types, contact_views, types
from chalicelib.api.routes import ADMINS, VIEWERS, Call, Routes
from chalicelib.domain.contacts import ChannelSpec, ContactSpec
from chalicelib.domain.reminders import ReminderPolicy
from chalicelib.functions.contacts import ContactChange

T = TypeVar("T")

routes = Routes("contacts")


@routes.add(
    "POST",
    "/v1/contacts",
    roles=ADMINS,
    body=contact_types.ContactRequest,
    answer=contact_types.ContactView,
    status=201,
    action="contact.create",
    statuses=(409, 422),
)
def create(call: Call[types.EmptyQuery, contact_types.ContactRequest]) -> contact_types.ContactView:
    """Make a contact who is told of certificates that are due; Apprise URLs are kept encrypted and not shown again."""
    body = call.body
    spec = ContactSpec(body.name, _channels(body.channels), body.time_zone, _hours(body.hours))
    return contact_views.contact_view(call.services.contacts.create(call.caller, spec))


@routes.add(
    "GET",
    "/v1/contacts",
    roles=VIEWERS,
    query=types.PageQuery,
    answer=types.Listing[contact_types.ContactView],
)
def list_all(call: Call[types.PageQuery, None]) -> types.Listing[contact_types.ContactView]:
    """List contacts, of which there are at most ten, with how sending over their channels went."""
    page = call.services.contacts.page(call.caller, limit=call.query.limit, cursor=call.query.cursor)
    return types.Listing(items=[contact_views.contact_view(c) for c in page.items], next_cursor=page.cursor)


@routes.add(
    "PATCH",
    "/v1/contacts/{contact_id}",
    roles=ADMINS,
    body=contact_types.ContactPatch,
    answer=contact_types.ContactView,
    action="contact.change",
    statuses=(404, 409, 422),
)
def change(call: Call[types.EmptyQuery, contact_types.ContactPatch]) -> contact_types.ContactView:
    """Change a contact; `channels` are all of them, those that stay by their ids."""
    body = call.body
    channels, hours = _given(body.channels), _given(body.hours)
    wanted = ContactChange(
        name=_given(body.name),
        channels=None if channels is None else _channels(channels),
        time_zone=_given(body.time_zone),
        hours=_hours(hours),
        any_hours=body.hours is None,
    )
    return contact_views.contact_view(call.services.contacts.change(call.caller, call.path["contact_id"], wanted))


@routes.add("DELETE", "/v1/contacts/{contact_id}", roles=ADMINS, status=204, action="contact.delete", statuses=(404,))
def delete(call: Call[types.EmptyQuery, None]) -> None:
    """Delete a contact, who is told of nothing more."""
    call.services.contacts.delete(call.caller, call.path["contact_id"])


@routes.add(
    "POST",
    "/v1/contacts/{contact_id}/test",
    roles=ADMINS,
    answer=contact_types.ContactTestView,
    action="contact.test",
    statuses=(404,),
)
def test(call: Call[types.EmptyQuery, None]) -> contact_types.ContactTestView:
    """Send a test message over every channel of a contact, and say what came of each."""
    contact_id = call.path["contact_id"]
    return contact_views.test_view(contact_id, call.services.contacts.test(call.caller, contact_id))


@routes.add("GET", "/v1/reminder-policy", roles=VIEWERS, answer=contact_types.ReminderPolicyView)
def policy(call: Call[types.EmptyQuery, None]) -> contact_types.ReminderPolicyView:
    """Show when reminders come."""
    return contact_views.policy_view(call.services.contacts.policy(call.caller.account_id))


@routes.add(
    "PUT",
    "/v1/reminder-policy",
    roles=ADMINS,
    body=contact_types.ReminderPolicyRequest,
    answer=contact_types.ReminderPolicyView,
    action="reminder-policy.set",
    statuses=(422,),
)
def set_policy(call: Call[types.EmptyQuery, contact_types.ReminderPolicyRequest]) -> contact_types.ReminderPolicyView:
    """Set when reminders come; what is left out is as usual."""
    body, usual = call.body, ReminderPolicy()
    wanted = ReminderPolicy(
        days=usual.days if body.days is UNSET else tuple(body.days),
        fractions=usual.fractions if body.fractions is UNSET else tuple(body.fractions),
        renew_redeploys=usual.renew_redeploys if body.renew_redeploys is UNSET else body.renew_redeploys,
    )
    return contact_views.policy_view(call.services.contacts.set_policy(call.caller, wanted))


def _given(value: T | UnsetType) -> T | None:
    return None if value is UNSET else value


def _hours(hours: contact_types.HoursRequest | None) -> tuple[str, str] | None:
    return None if hours is None else (hours.start, hours.end)


def _channels(channels: Sequence[contact_types.MailChannel | contact_types.AppriseChannel]) -> tuple[ChannelSpec, ...]:
    return tuple(
        ChannelSpec("email", channel.address, channel.id)
        if isinstance(channel, contact_types.MailChannel)
        else ChannelSpec("apprise", channel.url, channel.id)
        for channel in channels
    )
