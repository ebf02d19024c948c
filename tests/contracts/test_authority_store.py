"""What every store of the built-in CA does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.errors import InvalidRequest, NotFound
from chalicelib.domain.findings import warning
from chalicelib.domain.model import Material, SealedKeys
from chalicelib.domain.pca import AuthorityKind, AuthorityStatus, Limits, Revoked
from chalicelib.store.authorities import DynamoAuthorityStore
from tests.support.authority import NOW
from tests.support.fakes import MemoryAuditStore
from tests.support.pca import authority, issued
from tests.support.pca_store import MemoryAuthorityStore
from tests.support.records import event, ulid

KEYS = SealedKeys("key-1", b"wrapped", {"signing": b"box"})
LATER = NOW + timedelta(days=1)
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
NOTHING = ["", "x" * 2000, "\ud800", "nothing", "."]


@pytest.fixture(params=["fake", "dynamo"])
def store(request):
    if request.param == "fake":
        return MemoryAuthorityStore(MemoryAuditStore())
    request.getfixturevalue("aws")
    return DynamoAuthorityStore()


@pytest.fixture
def root(store):
    return added(store, account_id=ulid())


def added(store, **fields):
    made = authority(**fields)
    store.add(made, KEYS, event(made.account_id))
    return made


def below(store, parent, **fields):
    more = {"kind": AuthorityKind.INTERMEDIATE, "account_id": parent.account_id, "parent": parent.id}
    return added(store, **more, **fields)


def material(**fields) -> Material:
    found = (warning("LeakageRisk", "It is valid for long.", "Ask for less.", "certificate"),)
    return Material(
        **(
            {
                "certificate": PEM,
                "chain": (PEM, PEM),
                "encryption_certificate": None,
                "keys": KEYS,
                "findings": found,
                "domains": ("www.example.com",),
            }
            | fields
        )
    )


def kept(store, above, **fields):
    """A certificate that the store has, with its material."""
    made, heavy = issued(above, **fields), material()
    store.issue(above.account_id, made, heavy, event(above.account_id))
    return made, heavy


def all_pages(read):
    seen, cursor = [], None
    while True:
        page = read(cursor)
        assert len(page.items) <= 2
        seen += page.items
        cursor = page.cursor
        if cursor is None:
            return seen


def entry(certificate, at=NOW, reason="superseded") -> Revoked:
    return Revoked(int(certificate.serial_number, 16), at, reason)


def test_an_authority_is_stored_with_its_key(store):
    limits = Limits(0, ("example.com",), ("secret.example.com", "b.example.com"))
    root = added(store, account_id=ulid())
    made = below(store, root, algorithm="SM2", key_size=256, limits=limits)
    assert store.get(root.account_id, root.ref.name) == root
    assert store.get(root.account_id, made.ref.name) == made
    assert store.keys(root.account_id, made.ref.name) == KEYS


def test_authorities_are_paged_in_the_order_in_which_they_were_made(store, root):
    made = [root, *(below(store, root) for _ in range(4))]
    added(store, account_id=ulid())
    assert all_pages(lambda cursor: store.page(root.account_id, limit=2, cursor=cursor)) == made


def test_a_certificate_is_stored_with_its_material(store, root):
    made, heavy = kept(store, root)
    bare = issued(root, has_private_key=False)
    store.issue(root.account_id, bare, material(keys=None, findings=()), event(root.account_id))
    assert store.certificate(root.account_id, made.id) == made
    found = store.several(root.account_id, [bare.id, made.id])
    assert found == {made.id: (made, heavy), bare.id: (bare, material(keys=None, findings=()))}


def test_certificates_are_paged_in_order_and_revocations_are_none_of_them(store, root):
    made = [kept(store, root)[0] for _ in range(5)]
    kept(store, below(store, root))
    store.revoke_certificate(root.account_id, made[4], entry(made[4]), event(root.account_id))
    seen = all_pages(lambda cursor: store.certificates(root.account_id, root.ref.name, limit=2, cursor=cursor))
    assert [c.id for c in seen] == [c.id for c in made]
    assert [c.revoked_at for c in seen] == [None] * 4 + [NOW]


def test_several_are_found_by_their_ids_and_the_rest_is_left_out(store, root):
    made = [kept(store, root)[0] for _ in range(100)]
    other = kept(store, added(store, account_id=ulid()))[0]
    assert set(store.several(root.account_id, [c.id for c in made])) == {c.id for c in made}
    unknown = [*NOTHING, f"{root.id}.{ulid()}", other.id, made[0].id.replace(".", "#")]
    assert set(store.several(root.account_id, [made[7].id, made[7].id, *unknown])) == {made[7].id}
    assert store.several(root.account_id, []) == {}


def test_a_certificate_is_revoked_once_and_keeps_its_date(store, root):
    made, heavy = kept(store, root)
    store.revoke_certificate(root.account_id, made, entry(made), event(root.account_id))
    store.revoke_certificate(root.account_id, made, entry(made, LATER, "key_compromise"), event(root.account_id))
    held = replace(made, revoked_at=NOW)
    assert store.certificate(root.account_id, made.id) == held
    assert store.several(root.account_id, [made.id]) == {made.id: (held, heavy)}
    assert store.revoked(root.account_id, root.ref.name) == (entry(made),)


def test_an_intermediate_is_revoked_once_in_the_list_of_its_parent(store, root):
    middle = below(store, root)
    store.revoke(middle, entry(middle), event(root.account_id))
    store.revoke(middle, entry(middle, LATER), event(root.account_id))
    held = store.get(root.account_id, middle.ref.name)
    assert held == replace(middle, revoked_at=NOW, status=AuthorityStatus.REVOKED)
    assert store.revoked(root.account_id, root.ref.name) == (entry(middle),)
    assert store.revoked(root.account_id, middle.ref.name) == ()
    assert store.keys(root.account_id, middle.ref.name) == KEYS  # its own list is still to be signed


def test_all_that_was_revoked_is_given_by_serial_number(store, root):
    numbers = [3, 2**159, 17, 255, 2**80]
    for number in numbers:
        made, _ = kept(store, root, serial_number=f"{number:x}")
        store.revoke_certificate(root.account_id, made, entry(made), event(root.account_id))
    assert [r.serial_number for r in store.revoked(root.account_id, root.ref.name)] == sorted(numbers)


def test_numbers_of_lists_rise_for_each_authority_by_itself(store, root):
    other = below(store, root)
    place = root.account_id, root.ref.name
    assert [store.next_crl_number(*place) for _ in range(3)] == [1, 2, 3]
    assert store.next_crl_number(root.account_id, other.ref.name) == 1
    assert store.get(*place) == root


@pytest.mark.parametrize("key", NOTHING)
def test_an_id_that_nothing_has_is_not_there(store, root, key):
    for use in (store.get, store.keys, store.next_crl_number):
        with pytest.raises(NotFound) as caught:
            use(root.account_id, key)
        assert caught.value.code == "AuthorityNotFound"
    with pytest.raises(NotFound):
        store.certificate(root.account_id, key)
    assert store.certificates(root.account_id, key, limit=5, cursor=None).items == ()
    assert store.revoked(root.account_id, key) == ()


def test_a_revocation_is_no_certificate_whatever_it_is_called(store, root):
    made, _ = kept(store, root)
    store.revoke_certificate(root.account_id, made, entry(made), event(root.account_id))
    place = f"{root.id}.revoked#{entry(made).serial_number:x}"
    with pytest.raises(NotFound):
        store.certificate(root.account_id, place)
    assert store.several(root.account_id, [place]) == {}


def test_what_is_not_there_is_not_revoked(store, root):
    for use in (
        lambda: store.revoke_certificate(root.account_id, made := issued(root), entry(made), event(root.account_id)),
        lambda: store.revoke(made := authority(account_id=root.account_id, parent=root.id), entry(made), event()),
    ):
        with pytest.raises(NotFound):
            use()
    assert store.revoked(root.account_id, root.ref.name) == ()


def test_another_account_sees_and_changes_nothing(store, root):
    stranger = added(store, account_id=ulid()).account_id
    made, _ = kept(store, root)
    for use in (store.get, store.keys, store.next_crl_number):
        with pytest.raises(NotFound):
            use(stranger, root.ref.name)
    with pytest.raises(NotFound):
        store.certificate(stranger, made.id)
    with pytest.raises(NotFound):
        store.revoke_certificate(stranger, made, entry(made), event(stranger))
    assert store.several(stranger, [made.id]) == {}
    assert store.certificates(stranger, root.ref.name, limit=5, cursor=None).items == ()
    assert store.revoked(root.account_id, root.ref.name) == ()
    assert len(store.page(stranger, limit=5, cursor=None).items) == 1


def test_a_cursor_of_another_list_is_refused(store, root):
    other = below(store, root)
    for _ in range(3):
        kept(store, root)
    cursor = store.certificates(root.account_id, root.ref.name, limit=1, cursor=None).cursor
    reads = (
        lambda: store.certificates(root.account_id, other.ref.name, limit=1, cursor=cursor),
        lambda: store.certificates(ulid(), root.ref.name, limit=1, cursor=cursor),
        lambda: store.page(root.account_id, limit=1, cursor=cursor),
    )
    for read in reads:
        with pytest.raises(InvalidRequest):
            read()


def test_of_simultaneous_revocations_one_gives_the_date(store, root):
    made, _ = kept(store, root)
    entries = [entry(made, NOW + timedelta(hours=n)) for n in range(6)]
    together(entries, lambda one: store.revoke_certificate(root.account_id, made, one, event(root.account_id)))
    (listed,) = store.revoked(root.account_id, root.ref.name)
    assert listed in entries
    assert store.certificate(root.account_id, made.id).revoked_at == listed.at


def test_simultaneous_lists_have_numbers_of_their_own(store, root):
    numbers = together(range(6), lambda _: store.next_crl_number(root.account_id, root.ref.name))
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]


def together(items, use):
    """What each of some threads that start at once gives."""
    start = threading.Barrier(len(items))

    def run(item):
        start.wait()
        return use(item)

    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(run, items))
