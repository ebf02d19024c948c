"""Whatever a crash, a repeat or another scan at the same time does: nothing is lost, and nothing is said twice."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy
from datetime import timedelta

import pytest

from chalicelib.domain.scans import RunState
from chalicelib.functions.scan import ScanFailedError
from chalicelib.store.tables import TABLES
from tests.support.capacity import moto_table
from tests.support.crashes import CrashError, killed_at
from tests.support.fake_scans import MemoryScanQueue
from tests.support.fakes import FixedClock
from tests.support.scanning import DAY, HOUR, Post, World
from tests.support.tables import moto_aws


@pytest.fixture(scope="module", autouse=True)
def _aws():
    with moto_aws():
        yield


def tables():
    return [moto_table(model.Meta.table_name) for model in TABLES]


@pytest.fixture(scope="module")
def snapshot():
    """A world whose next run finds something in every way, as the tables have it, and what that run is to say."""
    for table in tables():
        table.items.clear()  # moto copies whole tables for a transaction
    world = World(dynamo=True)
    world.contact("a@example.com", "b@example.com")
    world.contact("c@example.com")
    old = world.certificate(7 * DAY + 12 * HOUR)
    short = world.certificate(20 * DAY + 12 * HOUR, lifetime=60 * DAY)
    world.pass_time()
    world.pass_time(23, down=True)
    new = world.certificate(6 * DAY)
    world.pass_time(1, down=True)
    due = [(old.id, "7d"), (short.id, "1/3"), (new.id, "7d")]
    expected = Counter((f"{name}@example.com", *one) for name in "abc" for one in due)
    return world, expected, [deepcopy(table.items) for table in tables()]


@pytest.fixture
def prepared(snapshot):
    """Makes that world anew."""
    first, expected, items = snapshot

    def make():
        for table, held in zip(tables(), items, strict=True):
            table.items.clear()
            table.items.update(deepcopy(held))
        world = copy(first)
        world.clock = FixedClock(first.clock())
        world.queue, world.post = MemoryScanQueue(), Post(world.clock)
        return world, expected

    return make


def run_until_killed(world, request_number):
    """The day's run; whether it was killed."""
    try:
        with killed_at(request_number):
            world.scan.tick()
            for task in list(world.queue.tasks):
                world.scan.work(task)
                world.queue.tasks.remove(task)
    except CrashError:
        return True
    return False


@pytest.mark.parametrize("redelivered", [True, False], ids=["the message comes again", "the message is lost"])
def test_a_run_that_is_killed_at_any_request_loses_nothing(prepared, redelivered):
    twice = 0
    for request_number in itertools.count():
        world, expected = prepared()
        killed = run_until_killed(world, request_number)
        waits = {(b.id, o.contact_id) for o in world.stores.scans.outboxes() for b in bundles(world, o)}
        unnoted = bool(waits) and bool(world.post.told)
        if not redelivered:
            world.queue.take()
        world.clock.advance(timedelta(minutes=30))
        world.work_off()
        world.pass_time(2)
        said = Counter(world.said)
        assert set(said) == set(expected), request_number
        more = said - expected
        assert not more or unnoted, "only what was sent, and not yet noted, may be said again"
        assert max(more.values(), default=0) <= 1
        twice += bool(more)
        assert list(world.stores.scans.outboxes()) == []
        assert world.latest.state is RunState.DONE
        if not killed:
            break
    assert request_number > 20
    assert twice <= 3, "one moment for each message"


def bundles(world, outbox):
    return world.stores.scans.bundles(outbox.account_id, outbox.contact_id, 9)


def test_a_retry_that_is_killed_at_any_request_loses_nothing(prepared):
    for request_number in itertools.count():
        world, expected = prepared()
        for name in "ac":
            world.post.down[f"{name}@example.com"] = False
        world.tick()
        world.post.down.clear()
        killed = run_until_killed(world, request_number)
        world.queue.take()
        world.pass_time(2)
        said = Counter(world.said)
        assert set(said) == set(expected), request_number
        assert (said - expected).total() <= 3, "one message"
        assert list(world.stores.scans.outboxes()) == []
        if not killed:
            break
    assert request_number > 8


def test_runs_ticks_and_repeats_at_the_same_time_say_everything_once(prepared):
    world, expected = prepared()
    tasks = []
    for _ in range(2):
        world.scan.tick(force=True)
        world.clock.advance(timedelta(seconds=1))
        tasks += world.queue.take() * 2
    world.scan.tick()
    tasks += world.queue.take() * 2
    start = threading.Barrier(len(tasks))

    def work(task):
        start.wait()
        world.scan.work(task)

    with ThreadPoolExecutor(len(tasks)) as pool:
        list(pool.map(work, tasks))
    assert len(tasks) == 6
    world.pass_time(1)
    assert Counter(world.said) == expected
    assert [run.state for run in world.stores.scans.runs(limit=4, cursor=None).items] == [RunState.DONE] * 4
    assert sum(run.notices for run in world.stores.scans.runs(limit=3, cursor=None).items) == 6


def test_ticks_at_the_same_time_start_one_run(prepared):
    world, expected = prepared()
    start = threading.Barrier(6)

    def tick(_):
        start.wait()
        return world.scan.tick().run_id

    with ThreadPoolExecutor(6) as pool:
        started = [run_id for run_id in pool.map(tick, range(6)) if run_id]
    assert len(started) == 1
    assert (world.latest.accounts, world.latest.planned) == (1, True)
    world.work_off()
    assert Counter(world.said) == expected
    assert world.latest.accounts_done == 1


def test_a_failure_that_two_workers_meet_is_made_up_for_once(prepared):
    world, expected = prepared()
    world.post.down["c@example.com"] = False
    world.scan.tick()
    tasks = world.queue.take() * 3
    start = threading.Barrier(len(tasks))

    def work(task):
        start.wait()
        try:
            world.scan.work(task)
        except ScanFailedError:
            return True
        return False

    with ThreadPoolExecutor(len(tasks)) as pool:
        assert any(pool.map(work, tasks))
    assert world.latest.state is RunState.FAILED
    world.post.down.clear()
    world.pass_time(2)
    assert Counter(world.said) == expected
