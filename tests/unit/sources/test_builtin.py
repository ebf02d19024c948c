"""The built-in CA as a source: what lies here already is named, not opened."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.errors import InvalidRequest, NotFound, Unprocessable
from chalicelib.domain.model import KeyContext
from chalicelib.domain.pca import AuthorityRef, AuthorityStatus, Fetched, Unavailable
from chalicelib.ports import SourceKit
from chalicelib.sources import builtin
from tests.support.pca import REGION, PcaHouse, request
from tests.support.records import ACCOUNT, MANAGER, OTHER_ACCOUNT


class ClosedVault:
    """Opens nothing."""

    def seal(self, context, keys):
        raise AssertionError

    open = seal


@pytest.fixture
def house() -> PcaHouse:
    return PcaHouse()


@pytest.fixture
def source(house) -> builtin.BuiltinSource:
    def nothing(*_):
        raise AssertionError("another cloud is asked")

    return builtin.build(
        SourceKit(
            region=REGION,
            clock=house.clock,
            authorities=house.store,
            credentials=None,
            aws=nothing,
            alibaba=nothing,
        )
    )


@pytest.fixture
def middle(house):
    return house.below(house.root())


def all_pages(read):
    seen, cursor = [], None
    while True:
        page = read(cursor)
        seen += page.items
        cursor = page.cursor
        if cursor is None:
            return seen


def test_it_is_there_for_everyone_in_the_region_of_the_service(source):
    assert (source.id, source.title, tuple(source.regions())) == ("builtin", "Built-in private CA", (REGION,))
    assert source.setup_needed(ACCOUNT) == ""
    with pytest.raises(Unprocessable) as caught:
        source.authorities(ACCOUNT, "cn-hangzhou", limit=5, cursor=None)
    assert caught.value.code == "RegionNotSupported"
    assert REGION in caught.value.message


def test_authorities_are_listed_as_they_stand_now(house, source, middle):
    brief = house.root(validity_days=1)
    house.pca.revoke_authority(MANAGER, middle.id)
    house.clock.advance(timedelta(days=2))
    listed = all_pages(lambda cursor: source.authorities(ACCOUNT, REGION, limit=1, cursor=cursor))
    assert [(a.id, a.parent, a.status.value, a.region) for a in listed] == [
        (middle.parent, None, "active", REGION),
        (middle.id, middle.parent, "revoked", REGION),
        (brief.id, None, "expired", REGION),
    ]
    assert source.authority(ACCOUNT, brief.ref).status is AuthorityStatus.EXPIRED


def test_certificates_are_listed_for_the_authority_that_issued_them(house, source, middle):
    made = [house.issue(middle, f"{n}.example.com")[0] for n in range(3)]
    listed = all_pages(lambda cursor: source.certificates(ACCOUNT, middle.ref, limit=2, cursor=cursor))
    assert sorted(listed, key=lambda c: c.id) == sorted(made, key=lambda c: c.id)
    root = AuthorityRef.parse(middle.parent)
    assert source.certificates(ACCOUNT, root, limit=2, cursor=None).items == ()
    cursor = source.certificates(ACCOUNT, middle.ref, limit=1, cursor=None).cursor
    with pytest.raises(InvalidRequest):
        source.certificates(ACCOUNT, root, limit=1, cursor=cursor)


@pytest.mark.parametrize("foreign", [False, True], ids=["unknown", "another account's"])
def test_an_authority_of_nobody_or_somebody_else_is_not_there(house, source, middle, foreign):
    account, ref = (OTHER_ACCOUNT, middle.ref) if foreign else (ACCOUNT, AuthorityRef.parse("nothing"))
    for use in (
        lambda: source.authority(account, ref),
        lambda: source.certificates(account, ref, limit=1, cursor=None),
    ):
        with pytest.raises(NotFound) as caught:
            use()
        assert caught.value.code == "AuthorityNotFound"
    made, _ = house.issue(middle, "www.example.com")
    ((_, found),) = source.fetch(account, ref, [made.id])
    assert isinstance(found, Unavailable)


def test_an_authority_of_another_source_is_not_looked_for_here(source, middle):
    with pytest.raises(NotFound):
        source.authority(ACCOUNT, replace(middle.ref, source="alibaba", region="cn-hangzhou"))


def test_a_certificate_is_fetched_with_where_its_material_lies_and_no_key_is_opened(house, source, middle):
    text, _ = request("b.example.com", "b.example.com")
    (made, material), (bare, _) = house.issue(middle, "www.example.com"), house.issue(middle, csr=text)
    house.pca.revoke(MANAGER, bare.id, "superseded")
    sealed, house.vault = house.vault, ClosedVault()
    (first, one), (second, two) = source.fetch(ACCOUNT, middle.ref, [bare.id, made.id])
    assert (first, second) == (bare.id, made.id)
    assert (one.has_private_key, one.private_key, one.revoked_at) == (False, None, house.clock.now)
    assert "signing request" in one.key_note
    place = f"pca#{made.id.rpartition('.')[2]}"
    assert two == Fetched(material.certificate, material.chain, material_id=place, has_private_key=True)
    context = KeyContext(ACCOUNT, place, made.fingerprint)
    assert set(sealed.open(context, material.keys)) == {"signing"}


def test_what_is_not_there_stops_nothing(house, source, middle):
    other, _ = house.issue(house.root(), "www.example.com")
    made, _ = house.issue(middle, "www.example.com")
    wanted = ["", "nothing", other.id, made.id, f"{middle.id}.nothing", made.id]
    found = list(source.fetch(ACCOUNT, middle.ref, wanted))
    assert [certificate_id for certificate_id, _ in found] == wanted
    kinds = [type(one).__name__ for _, one in found]
    assert kinds == ["Unavailable", "Unavailable", "Unavailable", "Fetched", "Unavailable", "Fetched"]
    assert found[0][1].code == "NotFound"


def test_many_are_read_a_hundred_at_a_time(house, source, middle):
    made, _ = house.issue(middle, "www.example.com")
    asked, several = [], house.store.several

    def counting(account_id, ids):
        asked.append(len(ids))
        return several(account_id, ids)

    house.store.several = counting
    wanted = [f"{middle.id}.{n:026}" for n in range(249)] + [made.id]
    assert sum(isinstance(one, Fetched) for _, one in source.fetch(ACCOUNT, middle.ref, wanted)) == 1
    assert asked == [100, 100, 50]
