"""Contacts: who is told of what is due, over which channels, and in which hours."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from chalicelib.domain.errors import NotFound
from chalicelib.domain.findings import Finding, error
from chalicelib.domain.model import KeyContext, SealedKeys

#: How many contacts an account has at most, and channels a contact.
MAX_CONTACTS: Final = 10
MAX_CHANNELS: Final = 5
#: Messages are sent at every full hour or so: shorter hours might never hold one.
SHORTEST_HOURS: Final = timedelta(hours=1)
#: RFC 5321, 4.5.3.1.1 and 4.5.3.1.3: octets of a local part, and of a path without its brackets.
_MAX_LOCAL: Final = 64
_MAX_MAIL: Final = 254
_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
#: Beside the zones lie files with leap seconds and links to what a machine is set to.
_NO_ZONE: Final = re.compile(r"(posix|right)/.*|Factory|localtime|posixrules")


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours of a day in which a contact wants to hear, ``HH:MM`` each; `start` after `end` goes over midnight."""

    start: str
    end: str

    def include(self, moment: time) -> bool:
        """Whether a time of day lies within; the end does not."""
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        return start <= moment < end if start < end else moment >= start or moment < end


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How sending over a channel went. `problem` is that of the last failure, empty once it works again."""

    last_sent_at: datetime | None = None
    last_failed_at: datetime | None = None
    problem: str = ""

    def sent(self, at: datetime) -> ChannelState:
        """After a message that was sent."""
        return ChannelState(at, self.last_failed_at)

    def failed(self, at: datetime, problem: str) -> ChannelState:
        """After a message that was not."""
        return ChannelState(self.last_sent_at, at, problem)


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to a contact.

    Attributes:
        id: a ULID; unique in the contact.
        kind: ``email`` or ``apprise``: which `chalicelib.ports.Notifier` sends.
        address: what may be shown of its address. A mail address is shown whole; of an Apprise URL, which holds
            secrets, the scheme, as ``slack://``: the URL lies sealed in the contact, in the box named `id`.
        state: how sending went.
    """

    id: str
    kind: str
    address: str
    state: ChannelState = ChannelState()


