"""The scan's runs, ledger and outboxes in their table.

An entry of the ledger is written once, in one transaction with the bundle that carries it, the outbox that the bundle
lies in, and the count of its run. So nothing is claimed that is not also waiting to be sent, and a run that is repeated
finds what it claimed before. Bundles are deleted when every channel has sent them; the ledger stays.
"""

from __future__ import annotations

import json
import random
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pynamodb.exceptions import DeleteError, UpdateError
from pynamodb.expressions.update import Action
from ulid import ULID

from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.errors import NotFound
from chalicelib.domain.model import Page
from chalicelib.domain.scans import AccountScan, Bundle, Outbox, Reminder, ScanRun
from chalicelib.store.tables import ScanRow, may_be_outdated, read
from chalicelib.store.transactions import ATTEMPTS, FIRST_PAUSE, ConditionFailedError, Writes

RUNS: Final = "runs"
OPEN: Final = "open"
PROGRESS: Final = "progress"
#: Runs and entries of the ledger are kept so long: no scan looks back further.
KEPT: Final = timedelta(days=400)
#: Workers of one run meet at its counters: they wait for one another longer than requests do.
COUNTING_ATTEMPTS: Final = 14


class DynamoScanStore:
    """Implements `chalicelib.ports.ScanStore`."""

    def start(self, run: ScanRun) -> bool:
        """Store a new run: 1 write unit."""
        fields = {name: getattr(run, name) for name in _RUN}
        row = ScanRow(RUNS, run.id, at=run.started_at, expires_at=run.started_at + KEPT, **fields)
        with may_be_outdated():
            row.save(ScanRow.item.does_not_exist())
            return True
        return False

    def run(self, run_id: str) -> ScanRun:
        """One run: 1 read unit."""
        row = read(ScanRow, RUNS, run_id)
        if row is None:
            raise NotFound("NotFound", f"There is no run {run_id!r:.70} of the scan.")
        return _run(row)

    def runs(self, *, limit: int, cursor: str | None) -> Page[ScanRun]:
        """Runs, newest first: 1 read unit for each begun 4 KB, about 15 runs."""
        rows, more = _page(RUNS, "", "scans", limit, cursor)
        return Page(tuple(map(_run, rows)), more)

    def planned(self, run: ScanRun, cursor: str | None, accounts: int, at: datetime) -> bool:
        """Note planned accounts: 1 write unit, and those of tries that met workers."""
        known = ScanRow.cursor.does_not_exist() if run.cursor is None else ScanRow.cursor == run.cursor
        actions: list[Action] = [ScanRow.accounts.add(accounts), ScanRow.updated_at.set(at)]
        actions.append(ScanRow.planned.set(True) if cursor is None else ScanRow.cursor.set(cursor))
        return _updated(ScanRow(RUNS, run.id), actions, known & (ScanRow.planned == False))  # noqa: E712

    def abandon(self, run_id: str, problem: str, at: datetime) -> None:
        """End a run: 1 write unit."""
        actions: list[Action] = [ScanRow.problem.set(problem), ScanRow.updated_at.set(at)]
        _updated(ScanRow(RUNS, run_id), actions, ScanRow.item.exists() & ScanRow.problem.does_not_exist())

    def begin(self, account_id: str, run_id: str, at: datetime) -> AccountScan:
        """The account's part of a run: 1 write unit, and 1 read unit when it is a repeat."""
        row = ScanRow(account_id, _part_item(run_id), run_id=run_id, at=at, expires_at=at + KEPT, notices=0)
        with may_be_outdated():
            row.save(ScanRow.item.does_not_exist())
            return _part(row)
        return _part(read(ScanRow, account_id, _part_item(run_id)) or row)

    def finish(self, account_id: str, run_id: str, at: datetime, *, held: int = 0, problem: str = "") -> bool:
        """End an account's part of a run: 1 read unit and 4 write units."""
        while True:
            row = read(ScanRow, account_id, _part_item(run_id))
            if row is None or row.done_at is not None:
                return False
            ended: list[Action] = [ScanRow.done_at.set(at), ScanRow.held.set(held)]
            if problem:
                ended += [ScanRow.problem.set(problem), ScanRow.failed.add(1)]
            counted: list[Action] = [
                ScanRow.accounts_done.add(1),
                ScanRow.notices.add(row.notices),
                ScanRow.held.add(held),
                ScanRow.failed.add(1 if problem else 0),
                ScanRow.updated_at.set(at),
            ]
            unchanged = ScanRow.done_at.does_not_exist() & (ScanRow.notices == row.notices)
            writes = Writes()
            writes.update(ScanRow(account_id, _part_item(run_id)), ended, unchanged, "part")
            writes.update(ScanRow(RUNS, run_id), counted, ScanRow.item.exists(), "run")
            try:
                writes.commit(attempts=COUNTING_ATTEMPTS)
            except ConditionFailedError as failed:
                if "run" in failed.labels:
                    return False
                # A repeat that goes on at the same time has ended it, or claimed more.
            else:
                return True

    def account_scans(self, account_id: str, *, limit: int, cursor: str | None) -> Page[AccountScan]:
        """An account's parts of runs, newest first: 1 read unit for each begun 4 KB, about 20 of them."""
        rows, more = _page(account_id, "run#", f"scans#{account_id}", limit, cursor)
        return Page(tuple(map(_part, rows)), more)

    def scanned_until(self, account_id: str) -> datetime | None:
        """Until when the account was scanned: 1 read unit."""
        row = read(ScanRow, account_id, PROGRESS)
        return None if row is None else row.until

    def scanned(self, account_id: str, until: datetime) -> None:
        """Note until when the account was scanned: 1 write unit."""
        earlier = ScanRow.until.does_not_exist() | (ScanRow.until < until)
        _updated(ScanRow(account_id, PROGRESS), [ScanRow.until.set(until)], earlier)

    def claim(
        self, account_id: str, contact_id: str, run_id: str, reminders: Sequence[Reminder], at: datetime
    ) -> Bundle | None:
        """Put reminders into the ledger: 2 write units for each, 2 for each 45 or so in the bundle, 4 for the rest."""
        left = list(reminders)
        while left:
            bundle = Bundle(str(ULID.from_datetime(at)), run_id, at, tuple(left))
            writes = Writes()
            for number, one in enumerate(left):
                writes.put(_entry(account_id, contact_id, bundle, one), ScanRow.item.does_not_exist(), str(number))
            writes.put(_bundle_row(account_id, contact_id, bundle))
            found: list[Action] = [ScanRow.account_id.set(account_id), ScanRow.contact_id.set(contact_id)]
            writes.update(ScanRow(OPEN, f"{account_id}#{contact_id}"), [*found, ScanRow.last.set(bundle.id)], None)
            writes.update(ScanRow(account_id, _part_item(run_id)), [ScanRow.notices.add(len(left))], None)
            try:
                writes.commit(attempts=COUNTING_ATTEMPTS)
            except ConditionFailedError as failed:
                left = [one for number, one in enumerate(left) if str(number) not in failed.labels]
            else:
                return bundle
        return None

    def outboxes(self, account_id: str | None = None) -> Iterator[Outbox]:
        """Open outboxes: half a read unit for each begun 4 KB, about 25 of them."""
        own = None if account_id is None else ScanRow.item.startswith(f"{account_id}#")
        yield from map(_outbox, ScanRow.query(OPEN, own))

    def lease(self, account_id: str, contact_id: str, at: datetime, until: datetime) -> Outbox | None:
        """Have an outbox to oneself: 1 write unit."""
        row = ScanRow(OPEN, f"{account_id}#{contact_id}")
        free = ScanRow.leased_until.does_not_exist() | (ScanRow.leased_until <= at)
        if not _updated(row, [ScanRow.leased_until.set(until)], ScanRow.last.exists() & free):
            return None
        return _outbox(row)

    def bundles(self, account_id: str, contact_id: str, limit: int) -> Sequence[Bundle]:
        """What waits in an outbox: 1 read unit for each begun 4 KB, some 100 reminders."""
        own = ScanRow.item.startswith(_bundle_item(contact_id, ""))
        return [_bundle(row) for row in ScanRow.query(account_id, own, limit=limit, consistent_read=True)]

    def sent(
        self, outbox: Outbox, bundles: Sequence[Bundle], *, done: bool, run_id: str, in_run: bool, messages: int
    ) -> None:
        """Note what was sent: 4 write units for the counts, 2 for each begun KB of the bundles."""
        writes = Writes()
        for bundle in bundles:
            row = ScanRow(outbox.account_id, _bundle_item(outbox.contact_id, bundle.id))
            if done:
                writes.delete(row)
            else:
                writes.update(row, [ScanRow.sent_to.set(list(bundle.sent_to))], ScanRow.item.exists(), "bundle")
        counter = ScanRow.sent if in_run else ScanRow.made_up
        _commit_counted(writes, outbox.account_id, run_id if messages else None, counter, messages)

    def failed(self, outbox: Outbox, run_id: str | None, at: datetime, *, channels: int) -> None:
        """Note a failure: 6 write units."""
        writes = Writes()
        place = ScanRow(OPEN, f"{outbox.account_id}#{outbox.contact_id}")
        writes.update(place, [ScanRow.failed_at.set(at)], ScanRow.last.exists(), "outbox")
        _commit_counted(writes, outbox.account_id, run_id, ScanRow.failed, channels)

    def release(self, outbox: Outbox, *, empty: bool) -> None:
        """Give an outbox back: 1 write unit, 2 when a bundle came in the meantime."""
        row = ScanRow(OPEN, f"{outbox.account_id}#{outbox.contact_id}")
        own = ScanRow.leased_until == outbox.leased_until
        if not (empty and _calmly(lambda: row.delete(own & (ScanRow.last == outbox.last)))):
            _updated(row, [ScanRow.leased_until.remove()], own)

    def discard(self, account_id: str, contact_id: str) -> None:
        """Throw away what waits: 1 write unit for each begun KB."""
        rows = ScanRow.query(account_id, ScanRow.item.startswith(_bundle_item(contact_id, "")), consistent_read=True)
        with ScanRow.batch_write() as batch:
            for row in rows:
                batch.delete(row)
            batch.delete(ScanRow(OPEN, f"{account_id}#{contact_id}"))


