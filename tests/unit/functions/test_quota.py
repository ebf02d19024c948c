"""Switching notices on for many at once, and buying units."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.errors import Conflict, NotFound, Unprocessable
from chalicelib.domain.model import CertificateFilter, Source
from chalicelib.domain.quota import MAX_ENABLED, PurchaseState, QuotaInsufficient
from chalicelib.functions.quota import GIVEN_UP, NotificationQuota
from tests.support.authority import NOW
from tests.support.crashes import CrashError
from tests.support.records import ACCOUNT, MANAGER, event, material, record
from tests.support.service import MemoryServices


@pytest.fixture
def services():
    made = MemoryServices()
    made.quota_store.free = 3
    return made


def add(services, **fields):
    made = record(**fields)
    services.certificate_store.add(made, material(made), event())
    return made


def on(services):
    return {c.id for c in services.certificate_store.certificates.values() if c.notifications}


def used(services):
    return services.quota_store.read(ACCOUNT).used


def test_all_are_switched_on_and_those_that_were_on_are_told_apart(services):
    first, second = add(services), add(services, notifications=True)
    free = add(services, source=Source.OFFICIAL)
    done = services.quota.enable(MANAGER, [first.id, second.id, free.id, first.id])
    assert (done.enabled, done.already, done.quota.remaining) == (2, 1, 1)
    assert on(services) == {first.id, second.id, free.id}
    assert list(services.quota_store.reservations(NOW + timedelta(days=1))) == []


def test_all_or_nothing(services):
    held = [add(services).id for _ in range(4)]
    with pytest.raises(QuotaInsufficient) as refused:
        services.quota.enable(MANAGER, held)
    assert refused.value.figures == {"remaining": 3, "required": 4}
    with pytest.raises(NotFound):
        services.quota.enable(MANAGER, [*held[:2], "nothing"])
    assert (on(services), used(services)) == (set(), 0)
    assert services.quota.enable(MANAGER, held[:3]).enabled == 3


def test_a_filter_means_what_is_pending_and_fits(services):
    fitting = add(services, resource_group="web")
    add(services)
    add(services, resource_group="web", not_after=NOW - timedelta(days=1))
    add(services, resource_group="web", replaced_by="another")
    done = services.quota.enable_all(MANAGER, CertificateFilter(resource_group="web"))
    assert (done.enabled, on(services)) == (1, {fitting.id})


def test_a_filter_that_fits_too_many_is_refused_before_any_unit_is_taken(services):
    services.quota_store.free = 10_000
    for _ in range(MAX_ENABLED + 1):
        add(services)
    with pytest.raises(Unprocessable) as refused:
        services.quota.enable_all(MANAGER, CertificateFilter())
    assert refused.value.code == "TooManyCertificates"
    assert used(services) == 0


def test_what_others_did_meanwhile_costs_no_unit(services, monkeypatch):
    held = [add(services) for _ in range(3)]
    reserve = services.quota_store.reserve

    def others_first(reservation):
        reserve(reservation)
        store = services.certificate_store
        store.delete(held[0], event())
        store.update(held[1], replace(held[1], tags={"a": "b"}, version=2), event())

    monkeypatch.setattr(services.quota_store, "reserve", others_first)
    services.quota.enable(MANAGER, [one.id for one in held])
    assert on(services) == {held[1].id, held[2].id}
    assert used(services) == 2


@pytest.mark.parametrize("killed_at", range(1, 6))
def test_a_request_that_is_killed_after_it_took_its_units_is_finished_by_the_sweep(services, killed_at):
    held = [add(services) for _ in range(3)]
    calls = iter(range(1, 100))

    def killing(inner):
        def call(*given, **named):
            if next(calls) == killed_at:
                raise CrashError
            return inner(*given, **named)

        return call

    real = services.certificate_store.update, services.quota_store.settle
    services.certificate_store.update, services.quota_store.settle = killing(real[0]), killing(real[1])
    with suppress(CrashError):
        services.quota.enable(MANAGER, [one.id for one in held])
    services.certificate_store.update, services.quota_store.settle = real
    assert services.quota.finish_reservations() == 0
    services.clock.advance(GIVEN_UP + timedelta(seconds=1))
    services.quota.finish_reservations()
    assert on(services) == {one.id for one in held}
    assert used(services) == 3
    assert services.quota.finish_reservations() == 0
    actors = [e.actor for e in services.audit_store.events if e.action == "certificate.change"]
    assert set(actors) == {MANAGER.token_id}


def test_units_are_there_at_once_unless_the_operator_is_asked(services):
    made = services.quota.order(MANAGER, 10)
    assert (made.state, services.quota_store.read(ACCOUNT).remaining) == (PurchaseState.FULFILLED, 13)
    asking = NotificationQuota(
        services.quota_store,
        services.certificate_store,
        audit=services.audit,
        clock=services.clock,
        needed=lambda _: 0,
        by_operator=True,
    )
    services.clock.advance(timedelta(seconds=1))
    made = asking.order(MANAGER, 10)
    assert (made.state, services.quota_store.read(ACCOUNT).remaining) == (PurchaseState.OPEN, 13)
    closed = asking.close(MANAGER, ACCOUNT, made.id, fulfilled=True)
    assert (closed.state, services.quota_store.read(ACCOUNT).remaining) == (PurchaseState.FULFILLED, 23)
    with pytest.raises(Conflict):
        asking.close(MANAGER, ACCOUNT, made.id, fulfilled=False)
    told = [(e.action, e.detail["state"]) for e in services.audit_store.events]
    assert told == [("quota.purchase", "fulfilled"), ("quota.purchase", "open"), ("quota.close", "fulfilled")]
