"""When reminders of a certificate's expiry are due: relative to its lifetime, by an account's own policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from chalicelib.domain.findings import Finding, error
from chalicelib.domain.model import Certificate
from chalicelib.domain.status import SHORT_LIFETIME

#: Most entries of each list of a policy.
MAX_ENTRIES: Final = 20
#: Days before the end of validity that a policy may name; those after it are negative.
DAYS: Final = range(-30, 366)
#: Parts of a short lifetime: 3 is a third of it.
FRACTIONS: Final = range(2, 101)
#: The key of what is told once of a certificate that was to renew by itself and could not.
RENEWAL_FAILED: Final = "renewal"
#: Before every certificate's expiry.
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ReminderPolicy:
    """When reminders come, and whether a renewed certificate takes over its predecessor's deployments by itself.

    Attributes:
        days: days before the end of validity; 0 is the end itself, -1 one day after it. For lifetimes under 90 days,
            only those at and after the end count.
        fractions: for lifetimes under 90 days, parts of the lifetime that are left: 3 means a third.
        renew_redeploys: whether a renewal deploys the new certificate where the old one serves.
    """

    days: tuple[int, ...] = (30, 14, 7, 3, 1, 0, -1)
    fractions: tuple[int, ...] = (3, 6, 12, 24)
    renew_redeploys: bool = False

    def check(self) -> tuple[Finding, ...]:
        """What is wrong with the policy: every problem, each under the field that has it."""
        found = [*_check("days", self.days, DAYS), *_check("fractions", self.fractions, FRACTIONS)]
        if not self.days:
            found.append(_incorrect("The policy names no day.", "Name at least one day, for example 7.", "days"))
        return tuple(found)

    def in_order(self) -> ReminderPolicy:
        """The same policy with each entry once, the earliest reminder first."""
        return ReminderPolicy(
            tuple(sorted(set(self.days), reverse=True)), tuple(sorted(set(self.fractions))), self.renew_redeploys
        )


@dataclass(frozen=True, slots=True)
class Threshold:
    """A moment at which a reminder is due; its key, as ``30d`` or ``1/3``, tells it from others of a certificate."""

    key: str
    at: datetime


class Valid(Protocol):
    """Whatever has a validity."""

    @property
    def not_before(self) -> datetime:
        """Its begin, aware."""
        ...

    @property
    def not_after(self) -> datetime:
        """Its end, aware."""
        ...


@dataclass(frozen=True, slots=True)
class Watched:
    """What the index of the scan knows of a certificate with notices on, without reading it.

    Attributes:
        version: of the record that wrote the entry.
        since: when that was.
    """

    id: str
    not_before: datetime
    not_after: datetime
    version: int
    since: datetime


def thresholds(not_before: datetime, not_after: datetime, policy: ReminderPolicy) -> tuple[Threshold, ...]:
    """The moments at which reminders of a certificate are due, earliest first, in UTC; none before its validity.

    Args:
        not_before: begin of its validity, aware.
        not_after: end of its validity, aware.
        policy: of its account.
    """
    # Subtracting days from a local time would count by the wall clock, which daylight saving shifts.
    begin, end = not_before.astimezone(UTC), not_after.astimezone(UTC)
    found = [
        Threshold(f"{n}d", end - timedelta(days=n)) for n in set(policy.days) if n <= 0 or not is_short(begin, end)
    ]
    if is_short(begin, end):
        found += [Threshold(f"1/{n}", end - (end - begin) / n) for n in set(policy.fractions)]
    return tuple(sorted((t for t in found if t.at > begin), key=lambda t: (t.at, t.key)))


def is_short(not_before: datetime, not_after: datetime) -> bool:
    """Whether reminders go by fractions of a lifetime: it is under 90 days."""
    return not_after - not_before < SHORT_LIFETIME


def due(certificate: Valid, policy: ReminderPolicy, after: datetime, until: datetime) -> tuple[Threshold, ...]:
    """The thresholds that were reached after one moment and until another (aware), the most urgent one last.

    Only that one is told: those before it are thereby told too.
    """
    every = thresholds(certificate.not_before, certificate.not_after, policy)
    return tuple(t for t in every if after < t.at <= until)


def windows(policy: ReminderPolicy, after: datetime, until: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """Where the expiries of certificates lie for which a number of days is due: after one moment, until another.

    They neither overlap nor touch, so that no certificate is read twice. What expires in one of them and lives for 90
    days or more is due.
    """
    made: list[tuple[datetime, datetime]] = []
    for number in sorted(set(policy.days)) if after < until else ():
        low, high = after + timedelta(days=number), until + timedelta(days=number)
        if made and low <= made[-1][1]:
            low = made.pop()[0]
        made.append((low, high))
    return tuple(made)


def short_window(policy: ReminderPolicy, after: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Between which moments certificates expire for which a fraction of a short lifetime can be due."""
    return after, until + SHORT_LIFETIME / min(policy.fractions) if policy.fractions else after


def is_silent(certificate: Certificate) -> bool:
    """Whether nobody wants to hear of a certificate: notices are off, it was revoked, or another took its place."""
    replaced = certificate.replaced_by is not None and not certificate.deployed
    return not certificate.notifications or certificate.revoked_at is not None or replaced


def is_to_be_told(certificate: Certificate, key: str) -> bool:
    """Whether a reminder with a key is still to be told of a certificate.

    That it failed to renew concerns whoever told it to renew, whether its other notices are on or off.
    """
    if key != RENEWAL_FAILED:
        return not is_silent(certificate)
    over = certificate.revoked_at is not None or certificate.replaced_by is not None
    return certificate.renewal_problem is not None and not over


def _check(field: str, values: tuple[int, ...], allowed: range) -> list[Finding]:
    found = []
    if len(values) > MAX_ENTRIES:
        words = f"There are {len(values)} `{field}`; at most {MAX_ENTRIES} are kept."
        found.append(_incorrect(words, "Name fewer.", field))
    for value in values[:MAX_ENTRIES]:
        if value not in allowed:
            words = f"{value} is not among the `{field}` that can be: {allowed.start} to {allowed.stop - 1}."
            found.append(_incorrect(words, "Take a number in this range.", field))
    return found


def _incorrect(message: str, hint: str, param: str) -> Finding:
    return error("ContactFieldIncorrect", message, hint, param)
