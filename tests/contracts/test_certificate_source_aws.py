"""What every source of certificates does, over AWS Private CA."""

from __future__ import annotations

import pytest

from chalicelib.domain.errors import InvalidRequest, NotFound, Unprocessable
from chalicelib.domain.pca import AuthorityKind, AuthorityRef, Fetched, Unavailable
from chalicelib.ports import CertificateSource
from chalicelib.sources.aws import AwsPrivateCa
from tests.support.audit_report import AwsAccount
from tests.support.records import ACCOUNT, OTHER_ACCOUNT

REGION = "ap-southeast-3"
DOMAINS = ("a.example.com", "b.example.com", "c.example.com")


class World:
    """A root, an intermediate below it, and what that issued."""

    def __init__(self):
        self.there = AwsAccount(REGION)
        root = self.there.root("Contract Root")
        below = self.there.intermediate(root, "Contract Issuing")
        self.ids = tuple(self.there.issue(below, domain) for domain in DOMAINS)
        self.source: CertificateSource = AwsPrivateCa(self.there.kit, lambda _: None)
        self.ref = next(one.ref for one in pages(self.cas) if one.kind is AuthorityKind.INTERMEDIATE)

    def cas(self, **page):
        return self.source.authorities(ACCOUNT, REGION, **page)

    def certificates(self, **page):
        return self.source.certificates(ACCOUNT, self.ref, **page)


@pytest.fixture(scope="module")
def world(aws):
    return World()


def pages(ask, limit=1):
    """Everything of a list, followed by its cursors."""
    cursor, found = None, []
    while True:
        page = ask(limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += page.items
        if (cursor := page.cursor) is None:
            return found


def test_it_has_a_name_and_regions(world):
    assert world.source.id.isidentifier()
    assert world.source.title
    assert REGION in world.source.regions()


def test_what_needs_setting_up_is_told_until_it_is(world):
    assert not world.source.setup_needed(ACCOUNT)
    given, world.there.credentials.providers = world.there.credentials.providers, {}
    assert world.there.credentials.place(ACCOUNT, world.source.id) in world.source.setup_needed(ACCOUNT)
    world.there.credentials.providers = given


def test_the_pages_of_a_list_are_the_list_each_once(world):
    assert pages(world.cas) == list(world.cas(limit=100, cursor=None).items)
    assert {one.kind for one in pages(world.cas)} == {AuthorityKind.ROOT, AuthorityKind.INTERMEDIATE}
    assert pages(world.certificates) == list(world.certificates(limit=100, cursor=None).items)
    assert sorted(one.id for one in pages(world.certificates)) == sorted(world.ids)


def test_a_ca_by_its_reference_is_the_one_of_the_list(world):
    for listed in pages(world.cas):
        assert world.source.authority(ACCOUNT, AuthorityRef.parse(listed.id)) == listed


def test_a_parent_is_a_ca_of_the_list(world):
    listed = {one.id: one for one in pages(world.cas)}
    assert listed[listed[str(world.ref)].parent].kind is AuthorityKind.ROOT


def test_what_is_listed_is_fetched_as_it_was_listed(world):
    listed = {one.id: one for one in pages(world.certificates)}
    fetched = dict(world.source.fetch(ACCOUNT, world.ref, list(listed)))
    assert fetched.keys() == listed.keys()
    for one in fetched.values():
        assert isinstance(one, Fetched)
        assert one.certificate.startswith("-----BEGIN CERTIFICATE-----")
        assert (one.private_key is None) == bool(one.key_note)
    assert {(one.common_name, one.authority_id) for one in listed.values()} == {(d, str(world.ref)) for d in DOMAINS}


def test_an_unknown_certificate_is_unavailable_and_stops_nothing(world):
    found = list(world.source.fetch(ACCOUNT, world.ref, ["unknown", world.ids[0]]))
    assert [key for key, _ in found] == ["unknown", world.ids[0]]
    assert isinstance(found[0][1], Unavailable)
    assert isinstance(found[1][1], Fetched)


@pytest.mark.parametrize("name", ["unknown", "123456789012.00000000-0000-0000-0000-000000000000"])
def test_an_unknown_ca_is_not_found(world, name):
    ref = AuthorityRef(world.source.id, REGION, name)
    for ask in (
        lambda: world.source.authority(ACCOUNT, ref),
        lambda: world.source.certificates(ACCOUNT, ref, limit=1, cursor=None),
    ):
        with pytest.raises(NotFound) as refused:
            ask()
        assert refused.value.code == "AuthorityNotFound"


def test_a_region_it_is_not_in_is_refused(world):
    with pytest.raises(Unprocessable) as refused:
        world.source.authorities(ACCOUNT, "nowhere", limit=1, cursor=None)
    assert refused.value.code == "RegionNotSupported"


def test_a_cursor_belongs_to_its_account_and_list(world):
    cas, certificates = (ask(limit=1, cursor=None).cursor for ask in (world.cas, world.certificates))
    assert cas
    assert certificates
    for ask in (
        lambda: world.cas(limit=1, cursor=certificates),
        lambda: world.certificates(limit=1, cursor=cas),
        lambda: world.certificates(limit=1, cursor="made-up"),
        lambda: world.source.certificates(OTHER_ACCOUNT, world.ref, limit=1, cursor=certificates),
    ):
        with pytest.raises(InvalidRequest) as refused:
            ask()
        assert refused.value.code == "InvalidCursor"
