"""Uploads: what is stored of them, what refuses them, and how one replaces another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from threading import Barrier

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from chalicelib.domain import csr, keys, pem
from chalicelib.domain.csr import CsrSpec
from chalicelib.domain.errors import (
    CertificateRefused,
    Conflict,
    DuplicateCertificate,
    InvalidRequest,
    NameTaken,
    NotFound,
)
from chalicelib.domain.findings import Severity
from chalicelib.domain.model import MAX_LISTED_DOMAINS, Caller, Source
from chalicelib.domain.reading import Bundle
from chalicelib.functions.upload_validate import NAME_ATTEMPTS
from tests.support.authority import NOW, Issued, self_signed
from tests.support.authority import name as authority_name
from tests.support.canary import found, secret_numbers, traces
from tests.support.records import ACCOUNT, MANAGER, OTHER_ACCOUNT, record
from tests.support.sm2_builder import Sm2Authority, sm2_key
from tests.support.uploads import LEAF, MIDDLE, NEIGHBOUR, ROOT, House, bundle, codes, issued_for

NAME = "www.example.com-2026-ecdsa256"


def refusal(house: House, given: Bundle, caller: Caller = MANAGER, **more) -> list[str]:
    """The error codes with which an upload is refused."""
    with pytest.raises(CertificateRefused) as caught:
        house.upload(given, caller, **more)
    assert house.store.certificates == {}
    return codes(caught.value.findings, Severity.ERROR)


def request_for(issued: Issued) -> str:
    """A request made elsewhere with the key of a certificate."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(issued.certificate.subject)
    return builder.sign(issued.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


class TestStoring:
    """What an upload leaves behind."""

    def test_the_private_key_is_sealed_for_this_certificate(self, house):
        certificate = house.upload(bundle())
        assert certificate.has_private_key
        assert house.opened(certificate) == {"signing": LEAF.key.public_key()}

    def test_no_key_text_is_in_record_material_or_trail(self, house):
        house.upload(bundle())
        left = repr((house.store.certificates, house.store.materials, house.trail.events))
        (number,) = secret_numbers(LEAF.key)
        assert found(left.encode(), traces(number)) == []
        assert "PRIVATE KEY" not in left

    def test_the_chain_is_kept_issuer_first_and_root_last_whatever_order_it_came_in(self, house):
        certificate = house.upload(Bundle(ROOT.pem + LEAF.pem + MIDDLE.pem, LEAF.key_pem))
        material = house.material(certificate)
        texts = (material.certificate, *material.chain)
        assert [x509.load_pem_x509_certificate(t.encode()) for t in texts] == [
            LEAF.certificate,
            MIDDLE.certificate,
            ROOT.certificate,
        ]
        assert codes(material.findings) == ["ChainReordered"]

    def test_the_record_tells_what_the_certificate_says(self, house):
        certificate = house.upload(bundle())
        assert certificate.domains == ("www.example.com", "example.com")
        assert (certificate.algorithm, certificate.key_size) == ("ECDSA", 256)
        assert certificate.fingerprint == LEAF.fingerprint
        assert int(certificate.serial_number, 16) == LEAF.certificate.serial_number
        assert certificate.not_before == LEAF.certificate.not_valid_before_utc
        assert certificate.not_after == LEAF.certificate.not_valid_after_utc
        assert certificate.source is Source.UPLOAD

    def test_who_uploaded_it_and_when_is_kept(self, house):
        certificate = house.upload(bundle())
        assert (certificate.account_id, certificate.created_by) == (ACCOUNT, MANAGER.token_id)
        assert certificate.created_at == certificate.updated_at == NOW

    def test_what_the_caller_says_of_it_is_kept(self, house):
        certificate = house.upload(bundle(), tags={"env": "test"}, resource_group="web", notifications=True)
        held = house.store.get(ACCOUNT, certificate.id)
        assert (held.tags, held.resource_group, held.notifications) == ({"env": "test"}, "web", True)

    def test_the_event_that_brought_it_is_kept(self, house):
        assert house.upload(bundle(), origin="drop/a.pem#v1").origin == "drop/a.pem#v1"
        assert house.trail.events[-1].detail["origin"] == "drop/a.pem#v1"

    def test_of_many_domains_the_record_lists_the_first_and_the_material_all(self, house):
        domains = [f"host-{n}.example.com" for n in range(MAX_LISTED_DOMAINS + 7)]
        certificate = house.upload(bundle(MIDDLE.issue(*domains)))
        assert certificate.domains == tuple(domains[:MAX_LISTED_DOMAINS])
        assert certificate.domains_total == len(domains)
        assert house.material(certificate).domains == tuple(domains)

    def test_lasting_warnings_become_risks_and_passing_ones_do_not(self, house):
        made = self_signed("a.example.com", days=500)
        certificate = house.upload(Bundle(made.pem + made.pem, made.key_pem))
        assert set(certificate.risks) == {"SelfSigned", "ValidityTooLong"}
        assert set(codes(house.material(certificate).findings)) == {"SelfSigned", "ValidityTooLong", "DuplicateInput"}

    def test_both_halves_of_an_sm2_pair_are_kept_and_both_keys_sealed(self, house):
        authority = Sm2Authority.root()
        signing, encryption = authority.issue_pair("sm2.example.com")
        certificate = house.upload(
            bundle(
                signing,
                chain=authority.pem,
                encryption_certificate=encryption.pem,
                encryption_private_key=encryption.key_pem,
            )
        )
        material = house.material(certificate)
        assert (certificate.algorithm, certificate.name) == ("SM2", "sm2.example.com-2026-sm2")
        assert pem.scan(material.encryption_certificate).blocks[0].der == encryption.der
        held = house.vault.open(certificate.key_context, material.keys)
        assert {box: text.decode().split() for box, text in held.items()} == {
            "signing": signing.key_pem.split(),
            "encryption": encryption.key_pem.split(),
        }

    def test_a_refused_upload_leaves_nothing(self, house):
        assert refusal(house, Bundle(LEAF.pem, MIDDLE.issue("b", number=2).key_pem)) == [
            "KeyMismatch",
            "ChainIncomplete",
        ]
        assert house.trail.events == []

    def test_the_trail_tells_of_an_upload_once(self, house):
        certificate = house.upload(bundle())
        (event,) = house.trail.events
        assert (event.action, event.target, event.result) == ("certificate.upload", certificate.id, "ok")
        assert (event.account_id, event.actor, event.role) == (ACCOUNT, "token-1", "manager")
        assert (event.at, event.source_ip, event.request_id) == (NOW, "192.0.2.1", "request-1")
        assert event.detail == {"name": NAME, "fingerprint": LEAF.fingerprint, "origin": "api"}


class TestNames:
    """What a certificate is called."""

    def test_without_a_name_domain_year_and_algorithm_are_suggested(self, house):
        assert house.upload(bundle()).name == NAME

    def test_a_suggested_name_that_is_taken_gives_way_to_the_next(self, house):
        made = [MIDDLE.issue("www.example.com", number=n) for n in (1, 2, 3)]
        assert [house.upload(bundle(m)).name for m in made] == [NAME, f"{NAME}-2", f"{NAME}-3"]

    def test_a_preferred_name_gives_way_too(self, house):
        other = MIDDLE.issue("b.example.com", number=2)
        names = [house.upload(bundle(m), preferred_name="dropped").name for m in (LEAF, other)]
        assert names == ["dropped", "dropped-2"]

    def test_a_name_that_the_caller_insists_on_is_taken_or_refused(self, house):
        assert house.upload(bundle(), name="mine").name == "mine"
        with pytest.raises(NameTaken):
            house.upload(bundle(MIDDLE.issue("b.example.com", number=2)), name="mine")
        assert len(house.store.certificates) == 1

    def test_names_of_another_account_are_free(self, house):
        house.upload(bundle(), name="mine")
        assert house.upload(bundle(), NEIGHBOUR, name="mine").account_id == OTHER_ACCOUNT

    def test_a_suggestion_that_is_taken_in_the_meantime_is_made_anew(self, house):
        rival = MIDDLE.issue("www.example.com", number=2)
        house.store.rivals = [lambda: house.upload(bundle(rival), name=NAME)]
        assert house.upload(bundle()).name == f"{NAME}-2"
        assert [e.detail["name"] for e in house.trail.events] == [NAME, f"{NAME}-2"]

    @pytest.mark.parametrize(("rivals", "stored"), [(NAME_ATTEMPTS - 1, True), (NAME_ATTEMPTS, False)])
    def test_a_suggestion_is_made_anew_only_so_often(self, house, rivals, stored):
        def take(number):
            name = NAME if number == 1 else f"{NAME}-{number}"
            house.store.put_unseen(record(account_id=ACCOUNT, name=name))

        house.store.rivals = [partial(take, number) for number in range(1, rivals + 1)]
        with nullcontext() if stored else pytest.raises(NameTaken):
            house.upload(bundle())
        assert house.holds(LEAF) is stored


class TestDuplicates:
    """One certificate, one record."""

    def test_a_certificate_held_already_is_refused_with_its_id(self, house):
        first = house.upload(bundle())
        with pytest.raises(DuplicateCertificate) as caught:
            house.upload(bundle(), name="other")
        assert caught.value.existing_id == first.id
        assert len(house.trail.events) == 1

    def test_another_account_may_hold_the_same_certificate(self, house):
        owners = {house.upload(bundle(), who).account_id for who in (MANAGER, NEIGHBOUR)}
        assert len(owners) == len(house.store.certificates) == 2

    def test_two_uploads_of_one_certificate_at_once_make_one_record(self, house):
        start = Barrier(2)

        def attempt(_):
            start.wait(timeout=10)
            try:
                return house.upload(bundle()).id
            except DuplicateCertificate as duplicate:
                return duplicate.existing_id

        with ThreadPoolExecutor(2) as threads:
            seen = set(threads.map(attempt, range(2)))
        assert seen == {c.id for c in house.store.certificates.values()}
        assert len(seen) == len(house.trail.events) == 1


class TestParsing:
    """What an upload would say, without one."""

    def test_parsing_stores_nothing(self, house):
        found = house.parse(bundle())
        assert (found.suggested_name, codes(found.verdict.findings)) == (NAME, [])
        assert (house.store.certificates, house.store.materials, house.trail.events) == ({}, {}, [])

    def test_a_suggested_name_is_a_free_one(self, house):
        house.upload(bundle())
        assert house.parse(bundle(MIDDLE.issue("www.example.com", number=2))).suggested_name == f"{NAME}-2"

    def test_a_duplicate_and_a_taken_name_are_findings_that_refuse(self, house):
        held = house.upload(bundle(), name="mine")
        found = house.parse(bundle(), name="mine").verdict
        assert codes(found.findings, Severity.ERROR) == ["DuplicateCertificate", "NameTaken"]
        assert held.id in found.findings[0].message
        assert found.refused

    def test_what_another_account_holds_is_not_told(self, house):
        house.upload(bundle(), NEIGHBOUR, name="mine")
        assert codes(house.parse(bundle(), name="mine").verdict.findings) == []

    def test_what_is_no_certificate_gets_no_name(self, house):
        found = house.parse(Bundle("nothing of the kind"))
        assert (found.suggested_name, found.verdict.leaf) == (None, None)
        assert codes(found.verdict.findings) == ["CertificateFormatIncorrect"]

    @pytest.mark.parametrize("given", [bundle(key=False), Bundle(LEAF.pem), Bundle("?"), Bundle()])
    def test_an_upload_is_refused_for_exactly_what_parsing_says(self, house, given):
        assert refusal(house, given) == codes(house.parse(given).verdict.findings, Severity.ERROR)


class TestStoredKeys:
    """Keys that were made here, with a signing request."""

    @pytest.mark.parametrize("named", [True, False])
    def test_the_key_of_a_request_made_here_is_found(self, house, named):
        request = house.csrs.create(MANAGER, CsrSpec("www.example.com", algorithm="ECC"))
        issued = issued_for(request)
        certificate = house.upload(bundle(issued, key=False), csr_id=request.id if named else None)
        assert certificate.has_private_key
        assert house.opened(certificate) == {"signing": issued.certificate.public_key()}

    def test_the_key_of_an_sm2_request_is_found_beside_a_given_encryption_key(self, house):
        authority = Sm2Authority.root()
        signing, encryption = authority.issue_pair("sm2.example.com")
        key = keys.load(pem.scan(sm2_key(1).pem()).blocks[0])
        request = csr.make(csr.check(CsrSpec("sm2.example.com", algorithm="SM2")), key)
        house.csrs.store(MANAGER, None, pem.encode("CERTIFICATE REQUEST", request), signing.key_pem)
        both = {"encryption_certificate": encryption.pem, "encryption_private_key": encryption.key_pem}
        certificate = house.upload(bundle(signing, key=False, chain=authority.pem, **both))
        assert set(house.material(certificate).keys.boxes) == {"signing", "encryption"}

    def test_a_key_that_is_given_needs_no_request(self, house):
        request = house.csrs.store(MANAGER, None, request_for(LEAF), None)
        assert house.upload(bundle(), csr_id=request.id).has_private_key

    def test_a_given_key_that_does_not_match_is_not_excused_by_a_request(self, house):
        request = house.csrs.create(MANAGER, CsrSpec("www.example.com", algorithm="ECC"))
        given = Bundle(issued_for(request).pem, LEAF.key_pem, MIDDLE.pem)
        assert refusal(house, given) == refusal(house, given, csr_id=request.id) == ["KeyMismatch"]

    def test_a_given_key_that_cannot_be_read_is_told_of_and_not_passed_over(self, house):
        request = house.csrs.create(MANAGER, CsrSpec("www.example.com", algorithm="ECC"))
        given = Bundle(issued_for(request).pem, LEAF.key_as("pkcs8", b"secret"), MIDDLE.pem)
        assert refusal(house, given) == ["PrivateKeyEncrypted"]

    def test_a_request_whose_key_is_elsewhere_is_not_brought_up_beside_an_unreadable_key(self, house):
        house.csrs.store(MANAGER, None, request_for(LEAF), None)
        given = Bundle(LEAF.pem, LEAF.key_as("pkcs8", b"secret"), MIDDLE.pem)
        assert codes(house.parse(given).verdict.findings) == ["PrivateKeyEncrypted"]

    def test_a_named_request_for_another_key_is_refused(self, house):
        request = house.csrs.create(MANAGER, CsrSpec("www.example.com", algorithm="ECC"))
        with pytest.raises(CertificateRefused) as caught:
            house.upload(bundle(key=False), csr_id=request.id)
        (finding,) = caught.value.findings
        assert (finding.code, finding.param) == ("KeyMismatch", "csr_id")

    @pytest.mark.parametrize("named", [True, False])
    def test_a_request_whose_key_is_elsewhere_lets_the_certificate_in_without_one(self, house, named):
        request = house.csrs.store(MANAGER, "made-elsewhere", request_for(LEAF), None)
        certificate = house.upload(bundle(key=False), csr_id=request.id if named else None)
        assert not certificate.has_private_key
        material = house.material(certificate)
        assert material.keys is None
        assert codes(material.findings) == ["PrivateKeyElsewhere"]
        assert "made-elsewhere" in material.findings[0].message

    def test_without_a_key_and_without_a_request_the_key_is_missed(self, house):
        house.csrs.create(MANAGER, CsrSpec("www.example.com", algorithm="ECC"))
        assert refusal(house, bundle(key=False)) == ["PrivateKeyMissing"]

    def test_a_request_of_another_account_is_neither_named_nor_found(self, house):
        request = house.csrs.store(NEIGHBOUR, None, request_for(LEAF), LEAF.key_pem)
        for ask in (house.upload, house.parse):
            with pytest.raises(NotFound):
                ask(bundle(key=False), csr_id=request.id)
        assert refusal(house, bundle(key=False)) == ["PrivateKeyMissing"]


class TestSayingAll:
    def test_a_duplicate_with_a_taken_name_is_told_of_both(self, house):
        held = house.upload(bundle(), name="shop")
        with pytest.raises(Conflict) as caught:
            house.upload(bundle(), name="shop")
        assert (caught.value.code, caught.value.existing_id) == ("DuplicateCertificate", held.id)
        assert [f.code for f in caught.value.findings] == ["DuplicateCertificate", "NameTaken"]

    def test_a_duplicate_with_other_faults_is_told_of_all(self, house):
        house.upload(bundle(), name="shop")
        with pytest.raises(CertificateRefused) as caught:
            house.upload(Bundle(LEAF.pem, LEAF.key_pem), name="shop")
        assert [f.code for f in caught.value.findings] == ["ChainIncomplete", "DuplicateCertificate", "NameTaken"]

    def test_a_taken_name_is_told_even_when_no_certificate_could_be_read(self, house):
        house.upload(bundle(), name="shop")
        parsed = house.parse(Bundle("nonsense"), name="shop")
        assert [f.code for f in parsed.verdict.findings] == ["CertificateFormatIncorrect", "NameTaken"]


class TestSlimness:
    def test_a_long_subject_is_cut_in_the_record_and_whole_in_the_certificate(self, house):
        units = [(NameOID.ORGANIZATIONAL_UNIT_NAME, f"unit {n}") for n in range(300)]
        leaf = MIDDLE.issue("a.example.com", subject=authority_name("a.example.com", *units))
        made = house.upload(bundle(leaf))
        assert len(made.subject) == 512
        assert house.material(made).certificate == leaf.pem

    def test_tags_that_weigh_more_than_the_record_are_refused(self, house):
        tags = {f"key-{n}": "\U0001f512" * 60 for n in range(50)}
        with pytest.raises(InvalidRequest, match="at most 4096"):
            house.upload(bundle(), tags=tags)
        assert house.store.certificates == {}


class TestKeysOfRequests:
    def test_parsing_opens_no_key_and_says_that_there_is_one(self, house):
        request = house.csrs.create(MANAGER, CsrSpec("www.example.com", "ECC"))
        house.vault.open = None
        parsed = house.parse(bundle(issued_for(request), key=False))
        assert parsed.has_key
        assert not parsed.verdict.refused

    @pytest.mark.parametrize("named", [True, False])
    def test_an_upload_that_opens_a_key_says_whose_in_the_trail(self, house, named):
        request = house.csrs.create(MANAGER, CsrSpec("www.example.com", "ECC"))
        house.upload(bundle(issued_for(request), key=False), csr_id=request.id if named else None)
        assert house.trail.events[-1].detail["csr"] == request.id

    def test_an_upload_that_is_refused_opens_no_key(self, house):
        request = house.csrs.create(MANAGER, CsrSpec("www.example.com", "ECC"))
        house.vault.open = None
        with pytest.raises(CertificateRefused):
            house.upload(bundle(issued_for(request), key=False, chain=None))
        with pytest.raises(CertificateRefused):
            house.upload(Bundle("nonsense"), csr_id=request.id)
