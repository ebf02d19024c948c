"""What figures cost in DynamoDB's units: to read, at any size of the inventory, and to keep right."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from chalicelib.domain.model import PendingKind, Source, position_of
from chalicelib.functions.audit import Audit
from chalicelib.functions.summary import Summary
from chalicelib.store.audit import DynamoAuditStore
from chalicelib.store.certificates import DynamoCertificateStore
from chalicelib.store.counters import COUNTERS, FOLD_EVERY
from chalicelib.store.quota import DynamoQuotaStore
from chalicelib.store.summary import DynamoSummaryStore
from chalicelib.store.syncs import DynamoSyncStore
from chalicelib.store.tables import CertificateRow, SummaryRow
from tests.support.authority import NOW
from tests.support.capacity import fill, item_size, metered, moto_table
from tests.support.fakes import FixedClock
from tests.support.records import MANAGER, event, material, record
from tests.support.tables import moto_aws

AT_MOST = 3


@pytest.fixture(autouse=True)
def _aws():
    with moto_aws():
        yield


def units(use):
    with metered() as meter:
        use()
    assert "Scan" not in meter.operations
    return meter.read, meter.write


def summary_of(certificates=None):
    store = certificates or DynamoCertificateStore()
    clock = FixedClock()
    audit = Audit(DynamoAuditStore(), clock)
    return Summary(DynamoSummaryStore(), store, DynamoSyncStore(), DynamoQuotaStore(), audit=audit, clock=clock)


@pytest.mark.parametrize("size", [100, 10_000])
def test_pending_items_and_figures_cost_at_most_three_read_units(size):
    summary, store, chance = summary_of(), DynamoSummaryStore(), random.Random(size)  # noqa: S311 - sizes are measured
    ends = [NOW + timedelta(seconds=chance.randrange(400 * 86_400)) for _ in range(size)]
    standing = store.standing(MANAGER.account_id, NOW)
    assert store.replace(MANAGER.account_id, standing, ((record(not_after=end), 1) for end in ends), NOW)
    certificates = DynamoCertificateStore(fold_every=10**9)
    for number in range(30):  # some of what was written since is not folded
        one = record(account_id=MANAGER.account_id, not_after=NOW + timedelta(days=number + 1))
        certificates.add(one, material(one), event())
    for use in (lambda: summary.pending(MANAGER), lambda: summary.figures(MANAGER)):
        read, written = units(use)
        assert 0 < read <= AT_MOST
        assert written == 0
    found = summary.pending(MANAGER)
    assert found.counts[PendingKind.NOT_DEPLOYED] == summary.figures(MANAGER).total == size + 30


def test_a_recount_reads_every_certificate_once_by_its_key():
    first = record(account_id=MANAGER.account_id)
    DynamoCertificateStore().add(first, material(first), event())
    (row,) = CertificateRow.query(MANAGER.account_id)
    ids = ({"certificate_id": f"{position_of(first.not_after)}{number:016}"} for number in range(999))
    fill(moto_table(CertificateRow.Meta.table_name), row.serialize(), ids)
    summary = summary_of()
    read, written = units(lambda: summary.recount(MANAGER.account_id))
    assert read <= 1_000 / 4 + 10
    assert written <= 10
    assert summary.figures(MANAGER).total == 1_000


def test_the_most_varied_inventory_costs_no_more():
    """Every state in every week, sixty thousand certificates: the counters stay below 12 KB, each week below 4 KB."""
    chance, summary = random.Random(7), summary_of()  # noqa: S311 - as above

    def certificates():
        for _ in range(60_000):
            end = NOW + timedelta(seconds=chance.randrange(-100 * 86_400, 3_000 * 86_400))
            yield (
                record(
                    source=chance.choice(list(Source)),
                    algorithm=chance.choice(["RSA", "ECDSA"]),
                    key_size=chance.choice([256, 2048, 3072, 4096]),
                    not_after=end,
                    not_before=end - timedelta(days=chance.choice([6, 60, 90, 398])),
                    notifications=chance.random() < 0.5,
                    deployed=chance.random() < 0.5,
                    risks=("SelfSigned",) if chance.random() < 0.3 else (),
                    replaced_by="another" if chance.random() < 0.2 else None,
                    renewal_problem="NotFound" if chance.random() < 0.1 else None,
                ),
                1,
            )

    store = DynamoSummaryStore()
    standing = store.standing(MANAGER.account_id, NOW)
    assert store.replace(MANAGER.account_id, standing, certificates(), NOW)
    sizes = {row.item: item_size(row.serialize()) for row in SummaryRow.query(MANAGER.account_id)}
    assert 4_000 < sizes.pop(COUNTERS) < 12_000
    assert max(sizes.values()) <= 4_096
    assert units(lambda: summary.pending(MANAGER))[0] <= AT_MOST


def test_counting_a_write_comes_to_at_most_eight_units_all_told():
    """Two in its transaction, and its share of the foldings."""
    made = [record(not_after=NOW + timedelta(days=3 * number)) for number in range(64)]

    def cost(every):
        store = DynamoCertificateStore(fold_every=every)
        with moto_aws():
            return units(lambda: [store.add(one, material(one), event()) for one in made])[1] / len(made)

    assert 0 < cost(FOLD_EVERY) - cost(10**9) <= 6


def test_putting_off_costs_four_units_and_nothing_to_read():
    summary = summary_of()
    assert units(lambda: summary.snooze(MANAGER, 7)) == (0, 4)
    assert units(lambda: summary.pending(MANAGER))[0] <= 2
    assert units(lambda: summary.reopen(MANAGER)) == (0, 4)
