"""Pending items, figures and counting anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.errors import Conflict, NotFound
from chalicelib.domain.model import PendingKind, Source
from chalicelib.domain.sync import LONGEST_JOB, Outcome
from chalicelib.functions.summary import ATTEMPTS
from tests.support.authority import NOW
from tests.support.fake_source import REF, FakeSource
from tests.support.fake_summary import MemorySummaryStore, figures_of
from tests.support.records import ACCOUNT, MANAGER, event, material, record
from tests.support.service import MemoryServices


@pytest.fixture
def services():
    made = MemoryServices()
    made.sources = {"fake": FakeSource()}
    return made


def add(services, **fields):
    made = record(**fields)
    services.certificate_store.add(made, material(made), event())
    return made


def held(services):
    return list(services.certificate_store.certificates.values())


def right(services):
    return figures_of([(one, 1) for one in held(services)], services.clock())


def test_pending_items_are_counted_and_listed_alike(services):
    add(services, notifications=True, deployed=True)
    silent = add(services, deployed=True)
    idle = add(services, notifications=True, not_after=NOW + timedelta(days=3))
    risky = add(services, notifications=True, deployed=True, risks=("SelfSigned",))
    wanted = {
        PendingKind.NOTIFICATION_DISABLED: [silent],
        PendingKind.NOT_DEPLOYED: [idle],
        PendingKind.PENDING_RENEWAL: [idle],
        PendingKind.RISK: [risky],
    }
    found = services.summary.pending(MANAGER)
    assert found.counts == {kind: len(certificates) for kind, certificates in wanted.items()}
    for kind, certificates in wanted.items():
        page = services.summary.items(MANAGER, kind, limit=5, cursor=None)
        assert (list(page.items), page.cursor) == (certificates, None)


@pytest.mark.parametrize("kind", ["", "risks", "RISK", "x" * 5000])
def test_a_kind_that_there_is_not_is_not_found_and_told_which_there_are(services, kind):
    with pytest.raises(NotFound) as refused:
        services.summary.items(MANAGER, kind, limit=5, cursor=None)
    assert "notification_disabled" in refused.value.hint
    assert len(refused.value.message) < 200


def test_units_are_required_of_what_is_silent_and_not_free(services):
    services.quota_store.free = 11
    add(services)
    add(services, source=Source.OFFICIAL)
    add(services, notifications=True)
    found = services.summary.pending(MANAGER)
    assert (found.remaining, found.required) == (10, 1)


def test_pending_items_are_put_off_until_the_moment_comes(services):
    until = services.summary.snooze(MANAGER, 7)
    assert until == NOW + timedelta(days=7)
    assert services.summary.pending(MANAGER).snoozed_until == until
    services.clock.advance(timedelta(days=7))
    assert services.summary.pending(MANAGER).snoozed_until is None
    services.summary.snooze(MANAGER, 1)
    services.summary.reopen(MANAGER)
    assert services.summary.pending(MANAGER).snoozed_until is None
    told = [(e.action, e.detail) for e in services.audit_store.events]
    assert told == [("pending.snooze", {"days": "7"}), ("pending.snooze", {"days": "1"}), ("pending.reopen", {})]


def test_a_recount_mends_what_was_changed_past_the_service(services):
    one, two = add(services), add(services)
    del services.certificate_store.certificates[ACCOUNT, one.id]
    services.certificate_store.certificates[ACCOUNT, two.id] = replace(two, deployed=True)
    before, after = services.summary.recount(ACCOUNT)
    assert (before.total, after.total) == (2, 1)
    assert after == right(services) == services.summary.figures(MANAGER)


class Interrupted(MemorySummaryStore):
    """Lets somebody else write while certificates are read, so many times."""

    def __init__(self, audit) -> None:
        super().__init__(audit)
        self.others = []

    def replace(self, account_id, standing, held, now):
        return super().replace(account_id, standing, self._interrupted(held), now)

    def _interrupted(self, held):
        yield from held
        if self.others:
            self.others.pop()()


@pytest.fixture
def busy():
    made = MemoryServices()
    made.summary_store = made.certificate_store.summary = Interrupted(made.audit_store)
    return made


def test_a_recount_begins_anew_when_something_is_written_meanwhile(busy):
    add(busy)
    busy.summary_store.others = [lambda: add(busy)] * (ATTEMPTS - 1)
    _, after = busy.summary.recount(ACCOUNT)
    assert after.total == ATTEMPTS
    assert after == right(busy)


def test_a_recount_that_is_never_left_alone_gives_up_and_changes_nothing(busy):
    add(busy)
    busy.summary_store.others = [lambda: add(busy)] * ATTEMPTS
    with pytest.raises(Conflict) as refused:
        busy.summary.recount(ACCOUNT)
    assert refused.value.code == "ConcurrentChange"
    assert busy.summary.figures(MANAGER) == right(busy)


class TestBesideSynchronisation:
    """What jobs bring is counted once, whatever comes between."""

    def run(self, services, *, count=3):
        for number in range(count):
            services.sources["fake"].issue(f"{number}", number=number + 1)
        return services.pca_batch_sync.start(MANAGER, str(REF), None, source=None, region=None)

    def work_off(self, services, *, last_try=False):
        while tasks := services.sync_queue.take():
            for task in tasks:
                services.pca_batch_sync.run(task, last_try=last_try)

    def test_a_job_counts_what_it_brought_and_a_repeat_nothing(self, services):
        self.run(services)
        self.work_off(services)
        assert services.summary.figures(MANAGER) == right(services)
        assert len(held(services)) == 3
        self.run(services)
        self.work_off(services)
        assert services.summary.figures(MANAGER) == right(services)

    def planned(self, services):
        """A job of which the first chunk broke off after two certificates."""
        job = self.run(services)
        (step,) = services.sync_queue.take()
        services.pca_batch_sync.run(step, last_try=False)
        (chunk,) = services.sync_queue.take()
        services.sources["fake"].failures = [None, None, ValueError("broken")]
        with pytest.raises(ValueError, match="broken"):
            services.pca_batch_sync.run(chunk, last_try=False)
        assert len(held(services)) == 2
        return job, chunk

    def test_a_chunk_that_is_tried_again_is_counted_once(self, services):
        _, chunk = self.planned(services)
        assert services.summary.figures(MANAGER).total == 0
        services.pca_batch_sync.run(chunk, last_try=False)
        assert services.summary.figures(MANAGER) == right(services)
        assert len(held(services)) == 3

    def test_what_was_changed_before_the_chunk_was_done_is_counted_as_it_is(self, services):
        _, chunk = self.planned(services)
        one = held(services)[0]
        changed = replace(one, notifications=True, deployed=True, version=one.version + 1)
        services.certificate_store.update(one, changed, event())
        services.pca_batch_sync.run(chunk, last_try=False)
        assert services.summary.figures(MANAGER) == right(services)

    def test_a_recount_is_refused_while_a_job_runs_and_done_afterwards(self, services):
        _, chunk = self.planned(services)
        for _ in range(2):
            with pytest.raises(Conflict) as refused:
                services.summary.recount(ACCOUNT)
            assert refused.value.code == "ConcurrentChange"
            assert "synchronisation" in refused.value.message
        services.pca_batch_sync.run(chunk, last_try=False)
        before, after = services.summary.recount(ACCOUNT)
        assert before == after == right(services)

    def test_a_job_that_starts_while_certificates_are_counted_stops_the_recount(self, services):
        add(services)
        store = services.summary_store
        real = store.replace

        def while_a_job_starts(account_id, standing, counted, now):
            def interrupted():
                first, *rest = counted_before
                yield first
                self.run(services)
                yield from rest
                yield from counted

            counted_before = [next(counted)]
            return real(account_id, standing, interrupted(), now)

        store.replace = while_a_job_starts
        with pytest.raises(Conflict):
            services.summary.recount(ACCOUNT)
        assert services.summary.figures(MANAGER).total == 1

    def test_a_chunk_that_is_given_up_counts_what_it_brought(self, services):
        job, chunk = self.planned(services)
        services.sources["fake"].failures = [ValueError("broken")]
        services.pca_batch_sync.run(chunk, last_try=True)
        found, chunks = services.pca_batch_sync.job(MANAGER, job.id)
        assert (found.done, found.uploaded, found.failed) == (True, 2, 1)
        assert services.summary.figures(MANAGER) == right(services)
        assert len(held(services)) == 2
        assert {r.outcome for r in chunks[0].results} == {Outcome.UPLOADED, Outcome.FAILED}

    def test_an_abandoned_job_counts_what_it_brought(self, services):
        job, _ = self.planned(services)
        services.clock.advance(LONGEST_JOB + timedelta(seconds=1))
        services.pca_batch_sync.sweep()
        found, chunks = services.pca_batch_sync.job(MANAGER, job.id)
        assert (found.done, found.uploaded, found.failed) == (True, 2, 1)
        assert [r.code for r in chunks[0].results if r.outcome is Outcome.FAILED] == ["JobAbandoned"]
        assert services.summary.figures(MANAGER) == right(services)
