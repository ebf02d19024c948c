"""Lists are right whatever a crash leaves behind, and a repeat mends it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.errors import Conflict, NotFound
from chalicelib.domain.model import CertificateFilter, Source
from chalicelib.store.audit import DynamoAuditStore
from chalicelib.store.certificates import DynamoCertificateStore
from chalicelib.store.summary import DynamoSummaryStore
from chalicelib.store.tables import TABLES
from tests.support.authority import NOW
from tests.support.capacity import moto_table
from tests.support.crashes import CrashError, killed_at
from tests.support.fake_summary import figures_of
from tests.support.fakes import MemoryCertificateStore
from tests.support.records import event, material, record, ulid
from tests.support.tables import moto_aws


@pytest.fixture(scope="module", autouse=True)
def _aws():
    with moto_aws():
        yield


@pytest.fixture(autouse=True)
def _emptied(_aws):
    """Moto copies whole tables for a transaction, so they are kept small."""
    for model in TABLES:
        moto_table(model.Meta.table_name).items.clear()


#: A repeat brings the same certificate.
NEW = {"fingerprint": "e" * 64, "not_after": NOW + timedelta(days=80)}
FILTERS = [
    CertificateFilter(),
    *(CertificateFilter(domain=d) for d in ("one.example.com", "*.example.com", "new.example.com", "*.com")),
    *(CertificateFilter(tag=t) for t in ("team", "team=web", "team=ops", "new", "other")),
    *(CertificateFilter(resource_group=g) for g in ("shop", "desk")),
    CertificateFilter(source=Source.UPLOAD),
]


def listed(store, owner, wanted):
    return [c.id for c in store.page(owner, wanted, now=NOW, limit=20, cursor=None).items]


def as_it_should_be(store, owner):
    """A store that holds the same records, and has no index that could be wrong."""
    reference = MemoryCertificateStore()
    for certificate in store.page(owner, CertificateFilter(), now=NOW, limit=20, cursor=None).items:
        reference.add(certificate, store.material(certificate), event(owner))
    return reference


def counts_right(store, owner) -> bool:
    """Whether the figures are those of what is held."""
    held = store.page(owner, CertificateFilter(), now=NOW, limit=20, cursor=None).items
    return DynamoSummaryStore().read(owner, NOW).figures == figures_of([(one, 1) for one in held], NOW)


def change(owner, held):
    changed = {"name": "changed", "tags": {"team": "ops", "new": "1"}, "resource_group": "desk", "deployed": True}
    return replace(held, version=2, **changed)


def add(store, owner, held):
    new = record(account_id=owner, domains=("new.example.com",), tags={"new": "1"}, **NEW)
    store.add(new, material(new), event(owner))


def update(store, owner, held):
    store.update(held, change(owner, held), event(owner))


def renew(store, owner, held):
    new = record(account_id=owner, name=held.name, domains=("new.example.com",), **NEW)
    store.replace(held, replace(held, name="retired", version=2), new, material(new), event(owner))


def take_in(store, owner, held):
    new = record(account_id=owner, domains=("new.example.com",), source=Source.PCA, **NEW)
    return store.take_in(new, material(new))


def delete(store, owner, held):
    store.delete(held, event(owner))


@pytest.mark.parametrize("write", [add, update, renew, delete])
@pytest.mark.parametrize("request_number", range(9))
def test_lists_and_figures_tell_the_truth_after_a_crash_and_a_repeat_ends_the_same(write, request_number):
    store, owner = DynamoCertificateStore(fold_every=1), ulid()
    held = record(account_id=owner, domains=("one.example.com",), tags={"team": "web"}, resource_group="shop")
    store.add(held, material(held), event(owner))
    try:
        with killed_at(request_number):
            write(store, owner, held)
    except CrashError:
        before = len(DynamoAuditStore().page(owner, limit=20, cursor=None).items)
        reference = as_it_should_be(store, owner)
        for wanted in FILTERS:
            assert listed(store, owner, wanted) == listed(reference, owner, wanted), wanted
        assert counts_right(store, owner)
        try:
            write(store, owner, held)
        except (Conflict, NotFound):
            assert before == 2  # the write itself had been carried out
    assert len(DynamoAuditStore().page(owner, limit=20, cursor=None).items) == 2
    reference = as_it_should_be(store, owner)
    for wanted in FILTERS:
        assert listed(store, owner, wanted) == listed(reference, owner, wanted), wanted
    assert counts_right(store, owner)


@pytest.mark.parametrize("request_number", range(4))
def test_what_a_killed_synchronisation_left_is_completed_by_a_repeat(request_number):
    store, owner = DynamoCertificateStore(), ulid()
    held = record(account_id=owner, domains=("one.example.com",))
    store.add(held, material(held), event(owner))
    try:
        with killed_at(request_number):
            take_in(store, owner, held)
    except CrashError:
        reference = as_it_should_be(store, owner)
        for wanted in FILTERS:
            assert listed(store, owner, wanted) == listed(reference, owner, wanted), wanted
        assert take_in(store, owner, held) is True
    assert take_in(store, owner, held) is False
    assert len(listed(store, owner, CertificateFilter(domain="new.example.com"))) == 1
