"""Messages wait for their contacts' hours, and failures are kept, shown and made up for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.contacts import Hours
from chalicelib.domain.scans import RunState
from chalicelib.ports import NotifyError
from tests.support.records import event
from tests.support.scanning import DAY, World

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world():
    return World()


def told(world, number=-1):
    return sorted((key, late) for _, key, late in world.post.told[number].notices)


# --- hours ---------------------------------------------------------------------------------------------------------


def test_a_message_waits_for_the_hours_of_its_contact(world):
    world.contact(hours=Hours("09:00", "17:00"), time_zone="America/New_York")  # 14:00 to 22:00 in UTC, or an hour less
    world.certificate(6 * DAY)
    world.next_run()
    assert (world.latest.held, world.latest.sent, world.latest.state) == (1, 0, RunState.DONE)
    while not world.post.told:
        world.pass_time()
    assert world.clock().hour in {13, 14}
    assert told(world) == [("7d", False)], "nobody was late but the contact"
    world.pass_time(12)
    assert len(world.post.told) == 1
    assert (world.latest.made_up, world.latest.sent) == (1, 0)


def test_what_waited_is_said_as_it_is_by_then(world):
    world.contact(hours=Hours("12:00", "13:00"), time_zone="UTC")
    kept, gone = world.certificate(6 * DAY), world.certificate(6 * DAY)
    world.next_run()
    world.stores.certificates.delete(gone, event())
    world.change(kept, name="other")
    world.pass_time(8)
    assert world.said == [("ops@example.com", kept.id, "7d")]


def test_a_message_that_has_nothing_left_to_say_is_not_sent(world):
    world.contact(hours=Hours("12:00", "13:00"), time_zone="UTC")
    gone = world.certificate(6 * DAY)
    world.next_run()
    world.stores.certificates.delete(gone, event())
    world.pass_time(8)
    assert world.post.told == []
    assert list(world.stores.scans.outboxes()) == []
    assert world.latest.made_up == 0


def test_what_waits_for_a_contact_that_was_deleted_is_thrown_away(world):
    held = world.contact(hours=Hours("12:00", "13:00"), time_zone="UTC")
    world.certificate(6 * DAY)
    world.next_run()
    world.stores.contacts.delete(world.account, held.id, event())
    world.pass_time(8)
    assert world.post.told == []
    assert list(world.stores.scans.outboxes()) == []


# --- failures ------------------------------------------------------------------------------------------------------


def test_a_channel_that_fails_is_shown_on_contact_and_run_and_made_up_for(world):
    held = world.contact("a@example.com")
    one = world.certificate(6 * DAY)
    world.post.down["a@example.com"] = False
    world.scan.tick(force=True)
    assert world.work_off() == 1
    (failed,) = world.stores.contacts.several(world.account)
    state = failed.channels[0].state
    assert (state.last_failed_at, state.problem, state.last_sent_at) == (world.clock(), "nobody answers", None)
    run = world.latest
    assert (run.state, run.failed, run.sent) == (RunState.FAILED, 1, 0)
    assert world.tick().problems == (f"a message to contact {held.id} of {world.account} failed",)
    world.post.down.clear()
    world.clock.advance(MINUTE)
    assert world.tick().problems, "it had failed until now"
    assert world.post.told[0].notices == {(one.id, "7d", True)}
    assert world.tick().problems == ()
    state = world.stores.contacts.get(world.account, held.id).channels[0].state
    assert (state.last_sent_at, state.problem) == (world.clock(), "")
    run = world.stores.scans.run(run.id)
    assert (run.state, run.failed, run.made_up) == (RunState.FAILED, 1, 1), "the run stays what it was"


def test_a_task_that_failed_to_send_does_nothing_when_it_comes_again(world):
    world.contact()
    world.certificate(6 * DAY)
    world.post.down["ops@example.com"] = False
    world.scan.tick(force=True)
    (task,) = world.queue.tasks
    assert world.work_off() == 1
    world.post.down.clear()
    world.scan.work(task)
    assert world.post.told == []


def test_only_the_channel_that_failed_sends_again(world):
    world.contact("a@example.com", "b@example.com", "c@example.com")
    one = world.certificate(6 * DAY)
    world.post.down["b@example.com"] = False
    world.tick(force=True)
    assert [t.address for t in world.post.told] == ["a@example.com", "c@example.com"]
    world.pass_time(3)
    world.post.down.clear()
    world.pass_time(3)
    assert [t.address for t in world.post.told] == ["a@example.com", "c@example.com", "b@example.com"]
    assert world.said == [(f"{x}@example.com", one.id, "7d") for x in "abc"]
    assert list(world.stores.scans.outboxes()) == []


def test_what_became_due_while_a_channel_was_down_goes_in_one_message(world):
    world.contact("a@example.com", "b@example.com")
    one = world.certificate(6 * DAY)
    world.post.down["b@example.com"] = False
    world.tick(force=True)
    world.pass_time(24 * 4)
    world.post.down.clear()
    world.pass_time()
    (message,) = [t for t in world.post.told if t.address == "b@example.com"]
    assert message.notices == {(one.id, "7d", True), (one.id, "3d", True)}
    assert [t.notices for t in world.post.told if t.address == "a@example.com"] == [
        {(one.id, "7d", False)},
        {(one.id, "3d", False)},
    ]


def test_what_failed_is_tried_again_with_every_tick(world):
    world.contact()
    world.certificate(6 * DAY)
    world.post.down["ops@example.com"] = True
    world.next_run()
    tries = []

    def refuse(address, message):
        tries.append(world.clock().hour)
        raise NotifyError("no such address", permanent=True)

    world.post.send = refuse
    world.pass_time(3)
    assert tries == [7, 8, 9]
    assert world.latest.failed == 1, "tries after a run count for none"


def test_a_contact_that_fails_holds_up_no_other(world):
    for name in "abc":
        world.contact(f"{name}@example.com")
    world.certificate(6 * DAY)
    world.post.down["a@example.com"] = world.post.down["b@example.com"] = False
    world.tick(force=True)
    assert [t.address for t in world.post.told] == ["c@example.com"]
    assert (world.latest.failed, world.latest.sent, world.latest.accounts_done) == (2, 1, 1)


def test_a_channel_that_is_taken_from_a_contact_is_waited_for_no_longer(world):
    held = world.contact("a@example.com", "b@example.com")
    world.certificate(6 * DAY)
    world.post.down["b@example.com"] = False
    world.tick(force=True)
    known = world.stores.contacts.get(world.account, held.id)
    world.stores.contacts.update(known, replace(known, channels=known.channels[:1], version=2), event())
    world.tick()
    assert [t.address for t in world.post.told] == ["a@example.com"]
    assert list(world.stores.scans.outboxes()) == []


def test_a_worker_that_is_killed_while_it_sends_keeps_others_away_until_it_must_be_dead(world):
    world.contact()
    world.certificate(6 * DAY)

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    world.stores.scans.bundles = die
    with pytest.raises(Killed):
        world.tick(force=True)
    del world.stores.scans.bundles
    world.tick()
    assert world.post.told == []
    world.clock.advance(10 * MINUTE)
    world.tick()
    assert told(world) == [("7d", False)]
