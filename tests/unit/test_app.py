"""The Lambda functions: which there are, and that packages find their handlers."""

from __future__ import annotations

import importlib
import json

import pytest
from chalice.test import Client

import app as module
from chalicelib import wiring
from chalicelib.api.resources import RESOURCES
from tests.support.service import MemoryServices

app = module.app
PURE = {function.name: function for function in app.pure_lambda_functions}
EVENTS = {source.name: source for source in app.event_sources}
AUTHORISERS = {authoriser.name: authoriser for authoriser in app.builtin_auth_handlers}
HANDLERS = {name: f.handler_string for name, f in (PURE | EVENTS | AUTHORISERS).items()}
#: Where Chalice's package looks for the functions.
EXPECTED = {
    "authorise": "app.authorise",
    "upload-validate": "app.upload_validate",
    "drop": "app.drop",
    "drop-sweep": "app.drop_sweep",
    "pca-renewal": "app.pca_renewal",
    "pca-batch-sync": "app.pca_batch_sync",
    "pca-sync-worker": "app.pca_sync_worker",
    "quota-sweep": "app.quota_sweep",
    "scan": "app.scan",
    "scan-worker": "app.scan_worker",
    "pca-sync-schedule": "app.pca_sync_schedule",
}


@pytest.fixture
def services(monkeypatch) -> MemoryServices:
    """What the functions find when they ask for the services of their process."""
    made = MemoryServices()
    monkeypatch.setattr(wiring, "services", lambda: made)
    return made


def test_the_functions_that_there_are():
    assert HANDLERS == EXPECTED


@pytest.mark.parametrize("handler", [*EXPECTED.values(), "app.app"])
def test_lambda_finds_each_handler_by_its_string(handler):
    where, _, name = handler.partition(".")
    assert callable(getattr(importlib.import_module(where), name))


def test_every_route_is_served_and_no_other():
    served = {(method, path) for path, methods in app.routes.items() for method in methods}
    assert served == {(route.method, route.path) for resource in RESOURCES for route in resource.routes}


def test_every_route_that_is_not_public_asks_the_authoriser():
    guarded = {
        (method, path) for path, methods in app.routes.items() for method, entry in methods.items() if entry.authorizer
    }
    every = {(method, path) for path, methods in app.routes.items() for method in methods}
    assert every - guarded == {("GET", "/healthz"), ("GET", "/v1/openapi.json")}


def test_the_authorisers_answer_is_never_kept():
    (authoriser,) = app.builtin_auth_handlers
    assert authoriser.ttl_seconds == 0


def test_the_drop_function_hears_its_queue_and_the_sweep_its_clock():
    assert (EVENTS["drop"].queue, EVENTS["drop"].batch_size) == ("certhaven-drop", 5)
    assert EVENTS["drop-sweep"].schedule_expression.to_string() == "rate(1 hour)"


def test_the_scan_hears_its_clock_and_its_workers_their_queue():
    assert EVENTS["scan"].schedule_expression.to_string() == "rate(1 hour)"
    assert (EVENTS["scan-worker"].queue, EVENTS["scan-worker"].batch_size) == ("certhaven-scan", 1)


def test_a_scan_can_be_started_by_an_event_that_says_so(services):
    with Client(app) as client:
        event = client.events.generate_cw_event("certhaven.make", "Scan now", {"force": True}, [])
        answer = client.lambda_.invoke("scan", event).payload
    assert services.scan_store.run(answer["run_id"]).planned
    assert answer["retried"] == 0


def test_the_authoriser_lets_an_unknown_caller_through_to_be_refused_precisely(services):
    event = {
        "type": "TOKEN",
        "authorizationToken": "Bearer cht_nobody",
        "methodArn": "arn:aws:execute-api:a:1:b/c/GET/d",
    }
    answer = module.authorise(event, None)
    assert answer["context"] == {"problem": "TokenInvalid"}
    assert answer["principalId"] == "unknown"


def test_a_direct_upload_that_does_not_fit_is_refused_and_not_thrown(services):
    with Client(app) as client:
        answer = client.lambda_.invoke("upload-validate", {"certificate": 7}).payload
    assert json.loads(json.dumps(answer)) == answer
    assert answer["error"]["code"] == "InvalidRequest"


def test_a_sweep_of_an_empty_box_finds_nothing(services):
    with Client(app) as client:
        event = client.events.generate_cw_event("aws.events", "Scheduled Event", {}, [])
        answer = client.lambda_.invoke("drop-sweep", event).payload
    assert set(answer.values()) == {0}


def test_no_message_means_no_failure(services):
    with Client(app) as client:
        answer = client.lambda_.invoke("drop", client.events.generate_sqs_event([])).payload
    assert answer == {"batchItemFailures": []}
