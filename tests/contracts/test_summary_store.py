"""What every store of figures does, beside the stores that write what it counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.errors import Conflict
from chalicelib.domain.model import PendingKind, Source, Status
from chalicelib.domain.sync import Chunk, Outcome, Result, SyncJob, Wanted, job_mark
from chalicelib.store.audit import DynamoAuditStore
from chalicelib.store.certificates import DynamoCertificateStore
from chalicelib.store.counters import CHANGE, READ_UNFOLDED, fold
from chalicelib.store.summary import DynamoSummaryStore
from chalicelib.store.syncs import DynamoSyncStore
from chalicelib.store.tables import SummaryRow
from tests.support.authority import NOW
from tests.support.fake_summary import MemorySummaryStore, figures_of
from tests.support.fake_syncs import MemorySyncStore
from tests.support.fakes import MemoryAuditStore, MemoryCertificateStore
from tests.support.records import event, material, record, ulid

NEVER = 10**9


class Books:
    """The stores of one account, and what they should come to."""

    def __init__(self, store, certificates, syncs, audit) -> None:
        self.store = store
        self.certificates = certificates
        self.syncs = syncs
        self.audit = audit
        self.account = ulid()

    def add(self, **fields):
        made = record(account_id=self.account, **fields)
        self.certificates.add(made, material(made), event(self.account))
        return made

    def change(self, old, **fields):
        new = replace(old, **fields, version=old.version + 1)
        self.certificates.update(old, new, event(self.account))
        return new

    def figures(self, now=NOW):
        return self.store.read(self.account, now).figures

    def agrees_with(self, *held, now=NOW) -> bool:
        return self.figures(now) == figures_of([(one, 1) for one in held], now)

    def job(self, brought):
        """A job with one chunk, and what there is to say of it."""
        made = SyncJob(
            ulid(),
            self.account,
            "fake",
            "here",
            "ca",
            selected=True,
            started_by="token-1",
            created_at=NOW,
            planned=True,
            total=len(brought),
            chunks=1,
        )
        chunk = Chunk(0, tuple(Wanted(one.id) for one in brought))
        self.syncs.start(made, [chunk], event(self.account))
        return made, chunk, [Result(one.id, Outcome.UPLOADED, certificate_id=one.id) for one in brought]


def books(kind, *, fold_every=3):
    if kind == "fake":
        audit = MemoryAuditStore()
        store = MemorySummaryStore(audit)
        return Books(store, MemoryCertificateStore(audit, store), MemorySyncStore(audit, store), audit)
    return Books(
        DynamoSummaryStore(), DynamoCertificateStore(fold_every), DynamoSyncStore(fold_every), DynamoAuditStore()
    )


@pytest.fixture(params=["fake", "folded at once", "folded now and then", "never folded"])
def held(request):
    if request.param != "fake":
        request.getfixturevalue("aws")
    every = {"fake": 0, "folded at once": 1, "folded now and then": 3, "never folded": NEVER}
    return books("fake" if request.param == "fake" else "dynamo", fold_every=every[request.param])


def changes_of(owner):
    return [row for row in SummaryRow.query(owner) if row.item.startswith(CHANGE)]


def test_an_empty_inventory_has_figures_of_nothing(held):
    found = held.figures()
    assert found.total == 0
    assert set(found.statuses) == set(Status)
    assert set(found.sources) == set(Source)
    assert set(found.pending) == set(PendingKind)
    assert {week.certificates for week in found.weeks} == {0}
    assert held.store.read(held.account, NOW).snoozed_until is None


def test_every_write_is_counted(held):
    one, two = held.add(risks=("SelfSigned",)), held.add(source=Source.OFFICIAL, not_after=NOW + timedelta(days=5))
    assert held.agrees_with(one, two)
    one = held.change(one, notifications=True, deployed=True)
    two = held.change(two, revoked_at=NOW)
    assert held.agrees_with(one, two)
    new = record(account_id=held.account, name=one.name, algorithm="ECDSA", key_size=256)
    retired = replace(one, name="retired", replaced_by=new.id, notifications=False, version=one.version + 1)
    held.certificates.replace(one, retired, new, material(new), event(held.account))
    assert held.agrees_with(retired, two, new)
    held.certificates.delete(two, event(held.account))
    assert held.agrees_with(retired, new)
    held.certificates.delete(new, event(held.account))
    held.certificates.delete(retired, event(held.account))
    assert held.agrees_with()


def test_a_refused_write_is_not_counted(held):
    one = held.add()
    for twin in (
        record(account_id=held.account, fingerprint=one.fingerprint, not_after=one.not_after),
        record(account_id=held.account, name=one.name),
    ):
        with pytest.raises(Conflict):
            held.certificates.add(twin, material(twin), event(held.account))
    newer = held.change(one, notifications=True)
    for attempt in (
        lambda: held.certificates.update(one, replace(one, deployed=True, version=2), event(held.account)),
        lambda: held.certificates.delete(one, event(held.account)),
    ):
        with pytest.raises(Conflict):
            attempt()
    assert held.agrees_with(newer)


def test_the_clock_alone_changes_statuses_and_what_is_pending(held):
    long = held.add(not_before=NOW - timedelta(days=300), not_after=NOW + timedelta(days=65))
    short = held.add(not_before=NOW, not_after=NOW + timedelta(days=6))
    far = held.add(not_before=NOW, not_after=NOW + timedelta(days=2000))
    for step in (0, 4, 6, 7, 35, 36, 65, 66, 600, 1970, 2001, 4000):
        for seconds in (-1, 0, 1):
            now = NOW + timedelta(days=step, seconds=seconds)
            assert held.agrees_with(long, short, far, now=now), now


def test_figures_stay_right_when_something_is_written_now_and_then_over_years(held):
    certificates = [
        held.add(not_before=NOW, not_after=NOW + timedelta(days=days)) for days in (3, 40, 300, 700, 1500, 4000)
    ]
    for year in range(1, 8):
        now = NOW + timedelta(days=290 * year)
        made = record(account_id=held.account, not_before=now, not_after=now + timedelta(days=200 * year))
        held.certificates.add(made, material(made), event(held.account, at=now))
        certificates.append(made)
        assert held.agrees_with(*certificates, now=now)
    while certificates:
        held.certificates.delete(certificates.pop(), event(held.account, at=now))
    assert held.agrees_with(now=now)


def test_of_another_account_nothing_is_counted(held):
    held.add()
    assert held.store.read("another", NOW).figures == figures_of([], NOW)


def test_what_a_chunk_brought_is_counted_with_it_and_once(held):
    brought = [
        record(
            account_id=held.account,
            source=Source.PCA,
            name=f"host~{number:010}",
            not_before=NOW - timedelta(days=(number % 2) * 100),
            not_after=NOW + timedelta(days=9 * number + 1),
        )
        for number in range(100)
    ]
    job, chunk, results = held.job(brought)
    for one in brought:
        assert held.certificates.take_in(one, material(one))
    assert held.figures().total == 0
    for expected in (True, False):
        done = held.syncs.finish_chunk(job, chunk, results, NOW, event(held.account), brought=brought)
        assert done is expected
        assert held.agrees_with(*brought)


def test_what_was_changed_before_its_chunk_was_done_is_counted_as_it_is(held):
    kept, gone = (
        record(account_id=held.account, source=Source.PCA, name=f"{n}~0123456789", created_by=job_mark("j"))
        for n in range(2)
    )
    job, chunk, results = held.job([kept, gone])
    for one in (kept, gone):
        held.certificates.take_in(one, material(one))
    changed = held.change(kept, notifications=True)
    held.certificates.delete(gone, event(held.account))
    assert held.figures().total == 0
    held.syncs.finish_chunk(job, chunk, results, NOW, event(held.account), brought=[kept, gone])
    assert held.agrees_with(changed)


def test_simultaneous_writes_are_all_counted(held):
    made = [record(account_id=held.account, not_after=NOW + timedelta(days=n)) for n in range(1, 25)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: held.certificates.add(one, material(one), event(held.account)), made))
    assert held.agrees_with(*made)


def test_pending_items_are_put_off_and_taken_up_again_each_with_its_event(held):
    one = held.add()
    for until in (NOW + timedelta(days=7), NOW + timedelta(days=1), None, None):
        held.store.snooze(held.account, until, event(held.account))
        assert held.store.read(held.account, NOW).snoozed_until == until
    assert held.agrees_with(one)
    assert len(held.audit.page(held.account, limit=10, cursor=None).items) == 5


class TestCountingAnew:
    """Putting counters in the place of what is there."""

    def test_what_is_counted_is_what_was_given(self, held):
        one = held.add()
        other = record(account_id=held.account, source=Source.SHARED)
        standing = held.store.standing(held.account, NOW)
        assert held.store.replace(held.account, standing, [(one, 1), (other, 1), (one, 1), (one, -1)], NOW)
        assert held.agrees_with(one, other)
        more = held.add()
        assert held.agrees_with(one, other, more)

    def test_a_write_while_certificates_are_read_stops_it(self, held):
        one, more = held.add(), []
        standing = held.store.standing(held.account, NOW)

        def read():
            yield one, 1
            more.append(held.add())

        assert not held.store.replace(held.account, standing, read(), NOW)
        assert held.agrees_with(one, *more)

    def test_an_earlier_standing_is_refused(self, held):
        one = held.add()
        standing = held.store.standing(held.account, NOW)
        assert held.store.replace(held.account, standing, [(one, 1)], NOW)
        changed = held.change(one, deployed=True)
        assert not held.store.replace(held.account, standing, [(one, 1)], NOW)
        assert held.agrees_with(changed)


@pytest.fixture
def tables(aws):
    """Nothing is folded but on request."""
    return books("dynamo", fold_every=NEVER)


def test_a_reader_has_many_changes_folded(tables):
    made = [tables.add(not_after=NOW + timedelta(days=number + 1)) for number in range(READ_UNFOLDED + 30)]
    assert len(changes_of(tables.account)) == len(made)
    assert tables.agrees_with(*made)
    assert len(changes_of(tables.account)) <= READ_UNFOLDED
    assert tables.agrees_with(*made)


def test_what_changes_nothing_that_is_counted_leaves_nothing_to_fold(tables):
    one = tables.add()
    tables.change(one, name="another", tags={"a": "b"}, resource_group="shop")
    assert len(changes_of(tables.account)) == 1


def test_of_simultaneous_foldings_each_change_is_folded_once(tables):
    made = [tables.add(not_after=NOW + timedelta(days=number + 1)) for number in range(20)]
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: fold(tables.account, NOW), range(6)))
    assert any(done)
    assert changes_of(tables.account) == []
    assert tables.agrees_with(*made)


def test_a_recount_leaves_nothing_of_earlier_counters(tables):
    one = tables.add()
    fold(tables.account, NOW)
    lost = record(account_id=tables.account, not_after=NOW + timedelta(days=400))
    for certificate in (lost, one):
        standing = tables.store.standing(tables.account, NOW)
        assert tables.store.replace(tables.account, standing, [(certificate, 1)], NOW)
        assert tables.agrees_with(certificate)
        assert len(list(SummaryRow.query(tables.account))) == 2


def test_a_week_with_very_many_certificates_is_kept_by_coarser_grains(tables):
    """Right to the minute or hour then, and all that was counted can be taken off again."""
    start = NOW + timedelta(days=7)
    certificates = [
        record(account_id=tables.account, not_after=start + timedelta(seconds=n * 97), deployed=n % 7 == 0)
        for n in range(4_000)
    ]
    standing = tables.store.standing(tables.account, NOW)
    assert tables.store.replace(tables.account, standing, ((one, 1) for one in certificates), NOW)
    assert max(len(row.content) for row in SummaryRow.query(tables.account)) < 4_000
    for seconds in (0, 97 * 1_000, 97 * 3_999 + 3_600):
        now = start + timedelta(seconds=seconds)
        found, right = tables.figures(now).statuses, figures_of([(one, 1) for one in certificates], now).statuses
        for status in Status:
            assert abs(found[status] - right[status]) <= 3_600 / 97 + 1
    for certificate in certificates[::500]:
        held = replace(certificate, name=f"{certificate.name}~0123456789")
        tables.certificates.take_in(held, material(held))
        tables.certificates.delete(held, event(tables.account))
    fold(tables.account, NOW)
    assert tables.figures().total == 4_000 - 8
    assert tables.figures(NOW + timedelta(days=99)).statuses[Status.EXPIRED] == 4_000 - 8
