"""Who may call what: every route with every role, held against the table of roles below."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chalicelib.api.resources import RESOURCES
from tests.support.service import Client, MemoryServices, operator, tenant

#: viewer reads metadata; manager uploads and renews; admin also deletes, downloads keys and manages tokens;
#: the operator is over accounts, and reads no certificate.
ALLOWED = {
    "GET /healthz": "public",
    "GET /v1/openapi.json": "public",
    "GET /v1/me": "viewer manager admin operator",
    "GET /v1/certificates": "viewer manager admin",
    "GET /v1/certificates/{certificate_id}": "viewer manager admin",
    "POST /v1/certificates/parse": "viewer manager admin",
    "POST /v1/certificates": "manager admin",
    "PATCH /v1/certificates/{certificate_id}": "manager admin",
    "POST /v1/certificates/{certificate_id}/renewals": "manager admin",
    "DELETE /v1/certificates/{certificate_id}": "admin",
    "GET /v1/certificates/{certificate_id}/download": "admin",
    "POST /v1/conversions": "manager admin",
    "GET /v1/csrs": "viewer manager admin",
    "GET /v1/csrs/{csr_id}": "viewer manager admin",
    "POST /v1/csrs": "manager admin",
    "DELETE /v1/csrs/{csr_id}": "admin",
    "POST /v1/pca/cas": "admin",
    "POST /v1/pca/cas/{ca}/certificates": "manager admin",
    "POST /v1/pca/cas/{ca}/revocation": "admin",
    "POST /v1/pca/certificates/{certificate_id}/revocation": "manager admin",
    "GET /v1/pca/cas/{ca}/crl": "viewer manager admin",
    "GET /v1/pca/sources": "viewer manager admin",
    "GET /v1/pca/cas": "viewer manager admin",
    "GET /v1/pca/cas/{ca}/certificates": "viewer manager admin",
    "POST /v1/pca/sync-jobs": "manager admin",
    "GET /v1/pca/sync-jobs": "viewer manager admin",
    "GET /v1/pca/sync-jobs/{job_id}": "viewer manager admin",
    "PUT /v1/pca/cas/{ca}/schedule": "manager admin",
    "GET /v1/pca/cas/{ca}/schedule": "viewer manager admin",
    "DELETE /v1/pca/cas/{ca}/schedule": "manager admin",
    "POST /v1/contacts": "admin",
    "GET /v1/contacts": "viewer manager admin",
    "PATCH /v1/contacts/{contact_id}": "admin",
    "DELETE /v1/contacts/{contact_id}": "admin",
    "POST /v1/contacts/{contact_id}/test": "admin",
    "GET /v1/reminder-policy": "viewer manager admin",
    "PUT /v1/reminder-policy": "admin",
    "GET /v1/scans": "admin operator",
    "GET /v1/summary": "viewer manager admin",
    "GET /v1/pending-items": "viewer manager admin",
    "GET /v1/pending-items/{kind}": "viewer manager admin",
    "POST /v1/pending-items/snooze": "manager admin",
    "DELETE /v1/pending-items/snooze": "manager admin",
    "GET /v1/notification-quota": "viewer manager admin",
    "POST /v1/notification-quota/purchases": "admin",
    "GET /v1/notification-quota/purchases": "viewer manager admin",
    "GET /v1/quota-purchases": "operator",
    "PATCH /v1/accounts/{account_id}/quota-purchases/{purchase_id}": "operator",
    "POST /v1/notifications/enable": "manager admin",
    "GET /v1/tokens": "admin operator",
    "POST /v1/tokens": "admin operator",
    "DELETE /v1/tokens/{token_id}": "admin operator",
    "GET /v1/audit-events": "admin operator",
    "GET /v1/accounts": "operator",
    "POST /v1/accounts": "operator",
    "PATCH /v1/accounts/{account_id}": "operator",
    "POST /v1/accounts/{account_id}/tokens": "operator",
}
#: What changes something or hands out a key, by the name that the audit trail has for it.
ACTIONS = {
    "POST /v1/certificates": "certificate.upload",
    "PATCH /v1/certificates/{certificate_id}": "certificate.change",
    "DELETE /v1/certificates/{certificate_id}": "certificate.delete",
    "GET /v1/certificates/{certificate_id}/download": "certificate.download",
    "POST /v1/certificates/{certificate_id}/renewals": "certificate.renew",
    "POST /v1/csrs": "csr.create",
    "DELETE /v1/csrs/{csr_id}": "csr.delete",
    "POST /v1/pca/cas": "ca.create",
    "POST /v1/pca/cas/{ca}/certificates": "ca.issue",
    "POST /v1/pca/cas/{ca}/revocation": "ca.revoke",
    "POST /v1/pca/certificates/{certificate_id}/revocation": "ca.revoke-certificate",
    "GET /v1/pca/cas/{ca}/crl": "ca.crl",
    "POST /v1/pca/sync-jobs": "pca.sync",
    "PUT /v1/pca/cas/{ca}/schedule": "pca.schedule",
    "DELETE /v1/pca/cas/{ca}/schedule": "pca.unschedule",
    "POST /v1/contacts": "contact.create",
    "PATCH /v1/contacts/{contact_id}": "contact.change",
    "DELETE /v1/contacts/{contact_id}": "contact.delete",
    "POST /v1/contacts/{contact_id}/test": "contact.test",
    "PUT /v1/reminder-policy": "reminder-policy.set",
    "POST /v1/pending-items/snooze": "pending.snooze",
    "DELETE /v1/pending-items/snooze": "pending.reopen",
    "POST /v1/notification-quota/purchases": "quota.purchase",
    "PATCH /v1/accounts/{account_id}/quota-purchases/{purchase_id}": "quota.close",
    "POST /v1/notifications/enable": "notifications.enable",
    "POST /v1/tokens": "token.create",
    "DELETE /v1/tokens/{token_id}": "token.revoke",
    "POST /v1/accounts": "account.create",
    "PATCH /v1/accounts/{account_id}": "account.change",
    "POST /v1/accounts/{account_id}/tokens": "token.create",
}
ROLES = ("viewer", "manager", "admin", "operator")
PUBLIC = [name for name, roles in ALLOWED.items() if roles == "public"]
GUARDED = [name for name, roles in ALLOWED.items() if roles != "public"]
UNKNOWN = {
    "certificate_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "ca": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "job_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "kind": "nothing",
    "csr_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "contact_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "token_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "account_id": "9999999999999999",
    "purchase_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
}


@pytest.fixture(scope="module")
def stage():
    """One service for all: what is asked here changes nothing."""
    services = MemoryServices()
    client = Client(services)
    example = tenant(client)
    callers = {"viewer": example.viewer, "manager": example.manager, "admin": example.admin}
    return services, client, callers | {"operator": operator(client)}


def ask(client: Client, name: str):
    """Ask a route, named as in the table, for a thing that is not there, with an empty body."""
    method, _, path = name.partition(" ")
    body = {} if method in {"POST", "PATCH", "PUT"} else None
    return client.request(method, path.format(**UNKNOWN), body=body)


def test_the_table_of_roles_names_every_route():
    routes = [route for resource in RESOURCES for route in resource.routes]
    assert sorted(f"{route.method} {route.path}" for route in routes) == sorted(ALLOWED)


def test_every_change_has_its_name_in_the_audit_trail():
    changes = [name for name in GUARDED if not name.startswith("GET ")]
    without = set(changes) - set(ACTIONS)
    assert without == {"POST /v1/certificates/parse", "POST /v1/conversions"}, "these keep nothing"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", GUARDED)
def test_a_role_reaches_what_it_is_for_and_no_further(stage, name, role):
    services, _, callers = stage
    caller, before = callers[role], len(services.audit_store.events)
    answer = ask(caller, name)
    recorded = services.audit_store.events[before:]
    if role in ALLOWED[name].split():
        assert answer.status in {200, 204, 400, 404}
        return
    assert (answer.status, answer.code) == (403, "RoleInsufficient")
    needed = ALLOWED[name].replace(" ", " or ")
    assert f"is {role}; this needs {needed}." in answer.json["error"]["message"]
    expected = [(ACTIONS[name], "RoleInsufficient", role)] if name in ACTIONS else []
    assert [(event.action, event.result, event.role) for event in recorded] == expected
    assert all(event.request_id == answer.json["error"]["request_id"] for event in recorded)
    assert all(event.source_ip == "192.0.2.1" for event in recorded)


@pytest.mark.parametrize(("token", "code"), [(None, "TokenMissing"), ("cht_nobody", "TokenInvalid")])
@pytest.mark.parametrize("name", GUARDED)
def test_nobody_gets_in_without_a_token_that_is_known(stage, name, token, code):
    services, client, _ = stage
    before = len(services.audit_store.events)
    answer = ask(client.with_token(token), name)
    assert (answer.status, answer.code) == (401, code)
    assert len(services.audit_store.events) == before


@pytest.mark.parametrize("token", [None, "cht_nobody"])
@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_asks_for_no_token(stage, name, token):
    _, client, _ = stage
    assert ask(client.with_token(token), name).status == 200


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic {token}", "{token}", "Bearer{token}", "Token {token}"],
)
def test_a_header_that_carries_no_bearer_token_is_none(stage, header):
    _, client, callers = stage
    answer = client.get("/v1/me", headers={"Authorization": header.format(token=callers["admin"].token)})
    assert (answer.status, answer.code) == (401, "TokenMissing")


@pytest.mark.parametrize(
    "change", [str.swapcase, lambda t: t[:-1], lambda t: t + "A", lambda t: t.replace("_", "-", 1)]
)
def test_a_token_that_is_nearly_right_is_unknown(stage, change):
    _, client, callers = stage
    answer = client.with_token(change(callers["admin"].token)).get("/v1/me")
    assert (answer.status, answer.code) == (401, "TokenInvalid")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(stage, scheme):
    _, client, callers = stage
    answer = client.get("/v1/me", headers={"authorization": f"{scheme} {callers['admin'].token}"})
    assert answer.status == 200


def test_an_expired_token_is_refused_from_the_moment_of_its_expiry(services, client, example):
    made = example.admin.post("/v1/tokens", {"name": "ci", "role": "viewer", "expires_in_days": 1}).json
    caller = client.with_token(made["token"])
    services.clock.advance(timedelta(days=1) - timedelta(seconds=1))
    assert caller.get("/v1/me").status == 200
    services.clock.advance(timedelta(seconds=1))
    answer = caller.get("/v1/me")
    assert (answer.status, answer.code) == (401, "TokenExpired")


def test_a_refused_attempt_names_what_it_was_aimed_at(services, example):
    example.viewer.delete("/v1/certificates/01ARZ3NDEKTSV4RRFFQ69G5FAV?confirm=a")
    event = services.audit_store.events[-1]
    assert (event.action, event.target) == ("certificate.delete", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert event.account_id == example.account_id
