"""What every store of the scan does: runs, the ledger, and what waits to be sent."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.errors import InvalidRequest, NotFound
from chalicelib.domain.scans import BUNDLE, AccountScan, Reminder, RunState, ScanRun
from chalicelib.store.scans import DynamoScanStore
from tests.support.authority import NOW
from tests.support.fake_scans import MemoryScanStore
from tests.support.records import ulid

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


class Held:
    """A store with a run and an account's part of it."""

    def __init__(self, store):
        self.store = store
        self.account, self.contact = ulid(), ulid()
        self.run_id = f"run-{ulid()}"
        store.start(ScanRun(self.run_id, NOW, NOW))
        store.begin(self.account, self.run_id, NOW)

    @property
    def run(self):
        return self.store.run(self.run_id)

    @property
    def part(self):
        return self.store.begin(self.account, self.run_id, NOW + HOUR)

    def claim(self, *reminders, contact=None):
        return self.store.claim(self.account, contact or self.contact, self.run_id, reminders, NOW)

    def lease(self, at=NOW, until=NOW + HOUR):
        return self.store.lease(self.account, self.contact, at, until)

    def waiting(self):
        return list(self.store.bundles(self.account, self.contact, 50))

    def outboxes(self):
        return [o.contact_id for o in self.store.outboxes(self.account)]


@pytest.fixture(params=["fake", "dynamo"])
def held(request):
    if request.param == "fake":
        return Held(MemoryScanStore())
    request.getfixturevalue("aws")
    return Held(DynamoScanStore())


def reminder(one="one", key="7d", **fields):
    return Reminder(one, key, NOW - HOUR, **fields)


# --- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_is_started_once(held):
    later = ScanRun(held.run_id, NOW + HOUR, NOW + HOUR)
    assert not held.store.start(later)
    assert held.run == ScanRun(held.run_id, NOW, NOW)
    assert held.run.state is RunState.RUNNING
    with pytest.raises(NotFound):
        held.store.run("nothing")


def test_of_simultaneous_starts_one_is_the_first(held):
    run, start = ScanRun(f"run-{ulid()}", NOW, NOW), threading.Barrier(6)

    def begin(_):
        start.wait()
        return held.store.start(replace(run))

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(begin, range(6))) == [False] * 5 + [True]


def test_runs_are_listed_newest_first(held):
    made = [f"zz-{ulid()}" for _ in range(5)]
    for one in made:
        held.store.start(ScanRun(one, NOW, NOW))
    seen, cursor = [], None
    while len(seen) < 5:
        page = held.store.runs(limit=2, cursor=cursor)
        seen += [run.id for run in page.items]
        cursor = page.cursor
    assert seen[:5] == made[::-1]


def test_planning_goes_on_from_where_it_was_and_is_counted_once(held):
    first = held.run
    assert held.store.planned(first, "a", 3, NOW + SECOND)
    assert not held.store.planned(first, "a", 3, NOW + SECOND)
    second = held.run
    assert (second.accounts, second.cursor, second.planned, second.updated_at) == (3, "a", False, NOW + SECOND)
    assert held.store.planned(second, None, 2, NOW + SECOND)
    assert not held.store.planned(second, None, 2, NOW + SECOND)
    assert (held.run.accounts, held.run.planned) == (5, True)


def test_an_accounts_part_begins_and_ends_once(held):
    assert held.part == AccountScan(held.account, held.run_id, NOW)
    held.store.planned(held.run, None, 1, NOW)
    held.claim(reminder(), reminder("two"))
    assert held.store.finish(held.account, held.run_id, NOW + SECOND, held=1)
    assert not held.store.finish(held.account, held.run_id, NOW + HOUR, problem="Late")
    assert held.part == AccountScan(held.account, held.run_id, NOW, NOW + SECOND, notices=2, held=1)
    assert (held.run.accounts_done, held.run.notices, held.run.held, held.run.updated_at) == (1, 2, 1, NOW + SECOND)
    assert (held.run.state, held.part.state) == (RunState.DONE, RunState.DONE)


def test_an_account_that_could_not_be_scanned_makes_its_run_fail(held):
    held.store.planned(held.run, None, 1, NOW)
    held.store.finish(held.account, held.run_id, NOW, problem="InternalError")
    assert (held.part.failed, held.part.problem, held.part.state) == (1, "InternalError", RunState.FAILED)
    assert (held.run.failed, held.run.accounts_done, held.run.state) == (1, 1, RunState.FAILED)


def test_what_was_not_begun_does_not_end(held):
    assert not held.store.finish(held.account, "run-nothing", NOW)
    assert not held.store.finish("another", held.run_id, NOW)
    assert held.run.accounts_done == 0


