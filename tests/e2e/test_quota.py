"""The notification quota on the running service, with many requests at once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.authority import Authority

ISSUER = Authority.root()
MANY = 64
LEFT = 10
#: How many run in the emulator at a time: each is a process of its own there.
AT_ONCE = 16


@pytest.fixture
def tenant(stack, operator):
    """An account of its own, so that nobody else takes its units."""
    body = {"name": "Quota", "site": "china", "entity": {"id": "quota", "kind": "enterprise"}}
    made = operator.post("/v1/accounts", json=body).json()
    with stack.client(made["token"]) as client:
        yield client


def upload(client, number):
    end = datetime.now(UTC) + timedelta(days=200)
    leaf = ISSUER.issue(f"q{number}.example.com", not_before=end - timedelta(days=300), not_after=end)
    body = {"certificate": leaf.pem, "private_key": leaf.key_pem, "chain": ISSUER.pem}
    answer = client.post("/v1/certificates", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_of_64_simultaneous_requests_for_the_last_10_units_exactly_10_succeed(tenant):
    ids = [upload(tenant, number) for number in range(MANY)]
    remaining = tenant.get("/v1/notification-quota").json()["remaining"]
    first = ids[: remaining - LEFT]
    assert tenant.post("/v1/notifications/enable", json={"certificate_ids": first}).json()["remaining"] == LEFT
    extra = [upload(tenant, MANY + number) for number in range(len(first))]
    wanted = [one for one in ids if one not in first] + extra

    def switch_on(one):
        answer = tenant.patch(f"/v1/certificates/{one}", json={"notifications": True})
        return answer.status_code, answer.json().get("error", {}).get("code")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = Counter(pool.map(switch_on, wanted))
    assert outcomes == {(200, None): LEFT, (409, "QuotaInsufficient"): MANY - LEFT}
    assert tenant.get("/v1/notification-quota").json()["remaining"] == 0
    counts = tenant.get("/v1/pending-items").json()["counts"]
    assert counts["notification_disabled"] == MANY - LEFT
    assert tenant.post("/v1/notification-quota/purchases", json={"units": MANY}).status_code == 201
    done = tenant.post("/v1/notifications/enable", json={"filter": {}})
    assert done.json() == {"enabled": MANY - LEFT, "already_enabled": 0, "remaining": LEFT}
    assert tenant.get("/v1/pending-items").json()["counts"]["notification_disabled"] == 0
    assert tenant.get("/v1/summary").json()["total"] == len(ids) + len(extra)
