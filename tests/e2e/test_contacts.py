"""Contacts on the running service: mail as the emulator's mailbox has it."""

from __future__ import annotations

import httpx
import pytest

from chalicelib.config import Settings


@pytest.fixture
def contact(api):
    body = {
        "name": "Night shift",
        "channels": [{"kind": "email", "address": "night@example.com"}],
        "time_zone": "Asia/Shanghai",
        "hours": {"from": "22:00", "to": "06:00"},
    }
    made = api.post("/v1/contacts", json=body)
    assert made.status_code == 201, made.text
    yield made.json()
    assert api.delete(f"/v1/contacts/{made.json()['id']}").status_code == 204


def mailbox(stack, address):
    """What came for an address."""
    kept = httpx.get(f"http://127.0.0.1:{stack.port}/_ministack/ses/messages").json()["messages"]
    return [mail for mails in kept.values() for mail in mails if address in mail["To"]]


def test_a_test_message_comes_as_mail_and_the_contact_shows_that_it_was_sent(stack, api, contact):
    answer = api.post(f"/v1/contacts/{contact['id']}/test")
    assert [c["outcome"] for c in answer.json()["channels"]] == ["sent"]
    (mail,) = mailbox(stack, "night@example.com")
    assert mail["Subject"] == "[Certhaven] Test message for “Night shift”"
    for form in ("BodyText", "BodyHtml"):
        assert "from 22:00 to 06:00, Asia/Shanghai" in mail[form]
    (shown,) = (c for c in api.get("/v1/contacts").json()["items"] if c["id"] == contact["id"])
    assert shown["channels"][0]["last_sent_at"] is not None


def test_mail_that_is_refused_is_told_and_shown_until_it_works_again(stack, api, contact):
    ses, sender = stack.aws("sesv2"), Settings().mail_from
    ses.delete_email_identity(EmailIdentity=sender)
    try:
        (refused,) = api.post(f"/v1/contacts/{contact['id']}/test").json()["channels"]
    finally:
        ses.create_email_identity(EmailIdentity=sender)
    assert (refused["outcome"], refused["permanent"]) == ("failed", True)
    assert "not verified" in refused["problem"]
    (channel,) = api.patch(f"/v1/contacts/{contact['id']}", json={"name": "Day shift"}).json()["channels"]
    assert channel["problem"] == refused["problem"]
    (sent,) = api.post(f"/v1/contacts/{contact['id']}/test").json()["channels"]
    assert sent["outcome"] == "sent"


@pytest.mark.parametrize("url", ["json://127.0.0.1:9001/2018-06-01/runtime", "jsons://127.0.0.1:9001/", "file:///etc"])
def test_a_message_does_not_go_to_the_machine_that_the_service_runs_on(api, url):
    answer = api.post("/v1/contacts", json={"name": "Inside", "channels": [{"kind": "apprise", "url": url}]})
    assert answer.status_code == 422
    assert [f["param"] for f in answer.json()["error"]["findings"]] == ["channels[0].url"]