def test_an_abandoned_run_is_a_failed_one_and_keeps_its_first_reason(held):
    held.store.abandon(held.run_id, "RunAbandoned", NOW + SECOND)
    held.store.abandon(held.run_id, "Other", NOW + HOUR)
    held.store.abandon("run-nothing", "Other", NOW + HOUR)
    assert (held.run.problem, held.run.state, held.run.updated_at) == ("RunAbandoned", RunState.FAILED, NOW + SECOND)


def test_accounts_that_end_together_are_all_counted(held):
    accounts = [ulid() for _ in range(6)]
    for one in accounts:
        held.store.begin(one, held.run_id, NOW)
        held.store.claim(one, "c", held.run_id, [reminder()], NOW)
    start = threading.Barrier(12)

    def finish(one):
        start.wait()
        return held.store.finish(one, held.run_id, NOW)

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(finish, accounts * 2)) == 6
    assert (held.run.accounts_done, held.run.notices) == (6, 6)


def test_parts_of_runs_are_listed_newest_first_for_their_account_only(held):
    made = [held.run_id] + [f"zz-{ulid()}" for _ in range(4)]
    for one in made:
        held.store.begin(held.account, one, NOW)
        held.store.begin(ulid(), one, NOW)
    held.claim(reminder())
    held.store.scanned(held.account, NOW)
    seen, cursor = [], None
    while not seen or cursor:
        page = held.store.account_scans(held.account, limit=2, cursor=cursor)
        seen += [part.run_id for part in page.items]
        cursor = page.cursor
    assert seen == made[::-1]
    cursor = held.store.account_scans(held.account, limit=2, cursor=None).cursor
    for read in (
        lambda: held.store.account_scans("another", limit=2, cursor=cursor),
        lambda: held.store.runs(limit=2, cursor=cursor),
    ):
        with pytest.raises(InvalidRequest):
            read()


def test_an_account_is_scanned_until_the_latest_moment(held):
    assert held.store.scanned_until(held.account) is None
    for moment in (NOW, NOW + HOUR, NOW + SECOND):
        held.store.scanned(held.account, moment)
    assert held.store.scanned_until(held.account) == NOW + HOUR
    assert held.store.scanned_until("another") is None


# --- the ledger ----------------------------------------------------------------------------------------------------


def test_a_reminder_is_claimed_once_for_each_contact(held):
    first = held.claim(reminder("one"), reminder("two"))
    assert [r.certificate_id for r in first.reminders] == ["one", "two"]
    assert held.claim(reminder("one"), reminder("two")) is None
    second = held.claim(reminder("one"), reminder("three", late=True), reminder("one", "3d"))
    assert [(r.certificate_id, r.key) for r in second.reminders] == [("three", "7d"), ("one", "3d")]
    assert held.claim(reminder("one"), contact=ulid()) is not None
    assert held.waiting() == [first, second]
    assert held.part.notices == 5


def test_accounts_share_no_ledger(held):
    held.claim(reminder())
    other = ulid()
    held.store.begin(other, held.run_id, NOW)
    assert held.store.claim(other, held.contact, held.run_id, [reminder()], NOW) is not None


def test_a_whole_bundle_of_the_longest_ids_is_claimed_at_once(held):
    many = [reminder(f"{number:026}", "1/24", late=True) for number in range(BUNDLE)]
    assert held.claim(*many).reminders == tuple(many)
    assert held.waiting()[0].reminders == tuple(many)


def test_of_simultaneous_claims_each_reminder_is_in_one_bundle(held):
    many = [reminder(f"certificate-{number}") for number in range(12)]
    start = threading.Barrier(4)

    def claim(turn):
        start.wait()
        return [held.claim(*many[first : first + 6]) for first in ((0, 3, 6) if turn % 2 else (6, 3, 0))]

    with ThreadPoolExecutor(4) as pool:
        claimed = [b for found in pool.map(claim, range(4)) for b in found if b is not None]
    told = sorted(r.certificate_id for b in claimed for r in b.reminders)
    assert told == sorted(r.certificate_id for r in many)
    assert sorted(b.id for b in claimed) == sorted(b.id for b in held.waiting())
    assert held.part.notices == 12


# --- outboxes ------------------------------------------------------------------------------------------------------


