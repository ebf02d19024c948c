"""Tokens, accounts, me and the audit trail over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.support.authority import NOW
from tests.support.service import Client, fresh, operator, pages, uploaded

CI = {"name": "ci", "role": "manager"}
ACCOUNT = {"name": "Shop", "site": "china", "entity": {"id": "entity-7", "kind": "individual", "verified": True}}


@pytest.fixture
def boss(client) -> Client:
    return operator(client)


class TestMe:
    @pytest.mark.parametrize("role", ["viewer", "manager", "admin"])
    def test_says_whose_token_it_is(self, example, role):
        answer = getattr(example, role).get("/v1/me")
        assert answer.status == 200
        assert answer.json["role"] == role
        account = answer.json["account"]
        assert (account["id"], account["name"], account["site"]) == (example.account_id, "Example", "international")
        assert account["entity"] == {"id": "entity-1", "kind": "enterprise", "verified": True}

    def test_the_operator_is_told_so(self, boss):
        answer = boss.get("/v1/me")
        assert (answer.status, answer.json["role"]) == (200, "operator")

    def test_an_account_has_sixteen_digits(self, example):
        assert len(example.account_id) == 16
        assert example.account_id.isdecimal()


class TestTokens:
    def test_a_token_is_shown_once_and_kept_as_a_digest(self, services, example):
        answer = example.admin.post("/v1/tokens", CI)
        assert answer.status == 201
        token = answer.json["token"]
        assert (answer.json["name"], answer.json["role"]) == ("ci", "manager")
        listed = example.admin.get("/v1/tokens")
        assert answer.json["id"] in {item["id"] for item in listed.json["items"]}
        assert not any("token" in item or "digest" in item for item in listed.json["items"])
        assert token not in listed.text
        assert token not in repr(services.account_store.by_digest)

    @pytest.mark.parametrize("role", ["viewer", "manager", "admin"])
    def test_a_new_token_works_at_once_in_its_role(self, example, role):
        token = example.admin.post("/v1/tokens", {"name": "ci", "role": role}).json["token"]
        assert example.admin.with_token(token).get("/v1/me").json["role"] == role

    @pytest.mark.parametrize(
        ("given", "days"), [({}, 365), ({"expires_in_days": 1}, 1), ({"expires_in_days": 3650}, 3650)]
    )
    def test_it_lives_as_long_as_asked(self, example, given, days):
        made = example.admin.post("/v1/tokens", CI | given).json
        assert datetime.fromisoformat(made["expires_at"]) == NOW + timedelta(days=days)

    def test_a_revoked_token_is_refused_at_once(self, example):
        made = example.admin.post("/v1/tokens", CI).json
        caller = example.admin.with_token(made["token"])
        assert caller.get("/v1/me").status == 200
        answer = example.admin.delete(f"/v1/tokens/{made['id']}")
        assert (answer.status, answer.content) == (204, b"")
        refused = caller.get("/v1/me")
        assert (refused.status, refused.code) == (401, "TokenRevoked")
        (item,) = [i for i in example.admin.get("/v1/tokens").json["items"] if i["id"] == made["id"]]
        assert item["revoked_at"] is not None

    def test_revoking_again_changes_nothing(self, services, example):
        made = example.admin.post("/v1/tokens", CI).json
        example.admin.delete(f"/v1/tokens/{made['id']}")
        first = example.admin.get("/v1/tokens").json
        services.clock.advance(timedelta(minutes=1))
        assert example.admin.delete(f"/v1/tokens/{made['id']}").status == 204
        assert example.admin.get("/v1/tokens").json == first

    def test_an_unknown_one_is_not_found(self, example):
        answer = example.admin.delete("/v1/tokens/01ARZ3NDEKTSV4RRFFQ69G5FAV")
        assert (answer.status, answer.code) == (404, "NotFound")

    def test_an_admin_cannot_make_an_operator(self, services, example):
        before = len(services.account_store.by_digest)
        answer = example.admin.post("/v1/tokens", {"name": "up", "role": "operator"})
        assert (answer.status, answer.code) == (403, "RoleInsufficient")
        assert len(services.account_store.by_digest) == before
        last = services.audit_store.events[-1]
        assert (last.action, last.result) == ("token.create", "RoleInsufficient")

    @pytest.mark.parametrize("role", ["viewer", "manager", "admin"])
    def test_an_operator_makes_operators_only(self, boss, role):
        assert boss.post("/v1/tokens", {"name": "down", "role": role}).code == "RoleInsufficient"
        token = boss.post("/v1/tokens", {"name": "second", "role": "operator"}).json["token"]
        assert boss.with_token(token).get("/v1/accounts").status == 200

    def test_the_list_is_newest_first_and_notes_the_last_use(self, services, example):
        services.clock.advance(timedelta(minutes=10))
        made = example.admin.post("/v1/tokens", CI).json
        services.clock.advance(timedelta(minutes=10))
        assert example.admin.get("/v1/tokens").json["items"][0]["last_used_at"] is None
        example.admin.with_token(made["token"]).get("/v1/me")
        newest = example.admin.get("/v1/tokens").json["items"][0]
        assert newest["id"] == made["id"]
        assert datetime.fromisoformat(newest["last_used_at"]) == NOW + timedelta(minutes=20)


class TestAccounts:
    def test_a_new_account_comes_with_its_first_admin(self, boss):
        answer = boss.post("/v1/accounts", ACCOUNT)
        assert answer.status == 201
        made = answer.json
        assert {name: made[name] for name in ACCOUNT} == ACCOUNT
        admin = boss.with_token(made["token"])
        assert admin.get("/v1/me").json["role"] == "admin"
        assert admin.get("/v1/me").json["account"]["id"] == made["id"]
        assert made["token"] not in boss.get("/v1/accounts").text

    def test_an_entity_is_unverified_unless_said_otherwise(self, boss):
        made = boss.post("/v1/accounts", ACCOUNT | {"entity": {"id": "entity-7", "kind": "enterprise"}}).json
        assert made["entity"]["verified"] is False

    @pytest.mark.parametrize(
        "change",
        [
            {"name": ""},
            {"site": "moon"},
            {"entity": {}},
            {"entity": {"id": "", "kind": "enterprise"}},
            {"entity": {"id": "a", "kind": "company"}},
            {"entity": {"id": "a", "kind": "enterprise", "verified": "yes"}},
            {"id": "1000000000000001"},
        ],
        ids=str,
    )
    def test_an_account_that_is_not_one_is_refused(self, boss, change):
        answer = boss.post("/v1/accounts", ACCOUNT | change)
        assert (answer.status, answer.code) == (400, "InvalidRequest")
        assert boss.get("/v1/accounts").json["items"] == []

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"name": "New"}, {"name": "New"}),
            ({"site": "international"}, {"site": "international"}),
            ({"entity": {"verified": False}}, {"entity": ACCOUNT["entity"] | {"verified": False}}),
            ({"entity": {"id": "entity-8"}}, {"entity": ACCOUNT["entity"] | {"id": "entity-8"}}),
            ({"entity": {"kind": "enterprise"}}, {"entity": ACCOUNT["entity"] | {"kind": "enterprise"}}),
        ],
        ids=str,
    )
    def test_a_change_leaves_the_rest(self, boss, change, expected):
        made = boss.post("/v1/accounts", ACCOUNT).json
        answer = boss.patch(f"/v1/accounts/{made['id']}", change)
        assert answer.status == 200
        assert {name: answer.json[name] for name in ACCOUNT} == ACCOUNT | expected
        assert boss.with_token(made["token"]).get("/v1/me").json["account"] == answer.json

    @pytest.mark.parametrize("change", [{}, {"entity": {}}, {"id": "7"}])
    def test_a_change_of_nothing_is_refused(self, boss, change):
        made = boss.post("/v1/accounts", ACCOUNT).json
        answer = boss.patch(f"/v1/accounts/{made['id']}", change)
        assert (answer.status, answer.code) == (400, "InvalidRequest")

    def test_the_list_pages_through_all_tenants_and_leaves_the_platform_out(self, boss):
        made = {boss.post("/v1/accounts", ACCOUNT).json["id"] for _ in range(5)}
        seen = [item["id"] for page in pages(boss, "/v1/accounts", limit=2) for item in page]
        assert sorted(seen) == sorted(made)

    def test_who_lost_every_token_gets_an_admins_from_the_operator(self, boss, example):
        place = f"/v1/accounts/{example.account_id}/tokens"
        assert boss.post(place, {"name": "way back"}).code == "AdminTokenExists"
        example.admin.delete(f"/v1/tokens/{example.admin.get('/v1/me').json['token_id']}")
        answer = boss.post(place, {"name": "way back"})
        assert (answer.status, answer.json["role"]) == (201, "admin")
        back = boss.with_token(answer.json["token"])
        found = back.get("/v1/me").json
        assert (found["account"]["id"], found["role"]) == (example.account_id, "admin")
        trail = back.get("/v1/audit-events").json["items"]
        assert (trail[0]["action"], trail[0]["role"]) == ("token.create", "operator")

    @pytest.mark.parametrize("method", ["PATCH", "POST"])
    def test_an_unknown_account_is_not_found(self, boss, method):
        path = "/v1/accounts/9999999999999999" + ("/tokens" if method == "POST" else "")
        answer = boss.request(method, path, body={"name": "a"})
        assert (answer.status, answer.code) == (404, "NotFound")


class TestAudit:
    SHAPE = {"id", "at", "actor", "role", "action", "target", "source_ip", "request_id", "result", "detail"}  # noqa: RUF012

    def test_tells_newest_first_who_did_what_with_what_result(self, services, example):
        made = uploaded(example.manager, "a.example.com", fields={"name": "mine"})
        steps = [
            (example.manager, "PATCH", f"/v1/certificates/{made['id']}", {"notifications": True}),
            (example.manager, "DELETE", f"/v1/certificates/{made['id']}?confirm=mine", None),
            (example.admin, "GET", f"/v1/certificates/{made['id']}/download", None),
            (example.manager, "POST", "/v1/certificates", fresh("a.example.com", number=2)[1] | {"private_key": "x"}),
            (example.admin, "DELETE", f"/v1/certificates/{made['id']}?confirm=mine", None),
        ]
        for caller, method, path, body in steps:
            services.clock.advance(timedelta(seconds=1))
            caller.request(method, path, body=body)
        events = example.admin.get("/v1/audit-events?limit=5").json["items"]
        assert all(set(event) == self.SHAPE for event in events)
        assert [(e["action"], e["role"], e["target"], e["result"]) for e in events] == [
            ("certificate.delete", "admin", made["id"], "ok"),
            ("certificate.upload", "manager", "", "PrivateKeyFormatIncorrect"),
            ("certificate.download", "admin", made["id"], "ok"),
            ("certificate.delete", "manager", made["id"], "RoleInsufficient"),
            ("certificate.change", "manager", made["id"], "ok"),
        ]
        assert datetime.fromisoformat(events[0]["at"]) == NOW + timedelta(seconds=5)
        assert {e["source_ip"] for e in events} == {"192.0.2.1"}
        admin = example.admin.get("/v1/me").json["token_id"]
        assert [e["actor"] == admin for e in events] == [True, False, True, False, False]

    def test_reading_leaves_no_trace_in_it(self, example):
        first = example.admin.get("/v1/audit-events").json
        for path in ("/v1/certificates", "/v1/csrs", "/v1/tokens", "/v1/me"):
            example.admin.get(path)
        assert example.admin.get("/v1/audit-events").json == first

    def test_pages_follow_each_other(self, services, example):
        for number in range(5):
            services.clock.advance(timedelta(seconds=1))
            example.admin.post("/v1/tokens", CI | {"name": f"ci-{number}"})
        whole = [event["id"] for event in example.admin.get("/v1/audit-events").json["items"]]
        found = pages(example.admin, "/v1/audit-events", limit=3)
        assert [event["id"] for page in found for event in page] == whole
        assert [len(page) for page in found] == [3, 3, 2]
        assert whole == sorted(whole, reverse=True)

    @pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
    def test_nothing_can_be_changed_in_it(self, example, method):
        before = example.admin.get("/v1/audit-events").json
        assert example.admin.request(method, "/v1/audit-events", body={}).status >= 400
        assert example.admin.get("/v1/audit-events").json == before


class TestHealth:
    def test_says_that_the_service_answers(self, client):
        answer = client.get("/healthz")
        assert (answer.status, answer.json) == (200, {"status": "ok", "stage": "test"})
