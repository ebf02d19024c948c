"""Certificates of the built-in CA: what they say, and what must not be said."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain import keys, pem
from chalicelib.domain.csr import CsrSpec
from chalicelib.domain.errors import CertificateRefused, InvalidRequest, NotFound, TooLarge, Unprocessable
from chalicelib.domain.issuing import BACKDATED
from chalicelib.domain.model import KeyContext
from chalicelib.functions.private_ca import LeafSpec
from tests.support.authority import name, private_key
from tests.support.pca import STRANGER, PcaHouse, alternatives, judged, parsed, refused, request
from tests.support.records import ACCOUNT, MANAGER
from tests.support.tools import folder

__all__ = ["folder"]

HOSTS = ["example.com", "*.example.com", "A.example.com", "b.a.example.com", "Bücher.example", "localhost", "192.0.2.7"]
OTHERS = ["2001:db8::1", "info@a.example.com", "info@example.org", "URI:https://example.org/", "not a host"]
DOMAINS = st.lists(st.sampled_from(["example.com", "a.example.com", "com", "muster", "bücher.example"]), max_size=2)
COMMON_NAMES = st.sampled_from([None, "Max Muster", "max.muster", "Example.com.", *HOSTS])
NAMES = st.lists(st.sampled_from(HOSTS + OTHERS), max_size=3)


@pytest.fixture
def house() -> PcaHouse:
    return PcaHouse()


@pytest.fixture
def middle(house):
    return house.below(house.root())


class TestIssue:
    def test_a_server_has_its_common_name_among_its_names(self, house, middle):
        made, material = house.issue(middle, "b.example.com", "192.0.2.7", common_name="a.example.com")
        assert made.sans == ("a.example.com", "b.example.com", "192.0.2.7")
        assert alternatives(material.certificate) == list(made.sans)
        assert material.domains == made.sans

    @pytest.mark.parametrize(
        ("common_name", "sans", "held"),
        [
            ("Bücher.example.com", ("*.München.example",), ["xn--bcher-kva.example.com", "*.xn--mnchen-3ya.example"]),
            ("localhost", (), ["localhost"]),
            ("192.0.2.7", ("2001:db8::1",), ["192.0.2.7", "2001:db8::1"]),
            (
                "The shop",
                ("shop.example.com", "URI:spiffe://example.org/shop"),
                ["shop.example.com", "spiffe://example.org/shop"],
            ),
            (None, ("a.example.com",), ["a.example.com"]),
            (None, ("URI:urn:x:y", "x" * 60 + ".example.com", "a.example.com"), None),
        ],
    )
    def test_names_are_written_as_certificates_have_them(self, house, middle, common_name, sans, held):
        made, material = house.issue(middle, *sans, common_name=common_name)
        if held is None:
            assert made.common_name == "a.example.com"
        else:
            assert alternatives(material.certificate) == held

    @pytest.mark.parametrize("common_name", ["Max.Muster", "Jörg.Müller", "svc.example.com", "192.0.2.7"])
    def test_what_a_client_is_called_is_no_host_unless_somebody_says_so(self, house, middle, common_name):
        made, material = house.issue(middle, common_name=common_name, usage="client")
        assert (made.common_name, made.sans, material.domains) == (
            common_name,
            (),
            parsed(material.certificate).domains,
        )
        assert house.issue(middle, "svc.example.com", common_name=common_name, usage="client")[0].sans == (
            "svc.example.com",
        )

    def test_a_client_may_be_a_person(self, house, middle):
        made, material = house.issue(middle, "info@bücher.example", common_name="Max Muster", usage="client")
        assert (made.common_name, made.sans) == ("Max Muster", ("info@xn--bcher-kva.example",))
        assert [f.code for f in material.findings] == ["MissingSAN"]  # it names no host, and needs none

    @pytest.mark.parametrize(
        ("fields", "params"),
        [
            ({"common_name": ""}, ["common_name", "sans"][:1]),
            ({"common_name": "The shop"}, ["sans"]),
            ({"sans": ["a.*.example.com"]}, ["sans"]),
            ({"sans": ["*"]}, ["sans"]),
            ({"sans": ["not a host"]}, ["sans"]),
            ({"sans": [f"h{n}.example.com" for n in range(101)]}, ["sans"]),
            ({"sans": ["info@example.com"]}, ["sans"]),
            ({"usage": "mail"}, ["usage"]),
            ({"validity_days": 0}, ["validity_days"]),
            ({"validity_days": 10**30}, ["validity_days"]),
            ({"validity_days": 2000}, ["validity_days"]),
            ({"algorithm": "SM2"}, ["algorithm"]),
            ({"algorithm": "DSA"}, ["algorithm"]),
            ({"algorithm": "RSA", "key_size": 512}, ["key_size"]),
            ({"common_name": "Example Issuing CA", "sans": ["a.example.com"]}, ["common_name"]),
            (
                {"sans": ["a b", "info@example.com"], "usage": "server", "validity_days": -1},
                ["sans", "sans", "validity_days"],
            ),
        ],
        ids=str,
    )
    def test_every_field_that_is_wrong_is_told_at_once(self, house, middle, fields, params):
        spec = LeafSpec(**({"common_name": "www.example.com"} | fields))
        assert refused(lambda: house.pca.issue(MANAGER, middle.id, spec)) == [
            ("CertificateNotIssuable", p) for p in params
        ]
        assert house.store.issued == {}

    def test_a_certificate_does_not_outlive_its_authority(self, house):
        root = house.root(validity_days=30)
        with pytest.raises(CertificateRefused) as caught:
            house.issue(root, "www.example.com")
        (finding,) = caught.value.findings
        assert f"{root.not_after:%Y-%m-%d}" in finding.message
        assert "at most 29 days" in finding.hint
        made, _ = house.issue(root, "www.example.com", validity_days=29)
        assert made.not_before == house.clock().replace(microsecond=0) - BACKDATED

    def test_names_outside_of_what_any_authority_of_the_path_may_certify_are_refused(self, house, folder):
        root = house.root(permitted=["example.com"])
        middle = house.below(root, excluded=["secret.example.com"])
        _, material = house.issue(middle, "a.example.com", "example.com", "192.0.2.7")
        assert house.verifies(folder, material, middle, root) == "leaf: OK\n"
        for host in ("example.org", "badexample.com", "secret.example.com", "x.secret.example.com", "*.example.com"):
            fields = {"common_name": "a.example.com", "sans": [host]}
            spec = LeafSpec(**fields)
            assert refused(lambda s=spec: house.pca.issue(MANAGER, middle.id, s)) == [
                ("CertificateNotIssuable", "sans")
            ]

    @pytest.mark.parametrize("usage", ["server", "client"])
    def test_a_common_name_that_openssl_takes_for_a_host_is_held_to_the_constraints(self, house, usage):
        root = house.root(permitted=["example.com"])
        for common_name in ("192.0.2.7", "max.muster"):
            field = "sans" if (usage, common_name) == ("server", "max.muster") else "common_name"
            assert refused(lambda c=common_name: house.issue(root, common_name=c, usage=usage)) == [
                ("CertificateNotIssuable", field)
            ]

    def test_what_is_not_refused_is_sound_whatever_names_and_constraints_meet(self):
        outcomes = set()

        @settings(max_examples=100, deadline=None)
        @given(DOMAINS, DOMAINS, st.sampled_from(["server", "client"]), COMMON_NAMES, NAMES)
        def refused_or_sound(permitted, excluded, usage, common_name, sans):
            house = PcaHouse()
            root = house.root(permitted=permitted, excluded=excluded)
            try:
                made, _ = house.pca.issue(MANAGER, root.id, LeafSpec(common_name, sans, usage=usage))
            except CertificateRefused:
                outcomes.add("refused")
            else:
                outcomes.add("sound")
                assert set(judged(house, made)) <= {"MissingSAN"}

        refused_or_sound()
        assert outcomes == {"refused", "sound"}

    @pytest.mark.parametrize(
        ("days", "codes"), [(365, []), (397, ["LeakageRisk"]), (730, ["ValidityTooLong", "LeakageRisk"])]
    )
    def test_validity_over_a_year_is_a_risk_that_stays_with_the_certificate(self, house, middle, days, codes):
        _, material = house.issue(middle, "www.example.com", validity_days=days)
        assert [f.code for f in material.findings] == codes

    @pytest.mark.parametrize(
        ("above", "fields", "label"),
        [
            ("ECC", {}, "ECDSA P-256"),
            ("ECC", {"key_size": 384}, "ECDSA P-384"),
            ("ECC", {"algorithm": "RSA"}, "RSA 2048"),
            ("SM2", {}, "SM2"),
            ("SM2", {"algorithm": "ECC"}, "ECDSA P-256"),
        ],
    )
    def test_a_key_made_here_is_of_the_authoritys_kind_unless_another_is_asked_for(self, house, above, fields, label):
        made, material = house.issue(house.root(above), "www.example.com", **fields)
        assert parsed(material.certificate).public_key.label == label
        assert made.has_private_key
        assert material.keys is not None

    def test_an_authority_of_nobody_issues_nothing(self, house):
        for unknown in ("nothing", "alibaba.cn-hangzhou.ca-1"):
            with pytest.raises(NotFound) as caught:
                house.pca.issue(MANAGER, unknown, LeafSpec("www.example.com"))
            assert caught.value.code == "AuthorityNotFound"


class TestRequests:
    def test_a_request_gives_names_and_key_and_keeps_its_own_key(self, house, middle, folder):
        text, key = request("www.example.com", "www.example.com", "example.com")
        made, material = house.issue(middle, csr=text)
        assert keys.matches(key, parsed(material.certificate).public_key)
        assert (made.common_name, made.sans) == ("www.example.com", ("www.example.com", "example.com"))
        assert (made.has_private_key, material.keys) == (False, None)
        assert house.verifies(folder, material, middle, house.pca._own(MANAGER, middle.parent)) == "leaf: OK\n"

    def test_what_is_said_beside_a_request_goes_before_what_it_says(self, house, middle):
        text, _ = request("www.example.com", "www.example.com", kind=("RSA", 2048))
        made, _ = house.issue(middle, "b.example.com", csr=text, common_name="a.example.com")
        assert made.sans == ("a.example.com", "b.example.com")
        assert made.algorithm == "RSA"

    def test_the_key_of_a_stored_request_goes_with_the_certificate(self, house, middle):
        stored = house.csrs.create(MANAGER, CsrSpec("www.example.com", "ECC"))
        made, _ = house.issue(middle, csr_id=stored.id)
        assert made.has_private_key
        assert judged(house, made) == []
        assert house.trail.events[-1].detail["csr"] == stored.id

    def test_a_stored_request_without_key_stays_without(self, house, middle):
        text, _ = request("www.example.com")
        stored = house.csrs.store(MANAGER, None, text, None)
        made, material = house.issue(middle, csr_id=stored.id)
        assert (made.has_private_key, material.keys) == (False, None)
        with pytest.raises(NotFound):
            house.pca.issue(STRANGER, house.root(caller=STRANGER).id, LeafSpec(csr_id=stored.id))

    def test_a_weak_request_for_a_name_that_cannot_be_is_told_of_both(self, house, middle):
        builder = x509.CertificateSigningRequestBuilder().subject_name(name("not a host"))
        weak = builder.sign(private_key("rsa1024"), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        assert refused(lambda: house.issue(middle, csr=weak)) == [
            ("CertificateNotIssuable", "csr"),
            ("WeakKey", "csr"),
        ]

    def test_a_request_that_its_key_did_not_sign_is_refused(self, house, middle):
        text, _ = request("www.example.com")
        (block,) = pem.scan(text).blocks
        changed = pem.encode(block.label, block.der[:-1] + bytes([block.der[-1] ^ 1]))
        assert refused(lambda: house.issue(middle, csr=changed)) == [("CsrSignatureIncorrect", "csr")]

    def test_an_sm2_request_is_for_sm2_authorities(self, house, middle):
        text, _ = request("www.example.com", kind=("SM2", 256))
        assert refused(lambda: house.issue(middle, csr=text)) == [("CertificateNotIssuable", "csr")]
        made, _ = house.issue(house.root("SM2"), csr=text)
        assert made.algorithm == "SM2"

    def test_a_request_for_the_key_of_the_authority_is_refused(self, house, middle):
        context = KeyContext(ACCOUNT, f"ca#{middle.ref.name}", parsed(middle.certificate).fingerprint)
        own = house.vault.open(context, house.store.keys(ACCOUNT, middle.ref.name))["signing"]
        key = serialization.load_pem_private_key(own, None)
        builder = x509.CertificateSigningRequestBuilder().subject_name(name("www.example.com"))
        text = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        assert refused(lambda: house.issue(middle, csr=text)) == [("CertificateNotIssuable", "csr")]

    def test_what_is_no_request_or_too_much_of_one_is_refused(self, house, middle):
        text, _ = request("www.example.com")
        with pytest.raises(Unprocessable, match="looks like"):
            house.issue(middle, csr="hello")
        for more in ({"csr_id": "x"}, {"algorithm": "ECC"}, {"key_size": 256}):
            with pytest.raises(InvalidRequest):
                house.issue(middle, csr=text, **more)
        huge, _ = request("www.example.com", *(f"{'x' * 60}-{n}.{'y' * 60}.example.com" for n in range(200)))
        with pytest.raises(TooLarge, match="at most 16384"):
            house.issue(middle, csr=huge)
