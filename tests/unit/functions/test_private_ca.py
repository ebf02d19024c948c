"""The built-in CA: what it makes passes openssl and our own validation, and what it must not make is refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from chalicelib.domain import keys, pem
from chalicelib.domain.errors import CertificateRefused, Conflict, InvalidRequest, NotFound
from chalicelib.domain.model import KeyContext
from chalicelib.functions.private_ca import REASONS, AuthoritySpec, LeafSpec
from tests.support import sm2_openssl
from tests.support.canary import found, secret_numbers, traces
from tests.support.pca import STRANGER, PcaHouse, judged, parsed, refused
from tests.support.records import ACCOUNT, MANAGER
from tests.support.tools import folder, openssl

__all__ = ["folder"]


@pytest.fixture
def house() -> PcaHouse:
    return PcaHouse()


@pytest.fixture
def middle(house):
    return house.below(house.root())


class TestPaths:
    @pytest.mark.parametrize("algorithm", ["RSA", "ECC"])
    @pytest.mark.parametrize("usage", ["server", "client"])
    def test_all_that_is_issued_passes_openssl_with_its_lists_until_it_is_revoked(
        self, house, folder, algorithm, usage
    ):
        root = house.root(algorithm)
        middle = house.below(root)
        made, material = house.issue(middle, "www.example.com", "*.example.org", "192.0.2.7", usage=usage)
        other, second = house.issue(middle, "other.example.com", usage=usage)
        assert material.chain == (middle.certificate, root.certificate)
        house.pca.revoke(MANAGER, other.id, "key_compromise")
        assert house.verifies(folder, material, middle, root, purpose=f"ssl{usage}") == "leaf: OK\n"
        assert "certificate revoked" in house.verifies(folder, second, middle, root, purpose=f"ssl{usage}")
        assert judged(house, made) == []
        assert (made.algorithm, made.usage) == ({"RSA": "RSA", "ECC": "ECDSA"}[algorithm], usage)

    def test_what_is_issued_with_sm2_passes_openssl_link_by_link(self, house):
        root = house.root("SM2")
        middle = house.below(root)
        made, material = house.issue(middle, "www.example.com")
        assert sm2_openssl.chain_verifies(material.certificate, middle.certificate)
        assert sm2_openssl.chain_verifies(middle.certificate, root.certificate)
        assert judged(house, made) == ["EncryptionCertificateMissing"]
        assert [f.code for f in material.findings] == ["EncryptionCertificateMissing"]
        house.pca.revoke(MANAGER, made.id, "superseded")
        shown = openssl("crl", "-noout", "-text", given=house.crl_pem(middle).encode()).decode()
        assert made.serial_number in shown.lower()
        assert "Superseded" in shown

    def test_a_revoked_intermediate_takes_all_below_it_along(self, house, folder):
        root = house.root()
        middle = house.below(root)
        _, material = house.issue(middle, "www.example.com")
        assert house.verifies(folder, material, middle, root) == "leaf: OK\n"
        house.pca.revoke_authority(MANAGER, middle.id, "ca_compromise")
        assert "certificate revoked" in house.verifies(folder, material, middle, root)

    def test_a_root_may_issue_by_itself(self, house, folder):
        root = house.root()
        made, material = house.issue(root, "www.example.com")
        assert house.verifies(folder, material, root) == "leaf: OK\n"
        assert judged(house, made) == []

    def test_the_longest_path_that_can_be_made_passes_and_none_longer_can(self, house, folder):
        path = [house.root()]
        while len(path) < 9:
            path.insert(0, house.below(path[0], common_name=f"CA {len(path)}"))
        _, material = house.issue(path[0], "www.example.com")
        assert house.verifies(folder, material, *path) == "leaf: OK\n"
        assert refused(lambda: house.below(path[0], common_name="CA 9")) == [("AuthorityLimit", "parent")]

    def test_serial_numbers_differ(self, house, middle):
        numbers = {house.issue(middle, "www.example.com")[0].serial_number for _ in range(20)}
        assert len(numbers) == 20


class TestCreate:
    @pytest.mark.parametrize(
        ("algorithm", "key_size", "size"),
        [("RSA", None, 3072), ("RSA", 2048, 2048), ("ECC", None, 256), ("ECC", 521, 521), ("SM2", None, 256)],
    )
    def test_a_root_has_the_key_that_was_asked_for(self, house, algorithm, key_size, size):
        root = house.root(algorithm, key_size=key_size)
        assert (root.algorithm, root.key_size, root.kind.value, root.parent) == (algorithm, size, "root", None)
        assert parsed(root.certificate).public_key.size == size

    def test_an_authority_says_what_was_asked_for(self, house):
        root = house.root(
            common_name="Example.COM Root",
            organization="Example GmbH",
            organizational_unit="Security",
            country="de",
            province="Bayern",
            locality="München",
            path_length=1,
        )
        assert root.subject == "CN=Example.COM Root,OU=Security,O=Example GmbH,L=München,ST=Bayern,C=DE"
        middle = house.below(root, common_name="Issuing.Example.COM", permitted=["*.example.com", ".Example.ORG"])
        assert middle.subject == "CN=Issuing.Example.COM"
        assert (middle.limits.path_length, middle.limits.permitted) == (0, ("example.com", "example.org"))
        made = parsed(middle.certificate)
        assert made.is_ca
        assert made.path_length == 0

    @pytest.mark.parametrize(("kind", "days"), [("root", 3650), ("intermediate", 1825)])
    def test_an_authority_lives_for_the_usual_time_when_nobody_says(self, house, kind, days):
        root = house.root()
        made = root if kind == "root" else house.below(root)
        assert made.not_after - made.not_before == timedelta(days=days)

    @pytest.mark.parametrize(
        ("fields", "params"),
        [
            ({"kind": "leaf"}, ["kind"]),
            ({"kind": "root", "parent": "x"}, ["parent"]),
            ({"kind": "intermediate"}, ["parent"]),
            ({"common_name": " "}, ["common_name"]),
            ({"common_name": "two\nlines"}, ["common_name"]),
            ({"common_name": "x" * 65}, ["common_name"]),
            ({"algorithm": "DSA"}, ["algorithm"]),
            ({"algorithm": "RSA", "key_size": 1024}, ["key_size"]),
            ({"algorithm": "ECC", "key_size": 2048}, ["key_size"]),
            ({"validity_days": 0}, ["validity_days"]),
            ({"validity_days": 10**30}, ["validity_days"]),
            ({"country": "Germany"}, ["country"]),
            ({"path_length": -1}, ["path_length"]),
            ({"path_length": 10**30}, ["path_length"]),
            ({"permitted": ["not a host"]}, ["permitted"]),
            ({"permitted": [""]}, ["permitted"]),
            ({"permitted": ["*.*.example.com"]}, ["permitted"]),
            ({"excluded": ["192.0.2.1", "info@example.com"]}, ["excluded", "excluded"]),
            ({"excluded": ["a.example.com"] * 101}, ["excluded"]),
            (
                {"common_name": "", "organization": "x" * 65, "key_size": 1, "validity_days": -1, "path_length": -2},
                ["key_size", "organization", "common_name", "validity_days", "path_length"],
            ),
        ],
        ids=str,
    )
    def test_every_field_that_is_wrong_is_told_at_once(self, house, fields, params):
        spec = AuthoritySpec(**({"kind": "root", "common_name": "Root"} | fields))
        assert refused(lambda: house.pca.create(MANAGER, spec)) == [("AuthorityFieldIncorrect", p) for p in params]
        assert house.store.authorities == {}

    def test_an_intermediate_does_not_outlive_its_parent(self, house):
        root = house.root(validity_days=100)
        with pytest.raises(CertificateRefused) as caught:
            house.below(root, validity_days=101)
        (finding,) = caught.value.findings
        assert (finding.code, finding.param) == ("AuthorityLimit", "validity_days")
        assert f"{root.not_after:%Y-%m-%d}" in finding.message
        assert "at most 99 days" in finding.hint  # the clock has moved on
        assert house.below(root, validity_days=99).not_after <= root.not_after

    def test_an_intermediate_that_nobody_gives_a_time_ends_before_its_parent(self, house):
        root = house.root(validity_days=2000)
        middle = house.below(root)
        lower = house.below(middle, common_name="Lower")
        assert [(a.not_after - a.not_before).days for a in (middle, lower)] == [1825, 1824]
        house.clock.now = lower.not_after - timedelta(hours=1)
        assert refused(lambda: house.below(lower, common_name="Late")) == [("AuthorityLimit", "validity_days")]

    def test_an_authority_may_not_have_more_below_it_than_its_parent_allows(self, house):
        root = house.root(path_length=1)
        assert refused(lambda: house.below(root, path_length=1)) == [("AuthorityLimit", "path_length")]
        middle = house.below(root)
        assert refused(lambda: house.below(middle, common_name="Lower")) == [("AuthorityLimit", "parent")]

    def test_an_authority_may_not_permit_more_than_those_above_it(self, house):
        root = house.root(permitted=["example.com"], excluded=["secret.example.com"])
        middle = house.below(root, permitted=["a.example.com", "example.com"])
        for outside in ("example.org", "a.secret.example.com"):
            assert refused(lambda o=outside: house.below(middle, common_name="Lower", permitted=[o])) == [
                ("AuthorityLimit", "permitted")
            ]

    def test_sm2_is_certified_by_sm2_alone(self, house):
        root = house.root("ECC")
        assert refused(lambda: house.below(root, algorithm="SM2")) == [("AuthorityLimit", "algorithm")]
        assert house.below(house.root("SM2"), algorithm="ECC").algorithm == "ECC"

    def test_an_authority_is_not_called_like_one_above_it(self, house):
        root = house.root(organization=None)
        again = "EXAMPLE  root ca"
        assert refused(lambda: house.below(root, common_name=again)) == [("AuthorityFieldIncorrect", "common_name")]

    @pytest.mark.parametrize("parent", ["nothing", "alibaba.cn-hangzhou.ca-1", "a.b"])
    def test_a_parent_that_is_not_there_is_told(self, house, parent):
        with pytest.raises(NotFound) as caught:
            house.pca.create(MANAGER, AuthoritySpec("intermediate", "Middle", parent=parent))
        assert caught.value.code == "AuthorityNotFound"


class TestNotActive:
    def revoke(self, house, middle):
        house.pca.revoke_authority(MANAGER, middle.id)

    def outlive(self, house, middle):
        house.clock.now = middle.not_after + timedelta(seconds=1)

    @pytest.mark.parametrize("end", [revoke, outlive])
    def test_an_authority_that_has_ended_issues_nothing_nor_does_what_is_below_it(self, house, middle, end):
        lower = house.below(middle, common_name="Lower", validity_days=1000)
        end(self, house, middle)
        for use in (
            lambda: house.issue(middle, "www.example.com", validity_days=1),
            lambda: house.issue(lower, "www.example.com", validity_days=1),
            lambda: house.below(middle, common_name="Another", validity_days=1),
        ):
            with pytest.raises(Conflict) as caught:
                use()
            assert caught.value.code == "AuthorityNotActive"
            assert ("is revoked since" if end is TestNotActive.revoke else "is expired since") in caught.value.message

    def test_an_authority_below_a_revoked_one_is_told_which_it_is(self, house, middle):
        lower = house.below(middle, common_name="Lower", validity_days=1000)
        self.revoke(house, middle)
        with pytest.raises(Conflict, match=f"{middle.id} .*, which is above {lower.id}, is revoked"):
            house.issue(lower, "www.example.com")

    def test_the_list_of_a_revoked_authority_is_still_to_be_had(self, house, middle):
        self.revoke(house, middle)
        crl = x509.load_der_x509_crl(house.pca.crl(MANAGER, middle.id))
        assert crl.is_signature_valid(parsed(middle.certificate).public_key.native)


class TestRevoke:
    def test_a_revoked_certificate_keeps_its_first_date_and_reason(self, house, middle):
        made, _ = house.issue(middle, "www.example.com")
        first = house.pca.revoke(MANAGER, made.id, "key_compromise")
        assert first == replace(made, revoked_at=house.clock.now)
        events = len(house.trail.events)
        house.clock.advance(timedelta(days=1))
        assert house.pca.revoke(MANAGER, made.id, "superseded") == first
        assert len(house.trail.events) == events
        (entry,) = x509.load_der_x509_crl(house.pca.crl(MANAGER, middle.id))
        assert entry.revocation_date_utc == first.revoked_at
        assert entry.extensions[0].value.reason is x509.ReasonFlags.key_compromise

    @pytest.mark.parametrize("reason", REASONS)
    def test_a_reason_of_the_standard_is_in_the_list(self, house, middle, reason):
        made, _ = house.issue(middle, "www.example.com")
        house.pca.revoke(MANAGER, made.id, reason)
        (entry,) = x509.load_der_x509_crl(house.pca.crl(MANAGER, middle.id))
        found = [e.value.reason.name for e in entry.extensions]
        assert found == ([] if reason == "unspecified" else [reason])

    @pytest.mark.parametrize("reason", ["", "because", "remove_from_crl", "certificate_hold", "x" * 10_000])
    def test_any_other_reason_is_refused(self, house, middle, reason):
        made, _ = house.issue(middle, "www.example.com")
        for use in (
            lambda: house.pca.revoke(MANAGER, made.id, reason),
            lambda: house.pca.revoke_authority(MANAGER, middle.id, reason),
        ):
            with pytest.raises(InvalidRequest) as caught:
                use()
            assert caught.value.code == "InvalidParameter"
            assert len(caught.value.message) < 400
        assert house.store.certificate(ACCOUNT, made.id).revoked_at is None

    def test_a_root_is_not_revoked(self, house):
        with pytest.raises(Conflict) as caught:
            house.pca.revoke_authority(MANAGER, house.root().id)
        assert caught.value.code == "RootNotRevocable"

    def test_an_intermediate_is_revoked_once(self, house, middle):
        first = house.pca.revoke_authority(MANAGER, middle.id)
        assert (first.status.value, first.revoked_at) == ("revoked", house.clock.now)
        house.clock.advance(timedelta(days=1))
        assert house.pca.revoke_authority(MANAGER, middle.id, "superseded") == first

    def test_simultaneous_revocations_give_one_date(self, house, middle):
        made, _ = house.issue(middle, "www.example.com")
        start = threading.Barrier(4)

        def revoke(reason):
            start.wait()
            return house.pca.revoke(MANAGER, made.id, reason)

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(revoke, REASONS[:4]))) == 1
        assert len(list(x509.load_der_x509_crl(house.pca.crl(MANAGER, middle.id)))) == 1

    def test_each_list_has_a_higher_number_and_begins_now(self, house, middle):
        numbers = []
        for _ in range(3):
            crl = x509.load_der_x509_crl(house.pca.crl(MANAGER, middle.id))
            numbers.append(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
            assert crl.last_update_utc == house.clock.now
        assert numbers == [1, 2, 3]


class TestTrailAndTenants:
    def test_every_opening_of_an_authoritys_key_is_told(self, house):
        root = house.root()
        middle = house.below(root)
        made, _ = house.issue(middle, "www.example.com")
        house.pca.crl(MANAGER, middle.id)
        house.pca.revoke(MANAGER, made.id, "superseded")
        house.pca.revoke_authority(MANAGER, middle.id)
        told = [(e.action, e.target, e.detail.get("opened_key_of")) for e in house.trail.events]
        assert told == [
            ("ca.create", root.id, None),
            ("ca.create", middle.id, root.id),
            ("ca.issue", made.id, middle.id),
            ("ca.crl", middle.id, None),
            ("ca.revoke-certificate", made.id, None),
            ("ca.revoke", middle.id, None),
        ]

    def test_a_list_that_cannot_be_signed_was_told_before_the_key_was_opened(self, house, middle):
        house.store.sealed[ACCOUNT, middle.ref.name] = house.store.sealed[ACCOUNT, middle.parent]
        with pytest.raises(Exception, match="belongs to another record"):
            house.pca.crl(MANAGER, middle.id)
        assert house.trail.events[-1].action == "ca.crl"

    @pytest.mark.parametrize("algorithm", ["ECC", "SM2"])
    def test_no_key_is_in_what_is_answered_kept_or_told(self, house, algorithm):
        root = house.root(algorithm)
        made, material = house.issue(root, "www.example.com")
        places = {
            f"ca#{root.ref.name}": (root.certificate, house.store.keys(ACCOUNT, root.ref.name)),
            f"pca#{made.id.rpartition('.')[2]}": (material.certificate, material.keys),
        }
        needles = []
        for place, (text, sealed) in places.items():
            opened = house.vault.open(KeyContext(ACCOUNT, place, parsed(text).fingerprint), sealed)["signing"]
            key = keys.load(pem.scan(opened.decode()).blocks[0])
            needles += [trace for number in secret_numbers(key.native) for trace in traces(number)]
            assert found(pem.scan(opened.decode()).blocks[0].der, needles)
        said = repr([root, made, material, house.trail.events, house.store.issued, house.store.sealed]).encode()
        assert found(said, needles) == []

    def test_another_account_sees_and_changes_nothing(self, house, middle):
        made, _ = house.issue(middle, "www.example.com")
        for use in (
            lambda: house.pca.issue(STRANGER, middle.id, LeafSpec("www.example.com")),
            lambda: house.pca.create(STRANGER, AuthoritySpec("intermediate", "Middle", parent=middle.id)),
            lambda: house.pca.revoke(STRANGER, made.id),
            lambda: house.pca.revoke_authority(STRANGER, middle.id),
            lambda: house.pca.crl(STRANGER, middle.id),
        ):
            with pytest.raises(NotFound):
                use()
        assert {e.account_id for e in house.trail.events} == {ACCOUNT}
        assert house.store.certificate(ACCOUNT, made.id).revoked_at is None