def _commit_counted(
    writes: Writes,
    account_id: str,
    run_id: str | None,
    counter: Any,  # noqa: ANN401 - PynamoDB's
    number: int,
) -> None:
    """Carry writes out, and count in a run and the account's part of it, as long as those are kept."""
    bare = Writes(list(writes.deletes), list(writes.puts), list(writes.updates))
    if run_id is not None:
        for place in ((RUNS, run_id), (account_id, _part_item(run_id))):
            writes.update(ScanRow(*place), [counter.add(number)], ScanRow.item.exists(), "count")
    try:
        writes.commit(attempts=COUNTING_ATTEMPTS)
    except ConditionFailedError as failed:
        if failed.labels == {"count"}:
            bare.commit(attempts=COUNTING_ATTEMPTS)
        # Else what was to be changed is gone: another worker, to whom the lease had passed, has seen to it.


def _updated(row: ScanRow, actions: list[Action], condition: Any) -> bool:  # noqa: ANN401 - PynamoDB's condition
    return _calmly(lambda: row.update(actions, condition))


def _calmly(write: Callable[[], object]) -> bool:
    """Carry out a single write, again when it meets a transaction; whether its condition held."""
    for attempt in range(ATTEMPTS):
        try:
            write()
        except (UpdateError, DeleteError) as error:
            if error.cause_response_code == "ConditionalCheckFailedException":
                return False
            if error.cause_response_code != "TransactionConflictException" or attempt == ATTEMPTS - 1:
                raise
        else:
            return True
        time.sleep(random.uniform(0, FIRST_PAUSE * 2**attempt))  # noqa: S311 - jitter, not a secret
    return False


