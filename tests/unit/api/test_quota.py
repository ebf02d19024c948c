"""The notification quota over HTTP."""

from __future__ import annotations

import pytest

from chalicelib.config import Settings
from tests.support.service import Client, MemoryServices, operator, tenant, uploaded


@pytest.fixture
def few(services):
    """An account's services with two free units."""
    services.quota_store.free = 2
    return services


def figures(client):
    return client.get("/v1/notification-quota").json


def test_units_go_with_notices_and_come_back(few, example):
    made = uploaded(example.manager, "a.example.com")
    assert figures(example.viewer) == {"remaining": 2, "required": 1, "total": 2, "used": 0}
    example.manager.patch(f"/v1/certificates/{made['id']}", {"notifications": True})
    assert figures(example.viewer) == {"remaining": 1, "required": 0, "total": 2, "used": 1}
    assert example.viewer.get("/v1/pending-items").json["quota"] == {"remaining": 1, "required": 0}
    example.manager.patch(f"/v1/certificates/{made['id']}", {"notifications": False})
    assert figures(example.viewer)["remaining"] == 2


def test_what_does_not_fit_is_refused_with_what_remains_and_is_required(few, example):
    held = [uploaded(example.manager, "a.example.com", number=number)["id"] for number in (1, 2, 3)]
    answer = example.manager.post("/v1/notifications/enable", {"certificate_ids": held})
    assert (answer.status, answer.code) == (409, "QuotaInsufficient")
    assert (answer.json["error"]["remaining"], answer.json["error"]["required"]) == (2, 3)
    assert "purchases" in answer.json["error"]["hint"]
    assert figures(example.viewer)["used"] == 0
    bought = example.admin.post("/v1/notification-quota/purchases", {"units": 1})
    assert (bought.status, bought.json["state"]) == (201, "fulfilled")
    answer = example.manager.post("/v1/notifications/enable", {"certificate_ids": held})
    assert answer.json == {"enabled": 3, "already_enabled": 0, "remaining": 0}
    assert answer.status == 200


def test_an_upload_with_notices_and_no_unit_is_refused_whole(few, example):
    few.quota_store.free = 0
    made = uploaded(example.manager, "a.example.com")
    answer = example.manager.patch(f"/v1/certificates/{made['id']}", {"notifications": True})
    assert (answer.status, answer.code) == (409, "QuotaInsufficient")
    assert not example.viewer.get(f"/v1/certificates/{made['id']}").json["notifications"]


def test_other_refusals_say_nothing_of_units(example):
    assert set(example.viewer.get("/v1/certificates/nothing").json["error"]) == {
        "code",
        "message",
        "hint",
        "findings",
        "request_id",
    }


def test_a_filter_switches_on_what_is_pending(few, example):
    uploaded(example.manager, "a.example.com")
    uploaded(example.manager, "b.example.com", number=2, fields={"resource_group": "web"})
    answer = example.manager.post("/v1/notifications/enable", {"filter": {"resource_group": "web"}})
    assert answer.json["enabled"] == 1
    assert example.manager.post("/v1/notifications/enable", {"filter": {}}).json["enabled"] == 1


@pytest.mark.parametrize(
    "body", [{}, {"certificate_ids": []}, {"certificate_ids": ["a"], "filter": {}}, {"filter": {"limit": 3}}]
)
def test_neither_or_both_or_other_ways_to_name_certificates_are_refused(example, body):
    answer = example.manager.post("/v1/notifications/enable", body)
    assert (answer.status, answer.code) == (400, "InvalidRequest")


def test_a_foreign_certificate_is_not_found_and_nothing_is_done(few, example, other):
    own = uploaded(example.manager, "a.example.com")["id"]
    theirs = uploaded(other.manager, "a.example.com")["id"]
    answer = example.manager.post("/v1/notifications/enable", {"certificate_ids": [own, theirs + "x"]})
    assert (answer.status, answer.code) == (404, "NotFound")
    assert figures(example.viewer)["used"] == 0


@pytest.mark.parametrize("units", [0, -1, 1.5, "7", 100_001, None])
def test_units_are_ordered_in_whole_numbers_within_reason(example, units):
    answer = example.admin.post("/v1/notification-quota/purchases", {"units": units})
    assert (answer.status, answer.code) == (400, "InvalidRequest")


def test_the_operator_fulfils_or_declines_what_waits():
    services = MemoryServices()
    services.settings = Settings(stage="test", quota_fulfilment="operator")
    services.quota_store.free = 0
    client = Client(services)
    example, platform = tenant(client), operator(client)
    waiting = [example.admin.post("/v1/notification-quota/purchases", {"units": 7}).json for _ in range(2)]
    assert {one["state"] for one in waiting} == {"open"}
    listed = platform.get("/v1/quota-purchases").json["items"]
    assert {one["id"] for one in listed} == {one["id"] for one in waiting}
    for one, state in zip(waiting, ("fulfilled", "declined"), strict=True):
        place = f"/v1/accounts/{example.account_id}/quota-purchases/{one['id']}"
        answer = platform.patch(place, {"state": state})
        assert (answer.status, answer.json["state"]) == (200, state)
        again = platform.patch(place, {"state": "fulfilled"})
        assert (again.status, again.code) == (409, "PurchaseClosed")
    assert figures(example.viewer)["remaining"] == 7
    assert platform.get("/v1/quota-purchases").json["items"] == []
    assert len(example.viewer.get("/v1/notification-quota/purchases").json["items"]) == 2
    theirs = [e["action"] for e in example.admin.get("/v1/audit-events").json["items"]]
    assert theirs.count("quota.close") == 2
