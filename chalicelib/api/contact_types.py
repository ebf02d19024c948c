"""Requests and answers of contacts and of the policy of reminders."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from chalicelib.api.types import Answer, Name, Request

ChannelKind = Literal["email", "apprise"]
ChannelId = Annotated[str, Meta(min_length=1, max_length=64)]
#: Longer than what is taken, so that what is too long can be told together with all else.
Text = Annotated[str, Meta(max_length=4096)]
ZoneName = Annotated[str, Meta(max_length=128)]
ClockTime = Annotated[str, Meta(max_length=16)]
#: More than what is taken, as above.
Numbers = Annotated[list[int], Meta(max_length=100)]


class MailChannel(Request, kw_only=True, tag_field="kind", tag="email"):
    """A way to a contact by mail. With `id` alone, the channel stays as it is."""

    address: Text | None = None
    id: ChannelId | None = None


class AppriseChannel(Request, kw_only=True, tag_field="kind", tag="apprise"):
    """A way to a contact by whatever Apprise addresses. With `id` alone, the channel stays as it is."""

    url: Text | None = None
    id: ChannelId | None = None


Channels = Annotated[list[MailChannel | AppriseChannel], Meta(max_length=50)]


class HoursRequest(Request, kw_only=True):
    """From when to when a contact wants to hear, `HH:MM` in its time zone; over midnight when `to` is before `from`."""

    start: ClockTime = msgspec.field(name="from")
    end: ClockTime = msgspec.field(name="to")


class ContactRequest(Request, kw_only=True):
    """Who is told of certificates that are due."""

    name: Name
    channels: Channels
    time_zone: ZoneName = "UTC"
    hours: HoursRequest | None = None


class ContactPatch(Request, kw_only=True):
    """What of a contact is to change: what is left out stays; `channels` are all of them."""

    name: Name | UnsetType = UNSET
    channels: Channels | UnsetType = UNSET
    time_zone: ZoneName | UnsetType = UNSET
    hours: HoursRequest | UnsetType | None = UNSET


class ChannelView(Answer, kw_only=True):
    """A way to a contact, and how sending went. Of an Apprise URL only the `scheme` is shown."""

    id: str
    kind: ChannelKind
    address: str | None
    scheme: str | None
    last_sent_at: datetime | None
    last_failed_at: datetime | None
    problem: str | None


class HoursView(Answer, kw_only=True):
    """From when to when a contact wants to hear."""

    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")


class ContactView(Answer, kw_only=True):
    """A contact."""

    id: str
    name: str
    channels: list[ChannelView]
    time_zone: str
    hours: HoursView | None
    created_at: datetime
    updated_at: datetime


class DeliveryView(Answer, kw_only=True):
    """What came of a test message on one channel. `permanent`: it will fail again until something is changed."""

    id: str
    kind: ChannelKind
    address: str | None
    scheme: str | None
    outcome: Literal["sent", "failed"]
    problem: str | None
    permanent: bool


class ContactTestView(Answer, kw_only=True):
    """What came of a test message."""

    contact_id: str
    channels: list[DeliveryView]


class ReminderPolicyRequest(Request, kw_only=True):
    """When reminders come; what is left out is as usual."""

    days: Numbers | UnsetType = UNSET
    fractions: Numbers | UnsetType = UNSET
    renew_redeploys: bool | UnsetType = UNSET


class ReminderPolicyView(Answer, kw_only=True):
    """When reminders come: days before expiry, and parts of the lifetime when that is under 90 days."""

    days: list[int]
    fractions: list[int]
    renew_redeploys: bool