def _page(partition: str, kind: str, scope: str, limit: int, cursor: str | None) -> tuple[list[ScanRow], str | None]:
    """Rows of a kind, those with the greatest keys first."""
    before = decode_cursor(scope, cursor)
    wanted = limit + 1 + (before is not None)
    rows = list(
        ScanRow.query(
            partition,
            ScanRow.item.between(kind or "0", before or f"{kind}~"),
            scan_index_forward=False,
            limit=wanted,
            page_size=wanted,
            consistent_read=True,
        )
    )
    rows = [row for row in rows if row.item != before][: limit + 1]
    return rows[:limit], encode_cursor(scope, rows[limit - 1].item) if len(rows) > limit else None


def _part_item(run_id: str) -> str:
    return f"run#{run_id}"


def _bundle_item(contact_id: str, bundle_id: str) -> str:
    return f"bundle#{contact_id}#{bundle_id}"


def _entry(account_id: str, contact_id: str, bundle: Bundle, one: Reminder) -> ScanRow:
    return ScanRow(
        f"{account_id}#{contact_id}",
        f"{one.certificate_id}#{one.key}",
        bundle=bundle.id,
        at=one.due_at,
        expires_at=max(one.due_at, bundle.at) + KEPT,
    )


_COUNTS: Final = ("notices", "sent", "held", "failed", "made_up")
_RUN: Final = ("updated_at", "planned", "cursor", "accounts", "accounts_done", *_COUNTS)


def _run(row: ScanRow) -> ScanRun:
    counts = {name: int(getattr(row, name) or 0) for name in ("accounts", "accounts_done", *_COUNTS)}
    return ScanRun(
        id=row.item,
        started_at=row.at,
        updated_at=row.updated_at,
        planned=bool(row.planned),
        cursor=row.cursor,
        problem=row.problem or "",
        **counts,
    )


def _part(row: ScanRow) -> AccountScan:
    counts = {name: int(getattr(row, name) or 0) for name in _COUNTS}
    return AccountScan(row.partition, row.run_id, row.at, row.done_at, problem=row.problem or "", **counts)


def _bundle_row(account_id: str, contact_id: str, bundle: Bundle) -> ScanRow:
    listed = [[r.certificate_id, r.key, r.due_at.isoformat(), r.late] for r in bundle.reminders]
    return ScanRow(
        account_id,
        _bundle_item(contact_id, bundle.id),
        run_id=bundle.run_id,
        at=bundle.at,
        reminders=zlib.compress(json.dumps(listed, separators=(",", ":")).encode()),
    )


def _bundle(row: ScanRow) -> Bundle:
    listed = json.loads(zlib.decompress(row.reminders))
    reminders = tuple(Reminder(one, key, datetime.fromisoformat(at), late) for one, key, at, late in listed)
    return Bundle(row.item.rpartition("#")[2], row.run_id, row.at, reminders, tuple(row.sent_to or ()))


def _outbox(row: ScanRow) -> Outbox:
    return Outbox(row.account_id, row.contact_id, row.last, row.failed_at, row.leased_until)