@dataclass(frozen=True, slots=True)
class Contact:
    """Who is told. `version` grows with every change and guards writes; the state of channels has none.

    `sealed` has a box for each channel whose address is secret; ``None`` when none is.
    """

    id: str
    account_id: str
    name: str
    channels: tuple[Channel, ...]
    time_zone: str
    hours: Hours | None
    created_at: datetime
    updated_at: datetime
    sealed: SealedKeys | None = None
    version: int = 1

    @property
    def key_context(self) -> KeyContext:
        """What the secret addresses are sealed under."""
        return KeyContext(self.account_id, f"contact#{self.id}", "contact")

    @property
    def zone(self) -> tzinfo:
        """The contact's time zone."""
        return zone_of(self.time_zone)

    def hears_at(self, moment: datetime) -> bool:
        """Whether a moment (aware) lies in the hours in which the contact wants to hear."""
        return self.hours is None or self.hours.include(moment.astimezone(self.zone).time())


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel as it is asked for.

    Attributes:
        kind: ``email`` or ``apprise``.
        address: mail address or Apprise URL; ``None`` for that which the channel `id` has.
        id: of the contact's channel that it was until now; ``None`` for a new one.
    """

    kind: str
    address: str | None = field(repr=False)
    id: str | None = None


@dataclass(frozen=True, slots=True)
class ContactSpec:
    """A contact as it is asked for; `hours` are from and to as they were given."""

    name: str
    channels: tuple[ChannelSpec, ...]
    time_zone: str
    hours: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class AddressProblem:
    """Why a message cannot go to an address, and what to give instead. Tells nothing of a secret address."""

    message: str
    hint: str


def zone_of(name: str) -> tzinfo:
    """A time zone by its name in the IANA database; UTC for one that is no longer in it."""
    return _zone(name) or UTC


def _zone(name: str) -> ZoneInfo | None:
    if not _ZONE.fullmatch(name) or _NO_ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no such file, not a file of a zone, or a folder of them
        return None


def not_found(contact_id: str) -> NotFound:
    """The answer for an id that no contact of the account has."""
    return NotFound("NotFound", f"There is no contact {contact_id!r:.70} in this account.")


def check(
    spec: ContactSpec, held: Sequence[Channel], problem_of: Callable[[str, str], AddressProblem | None]
) -> tuple[Finding, ...]:
    """What is wrong with a contact that is asked for: every problem, each under the field that has it.

    Args:
        spec: the contact as it is to be.
        held: channels that it has until now.
        problem_of: judges the address of a channel, given its kind.
    """
    found = []
    if not 1 <= len(spec.channels) <= MAX_CHANNELS:
        words = f"The contact has {len(spec.channels)} channels; 1 to {MAX_CHANNELS} are wanted."
        found.append(_incorrect(words, "Name the addresses that messages go to.", "channels"))
    known = {channel.id: channel.kind for channel in held}
    for number, channel in enumerate(spec.channels[:MAX_CHANNELS]):
        found += _check_channel(channel, f"channels[{number}]", known, problem_of)
    for what, values in (
        ("id", [channel.id for channel in spec.channels if channel.id is not None]),
        ("address", [(channel.kind, channel.address) for channel in spec.channels if channel.address is not None]),
    ):
        if len(values) != len(set(values)):
            found.append(_incorrect(f"Two channels have the same {what}.", "Name each channel once.", "channels"))
    if _zone(spec.time_zone) is None:
        words = f"{spec.time_zone!r:.70} is no time zone of the IANA database."
        found.append(_incorrect(words, "Write it as in Europe/Berlin, Asia/Shanghai, or UTC.", "time_zone"))
    return (*found, *_check_hours(spec.hours))


def _check_channel(
    channel: ChannelSpec,
    place: str,
    known: dict[str, str],
    problem_of: Callable[[str, str], AddressProblem | None],
) -> list[Finding]:
    if channel.id is not None and known.get(channel.id) != channel.kind:
        words = f"The contact has no channel {channel.id!r:.40} of the kind {channel.kind!r:.20}."
        return [_incorrect(words, "Leave the id out to add a channel.", f"{place}.id")]
    if channel.address is None:
        if channel.id is not None:
            return []
        param = f"{place}.{'url' if channel.kind == 'apprise' else 'address'}"
        return [_incorrect("The channel has no address.", "Give a mail address, or an Apprise URL.", param)]
    problem = problem_of(channel.kind, channel.address)
    if problem is None:
        return []
    return [_incorrect(problem.message, problem.hint, f"{place}.{'url' if channel.kind == 'apprise' else 'address'}")]


def _check_hours(hours: tuple[str, str] | None) -> list[Finding]:
    if hours is None:
        return []
    found = [
        _incorrect(f"{text!r:.20} is no time of day.", "Write it as in 09:00, up to 23:59.", f"hours.{name}")
        for name, text in zip(("from", "to"), hours, strict=True)
        if not _CLOCK.fullmatch(text)
    ]
    if not found:
        start, end = (timedelta(hours=int(text[:2]), minutes=int(text[3:])) for text in hours)
        if (end - start) % timedelta(days=1) < SHORTEST_HOURS:
            words = f"From {hours[0]} to {hours[1]} is less than an hour: messages might never be sent."
            hint = "Give at least an hour, or null to hear at any time."
            found.append(_incorrect(words, hint, "hours"))
    return found


def mail_problem(address: str) -> AddressProblem | None:
    """Why mail cannot be sent to an address (RFC 5321, 4.1.2; no quoted local parts, no address literals)."""
    hint = "Give one address, as in ops@example.com."
    local, at, domain = address.rpartition("@")
    if not at or not local:
        return AddressProblem("This is not a mail address: it has no @ between a name and a domain.", hint)
    if not address.isascii():
        return AddressProblem(
            "Mail addresses with letters beyond ASCII are not supported.",
            "Write the domain in its xn-- form, and take an address whose name is in ASCII.",
        )
    if len(local) > _MAX_LOCAL or len(address) > _MAX_MAIL:
        return AddressProblem(f"A mail address has at most {_MAX_MAIL} characters, {_MAX_LOCAL} before the @.", hint)
    labels = domain.split(".")
    sound = len(labels) > 1 and all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()
    if not sound or not _LOCAL.fullmatch(local):
        return AddressProblem(f"{address!r:.80} is not a mail address.", hint)
    return None


def _incorrect(message: str, hint: str, param: str) -> Finding:
    return error("ContactFieldIncorrect", message, hint, param)
