"""What the scan costs in DynamoDB's units: the docstrings' figures, and that it grows with what is due alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.reminders import ReminderPolicy, due, is_silent
from chalicelib.domain.scans import BUNDLE, Reminder, ScanRun
from chalicelib.functions.due import DueReader
from chalicelib.store.certificates import DynamoCertificateStore
from chalicelib.store.scans import DynamoScanStore
from chalicelib.store.tables import CertificateRow
from tests.support.authority import NOW
from tests.support.capacity import metered, moto_table
from tests.support.inventories import inventory
from tests.support.records import event, material, record, ulid
from tests.support.scanning import DAY, World
from tests.support.tables import moto_aws

#: What is read of an account at least, whatever is due: five ranges of expiry, three indexes, contacts, policy,
#: progress, outboxes, and what waits for a contact.
OVERHEAD = 8.5
UNTIL = NOW + 40 * DAY
USUAL = ReminderPolicy()


def units(use):
    with metered() as meter:
        use()
    assert "Scan" not in meter.operations
    return meter.read, meter.write


@pytest.fixture(scope="module", autouse=True)
def _aws():
    with moto_aws():
        yield


def test_the_life_of_a_run_costs_what_the_docstrings_say():
    store, owner, run = DynamoScanStore(), ulid(), ScanRun(ulid(), NOW, NOW)
    assert units(lambda: store.start(run)) == (0, 1)
    assert units(lambda: store.run(run.id)) == (1, 0)
    assert units(lambda: store.runs(limit=10, cursor=None)) == (1, 0)
    assert units(lambda: store.planned(run, "a", 1, NOW)) == (0, 1)
    assert units(lambda: store.begin(owner, run.id, NOW)) == (0, 1)
    assert units(lambda: store.begin(owner, run.id, NOW)) == (1, 1)
    assert units(lambda: store.scanned(owner, NOW)) == (0, 1)
    assert units(lambda: store.scanned_until(owner)) == (1, 0)
    assert units(lambda: store.finish(owner, run.id, NOW)) == (1, 4)
    assert units(lambda: store.account_scans(owner, limit=10, cursor=None)) == (1, 0)
    assert units(lambda: store.abandon(run.id, "RunAbandoned", NOW)) == (0, 1)


def test_the_life_of_a_reminder_costs_what_the_docstrings_say():
    store, owner, run, contact = DynamoScanStore(), ulid(), ScanRun(ulid(), NOW, NOW), ulid()
    store.start(run)
    store.begin(owner, run.id, NOW)
    many = [Reminder(record().id, "30d", NOW + timedelta(seconds=n)) for n in range(BUNDLE)]
    bundles = []
    read, written = units(lambda: bundles.append(store.claim(owner, contact, run.id, many, NOW)))
    assert (read, written) == (0, 2 * BUNDLE + 2 * 2 + 4)
    assert units(lambda: store.claim(owner, contact, run.id, many[:1], NOW)) == (0, 2 + 2 + 4), "for nothing"
    assert units(lambda: list(store.outboxes(owner))) == (0.5, 0)
    outboxes = []
    later = NOW + timedelta(minutes=10)
    assert units(lambda: outboxes.append(store.lease(owner, contact, NOW, later))) == (0, 1)
    assert units(lambda: store.bundles(owner, contact, 90)) == (1, 0)
    (outbox,) = outboxes
    sent = [replace(bundles[0], sent_to=("one",))]
    assert units(lambda: store.failed(outbox, run.id, NOW, channels=1)) == (0, 6)
    assert units(lambda: store.sent(outbox, sent, done=False, run_id=run.id, in_run=True, messages=1)) == (0, 4 + 2 * 2)
    assert units(lambda: store.sent(outbox, sent, done=True, run_id=run.id, in_run=True, messages=1)) == (0, 4 + 2 * 2)
    assert units(lambda: store.release(outbox, empty=True)) == (0, 1)


def test_notices_cost_a_unit_and_an_entry_or_two_with_each_certificate():
    store, owner = DynamoCertificateStore(fold_every=10**9), ulid()
    costs = []
    for life, notices in ((400, False), (400, True), (60, True)):
        made = record(account_id=owner, not_before=NOW, not_after=NOW + life * DAY, notifications=notices)
        costs.append(units(lambda made=made: store.add(made, material(made), event(owner)))[1])
        (found,) = [w for w in store.unseen(owner) if w.id == made.id] or [None]
        if found:
            assert units(lambda found=found: store.forget(owner, found)) == (0, 1)
            assert units(lambda made=made: store.seen(owner, [made.id])) == (0, 1)
    assert [cost - costs[0] for cost in costs] == [0, 3, 4]


@pytest.fixture(scope="module")
def worlds():
    """Accounts of two sizes, scanned a day ago, of which 1 % is due, and what is due in each."""
    with moto_aws():  # tables of their own: moto copies a table whole for every transaction
        made = {}
        for size in (1_000, 10_000):
            world = World(dynamo=True)
            world.clock.now = UNTIL
            inventory(size, account_id=world.account)
            world.stores.scans.scanned(world.account, UNTIL - DAY)
            made[size] = world, what_is_due(world.account)
        yield made


def what_is_due(owner):
    """Ids of certificates that are due, by looking at all of them, behind the store's back."""
    items = [item for held in moto_table(CertificateRow.Meta.table_name).items.values() for item in held.values()]
    rows = [CertificateRow.from_raw_data(item.to_json()["Attributes"]) for item in items]
    rows = [row for row in rows if row.account_id == owner]
    return [row.certificate_id for row in rows if due(row, USUAL, UNTIL - DAY, UNTIL)]


