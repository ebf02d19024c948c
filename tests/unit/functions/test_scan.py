"""The scan, step by step: what is told when, and what happens when things fail."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chalicelib.domain.errors import TooManyRequests
from chalicelib.domain.reminders import ReminderPolicy
from chalicelib.domain.scans import RunState, ScanRun, ScanTask
from tests.support.authority import NOW
from tests.support.records import event, ulid
from tests.support.scanning import DAY, HOUR, Told, World

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world():
    return World()


def told(world, number=-1):
    return sorted((key, late) for _, key, late in world.post.told[number].notices)


# --- runs ----------------------------------------------------------------------------------------------------------


def test_the_days_run_starts_with_the_first_tick_at_or_after_its_hour(world):
    assert world.tick().run_id is None
    world.clock.advance(HOUR + 20 * MINUTE)
    assert world.tick().run_id == f"{world.clock():%Y-%m-%d}T06"
    world.clock.advance(HOUR)
    assert world.tick().run_id is None
    world.clock.advance(20 * HOUR)
    assert world.tick().run_id is None, "it is night"
    world.clock.advance(12 * HOUR)
    assert world.tick().run_id == f"{world.clock():%Y-%m-%d}T06", "late, but on its day"


def test_a_run_that_is_wanted_now_starts_beside_the_days_own(world):
    first, second = world.tick(force=True).run_id, world.tick(force=True).run_id
    assert first == second, "not twice in a moment"
    world.clock.advance(HOUR)
    runs = {world.tick(force=True).run_id, world.tick().run_id}
    assert len(runs - {first, None}) == 2


def test_a_run_is_done_when_every_account_is(world):
    others = [world.new_account() for _ in range(230)]
    world.clock.advance(HOUR)
    world.scan.tick()
    assert world.latest.state is RunState.RUNNING
    assert {task.account_id for task in world.queue.tasks} == {world.account, *others}
    world.work_off()
    assert (world.latest.state, world.latest.accounts, world.latest.accounts_done) == (RunState.DONE, 231, 231)


def test_a_run_without_accounts_is_done_at_once(world):
    world.stores.accounts.accounts.clear()
    world.tick(force=True)
    assert world.latest.state is RunState.DONE


def test_planning_that_was_cut_short_goes_on_with_the_next_tick(world):
    for _ in range(150):
        world.new_account()
    page = world.stores.accounts.page(limit=100, cursor=None)
    run = ScanRun("2026-run", world.clock(), world.clock())
    world.stores.scans.start(run)
    world.stores.scans.planned(run, page.cursor, 100, world.clock())
    world.tick()
    assert world.latest.planned
    assert (world.latest.accounts, world.latest.accounts_done) == (151, 51)


def test_lost_messages_are_sent_again_when_nothing_moves(world):
    world.certificate(6 * DAY)
    world.contact()
    world.clock.advance(HOUR)
    world.scan.tick()
    world.queue.take()
    world.clock.advance(49 * MINUTE)
    world.tick()
    assert world.post.told == []
    world.clock.advance(2 * MINUTE)
    world.tick()
    assert told(world) == [("7d", False)]
    assert world.latest.state is RunState.DONE


def test_a_run_that_does_not_end_is_ended_as_failed_and_the_next_one_finds_what_it_left(world):
    world.certificate(6 * DAY)
    world.contact()
    world.clock.advance(HOUR)
    first = world.scan.tick().run_id
    world.queue.take()
    world.clock.advance(23 * HOUR + MINUTE)
    assert world.tick().problems == (f"the run {first} did not end",)
    assert world.stores.scans.run(first).state is RunState.FAILED
    assert world.post.told == []
    world.next_run()
    assert told(world) == [("7d", True)]


def test_an_account_that_cannot_be_scanned_is_tried_again_and_in_the_end_marked_as_failed(world):
    world.contact()
    world.clock.advance(HOUR)
    world.scan.tick()
    (task,) = world.queue.take()
    world.certificate(6 * DAY)
    world.stores.contacts.policies[world.account] = None
    with pytest.raises(AttributeError):
        world.scan.work(task)
    assert world.latest.accounts_done == 0
    with pytest.raises(AttributeError):
        world.scan.work(task, last_try=True)
    assert (world.latest.state, world.latest.failed) == (RunState.FAILED, 1)
    (part,) = world.stores.scans.account_scans(world.account, limit=5, cursor=None).items
    assert part.problem == "InternalError"


def test_a_tick_does_everything_else_before_it_fails(world):
    class Busy:
        def page(self, **_):
            raise TooManyRequests("TooManyRequests", "busy")

    world.certificate(6 * DAY)
    world.contact("a@example.com")
    world.post.down["a@example.com"] = False
    world.clock.advance(HOUR)
    world.tick()
    world.stores.accounts = Busy()
    world.clock.advance(24 * HOUR)
    with pytest.raises(ExceptionGroup) as failed:
        world.scan.tick()
    assert failed.group_contains(TooManyRequests)
    assert world.stores.scans.run(f"{world.clock():%Y-%m-%d}T06").state is RunState.RUNNING


# --- what is told --------------------------------------------------------------------------------------------------


def test_a_certificate_with_six_days_left_is_told_once_whenever_it_came(world):
    world.contact()
    world.next_run()
    world.certificate(6 * DAY)
    world.tick(force=True)
    assert told(world) == [("7d", False)]
    world.tick(force=True)
    world.next_run()
    assert len(world.post.told) == 1


def test_one_message_names_everything_that_is_due(world):
    world.contact("a@example.com", "b@example.com")
    world.contact("c@example.com")
    many = [world.certificate(left * DAY) for left in (2, 6, 13, 29, 29)]
    world.certificate(40 * DAY)
    world.certificate(5 * DAY, notifications=False)
    world.tick(force=True)
    assert sorted(t.address for t in world.post.told) == ["a@example.com", "b@example.com", "c@example.com"]
    for one in world.post.told:
        assert {name for name, _, _ in one.notices} == {c.id for c in many}
    assert (world.latest.notices, world.latest.sent, world.latest.failed) == (10, 3, 0)


def test_the_most_urgent_reminder_counts_for_those_before_it(world):
    world.contact()
    one = world.certificate(31 * DAY)
    world.tick(force=True)
    world.pass_time(24 * 29, down=True)
    world.pass_time(24)
    assert world.said == [("ops@example.com", one.id, "3d")]


def test_days_without_a_scan_are_made_up_for_and_what_is_late_says_so(world):
    world.contact()
    world.next_run()
    late, due = world.certificate(9 * DAY), world.certificate(10 * DAY + 12 * HOUR)
    world.next_run()
    world.pass_time(24 * 3, down=True)
    world.tick()
    before, after = world.post.told
    assert before.notices == {(late.id, "14d", False), (due.id, "14d", False)}
    assert after.notices == {(late.id, "7d", True), (due.id, "7d", False)}


def test_short_lifetimes_are_reminded_of_by_fractions(world):
    world.contact()
    one = world.certificate(59 * DAY + 12 * HOUR, lifetime=60 * DAY)
    world.pass_time(24 * 65)
    keys = [key for message in world.post.told for _, key, _ in message.notices]
    assert keys == ["1/3", "1/6", "1/12", "1/24", "0d", "-1d"]
    assert {name for message in world.post.told for name, _, _ in message.notices} == {one.id}


def test_an_account_decides_when_it_is_reminded(world):
    world.contact()
    world.stores.contacts.set_policy(world.account, ReminderPolicy(days=(20, 5), fractions=()), event())
    world.certificate(25 * DAY)
    world.certificate(25 * DAY, lifetime=80 * DAY)
    world.pass_time(24 * 30)
    assert [key for message in world.post.told for _, key, _ in message.notices] == ["20d", "5d"]


@pytest.mark.parametrize(
    "change",
    [
        {"notifications": False},
        {"revoked_at": World().clock()},
        {"replaced_by": "another", "notifications": True},
    ],
)
def test_what_is_silent_is_not_told(world, change):
    world.contact()
    world.change(world.certificate(10 * DAY), **change)
    world.pass_time(24 * 12)
    assert world.post.told == []


def test_what_was_replaced_and_is_still_deployed_is_told(world):
    world.contact()
    world.change(world.certificate(10 * DAY), replaced_by="another", deployed=True)
    world.pass_time(24 * 12)
    assert [key for message in world.post.told for _, key, _ in message.notices] == [
        "14d",
        "7d",
        "3d",
        "1d",
        "0d",
        "-1d",
    ]


def test_notices_that_are_switched_on_late_tell_the_last_threshold_and_do_not_repeat_it(world):
    world.contact()
    one = world.certificate(6 * DAY, notifications=False)
    world.next_run()
    one = world.change(one, notifications=True)
    world.next_run()
    one = world.change(world.change(one, notifications=False), notifications=True)
    world.tick(force=True)
    assert world.said == [("ops@example.com", one.id, "7d")]


def test_accounts_hear_of_their_own_certificates_only(world):
    mine, other = world.certificate(6 * DAY), world.new_account()
    theirs = world.certificate(6 * DAY, account_id=other)
    world.contact("mine@example.com")
    world.contact("theirs@example.com", account_id=other)
    world.tick(force=True)
    assert world.said == [("mine@example.com", mine.id, "7d"), ("theirs@example.com", theirs.id, "7d")]


def test_what_becomes_due_while_there_is_nobody_to_tell_is_told_to_the_first_contact(world):
    one = world.certificate(6 * DAY)
    world.pass_time(48)
    world.contact()
    world.next_run()
    assert world.post.told == [Told(world.clock(), "ops@example.com", frozenset({(one.id, "7d", True)}))]


def test_an_upload_that_is_not_through_is_looked_at_again(world):
    """Its entry in the index is there before it is."""
    world.contact()
    one = world.certificate(6 * DAY)
    record = world.stores.certificates.certificates.pop((world.account, one.id))
    world.tick(force=True)
    assert world.post.told == []
    world.stores.certificates.certificates[world.account, one.id] = record
    world.clock.advance(MINUTE)
    world.tick(force=True)
    assert told(world) == [("7d", False)]


def test_an_entry_that_tells_of_nothing_is_forgotten_after_an_hour(world):
    world.contact()
    one = world.certificate(6 * DAY)
    del world.stores.certificates.certificates[world.account, one.id]
    world.tick(force=True)
    assert len(list(world.stores.certificates.unseen(world.account))) == 1
    world.clock.advance(HOUR + MINUTE)
    world.tick(force=True)
    assert list(world.stores.certificates.unseen(world.account)) == []


def test_more_than_a_digest_names_goes_in_several_messages(world):
    world.contact()
    made = {world.certificate(6 * DAY + n * MINUTE).id for n in range(2100)}
    world.tick(force=True)
    assert [len(t.notices) for t in world.post.told] == [2000, 100]
    assert {name for t in world.post.told for name, _, _ in t.notices} == made


def test_a_message_for_an_account_that_nobody_knows_does_no_harm(world):
    world.scan.work(ScanTask(ulid(), None))
    world.scan.work(ScanTask(ulid(), "nothing"))
    assert world.post.told == []


# --- renewals that failed ------------------------------------------------------------------------------------------


def test_a_renewal_that_failed_is_told_once_whether_notices_are_on_or_off(world):
    world.contact("a@example.com")
    held = [world.certificate(200 * DAY, notifications=on, auto_renew=True) for on in (True, False)]
    for one in held:
        world.change(one, renewal_problem="AuthorityNotActive")
    for _ in range(3):
        world.next_run()
    assert world.said == sorted(("a@example.com", one.id, "renewal") for one in held)


def test_a_contact_that_comes_later_hears_of_renewals_that_failed_before(world):
    one = world.change(world.certificate(200 * DAY, notifications=False), renewal_problem="InternalError")
    world.next_run()
    world.contact("a@example.com")
    world.next_run()
    assert world.said == [("a@example.com", one.id, "renewal")]


@pytest.mark.parametrize("fields", [{"replaced_by": "another"}, {"revoked_at": NOW}], ids=["replaced", "revoked"])
def test_nobody_hears_of_a_renewal_that_is_no_longer_needed(world, fields):
    world.contact()
    world.change(world.certificate(200 * DAY), renewal_problem="InternalError", **fields)
    world.next_run()
    assert world.said == []
