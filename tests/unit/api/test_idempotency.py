"""Idempotency-Key: a repeated request is answered from memory, and changes nothing again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.fakes import MemoryCertificateStore
from tests.support.service import Client, MemoryServices, fresh, tenant, uploaded

UPLOAD = "/v1/certificates"
KEY = {"Idempotency-Key": "once"}
TOKEN = {"name": "ci", "role": "viewer"}


def test_a_repeated_request_gets_the_same_answer_and_says_so(services, example):
    _, body = fresh("a.example.com")
    first = example.manager.post(UPLOAD, body, headers=KEY)
    again = example.manager.post(UPLOAD, body, headers=KEY)
    assert (first.status, again.status) == (201, 201)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(services.certificate_store.certificates) == 1


def test_a_repeat_is_remembered_as_it_was_though_things_have_changed_since(example):
    made = uploaded(example.manager, "a.example.com")
    path = f"{UPLOAD}/{made['id']}"
    first = example.manager.patch(path, {"name": "one"}, headers=KEY)
    example.manager.patch(path, {"name": "two"})
    assert example.manager.patch(path, {"name": "one"}, headers=KEY).content == first.content
    assert example.viewer.get(path).json["name"] == "two"


def test_a_repeated_deletion_answers_as_the_first_did(example):
    made = uploaded(example.manager, "a.example.com")
    path = f"{UPLOAD}/{made['id']}?confirm={made['name']}"
    answers = [example.admin.delete(path, headers=KEY) for _ in range(2)]
    assert [a.status for a in answers] == [204, 204]
    assert [a.content for a in answers] == [b"", b""]
    assert example.admin.delete(path).status == 404


def test_the_same_key_for_another_body_is_refused(services, example):
    assert example.manager.post(UPLOAD, fresh("a.example.com")[1], headers=KEY).status == 201
    answer = example.manager.post(UPLOAD, fresh("b.example.com")[1], headers=KEY)
    assert (answer.status, answer.code) == (409, "IdempotencyKeyReused")
    assert len(services.certificate_store.certificates) == 1


def test_the_same_key_for_another_query_is_refused(example):
    made = uploaded(example.manager, "a.example.com")
    path = f"{UPLOAD}/{made['id']}"
    assert example.admin.delete(f"{path}?confirm={made['name']}", headers=KEY).status == 204
    assert example.admin.delete(f"{path}?confirm=other", headers=KEY).code == "IdempotencyKeyReused"


def test_the_same_key_for_another_thing_is_another_request(example):
    one, two = (uploaded(example.manager, f"{name}.example.com") for name in "ab")
    for made in (one, two):
        answer = example.manager.patch(f"{UPLOAD}/{made['id']}", {"notifications": True}, headers=KEY)
        assert (answer.status, answer.json["id"]) == (200, made["id"])


@pytest.mark.parametrize("whose", ["another account's", "another token's"])
def test_the_same_key_of_another_caller_is_another_request(services, example, other, whose):
    first = example.admin.post("/v1/csrs", {"algorithm": "ECC", "common_name": "a.example.com"}, headers=KEY)
    caller = other.admin if whose == "another account's" else example.manager
    second = caller.post("/v1/csrs", {"algorithm": "ECC", "common_name": "a.example.com"}, headers=KEY)
    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] != second.json["id"]
    assert "idempotency-replayed" not in second.headers
    assert len(services.csr_store.csrs) == 2


def test_a_secret_is_not_shown_again_and_not_made_twice(services, example):
    before = len(services.account_store.by_digest)
    first = example.admin.post("/v1/tokens", TOKEN, headers=KEY)
    again = example.admin.post("/v1/tokens", TOKEN, headers=KEY)
    assert first.status == 201
    assert (again.status, again.code) == (409, "IdempotencySecretShown")
    assert first.json["token"] not in again.text
    assert len(services.account_store.by_digest) == before + 1


def test_a_secret_is_not_kept_for_a_repeat(services, example):
    token = example.admin.post("/v1/tokens", TOKEN, headers=KEY).json["token"]
    assert token not in repr(services.idempotency.claims)


def test_a_refused_request_may_be_repeated_when_the_cause_is_mended(example):
    taken = uploaded(example.manager, "a.example.com", fields={"name": "mine"})
    _, body = fresh("b.example.com", fields={"name": "mine"})
    assert example.manager.post(UPLOAD, body, headers=KEY).code == "NameTaken"
    example.admin.delete(f"{UPLOAD}/{taken['id']}?confirm=mine")
    answer = example.manager.post(UPLOAD, body, headers=KEY)
    assert answer.status == 201
    assert "idempotency-replayed" not in answer.headers


def test_a_request_that_was_not_understood_may_be_mended_under_the_same_key(example):
    assert example.manager.post(UPLOAD, {"certificate": 1}, headers=KEY).status == 400
    assert example.manager.post(UPLOAD, fresh("a.example.com")[1], headers=KEY).status == 201


class FailsOnce(MemoryCertificateStore):
    failed = False

    def add(self, *arguments):
        if not self.failed:
            self.failed = True
            raise RuntimeError("not now")
        super().add(*arguments)


def test_a_request_that_the_service_failed_at_may_be_repeated():
    services = MemoryServices()
    services.certificate_store = FailsOnce(services.audit_store)
    manager = tenant(Client(services)).manager
    _, body = fresh("a.example.com")
    assert [manager.post(UPLOAD, body, headers=KEY).status for _ in range(3)] == [500, 201, 201]
    assert len(services.certificate_store.certificates) == 1


def test_a_repeat_while_the_first_still_runs_is_refused():
    meanwhile = []

    class Slow(MemoryCertificateStore):
        def add(self, *arguments):
            meanwhile.append(manager.post(UPLOAD, body, headers=KEY))
            super().add(*arguments)

    services = MemoryServices()
    services.certificate_store = Slow(services.audit_store)
    manager = tenant(Client(services)).manager
    _, body = fresh("a.example.com")
    assert manager.post(UPLOAD, body, headers=KEY).status == 201
    assert [(a.status, a.code) for a in meanwhile] == [(409, "IdempotencyInProgress")]


def test_an_answer_is_forgotten_after_a_day(services, example):
    _, body = fresh("a.example.com")
    example.manager.post(UPLOAD, body, headers=KEY)
    services.clock.advance(timedelta(hours=23))
    assert example.manager.post(UPLOAD, body, headers=KEY).status == 201
    services.clock.advance(timedelta(hours=2))
    assert example.manager.post(UPLOAD, body, headers=KEY).code == "DuplicateCertificate"


@pytest.mark.parametrize(("length", "status"), [(0, 400), (1, 201), (255, 201), (256, 400), (5000, 400)])
def test_a_key_has_1_to_255_characters(example, length, status):
    answer = example.manager.post(UPLOAD, fresh("a.example.com")[1], headers={"Idempotency-Key": "k" * length})
    assert answer.status == status
    assert status == 201 or answer.code == "InvalidParameter"


def test_reading_takes_no_notice_of_a_key(example):
    uploaded(example.manager, "a.example.com")
    for wanted in (1, 2):
        assert len(example.viewer.get(UPLOAD, headers=KEY).json["items"]) == wanted
        uploaded(example.manager, f"b{wanted}.example.com")


def test_a_download_is_never_remembered(services, example):
    made = uploaded(example.manager, "a.example.com")
    for _ in range(2):
        answer = example.admin.get(f"{UPLOAD}/{made['id']}/download", headers=KEY)
        assert "BEGIN PRIVATE KEY" in answer.text
    assert services.idempotency.claims == {}


def test_who_lost_the_role_gets_no_remembered_answer(example):
    token = example.admin.post("/v1/tokens", {"name": "ci", "role": "manager"}).json
    _, body = fresh("a.example.com")
    ci = example.admin.with_token(token["token"])
    assert ci.post(UPLOAD, body, headers=KEY).status == 201
    example.admin.delete(f"/v1/tokens/{token['id']}")
    answer = ci.post(UPLOAD, body, headers=KEY)
    assert (answer.status, answer.code) == (401, "TokenRevoked")
