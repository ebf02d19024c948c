"""Contacts: who is told of what is due, over which channels; the policy of reminders; and the sending itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Final

from chalicelib.domain import contacts
from chalicelib.domain.contacts import AddressProblem, Channel, ChannelSpec, Contact, ContactSpec, Hours
from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.digests import Message, trial
from chalicelib.domain.errors import CertificateRefused
from chalicelib.domain.model import AuditEvent, Caller, Page
from chalicelib.domain.reminders import ReminderPolicy
from chalicelib.functions.audit import Audit, new_id
from chalicelib.ports import Clock, ContactStore, KeyVault, KeyVaultError, Notifier, NotifyError

#: How long all channels of a contact together are waited for, in seconds: an API request has 29.
PATIENCE: Final = 20.0


@dataclass(frozen=True, slots=True)
class ContactChange:
    """What of a contact is to change; ``None`` leaves a field as it is. `any_hours` takes the hours away."""

    name: str | None = None
    channels: tuple[ChannelSpec, ...] | None = None
    time_zone: str | None = None
    hours: tuple[str, str] | None = None
    any_hours: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of a message on one channel; `problem` is empty when it was sent.

    `permanent` says that the same message will fail again, until the contact or the service's settings are changed.
    """

    channel: Channel
    problem: str = ""
    permanent: bool = False

    @property
    def sent(self) -> bool:
        """Whether it was sent."""
        return not self.problem


class Contacts:
    """The contacts of the caller's account."""

    def __init__(
        self,
        store: ContactStore,
        vault: KeyVault,
        notifiers: Mapping[str, Notifier],
        *,
        audit: Audit,
        clock: Clock,
        patience: float = PATIENCE,
    ) -> None:
        """Take what contacts need; see `PATIENCE` for the last."""
        self._store = store
        self._vault = vault
        self._notifiers = notifiers
        self._audit = audit
        self._clock = clock
        self._patience = patience

    def create(self, caller: Caller, spec: ContactSpec) -> Contact:
        """Store a new contact; secret addresses are sealed and never shown again.

        Raises:
            CertificateRefused: a `ContactFieldIncorrect` finding for each problem. Conflict: `TooManyContacts`.
        """
        now = self._clock()
        empty = Contact(new_id(self._clock), caller.account_id, spec.name, (), spec.time_zone, None, now, now)
        self._check(spec, empty)
        made = self._with_channels(_as_asked(empty, spec), spec.channels, {})
        self._store.add(made, self._event(caller, "contact.create", made))
        return made

    def page(self, caller: Caller, *, limit: int, cursor: str | None) -> Page[Contact]:
        """Contacts of the caller's account, in the order in which they were made. Raises: InvalidRequest."""
        scope = f"contacts#{caller.account_id}"
        after = decode_cursor(scope, cursor) or ""
        rest = [contact for contact in self._store.several(caller.account_id) if contact.id > after]
        more = encode_cursor(scope, rest[limit - 1].id) if len(rest) > limit else None
        return Page(tuple(rest[:limit]), more)

    def change(self, caller: Caller, contact_id: str, change: ContactChange) -> Contact:
        """Change a contact.

        Raises:
            NotFound. CertificateRefused: a `ContactFieldIncorrect` finding for each problem.
            Conflict: `ConcurrentChange`.
        """
        old = self._store.get(caller.account_id, contact_id)
        spec = _changed(old, change)
        self._check(spec, old)
        new = replace(_as_asked(old, spec), version=old.version + 1, updated_at=self._clock())
        if change.channels is not None:
            new = self._with_channels(new, spec.channels, self._addresses(old))
        self._store.update(old, new, self._event(caller, "contact.change", new))
        return self._store.get(caller.account_id, contact_id)

    def delete(self, caller: Caller, contact_id: str) -> None:
        """Delete a contact. Raises: NotFound."""
        old = self._store.get(caller.account_id, contact_id)
        self._store.delete(caller.account_id, contact_id, self._event(caller, "contact.delete", old))

    def test(self, caller: Caller, contact_id: str) -> Sequence[Delivery]:
        """Send a test message over every channel of a contact, whatever its hours are. Raises: NotFound."""
        contact = self._store.get(caller.account_id, contact_id)
        self._audit.accessed(caller, "contact.test", contact.id, **_facts(contact))
        return self.deliver(contact, trial(contact, self._clock()))

    def policy(self, account_id: str) -> ReminderPolicy:
        """When an account's reminders come."""
        return self._store.policy(account_id)

    def set_policy(self, caller: Caller, policy: ReminderPolicy) -> ReminderPolicy:
        """Set when reminders come.

        Raises:
            CertificateRefused: a `ContactFieldIncorrect` finding for each problem.
        """
        findings = policy.check()
        if findings:
            raise CertificateRefused(findings)
        policy = policy.in_order()
        said = {"days": _listed(policy.days), "fractions": _listed(policy.fractions)}
        redeploys = "yes" if policy.renew_redeploys else "no"
        event = self._audit.event(caller, "reminder-policy.set", caller.account_id, renew_redeploys=redeploys, **said)
        self._store.set_policy(caller.account_id, policy, event)
        return policy

    def deliver(
        self, contact: Contact, message: Message, channel_ids: Sequence[str] | None = None
    ) -> Sequence[Delivery]:
        """Send a message as `send` does, and note on the contact how that went."""
        deliveries = self.send(contact, message, channel_ids)
        self.note(contact, deliveries)
        return deliveries

    def send(self, contact: Contact, message: Message, channel_ids: Sequence[str] | None = None) -> Sequence[Delivery]:
        """Send a message over the channels of a contact at once.

        A channel that does not end within the patience is given up as failed: its message may still arrive.

        Args:
            contact: as the store has it.
            message: what is sent.
            channel_ids: the channels; all when ``None``.

        Returns:
            What came of it on each channel, in their order.
        """
        channels = [c for c in contact.channels if channel_ids is None or c.id in channel_ids]
        try:
            addresses = self._addresses(contact)
        except KeyVaultError:
            addresses = {c.id: c.address for c in channels if not self._is_secret(c)}
        pool = ThreadPoolExecutor(max_workers=max(1, len(channels)))
        sending = {c.id: pool.submit(self._send, c.kind, addresses.get(c.id), message) for c in channels}
        wait(sending.values(), timeout=self._patience)
        pool.shutdown(wait=False, cancel_futures=True)
        return [_delivery(channel, sending[channel.id]) for channel in channels]

    def note(self, contact: Contact, deliveries: Sequence[Delivery]) -> None:
        """Note on a contact how sending went."""
        now = self._clock()
        states = {d.channel.id: d.channel.state.sent(now) for d in deliveries if d.sent}
        states |= {d.channel.id: d.channel.state.failed(now, d.problem) for d in deliveries if not d.sent}
        self._store.mark(contact, states)

    def _send(self, kind: str, address: str | None, message: Message) -> None:
        if address is None:
            raise NotifyError("The address can no longer be read; give it anew.", permanent=True)
        self._notifiers[kind].send(address, message)

    def _check(self, spec: ContactSpec, held: Contact) -> None:
        findings = contacts.check(spec, held.channels, self._problem)
        if findings:
            raise CertificateRefused(findings)

    def _with_channels(self, held: Contact, wanted: Sequence[ChannelSpec], addresses: Mapping[str, str]) -> Contact:
        """`held` with other channels; `addresses` are those that it has, by channel.

        A channel that stays keeps what is known of it, as long as its address is the same.
        """
        known = {c.id: c for c in held.channels}
        named = {spec.id for spec in wanted}
        unnamed = {(known[i].kind, address): i for i, address in addresses.items() if i not in named}
        channels, secrets = [], {}
        for spec in wanted:
            address = spec.address if spec.address is not None else addresses.get(spec.id or "", "")
            channel_id = spec.id or unnamed.pop((spec.kind, address), None) or new_id(self._clock)
            if spec.address is None or addresses.get(channel_id) == address:
                channel = known[channel_id]
            else:
                channel = Channel(channel_id, spec.kind, self._notifiers[spec.kind].shown(address))
            channels.append(channel)
            if self._is_secret(channel):
                secrets[channel_id] = address.encode()
        sealed = self._vault.seal(held.key_context, secrets) if secrets else None
        return replace(held, channels=tuple(channels), sealed=sealed)

    def _addresses(self, contact: Contact) -> dict[str, str]:
        """The addresses of all channels, secret ones opened: one request to the vault when there are any."""
        found = {c.id: c.address for c in contact.channels if not self._is_secret(c)}
        if contact.sealed is not None:
            opened = self._vault.open(contact.key_context, contact.sealed)
            found |= {channel_id: address.decode() for channel_id, address in opened.items()}
        return found

    def _is_secret(self, channel: Channel) -> bool:
        return self._notifiers[channel.kind].secret

    def _problem(self, kind: str, address: str) -> AddressProblem | None:
        if kind not in self._notifiers:
            kinds = ", ".join(sorted(self._notifiers))
            return AddressProblem(f"There are no channels of the kind {kind!r:.20}.", f"Take one of {kinds}.")
        return self._notifiers[kind].check(address)

    def _event(self, caller: Caller, action: str, contact: Contact) -> AuditEvent:
        return self._audit.event(caller, action, contact.id, **_facts(contact))


