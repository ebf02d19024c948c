"""The OpenAPI document: valid, whole, and kept by the service for requests that are made from it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.transport.requests import REQUESTS_TRANSPORT

from chalicelib.api import openapi
from chalicelib.domain.quota import Purchase, PurchaseState
from tests.support.authority import NOW
from tests.support.records import event
from tests.support.service import Answer, Client, MemoryServices, Tenant, fresh, operator, tenant

DOCUMENT = openapi.build()
OPERATIONS = [(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods]
PUBLIC = {"/healthz", "/v1/openapi.json"}
PRIVATE = [(method, path) for method, path in OPERATIONS if path not in PUBLIC]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ROLES = ("admin", "operator")
ORIGIN = "http://certhaven.test"
CONTACT = {"name": "Ops", "channels": [{"kind": "email", "address": "ops@example.com"}]}
UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def described(method: str, path: str) -> dict:
    return DOCUMENT["paths"][path][method.lower()]


def is_good(status: int) -> bool:
    return 200 <= status < 300


# --- the document itself -------------------------------------------------------------------------------------------


def test_the_document_is_valid_openapi():
    assert [str(problem) for problem in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_the_service_publishes_the_document_and_answers_every_operation_in_it_and_no_other():
    client = Client(MemoryServices())
    assert client.get("/v1/openapi.json").json == DOCUMENT
    assert set(OPERATIONS) == {(method, path) for path, methods in client._app.routes.items() for method in methods}


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_refusal_in_the_document_has_the_one_shape(method, path):
    answers = described(method, path)["responses"]
    refusals = {status: answer["content"] for status, answer in answers.items() if not is_good(int(status))}
    shape = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
    assert "400" in refusals
    assert all(content == shape for content in refusals.values())


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_operation_says_whether_it_needs_a_token(method, path):
    assert described(method, path)["security"] == ([] if path in PUBLIC else [{"token": []}])


# --- requests made from the document -------------------------------------------------------------------------------


@dataclass
class World:
    """A service, asked by one role, that holds a thing of each kind; `good` has what the operations need to succeed."""

    client: Client
    ids: dict[str, str]
    good: dict[str, dict]

    def ids_for(self, path: str) -> dict[str, str]:
        """The ids by the names that they have in a path: a certificate of a CA is not one of the inventory."""
        return self.ids | {"certificate_id": self.ids["issued_id"]} if path.startswith("/v1/pca/") else self.ids


def locked_out(client: Client) -> str:
    """An account without an admin's token that works."""
    account = tenant(client, "Locked out")
    account.admin.delete(f"/v1/tokens/{account.admin.get('/v1/me').json['token_id']}")
    return account.account_id


def open_purchase(client: Client, account_id: str) -> str:
    """A purchase that waits for the operator."""
    waiting = Purchase("01ARZ3NDEKTSV4RRFFQ69G5FAW", account_id, 1, PurchaseState.OPEN, NOW, "token")
    client.services.quota_store.order(waiting, event(account_id))
    return waiting.id


def authorities(example: Tenant) -> tuple[str, str]:
    """Ids of an intermediate CA, and of what it issued."""
    wanted = {"kind": "root", "common_name": "Held", "algorithm": "ECC"}
    root = example.admin.post("/v1/pca/cas", wanted).json["id"]
    below = {"kind": "intermediate", "common_name": "Below", "parent": root}
    ca = example.admin.post("/v1/pca/cas", wanted | below).json["id"]
    issued = example.admin.post(f"/v1/pca/cas/{ca}/certificates", {"common_name": "held.example.com"}).json
    return ca, issued["id"]


@cache
def uploads() -> tuple[dict, dict]:
    """An upload for the service to hold, and another one; made once, since making is slow."""
    return fresh("held.example.com")[1], fresh("held.example.com")[1]


