"""What batch synchronisation costs in DynamoDB's units: each step, and a certificate all told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chalicelib.domain.model import Caller, Role, Source
from chalicelib.domain.renewals import PlannedRenewal
from chalicelib.domain.sync import CHUNK, Chunk, Link, Outcome, Result, SyncJob, SyncSchedule, Wanted
from chalicelib.functions.private_ca import AuthoritySpec, LeafSpec
from chalicelib.store.renewals import DynamoRenewalStore
from chalicelib.store.syncs import DynamoSyncStore
from tests.support.authority import NOW
from tests.support.capacity import metered
from tests.support.fake_syncs import MemoryTaskQueue
from tests.support.moto_service import service_on_moto
from tests.support.records import event, record, ulid
from tests.support.tables import moto_aws

CA = ulid()


def units(use):
    with metered() as meter:
        use()
    assert "Scan" not in meter.operations
    return meter.read, meter.write


def wanted(number: int) -> tuple[Wanted, ...]:
    """Certificates as the list of the built-in CA names them."""
    return tuple(Wanted(f"{CA}.{ulid()}", ulid()) for _ in range(number))


@pytest.fixture
def _tables():
    with moto_aws():
        yield


@pytest.mark.usefixtures("_tables")
def test_the_life_of_a_job_costs_what_the_docstrings_say():
    store, owner = DynamoSyncStore(fold_every=10**9), ulid()
    first, second = Chunk(0, wanted(25)), Chunk(1, wanted(CHUNK))
    job = SyncJob(ulid(), owner, "builtin", "here", CA, selected=True, started_by="token", created_at=NOW)
    results = [Result(w.id, Outcome.UPLOADED, certificate_id=w.certificate_id) for w in second.wanted]
    assert units(lambda: store.start(job, [first], event(owner))) == (0, 1 + 8)
    assert units(lambda: store.job(owner, job.id)) == (1, 0)
    assert units(lambda: store.add_chunk(owner, job.id, second)) == (0, 2 + 2 * 4)
    assert units(lambda: store.planned(job, None, NOW)) == (0, 1)
    assert units(lambda: store.chunks(owner, job.id, 0, 2)) == (1, 0)
    assert units(lambda: store.active_for(owner, CA)) == (2, 0)
    brought = [record(account_id=owner, source=Source.PCA, not_after=NOW + timedelta(hours=n)) for n in range(CHUNK)]
    finish = {"at": NOW, "audit": event(owner), "brought": brought}
    assert units(lambda: store.finish_chunk(job, second, results, **finish)) == (0, 4 + 2 * 4 + 2)
    assert units(lambda: store.page(owner, limit=10, cursor=None)) == (1, 0)
    assert units(lambda: store.end(job)) == (0, 2)


@pytest.mark.usefixtures("_tables")
def test_links_and_schedules_cost_what_the_docstrings_say():
    store, owner = DynamoSyncStore(), ulid()
    links = {f"{n}": Link(ulid(), NOW) for n in range(30)}
    made = SyncSchedule(owner, "builtin", "here", CA, 6, NOW, "token")
    assert units(lambda: store.link(owner, CA, links)) == (0, 30)
    assert units(lambda: store.links(owner, CA, list(links))) == (30, 0)
    assert units(lambda: store.schedule(made, event(owner))) == (1, 6)
    assert units(lambda: store.scheduled(owner, CA)) == (1, 0)
    assert units(lambda: list(store.due(NOW))) == (1, 0)
    assert units(lambda: store.ran(made, NOW + timedelta(hours=6), None)) == (0, 6)
    assert units(lambda: store.unschedule(owner, CA, event(owner))) == (1, 6)


@pytest.mark.usefixtures("_tables")
def test_planned_renewals_cost_what_the_docstrings_say():
    plans, owner = DynamoRenewalStore(), ulid()
    many = [PlannedRenewal(owner, ulid(), NOW) for _ in range(20)]
    assert units(lambda: plans.plan(many[0])) == (0, 1)
    for one in many[1:]:
        plans.plan(one)
    assert units(lambda: list(plans.due(NOW))) == (2, 0)
    assert units(lambda: plans.done(many[0])) == (0, 1)


def test_a_certificate_of_the_built_in_ca_costs_at_most_five_write_units_and_a_repeat_a_third_of_one():
    with service_on_moto() as cloud:
        services = cloud.services
        services.sync_queue = MemoryTaskQueue()
        caller = Caller(ulid(), Role.ADMIN, "token-1")
        root = services.private_ca.create(caller, AuthoritySpec("root", "Example Root", algorithm="ECC"))
        spec = AuthoritySpec("intermediate", "Example Issuing", parent=root.id, algorithm="ECC")
        ca = services.private_ca.create(caller, spec)
        for number in range(CHUNK):
            services.private_ca.issue(caller, ca.id, LeafSpec(f"host-{number:05}.example.com"))

        def synchronise():
            services.pca_batch_sync.start(caller, ca.id, None, source=None, region=None)
            while tasks := services.sync_queue.take():
                for task in tasks:
                    services.pca_batch_sync.run(task, last_try=False)

        _, first = units(synchronise)
        _, repeated = units(synchronise)
        (job, *_) = services.pca_batch_sync.jobs(caller, limit=2, cursor=None).items
        assert (job.total, job.skipped) == (CHUNK, CHUNK)
    assert 4 < first / CHUNK <= 5
    assert repeated / CHUNK <= 0.35
