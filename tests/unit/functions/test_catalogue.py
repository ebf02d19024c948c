"""The inventory's own rules: what is changed, what is handed out, and what the trail says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from chalicelib.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unprocessable
from chalicelib.domain.model import Caller, CertificateFilter, Role, Source
from chalicelib.domain.reading import Bundle
from chalicelib.functions.audit import Audit
from chalicelib.functions.catalogue import Catalogue, CertificateChange
from chalicelib.ports import KeyVaultError
from tests.support.authority import Authority
from tests.support.records import ACCOUNT, OTHER_ACCOUNT
from tests.support.sm2_builder import Sm2Authority
from tests.support.uploads import House

ROOT = Authority.root()
MIDDLE = ROOT.intermediate()
LEAF = MIDDLE.issue("a.example.com", "bücher.example".encode("idna").decode())
BUNDLE = Bundle(LEAF.pem, LEAF.key_pem, MIDDLE.pem + ROOT.pem)
ADMIN = Caller(ACCOUNT, Role.ADMIN, "token-1", "192.0.2.1", "request-1")
STRANGER = Caller(OTHER_ACCOUNT, Role.ADMIN, "token-2", "192.0.2.2", "request-2")


class Shelf(House):
    """An inventory with one certificate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.catalogue = Catalogue(self.store, self.vault, Audit(self.trail, self.clock), self.clock)
        self.held = self.upload(BUNDLE, name="site", tags={"env": "live"}, resource_group="web")
        self.trail.events.clear()

    def put_back(self, **fields) -> None:
        """The certificate with other fields, as some other part of the service would write it."""
        self.store.certificates[ACCOUNT, self.held.id] = replace(self.held, **fields)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(e.action, e.result) for e in self.trail.events]


@pytest.fixture
def shelf():
    return Shelf()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"tags": {}},
        {"tags": {"env": "test", "team": "web"}},
        {"resource_group": ""},
        {"notifications": True},
        {"name": "other", "resource_group": "shop"},
    ],
)
def test_a_change_changes_what_it_names_and_says_which_fields(shelf, change):
    new = shelf.catalogue.change(ADMIN, shelf.held.id, CertificateChange(**change))
    assert new == replace(shelf.held, **change, version=shelf.held.version + 1)
    assert shelf.store.get(ACCOUNT, shelf.held.id) == new
    (event,) = shelf.trail.events
    assert (event.action, event.target) == ("certificate.change", shelf.held.id)
    assert event.detail["fields"].split() == sorted(change)


def test_a_change_of_nothing_is_refused(shelf):
    with pytest.raises(InvalidRequest, match="nothing to change"):
        shelf.catalogue.change(ADMIN, shelf.held.id, CertificateChange())


def test_a_name_that_another_has_is_refused(shelf):
    other = MIDDLE.issue("b.example.com", number=2)
    shelf.upload(Bundle(other.pem, other.key_pem, MIDDLE.pem), name="other")
    with pytest.raises(Conflict, match="NameTaken"):
        shelf.catalogue.change(ADMIN, shelf.held.id, CertificateChange(name="other"))
    assert shelf.store.get(ACCOUNT, shelf.held.id).name == "site"


def test_its_own_name_may_be_given_again(shelf):
    assert shelf.catalogue.change(ADMIN, shelf.held.id, CertificateChange(name="site")).name == "site"


@pytest.mark.parametrize("confirm", [None, "", "Site", "site ", "other"])
def test_deleting_without_the_exact_name_is_refused_and_names_it(shelf, confirm):
    with pytest.raises(InvalidRequest, match=r"ConfirmationMissing.*“site”"):
        shelf.catalogue.delete(ADMIN, shelf.held.id, confirm)
    assert shelf.store.get(ACCOUNT, shelf.held.id) == shelf.held


def test_deleting_takes_the_key_along_and_leaves_its_trace(shelf):
    shelf.catalogue.delete(ADMIN, shelf.held.id, "site")
    assert (shelf.store.certificates, shelf.store.materials) == ({}, {})
    (event,) = shelf.trail.events
    assert event.detail == {"name": "site", "fingerprint": LEAF.fingerprint}


@pytest.mark.parametrize(
    "use",
    [
        lambda c, who, i: c.show(who, i),
        lambda c, who, i: c.change(who, i, CertificateChange(name="mine")),
        lambda c, who, i: c.delete(who, i, "site"),
        lambda c, who, i: c.download(who, i, "pem", None),
        lambda c, who, i: c.download(who, i, "pfx", "secret"),
    ],
    ids=["show", "change", "delete", "download", "download pfx"],
)
def test_a_foreign_certificate_is_as_one_that_does_not_exist(shelf, use):
    with pytest.raises(NotFound) as foreign:
        use(shelf.catalogue, STRANGER, shelf.held.id)
    with pytest.raises(NotFound) as unknown:
        use(shelf.catalogue, ADMIN, "unknown")
    assert foreign.value.message.replace(shelf.held.id, "…") == unknown.value.message.replace("unknown", "…")
    assert shelf.told == []


