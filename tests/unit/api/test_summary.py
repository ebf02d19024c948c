"""Pending items and the dashboard's figures over HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.authority import NOW, self_signed
from tests.support.records import event, material, record
from tests.support.service import pages, uploaded

KINDS = ("notification_disabled", "not_deployed", "pending_renewal", "risk")


def counts(client) -> tuple[int, ...]:
    answer = client.get("/v1/pending-items")
    assert answer.status == 200
    assert set(answer.json) == {"counts", "quota", "snoozed_until"}
    return tuple(answer.json["counts"][kind] for kind in KINDS)


def test_an_empty_account_has_nothing_pending_and_figures_of_nothing(example):
    assert counts(example.viewer) == (0, 0, 0, 0)
    found = example.viewer.get("/v1/summary").json
    assert (found["total"], found["by_algorithm"]) == (0, [])
    assert found["by_status"] == {"issued": 0, "to_be_renewed": 0, "expired": 0, "revoked": 0}
    assert found["by_source"] == {"upload": 0, "pca": 0, "official": 0, "shared": 0}


def test_an_upload_is_pending_until_it_is_told_of_and_deployed(services, example):
    made = uploaded(example.manager, "a.example.com", days=36)
    assert counts(example.viewer) == (1, 1, 0, 0)
    example.manager.patch(f"/v1/certificates/{made['id']}", {"notifications": True})
    assert counts(example.viewer) == (0, 1, 0, 0)
    services.clock.advance(timedelta(days=15))
    assert counts(example.viewer) == (0, 1, 1, 0)
    services.clock.advance(timedelta(days=12))
    assert counts(example.viewer) == (0, 0, 0, 0)


def test_a_certificate_with_a_risk_is_pending(example):
    leaf = self_signed("a.example.com")
    body = {"certificate": leaf.pem, "private_key": leaf.key_pem, "notifications": True}
    assert example.manager.post("/v1/certificates", body).status == 201
    assert counts(example.viewer)[3] == 1
    (item,) = example.viewer.get("/v1/pending-items/risk").json["items"]
    assert "SelfSigned" in {risk["code"] for risk in item["risks"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_pending_items_is_paged_and_as_long_as_its_figure(services, example, kind):
    for days in (1, 3, 200, 300, 500):
        made = record(
            account_id=example.account_id,
            not_before=NOW - timedelta(days=100),
            not_after=NOW + timedelta(days=days),
            risks=("SelfSigned",),
            renewal_problem="NotFound" if days == 300 else None,
        )
        services.certificate_store.add(made, material(made), event(example.account_id))
    found = pages(example.viewer, f"/v1/pending-items/{kind}", limit=2)
    ids = [item["id"] for page in found for item in page]
    assert ids == sorted(set(ids))
    assert len(ids) == counts(example.viewer)[KINDS.index(kind)] == (3 if kind == "pending_renewal" else 5)


def test_an_unknown_kind_is_not_found(example):
    answer = example.viewer.get("/v1/pending-items/other")
    assert (answer.status, answer.code) == (404, "NotFound")
    assert "pending_renewal" in answer.json["error"]["hint"]


def test_a_cursor_of_one_kind_is_refused_by_another(example):
    for number in (1, 2):
        uploaded(example.manager, "a.example.com", number=number)
    cursor = example.viewer.get("/v1/pending-items/not_deployed?limit=1").json["next_cursor"]
    answer = example.viewer.get(f"/v1/pending-items/notification_disabled?limit=1&cursor={cursor}")
    assert (answer.status, answer.code) == (400, "InvalidCursor")


def test_pending_items_are_put_off_for_seven_days_or_as_many_as_asked_for(example):
    for body, until in (({}, "2026-06-22"), ({"days": 1}, "2026-06-16"), ({"days": 30}, "2026-07-15")):
        answer = example.manager.post("/v1/pending-items/snooze", body)
        assert answer.status == 200
        assert answer.json["snoozed_until"].startswith(until)
        assert example.viewer.get("/v1/pending-items").json["snoozed_until"] == answer.json["snoozed_until"]
    assert example.manager.delete("/v1/pending-items/snooze").status == 204
    assert example.viewer.get("/v1/pending-items").json["snoozed_until"] is None
    assert example.manager.delete("/v1/pending-items/snooze").status == 204


@pytest.mark.parametrize("days", [0, 31, -1, 1.5, "7", None])
def test_pending_items_are_put_off_for_one_to_thirty_days(example, days):
    answer = example.manager.post("/v1/pending-items/snooze", {"days": days})
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert example.viewer.get("/v1/pending-items").json["snoozed_until"] is None


def test_the_dashboard_shows_statuses_sources_algorithms_and_weeks(services, example):
    uploaded(example.manager, "a.example.com")
    uploaded(example.manager, "b.example.com", number=2, kind="rsa2048")
    uploaded(example.manager, "c.example.com", number=3, days=20)
    services.clock.advance(timedelta(days=5))
    found = example.viewer.get("/v1/summary").json
    assert found["total"] == 3
    assert found["by_status"] == {"issued": 2, "to_be_renewed": 1, "expired": 0, "revoked": 0}
    assert found["by_source"]["upload"] == 3
    assert found["by_algorithm"] == [
        {"algorithm": "ECDSA", "key_size": 256, "certificates": 2},
        {"algorithm": "RSA", "key_size": 2048, "certificates": 1},
    ]
    assert len(found["by_week"]) == 53
    assert found["by_week"][0]["start"] == "2026-06-15"
    assert sum(week["certificates"] for week in found["by_week"]) == 3
    assert found["as_of"].startswith("2026-06-20T")


@pytest.mark.parametrize(
    ("before", "status"), [(timedelta(seconds=1), "issued"), (timedelta(0), "to_be_renewed")], ids=["before", "then"]
)
def test_statuses_are_right_to_the_second_in_figures_and_lists(services, example, before, status):
    begin, end = NOW - timedelta(days=100), NOW + timedelta(days=40)
    made = record(account_id=example.account_id, not_before=begin, not_after=end)
    services.certificate_store.add(made, material(made), event(example.account_id))
    services.clock.now = end - timedelta(days=30) - before
    assert example.viewer.get("/v1/summary").json["by_status"][status] == 1
    assert len(example.viewer.get(f"/v1/certificates?status={status}").json["items"]) == 1


def test_another_account_has_figures_of_its_own(example, other):
    uploaded(example.manager, "a.example.com")
    example.manager.post("/v1/pending-items/snooze", {})
    assert counts(other.viewer) == (0, 0, 0, 0)
    assert other.viewer.get("/v1/pending-items").json["snoozed_until"] is None
    assert other.viewer.get("/v1/summary").json["total"] == 0
    for kind in KINDS:
        assert other.viewer.get(f"/v1/pending-items/{kind}").json == {"items": [], "next_cursor": None}
