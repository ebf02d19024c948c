"""Nothing of another account can be seen, changed or guessed."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from chalicelib.api.resources import RESOURCES
from chalicelib.domain.model import Role
from tests.support.service import MemoryServices, Tenant, fresh, issued_for, operator, uploaded

CA = {"kind": "root", "common_name": "Root", "algorithm": "ECC"}
CSR = {"algorithm": "ECC", "common_name": "a.example.com"}
CONTACT = {"name": "Ops", "channels": [{"kind": "email", "address": "ops@example.com"}]}
#: A sound request for every route with an id, so that only the id decides.
SOUND = {
    "GET /v1/certificates/{certificate_id}": ("", None),
    "PATCH /v1/certificates/{certificate_id}": ("", {"name": "taken-over"}),
    "DELETE /v1/certificates/{certificate_id}": ("?confirm=theirs", None),
    "GET /v1/certificates/{certificate_id}/download": ("?format=pfx", None),
    "POST /v1/certificates/{certificate_id}/renewals": ("", fresh("renewed.example.com")[1]),
    "GET /v1/csrs/{csr_id}": ("", None),
    "DELETE /v1/csrs/{csr_id}": ("", None),
    "DELETE /v1/tokens/{token_id}": ("", None),
    "POST /v1/pca/cas/{ca}/certificates": ("", {"common_name": "stolen.example.com"}),
    "POST /v1/pca/cas/{ca}/revocation": ("", {}),
    "POST /v1/pca/certificates/{certificate_id}/revocation": ("", {}),
    "GET /v1/pca/cas/{ca}/crl": ("?format=pem", None),
    "GET /v1/pca/cas/{ca}/certificates": ("", None),
    "GET /v1/pca/sync-jobs/{job_id}": ("", None),
    "PUT /v1/pca/cas/{ca}/schedule": ("", {"every_hours": 1}),
    "GET /v1/pca/cas/{ca}/schedule": ("", None),
    "DELETE /v1/pca/cas/{ca}/schedule": ("", None),
    "PATCH /v1/contacts/{contact_id}": ("", {"name": "taken-over"}),
    "DELETE /v1/contacts/{contact_id}": ("", None),
    "POST /v1/contacts/{contact_id}/test": ("", None),
}


@pytest.fixture
def ids(example) -> dict[str, str]:
    """One thing of each kind, all of the first tenant."""
    root = example.admin.post("/v1/pca/cas", CA).json["id"]
    ca = example.admin.post("/v1/pca/cas", CA | {"kind": "intermediate", "common_name": "Middle", "parent": root}).json
    issued = example.manager.post(f"/v1/pca/cas/{ca['id']}/certificates", {"common_name": "b.example.com"}).json
    assert example.manager.put(f"/v1/pca/cas/{ca['id']}/schedule", {}).status == 200
    return {
        "ca": ca["id"],
        "job_id": example.manager.post("/v1/pca/sync-jobs", {"ca": ca["id"]}).json["id"],
        "issued_id": issued["id"],
        "certificate_id": uploaded(example.manager, "a.example.com", fields={"name": "theirs"})["id"],
        "csr_id": example.manager.post("/v1/csrs", CSR).json["id"],
        "contact_id": example.admin.post("/v1/contacts", CONTACT).json["id"],
        "token_id": example.admin.post("/v1/tokens", {"name": "ci", "role": "viewer"}).json["id"],
    }


def everything(services: MemoryServices, account: Tenant) -> list:
    """All that is held of an account, its audit trail and the times its tokens were used apart."""
    own = [v for (owner, _), v in services.certificate_store.certificates.items() if owner == account.account_id]
    own += [v for (owner, _), v in services.certificate_store.materials.items() if owner == account.account_id]
    own += [v for (owner, _), v in services.csr_store.csrs.items() if owner == account.account_id]
    own += services.sync_store.rows(account.account_id)
    own += services.contact_store.several(account.account_id)
    own += [message for notifier in services.notifiers.values() for message in notifier.sent]
    for held in (services.authority_store.authorities, services.authority_store.issued, services.authority_store.lists):
        own += [v for (owner, _), v in held.items() if owner == account.account_id]
    tokens = [t for t in services.account_store.by_digest.values() if t.account_id == account.account_id]
    return own + sorted((t.id, t.revoked_at is None) for t in tokens)


def ids_for(path: str, ids: dict[str, str]) -> dict[str, str]:
    """The ids by the names that they have in a path: a certificate of a CA is not one of the inventory."""
    return ids | {"certificate_id": ids["issued_id"]} if path.startswith("/v1/pca/") else ids


def unknown_like(known: str) -> str:
    """An id of the same form that nothing has."""
    return known[:-4] + ("0Z9A" if known[-4:] != "0Z9A" else "1Y8B")


def same_but_for(answer, object_id: str) -> tuple:
    """An answer with the id that was asked for, and that of the request, taken out."""
    request_id = answer.json["error"]["request_id"]
    content = answer.content.replace(object_id.encode(), b"<id>").replace(request_id.encode(), b"<request>")
    return answer.status, sorted(answer.headers.items()), content


def test_every_tenants_route_with_an_id_is_asked_here():
    routes = [route for resource in RESOURCES for route in resource.routes]
    with_id = [r for r in routes if set(r.parameters) - {"kind"} and r.roles != frozenset({Role.OPERATOR})]
    assert sorted(f"{r.method} {r.path}" for r in with_id) == sorted(SOUND)


@pytest.mark.parametrize("name", SOUND)
def test_an_id_of_another_account_answers_as_an_unknown_one(services, ids, example, other, name):
    method, _, path = name.partition(" ")
    ids = ids_for(path, ids)
    (kind,) = (k for k in ids if f"{{{k}}}" in path)
    query, body = SOUND[name]
    held, answers = everything(services, example), []
    for object_id in (ids[kind], unknown_like(ids[kind])):
        headers = {"X-Passphrase": "open-sesame"}
        answer = other.admin.request(method, path.format(**{kind: object_id}) + query, body=body, headers=headers)
        scheduled = path.endswith("/schedule") and method != "PUT"
        assert answer.status == 404
        assert answer.code == ("AuthorityNotFound" if kind == "ca" and not scheduled else "NotFound")
        answers.append(same_but_for(answer, object_id))
    assert answers[0] == answers[1]
    assert everything(services, example) == held


@pytest.mark.parametrize("name", SOUND)
def test_the_attempt_is_in_the_trail_of_who_made_it_and_not_of_whom_it_was_aimed_at(
    services, ids, example, other, name
):
    method, _, path = name.partition(" ")
    query, body = SOUND[name]
    before = len(services.audit_store.events)
    other.admin.request(method, path.format(**ids_for(path, ids)) + query, body=body)
    accounts = {event.account_id for event in services.audit_store.events[before:]}
    keys = name.endswith(("/download", "/crl"))
    assert accounts == ({other.account_id} if keys or method != "GET" else set())


@pytest.mark.parametrize("name", SOUND)
def test_who_owns_it_is_answered(ids, example, name):
    method, _, path = name.partition(" ")
    query, body = SOUND[name]
    headers = {"X-Passphrase": "open-sesame"}
    path = path.format(**ids_for(path, ids))
    assert example.admin.request(method, path + query, body=body, headers=headers).status < 300


@pytest.mark.parametrize(
    "path",
    ["/v1/certificates", "/v1/certificates/parse", "/v1/certificates/{id}/renewals"],
    ids=["upload", "parse", "renew"],
)
def test_a_csr_of_another_account_is_unknown_to_an_upload(ids, other, path):
    own = uploaded(other.manager, "own.example.com")
    _, body = fresh("a.example.com")
    answers = []
    for csr_id in (ids["csr_id"], unknown_like(ids["csr_id"])):
        answer = other.manager.post(path.format(id=own["id"]), body | {"csr_id": csr_id})
        assert answer.status == 404
        answers.append(same_but_for(answer, csr_id))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("path", ["/v1/certificates", "/v1/csrs", "/v1/tokens", "/v1/audit-events", "/v1/contacts"])
def test_a_list_shows_nothing_of_another_account(ids, example, other, path):
    theirs = {item["id"] for item in example.admin.get(f"{path}?limit=100").json["items"]}
    mine = {item["id"] for item in other.admin.get(f"{path}?limit=100").json["items"]}
    assert theirs
    assert mine & theirs == set()
    assert other.account_id not in example.admin.get(f"{path}?limit=100").text


@pytest.mark.parametrize("query", ["q=a.example", "domain=a.example.com", "domain=*.example.com", "source=upload"])
def test_a_filter_finds_nothing_of_another_account(ids, other, query):
    assert other.viewer.get(f"/v1/certificates?{query}").json == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("path", ["/v1/certificates", "/v1/csrs", "/v1/tokens", "/v1/audit-events", "/v1/contacts"])
def test_a_cursor_of_another_account_is_refused(ids, example, other, path):
    for tenant in (example, other):
        uploaded(tenant.manager, "b.example.com", number=2)
        tenant.manager.post("/v1/csrs", CSR)
        tenant.admin.post("/v1/contacts", CONTACT)
    cursor = quote(example.admin.get(f"{path}?limit=1").json["next_cursor"])
    assert example.admin.get(f"{path}?limit=1&cursor={cursor}").status == 200
    answer = other.admin.get(f"{path}?limit=1&cursor={cursor}")
    assert (answer.status, answer.code) == (400, "InvalidCursor")


def test_two_accounts_may_hold_the_same_certificate_under_the_same_name(example, other):
    _, body = fresh("a.example.com", fields={"name": "same"})
    answers = [account.manager.post("/v1/certificates", body) for account in (example, other)]
    assert [a.status for a in answers] == [201, 201]
    assert example.admin.delete(f"/v1/certificates/{answers[0].json['id']}?confirm=same").status == 204
    assert other.viewer.get(f"/v1/certificates/{answers[1].json['id']}").status == 200
    assert [f["code"] for f in answers[1].json["findings"]] == [f["code"] for f in answers[0].json["findings"]]


def test_parse_does_not_tell_that_another_account_holds_a_certificate(example, other):
    _, body = fresh("a.example.com", fields={"name": "same"})
    before = other.viewer.post("/v1/certificates/parse", body)
    assert example.manager.post("/v1/certificates", body).status == 201
    after = other.viewer.post("/v1/certificates/parse", body)
    assert after.content == before.content


def test_a_key_kept_for_the_csr_of_one_account_does_not_serve_another(services, client, example, other):

    csr = example.manager.post("/v1/csrs", CSR).json
    body = issued_for(csr)
    assert other.manager.post("/v1/certificates", body).code == "PrivateKeyMissing"
    assert example.manager.post("/v1/certificates", body).status == 201


def test_the_operator_sees_accounts_and_nothing_in_them(client, ids, example):
    boss = operator(client)
    assert example.account_id in {item["id"] for item in boss.get("/v1/accounts").json["items"]}
    for path in ("certificates", f"certificates/{ids['certificate_id']}", "csrs", f"csrs/{ids['csr_id']}"):
        assert boss.get(f"/v1/{path}").status == 403
    assert ids["token_id"] not in boss.get("/v1/tokens").text
    assert boss.delete(f"/v1/tokens/{ids['token_id']}").status == 404
    assert example.account_id not in {event["target"] for event in boss.get("/v1/audit-events").json["items"]}