def test_a_domain_may_be_asked_for_as_people_write_it(shelf):
    page = shelf.catalogue.page(ADMIN, CertificateFilter(domain="BÜCHER.example."), limit=10, cursor=None)
    assert [c.id for c in page.items] == [shelf.held.id]


def test_a_pem_file_holds_leaf_chain_and_key_in_this_order(shelf):
    file = shelf.catalogue.download(ADMIN, shelf.held.id, "pem", None)
    assert file.content.decode() == LEAF.pem + MIDDLE.pem + ROOT.pem + LEAF.key_pem
    assert (file.content_type, file.file_name) == ("application/x-pem-file", "site.pem")
    assert LEAF.key_pem.splitlines()[1] not in repr(file)


def test_a_pfx_file_opens_with_its_passphrase(shelf):
    file = shelf.catalogue.download(ADMIN, shelf.held.id, "pfx", "secret")
    found = pkcs12.load_pkcs12(file.content, b"secret")
    assert found.key.private_numbers() == LEAF.key.private_numbers()
    assert found.cert.certificate == x509.load_pem_x509_certificate(LEAF.pem.encode())
    assert len(found.additional_certs) == 2


@pytest.mark.parametrize("kind", ["pfx", "jks"])
@pytest.mark.parametrize("passphrase", [None, ""])
def test_a_protected_file_wants_a_passphrase(shelf, kind, passphrase):
    with pytest.raises(InvalidRequest, match="PassphraseMissing"):
        shelf.catalogue.download(ADMIN, shelf.held.id, kind, passphrase)
    assert shelf.told == []


@pytest.mark.parametrize("kind", ["pem", "pfx", "jks"])
def test_a_download_is_recorded_with_its_format(shelf, kind):
    shelf.catalogue.download(ADMIN, shelf.held.id, kind, "secret")
    (event,) = shelf.trail.events
    assert (event.action, event.target, event.detail) == ("certificate.download", shelf.held.id, {"format": kind})


def test_a_trail_that_cannot_be_written_hands_nothing_out(shelf):
    def full(event):
        raise OSError("full")

    shelf.trail.record = full
    with pytest.raises(OSError, match="full"):
        shelf.catalogue.download(ADMIN, shelf.held.id, "pem", None)


def test_a_shared_certificate_is_not_downloaded(shelf):
    shelf.put_back(source=Source.SHARED)
    with pytest.raises(Forbidden, match="SourceNotDownloadable"):
        shelf.catalogue.download(ADMIN, shelf.held.id, "pem", None)
    assert shelf.told == []


def test_without_a_key_there_is_a_pem_file_and_no_other(shelf):
    place = ACCOUNT, shelf.held.id
    shelf.store.materials[place] = replace(shelf.store.materials[place], keys=None)
    assert "PRIVATE KEY" not in shelf.catalogue.download(ADMIN, shelf.held.id, "pem", None).content.decode()
    with pytest.raises(Unprocessable, match="PrivateKeyAbsent"):
        shelf.catalogue.download(ADMIN, shelf.held.id, "pfx", "secret")


def test_a_key_that_was_moved_from_another_record_is_not_opened(shelf):
    other = MIDDLE.issue("b.example.com", number=2)
    second = shelf.upload(Bundle(other.pem, other.key_pem, MIDDLE.pem))
    mine, its = (ACCOUNT, shelf.held.id), (ACCOUNT, second.id)
    shelf.store.materials[mine] = replace(shelf.store.materials[mine], keys=shelf.store.materials[its].keys)
    with pytest.raises(KeyVaultError):
        shelf.catalogue.download(ADMIN, shelf.held.id, "pem", None)


def test_both_halves_of_an_sm2_pair_are_in_its_file_and_other_formats_cannot_hold_them(shelf):
    signing, encryption = Sm2Authority.root().issue_pair("guomi.example.com")
    chain = Sm2Authority.root().pem
    pair = shelf.upload(Bundle(signing.pem, signing.key_pem, chain, encryption.pem, encryption.key_pem), name="pair")
    text = shelf.catalogue.download(ADMIN, pair.id, "pem", None).content.decode()
    assert all(part in text for part in (signing.pem, encryption.pem, signing.key_pem, encryption.key_pem))
    with pytest.raises(Unprocessable, match="FormatUnsupported"):
        shelf.catalogue.download(ADMIN, pair.id, "pfx", "secret")


@pytest.mark.parametrize(
    ("name", "file_name"),
    [("a b", "a_b.pem"), ("ü/..\\x", "__.._x.pem"), ('a"\r\nX: y', "a___X__y.pem"), ("*", "_.pem")],
)
def test_a_file_s_name_is_harmless_in_a_header(shelf, name, file_name):
    shelf.put_back(name=name)
    assert shelf.catalogue.download(ADMIN, shelf.held.id, "pem", None).file_name == file_name