def test_an_outbox_is_open_as_long_as_something_waits(held):
    assert (held.outboxes(), held.waiting(), held.lease()) == ([], [], None)
    bundle = held.claim(reminder())
    assert held.outboxes() == [held.contact]
    assert held.contact in {o.contact_id for o in held.store.outboxes()}
    outbox = held.lease()
    held.store.sent(outbox, [bundle], done=True, run_id=held.run_id, in_run=True, messages=1)
    assert held.waiting() == []
    held.store.release(outbox, empty=True)
    assert held.outboxes() == []
    assert (held.run.sent, held.part.sent, held.part.made_up) == (1, 1, 0)


def test_a_leased_outbox_is_nobody_elses_until_the_lease_ends(held):
    held.claim(reminder())
    first = held.lease()
    assert first.leased_until == NOW + HOUR
    assert held.lease(at=NOW + HOUR - SECOND) is None
    second = held.lease(at=NOW + HOUR, until=NOW + 2 * HOUR)
    assert second.leased_until == NOW + 2 * HOUR
    held.store.release(first, empty=True)
    assert held.outboxes() == [held.contact], "it is the other's now"
    assert held.lease(at=NOW + HOUR) is None
    held.store.release(second, empty=False)
    assert held.lease() is not None


def test_of_simultaneous_leases_one_is_granted(held):
    held.claim(reminder())
    start = threading.Barrier(6)

    def lease(_):
        start.wait()
        return held.lease()

    with ThreadPoolExecutor(6) as pool:
        assert sum(found is not None for found in pool.map(lease, range(6))) == 1


def test_a_bundle_that_comes_while_others_are_sent_keeps_the_outbox_open(held):
    first = held.claim(reminder())
    outbox = held.lease()
    second = held.claim(reminder("two"))
    held.store.sent(outbox, [first], done=True, run_id=held.run_id, in_run=False, messages=1)
    held.store.release(outbox, empty=True)
    assert (held.outboxes(), held.waiting()) == ([held.contact], [second])
    assert held.lease() is not None
    assert (held.run.sent, held.run.made_up, held.part.made_up) == (0, 1, 1)


def test_each_channel_is_noted_until_all_have_sent(held):
    bundle = held.claim(reminder())
    outbox = held.lease()
    mailed = replace(bundle, sent_to=("mail",))
    held.store.sent(outbox, [mailed], done=False, run_id=held.run_id, in_run=True, messages=1)
    (known,) = held.waiting()
    assert known == mailed
    held.store.sent(outbox, [known], done=True, run_id=held.run_id, in_run=True, messages=1)
    assert held.waiting() == []
    assert held.run.sent == 2


def test_what_is_sent_and_gone_does_not_come_back(held):
    bundle = held.claim(reminder())
    outbox = held.lease()
    held.store.sent(outbox, [bundle], done=True, run_id=held.run_id, in_run=True, messages=0)
    held.store.sent(outbox, [bundle], done=False, run_id=held.run_id, in_run=True, messages=0)
    assert held.waiting() == []
    assert held.run.sent == 0
    assert held.claim(reminder()) is None, "the ledger stays"


def test_a_failure_is_kept_with_the_outbox_and_counted_until_it_is_empty(held):
    bundle = held.claim(reminder())
    outbox = held.lease()
    held.store.failed(outbox, held.run_id, NOW + SECOND, channels=1)
    held.store.release(outbox, empty=False)
    (known,) = held.store.outboxes(held.account)
    assert known.failed_at == NOW + SECOND
    assert (held.run.failed, held.part.failed) == (1, 1)
    held.claim(reminder("two"))
    (known,) = held.store.outboxes(held.account)
    assert known.failed_at, "a new bundle mends nothing"
    outbox = held.lease()
    held.store.sent(outbox, held.waiting(), done=True, run_id=bundle.run_id, in_run=False, messages=1)
    held.store.release(outbox, empty=True)
    held.claim(reminder("three"))
    (known,) = held.store.outboxes(held.account)
    assert known.failed_at is None


def test_counts_of_a_run_that_is_kept_no_more_are_left_out(held):
    bundle = held.claim(reminder())
    outbox = held.lease()
    held.store.failed(outbox, "run-nothing", NOW, channels=1)
    held.store.sent(outbox, [bundle], done=True, run_id="run-nothing", in_run=False, messages=1)
    assert held.waiting() == []
    assert (held.run.failed, held.run.made_up) == (0, 0)


def test_what_waits_for_a_contact_that_is_gone_is_thrown_away(held):
    held.claim(reminder())
    kept = held.claim(reminder(), contact=ulid())
    held.store.discard(held.account, held.contact)
    held.store.discard(held.account, held.contact)
    assert held.waiting() == []
    assert held.contact not in held.outboxes()
    assert kept is not None
    assert len(held.outboxes()) == 1
