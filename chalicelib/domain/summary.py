"""What of certificates is counted, and what the clock makes of the counts.

A certificate counts by what it is, never by when it is looked at: by its source, its algorithm, and by *marks*. A mark
is a state of the certificate and a second: its last one, or, when its lifetime is short, that from which on its renewal
is due (else that is 30 days before its last). So counters need no tending as time goes by: how many have
expired, are to be renewed or are pending is how many marks lie before now.

Marks are counted by weeks, which begin on Monday in UTC, and by seconds in weeks of their own (`Histogram`). With the
weeks of now and of 30 days ahead in seconds, all figures are right to the second, but for one thing: a lifetime's
third that is no whole number of seconds is rounded up to the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import IntFlag
from typing import Final

from chalicelib.domain.model import Certificate, PendingKind, Source, Status
from chalicelib.domain.quota import takes_a_unit
from chalicelib.domain.status import RENEWAL_WINDOW, SHORT_LIFETIME

_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
WEEK: Final = 7 * 86_400
#: 1970 began on a Thursday.
_FROM_MONDAY: Final = 3 * 86_400
#: Whatever expires later counts as expiring then: 2100-01-01.
LATEST: Final = 4_102_444_800
#: How many weeks, the running one included, are shown of what expires.
WEEKS_SHOWN: Final = 53
#: Counters know the weeks from so many before now to so many ahead; what lies outside is counted in sum.
WEEKS_BEHIND: Final = 8
WEEKS_AHEAD: Final = 80
#: Sizes of RSA keys that are counted by themselves; the others together, as 0.
_RSA_SIZES: Final = frozenset(range(1024, 16_385, 256))


class State(IntFlag):
    """What a certificate that is not revoked counts as, in marks."""

    #: It was replaced: nothing is left to do about it.
    REPLACED = 1
    #: Its notices are off.
    SILENT = 2
    #: Switching them on takes a unit of the quota.
    UNIT = 4
    #: It is not deployed.
    IDLE = 8
    #: It has risk tags.
    RISKY = 16
    #: It failed to renew by itself.
    STUCK = 32
    #: Its renewal is due a third of its lifetime before its end, which has a mark of its own.
    SHORT = 64
    #: The mark is of when its renewal is due, not of its end.
    DUE = 128


#: A state, and a second since 1970.
Mark = tuple[int, int]


@dataclass(slots=True)
class Tally:
    """How many certificates there are, or how many more or fewer.

    Attributes:
        totals: by ``source:upload``, ``algorithm:RSA 2048`` and so on, and ``revoked``.
        marks: those of certificates that are not revoked.
    """

    totals: Counter[str] = field(default_factory=Counter)
    marks: Counter[Mark] = field(default_factory=Counter)

    def count(self, certificate: Certificate, number: int = 1) -> Tally:
        """Count a certificate so many times, or take it off with a negative number."""
        size = certificate.key_size
        known = not certificate.algorithm.startswith("RSA") or size in _RSA_SIZES
        self.totals[f"source:{certificate.source}"] += number
        self.totals[f"algorithm:{certificate.algorithm} {size if known else 0}"] += number
        if certificate.revoked_at is not None:
            self.totals["revoked"] += number
        else:
            for mark in _marks(certificate):
                self.marks[mark] += number
        return self

    def add(self, other: Tally) -> None:
        """Add another one."""
        self.totals.update(other.totals)
        self.marks.update(other.marks)

    def subtract(self, other: Tally) -> None:
        """Take another one off."""
        self.totals.subtract(other.totals)
        self.marks.subtract(other.marks)

    @property
    def changes_nothing(self) -> bool:
        """Whether everything in it evens out."""
        return not any(self.totals.values()) and not any(self.marks.values())


def _marks(certificate: Certificate) -> Iterable[Mark]:
    lifetime = certificate.not_after - certificate.not_before
    last = (certificate.not_after - _EPOCH) // _SECOND
    ends, state = _within(last), _state(certificate)
    if lifetime >= SHORT_LIFETIME:
        return ((state, ends),)
    # The first whole second at or after the end less a third of the lifetime.
    due = _within(min(last - (lifetime // _SECOND) // 3, last))
    return ((state | State.SHORT, ends), (state | State.SHORT | State.DUE, due))


def _within(second: int) -> int:
    return max(0, min(second, LATEST))


def _state(certificate: Certificate) -> int:
    if certificate.replaced_by is not None:
        return State.REPLACED
    silent = not certificate.notifications
    return (
        (State.SILENT if silent else 0)
        | (State.UNIT if silent and takes_a_unit(certificate) else 0)
        | (State.IDLE if not certificate.deployed else 0)
        | (State.RISKY if certificate.risks else 0)
        | (State.STUCK if certificate.renewal_problem is not None else 0)
    )


def week_of(second: int) -> int:
    """The number of the week that a second is in."""
    return (second + _FROM_MONDAY) // WEEK


def start_of(week: int) -> int:
    """The first second of a week."""
    return week * WEEK - _FROM_MONDAY


@dataclass(frozen=True, slots=True)
class Borders:
    """The seconds up to which marks lie behind a moment.

    Attributes:
        ended: last seconds, each of which is within the validity.
        due: seconds from which on a renewal is due.
        soon: last seconds of what is due 30 days before them.
    """

    ended: int
    due: int
    soon: int

    @classmethod
    def at(cls, now: datetime) -> Borders:
        """Those of now."""
        whole = (now - _EPOCH) // _SECOND
        over = whole if now.microsecond else whole - 1
        return cls(over, whole, whole + RENEWAL_WINDOW // _SECOND)

    @property
    def weeks(self) -> frozenset[int]:
        """The weeks that they fall into."""
        return frozenset(map(week_of, (self.ended, self.due, self.soon)))


@dataclass(slots=True)
class Histogram:
    """Marks by weeks, each week by states; and by seconds in some of the weeks.

    Attributes:
        first: the first week that is counted by itself.
        last: the last one.
        past: sum of all before them.
        later: sum of all after them.
        moments: the marks of the weeks that are known by seconds.
    """

    first: int
    last: int
    past: Counter[int] = field(default_factory=Counter)
    weeks: dict[int, Counter[int]] = field(default_factory=dict)
    later: Counter[int] = field(default_factory=Counter)
    moments: dict[int, Counter[Mark]] = field(default_factory=dict)

    @classmethod
    def around(cls, now: datetime) -> Histogram:
        """An empty one for what is asked now and in the months to come."""
        week = week_of(Borders.at(now).due)
        return cls(week - WEEKS_BEHIND, week + WEEKS_AHEAD)

    def reaches(self, now: datetime) -> bool:
        """Whether its weeks go far enough for all that is shown now."""
        return self.last >= week_of(Borders.at(now).due) + WEEKS_SHOWN

    def add(self, marks: Mapping[Mark, int]) -> None:
        """Count marks."""
        for (state, second), number in marks.items():
            week = week_of(second)
            self._place(week)[state] += number
            if week in self.moments:
                self.moments[week][state, second] += number

    def _place(self, week: int) -> Counter[int]:
        if week < self.first:
            return self.past
        return self.later if week > self.last else self.weeks.setdefault(week, Counter())

    def entering(self, now: datetime) -> range:
        """Weeks of which the marks must be known to `move_on`."""
        last = Histogram.around(now).last
        return range(0) if self.reaches(now) or not any(self.later.values()) else range(self.last + 1, last + 1)

    def move_on(self, now: datetime, entering: Mapping[int, Mapping[Mark, int]]) -> None:
        """Follow the clock: sum up weeks that are long over, and take in others.

        Args:
            now: the moment.
            entering: all marks of the weeks that `entering` asks for.
        """
        ahead = Histogram.around(now)
        for week in [w for w in self.weeks if w < ahead.first]:
            self.past.update(self.weeks.pop(week))
        self.first = max(self.first, ahead.first)
        if self.reaches(now):
            return
        self.last = ahead.last
        for marks in entering.values():
            self.add(marks)
            for (state, _), number in marks.items():
                self.later[state] -= number

    def total(self) -> Counter[int]:
        """All marks, by states."""
        return _sum([self.past, *self.weeks.values(), self.later])

    def before(self, week: int) -> Counter[int]:
        """Marks before a week, by states."""
        return _sum([self.past, *(marks for number, marks in self.weeks.items() if number < week)])

    def reached(self, second: int) -> Counter[int]:
        """Marks up to a second, by states. A week that is not known by seconds counts once it is over."""
        week = week_of(second)
        found = self.before(week)
        for (state, moment), number in self.moments.get(week, {}).items():
            if moment <= second:
                found[state] += number
        return found


def _sum(counts: Iterable[Mapping[int, int]]) -> Counter[int]:
    found: Counter[int] = Counter()
    for one in counts:
        found.update(one)
    return found


@dataclass(frozen=True, slots=True)
class WeekFigure:
    """How many certificates expire in the week from `start` (a Monday, UTC) on; `replaced` of them were replaced."""

    start: date
    certificates: int
    replaced: int


@dataclass(frozen=True, slots=True)
class Figures:
    """An inventory in figures.

    Attributes:
        total: all certificates.
        statuses: how many have each status.
        sources: how many come from each source.
        algorithms: algorithm, key size (0 for unusual ones of RSA) and number, most first.
        pending: how many are a pending item of each kind.
        units: how many of those with notices off would take a unit of the quota.
        weeks: what is still to expire in this week and the year ahead, without what was revoked.
    """

    total: int
    statuses: Mapping[Status, int]
    sources: Mapping[Source, int]
    algorithms: tuple[tuple[str, int, int], ...]
    pending: Mapping[PendingKind, int]
    units: int
    weeks: tuple[WeekFigure, ...]


def figures(totals: Mapping[str, int], marks: Histogram, now: datetime) -> Figures:
    """The figures of a moment.

    Args:
        totals: as a `Tally` has them.
        marks: with the seconds of the weeks that `Borders` names.
        now: the moment.
    """
    borders = Borders.at(now)
    everything, ended = marks.total(), marks.reached(borders.ended)
    due, soon = marks.reached(borders.due), marks.reached(borders.soon)
    sources = {source: _shown(totals.get(f"source:{source}", 0)) for source in Source}
    ends = [state for state in everything if not state & State.DUE]
    alive = {state: everything[state] - ended[state] for state in ends}
    waiting = {state: (due[state | State.DUE] if state & State.SHORT else soon[state]) - ended[state] for state in ends}
    statuses = {
        Status.ISSUED: sum(alive.values()) - sum(waiting.values()),
        Status.TO_BE_RENEWED: sum(waiting.values()),
        Status.EXPIRED: sum(ended[state] for state in ends),
        Status.REVOKED: totals.get("revoked", 0),
    }
    return Figures(
        total=sum(sources.values()),
        statuses={status: _shown(number) for status, number in statuses.items()},
        sources=sources,
        algorithms=_algorithms(totals),
        pending=_pending(alive, waiting),
        units=_shown(sum(n for state, n in alive.items() if state & State.UNIT)),
        weeks=_weeks(marks, borders),
    )


def _pending(alive: Mapping[int, int], waiting: Mapping[int, int]) -> dict[PendingKind, int]:
    """Pending items, of what has not expired and of what waits for its renewal, each by states."""
    current = {state: number for state, number in alive.items() if not state & State.REPLACED}

    def having(flag: State) -> int:
        return _shown(sum(number for state, number in current.items() if state & flag))

    renewal = sum(number if state & State.STUCK else waiting[state] for state, number in current.items())
    return {
        PendingKind.NOTIFICATION_DISABLED: having(State.SILENT),
        PendingKind.NOT_DEPLOYED: having(State.IDLE),
        PendingKind.PENDING_RENEWAL: _shown(renewal),
        PendingKind.RISK: having(State.RISKY),
    }


def _algorithms(totals: Mapping[str, int]) -> tuple[tuple[str, int, int], ...]:
    found = []
    for name, number in totals.items():
        if name.startswith("algorithm:") and number > 0:
            algorithm, _, size = name.removeprefix("algorithm:").rpartition(" ")
            found.append((algorithm, int(size), number))
    return tuple(sorted(found, key=lambda one: (-one[2], one[0], one[1])))


def _weeks(marks: Histogram, borders: Borders) -> tuple[WeekFigure, ...]:
    week, before = week_of(borders.due), marks.reached(borders.ended)
    found = []
    for number in range(week, week + WEEKS_SHOWN):
        after = marks.before(number + 1)
        expiring = {state: after[state] - before[state] for state in after if not state & State.DUE}
        start = (_EPOCH + timedelta(seconds=start_of(number))).date()
        replaced = sum(n for state, n in expiring.items() if state & State.REPLACED)
        found.append(WeekFigure(start, _shown(sum(expiring.values())), _shown(replaced)))
        before = after
    return tuple(found)


def _shown(number: int) -> int:
    """A number as it is shown: what is taken off before it was added is not there."""
    return max(0, number)


@dataclass(frozen=True, slots=True)
class Overview:
    """Figures, and until when pending items are put off; ``None`` when they are not."""

    figures: Figures
    snoozed_until: datetime | None
