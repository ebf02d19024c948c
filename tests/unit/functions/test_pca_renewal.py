"""Renewal by the built-in CA: the same once more, with a new key, in the old one's place."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from chalicelib.api import events
from chalicelib.domain.certificate import ParsedCertificate
from tests.support.pca import parsed, request
from tests.support.service import Client, MemoryServices, fresh, tenant

CAS = "/v1/pca/cas"


@pytest.fixture
def services():
    return MemoryServices()


@pytest.fixture
def example(services):
    return tenant(Client(services))


@pytest.fixture
def ca(example):
    return example.admin.post(CAS, {"kind": "root", "common_name": "Root", "algorithm": "ECC"}).json["id"]


def held(services, example, ca, **body) -> dict:
    """A certificate of the CA in the inventory."""
    made = example.manager.post(f"{CAS}/{ca}/certificates", {"common_name": "a.example.com"} | body)
    assert made.status == 201, made.text
    example.manager.post("/v1/pca/sync-jobs", {"ca": ca})
    while tasks := services.sync_queue.take():
        for task in tasks:
            services.pca_batch_sync.run(task, last_try=False)
    listed = example.viewer.get(f"{CAS}/{ca}/certificates?limit=100").json["items"]
    (one,) = (c["certificate_id"] for c in listed if c["id"] == made.json["id"])
    return example.viewer.get(f"/v1/certificates/{one}").json


def renew(example, one: dict):
    return example.manager.post(f"/v1/certificates/{one['id']}/renewals", {})


def test_the_new_one_is_for_the_same_names_and_as_long_with_a_new_key(services, example, ca):
    old = held(services, example, ca, sans=["b.example.com"], usage="server", validity_days=30)
    services.clock.advance(timedelta(days=20))
    answer = renew(example, old)
    assert answer.status == 201, answer.text
    new = answer.json
    assert (new["domains"], new["source"], new["has_private_key"]) == (old["domains"], "pca", True)
    assert (new["days_left"], new["replaces"]) == (29, old["id"])
    one, other = (parsed(c["certificate_pem"]) for c in (old, new))
    assert one.public_key.fingerprint != other.public_key.fingerprint
    assert isinstance(other, ParsedCertificate)
    assert example.admin.get(f"/v1/certificates/{new['id']}/download").text.count("BEGIN") == 3


def test_it_takes_over_tags_and_a_name_like_the_old_one_which_stays(services, example, ca):
    old = held(services, example, ca)
    example.manager.patch(f"/v1/certificates/{old['id']}", {"tags": {"team": "web"}, "resource_group": "shop"})
    services.clock.advance(timedelta(days=20))
    new = renew(example, old).json
    assert (new["tags"], new["resource_group"]) == ({"team": "web"}, "shop")
    assert old["name"].startswith(new["name"])
    retired = example.viewer.get(f"/v1/certificates/{old['id']}").json
    assert (retired["name"], retired["replaced_by"]) == (old["name"], new["id"])


def test_a_name_that_was_chosen_is_taken_over(services, example, ca):
    old = held(services, example, ca)
    example.manager.patch(f"/v1/certificates/{old['id']}", {"name": "front"})
    new = renew(example, old).json
    assert new["name"] == "front"
    assert renew(example, old).code == "AlreadyReplaced"
    again = renew(example, new)
    assert (again.status, again.json["name"]) == (201, "front")


def test_synchronising_afterwards_brings_nothing_twice(services, example, ca):
    old = held(services, example, ca)
    new = renew(example, old).json
    job = example.manager.post("/v1/pca/sync-jobs", {"ca": ca}).json
    while tasks := services.sync_queue.take():
        for task in tasks:
            services.pca_batch_sync.run(task, last_try=False)
    job = example.viewer.get(f"/v1/pca/sync-jobs/{job['id']}").json
    assert (job["uploaded"], job["skipped"]) == (0, 2)
    assert {c["id"] for c in example.viewer.get("/v1/certificates").json["items"]} == {old["id"], new["id"]}


def test_it_lives_no_longer_than_its_ca(services, example):
    body = {"kind": "root", "common_name": "Short", "algorithm": "ECC", "validity_days": 40}
    ca = example.admin.post(CAS, body).json["id"]
    old = held(services, example, ca, validity_days=30)
    services.clock.advance(timedelta(days=20))
    assert renew(example, old).json["days_left"] == 18


def test_one_whose_key_lies_elsewhere_or_that_another_issued_is_not_renewed_here(services, example, ca):
    text, _ = request("c.example.com", "c.example.com")
    keyless = held(services, example, ca, common_name=None, csr=text)
    refused = renew(example, keyless)
    assert (refused.status, refused.code) == (400, "SourceCannotRenew")
    assert "CSR" in refused.json["error"]["hint"]
    uploaded = example.manager.post("/v1/certificates", fresh("d.example.com")[1]).json
    assert renew(example, uploaded).code == "SourceCannotRenew"


def test_a_revoked_ca_renews_nothing(services, example, ca):
    body = {"kind": "intermediate", "parent": ca, "common_name": "Below", "algorithm": "ECC"}
    below = example.admin.post(CAS, body).json["id"]
    old = held(services, example, below)
    example.admin.post(f"{CAS}/{below}/revocation", {})
    assert (renew(example, old).status, renew(example, old).code) == (409, "AuthorityNotActive")


def test_no_key_is_in_what_is_answered_or_told(services, example, ca):
    new = renew(example, held(services, example, ca)).json
    assert "PRIVATE KEY" not in json.dumps(new) + repr(services.audit_store.events)
    (event,) = (e for e in services.audit_store.events if e.action == "certificate.renew")
    assert event.target == new["id"]


class TestByItself:
    """Certificates that are told to renew in time."""

    def told(self, services, example, ca, **body) -> dict:
        one = held(services, example, ca, **({"validity_days": 30} | body))
        answer = example.manager.patch(f"/v1/certificates/{one['id']}", {"auto_renew": True})
        assert (answer.status, answer.json["auto_renew"]) == (200, True)
        return answer.json

    def inventory(self, example) -> dict[str, dict]:
        return {c["id"]: c for c in example.viewer.get("/v1/certificates").json["items"]}

    def test_it_is_renewed_at_a_third_of_its_lifetime_left_and_so_is_the_next_one(self, services, example, ca):
        old = self.told(services, example, ca)
        services.clock.advance(timedelta(days=18))
        assert events.pca_renewal(services, "request") == {"renewed": 0, "failed": 0}
        services.clock.advance(timedelta(days=2, hours=1))
        assert events.pca_renewal(services, "request") == {"renewed": 1, "failed": 0}
        assert events.pca_renewal(services, "request") == {"renewed": 0, "failed": 0}
        new = next(c for c in self.inventory(example).values() if c["replaces"] == old["id"])
        assert new["auto_renew"] is True
        (plan,) = services.renewal_store.plans.values()
        assert plan.certificate_id == new["id"]
        assert plan.at > services.clock() + timedelta(days=18)

    def test_renewals_of_many_are_spread(self, services, example, ca):
        for number in range(8):
            self.told(services, example, ca, common_name=f"h{number}.example.com")
        moments = {plan.at for plan in services.renewal_store.plans.values()}
        assert len(moments) == 8
        assert max(moments) - min(moments) <= timedelta(days=1)

    def test_one_that_is_no_longer_told_to_is_left_alone(self, services, example, ca):
        old = self.told(services, example, ca)
        example.manager.patch(f"/v1/certificates/{old['id']}", {"auto_renew": False})
        services.clock.advance(timedelta(days=21))
        assert events.pca_renewal(services, "request") == {"renewed": 0, "failed": 0}
        assert services.renewal_store.plans == {}
        assert len(self.inventory(example)) == 1

    def test_one_that_fails_says_why_and_is_tried_again(self, services, example, ca):
        body = {"kind": "intermediate", "parent": ca, "common_name": "Below", "algorithm": "ECC"}
        below = example.admin.post(CAS, body).json["id"]
        old = self.told(services, example, below)
        example.admin.post(f"{CAS}/{below}/revocation", {})
        services.clock.advance(timedelta(days=21))
        assert events.pca_renewal(services, "request") == {"renewed": 0, "failed": 1}
        assert events.pca_renewal(services, "request") == {"renewed": 0, "failed": 0}
        assert self.inventory(example)[old["id"]]["renewal_problem"] == "AuthorityNotActive"
        waits = []
        for _ in range(7):
            (plan,) = services.renewal_store.plans.values()
            waits.append(plan.at - services.clock())
            services.clock.now = plan.at
            assert events.pca_renewal(services, "request") == {"renewed": 0, "failed": 1}
        assert waits == [timedelta(hours=h) for h in (1, 2, 4, 8, 16, 24, 24)]
        assert {e.result for e in services.audit_store.events if e.action == "certificate.renew"} == {
            "AuthorityNotActive"
        }

    def test_one_that_fails_unforeseen_says_so_is_tried_again_and_makes_the_run_fail(self, services, example, ca):
        old = self.told(services, example, ca)
        services.clock.advance(timedelta(days=21))
        keys = services.authority_store.keys
        services.authority_store.keys = lambda *_: (_ for _ in ()).throw(ValueError("no key text here"))
        with pytest.raises(ExceptionGroup):
            events.pca_renewal(services, "request")
        assert self.inventory(example)[old["id"]]["renewal_problem"] == "InternalError"
        services.authority_store.keys = keys
        (plan,) = services.renewal_store.plans.values()
        services.clock.now = plan.at
        assert events.pca_renewal(services, "request") == {"renewed": 1, "failed": 0}

    def test_a_run_that_was_killed_after_the_renewal_is_completed_by_the_next(self, services, example, ca):
        old = self.told(services, example, ca)
        services.clock.advance(timedelta(days=21))
        new = renew(example, old).json
        assert events.pca_renewal(services, "request") == {"renewed": 0, "failed": 0}
        (plan,) = services.renewal_store.plans.values()
        assert plan.certificate_id == new["id"]
        assert len(self.inventory(example)) == 2

    def test_one_that_cannot_be_renewed_here_is_not_told_to(self, services, example):
        uploaded = example.manager.post("/v1/certificates", fresh("d.example.com")[1]).json
        answer = example.manager.patch(f"/v1/certificates/{uploaded['id']}", {"auto_renew": True})
        assert (answer.status, answer.code) == (400, "SourceCannotRenew")
        assert example.manager.patch(f"/v1/certificates/{uploaded['id']}", {"auto_renew": False}).status == 200

    def test_one_that_was_deleted_or_revoked_is_left_alone(self, services, example, ca):
        gone, revoked = (self.told(services, example, ca, common_name=f"{n}.example.com") for n in ("gone", "revoked"))
        example.admin.delete(f"/v1/certificates/{gone['id']}?confirm={gone['name']}")
        example.manager.post(f"/v1/pca/certificates/{revoked['id']}/revocation", {})
        services.clock.advance(timedelta(days=21))
        assert events.pca_renewal(services, "request") == {"renewed": 0, "failed": 0}
        assert services.renewal_store.plans == {}
