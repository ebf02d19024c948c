"""Whatever is written, in whatever order and at whatever time, the figures are those of the certificates.

A recount changes nothing, and each list of pending items is as long as its figure says.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.domain.errors import Conflict
from chalicelib.domain.model import CertificateFilter, PendingKind, Source, Status
from chalicelib.domain.sync import as_brought, job_mark
from chalicelib.functions.audit import Audit
from chalicelib.functions.summary import Summary
from chalicelib.store.tables import TABLES
from tests.contracts.test_summary_store import books
from tests.support.capacity import moto_table
from tests.support.fake_quota import MemoryQuotaStore
from tests.support.fake_summary import figures_of
from tests.support.fakes import FixedClock
from tests.support.records import event, material, record

specs = st.fixed_dictionaries(
    {
        "source": st.sampled_from([Source.UPLOAD, Source.OFFICIAL]),
        "notifications": st.booleans(),
        "deployed": st.booleans(),
        "risks": st.sampled_from([(), (), ("SelfSigned",)]),
        "days": st.sampled_from([1, 6, 20, 29, 30, 31, 45, 100, 300, 700, 3000]),
        "lifetime": st.sampled_from([5, 60, 90, 400]),
    }
)
which = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("add"), specs),
    st.tuples(st.just("replace"), which, specs),
    st.tuples(
        st.just("change"), which, st.sampled_from(["notifications", "deployed", "revoked_at", "renewal_problem"])
    ),
    st.tuples(st.just("delete"), which),
    st.tuples(st.just("take_in"), st.lists(specs, min_size=1, max_size=3)),
    st.tuples(st.just("finish")),
    st.tuples(st.just("wait"), st.sampled_from([1, 86_400, 9 * 86_400, 30 * 86_400, 400 * 86_400])),
    st.tuples(st.just("recount")),
)


class Inventory:
    """An account's certificates in a store, and the same in a dictionary."""

    def __init__(self, kind, fold_every) -> None:
        self.books = books(kind, fold_every=fold_every)
        self.clock = FixedClock()
        self.held = {}
        #: Jobs that are not done, with what they brought.
        self.jobs = []
        audit = Audit(self.books.audit, self.clock)
        stores = (self.books.store, self.books.certificates, self.books.syncs, MemoryQuotaStore(self.books.audit))
        self.summary = Summary(*stores, audit=audit, clock=self.clock)

    def event(self):
        return event(self.books.account, at=self.clock())

    def made(self, days, lifetime, **fields):
        end = self.clock() + timedelta(days=days)
        return record(account_id=self.books.account, not_after=end, not_before=end - timedelta(days=lifetime), **fields)

    def add(self, spec):
        made = self.made(**spec)
        self.books.certificates.add(made, material(made), self.event())
        self.held[made.id] = made

    def _one(self, number):
        return sorted(self.held.values(), key=lambda one: one.id)[number % len(self.held)] if self.held else None

    def replace(self, number, spec):
        if (old := self._one(number)) is None:
            return
        new = self.made(**spec)
        retired = replace(old, replaced_by=new.id, notifications=False, version=old.version + 1)
        self.books.certificates.replace(old, retired, new, material(new), self.event())
        self.held |= {old.id: retired, new.id: new}

    def change(self, number, field):
        if (old := self._one(number)) is None:
            return
        values = {"revoked_at": self.clock(), "renewal_problem": None if old.renewal_problem else "NotFound"}
        value = values.get(field, not getattr(old, field))
        new = replace(old, version=old.version + 1, **{field: value})
        self.books.certificates.update(old, new, self.event())
        self.held[old.id] = new

    def delete(self, number):
        if (old := self._one(number)) is None:
            return
        self.books.certificates.delete(old, self.event())
        del self.held[old.id]

    def take_in(self, several):
        fields = {"source": Source.PCA, "notifications": False, "deployed": False}
        made = [self.made(**(spec | fields)) for spec in several]
        job, chunk, results = self.books.job(made)
        brought = [
            replace(one, name=f"{number}~{one.id[-10:].lower()}", created_by=job_mark(job.id))
            for number, one in enumerate(made)
        ]
        for one in brought:
            assert self.books.certificates.take_in(one, material(one))
            self.held[one.id] = one
        self.jobs.append((job, chunk, results, brought))

    def finish(self):
        if self.jobs:
            job, chunk, results, brought = self.jobs.pop()
            assert self.books.syncs.finish_chunk(job, chunk, results, self.clock(), self.event(), brought=brought)

    def wait(self, seconds):
        self.clock.advance(timedelta(seconds=seconds))

    def recount(self):
        if self.jobs:
            with pytest.raises(Conflict):
                self.summary.recount(self.books.account)
            return
        before, after = self.summary.recount(self.books.account)
        assert before == after

    def expected(self):
        """What is held, without what the jobs that are not done will count."""
        waiting = [one for *_, brought in self.jobs for one in brought]
        counted = [(one, 1) for one in self.held.values()] + [(as_brought(one), -1) for one in waiting]
        return figures_of(counted, self.clock())

    def listed(self, **wanted):
        seen, cursor = [], None
        while True:
            page = self.books.certificates.page(
                self.books.account, CertificateFilter(**wanted), now=self.clock(), limit=2, cursor=cursor
            )
            seen += page.items
            cursor = page.cursor
            if cursor is None:
                assert [one.id for one in seen] == sorted({one.id for one in seen})
                return seen


@pytest.fixture
def fresh(aws):
    """Moto copies whole tables for a transaction, so they are kept small."""

    def empty():
        for model in TABLES:
            moto_table(model.Meta.table_name).items.clear()

    return empty


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=14), st.sampled_from([1, 3, 10**9]))
def test_figures_are_those_of_the_certificates_after_every_write_and_at_every_time(fresh, sequence, fold_every):
    fresh()
    for inventory in (Inventory("fake", 0), Inventory("dynamo", fold_every)):
        for step, *arguments in sequence:
            getattr(inventory, step)(*arguments)
            found = inventory.books.store.read(inventory.books.account, inventory.clock()).figures
            assert found == inventory.expected()
        while inventory.jobs:
            inventory.finish()
        found = inventory.summary.recount(inventory.books.account)[1]
        assert found == inventory.expected()
        for kind in PendingKind:
            assert len(inventory.listed(pending=kind)) == found.pending[kind]
        for status in Status:
            assert len(inventory.listed(status=status)) == found.statuses[status]
