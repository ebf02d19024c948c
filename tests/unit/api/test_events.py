"""The functions that nobody calls over HTTP: direct uploads, the drop queue, the schedule."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import quote_plus

import pytest

from chalicelib.api import events
from tests.support.authority import Authority
from tests.support.fakes import MemoryDropBox
from tests.support.records import ACCOUNT, account
from tests.support.service import MemoryServices

ROOT = Authority.root()
LEAF = ROOT.issue("site.example.com")
BODY = {"account_id": ACCOUNT, "certificate": LEAF.pem, "private_key": LEAF.key_pem, "chain": ROOT.pem}


@pytest.fixture
def services():
    made = MemoryServices()
    made.account_store.accounts[ACCOUNT] = account()
    return made


def message(*keys: str, number: int = 1) -> dict:
    records = [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key}}} for key in keys]
    return {"messageId": f"message-{number}", "body": json.dumps({"Records": records})}


def put(services, name: str, content: str) -> str:
    return services.drop_box.put(f"drop/{ACCOUNT}/{name}", content.encode()).key


def test_a_direct_upload_answers_with_the_certificate_in_plain_values(services):
    answer = events.upload_validate(services, BODY | {"name": "direct"}, "request-1")
    assert json.loads(json.dumps(answer))["certificate"]["name"] == "direct"
    (event,) = services.audit_store.events
    assert (event.actor, event.request_id, event.account_id) == ("direct", "request-1", ACCOUNT)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"account_id": "4711"}, "NotFound"),
        ({"private_key": None}, "PrivateKeyMissing"),
        ({"certificate": 7}, "InvalidRequest"),
        ({"surplus": 1}, "InvalidRequest"),
        ({"account_id": None}, "InvalidRequest"),
    ],
)
def test_a_direct_upload_that_is_refused_answers_like_any_refusal(services, change, code):
    answer = events.upload_validate(services, BODY | change, "request-1")
    assert set(answer) == {"error"}
    assert (answer["error"]["code"], answer["error"]["request_id"]) == (code, "request-1")
    assert services.certificate_store.certificates == {}


def test_a_refused_event_repeats_no_key(services):
    for change in ({"name": [LEAF.key_pem]}, {LEAF.key_pem: 1}, {"tags": LEAF.key_pem}):
        answer = events.upload_validate(services, BODY | change, "request-1")
        assert LEAF.key_pem.splitlines()[1] not in json.dumps(answer) + services.log_stream.getvalue()


def test_a_message_may_tell_of_several_files(services):
    keys = [put(services, "a.pem", LEAF.pem + ROOT.pem), put(services, "a.key", LEAF.key_pem)]
    assert events.drop(services, {"Records": [message(*keys)]}, "request") == {"batchItemFailures": []}
    assert services.log_lines[-1]["outcomes"] == ["stored", "nothing"]


@pytest.mark.parametrize("name", ["a b.pem", "a+b.pem", "ü.pem", "100%.pem", "a&b=c.pem"])
def test_keys_are_written_in_messages_as_s3_writes_them(services, name):
    key = put(services, name, LEAF.pem + ROOT.pem + LEAF.key_pem)
    events.drop(services, {"Records": [message(quote_plus(key, safe="/"))]}, "request")
    assert services.drop_box.keys() == [f"done/{ACCOUNT}/{name.removesuffix('.pem')}.json"]


def test_the_test_message_of_s3_is_ignored(services):
    body = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"})
    answer = events.drop(services, {"Records": [{"messageId": "m", "body": body}]}, "request")
    assert answer == {"batchItemFailures": []}


@pytest.mark.parametrize(
    "body", ["", "text", "[]", "7", '{"Records": 7}', '{"Records": [{}]}', '{"Records": [{"s3": 1}]}']
)
def test_a_message_that_nobody_can_read_fails_alone(services, body):
    key = put(services, "a.pem", LEAF.pem + ROOT.pem + LEAF.key_pem)
    records = [{"messageId": "bad", "body": body}, message(key)]
    answer = events.drop(services, {"Records": records}, "request")
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert len(services.certificate_store.certificates) == 1


class Broken(MemoryDropBox):
    """A bucket that does not answer for some files; its complaint quotes what was in them."""

    def read(self, item):
        if "broken" in item.key:
            raise OSError(LEAF.key_pem)
        return super().read(item)


def test_a_failure_of_the_service_sends_only_its_message_back_and_logs_no_content(services):
    services.drop_box = Broken(services.clock)
    keys = [put(services, f"{name}.pem", LEAF.pem + ROOT.pem + LEAF.key_pem) for name in ("broken", "whole")]
    records = [message(key, number=number) for number, key in enumerate(keys)]
    answer = events.drop(services, {"Records": records}, "request")
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert f"drop/{ACCOUNT}/broken.pem" in services.drop_box.keys()  # noqa: SIM118 - a bucket is no dictionary
    (line,) = [line for line in services.log_lines if line["level"] == "ERROR"]
    assert line["error_type"] == "OSError"
    assert LEAF.key_pem.splitlines()[1] not in services.log_stream.getvalue()


def test_the_sweep_counts_what_became_of_what_it_found(services):
    put(services, "a.pem", LEAF.pem + ROOT.pem + LEAF.key_pem)
    put(services, "b.key", LEAF.key_pem)
    services.clock.now = services.clock.now.replace(year=2027)
    counts = events.drop_sweep(services, "request")
    assert counts == {"nothing": 0, "waiting": 0, "stored": 0, "refused": 2}
    assert services.log_lines[-1]["counts"] == counts


def test_a_sweep_that_fails_for_one_file_logs_no_content_and_fails_when_the_others_are_done(services):
    services.drop_box = Broken(services.clock)
    for name in ("broken", "whole"):
        put(services, f"{name}.pem", LEAF.pem + ROOT.pem + LEAF.key_pem)
    services.clock.advance(timedelta(hours=1))
    with pytest.raises(ExceptionGroup) as failed:
        events.drop_sweep(services, "request")
    assert services.drop_box.keys() == [f"done/{ACCOUNT}/whole.json", f"drop/{ACCOUNT}/broken.pem"]
    (line,) = [line for line in services.log_lines if line["level"] == "ERROR"]
    assert (line["error_type"], line["request_id"]) == ("OSError", "request")
    assert LEAF.key_pem.splitlines()[1] not in str(failed.value) + services.log_stream.getvalue()