def world(role: str) -> World:
    anyone = Client(MemoryServices())
    example = tenant(anyone)
    client = example.admin if role == "admin" else operator(anyone)
    held, other = uploads()
    certificate = example.admin.post("/v1/certificates", held).json
    csr = example.admin.post("/v1/csrs", {"algorithm": "ECC", "common_name": "held.example.com"}).json
    token = client.post("/v1/tokens", {"name": "ci", "role": role}).json
    ca, issued_id = authorities(example)
    example.admin.put(f"/v1/pca/cas/{ca}/schedule", {})
    account_id = locked_out(anyone)
    ids = {
        "ca": ca,
        "issued_id": issued_id,
        "job_id": example.admin.post("/v1/pca/sync-jobs", {"ca": ca}).json["id"],
        "certificate_id": certificate["id"],
        "csr_id": csr["id"],
        "token_id": token["id"],
        "contact_id": example.admin.post("/v1/contacts", CONTACT).json["id"],
        "kind": "not_deployed",
        "account_id": account_id,
        "purchase_id": open_purchase(anyone, account_id),
    }
    good = {
        "certificates_upload": other,
        "certificates_parse": other,
        "certificates_renew": other,
        "certificates_delete": {"confirm": certificate["name"]},
        "certificates_download": {"format": "pem"},
        "tools_create_csr": {"algorithm": "ECC", "common_name": "new.example.com"},
        "tools_convert": {"from": "pem", "to": "der", "input": other["certificate"]},
        "certificates_change": {"name": "new name"},
        "pca_create_ca": {"kind": "root", "common_name": "Root", "algorithm": "ECC"},
        "pca_issue_certificate": {"common_name": "a.example.com", "validity_days": 30},
        "pca_revoke_ca": {"reason": "superseded"},
        "pca_revoke_certificate": {"reason": "superseded"},
        "pca_show_crl": {"format": "pem"},
        "pca_synchronise": {"ca": ca},
        "pca_set_schedule": {"every_hours": 12},
        "contacts_create": CONTACT,
        "contacts_change": {"name": "new name"},
        "contacts_set_policy": {"days": [30, 7], "fractions": [3]},
        "summary_snooze": {"days": 7},
        "quota_order": {"units": 1},
        "quota_close": {"state": "fulfilled"},
        "quota_enable": {"certificate_ids": [certificate["id"]]},
        "access_create_token": {"name": "ci", "role": role},
        "access_create_account": {"name": "New", "site": "china", "entity": {"id": "entity-2", "kind": "enterprise"}},
        "access_change_account": {"name": "New"},
        "access_create_admin_token": {"name": "ci"},
    }
    return World(client, ids, good)


@cache
def schema() -> schemathesis.BaseSchema:
    """The document for the generator, which is to leave tokens alone."""
    document = deepcopy(DOCUMENT)
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["security"] = []
    # Schemathesis does not know that a value beyond its `maxLength` may be too large for the whole request.
    expected = [400, 401, 403, 404, 413, 422]
    config = {"checks": {"negative_data_rejection": {"expected-statuses": expected}}}
    return schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_dict(config))


def ask(client: Client, case: Case) -> Response:
    """What the service answers to a generated request."""
    sent = requests.Request(**REQUESTS_TRANSPORT.serialize_case(case, base_url=ORIGIN)).prepare()
    content = sent.body.encode() if isinstance(sent.body, str) else sent.body
    answer = client.request(sent.method, sent.path_url, content=content, headers=dict(sent.headers))
    headers = {name: [value] for name, value in answer.headers.items()}
    return Response(answer.status, headers, answer.content, sent, 0.0, verify=False)


def fill(case: Case, held: World, *, wholly: bool) -> None:
    """Put ids that exist and values that fit into a request, in place of or among the generated ones."""
    case.path_parameters = {name: held.ids_for(case.path)[name] for name in case.path_parameters or {}}
    good = held.good.get(case.operation.definition.raw["operationId"])
    if good is None:
        return
    if case.method in {"GET", "DELETE"}:
        case.query = good if wholly else {**case.query, **good}
    else:
        case.body = good if wholly else {**case.body, **good}


def exactly(examples: int) -> settings:
    """The same requests in every run. Some of them are large, as the document allows."""
    large = [HealthCheck.data_too_large, HealthCheck.too_slow, HealthCheck.large_base_example]
    large.append(HealthCheck.filter_too_much)  # of ids that are too long, most cannot stand in a path
    return settings(max_examples=examples, derandomize=True, database=None, suppress_health_check=large)


def roles_of(method: str, path: str) -> list[str]:
    """The roles that may ask this, as the document says in words."""
    return described(method, path)["description"].removeprefix("Roles: ").removesuffix(".").split(", ")


