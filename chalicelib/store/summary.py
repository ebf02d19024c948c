"""Figures of inventories, from their counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from ulid import ULID

from chalicelib.domain.errors import TooManyRequests
from chalicelib.domain.model import AuditEvent, Certificate
from chalicelib.domain.summary import Borders, Histogram, Overview, Tally, figures
from chalicelib.ports import Standing
from chalicelib.store.audit import audit_row
from chalicelib.store.counters import (
    CHANGE,
    SNOOZE,
    WEEK,
    Counted,
    Held,
    counters_row,
    fold,
    load,
    read_weeks,
    tally_of,
    weeks_of_all,
)
from chalicelib.store.tables import SummaryRow
from chalicelib.store.transactions import ConditionFailedError, Writes

#: How often folding is begun by one who waits for it.
PATIENCE: Final = 400


class DynamoSummaryStore:
    """Implements `chalicelib.ports.SummaryStore`."""

    def read(self, account_id: str, now: datetime) -> Overview:
        """The figures of a moment.

        Read units: half of one for each begun 4 KB of counters and changes, at most 2 and mostly half of one; and half
        of one for each of two weeks (for one second in a week, of three). More when more than 40 changes wait, which
        are folded first.

        Statuses and pending items are right to the second; where more than some 1,200 certificates expire within one
        week, to the minute of it, where very many more do, to the hour. What a running job of synchronisation brings
        is counted by chunks, when they are done. A reader may meet one of the moments in which changes are folded, and
        then for once count them twice or not at all.
        """
        held, consistent = self._folded(account_id, now, consistent=False), False
        while True:
            counted, unfolded = held.counted, tally_of(held.changes)
            numbers = [number for number in Borders.at(now).weeks if number in counted.marks.weeks]
            weeks = read_weeks(account_id, counted.generation, numbers, consistent=consistent)
            if consistent or all(week.version <= counted.version for week in weeks.values()):
                break
            # Changes were folded between the two reads: they would count twice.
            held, consistent = self._folded(account_id, now, consistent=True), True
        counted.marks.moments = {number: Counter() for number in Borders.at(now).weeks}
        counted.marks.moments.update({number: week.marks for number, week in weeks.items()})
        counted.totals.update(unfolded.totals)
        counted.marks.add(unfolded.marks)
        return Overview(figures(counted.totals, counted.marks, now), held.snoozed_until)

    def snooze(self, account_id: str, until: datetime | None, audit: AuditEvent) -> None:
        """Put pending items off, or no longer: 4 write units."""
        row = SummaryRow(account_id, SNOOZE, until=until)
        writes = Writes()
        if until is None:
            writes.delete(row)
        else:
            writes.put(row)
        writes.put(audit_row(audit))
        writes.commit()

    def standing(self, account_id: str, now: datetime) -> Standing:
        """Where counting stands: 1 read unit for each 4 KB of counters and changes."""
        return _standing(self._folded(account_id, now, consistent=True))

    def replace(
        self, account_id: str, standing: Standing, held: Iterable[tuple[Certificate, int]], now: datetime
    ) -> bool:
        """Count anew: 1 write unit for each week in which a certificate expires, and 1 for each week deleted.

        The new counters have weeks of their own, so that they come into force all at once.
        """
        tally = Tally()
        for certificate, number in held:
            tally.count(certificate, number)
        found = load(account_id, now, consistent=True)
        if found.more or _standing(found) != standing:
            return False
        # What is written as a change will be folded into the new counters too.
        tally.subtract(tally_of(found.changes))
        new = Counted(standing.version + 1, str(ULID()), tally.totals, Histogram.around(now))
        new.marks.add(tally.marks)
        with SummaryRow.batch_write() as batch:
            for row in weeks_of_all(account_id, new, tally):
                batch.save(row)
        writes = Writes()
        unchanged = SummaryRow.version == standing.version if standing.version else SummaryRow.version.does_not_exist()
        writes.put(counters_row(account_id, new), unchanged, "version")
        try:
            writes.commit()
        except ConditionFailedError:
            return False
        with SummaryRow.batch_write() as batch:
            for row in _weeks_of_others(account_id, new.generation):
                batch.delete(row)
        return True

    def _folded(self, account_id: str, now: datetime, *, consistent: bool) -> Held:
        """Counters with few changes beside them, and with weeks that go far enough.

        Raises: TooManyRequests: other requests kept folding, and more changes came than they folded.
        """
        held = load(account_id, now, consistent=consistent)
        for _ in range(PATIENCE):
            if not held.more and held.counted.marks.reaches(now):
                return held
            fold(account_id, now)
            held = load(account_id, now, consistent=True)
        raise TooManyRequests("TooManyRequests", "The counters of this account are being worked on.")


def _standing(held: Held) -> Standing:
    return Standing(held.counted.version, tuple(row.item.removeprefix(CHANGE) for row in held.changes))


def _weeks_of_others(account_id: str, generation: str) -> Iterator[SummaryRow]:
    """Weeks of earlier counters, and those that a recount left which was cut short."""
    own = f"{WEEK}{generation}#"
    rows = SummaryRow.query(account_id, SummaryRow.item.startswith(WEEK), consistent_read=True)
    return (row for row in rows if not row.item.startswith(own))
