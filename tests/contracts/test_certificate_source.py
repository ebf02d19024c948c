"""What every source of certificates does. Another source is another world."""

from __future__ import annotations

import pytest

from chalicelib.alibaba import client_for
from chalicelib.domain.errors import InvalidRequest, NotFound, Unprocessable
from chalicelib.domain.pca import AuthorityKind, AuthorityRef, Fetched, Unavailable
from chalicelib.ports import CertificateSource
from chalicelib.sources import alibaba, builtin
from tests.support import alibaba_api, pca
from tests.support.alibaba import sdk
from tests.support.alibaba.server import KEY, Double
from tests.support.records import ACCOUNT, OTHER_ACCOUNT

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

DOMAINS = ("a.example.com", "b.example.com", "c.example.com")


class BuiltinWorld:
    """The built-in CA on stores in memory: a root, an intermediate below it, and what that issued."""

    region = pca.REGION

    def __init__(self):
        house = pca.PcaHouse()
        self.source: CertificateSource = builtin.build(alibaba_api.kit(None, house.clock, authorities=house.store))
        below = house.below(house.root())
        self.ref = below.ref
        self.ids = {house.issue(below, domain)[0].id for domain in DOMAINS}

    def close(self):
        """Nothing is open."""


class AlibabaWorld:
    """Alibaba Cloud PCA with the same, over the real client and the emulation of the protocol."""

    region = "cn-hangzhou"

    def __init__(self):
        self.double = Double().start()
        there = sdk.pca(self.double)
        below = sdk.create_intermediate(there).identifier
        self.ids = {sdk.create_server(there, below, domain).identifier for domain in DOMAINS}
        self.ref = AuthorityRef("alibaba", self.region, below)
        given = {"access_key_id": KEY.access_key_id, "access_key_secret": KEY.access_key_secret}
        self.credentials = alibaba_api.Given(alibaba=given)

        def client(account_id, version, region):
            return client_for(self.credentials, account_id, version, region, self.double.endpoint)

        self.source: CertificateSource = alibaba.build(alibaba_api.kit(client, credentials=self.credentials))

    def close(self):
        self.double.stop()


WORLDS = {"builtin": BuiltinWorld, "alibaba": AlibabaWorld}


@pytest.fixture(scope="module", params=WORLDS)
def world(request):
    made = WORLDS[request.param]()
    yield made
    made.close()


@pytest.fixture
def cas(world):
    return lambda **page: world.source.authorities(ACCOUNT, world.region, **page)


@pytest.fixture
def certificates(world):
    return lambda **page: world.source.certificates(ACCOUNT, world.ref, **page)


def pages(ask, limits=(1,)):
    """Everything of a list, followed by its cursors, with limits in turn; the last one stays."""
    cursor, found, left = None, [], list(limits)
    while True:
        limit = left.pop(0) if len(left) > 1 else left[0]
        page = ask(limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += page.items
        if (cursor := page.cursor) is None:
            return found


def test_it_has_a_name_and_regions(world):
    assert world.source.id.isidentifier()
    assert world.source.title
    assert world.region in world.source.regions()


def test_what_needs_setting_up_is_told_until_it_is(world):
    assert not world.source.setup_needed(ACCOUNT)
    if not hasattr(world, "credentials"):
        return
    given, world.credentials.providers = world.credentials.providers, {}
    assert alibaba_api.PLACE in world.source.setup_needed(ACCOUNT)
    with pytest.raises(Unprocessable) as refused:
        world.source.authority(ACCOUNT, world.ref)
    assert refused.value.code == "SourceNotConfigured"
    world.credentials.providers = given


@pytest.mark.parametrize("limits", [(1,), (2, 1), (1, 100), (100,)])
def test_the_pages_of_a_list_are_the_list_each_once(world, cas, certificates, limits):
    assert pages(cas, limits) == list(cas(limit=100, cursor=None).items)
    assert {one.kind for one in pages(cas, limits)} == {AuthorityKind.ROOT, AuthorityKind.INTERMEDIATE}
    assert pages(certificates, limits) == list(certificates(limit=100, cursor=None).items)
    assert sorted(one.id for one in pages(certificates, limits)) == sorted(world.ids)


def test_a_ca_by_its_reference_is_the_one_of_the_list(world, cas):
    for listed in pages(cas):
        assert world.source.authority(ACCOUNT, AuthorityRef.parse(listed.id)) == listed


def test_a_parent_is_a_ca_of_the_list(world, cas):
    listed = {one.id: one for one in pages(cas)}
    assert listed[listed[str(world.ref)].parent].kind is AuthorityKind.ROOT


def test_what_is_listed_is_fetched_as_it_was_listed(world, certificates):
    listed = {one.id: one for one in pages(certificates)}
    fetched = dict(world.source.fetch(ACCOUNT, world.ref, list(listed)))
    assert fetched.keys() == listed.keys()
    for one in fetched.values():
        assert isinstance(one, Fetched)
        assert one.certificate.startswith("-----BEGIN CERTIFICATE-----")
        assert bool(one.private_key or one.has_private_key) != bool(one.key_note)
    assert {(one.common_name, one.authority_id) for one in listed.values()} == {(d, str(world.ref)) for d in DOMAINS}


def test_an_unknown_certificate_is_unavailable_and_stops_nothing(world):
    known = min(world.ids)
    found = list(world.source.fetch(ACCOUNT, world.ref, ["unknown", known]))
    assert [key for key, _ in found] == ["unknown", known]
    assert isinstance(found[0][1], Unavailable)
    assert isinstance(found[1][1], Fetched)


def test_an_unknown_ca_is_not_found(world):
    ref = AuthorityRef(world.source.id, world.ref.region, "unknown")
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


def test_a_cursor_belongs_to_its_account_and_list(world, cas, certificates):
    one, other = (ask(limit=1, cursor=None).cursor for ask in (cas, certificates))
    assert one
    assert other
    for ask in (
        lambda: cas(limit=1, cursor=other),
        lambda: certificates(limit=1, cursor=one),
        lambda: certificates(limit=1, cursor="made-up"),
        lambda: world.source.authorities(OTHER_ACCOUNT, world.region, limit=1, cursor=one),
    ):
        with pytest.raises(InvalidRequest) as refused:
            ask()
        assert refused.value.code == "InvalidCursor"