def may(role: str, method: str, path: str) -> bool:
    return path in PUBLIC or role in roles_of(method, path)


def role_for(method: str, path: str) -> str:
    """A role that may ask."""
    return next(role for role in ROLES if may(role, method, path))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_requests_that_fit_the_document_are_answered_as_it_says(method, path, role):
    operation, seen = schema()[path][method], set()

    @exactly(20 if may(role, method, path) else 5)
    @given(operation.as_strategy(), st.sampled_from(["as generated", "filled", "filled wholly"]))
    def answered_as_described(case, way):
        held = world(role)
        if way != "as generated":
            fill(case, held, wholly=way == "filled wholly")
        response = ask(held.client, case)
        case.validate_response(response, checks=CHECKS)
        seen.add(response.status_code)

    answered_as_described()
    if may(role, method, path):
        assert any(is_good(status) for status in seen), "no request reached what the operation is for"
    else:
        assert seen == {403}


def takes_input(method: str, path: str) -> bool:
    return bool(described(method, path)["parameters"]) or "requestBody" in described(method, path)


@pytest.mark.parametrize(("method", "path"), [o for o in OPERATIONS if takes_input(*o)])
def test_requests_that_break_the_document_are_refused_as_it_says(method, path):
    operation = schema()[path][method]

    @exactly(12)
    @given(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def refused_as_described(case):
        response = ask(world(role_for(method, path)).client, case)
        case.validate_response(response, checks=[*CHECKS, negative_data_rejection])

    refused_as_described()


# --- refusals that every operation has in common -------------------------------------------------------------------


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    return {role: world(role) for role in ROLES}


def probe(held: World, method: str, path: str, query: str = "", **options) -> Answer:
    return held.client.request(method, path.format(**held.ids_for(path)) + query, **options)


def assert_documented(answer: Answer, status: int, method: str, path: str) -> None:
    assert answer.status == status, answer.text
    assert str(status) in described(method, path)["responses"]


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_the_refusal_of_a_stranger_is_in_the_document(method, path, worlds):
    stranger = replace(worlds["admin"], client=worlds["admin"].client.with_token(None))
    assert_documented(probe(stranger, method, path), 401, method, path)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_refusal_of_an_unknown_query_parameter_is_in_the_document(method, path, worlds):
    answer = probe(worlds[role_for(method, path)], method, path, "?colour=red")
    assert_documented(answer, 400, method, path)


#: What makes another request of one that is good.
CHANGES = [
    {"name": "b"},
    {"common_name": "b.example.com"},
    {"reason": "key_compromise"},
    {"every_hours": 6},
    {"days": 14},
    {"ca": "another"},
    {"days": [1]},
    {"units": 2},
    {"state": "declined"},
    {"certificate_ids": ["another"]},
]
WITH_BODY = [(method, path) for method, path in OPERATIONS if "requestBody" in described(method, path)]


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
def test_the_refusal_of_a_large_body_is_in_the_document(method, path, worlds):
    answer = probe(worlds[role_for(method, path)], method, path, content=b" " * (1024 * 1024 + 1))
    assert_documented(answer, 413, method, path)


@pytest.mark.parametrize(("method", "path"), [o for o in OPERATIONS if "{" in o[1]])
def test_the_refusal_of_an_unknown_id_is_in_the_document(method, path, worlds):
    held = worlds[role_for(method, path)]
    nowhere = replace(held, ids=dict.fromkeys(held.ids, UNKNOWN))
    body = held.good[described(method, path)["operationId"]] if (method, path) in WITH_BODY else None
    assert_documented(probe(nowhere, method, path, body=body), 404, method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [o for o in WITH_BODY if any(p["name"] == "Idempotency-Key" for p in described(*o)["parameters"])],
)
def test_the_refusal_of_another_body_under_the_same_key_is_in_the_document(method, path):
    held = world(role_for(method, path))
    good, key = held.good[described(method, path)["operationId"]], {"Idempotency-Key": "again"}
    other = {name: text for name, text in good.items() if name != "chain"}
    if other == good:
        other = good | next(c for c in CHANGES if all(type(good.get(name)) is type(value) for name, value in c.items()))
    assert is_good(probe(held, method, path, body=good, headers=key).status)
    assert_documented(probe(held, method, path, body=other, headers=key), 409, method, path)
