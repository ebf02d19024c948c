"""When an account's reminders come before a certificate expires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chalicelib.domain.findings import Finding, error

#: Most entries of each list of a policy.
MAX_ENTRIES: Final = 20
#: Days before the end of validity that a policy may name; those after it are negative.
DAYS: Final = range(-30, 366)
#: Parts of a short lifetime: 3 is a third of it.
FRACTIONS: Final = range(2, 101)


@dataclass(frozen=True, slots=True)
class ReminderPolicy:
    """When reminders come, and whether a renewed certificate takes over its predecessor's deployments by itself.

    Attributes:
        days: days before the end of validity; 0 is the end itself, -1 one day after it.
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
