"""The scan from outside: its events, and the list of its runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta

import pytest

from chalicelib.api import events
from chalicelib.domain.scans import ScanTask
from chalicelib.functions.scan import ScanFailedError
from chalicelib.ports import NotifyError
from tests.support.records import event, material, record
from tests.support.service import operator, pages, tenant

FORCED = {"detail": {"force": True}}


@pytest.fixture
def boss(client):
    return operator(client)


@pytest.fixture
def due(services, example):
    """A contact, and a certificate with six days left."""
    channels = [{"kind": "email", "address": "ops@example.com"}]
    assert example.admin.post("/v1/contacts", {"name": "Ops", "channels": channels}).status == 201
    now = services.clock()
    made = record(
        account_id=example.account_id,
        not_before=now - timedelta(days=300),
        not_after=now + timedelta(days=6),
        notifications=True,
        updated_at=now,
    )
    services.certificate_store.add(made, material(made), event(example.account_id))
    return made


def messages(services, tries=1):
    """What waits for the workers, as Lambda gets it."""
    return [
        {"messageId": str(n), "body": json.dumps(asdict(task)), "attributes": {"ApproximateReceiveCount": str(tries)}}
        for n, task in enumerate(services.scan_queue.take())
    ]


def work(services):
    """Carry out what waits, each message in an invocation of its own; gives how many invocations failed."""
    failed = 0
    for message in messages(services):
        try:
            assert events.scan_worker(services, {"Records": [message]}, "request") == {"batchItemFailures": []}
        except ScanFailedError:
            failed += 1
    return failed


def break_mail(services):
    services.notifiers["email"].failing["ops@example.com"] = NotifyError("SES is away", permanent=False)


def test_a_run_is_listed_with_its_counts(services, boss, example, due):
    answer = events.scan(services, FORCED, "request")
    (running,) = boss.get("/v1/scans").json["items"]
    assert (running["id"], running["state"], running["done_at"]) == (answer["run_id"], "running", None)
    services.clock.advance(timedelta(seconds=3))
    assert work(services) == 0
    for caller in (boss, example.admin):
        (run,) = caller.get("/v1/scans").json["items"]
        assert (run["id"], run["state"], run["done_at"]) == (answer["run_id"], "done", "2026-06-15T12:00:03Z")
        counts = ("accounts", "accounts_done", "notices", "sent", "held", "failed")
        assert [run[name] for name in counts] == [1, 1, 1, 1, 0, 0]
    ((address, message),) = services.notifiers["email"].sent
    assert address == "ops@example.com"
    assert due.name in message.text
    assert "expires in 5 days" in message.subject


def test_an_admin_sees_the_own_accounts_part_only(services, client, boss, example, due):
    other = tenant(client, "Other")
    events.scan(services, FORCED, "request")
    work(services)
    (part,) = other.admin.get("/v1/scans").json["items"]
    assert (part["accounts"], part["notices"], part["sent"]) == (1, 0, 0)
    (run,) = boss.get("/v1/scans").json["items"]
    assert (run["accounts"], run["notices"]) == (2, 1)


def test_runs_are_paged(services, boss, example):
    for _ in range(3):
        events.scan(services, FORCED, "request")
        work(services)
        services.clock.advance(timedelta(hours=1))
    for caller in (boss, example.admin):
        found = [run["id"] for page in pages(caller, "/v1/scans", limit=2) for run in page]
        assert found == sorted(found, reverse=True)
        assert len(found) == 3
    assert example.admin.get("/v1/scans?cursor=nothing").code == "InvalidCursor"


def test_a_failure_fails_the_worker_once_and_the_ticks_until_it_is_made_up_for(services, boss, example, due):
    break_mail(services)
    answer = events.scan(services, FORCED, "request")
    (message,) = messages(services)
    with pytest.raises(ScanFailedError):
        events.scan_worker(services, {"Records": [message]}, "request")
    assert events.scan_worker(services, {"Records": [message]}, "request") == {"batchItemFailures": []}
    (run,) = boss.get("/v1/scans").json["items"]
    assert (run["id"], run["state"], run["failed"]) == (answer["run_id"], "failed", 1)
    (contact,) = example.admin.get("/v1/contacts").json["items"]
    assert contact["channels"][0]["problem"] == "SES is away"
    services.clock.now = services.clock.now.replace(hour=1)
    services.notifiers["email"].failing.clear()
    with pytest.raises(ScanFailedError):
        events.scan(services, {"detail": {}}, "request")
    assert work(services) == 0
    assert len(services.notifiers["email"].sent) == 1
    assert events.scan(services, {}, "request") == {"run_id": None, "retried": 0}
    (run,) = boss.get("/v1/scans").json["items"]
    assert (run["state"], run["made_up"]) == ("failed", 1)


def test_a_run_that_is_wanted_answers_even_if_something_had_failed(services, example, due):
    break_mail(services)
    events.scan(services, FORCED, "request")
    assert work(services) == 1
    services.clock.advance(timedelta(seconds=1))
    assert events.scan(services, FORCED, "request")["run_id"]


def test_a_message_that_nobody_can_read_fails_alone_and_one_that_fails_is_tried_again(services, example, due):
    events.scan(services, FORCED, "request")
    records = [{"messageId": "bad", "body": "text"}, *messages(services)]
    assert events.scan_worker(services, {"Records": records}, "request") == {
        "batchItemFailures": [{"itemIdentifier": "bad"}]
    }
    assert len(services.notifiers["email"].sent) == 1


def test_an_account_that_fails_five_times_makes_the_run_fail(services, boss, example, due):
    events.scan(services, FORCED, "request")
    tasks = list(services.scan_queue.tasks)
    services.contact_store.policies[example.account_id] = None
    for tries in range(1, 6):
        services.scan_queue.send([] if tries == 1 else tasks)
        answer = events.scan_worker(services, {"Records": messages(services, tries)}, "request")
        assert answer["batchItemFailures"]
        (run,) = boss.get("/v1/scans").json["items"]
        assert run["state"] == ("running" if tries < 5 else "failed")
    (part,) = example.admin.get("/v1/scans").json["items"]
    assert part["problem"] == "InternalError"


def test_a_failed_tick_logs_what_it_was_and_fails(services, example):
    class Broken:
        def page(self, **_):
            raise OSError("the table is away")

    services.account_store = Broken()
    with pytest.raises(ExceptionGroup):
        events.scan(services, FORCED, "request")
    (line,) = [line for line in services.log_lines if line["level"] == "ERROR"]
    assert line["error_type"] == "OSError"


def test_no_address_is_logged(services, example, due):
    break_mail(services)
    events.scan(services, FORCED, "request")
    work(services)
    services.scan_queue.send([ScanTask(example.account_id)])
    work(services)
    assert "ops@example.com" not in services.log_stream.getvalue()