@pytest.mark.parametrize("size", [1_000, 10_000])
def test_finding_what_is_due_costs_at_most_a_fifth_more_than_reading_that_alone(worlds, size):
    world, expected = worlds[size]
    store, found = world.stores.certificates, []
    reader = DueReader(store)
    alone, _ = units(lambda: store.several(world.account, expected, consistent=False))

    def read():
        for looked in reader.unseen(world.account, USUAL, UNTIL):
            found.extend(looked.found)
        found.extend(reader.in_window(world.account, USUAL, UNTIL - DAY, UNTIL))

    cost, _ = units(read)
    assert sorted(one.certificate.id for one in found) == sorted(expected)
    assert 0.008 < len(expected) / size < 0.012
    assert cost <= 1.2 * alone


def test_a_whole_run_reads_at_most_a_fifth_more_than_what_is_due(worlds):
    world, expected = worlds[10_000]
    world.contact()
    alone, _ = units(lambda: world.stores.certificates.several(world.account, expected, consistent=False))
    world.scan.tick(force=True)
    (task,) = [task for task in world.queue.take() if task.account_id == world.account]
    cost, _ = units(lambda: world.scan.work(task))
    assert {one for _, one, _ in world.said} == set(expected)
    assert cost <= 1.2 * alone


def test_a_run_in_which_nothing_is_due_reads_little(worlds):
    world, _ = worlds[1_000]
    quiet = world.new_account()
    world.contact(account_id=quiet)
    world.stores.scans.scanned(quiet, UNTIL - DAY)
    world.clock.advance(timedelta(seconds=1))
    world.scan.tick(force=True)
    (task,) = [task for task in world.queue.take() if task.account_id == quiet]
    cost, _ = units(lambda: world.scan.work(task))
    assert cost <= OVERHEAD


def test_outages_read_no_certificate_twice(worlds):
    world, _ = worlds[1_000]
    reader = DueReader(world.stores.certificates)
    month = UNTIL - 30 * DAY
    found = [one.certificate.id for one in reader.in_window(world.account, USUAL, month, UNTIL)]
    assert len(found) == len(set(found))
    with metered() as meter:
        list(reader.in_window(world.account, USUAL, month, UNTIL))
    assert meter.operations.count("Query") <= 3


def test_silent_certificates_are_not_found(worlds):
    world, expected = worlds[1_000]
    store = world.stores.certificates
    one = store.get(world.account, expected[0])
    store.update(one, replace(one, revoked_at=UNTIL, version=one.version + 1), event(world.account))
    assert is_silent(store.get(world.account, one.id))
    found = DueReader(store).in_window(world.account, USUAL, UNTIL - DAY, UNTIL)
    assert one.id not in {each.certificate.id for each in found}