def _as_asked(held: Contact, spec: ContactSpec) -> Contact:
    """`held` with the name, time zone and hours of `spec`."""
    hours = None if spec.hours is None else Hours(*spec.hours)
    return replace(held, name=spec.name, time_zone=spec.time_zone, hours=hours)


def _changed(old: Contact, change: ContactChange) -> ContactSpec:
    """The contact as it is asked for, with what is left as it is."""
    hours = change.hours
    if hours is None and not change.any_hours and old.hours is not None:
        hours = (old.hours.start, old.hours.end)
    channels = change.channels
    if channels is None:
        channels = tuple(ChannelSpec(c.kind, None, c.id) for c in old.channels)
    return ContactSpec(
        name=old.name if change.name is None else change.name,
        channels=channels,
        time_zone=old.time_zone if change.time_zone is None else change.time_zone,
        hours=hours,
    )


def _delivery(channel: Channel, sending: Future[None]) -> Delivery:
    if not sending.done() or sending.cancelled():
        return Delivery(channel, "The service did not answer in time.")
    error = sending.exception()
    if isinstance(error, NotifyError):
        return Delivery(channel, error.problem, error.permanent)
    if error is not None:
        return Delivery(channel, f"Sending failed in a way that was not foreseen ({type(error).__name__}).")
    return Delivery(channel)


def _facts(contact: Contact) -> dict[str, str]:
    """What the audit trail says of a contact: no address."""
    return {"name": contact.name, "channels": ", ".join(channel.kind for channel in contact.channels)}


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)
