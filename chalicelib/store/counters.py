"""Counters of inventories in their table: exact, without one row that every write of an account would wait for.

A write puts what it changes into a row of its own, in its own transaction: whatever is written is counted, once, and
two writes never meet. These changes are *folded* into the counters now and then, by about every eighth write: all in
one transaction under the counters' version, so that each is folded once. A reader adds what is not yet folded.

Rows of an account, in the order in which one query reads them:

- ``0#counters``: totals, and marks by weeks (`chalicelib.domain.summary`). Weeks long over and far ahead are in sum, so
  the row has at most some 10 KB whatever the inventory's size; with one state and source it has 1 KB.
- ``0#snooze``: until when pending items are put off.
- ``change#…``: changes that are not folded.

And, read by their keys, ``week#…``: the marks of one week by the second, which only the weeks of now and of 30 days
ahead are read for. A week with more than about 1,200 marks is kept by the minute, with many more by the hour or the
day, so that the row stays below 4 KB: there, figures may lag behind by so much.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from chalicelib.domain.errors import TooManyRequests
from chalicelib.domain.summary import Histogram, Mark, Tally, start_of, week_of
from chalicelib.store.tables import SummaryRow
from chalicelib.store.transactions import ConditionFailedError, Writes

COUNTERS: Final = "0#counters"
SNOOZE: Final = "0#snooze"
CHANGE: Final = "change#"
WEEK: Final = "week#"
#: About every so many changes one folds them.
FOLD_EVERY: Final = 8
#: How many changes are folded at once, and how many weeks they may touch: a transaction has at most 100 writes.
FOLDED_AT_ONCE: Final = 25
WEEKS_AT_ONCE: Final = 70
#: At most so many weeks are touched by one row of changes; a write that touches more has several.
WEEKS_IN_A_CHANGE: Final = 50
#: How many changes a reader takes as they are; beyond, it has them folded first.
READ_UNFOLDED: Final = 40
#: A week's marks in octets; with its key it is then below 4 KB, half a read unit.
MAX_WEEK: Final = 3_900
#: The seconds by which a week's marks are kept, the finest that is small enough.
GRAINS: Final = (1, 60, 3_600, 86_400)


@dataclass(slots=True)
class Counted:
    """What was folded. `generation` names the weeks that belong to it; a new one begins with every recount."""

    version: int
    generation: str
    totals: Counter[str]
    marks: Histogram


@dataclass(slots=True)
class Held:
    """All that one query finds: counters, changes that are not folded, and whether there are more of them."""

    counted: Counted
    changes: Sequence[SummaryRow]
    snoozed_until: datetime | None
    more: bool


@dataclass(slots=True)
class Week:
    """The marks of a week, and the version of the counters that they belong to."""

    version: int = 0
    grain: int = 1
    marks: Counter[Mark] = field(default_factory=Counter)

    def add(self, state: int, second: int, number: int) -> None:
        """Count a mark."""
        self.marks[state, second - second % self.grain] += number


def put_changes(writes: Writes, account_id: str, change_id: str, tally: Tally) -> bool:
    """Have a transaction count what it changes: 2 write units, none when it changes nothing that is counted.

    Args:
        writes: of the transaction.
        account_id: whose inventory.
        change_id: unique in the account, as the id of the audit event is.
        tally: how many more or fewer there are of what.

    Returns:
        Whether it changes anything that is counted: then `fold_now_and_then` is to follow.
    """
    rows = list(_change_rows(account_id, change_id, tally))
    for row in rows:
        writes.put(row)
    return bool(rows)


def fold_now_and_then(account_id: str, change_id: str, now: datetime, every: int) -> None:
    """After a change: fold, if it is this one's turn; which one's it is lies in its id."""
    if zlib.crc32(change_id.encode()) % every == 0:
        fold(account_id, now)


def fold(account_id: str, now: datetime) -> bool:
    """Fold the oldest changes into the counters.

    Read units: 1 for each 4 KB of counters and changes, and 1 for each week touched. Write units: 2 for each change,
    for each begun KB of the counters, and of each week touched. Shared by eight changes: about 4 write units each.

    Returns:
        Whether they were folded here; ``False`` when another was quicker.
    """
    held = load(account_id, now, consistent=True)
    changes = list(_few(held.changes))
    counted = held.counted
    if not changes and counted.marks.reaches(now):
        return True
    tally = tally_of(changes)
    entering = counted.marks.entering(now)
    weeks = read_weeks(account_id, counted.generation, {*_weeks_of(tally), *entering}, consistent=True)
    counted.marks.move_on(now, {number: weeks[number].marks for number in entering})
    counted.totals.update(tally.totals)
    counted.marks.add(tally.marks)
    writes = Writes()
    unchanged = SummaryRow.version == counted.version if counted.version else SummaryRow.version.does_not_exist()
    counted.version += 1
    writes.put(counters_row(account_id, counted), unchanged, "version")
    for row in _changed_weeks(account_id, counted, weeks, tally):
        (writes.put if row.content else writes.delete)(row)
    for change in changes:
        writes.delete(change)
    try:
        writes.commit(attempts=1)
    except (ConditionFailedError, TooManyRequests):
        return False
    return True


def load(account_id: str, now: datetime, *, consistent: bool) -> Held:
    """Counters and changes in one query: 1 read unit for each begun 4 KB of them all, half of it when not consistent.

    A change has 150 octets, that of a chunk of synchronisation up to 1 KB.
    """
    limit = READ_UNFOLDED + 3
    rows = list(
        SummaryRow.query(
            account_id,
            SummaryRow.item.between("0", f"{CHANGE}~"),
            limit=limit,
            page_size=limit,
            consistent_read=consistent,
        )
    )
    single = {row.item: row for row in rows if not row.item.startswith(CHANGE)}
    counters, snooze = single.get(COUNTERS), single.get(SNOOZE)
    return Held(
        Counted(0, "0", Counter(), Histogram.around(now)) if counters is None else _counted(counters),
        [row for row in rows if row.item.startswith(CHANGE)],
        None if snooze is None else snooze.until,
        more=len(rows) == limit,
    )


def read_weeks(account_id: str, generation: str, numbers: Iterable[int], *, consistent: bool) -> Mapping[int, Week]:
    """Weeks by their numbers, empty ones too: a read unit each, half of it when not consistent."""
    keys = {_week_item(generation, number): number for number in numbers}
    weeks = {number: Week() for number in keys.values()}
    if keys:
        for row in SummaryRow.batch_get([(account_id, item) for item in keys], consistent_read=consistent):
            weeks[keys[row.item]] = _week(row, keys[row.item])
    return weeks


def weeks_of_all(account_id: str, counted: Counted, tally: Tally) -> Iterator[SummaryRow]:
    """The rows of all weeks of new counters."""
    weeks = {number: Week() for number in _weeks_of(tally)}
    return (row for row in _changed_weeks(account_id, counted, weeks, tally) if row.content)


def tally_of(changes: Iterable[SummaryRow]) -> Tally:
    """What changes come to together."""
    tally = Tally()
    for change in changes:
        told = _unpacked(change.content)
        tally.totals.update(told["t"])
        tally.marks.update({(state, second): number for state, second, number in told["m"]})
    return tally


def counters_row(account_id: str, counted: Counted) -> SummaryRow:
    """The row of counters."""
    marks = counted.marks
    told = {
        "t": {name: number for name, number in counted.totals.items() if number},
        "f": marks.first,
        "l": marks.last,
        "p": {state: number for state, number in marks.past.items() if number},
        "x": {state: number for state, number in marks.later.items() if number},
        "w": _by_state({(s, week): n for week, states in marks.weeks.items() for s, n in states.items()}, marks.first),
    }
    return SummaryRow(
        account_id, COUNTERS, content=_packed(told), version=counted.version, generation=counted.generation
    )


def _counted(row: SummaryRow) -> Counted:
    told = _unpacked(row.content)
    marks = Histogram(told["f"], told["l"], past=_states(told["p"]), later=_states(told["x"]))
    for (state, week), number in _from_states(told["w"], marks.first):
        marks.weeks.setdefault(week, Counter())[state] = number
    return Counted(int(row.version), row.generation, Counter(told["t"]), marks)


def _states(told: Mapping[str, int]) -> Counter[int]:
    return Counter({int(state): number for state, number in told.items()})


def _change_rows(account_id: str, change_id: str, tally: Tally) -> Iterator[SummaryRow]:
    """What a write changes, in as many rows as its weeks need: mostly one."""
    if tally.changes_nothing:
        return
    weeks = sorted(_weeks_of(tally))
    for at in range(0, max(1, len(weeks)), WEEKS_IN_A_CHANGE):
        part = set(weeks[at : at + WEEKS_IN_A_CHANGE])
        marks = sorted((s, t, n) for (s, t), n in tally.marks.items() if n and week_of(t) in part)
        told = {"t": {} if at else {name: n for name, n in tally.totals.items() if n}, "m": marks}
        yield SummaryRow(account_id, f"{CHANGE}{change_id}#{at}", content=_packed(told))


def _few(changes: Sequence[SummaryRow]) -> Iterator[SummaryRow]:
    """The first of the changes, as many as one transaction can fold."""
    weeks: set[int] = set()
    for change in changes[:FOLDED_AT_ONCE]:
        weeks |= _weeks_of(tally_of([change]))
        if len(weeks) > WEEKS_AT_ONCE:
            return
        yield change


def _weeks_of(tally: Tally) -> set[int]:
    return {week_of(second) for (_, second), number in tally.marks.items() if number}


def _changed_weeks(account_id: str, counted: Counted, weeks: Mapping[int, Week], tally: Tally) -> Iterator[SummaryRow]:
    touched = _weeks_of(tally)
    for (state, second), number in tally.marks.items():
        if number:
            weeks[week_of(second)].add(state, second, number)
    for number in touched:
        if number >= counted.marks.first:
            yield _week_row(account_id, counted, number, weeks[number])


def _week_item(generation: str, number: int) -> str:
    return f"{WEEK}{generation}#{number:05}"


def _week_row(account_id: str, counted: Counted, number: int, week: Week) -> SummaryRow:
    """A week as it is kept, by the finest grain that is small enough; without content when nothing is left of it."""
    content = b""
    for grain in (g for g in GRAINS if g >= week.grain):
        marks: Counter[Mark] = Counter()
        for (state, second), times in week.marks.items():
            marks[state, second - second % grain] += times
        told = _by_state(marks, start_of(number))
        content = _packed({"g": grain, "s": told}) if told else b""
        if len(content) <= MAX_WEEK:
            break
    return SummaryRow(
        account_id, _week_item(counted.generation, number), content=content or None, version=counted.version
    )


def _week(row: SummaryRow, number: int) -> Week:
    told = _unpacked(row.content)
    return Week(int(row.version), told["g"], Counter(dict(_from_states(told["s"], start_of(number)))))


def _by_state(numbers: Mapping[tuple[int, int], int], origin: int) -> dict[int, list[int]]:
    """Numbers by state and place as a list for each state: gap to the place before, number, next gap, and so on."""
    found: dict[int, list[int]] = {}
    before: dict[int, int] = {}
    for (state, place), number in sorted(numbers.items()):
        if number:
            found.setdefault(state, []).extend((place - before.get(state, origin), number))
            before[state] = place
    return found


def _from_states(told: Mapping[str, Sequence[int]], origin: int) -> Iterator[tuple[tuple[int, int], int]]:
    for state, row in told.items():
        place = origin
        for gap, number in zip(row[::2], row[1::2], strict=True):
            place += gap
            yield (int(state), place), number


def _packed(told: Any) -> bytes:  # noqa: ANN401 - plain values
    return zlib.compress(json.dumps(told, separators=(",", ":")).encode(), 9)


def _unpacked(content: bytes) -> Any:  # noqa: ANN401 - as above
    return json.loads(zlib.decompress(content))
