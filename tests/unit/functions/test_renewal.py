"""Renewal by a replacement: what it takes over, what becomes of the old one, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.csr import CsrSpec
from chalicelib.domain.errors import (
    CerthavenError,
    CertificateRefused,
    Conflict,
    DuplicateCertificate,
    NotFound,
)
from chalicelib.domain.findings import Severity
from chalicelib.domain.model import Certificate
from chalicelib.domain.reading import Bundle
from tests.support.authority import NOW
from tests.support.records import ACCOUNT, MANAGER, event
from tests.support.uploads import LEAF, MIDDLE, NEIGHBOUR, bundle, codes, issued_for


class TestRenewal:
    """One certificate in place of another."""

    @pytest.fixture
    def old(self, house) -> Certificate:
        held = house.upload(
            bundle(), name="shop", tags={"env": "live"}, resource_group="web", notifications=True, origin="drop#v1"
        )
        deployed = replace(held, deployed=True, version=held.version + 1)
        house.store.update(held, deployed, house.trail.events[-1])
        house.clock.advance(timedelta(days=1))
        return deployed

    NEW = MIDDLE.issue("www.example.com", "example.com", number=2, not_before=NOW)

    def test_the_new_one_takes_over_name_tags_group_notices_and_deployments(self, house, old):
        new = house.renew(old, bundle(self.NEW))
        assert (new.name, new.tags, new.resource_group) == ("shop", {"env": "live"}, "web")
        assert new.notifications
        assert new.deployed
        assert new.fingerprint == self.NEW.fingerprint
        assert house.store.get(ACCOUNT, new.id) == new

    def test_what_is_given_goes_before_what_is_taken_over(self, house, old):
        given = {"name": "new shop", "tags": {"x": "y"}, "resource_group": "", "notifications": False}
        new = house.renew(old, bundle(self.NEW), **given)
        assert {field: getattr(new, field) for field in given} == given
        assert house.store.get(ACCOUNT, old.id).name == "shop"

    def test_a_name_that_another_certificate_has_is_refused(self, house, old):
        house.upload(bundle(MIDDLE.issue("other.example.com", number=5)), name="other")
        with pytest.raises(Conflict, match="NameTaken"):
            house.renew(old, bundle(self.NEW), name="other")
        assert house.store.get(ACCOUNT, old.id) == old

    def test_a_wrong_replacement_that_was_deleted_may_be_replaced(self, house, old):
        wrong = house.renew(old, bundle(MIDDLE.issue("wrong.example.com", number=5)))
        house.store.delete(wrong, event())
        right = house.renew(house.store.get(ACCOUNT, old.id), bundle(self.NEW))
        assert right.name == "shop"
        assert house.store.get(ACCOUNT, old.id).replaced_by == right.id

    def test_each_names_the_other(self, house, old):
        new = house.renew(old, bundle(self.NEW))
        assert new.replaces == old.id
        assert house.store.get(ACCOUNT, old.id).replaced_by == new.id

    def test_the_old_one_stays_silent_under_a_name_that_says_so(self, house, old):
        house.renew(old, bundle(self.NEW))
        retired = house.store.get(ACCOUNT, old.id)
        assert retired.name == f"shop-replaced-{old.id[-6:].lower()}"
        assert not retired.notifications
        assert (retired.version, retired.updated_at) == (old.version + 1, house.clock())
        assert retired.fingerprint == LEAF.fingerprint
        assert house.opened(retired) == {"signing": LEAF.key.public_key()}

    def test_a_long_name_is_cut_for_the_suffix(self, house):
        old = house.upload(bundle(), name="n" * 63)
        house.renew(old, bundle(self.NEW))
        retired = house.store.get(ACCOUNT, old.id).name
        assert len(retired) == 63
        assert retired.endswith(f"-replaced-{old.id[-6:].lower()}")

    def test_the_new_key_is_sealed_for_the_new_certificate(self, house, old):
        new = house.renew(old, bundle(self.NEW))
        assert house.opened(new) == {"signing": self.NEW.key.public_key()}

    def test_the_trail_tells_what_replaced_what(self, house, old):
        new = house.renew(old, bundle(self.NEW))
        event = house.trail.events[-1]
        assert (event.action, event.target) == ("certificate.renew", new.id)
        assert event.detail == {"replaces": old.id, "name": "shop", "fingerprint": self.NEW.fingerprint}

    def test_a_replacement_can_be_replaced_in_its_turn(self, house, old):
        new = house.renew(old, bundle(self.NEW))
        third = house.renew(new, bundle(MIDDLE.issue("www.example.com", "example.com", number=3)))
        assert (third.name, third.replaces) == ("shop", new.id)
        assert len({c.name for c in house.store.certificates.values()}) == 3

    def test_what_was_replaced_is_not_replaced_again(self, house, old):
        new = house.renew(old, bundle(self.NEW))
        with pytest.raises(Conflict) as caught:
            house.renew(old, bundle(MIDDLE.issue("www.example.com", number=3)))
        assert caught.value.code == "AlreadyReplaced"
        assert new.id in caught.value.message

    def test_of_two_renewals_at_once_one_wins(self, house, old):
        rival = MIDDLE.issue("www.example.com", "example.com", number=3)
        house.store.rivals = [lambda: house.renew(old, bundle(rival))]
        with pytest.raises(Conflict) as caught:
            house.renew(old, bundle(self.NEW))
        assert caught.value.code == "ConcurrentChange"
        assert not house.holds(self.NEW)
        assert len(house.store.certificates) == 2

    def test_domains_that_the_replacement_does_not_cover_are_warned_of(self, house, old):
        new = house.renew(old, bundle(MIDDLE.issue("www.example.com", number=2)))
        (finding,) = house.material(new).findings
        assert (finding.code, finding.severity) == ("DomainsDiffer", Severity.WARNING)
        assert "does not cover example.com," in finding.message

    def test_of_many_lost_domains_the_first_are_named_and_the_rest_counted(self, house):
        old = house.upload(bundle(MIDDLE.issue(*(f"h{n}.example.com" for n in range(60)))))
        new = house.renew(old, bundle(MIDDLE.issue("h59.example.com", number=2)))
        message = house.material(new).findings[0].message
        assert "h4.example.com and 54 more" in message
        assert "h5.example.com" not in message

    def test_a_wildcard_in_place_of_its_hosts_covers_them(self, house, old):
        new = house.renew(old, bundle(MIDDLE.issue("*.example.com", "example.com", number=2)))
        assert codes(house.material(new).findings) == []

    def test_the_same_certificate_is_no_replacement(self, house, old):
        with pytest.raises(DuplicateCertificate) as caught:
            house.renew(old, bundle())
        assert caught.value.existing_id == old.id
        assert house.store.get(ACCOUNT, old.id) == old

    @pytest.mark.parametrize("given", [Bundle("?"), bundle(NEW, key=False), bundle(NEW, chain=None)])
    def test_a_bad_replacement_is_refused_and_the_old_one_untouched(self, house, old, given):
        before = dict(house.store.certificates)
        with pytest.raises(CertificateRefused):
            house.renew(old, given)
        assert house.store.certificates == before

    def test_a_certificate_of_another_account_is_not_found(self, house, old):
        with pytest.raises(NotFound) as foreign:
            house.renew(old, bundle(self.NEW), NEIGHBOUR)
        assert foreign.value.code == "NotFound"
        assert house.store.get(ACCOUNT, old.id) == old

    def test_the_key_of_a_request_made_here_is_found(self, house, old):
        request = house.csrs.create(MANAGER, CsrSpec("www.example.com", algorithm="ECC"))
        assert house.renew(old, bundle(issued_for(request), key=False)).has_private_key


def test_every_refusal_of_an_upload_has_a_message_and_a_hint(house):
    house.upload(bundle(), name="mine")
    other = MIDDLE.issue("b.example.com", number=2)
    for given, more in ((bundle(), {}), (bundle(other), {"name": "mine"}), (Bundle(), {}), (Bundle(LEAF.pem), {})):
        with pytest.raises(CerthavenError) as caught:
            house.upload(given, **more)
        assert caught.value.message
        assert caught.value.hint
