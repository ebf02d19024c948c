"""What every certificate store does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from chalicelib.domain.errors import Conflict, DuplicateCertificate, InvalidRequest, NameTaken, NotFound, TooLarge
from chalicelib.domain.model import CertificateFilter, SealedKeys, Source, Status
from chalicelib.store.audit import DynamoAuditStore
from chalicelib.store.certificates import DynamoCertificateStore
from tests.support.authority import NOW
from tests.support.fakes import MemoryAuditStore, MemoryCertificateStore
from tests.support.records import event, material, record, ulid


class Fixture:
    def __init__(self, store, audit):
        self.store = store
        self.audit = audit
        self.account = ulid()

    def add(self, **fields):
        made = record(account_id=self.account, **fields)
        self.store.add(made, material(made), event(self.account))
        return made

    def ids(self, limit=20, **wanted):
        page = self.store.page(self.account, CertificateFilter(**wanted), now=NOW, limit=limit, cursor=None)
        return [c.id for c in page.items]

    def events(self):
        return len(self.audit.page(self.account, limit=100, cursor=None).items)


@pytest.fixture(params=["fake", "dynamo"])
def held(request):
    if request.param == "fake":
        audit = MemoryAuditStore()
        return Fixture(MemoryCertificateStore(audit), audit)
    request.getfixturevalue("aws")
    return Fixture(DynamoCertificateStore(), DynamoAuditStore())


def test_what_is_added_is_read_back_the_same(held):
    made = record(
        account_id=held.account,
        tags={"k": "v"},
        risks=("SelfSigned",),
        resource_group="shop",
        origin="drop:x@1",
        revoked_at=NOW,
    )
    heavy = material(made, chain=("a\n", "b\n"), keys=SealedKeys("k", b"d", {"signing": b"1", "encryption": b"2"}))
    held.store.add(made, heavy, event(held.account))
    assert held.store.get(held.account, made.id) == made
    assert held.store.material(made) == heavy
    assert held.store.holds(held.account, made.id)
    assert held.store.several(held.account, [made.id, "nothing", ""]) == {made.id: made}
    assert held.store.name_taken(held.account, made.name)


def test_what_was_never_added_is_not_found(held):
    with pytest.raises(NotFound):
        held.store.get(held.account, "nothing")
    with pytest.raises(NotFound):
        held.store.material(record(account_id=held.account))
    assert not held.store.holds(held.account, "nothing")
    assert held.store.several(held.account, []) == {}


def test_another_account_sees_nothing(held):
    made = held.add()
    with pytest.raises(NotFound):
        held.store.get("another", made.id)
    assert not held.store.name_taken("another", made.name)
    assert held.store.page("another", CertificateFilter(), now=NOW, limit=5, cursor=None).items == ()


def test_the_same_certificate_is_refused_with_the_id_of_the_first(held):
    made = held.add()
    twin = record(account_id=held.account, fingerprint=made.fingerprint, not_after=made.not_after)
    with pytest.raises(DuplicateCertificate) as refused:
        held.store.add(twin, material(twin), event(held.account))
    assert refused.value.existing_id == made.id
    assert held.events() == 1


def test_a_name_is_given_once(held):
    made = held.add()
    twin = record(account_id=held.account, name=made.name)
    with pytest.raises(NameTaken):
        held.store.add(twin, material(twin), event(held.account))
    assert not held.store.holds(held.account, twin.id)


def test_of_simultaneous_uploads_of_one_certificate_one_is_stored(held):
    copies = [record(account_id=held.account, fingerprint="f" * 64, not_after=NOW) for _ in range(8)]
    start = threading.Barrier(len(copies))

    def add(made):
        start.wait()
        try:
            held.store.add(made, material(made), event(held.account))
        except DuplicateCertificate as refused:
            return refused.existing_id
        return made.id

    with ThreadPoolExecutor(len(copies)) as pool:
        answers = set(pool.map(add, copies))
    assert len(answers) == 1
    assert held.ids() == list(answers)


def test_a_list_is_sorted_by_expiry_and_paged_without_gap_or_double(held):
    made = [held.add(not_after=NOW + timedelta(days=days)) for days in (50, 20, 90, 10, 40, 30, 60)]
    wanted = [c.id for c in sorted(made, key=lambda c: c.not_after)]
    seen, cursor = [], None
    while True:
        page = held.store.page(held.account, CertificateFilter(), now=NOW, limit=3, cursor=cursor)
        seen += [c.id for c in page.items]
        cursor = page.cursor
        if cursor is None:
            break
        assert len(page.items) == 3
    assert seen == wanted


def test_a_full_last_page_has_no_cursor(held):
    for _ in range(3):
        held.add()
    page = held.store.page(held.account, CertificateFilter(), now=NOW, limit=3, cursor=None)
    assert (len(page.items), page.cursor) == (3, None)


@pytest.mark.parametrize("cursor", ["x", "", "AAAA", "é", "A" * 500])
def test_a_cursor_that_was_made_up_is_refused(held, cursor):
    with pytest.raises(InvalidRequest):
        held.store.page(held.account, CertificateFilter(), now=NOW, limit=3, cursor=cursor)


def test_a_cursor_of_another_filter_or_account_is_refused(held):
    for _ in range(3):
        held.add()
    cursor = held.store.page(held.account, CertificateFilter(), now=NOW, limit=1, cursor=None).cursor
    with pytest.raises(InvalidRequest):
        held.store.page(held.account, CertificateFilter(q="x"), now=NOW, limit=1, cursor=cursor)
    with pytest.raises(InvalidRequest):
        held.store.page("another", CertificateFilter(), now=NOW, limit=1, cursor=cursor)


def test_certificates_are_found_by_exact_domain_and_by_suffix(held):
    one = held.add(domains=("www.shop.example.com", "shop.example.com"))
    two = held.add(domains=("*.example.com",))
    held.add(domains=("example.org",))
    assert held.ids(domain="shop.example.com") == [one.id]
    assert held.ids(domain="*.shop.example.com") == [one.id]
    assert held.ids(domain="*.example.com") == [one.id, two.id]
    assert held.ids(domain="example.com") == []


def test_certificates_are_found_by_tag_group_source_and_switches(held):
    one = held.add(tags={"team": "web", "a": "b"}, resource_group="shop", notifications=True)
    two = held.add(tags={"team": "ops"}, source=Source.PCA, deployed=True)
    assert held.ids(tag="team") == [one.id, two.id]
    assert held.ids(tag="team=ops") == [two.id]
    assert held.ids(resource_group="shop") == [one.id]
    assert held.ids(source=Source.PCA) == [two.id]
    assert held.ids(notifications=True) == [one.id]
    assert held.ids(deployed=False) == [one.id]
    assert held.ids(tag="team", source=Source.UPLOAD) == [one.id]


def test_certificates_are_found_by_status_and_expiry(held):
    gone = held.add(not_after=NOW - timedelta(seconds=1))
    soon = held.add(not_after=NOW + timedelta(days=29), not_before=NOW - timedelta(days=300))
    later = held.add(not_after=NOW + timedelta(days=200), not_before=NOW - timedelta(days=10))
    short = held.add(not_after=NOW + timedelta(days=3), not_before=NOW - timedelta(days=2))
    revoked = held.add(not_after=NOW + timedelta(days=100), revoked_at=NOW)
    assert held.ids(status=Status.EXPIRED) == [gone.id]
    assert held.ids(status=Status.TO_BE_RENEWED) == [soon.id]
    assert held.ids(status=Status.ISSUED) == [short.id, later.id]
    assert held.ids(status=Status.REVOKED) == [revoked.id]
    assert held.ids(expires_before=soon.not_after) == [gone.id, short.id]


def test_certificates_are_found_by_words_and_fingerprint(held):
    one = held.add(name="Shop front", fingerprint="ab" * 32)
    held.add()
    assert held.ids(q="shop FRONT") == [one.id]
    assert held.ids(q="AB:AB:AB:AB:AB:AB:AB:AB") == [one.id]
    assert held.ids(q="nowhere") == []


def test_a_rare_match_in_a_large_inventory_is_found_page_by_page(held):
    for number in range(60):
        held.add(not_after=NOW + timedelta(days=number + 1))
    rare = held.add(not_after=NOW + timedelta(days=99), notifications=True)
    seen, cursor = [], None
    for _ in range(10):
        page = held.store.page(held.account, CertificateFilter(notifications=True), now=NOW, limit=5, cursor=cursor)
        seen += [c.id for c in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [rare.id]


def test_a_change_is_written_once_and_found_by_its_new_tags(held):
    old = held.add(tags={"team": "web"})
    new = replace(old, name="renamed", tags={"team": "ops"}, version=2)
    held.store.update(old, new, event(held.account))
    assert held.store.get(held.account, old.id) == new
    assert held.ids(tag="team=web") == []
    assert held.ids(tag="team=ops") == [old.id]
    assert held.store.name_taken(held.account, "renamed")
    assert not held.store.name_taken(held.account, old.name)
    with pytest.raises(Conflict) as refused:
        held.store.update(old, replace(old, version=2), event(held.account))
    assert refused.value.code == "ConcurrentChange"
    assert held.events() == 2


def test_a_name_that_another_has_is_not_taken_over(held):
    one, two = held.add(), held.add()
    with pytest.raises(NameTaken):
        held.store.update(one, replace(one, name=two.name, version=2), event(held.account))
    assert held.store.get(held.account, one.id) == one


def test_a_replacement_takes_the_name_and_the_old_one_stays(held):
    old = held.add(name="site")
    new = record(account_id=held.account, name="site", replaces=old.id)
    retired = replace(old, name="site-replaced", replaced_by=new.id, version=2)
    held.store.replace(old, retired, new, material(new), event(held.account))
    assert held.store.get(held.account, new.id) == new
    assert held.store.get(held.account, old.id) == retired
    assert held.store.holds(held.account, new.id)
    again = record(account_id=held.account, name="site")
    with pytest.raises(Conflict):
        held.store.replace(old, replace(retired, name="other"), again, material(again), event(held.account))
    assert not held.store.holds(held.account, again.id)


def test_a_replacement_that_is_held_already_is_refused(held):
    old, other = held.add(), held.add()
    twin = replace(record(account_id=held.account, name=old.name), id=other.id)
    with pytest.raises(DuplicateCertificate):
        held.store.replace(old, replace(old, name="x", version=2), twin, material(twin), event(held.account))
    assert held.store.get(held.account, old.id) == old


def test_what_is_deleted_is_gone_and_its_name_is_free(held):
    made = held.add(tags={"a": "b"})
    held.store.delete(made, event(held.account))
    with pytest.raises(NotFound):
        held.store.get(held.account, made.id)
    assert held.ids() == held.ids(tag="a") == held.ids(domain=made.domains[0]) == []
    held.add(name=made.name, fingerprint=made.fingerprint, not_after=made.not_after)


def test_what_was_changed_in_the_meantime_is_not_deleted(held):
    old = held.add()
    held.store.update(old, replace(old, version=2, notifications=True), event(held.account))
    with pytest.raises(Conflict):
        held.store.delete(old, event(held.account))
    with pytest.raises(NotFound):
        held.store.delete(record(account_id=held.account), event(held.account))


def test_of_two_changes_that_take_the_same_name_the_late_one_is_told_that_it_was_late(held):
    old = held.add()
    held.store.update(old, replace(old, name="wanted", version=2), event(held.account))
    with pytest.raises(Conflict) as refused:
        held.store.update(old, replace(old, name="wanted", version=2), event(held.account))
    assert refused.value.code == "ConcurrentChange"


def test_of_simultaneous_changes_of_one_certificate_one_is_written(held):
    old = held.add()
    start = threading.Barrier(6)

    def change(number):
        start.wait()
        new = replace(old, name=f"changed-{number}", tags={"n": str(number)}, version=2)
        try:
            held.store.update(old, new, event(held.account))
        except Conflict as refused:
            return refused.code
        return new

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(change, range(6)))
    assert answers.count("ConcurrentChange") == 5
    winner = next(answer for answer in answers if answer != "ConcurrentChange")
    assert held.store.get(held.account, old.id) == winner
    assert [number for number in range(6) if held.ids(tag=f"n={number}")] == [int(winner.tags["n"])]
    assert [number for number in range(6) if held.store.name_taken(held.account, f"changed-{number}")] == [
        int(winner.tags["n"])
    ]


@pytest.mark.parametrize("key", ["", "x" * 2000, "\ud800", "é" * 600])
def test_an_id_or_name_that_nothing_can_have_is_not_there(held, key):
    with pytest.raises(NotFound):
        held.store.get(held.account, key)
    with pytest.raises(NotFound):
        held.store.material(replace(record(account_id=held.account), id=key))
    assert not held.store.name_taken(held.account, key)
    assert not held.store.holds(held.account, key)
    assert held.store.several(held.account, [key]) == {}


@pytest.mark.parametrize("hours", [-12, 0, 14])
def test_the_time_zone_of_a_moment_does_not_matter(held, hours):
    one = held.add(not_after=NOW + timedelta(hours=1))
    held.add(not_after=NOW + timedelta(hours=3))
    moment = (NOW + timedelta(hours=2)).astimezone(timezone(timedelta(hours=hours)))
    assert held.ids(expires_before=moment) == [one.id]


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=14)), UTC, timezone(timedelta(hours=-12))])
def test_the_first_and_last_moments_of_time_can_be_asked_for(held, zone):
    one = held.add()
    assert held.ids(expires_before=datetime.max.replace(tzinfo=zone)) == [one.id]
    assert held.ids(expires_before=datetime.min.replace(tzinfo=zone)) == []


def test_a_certificate_with_the_oddest_dates_is_kept(held):
    made = held.add(not_before=datetime(1, 1, 1, tzinfo=UTC), not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert held.store.get(held.account, made.id) == made
    assert held.ids() == held.ids(status=Status.ISSUED) == [made.id]


def test_refused_uploads_do_not_get_in_the_way_of_a_list(held):
    made = held.add(tags={"team": "web"})
    for _ in range(5):
        twin = record(account_id=held.account, fingerprint=made.fingerprint, tags=made.tags, not_after=made.not_after)
        with pytest.raises(DuplicateCertificate):
            held.store.add(twin, material(twin), event(held.account))
    page = held.store.page(held.account, CertificateFilter(tag="team"), now=NOW, limit=1, cursor=None)
    assert (page.items, page.cursor) == ((made,), None)


def test_every_domain_of_a_certificate_is_found_not_only_the_listed_ones(held):
    domains = tuple(f"host-{number}.example.net" for number in range(120))
    made = record(account_id=held.account, domains=domains[:50], domains_total=120)
    held.store.add(made, material(made, domains=domains), event(held.account))
    assert held.ids(domain="host-119.example.net") == [made.id]
    held.store.delete(made, event(held.account))
    assert held.ids(domain="host-119.example.net") == []


def test_names_that_are_no_domains_are_kept_and_harm_no_list(held):
    names = ("a" * 3000 + ".example.com", "10.0.0.1", "2001:db8::1", ".", "x..y", "*.")
    made = held.add(domains=names)
    assert held.store.get(held.account, made.id).domains == names
    assert held.ids(domain="10.0.0.1") == held.ids(domain="2001:db8::1") == [made.id]
    assert held.ids(domain="*.0.1") == []
    held.store.delete(made, event(held.account))


@pytest.mark.parametrize("domain", ["", "*.", "*", ".", "a" * 253, "\x00"])
def test_a_domain_that_makes_no_sense_is_asked_for_in_vain(held, domain):
    held.add()
    assert held.ids(domain=domain) == []


def test_what_is_too_large_to_be_kept_is_refused_and_leaves_nothing(held):
    made = record(account_id=held.account)
    heavy = material(made, certificate="A" * 250_000, chain=("B" * 200_000,))
    with pytest.raises(TooLarge):
        held.store.add(made, heavy, event(held.account))
    old = held.add()
    with pytest.raises(TooLarge):
        held.store.replace(old, replace(old, name="x", version=2), made, heavy, event(held.account))
    assert held.ids() == [old.id]
    assert held.events() == 1
    held.store.add(made, material(made, certificate="A" * 250_000), event(held.account))


class TestTakingIn:
    """Certificates of private CAs, in great numbers."""

    def synchronised(self, held, **fields):
        return record(account_id=held.account, source=Source.PCA, **({"name": "host~0123456789"} | fields))

    def test_what_was_taken_in_is_held_like_any_other(self, held):
        made = self.synchronised(held, domains=("host.example.com",))
        assert held.store.take_in(made, material(made)) is True
        assert held.store.get(held.account, made.id) == made
        assert held.store.material(made) == material(made)
        assert held.ids(domain="host.example.com") == held.ids(source=Source.PCA) == [made.id]
        held.store.delete(made, event(held.account))
        assert held.ids() == held.ids(domain="host.example.com") == []

    def test_what_is_held_already_stays_as_it_is(self, held):
        first = held.add(tags={"mine": "yes"})
        twin = replace(first, name="another", tags={}, source=Source.PCA)
        assert held.store.take_in(twin, material(twin, keys=None)) is False
        assert held.store.get(held.account, first.id) == first
        assert held.store.material(first) == material(first)
        assert held.ids(tag="mine") == [first.id]

    def test_many_at_once_end_as_one(self, held):
        made = self.synchronised(held)
        start = threading.Barrier(6)

        def take_in(_):
            start.wait()
            return held.store.take_in(made, material(made))

        with ThreadPoolExecutor(6) as pool:
            assert sorted(pool.map(take_in, range(6))) == [False] * 5 + [True]
        assert held.ids() == [made.id]

    def test_an_upload_and_a_synchronisation_at_once_end_as_one(self, held):
        for _ in range(5):
            made = self.synchronised(held)
            uploaded = replace(made, source=Source.UPLOAD, name=f"upload-{made.id}")
            with ThreadPoolExecutor(2) as pool:
                pool.submit(held.store.take_in, made, material(made))
                pool.submit(held.store.add, uploaded, material(uploaded), event(held.account))
            kept = held.store.get(held.account, made.id)
            assert kept in (made, uploaded)
            assert held.store.material(kept) == material(kept)

    def test_it_can_be_renamed_and_its_first_name_is_not_given_again(self, held):
        made = self.synchronised(held)
        held.store.take_in(made, material(made))
        renamed = replace(made, name="front", version=made.version + 1)
        held.store.update(made, renamed, event(held.account))
        assert held.store.name_taken(held.account, "front")
        held.store.delete(renamed, event(held.account))
        assert not held.store.name_taken(held.account, "front")

    def test_what_is_too_large_is_refused(self, held):
        made = self.synchronised(held)
        with pytest.raises(TooLarge):
            held.store.take_in(made, material(made, certificate="A" * 450_000))
        assert held.ids() == []


def test_everything_below_a_top_level_domain_is_found_in_long_lists_of_domains_too(held):
    domains = (*(f"host-{number}.example.net" for number in range(60)), "one.example.internal")
    made = record(account_id=held.account, domains=domains[:50], domains_total=61)
    held.store.add(made, material(made, domains=domains), event(held.account))
    other = held.add(domains=("example.org", "192.0.2.7"))
    assert held.ids(domain="*.internal") == [made.id]
    assert held.ids(domain="*.org") == [other.id]
    assert held.ids(domain="*.7") == []


def test_what_was_deleted_and_came_back_is_found_whatever_the_deletion_still_removes(held):
    first = held.add(tags={"team": "web"}, domains=("a.example.com",), version=10)
    held.store.delete(first, event(held.account))
    again = replace(first, version=20)
    held.store.add(again, material(again), event(held.account))
    with pytest.raises(Conflict):
        held.store.delete(first, event(held.account))
    assert held.ids(tag="team") == held.ids(domain="a.example.com") == [again.id]
