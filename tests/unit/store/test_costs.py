"""What the stores cost in DynamoDB's units: the docstrings' figures, and that lists do not grow dearer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from secrets import token_bytes

import pytest

from chalicelib.domain.contacts import ChannelState, Hours
from chalicelib.domain.model import CertificateFilter, Material, PendingKind, SealedKeys, Source, Status, position_of
from chalicelib.domain.pca import AuthorityKind, Revoked
from chalicelib.domain.reminders import ReminderPolicy
from chalicelib.ports import Remembered
from chalicelib.store.accounts import DynamoAccountStore
from chalicelib.store.audit import DynamoAuditStore
from chalicelib.store.authorities import DynamoAuthorityStore
from chalicelib.store.certificates import MAX_EVALUATED, DynamoCertificateStore
from chalicelib.store.contacts import DynamoContactStore
from chalicelib.store.csrs import DynamoCsrStore
from chalicelib.store.idempotency import DynamoIdempotencyStore
from chalicelib.store.tables import CertificateRow, IssuedRow, TermRow
from tests.support.authority import NOW
from tests.support.capacity import fill, item_size, metered, moto_table
from tests.support.fake_contacts import channel, contact
from tests.support.pca import authority, issued
from tests.support.records import account, csr, event, material, record, token, ulid
from tests.support.tables import moto_aws

SMALL, MIDDLE, LARGE = 100, 2_000, 100_000
#: As long as the texts of an RSA-2048 leaf, its intermediate and a sealed RSA-2048 key are.
PEM = "-----BEGIN CERTIFICATE-----\n" + "A" * 1_800 + "\n-----END CERTIFICATE-----\n"
SEALED = SealedKeys(
    "arn:aws:kms:eu-central-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef",
    b"k" * 184,
    {"signing": b"s" * 1_732},
)


@pytest.fixture(scope="module", autouse=True)
def _aws():
    with moto_aws():
        yield


def typical(account_id, **fields):
    """A certificate with two domains, as most are."""
    fields = {"tags": {"team": "web", "env": "production"}, "resource_group": "shop"} | fields
    return record(account_id=account_id, domains=("example.com", "www.example.com"), **fields)


def heavy(certificate):
    return material(certificate, certificate=PEM, chain=(PEM,), keys=SEALED)


def inventory(size):
    """An account with `size` certificates, one of which has a tag that no other has."""
    owner = ulid()
    first = typical(owner, tags={"rare": "yes"})
    DynamoCertificateStore().add(first, heavy(first), event(owner))
    (row,) = CertificateRow.query(owner)
    ids = [position_of(first.not_after + timedelta(hours=number)) + f"{number:016}" for number in range(1, size)]
    fill(moto_table(CertificateRow.Meta.table_name), row.serialize(), ({"certificate_id": i} for i in ids))
    for term in ("source=upload", "suffix=example.com"):
        entry = TermRow(f"{owner}#{term}", ids[0], version=1).serialize()
        fill(moto_table(TermRow.Meta.table_name), entry, ({"position": i} for i in ids))
    return owner


def test_the_slim_record_of_a_typical_certificate_is_at_most_a_kilobyte():
    owner = ulid()
    made = typical(owner, name="www.example.com-2026-rsa2048", created_by=ulid(), issuer="CN=R11,O=Let's Encrypt,C=US")
    DynamoCertificateStore().add(made, heavy(made), event(owner))
    (row,) = CertificateRow.query(owner)
    assert 600 < item_size(row.serialize()) <= 1024


def units(use):
    with metered() as meter:
        use()
    assert "Scan" not in meter.operations
    return meter.read, meter.write


def test_the_life_of_a_certificate_costs_what_the_docstrings_say():
    store, owner = DynamoCertificateStore(fold_every=10**9), ulid()
    first, second = typical(owner, name="one"), typical(owner, name="one")
    renamed = replace(first, name="two", tags={"team": "ops", "env": "production"}, version=2)
    retired = replace(renamed, name="three", version=3)
    second = replace(second, name="two")
    assert units(lambda: store.add(first, heavy(first), event(owner))) == (0, 29)
    assert units(lambda: store.get(owner, first.id)) == (1, 0)
    assert units(lambda: store.several(owner, [first.id, "nothing"])) == (2, 0)
    assert units(lambda: store.material(first)) == (2, 0)
    assert units(lambda: store.holds(owner, first.id)) == (1, 0)
    assert units(lambda: store.name_taken(owner, "nothing")) == (1, 0)
    assert units(lambda: store.update(first, renamed, event(owner))) == (0, 10)
    silent = replace(renamed, notifications=True, version=3)
    assert units(lambda: store.update(renamed, silent, event(owner))) == (0, 9)
    renamed, retired = silent, replace(retired, version=4)
    assert units(lambda: store.replace(renamed, retired, second, heavy(second), event(owner))) == (0, 36)
    assert units(lambda: store.delete(second, event(owner))) == (2, 29)


def test_the_life_of_an_account_costs_what_the_docstrings_say():
    store, made = DynamoAccountStore(), account(id=ulid())
    first, second = token(account_id=made.id), token(account_id=made.id)
    assert units(lambda: store.add(made, first, event(made.id))) == (0, 8)
    assert units(lambda: store.get(made.id)) == (1, 0)
    assert units(lambda: store.update(made, replace(made, version=2), event(made.id))) == (0, 4)
    assert units(lambda: store.add_token(second, event(made.id))) == (0, 6)
    assert units(lambda: store.token_by_digest(first.digest)) == (1, 0)
    assert units(lambda: store.tokens(made.id, limit=20, cursor=None)) == (0.5, 0)
    assert units(lambda: store.revoke_token(made.id, second.id, NOW, event(made.id))) == (0.5, 6)
    assert units(lambda: store.touch_token(first, NOW)) == (0, 2)
    assert units(lambda: store.touch_token(replace(first, last_used_at=NOW), NOW + timedelta(minutes=4))) == (0, 0)
    assert units(lambda: store.page(limit=20, cursor=None)) == (1, 0)


def test_the_life_of_a_request_costs_what_the_docstrings_say():
    store, owner = DynamoCsrStore(), ulid()
    made = csr(account_id=owner, pem="A" * 1_000, has_private_key=True)
    assert units(lambda: store.add(made, SEALED, event(owner))) == (0, 16)
    assert units(lambda: store.get(owner, made.id)) == (1, 0)
    assert units(lambda: store.keys(owner, made.id)) == (1, 0)
    assert units(lambda: store.by_public_key(owner, made.public_key_fingerprint)) == (1, 0)
    assert units(lambda: store.page(owner, limit=20, cursor=None)) == (1, 0)
    assert units(lambda: store.delete(owner, made.id, event(owner))) == (0, 16)


@pytest.mark.parametrize(
    ("secret", "wanted"),
    [(False, {"mark": 1, "update": 4, "delete": 6}), (True, {"mark": 3, "update": 6, "delete": 8})],
    ids=["mail", "mail and a secret address"],
)
def test_the_life_of_a_contact_costs_what_the_docstrings_say(secret, wanted):
    store, owner = DynamoContactStore(), ulid()
    channels = (channel(), *([channel(kind="apprise", address="slack://")] if secret else []))
    sealed = replace(SEALED, boxes={channels[-1].id: b"s" * 120}) if secret else None
    made = contact(account_id=owner, channels=channels, sealed=sealed, hours=Hours("09:00", "17:00"))
    failed = ChannelState(NOW, NOW, "Slack did not take the message: HTTP status 503.")
    assert units(lambda: store.add(made, event(owner))) == (0, 6)
    assert units(lambda: store.get(owner, made.id)) == (1, 0)
    assert units(lambda: store.mark(made, {c.id: failed for c in channels})) == (0, wanted["mark"])
    assert units(lambda: store.several(owner)) == (1, 0)
    renamed = replace(made, name="New", version=2)
    assert units(lambda: store.update(made, renamed, event(owner))) == (0, wanted["update"])
    assert units(lambda: store.set_policy(owner, ReminderPolicy(), event(owner))) == (0, 4)
    assert units(lambda: store.policy(owner)) == (1, 0)
    assert units(lambda: store.delete(owner, made.id, event(owner))) == (0, wanted["delete"])


def test_the_audit_trail_and_remembered_answers_cost_what_the_docstrings_say():
    trail, owner = DynamoAuditStore(), ulid()
    assert units(lambda: trail.record(event(owner))) == (0, 1)
    assert units(lambda: trail.page(owner, limit=100, cursor=None)) == (0.5, 0)
    answers, key = DynamoIdempotencyStore(), ulid()
    assert units(lambda: answers.begin(key, "digest", NOW)) == (0, 1)
    assert units(lambda: answers.finish(key, Remembered(201, token_bytes(2_000)), NOW)) == (0, 3)
    assert units(lambda: answers.begin(key, "digest", NOW)) == (1, 3)
    assert units(lambda: answers.abandon(key)) == (0, 3)


@pytest.fixture(scope="module")
def accounts():
    with moto_aws():  # tables of their own: moto copies a table whole for every transaction
        yield {size: inventory(size) for size in (SMALL, MIDDLE, LARGE)}


LISTS = {
    "all": (CertificateFilter(), 20),
    "one source": (CertificateFilter(source=Source.UPLOAD), 20),
    "one suffix": (CertificateFilter(domain="*.example.com"), 20),
    "one top-level domain": (CertificateFilter(domain="*.com"), 20),
    "one domain": (CertificateFilter(domain="www.example.com"), 1),
    "a rare tag": (CertificateFilter(tag="rare=yes"), 1),
    "issued": (CertificateFilter(status=Status.ISSUED), 20),
    "revoked": (CertificateFilter(status=Status.REVOKED), 0),
    "at risk": (CertificateFilter(pending=PendingKind.RISK), 0),
    "pending renewal": (CertificateFilter(pending=PendingKind.PENDING_RENEWAL), 0),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_page_costs_the_same_however_large_the_inventory_is(accounts, name):
    wanted, found = LISTS[name]
    costs = []
    # Moto sorts a whole partition for each query: the two lists that others are made of are enough at full size.
    for owner in (accounts[SMALL], accounts[LARGE if name in {"all", "one source"} else MIDDLE]):
        with metered() as meter:
            page = DynamoCertificateStore().page(owner, wanted, now=NOW, limit=20, cursor=None)
        assert len(page.items) == found
        assert "Scan" not in meter.operations
        costs.append((meter.read, meter.operations))
    assert costs[0] == costs[1]
    assert costs[0][0] <= 23


def test_the_next_page_costs_as_much_as_the_first(accounts):
    store, cursor, costs = DynamoCertificateStore(), None, []
    for _ in range(2):
        with metered() as meter:
            cursor = store.page(accounts[LARGE], CertificateFilter(), now=NOW, limit=20, cursor=cursor).cursor
        costs.append(meter.read)
    assert max(costs) <= 5


def test_a_search_for_nothing_ends_after_so_many_rows_and_says_where_to_go_on(accounts):
    with metered() as meter:
        page = DynamoCertificateStore().page(
            accounts[MIDDLE], CertificateFilter(q="nowhere"), now=NOW, limit=20, cursor=None
        )
    assert page.items == ()
    assert page.cursor is not None
    assert meter.read <= MAX_EVALUATED / 4 + len(meter.operations)


#: Octets of an authority's certificate, a leaf and their keys, and what that makes of the units.
RSA_THROUGHOUT = (1_350, 1_450, (2_512, 1_732), {"add": 12, "issue": 18, "several": 3, "number": 2, "revoke": 8})
CURVE_THROUGHOUT = (620, 830, (270, 270), {"add": 6, "issue": 10, "several": 2, "number": 1, "revoke": 6})


@pytest.mark.parametrize(("above", "leaf", "keys", "wanted"), [RSA_THROUGHOUT, CURVE_THROUGHOUT], ids=["RSA", "curve"])
def test_the_life_of_an_authority_costs_what_the_docstrings_say(above, leaf, keys, wanted):
    store, owner = DynamoAuthorityStore(), ulid()
    sealed, own = (replace(SEALED, boxes={"signing": b"s" * size}) for size in keys)
    root = authority(account_id=owner, certificate="A" * above)
    middle = authority(account_id=owner, certificate="A" * above, parent=root.id, kind=AuthorityKind.INTERMEDIATE)
    one = issued(middle)
    heavy = Material("A" * leaf, ("A" * above,) * 2, None, own, (), ("www.example.com", "example.com"))
    entry, place = Revoked(2**158, NOW, "key_compromise"), (owner, middle.ref.name)
    store.add(root, sealed, event(owner))
    assert units(lambda: store.add(middle, sealed, event(owner))) == (0, wanted["add"])
    assert units(lambda: store.get(*place)) == (1, 0)
    assert units(lambda: store.keys(*place)) == (1, 0)
    assert units(lambda: store.page(owner, limit=20, cursor=None)) == (1, 0)
    assert units(lambda: store.issue(owner, one, heavy, event(owner))) == (0, wanted["issue"])
    assert units(lambda: store.certificate(owner, one.id)) == (1, 0)
    assert units(lambda: store.several(owner, [one.id])) == (wanted["several"], 0)
    assert units(lambda: store.revoke_certificate(owner, one, entry, event(owner))) == (0, 6)
    assert units(lambda: store.next_crl_number(*place)) == (0, wanted["number"])
    assert units(lambda: store.revoke(middle, entry, event(owner))) == (0, wanted["revoke"])


def test_lists_of_a_large_authority_cost_what_they_return():
    store, owner = DynamoAuthorityStore(), ulid()
    above = authority(account_id=owner)
    one = issued(above)
    store.issue(owner, one, Material(PEM, (), None, None, (), ()), event(owner))
    store.revoke_certificate(owner, one, Revoked(1, NOW, "key_compromise"), event(owner))
    rows = {row.item: row.serialize() for row in IssuedRow.query(f"{owner}#{above.id}")}
    table = moto_table(IssuedRow.Meta.table_name)
    fill(table, rows[one.id.rpartition(".")[2]], ({"item": f"{number:026}"} for number in range(MIDDLE)))
    numbers = (f"{2**150 + number:x}" for number in range(100))
    fill(table, rows["revoked#1"], ({"item": f"revoked#{n}", "serial_number": n} for n in numbers))
    assert units(lambda: store.certificates(owner, above.id, limit=20, cursor=None)) == (3, 0)
    assert units(lambda: store.revoked(owner, above.id)) == (6, 0)
